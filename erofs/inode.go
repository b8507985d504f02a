package erofs

import (
	"fmt"
	"math"
	"strings"

	"relive/erofs/internal/ondisk"
	"relive/tree"
)

// inode is an inode that was read.
type inode struct {
	ondisk.Inode
	nid   uint64
	typ   tree.Type
	size  int64
	start uint64 // block address of flat data, with its high bits
	hole  bool   // flat data has none
	nlink uint32
	body  int64 // where its attributes are
	tail  int64 // where what follows these is
}

// place names the inode in errors.
func (n *inode) place() string { return inodePlace(n.nid) }

func inodePlace(nid uint64) string { return fmt.Sprintf("inode %d", nid) }

// symlinkMax is the longest target that Linux shows, in bytes.
const symlinkMax = 4095

// readInode reads an inode. What it gives has a type and a layout that are known.
func (r *Reader) readInode(nid uint64) (inode, error) {
	n := inode{nid: nid}
	bad := func(fact string, args ...any) (inode, error) { return inode{}, r.corrupt(n.place(), fact, args...) }
	if nid&ondisk.NIDMetabox != 0 {
		return inode{}, tree.Unsupported(r.name, n.place(), "is in the metabox")
	}
	at := r.blockAt(uint64(r.super.MetaBlock))
	if nid > uint64(r.size)/ondisk.NIDSize {
		return bad("lies past the end of the image at %d", r.size)
	}
	at += int64(nid) * ondisk.NIDSize
	var b [ondisk.ExtendedSize]byte
	if err := r.readMeta(b[:ondisk.CompactSize], at); err != nil {
		return inode{}, tree.Within(err, "%s", n.place())
	}
	n.Inode = ondisk.DecodeInode(b[:])
	if n.Extended() {
		if err := r.readMeta(b[:], at); err != nil {
			return inode{}, tree.Within(err, "%s", n.place())
		}
		n.Inode = ondisk.DecodeInode(b[:])
	}
	n.body = at + int64(n.Len())
	n.tail = n.body + ondisk.XattrBodySize(n.XattrCount)
	if n.Format&^ondisk.FormatKnown != 0 || n.Layout() > ondisk.ChunkBased {
		return inode{}, tree.Unsupported(r.name, n.place(), "format 0x%x is unknown", n.Format)
	}
	long := r.super.Incompat&ondisk.Incompat48Bit != 0
	if n.Format&ondisk.FormatShort != 0 && !long {
		return inode{}, tree.Unsupported(r.name, n.place(), "format 0x%x belongs to images with the feature 48BIT", n.Format)
	}
	if n.typ = tree.TypeFromMode(uint32(n.Mode)); n.typ == 0 {
		return bad("mode 0%o names no type", n.Mode)
	}
	if n.Size > math.MaxInt64 {
		return bad("file size %d", n.Size)
	}
	n.size = int64(n.Size)
	n.setLinks(long)
	if n.Extended() && n.Nsec >= nsecPerSec {
		return bad("its time has %d nanoseconds", n.Nsec)
	}
	if n.Layout() == ondisk.ChunkBased && n.typ == tree.Regular {
		if n.U&^ondisk.ChunkKnown != 0 {
			return inode{}, tree.Unsupported(r.name, n.place(), "chunk format 0x%x is unknown", n.U)
		}
	}
	return n, nil
}

// setLinks sets what depends on where the high bits of the address are.
func (n *inode) setLinks(long bool) {
	n.start = uint64(n.U)
	mask := uint64(ondisk.NoBlock)
	switch {
	case n.Extended():
		n.nlink = n.Nlink
		if long {
			n.start |= uint64(n.High) << 32
			mask = 1<<48 - 1
		}
	case n.Format&ondisk.FormatShort != 0 && n.typ != tree.Directory:
		n.nlink = 1
		n.start |= uint64(n.High) << 32
		mask = 1<<48 - 1
	default:
		n.nlink = uint32(n.High)
	}
	n.hole = n.Layout() == ondisk.FlatPlain && n.start == mask
}

// mtime is the inode's time.
func (r *Reader) mtime(n *inode) tree.Time {
	if n.Extended() {
		return tree.Time{Sec: n.Mtime, Nsec: n.Nsec}
	}
	t := tree.Time{Sec: r.super.Epoch, Nsec: r.super.FixedNsec}
	if r.super.Incompat&ondisk.Incompat48Bit != 0 {
		t.Sec += n.Mtime
	}
	return t
}

// Root gives the root directory.
func (r *Reader) Root() (*tree.Node, error) {
	n, err := r.readInode(r.root)
	if err != nil {
		return nil, tree.Within(err, "root")
	}
	if n.typ != tree.Directory {
		return nil, r.corrupt("root", "%s is a %s, no directory", n.place(), n.typ)
	}
	return (&nodeMaker{r: r}).node("", &n)
}

// nodeMaker makes the nodes of one listing.
type nodeMaker struct {
	r      *Reader
	shared map[uint32]tree.Xattr // by id: the nodes share equal ones
	bytes  int64                 // of attributes and symlink targets
}

// listingBytesMax bounds what the attributes and symlink targets of a listing take in
// memory: inodes may lie over each other, so that one value stands in many.
const listingBytesMax = 64 << 20

// charge counts bytes against that bound.
func (m *nodeMaker) charge(n *inode, bytes int) error {
	if m.bytes += int64(bytes); m.bytes > listingBytesMax {
		return tree.Unsupported(m.r.name, n.place(), "attributes and symlink targets of one directory take more than %d bytes",
			listingBytesMax)
	}
	return nil
}

// fileNode and dirNode put a node and what hangs on it into one allocation.
type fileNode struct {
	tree.Node
	data fileData
}

type dirNode struct {
	tree.Node
	dir dir
}

// node makes the tree's node for an inode.
func (m *nodeMaker) node(name string, n *inode) (*tree.Node, error) {
	r := m.r
	var node *tree.Node
	switch n.typ {
	case tree.Regular:
		f := &fileNode{data: *r.fileData(n)}
		node = &f.Node
		node.Data, node.Size = &f.data, n.size
	case tree.Directory:
		d := &dirNode{dir: dir{data: *r.fileData(n)}}
		node = &d.Node
		node.Dir = &d.dir
	case tree.Symlink:
		node = &tree.Node{}
		target, err := r.target(n)
		if err != nil {
			return nil, err
		}
		node.Target, node.Size = target, n.size
		if err := m.charge(n, len(target)); err != nil {
			return nil, err
		}
	case tree.BlockDevice, tree.CharDevice:
		node = &tree.Node{}
		node.Rdev = tree.RdevFromLinux(n.U)
	default:
		node = &tree.Node{}
	}
	node.Name, node.Type, node.Perm = name, n.typ, n.Mode&0o7777
	node.UID, node.GID, node.Mtime = n.UID, n.GID, r.mtime(n)
	node.Nlink = n.nlink
	node.Inode = tree.Inode{Source: r, Number: n.nid}
	node.Origin = node.Inode
	var err error
	if node.Xattrs, err = m.xattrs(n); err != nil {
		return nil, tree.Within(err, "%s", n.place())
	}
	return node, nil
}

// target reads a symlink's target.
func (r *Reader) target(n *inode) (string, error) {
	if n.size == 0 || n.size > symlinkMax {
		return "", r.corrupt(n.place(), "symlink target of %d bytes; 1 to %d are allowed", n.size, symlinkMax)
	}
	c, err := r.fileData(n).open(false)
	if err != nil {
		return "", err
	}
	b := make([]byte, n.size)
	if err := tree.ReadFull(c, b, 0); err != nil {
		return "", err
	}
	target := string(b)
	if strings.IndexByte(target, 0) >= 0 {
		return "", r.corrupt(n.place(), "symlink target %.100q holds a NUL", target)
	}
	return target, nil
}
