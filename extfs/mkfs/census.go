package mkfs

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"

	"relive/extfs/internal/ondisk"
	"relive/tree"
)

const (
	// denseBelow is the size in bytes up to which files are taken to have no
	// holes; opening every small file twice would cost more than it tells.
	denseBelow = 64 << 10
	// maxRuns bounds what is remembered of a file's holes; those after it are
	// found by their zeros.
	maxRuns = 1 << 16
)

// What an inode's blocks hold.
type recordKind uint8

const (
	holdsNothing recordKind = iota
	holdsDirectory
	holdsData
	holdsTarget // of a symlink
	holdsValue  // of an extended attribute
)

// inodeRecord is what the first pass learns of an inode.
type inodeRecord struct {
	blocks uint32 // blocks of content, without those that map them
	links  uint32
	xattrs int32 // number of the attribute block, -1 without
	kind   recordKind
	// indexed directories are hash trees.
	indexed bool
}

// census is what the first pass learns of a tree: how many inodes and blocks
// of which kind, in the order of inode numbers. It depends on the block size
// and the features but not on the size of the image.
type census struct {
	o    *resolved
	walk *walk

	records []inodeRecord
	sparse  map[uint32][]logicalRun // by inode, of files with holes
	links   map[tree.Inode]uint32

	xattrRefs  []uint32           // by number of attribute block
	xattrBlock map[[32]byte]int32 // the block that identical sets share

	dirs   *dirWriter
	buf    []byte
	digest hash.Hash
	newest tree.Time
	dated  bool
	large  bool // a file of 2 GiB or more
	named  bool // an extended attribute

	files, directories int
}

// takeCensus is the first pass. It settles what of o depends on the tree.
func takeCensus(ctx context.Context, o *resolved, root *tree.Node) (*census, error) {
	c := &census{
		o: o, sparse: map[uint32][]logicalRun{}, links: map[tree.Inode]uint32{},
		xattrBlock: map[[32]byte]int32{},
		dirs:       newDirWriter(o.feat, o.blockSize, o.hash, 0),
		buf:        make([]byte, o.blockSize),
		digest:     sha256.New(),
	}
	c.walk = &walk{ctx: ctx, image: o.Name, visitor: c, lost: o.lostFound()}
	c.walk.identity = func(id tree.Inode, ino uint32) (uint32, bool, error) {
		if known, ok := c.links[id]; ok {
			return known, false, nil
		}
		c.links[id] = ino
		return ino, true, nil
	}
	if err := c.walk.run(root, o.blockSize); err != nil {
		return nil, err
	}
	c.dirs, c.buf = nil, nil
	if o.Time == (tree.Time{}) && c.dated {
		o.Time = c.newest
	}
	if o.UUID == ([16]byte{}) {
		o.UUID = derivedUUID("uuid", []byte(o.Label), c.digest.Sum(nil))
	}
	// The resize inode is as long as its double indirect block reaches.
	if perBlock := int64(o.blockSize / 4); o.feat.resize() && perBlock*perBlock*int64(o.blockSize) >= 1<<31 {
		c.large = true
	}
	if c.large {
		o.feat.ROCompat |= ondisk.ROLargeFile
	}
	if c.named {
		o.feat.Compat |= ondisk.CompatExtAttr
	}
	return c, nil
}

// lostFound is the lost+found to add where the tree has none.
func (o *resolved) lostFound() *tree.Node {
	if o.NoLostAndFound {
		return nil
	}
	return &tree.Node{
		Name: lostFoundName,
		Meta: tree.Meta{Type: tree.Directory, Perm: 0o700, Mtime: o.Time},
		Dir:  emptyDir{},
	}
}

// inodesUsed counts reserved inodes too, and the orphan file.
func (c *census) inodesUsed() uint64 {
	n := uint64(firstInode-1) + uint64(len(c.records)) - 1
	if c.o.feat.orphanFile() {
		n++
	}
	return n
}

// recordOf returns the place of an inode's record.
func recordOf(ino uint32) int {
	if ino == ondisk.InoRoot {
		return 0
	}
	return int(ino - firstInode + 1)
}

func (c *census) inode(n *tree.Node, ino uint32) (more int, err error) {
	bs := int64(c.o.blockSize)
	rec := inodeRecord{links: 1, xattrs: -1}
	switch n.Type {
	case tree.Directory:
		rec.kind = holdsDirectory
		c.directories++
	case tree.Regular:
		rec.kind = holdsData
		if rec.blocks, err = c.contentBlocks(n, ino); err != nil {
			return 0, err
		}
	case tree.Symlink:
		switch {
		case n.Target == "":
			return 0, fmt.Errorf("%w: symlink without a target", tree.ErrUnsupported)
		case int64(len(n.Target)) >= min(bs, 4096):
			return 0, fmt.Errorf("%w: symlink target of %d bytes with blocks of %d", tree.ErrUnsupported, len(n.Target), bs)
		case strings.IndexByte(n.Target, 0) >= 0:
			return 0, fmt.Errorf("%w: symlink target holds a NUL", tree.ErrUnsupported)
		case len(n.Target) >= ondisk.InBlockSize:
			rec.kind, rec.blocks = holdsTarget, 1
		}
	case tree.BlockDevice, tree.CharDevice:
		var iblock [ondisk.InBlockSize]byte
		if !putDevice(iblock[:], n.Rdev) {
			return 0, fmt.Errorf("%w: device number %d:%d", tree.ErrUnsupported, n.Rdev.Major, n.Rdev.Minor)
		}
	}
	if n.Type != tree.Directory {
		c.files++
	}
	c.note(n)
	c.records = append(c.records, rec)
	if len(n.Xattrs) == 0 {
		return 0, nil
	}
	return c.attributes(n, ino)
}

func (c *census) link(n *tree.Node, ino uint32) error {
	rec := &c.records[recordOf(ino)]
	if rec.links == ondisk.MaxLinkCount {
		return fmt.Errorf("%w: more than %d hard links of one file", tree.ErrUnsupported, ondisk.MaxLinkCount)
	}
	rec.links++
	c.files++
	c.digest.Write([]byte(n.Name))
	return nil
}

func (c *census) directory(self, parent uint32, entries []direntry, subdirs, minBlocks int) error {
	p := c.dirs.plan(entries, minBlocks)
	if int64(p.blocks)*int64(c.o.blockSize) >= 1<<31 && !c.o.feat.largeDir() {
		return fmt.Errorf("%w: directory of %d blocks without the feature large_dir", tree.ErrUnsupported, p.blocks)
	}
	rec := &c.records[recordOf(self)]
	rec.blocks = uint32(p.blocks)
	rec.indexed = p.indexed
	rec.links = uint32(subdirs) + 2
	if rec.links > ondisk.MaxLinkCount {
		if !c.o.feat.dirNlink() {
			return fmt.Errorf("%w: %d subdirectories without the feature dir_nlink", tree.ErrUnsupported, subdirs)
		}
		rec.links = 1
	}
	return nil
}

// note takes the inode into the digest and its time into the newest one.
func (c *census) note(n *tree.Node) {
	if !c.dated || c.newest.Before(n.Mtime) {
		c.newest, c.dated = n.Mtime, true
	}
	var b [48]byte
	le := binary.LittleEndian
	le.PutUint32(b[0:], n.Type.ModeBits()|uint32(n.Perm))
	le.PutUint32(b[4:], n.UID)
	le.PutUint32(b[8:], n.GID)
	le.PutUint64(b[12:], uint64(n.Mtime.Sec))
	le.PutUint32(b[20:], n.Mtime.Nsec)
	le.PutUint64(b[24:], uint64(n.Size))
	le.PutUint32(b[32:], n.Rdev.Major)
	le.PutUint32(b[36:], n.Rdev.Minor)
	le.PutUint32(b[40:], uint32(len(n.Name)))
	le.PutUint32(b[44:], uint32(len(n.Target)))
	c.digest.Write(b[:])
	c.digest.Write([]byte(n.Name))
	c.digest.Write([]byte(n.Target))
	for _, a := range n.Xattrs {
		fmt.Fprintf(c.digest, "%d %d %s%s", len(a.Name), len(a.Value), a.Name, a.Value)
	}
}

// contentBlocks counts the blocks of a file that are not known to be holes.
func (c *census) contentBlocks(n *tree.Node, ino uint32) (uint32, error) {
	bs := int64(c.o.blockSize)
	if n.Size < 0 {
		return 0, fmt.Errorf("%w: size %d", tree.ErrCorrupt, n.Size)
	}
	if n.Size > 0 && n.Data == nil {
		return 0, fmt.Errorf("%w: file of %d bytes without content", tree.ErrCorrupt, n.Size)
	}
	if n.Size >= 1<<31 {
		c.large = true
	}
	if n.Size > (ondisk.ExtMaxLogical)*bs {
		return 0, fmt.Errorf("%w: file of %d bytes with blocks of %d", tree.ErrUnsupported, n.Size, bs)
	}
	blocks := uint32(divCeil(n.Size, bs))
	if n.Size > denseBelow {
		runs, err := contentRuns(n, c.o.blockSize)
		if err != nil {
			return 0, err
		}
		if len(runs) != 1 || runs[0].n != blocks {
			blocks = 0
			for _, r := range runs {
				blocks += r.n
			}
			c.sparse[ino] = runs
		}
		if !c.o.feat.extents() {
			if _, ok := indirectBlocks(runs, c.o.blockSize); !ok {
				return 0, fmt.Errorf("%w: file of %d bytes with blocks of %d without the feature extent", tree.ErrUnsupported, n.Size, bs)
			}
		}
	}
	if uint64(blocks)*uint64(bs/512) >= 1<<32 && !c.o.feat.hugeFile() {
		return 0, fmt.Errorf("%w: file with %d blocks of %d bytes without the feature huge_file", tree.ErrUnsupported, blocks, bs)
	}
	return blocks, nil
}

// contentRuns returns the runs of blocks of a file that may hold anything but
// zeros.
func contentRuns(n *tree.Node, blockSize int) ([]logicalRun, error) {
	content, err := n.Open()
	if err != nil {
		return nil, err
	}
	defer content.Close()
	if size := content.Size(); size != n.Size {
		return nil, fmt.Errorf("content has %d bytes, not %d", size, n.Size)
	}
	bs := int64(blockSize)
	runs := []logicalRun{} // not nil: that is a file without holes
	for off := int64(0); off < n.Size; {
		start, end, err := content.NextData(off)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("looking for data after %d: %w", off, err)
		}
		if start < off || end <= start {
			return nil, fmt.Errorf("%w: data after %d is said to be at %d to %d", tree.ErrCorrupt, off, start, end)
		}
		end = min(end, n.Size)
		if start >= end {
			break
		}
		if len(runs) == maxRuns {
			end = n.Size
		}
		first, past := uint32(start/bs), uint32(divCeil(end, bs))
		if k := len(runs); k > 0 && first <= runs[k-1].start+runs[k-1].n {
			runs[k-1].n = past - runs[k-1].start
		} else {
			runs = append(runs, logicalRun{first, past - first})
		}
		off = end
	}
	return runs, nil
}

// attributes records where an inode's extended attributes go.
func (c *census) attributes(n *tree.Node, ino uint32) (more int, err error) {
	c.named = true
	split, err := splitXattrs(n.Xattrs, attributeSpace(n, c.o.inodeSize, c.o.feat), c.o.blockSize, c.o.feat.eaInode())
	if err != nil {
		return 0, err
	}
	rec := len(c.records) - 1
	for _, x := range split.values(ino) {
		c.records = append(c.records, inodeRecord{
			blocks: uint32(divCeil(len(x.value), c.o.blockSize)), links: 1, xattrs: -1, kind: holdsValue,
		})
		more++
	}
	if len(split.block) == 0 {
		return more, nil
	}
	putXattrBlock(c.buf, split.block, 0)
	key := sha256.Sum256(c.buf)
	number, ok := c.xattrBlock[key]
	if !ok || c.xattrRefs[number] == ondisk.XARefcountMax {
		number = int32(len(c.xattrRefs))
		c.xattrRefs = append(c.xattrRefs, 0)
		c.xattrBlock[key] = number
	}
	c.xattrRefs[number]++
	c.records[rec].xattrs = number
	return more, nil
}
