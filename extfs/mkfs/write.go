package mkfs

import (
	"context"
	"encoding/binary"
	"fmt"

	"relive/extfs"
	"relive/extfs/internal/ondisk"
	"relive/tree"
)

// How much streams collect, at most.
const (
	dataBuffer  = 4 << 20
	dirBuffer   = 1 << 20
	inodeBuffer = 1 << 20
	xattrBuffer = 256 << 10
	// zeroGap is how many bytes of zeros are written along to keep a write
	// in one piece.
	zeroGap = 64 << 10
)

// writer is the second pass.
type writer struct {
	ctx  context.Context
	w    Image
	o    *resolved
	c    *census
	p    *plan
	g    *layout
	walk *walk
	seed uint32

	inUse  *bitmap // every block in use, at the end
	dirs   *dirWriter
	maps   *mapWriter
	block  []byte
	raw    []byte
	dirAt  *placement
	dataAt *placement
	xattr  cursor

	xattrPlace []uint64              // by number of attribute block
	dirPlace   map[uint32][]blockRun // of directories whose entries are still to come

	inodes, data, dirData, xattrs *stream
	extents                       []extent
	freed                         []blockRun

	groupDirs []uint32
	last      uint32 // the highest inode in use
	orphanIno uint32
	jnl       freshInode
	report    Report
}

// writeImage writes the tree as planned.
func writeImage(ctx context.Context, w Image, root *tree.Node, o *resolved, c *census, p *plan) (Report, error) {
	g := p.geo
	// A small tree needs no more than it has blocks, and some of the file system's.
	room := func(most int) int { return int(min(uint64(most), (p.taken+16)*uint64(g.blockSize))) }
	b := &writer{
		ctx: ctx, w: w, o: o, c: c, p: p, g: g,
		block: make([]byte, g.blockSize), raw: make([]byte, g.inodeSize),
		dirAt: newPlacement(o, g, 0), dataAt: newPlacement(o, g, p.dataStart),
		xattr:    cursor{used: g.used, at: p.xattrStart},
		dirPlace: map[uint32][]blockRun{},
		inodes:   newStream(w, room(inodeBuffer)), data: newBackgroundStream(w, room(dataBuffer)),
		dirData: newStream(w, room(dirBuffer)), xattrs: newStream(w, room(xattrBuffer)),
		groupDirs: make([]uint32, g.groups),
	}
	b.seed = ondisk.CRC32C(^uint32(0), o.UUID[:])
	b.inUse = &bitmap{words: append([]uint64(nil), g.used.words...), n: g.used.n}
	b.inUse.setRange(0, p.end)
	b.dirs = newDirWriter(g.feat, g.blockSize, o.hash, b.seed)
	b.maps = newMapWriter(g.feat, g.blockSize, b.seed, b.writeBlock)
	b.walk = &walk{ctx: ctx, image: o.Name, visitor: b, lost: o.lostFound(), identity: b.identity}

	// First to nothing, so that whatever w held before is gone.
	for _, size := range [...]int64{0, g.size} {
		if err := w.Truncate(size); err != nil {
			return Report{}, fmt.Errorf("%s: setting the size to %d: %w", o.Name, size, err)
		}
	}
	// Where all goes well, finish has waited; else what went wrong first counts.
	defer func() { _ = b.data.wait() }()
	if err := b.walk.run(root, g.blockSize); err != nil {
		return Report{}, err
	}
	if err := b.finish(); err != nil {
		return Report{}, fmt.Errorf("%s: %w", o.Name, err)
	}
	return b.report, nil
}

// errChanged is the error of a tree that differs from what the first pass saw.
func errChanged(what string) error {
	return fmt.Errorf("the tree changed while it was read: %s", what)
}

func (b *writer) identity(id tree.Inode, ino uint32) (uint32, bool, error) {
	known, ok := b.c.links[id]
	if !ok || known > ino {
		return 0, false, errChanged("a hard link is new")
	}
	return known, known == ino, nil
}

// offset is where a block begins in the image.
func (b *writer) offset(block uint64) int64 { return int64(block) * int64(b.g.blockSize) }

// writeBlock writes a block of a mapping.
func (b *writer) writeBlock(block uint64, p []byte) error {
	return b.data.write(p, b.offset(block))
}

// record returns what the first pass noted of an inode.
func (b *writer) record(ino uint32, kind recordKind) (inodeRecord, error) {
	i := recordOf(ino)
	if i >= len(b.c.records) {
		return inodeRecord{}, errChanged("there are more files")
	}
	rec := b.c.records[i]
	if rec.kind != kind {
		return rec, errChanged("another file is in its place")
	}
	return rec, nil
}

func (b *writer) inode(n *tree.Node, ino uint32) (more int, err error) {
	if ino == ondisk.InoRoot {
		if err := b.reservedBefore(); err != nil {
			return 0, err
		}
	}
	kind := holdsNothing
	switch {
	case n.Type == tree.Directory:
		kind = holdsDirectory
	case n.Type == tree.Regular:
		kind = holdsData
	case n.Type == tree.Symlink && len(n.Target) >= ondisk.InBlockSize:
		kind = holdsTarget
	}
	rec, err := b.record(ino, kind)
	if err != nil {
		return 0, err
	}
	in := freshInode{
		mode: uint16(n.Type.ModeBits()) | n.Perm&0o7777, uid: n.UID, gid: n.GID,
		time: n.Mtime, links: uint16(rec.links),
	}
	if _, changed := clampTime(n.Mtime, b.g.inodeSize); changed {
		b.report.TimesChanged++
	}
	if kind == holdsDirectory || kind == holdsData {
		in.flags |= uint32(n.Flags & extfs.KeptFlags)
	}
	var values []*storedXattr
	if len(n.Xattrs) > 0 {
		if values, err = b.attributes(n, ino, rec, &in); err != nil {
			return 0, err
		}
	} else if rec.xattrs >= 0 {
		return 0, errChanged("extended attributes are gone")
	}
	switch n.Type {
	case tree.Directory:
		err = b.placeDirectory(rec, ino, &in)
	case tree.Regular:
		in.size = uint64(n.Size)
		err = b.content(n, rec, ino, &in)
	case tree.Symlink:
		in.size = uint64(len(n.Target))
		if kind == holdsTarget {
			err = b.bytes([]byte(n.Target), rec, ino, &in)
		} else {
			copy(in.iblock[:], n.Target)
		}
	case tree.BlockDevice, tree.CharDevice:
		putDevice(in.iblock[:], n.Rdev)
	}
	if err != nil {
		return 0, err
	}
	if err := b.putInode(&in, ino); err != nil {
		return 0, err
	}
	if ino == ondisk.InoRoot {
		if err := b.reservedAfter(); err != nil {
			return 0, err
		}
	}
	for _, x := range values {
		if err := b.value(x); err != nil {
			return 0, err
		}
	}
	return len(values), nil
}

func (b *writer) link(*tree.Node, uint32) error { return nil }

// putInode writes an inode into the inode table. Inodes come in ascending
// order.
func (b *writer) putInode(in *freshInode, ino uint32) error {
	in.put(b.raw, ino, b.g, b.seed)
	if in.mode&ondisk.ModeFmt == ondisk.ModeDir {
		b.groupDirs[(ino-1)/b.g.inodesPerGroup]++
	}
	b.last = max(b.last, ino)
	return b.inodes.write(b.raw, b.g.inodeOffset(ino))
}

// mapExtents fills the inode's i_block and counts its blocks.
func (b *writer) mapExtents(in *freshInode, ino uint32, extents []extent, meta *blockList) error {
	for _, e := range extents {
		in.blocks += uint64(e.n)
	}
	if b.g.feat.extents() {
		in.flags |= ondisk.FlExtents
	}
	n, err := b.maps.put(in.iblock[:], ino, extents, meta)
	in.blocks += uint64(n)
	return err
}

// attributes puts attributes into the inode and, under its first user, writes
// the attribute block.
func (b *writer) attributes(n *tree.Node, ino uint32, rec inodeRecord, in *freshInode) ([]*storedXattr, error) {
	split, err := splitXattrs(n.Xattrs, attributeSpace(n, b.g.inodeSize, b.g.feat), b.g.blockSize, b.g.feat.eaInode())
	if err != nil {
		return nil, err
	}
	values := split.values(ino)
	for _, x := range values {
		x.vhash = ondisk.CRC32C(b.seed, []byte(x.value))
		// The blocks count for the file too, as quota has it.
		in.blocks += uint64(divCeil(len(x.value), b.g.blockSize))
	}
	in.body = split.body
	if (len(split.block) > 0) != (rec.xattrs >= 0) {
		return nil, errChanged("extended attributes differ")
	}
	if rec.xattrs < 0 {
		return values, nil
	}
	switch number := int(rec.xattrs); {
	case number == len(b.xattrPlace):
		place := b.xattr.take(1, nil)[0].start
		b.xattrPlace = append(b.xattrPlace, place)
		putXattrBlock(b.block, split.block, b.c.xattrRefs[number])
		if b.g.feat.csum() {
			binary.LittleEndian.PutUint32(b.block[ondisk.XAHdrCsum:], ondisk.XattrBlockChecksum(b.seed, place, b.block))
		}
		if err := b.xattrs.write(b.block, b.offset(place)); err != nil {
			return nil, err
		}
	case number > len(b.xattrPlace):
		return nil, errChanged("extended attributes differ")
	}
	in.acl = b.xattrPlace[rec.xattrs]
	in.blocks++
	return values, nil
}

// value writes the inode that holds an attribute's value.
func (b *writer) value(x *storedXattr) error {
	rec, err := b.record(x.inum, holdsValue)
	if err != nil {
		return err
	}
	in := freshInode{
		mode: ondisk.ModeReg | 0o600, size: uint64(len(x.value)), time: b.o.Time, links: 1,
		flags: ondisk.FlEAInode, eaHolder: true, eaHash: x.vhash,
	}
	if err := b.bytes([]byte(x.value), rec, x.inum, &in); err != nil {
		return err
	}
	return b.putInode(&in, x.inum)
}

// placeDirectory maps a directory, whose entries come later.
func (b *writer) placeDirectory(rec inodeRecord, ino uint32, in *freshInode) error {
	logical, data, meta, err := b.dirAt.next(rec, nil)
	if err != nil {
		return err
	}
	in.size = uint64(rec.blocks) * uint64(b.g.blockSize)
	b.extents = appendExtents(b.extents[:0], logical, data)
	b.dirPlace[ino] = append([]blockRun(nil), data...)
	if rec.indexed {
		in.flags |= ondisk.FlIndex
	}
	return b.mapExtents(in, ino, b.extents, &blockList{runs: meta})
}

func (b *writer) directory(self, parent uint32, entries []direntry, subdirs, minBlocks int) error {
	b.report.Directories++
	b.report.Files += len(entries) - subdirs
	left := blockList{runs: b.dirPlace[self]}
	delete(b.dirPlace, self)
	err := b.dirs.write(entries, minBlocks, self, parent, func(p []byte) error {
		block, ok := left.next()
		if !ok {
			return errChanged("a directory grew")
		}
		return b.dirData.write(p, b.offset(block))
	})
	if err != nil {
		return err
	}
	if len(left.runs) > 0 {
		return errChanged("a directory shrank")
	}
	return nil
}

// bytes writes content that is in memory.
func (b *writer) bytes(p []byte, rec inodeRecord, ino uint32, in *freshInode) error {
	bs := b.g.blockSize
	if divCeil(len(p), bs) != int(rec.blocks) {
		return errChanged("content has another size")
	}
	logical, data, meta, err := b.dataAt.next(rec, nil)
	if err != nil {
		return err
	}
	for list := (blockList{runs: data}); len(p) > 0; {
		block, _ := list.next()
		clear(b.block)
		n := copy(b.block, p)
		p = p[n:]
		if err := b.data.write(b.block, b.offset(block)); err != nil {
			return err
		}
	}
	b.extents = appendExtents(b.extents[:0], logical, data)
	return b.mapExtents(in, ino, b.extents, &blockList{runs: meta})
}
