package extfs

import (
	"fmt"
	"io"
	"sort"

	"relive/extfs/internal/ondisk"
	"relive/tree"
)

// device is the image below the file system, with the blocks that the journal
// replaces laid over it.
type device struct {
	r       io.ReaderAt
	size    int64
	name    string
	bits    uint // log2 of the block size
	overlay []overlayBlock
}

// overlayBlock says that a block's content stands in another block of the
// image: in the journal.
type overlayBlock struct {
	block uint64
	from  uint64
	// escaped: the copy's first four bytes are zeroed because they were the
	// journal's magic number.
	escaped bool
}

// readAt reads len(p) bytes at a byte offset as they are after recovery.
func (d *device) readAt(p []byte, off int64) error {
	if off < 0 || off > d.size || int64(len(p)) > d.size-off {
		return tree.Corrupt(d.name, fmt.Sprintf("bytes %d to %d", off, off+int64(len(p))),
			"past the end of the image, which has %d bytes", d.size)
	}
	if len(d.overlay) == 0 {
		return d.readRaw(p, off)
	}
	for len(p) > 0 {
		block := uint64(off) >> d.bits
		i := d.overlayFrom(block)
		// Up to the next block that is laid over, one read.
		end := off + int64(len(p))
		if i < len(d.overlay) {
			end = min(end, max(off, int64(d.overlay[i].block<<d.bits)))
		}
		if n := end - off; n > 0 {
			if err := d.readRaw(p[:n], off); err != nil {
				return err
			}
			p, off = p[n:], end
			continue
		}
		o := d.overlay[i]
		in := off - int64(block<<d.bits)
		n := min(int64(len(p)), 1<<d.bits-in)
		if err := d.readRaw(p[:n], int64(o.from<<d.bits)+in); err != nil {
			return err
		}
		if o.escaped {
			restoreMagic(p[:n], in)
		}
		p, off = p[n:], off+n
	}
	return nil
}

// overlayFrom returns the index of the first overlay block at or after block.
func (d *device) overlayFrom(block uint64) int {
	return sort.Search(len(d.overlay), func(i int) bool { return d.overlay[i].block >= block })
}

// replaced reports whether recovery replaces any of n bytes at off.
func (d *device) replaced(off, n int64) bool {
	if n <= 0 || len(d.overlay) == 0 {
		return false
	}
	i := d.overlayFrom(uint64(off) >> d.bits)
	return i < len(d.overlay) && int64(d.overlay[i].block<<d.bits) < off+n
}

// readRaw reads the image as it is stored.
func (d *device) readRaw(p []byte, off int64) error {
	if err := tree.ReadFull(d.r, p, off); err != nil {
		return fmt.Errorf("%s: read %d bytes at %d: %w", d.name, len(p), off, err)
	}
	return nil
}

// restoreMagic puts back the journal's magic number at the start of an escaped
// block, of which p holds what is at in.
func restoreMagic(p []byte, in int64) {
	magic := [4]byte{ondisk.JBDMagic >> 24, ondisk.JBDMagic >> 16 & 0xFF, ondisk.JBDMagic >> 8 & 0xFF, ondisk.JBDMagic & 0xFF}
	if in < int64(len(magic)) {
		copy(p, magic[in:])
	}
}

// readBlocks reads whole blocks.
func (d *device) readBlocks(p []byte, block uint64) error {
	return d.readAt(p, int64(block<<d.bits))
}
