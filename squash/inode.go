package squash

import (
	"encoding/binary"
	"fmt"
	"math"

	"relive/squash/internal/ondisk"
	"relive/tree"
)

// inode is an inode that was read: its head, where it is, and where what
// follows its head starts (for an extended symlink, and a symlink, there is
// nothing left: target holds it).
type inode struct {
	ondisk.InodeHead
	ref    ondisk.Ref
	tail   ondisk.Ref
	target string
}

// place names the inode in errors.
func (n *inode) place() string { return inodePlace(n.Number) }

func inodePlace(number uint32) string { return fmt.Sprintf("inode %d", number) }

// readInode reads the inode at ref. What it gives has a valid type, and all its
// references are in the range of their tables.
func (r *Reader) readInode(c *cursor, ref ondisk.Ref) (inode, error) {
	if err := c.seek(ref); err != nil {
		return inode{}, err
	}
	return r.nextInode(c)
}

// nextInode reads the inode at the cursor, which it leaves at the inode's tail,
// or behind a symlink.
func (r *Reader) nextInode(c *cursor) (inode, error) {
	n, err := r.decodeInode(c)
	if err != nil {
		return inode{}, err
	}
	if fact := r.inodeFault(&n.InodeHead); fact != "" {
		return inode{}, r.corrupt(n.place(), "%s", fact)
	}
	return n, nil
}

// decodeInode reads an inode as nextInode does, but checks only what is needed
// to find its end.
func (r *Reader) decodeInode(c *cursor) (inode, error) {
	var n inode
	// Where the last inode filled its block, the next one starts in the next.
	if _, err := c.rest(); err != nil {
		return inode{}, err
	}
	n.ref = c.tell()
	var head [ondisk.MaxHeadSize]byte
	if err := c.read(head[:ondisk.CommonSize]); err != nil {
		return inode{}, tree.Within(err, "inode at %#x", uint64(n.ref))
	}
	ondisk.DecodeInodeCommon(&n.InodeHead, head[:])
	if !n.Type.Valid() {
		return inode{}, r.corrupt(fmt.Sprintf("inode table: inode at %#x", uint64(n.ref)), "has the unknown type %d", n.Type)
	}
	if err := c.read(head[ondisk.CommonSize:n.Type.HeadSize()]); err != nil {
		return inode{}, tree.Within(err, "%s", n.place())
	}
	ondisk.DecodeInodeRest(&n.InodeHead, head[:])
	n.tail = c.tell()
	if n.Type.Basic() != ondisk.InodeSymlink {
		return n, nil
	}
	if n.TargetSize == 0 || n.TargetSize > ondisk.SymlinkMax {
		return inode{}, r.corrupt(n.place(), "symlink target of %d bytes; 1 to %d are allowed", n.TargetSize, ondisk.SymlinkMax)
	}
	target := make([]byte, n.TargetSize)
	if err := c.read(target); err != nil {
		return inode{}, tree.Within(err, "%s: symlink target", n.place())
	}
	n.target = string(target)
	if n.Type.Extended() {
		var b [4]byte
		if err := c.read(b[:]); err != nil {
			return inode{}, tree.Within(err, "%s", n.place())
		}
		n.Xattr = binary.LittleEndian.Uint32(b[:])
	}
	return n, nil
}

// inodeFault tells what is wrong with the head of an inode, or "".
func (r *Reader) inodeFault(n *ondisk.InodeHead) string {
	switch {
	case n.Number == 0 || n.Number > r.super.InodeCount:
		return fmt.Sprintf("its number is not from 1 to %d", r.super.InodeCount)
	case int(n.UID) >= len(r.ids) || int(n.GID) >= len(r.ids):
		return fmt.Sprintf("owner %d:%d is not in the id table of %d entries", n.UID, n.GID, len(r.ids))
	case n.Xattr != ondisk.NoXattr && n.Xattr >= r.xattrCount:
		return fmt.Sprintf("xattr index %d is not in the table of %d entries", n.Xattr, r.xattrCount)
	}
	switch n.Type.Basic() {
	case ondisk.InodeFile:
		blocks := ondisk.BlockCount(n.FileSize, r.super.BlockSize, n.Fragment)
		switch {
		case n.FileSize > math.MaxInt64:
			return fmt.Sprintf("file size %d", n.FileSize)
		case blocks > r.inodes.maxDecoded()/4:
			return fmt.Sprintf("%d bytes are %d blocks, more than the inode table can list", n.FileSize, blocks)
		case n.Start > math.MaxInt64:
			return fmt.Sprintf("blocks start at %d", n.Start)
		case n.Fragment == ondisk.NoFragment:
		case n.Fragment >= r.super.FragmentCount:
			return fmt.Sprintf("fragment %d is not in the table of %d entries", n.Fragment, r.super.FragmentCount)
		case uint64(n.FragmentOffset)+n.FileSize%uint64(r.blockSize) > uint64(r.blockSize):
			return fmt.Sprintf("its tail of %d bytes at %d reaches past the end of a fragment block", n.FileSize%uint64(r.blockSize),
				n.FragmentOffset)
		}
	case ondisk.InodeDir:
		if n.Listing() == 0 {
			break
		}
		switch {
		case int64(n.DirBlock) >= r.dirs.end-r.dirs.start:
			return fmt.Sprintf("its listing at %#x lies outside the directory table of %d bytes", n.DirBlock, r.dirs.end-r.dirs.start)
		case n.DirOffset >= ondisk.MetadataSize:
			return fmt.Sprintf("its listing starts at byte %d of a metadata block", n.DirOffset)
		case uint64(n.Listing()) > r.dirs.maxDecoded():
			return fmt.Sprintf("its listing of %d bytes is larger than the directory table", n.Listing())
		}
	}
	return ""
}

// Root returns the root directory.
func (r *Reader) Root() (*tree.Node, error) {
	m := nodeMaker{r: r, c: r.cursor(&r.inodes)}
	n, err := r.readInode(m.c, r.super.Root)
	if err != nil {
		return nil, tree.Within(err, "root")
	}
	if n.Type.Basic() != ondisk.InodeDir {
		return nil, r.corrupt("root", "inode %d is a %s, no directory", n.Number, n.Type)
	}
	return m.node("", &n)
}

// nodeMaker makes the nodes of one listing.
type nodeMaker struct {
	r     *Reader
	c     *cursor
	sets  map[uint32]tree.Xattrs // by xattr id: the nodes share equal ones
	bytes int64                  // of attributes and symlink targets
}

// listingBytesMax bounds what the attributes and symlink targets of a listing
// take in memory: one value in the image can stand in many sets of attributes,
// and a megabyte of targets packs into a kilobyte.
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
	switch n.Type.Basic() {
	case ondisk.InodeFile:
		f := &fileNode{data: fileData{
			r: r, number: n.Number, start: int64(n.Start), size: int64(n.FileSize),
			fragment: n.Fragment, fragmentOffset: n.FragmentOffset, list: n.tail,
		}}
		node = &f.Node
		node.Data, node.Size = &f.data, int64(n.FileSize)
	case ondisk.InodeDir:
		d := &dirNode{dir: dir{
			r: r, number: n.Number, ref: n.ref, index: n.tail, indexCount: n.IndexCount,
			start: ondisk.MakeRef(int64(n.DirBlock), int(n.DirOffset)), size: n.Listing(),
		}}
		node = &d.Node
		node.Dir = &d.dir
	case ondisk.InodeSymlink:
		node = &tree.Node{}
		node.Target, node.Size = n.target, int64(len(n.target))
		if err := m.charge(n, len(n.target)); err != nil {
			return nil, err
		}
	case ondisk.InodeBlockDev, ondisk.InodeCharDev:
		node = &tree.Node{}
		node.Rdev = tree.RdevFromLinux(n.Rdev)
	default:
		node = &tree.Node{}
	}
	node.Name = name
	node.Type = n.Type.Tree()
	node.Perm = n.Mode & 0o7777
	node.UID, node.GID = r.ids[n.UID], r.ids[n.GID]
	node.Mtime.Sec = int64(n.Mtime)
	node.Nlink = n.Nlink
	node.Inode = tree.Inode{Source: r, Number: uint64(n.Number)}
	node.Origin = node.Inode
	if n.Xattr != ondisk.NoXattr {
		var err error
		if node.Xattrs, err = m.xattrs(n); err != nil {
			return nil, tree.Within(err, "%s", n.place())
		}
	}
	return node, nil
}

// xattrs returns the attributes of an inode that has some.
func (m *nodeMaker) xattrs(n *inode) (tree.Xattrs, error) {
	if x, ok := m.sets[n.Xattr]; ok {
		return x, nil
	}
	x, err := m.r.xattrs.Get(n.Xattr)
	if err != nil {
		return nil, err
	}
	bytes := 0
	for _, a := range x {
		bytes += len(a.Name) + len(a.Value)
	}
	if m.sets == nil {
		m.sets = make(map[uint32]tree.Xattrs)
	}
	m.sets[n.Xattr] = x
	return x, m.charge(n, bytes)
}
