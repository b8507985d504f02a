package extfs

import (
	"fmt"
	"iter"

	"relive/extfs/internal/ondisk"
	"relive/tree"
)

// ByteRange is a range of bytes of a device.
type ByteRange struct {
	Start  int64 // offset of the first byte
	Length int64
}

// End is the offset after the last byte.
func (r ByteRange) End() int64 { return r.Start + r.Length }

// FreeRanges returns the parts of the device, in bytes and ascending order, that
// hold nothing: the blocks that are free after recovery, each range as long as
// it can be. What stands there can be replaced by anything, zeros among it,
// without a change to the tree or to what e2fsck finds. What lies outside of
// the file system, before the first block or past the last, is not free.
//
// Where the block bitmaps cannot be trusted it is an error: tree.ErrUnsupported
// for a file system with errors, or one without a journal that was not cleanly
// unmounted; tree.ErrCorrupt where they call a block free that holds the file
// system's own structures or its journal. An error ends the sequence.
func (fs *FS) FreeRanges() iter.Seq2[ByteRange, error] {
	return func(yield func(ByteRange, error) bool) {
		if err := fs.trustBitmaps(); err != nil {
			yield(ByteRange{}, err)
			return
		}
		bits := fs.geo.blockBits
		for r, err := range fs.FreeExtents() {
			if err != nil {
				yield(ByteRange{}, err)
				return
			}
			if !yield(ByteRange{Start: r.Start << bits, Length: r.Count << bits}, nil) {
				return
			}
		}
	}
}

// trustBitmaps returns an error where the bitmaps may call free what is in use.
func (fs *FS) trustBitmaps() error {
	state := ondisk.LE16(fs.sb, ondisk.SBState)
	const unknown = "which blocks are free is not known; run e2fsck first"
	switch {
	case state&ondisk.StateErrors != 0 || fs.journal.Errno != 0:
		return tree.Unsupported(fs.name, "superblock", "the file system has errors: "+unknown)
	case state&ondisk.StateValid == 0 && !fs.journal.Present:
		return tree.Unsupported(fs.name, "superblock", "not cleanly unmounted, and without a journal: "+unknown)
	}
	return fs.checkSystemZone()
}

// checkSystemZone returns an error where a bitmap calls free what the file system
// itself takes: superblocks, descriptors and the room for more of them,
// bitmaps, inode tables and the journal.
func (fs *FS) checkSystemZone() error {
	geo := fs.geo
	for n := range geo.groups {
		g, err := fs.group(n)
		if err != nil {
			return err
		}
		for _, r := range [...]struct {
			what         string
			start, count uint64
		}{
			{"the superblock's copy and descriptors", geo.groupFirstBlock(n), min(geo.superBlocks(n), geo.groupBlocks(n))},
			{"the block bitmap", g.blockBitmap, 1},
			{"the inode bitmap", g.inodeBitmap, 1},
			{"the inode table", g.inodeTable, geo.inodeTableBlocks()},
		} {
			if err := fs.checkUsed(r.start, r.count); err != nil {
				return fmt.Errorf("%w (%s of group %d)", err, r.what, n)
			}
		}
	}
	if fs.journal.Inode == 0 || fs.journal.Err != nil {
		return nil
	}
	in, err := fs.inode(fs.journal.Inode)
	if err != nil {
		return err
	}
	for f := fs.ranges(in); ; {
		r, err := f.next()
		if err == nil && r.Length > 0 {
			err = fs.checkUsed(uint64(r.Physical)>>geo.blockBits, uint64(r.Length+geo.blockSize-1)>>geo.blockBits)
		}
		if err != nil {
			return fmt.Errorf("%w (the journal)", err)
		}
		if r.Length == 0 {
			return nil
		}
	}
}

// checkUsed returns an error where a bitmap calls one of count blocks free.
func (fs *FS) checkUsed(start, count uint64) error {
	geo := fs.geo
	for count > 0 {
		n := uint32((start - geo.firstDataBlock) / geo.blocksPerGroup)
		bitmap, err := fs.blockBitmap(n)
		if err != nil {
			return err
		}
		first := geo.groupFirstBlock(n)
		part := min(count, first+geo.groupBlocks(n)-start)
		last := (start + part - 1 - first) >> geo.clusterBits
		for bit := (start - first) >> geo.clusterBits; bit <= last; bit++ {
			if bitmap[bit/8]&(1<<(bit%8)) == 0 {
				return tree.Corrupt(fs.name, fmt.Sprintf("block %d", max(start, first+bit<<geo.clusterBits)),
					"the block bitmap calls it free, but the file system uses it itself")
			}
			if bitmap[bit/8] == 0xFF {
				bit |= 7
			}
		}
		start, count = start+part, count-part
	}
	return nil
}

// IdleJournal returns the parts of the journal, in bytes of the device and in the
// journal's order, that mean nothing once it was recovered: all but its
// superblock. The kernel reads none of them before it has written them anew.
// They may be replaced by anything on the device that [FS.Recovered] shows, and
// on no other while the journal is to be replayed.
//
// Nothing is given where the journal is on another device or could not be read.
// Fast commits that wait are tree.ErrUnsupported, as for Recovered. An error
// ends the sequence.
func (fs *FS) IdleJournal() iter.Seq2[ByteRange, error] {
	return func(yield func(ByteRange, error) bool) {
		if fs.journal.Inode == 0 || fs.journal.Err != nil {
			return
		}
		if fs.fast != nil {
			yield(ByteRange{}, tree.Unsupported(fs.name, "journal", "holds fast commits"))
			return
		}
		in, err := fs.inode(fs.journal.Inode)
		if err != nil {
			yield(ByteRange{}, err)
			return
		}
		for f := fs.ranges(in); ; {
			r, err := f.next()
			if err != nil {
				yield(ByteRange{}, err)
				return
			}
			if r.Length == 0 {
				return
			}
			out := ByteRange{Start: r.Physical, Length: r.Length}
			if r.Logical == 0 {
				out.Start, out.Length = out.Start+fs.geo.blockSize, out.Length-fs.geo.blockSize
			}
			if out.Length > 0 && !yield(out, nil) {
				return
			}
		}
	}
}
