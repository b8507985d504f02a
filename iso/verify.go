package iso

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"relive/tree"
)

// ErrDiffers is the error of Verify for an image that is not what was written.
var ErrDiffers = errors.New("it is not what was written")

// Verify compares an image of size bytes with what Write wrote, byte by byte: the
// system area with its code and tables, the descriptors, path tables and
// directories of every name space, the boot catalogue, boot images that hold
// their address or have no name, appended partitions, the backup of the GPT and
// the zeros between all these. A difference is ErrDiffers and names the place.
//
// Not looked at is the content of the other files, which the tree of the image
// shows, and of late files, which nobody but their maker knows. What is between
// them is. implanted is the sum that ImplantMD5 has put in since, nil for none.
//
// What was read to write the image is read again where it is compared.
func (p *Plan) Verify(ctx context.Context, r io.ReaderAt, size int64, implanted *ImplantedMD5) error {
	if p.total == 0 {
		return errors.New("nothing was written yet")
	}
	c := &comparer{plan: p, r: r, size: size}
	if implanted != nil {
		c.area, c.areaAt = implanted.area, implanted.at
	}
	if want := int64(p.total) * sectorSize; size != want {
		return fmt.Errorf("%w: the image has %d bytes, not %d", ErrDiffers, size, want)
	}
	end := p.fixed
	for _, l := range p.written {
		c.cover(l.Offset, l.Size)
		end = uint32(sectors64(l.Offset + l.Size))
	}
	w := &contentWriter{ctx: ctx, out: c}
	for _, in := range p.inodes {
		if in.late || in.catalog || in.size == 0 {
			continue
		}
		at := int64(in.block) * sectorSize
		if !p.comparesFile(in) {
			c.cover(at, in.size)
			continue
		}
		data, err := p.patched(in)
		if err != nil {
			return err
		}
		if err := w.file(in.path, data, in.size, at); err != nil {
			return err
		}
	}
	if err := p.writeRest(w, end); err != nil {
		return err
	}
	return c.zeros(ctx)
}

// comparesFile reports whether Verify looks at a file's content: the tree shows
// another one, or none.
func (p *Plan) comparesFile(in *outInode) bool {
	for i, b := range p.recipe.Boot {
		if p.boot[i] == in && (b.Hidden != nil || b.BootInfo || b.Grub2Info) {
			return true
		}
	}
	return false
}

// comparer is an image that is compared with what is written to it.
type comparer struct {
	plan *Plan
	r    io.ReaderAt
	size int64
	buf  []byte
	// area, where it is not nil, stands at areaAt in the place of what is written.
	area   []byte
	areaAt int64
	done   []byteRange // what was compared
}

type byteRange struct{ from, to int64 }

// cover notes a range that is compared by somebody else.
func (c *comparer) cover(at, length int64) {
	if n := len(c.done); n > 0 && c.done[n-1].to == at {
		c.done[n-1].to += length
		return
	}
	c.done = append(c.done, byteRange{at, at + length})
}

// WriteAt implements io.WriterAt: it writes nothing.
func (c *comparer) WriteAt(p []byte, off int64) (int, error) {
	c.cover(off, int64(len(p)))
	if cap(c.buf) < len(p) {
		c.buf = make([]byte, len(p))
	}
	got := c.buf[:len(p)]
	if err := c.read(got, off); err != nil {
		return 0, err
	}
	if at := c.areaAt - off; c.area != nil && at < int64(len(p)) && at+int64(len(c.area)) > 0 {
		p = bytes.Clone(p)
		copy(p[max(at, 0):], c.area[max(-at, 0):])
	}
	if i := firstDifference(p, got); i >= 0 {
		return 0, c.differs(off + int64(i))
	}
	return len(p), nil
}

func (c *comparer) read(p []byte, off int64) error {
	if off+int64(len(p)) > c.size {
		return c.differs(off)
	}
	if err := tree.ReadFull(c.r, p, off); err != nil {
		return fmt.Errorf("%s: read %d bytes at %d: %w", c.plan.placeOf(off), len(p), off, err)
	}
	return nil
}

func (c *comparer) differs(off int64) error {
	return fmt.Errorf("%w: %s, byte %d", ErrDiffers, c.plan.placeOf(off), off)
}

// firstDifference returns the first index at which two slices differ, or -1.
func firstDifference(a, b []byte) int {
	if bytes.Equal(a, b) {
		return -1
	}
	for i := range a {
		if a[i] != b[i] {
			return i
		}
	}
	return -1
}

// zeros compares what nothing was written to.
func (c *comparer) zeros(ctx context.Context) error {
	slices.SortFunc(c.done, func(a, b byteRange) int { return cmp.Compare(a.from, b.from) })
	c.done = append(c.done, byteRange{c.size, c.size})
	buf := make([]byte, 256<<10)
	at := int64(0)
	for _, d := range c.done {
		for at < d.from {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			b := buf[:min(int64(len(buf)), d.from-at)]
			if err := c.read(b, at); err != nil {
				return err
			}
			if !tree.IsZero(b) {
				return c.differs(at + int64(len(b)-len(bytes.TrimLeft(b, "\x00"))))
			}
			at += int64(len(b))
		}
		at = max(at, d.to)
	}
	return nil
}

// placeOf names what stands at an offset of an image that was written.
func (p *Plan) placeOf(off int64) string {
	sector := uint32(off / sectorSize)
	d := p.recipe.Disk
	switch {
	case off < mbrSize:
		return "the MBR"
	case d != nil && d.Table != TableMBR && off < gptHeadBlocks*mbrSize:
		return "the GPT"
	case sector < systemSectors:
		return "the system area"
	case d != nil && d.Table != TableMBR && off >= int64(p.total)*sectorSize-gptTailBlocks*mbrSize:
		return "the backup of the GPT"
	case sector == p.catalog && p.catalog > 0:
		return "the boot catalogue"
	case sector < p.firstTable():
		return descriptorPlace(int64(sector))
	}
	for _, h := range p.active() {
		s := &p.spaces[h]
		if n := sectors(int64(s.tableBytes)); sector >= s.tableL && sector < s.tableM+n {
			return "a path table"
		}
		for _, o := range p.dirs {
			if e := &o.extents[h]; sector >= e.block && sector < e.block+e.reserved+e.continuation {
				return "the directory " + tree.Quote("/"+o.path())
			}
		}
	}
	for _, in := range p.inodes {
		if sector >= in.block && sector < in.block+sectors(in.size) && in.size > 0 {
			return tree.Quote(in.path)
		}
	}
	for i, at := range p.appended {
		if sector >= at && sector < at+sectors(p.recipe.Appended[i].Size) {
			return fmt.Sprintf("appended partition %d", i+1)
		}
	}
	return "what fills the image up"
}

// firstTable is the first sector behind the descriptors and the catalogue.
func (p *Plan) firstTable() uint32 {
	first := p.data
	for _, h := range p.active() {
		first = min(first, p.spaces[h].tableL)
	}
	return first
}
