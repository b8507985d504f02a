package baseimage

import (
	"cmp"
	"errors"
	"io"
	"slices"
	"sort"

	"relive/extfs"
	"relive/remaster/live"
	"relive/tree"
)

// device is a merged snapshot, or a view of one: what is below it, with some
// ranges changed.
type device interface {
	tree.Content
	ChangedIn(off, n int64) bool
}

// recovered is a device with the journal of its file system replayed, so that
// what boots from a new base need not write to it first, and can mount it
// read-only. A journal that cannot be replayed into blocks is left to the
// kernel, which replays it at the next mount; empty is false then.
func recovered(dev device, fs *extfs.FS) (r device, empty bool, err error) {
	replayed, err := fs.Recovered()
	if errors.Is(err, tree.ErrUnsupported) {
		return dev, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	return recoveredDevice{replayed, dev}, true, nil
}

// journalMayStay reports whether the journal must not be replayed into the new
// base. A COW that was begun over an image with a pending journal may hold
// blocks as they are before the replay, and neither journal nor superblock,
// where the first replay was cut off. Over a new base without that journal
// nothing would mend these blocks, and between the replacing of the base and
// that of the overlay the COW does lie over the new base. Over a clean image
// the kernel writes superblock and journal before any block that these mend.
func journalMayStay(l *live.Live, merged *extfs.FS) bool {
	s := l.COW()
	return s != nil && s.Store.Exceptions() > 0 && merged.Info().NeedsRecovery && l.Base.Inner.FS.Info().NeedsRecovery
}

type recoveredDevice struct {
	*extfs.Recovered
	below device
}

// ChangedIn implements device.
func (d recoveredDevice) ChangedIn(off, n int64) bool {
	return d.below.ChangedIn(off, n) || d.Recovered.ChangedIn(off, n)
}

// patchedImage is the file system image of a new base: the device as it is now,
// over the image of the old base. In units of a block of the base, what is free
// in the file system is left out where that makes the image smaller:
//
//   - a unit that is free as a whole is a hole;
//   - in a unit that a change touches, and which is compressed anew anyhow, free
//     ranges are zero;
//   - all other units stay as they are, so that they can be copied as stored.
//
// It is the tree.Patched of the image in the base.
type patchedImage struct {
	dev   device
	below tree.Data
	unit  int64
	free  []extent // ascending, in bytes of the device; none with --keep-free
	holes []extent // those parts of free that are whole units
}

// extent is the bytes [start, end).
type extent struct{ start, end int64 }

// newPatchedImage makes the image; fs is the file system that dev shows, nil to
// keep what is free. With journal, the journal's content counts as free, too:
// dev shows it recovered. A file system whose bitmaps cannot be trusted is
// tree.ErrUnsupported.
func newPatchedImage(dev device, below tree.Data, unit int64, fs *extfs.FS, journal bool) (*patchedImage, error) {
	m := &patchedImage{dev: dev, below: below, unit: unit}
	if fs == nil {
		return m, nil
	}
	var all []extent
	add := func(r extfs.ByteRange) {
		if e := (extent{r.Start, min(r.End(), dev.Size())}); e.start < e.end {
			all = append(all, e)
		}
	}
	for r, err := range fs.FreeRanges() {
		if err != nil {
			return nil, err
		}
		add(r)
	}
	if journal {
		for r, err := range fs.IdleJournal() {
			if err != nil {
				return nil, err
			}
			add(r)
		}
		slices.SortFunc(all, func(a, b extent) int { return cmp.Compare(a.start, b.start) })
	}
	for i := 0; i < len(all); {
		e := all[i]
		for i++; i < len(all) && all[i].start <= e.end; i++ {
			e.end = max(e.end, all[i].end)
		}
		m.addFree(e)
	}
	m.free, m.holes = slices.Clip(m.free), slices.Clip(m.holes)
	return m, nil
}

// addFree tells of the next free range.
func (m *patchedImage) addFree(e extent) {
	m.free = append(m.free, e)
	h := extent{(e.start + m.unit - 1) / m.unit * m.unit, e.end / m.unit * m.unit}
	if e.end == m.dev.Size() {
		h.end = e.end // the last unit may be short
	}
	if h.start < h.end {
		m.holes = append(m.holes, h)
	}
}

// Below implements tree.Patched.
func (m *patchedImage) Below() tree.Data { return m.below }

// ChangedIn implements tree.Patched.
func (m *patchedImage) ChangedIn(off, n int64) bool {
	return m.dev.ChangedIn(off, n) || n > 0 && within(m.holes, off, off+n)
}

// within reports whether any of the extents overlaps [start, end).
func within(list []extent, start, end int64) bool {
	i := after(list, start)
	return i < len(list) && list[i].start < end
}

// after returns the first extent that ends behind off.
func after(list []extent, off int64) int {
	return sort.Search(len(list), func(i int) bool { return list[i].end > off })
}

// Open implements tree.Data.
func (m *patchedImage) Open() (tree.Content, error) { return patchedContent{m}, nil }

// freed is how many bytes are left out as whole units.
func (m *patchedImage) freed() (n int64) {
	for _, h := range m.holes {
		n += h.end - h.start
	}
	return n
}

// patchedContent is the content of a patchedImage. Its device stays open.
type patchedContent struct{ *patchedImage }

// Size implements tree.Content.
func (c patchedContent) Size() int64 { return c.dev.Size() }

// Close implements tree.Content.
func (c patchedContent) Close() error { return nil }

// ReadAt implements io.ReaderAt.
func (c patchedContent) ReadAt(p []byte, off int64) (int, error) {
	if h := after(c.holes, off); h < len(c.holes) && c.holes[h].start <= off && off+int64(len(p)) <= c.holes[h].end {
		clear(p)
		return len(p), nil
	}
	n, err := c.dev.ReadAt(p, off)
	end := off + int64(n)
	for i := after(c.free, off); i < len(c.free) && c.free[i].start < end; i++ {
		e := extent{max(c.free[i].start, off), min(c.free[i].end, end)}
		for at := e.start; at < e.end; {
			unit := at / c.unit * c.unit
			stop := min(unit+c.unit, e.end)
			if c.dev.ChangedIn(unit, c.unit) || within(c.holes, at, stop) {
				clear(p[at-off : stop-off])
			}
			at = stop
		}
	}
	return n, err
}

// NextData implements tree.Content.
func (c patchedContent) NextData(off int64) (start, end int64, err error) {
	for {
		if start, end, err = c.dev.NextData(off); err != nil {
			return 0, 0, err
		}
		start = max(start, off)
		h := after(c.holes, start)
		if h < len(c.holes) {
			if c.holes[h].start <= start {
				if off = c.holes[h].end; off >= c.Size() {
					return 0, 0, io.EOF
				}
				continue
			}
			end = min(end, c.holes[h].start)
		}
		return start, end, nil
	}
}
