package dmmerge

import (
	"fmt"
	"io"
	"iter"
	"sort"
	"syscall"

	"relive/tree"
)

// Extent is the bytes [Start, End) of the device.
type Extent struct {
	Start int64 `json:"start"`
	End   int64 `json:"end"`
}

// Device is a COW over its origin, as the kernel's snapshot target shows it. It
// is a tree.Content; calls may run at the same time.
type Device struct {
	cow    *COW
	origin tree.Content
	size   int64
	limit  int64 // bytes of the device in whole sectors, which is what the kernel sees
	runs   []run // those that begin within the device
}

// Over lays the COW over an origin. The device has the size of the origin;
// entries past its end are invisible, as for the kernel, and told of by
// Device.Outside. Closing the device closes the origin.
//
// An invalid COW, of which the kernel shows nothing, is laid over the origin
// like a valid one: what was flushed before it was marked is whole.
func (c *COW) Over(origin tree.Content) (*Device, error) {
	size := origin.Size()
	if size < 0 {
		return nil, fmt.Errorf("origin of %s: a size of %d bytes", c.name, size)
	}
	d := &Device{cow: c, origin: origin, size: size, limit: size / sectorSize * sectorSize}
	chunks := uint64(d.limit+c.geo.bytes-1) / uint64(c.geo.bytes)
	d.runs = c.runs[:sort.Search(len(c.runs), func(i int) bool { return c.runs[i].old >= chunks })]
	return d, nil
}

// Outside returns the entries for chunks past the end of the origin, by place in
// the origin. They are a sign of a wrong origin.
func (d *Device) Outside() []Finding {
	var out []Finding
	chunks := uint64(d.limit+d.cow.geo.bytes-1) / uint64(d.cow.geo.bytes)
	from := max(len(d.runs)-1, 0) // the last one may reach past the end
	for _, r := range d.cow.runs[from:] {
		if r.end() > chunks {
			out = append(out, d.cow.geo.finding(Outside, r.part(max(r.old, chunks), r.end())))
		}
	}
	return out
}

// Size implements tree.Content.
func (d *Device) Size() int64 { return d.size }

// Close closes the origin.
func (d *Device) Close() error { return d.origin.Close() }

// COW returns the COW that the device is made of.
func (d *Device) COW() *COW { return d.cow }

// Origin returns the origin that the device is made of.
func (d *Device) Origin() tree.Content { return d.origin }

// at returns the first run that ends behind a byte of the device.
func (d *Device) at(off int64) int {
	chunk := uint64(off) / uint64(d.cow.geo.bytes)
	return sort.Search(len(d.runs), func(i int) bool { return d.runs[i].end() > chunk })
}

// extent returns the bytes of a run within the device.
func (d *Device) extent(r run) Extent {
	cb := uint64(d.cow.geo.bytes)
	e := Extent{Start: int64(r.old * cb), End: d.limit}
	if r.end() <= uint64(d.limit)/cb {
		e.End = int64(r.end() * cb)
	}
	return e
}

// ReadAt implements io.ReaderAt. Where an entry names a chunk past the end of
// the COW, the error names the entry and is syscall.EIO and tree.ErrCorrupt.
func (d *Device) ReadAt(p []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, fmt.Errorf("%s: read at the negative offset %d", d.cow.name, off)
	}
	if off >= d.size {
		return 0, io.EOF
	}
	short := int64(len(p)) > d.size-off
	if short {
		p = p[:d.size-off]
	}
	// Where changed chunks stand among others, all is read from the origin at
	// once and the chunks are put over it: below may be blocks that are decoded as
	// a whole. What the chunks hide need not be readable.
	i := d.at(off)
	below := d.gaps(i, off, off+int64(len(p))) > 1
	if below {
		_, err := readSome(d.origin, p, off)
		below = err == nil
	}
	for n < len(p) {
		pos, end := off+int64(n), off+int64(len(p))
		var e Extent
		if i < len(d.runs) {
			if e = d.extent(d.runs[i]); e.Start > pos {
				end = min(end, e.Start)
			} else {
				end = min(end, e.End)
			}
		}
		if i >= len(d.runs) || e.Start > pos || e.End <= pos {
			if i < len(d.runs) && e.End <= pos {
				i, end = i+1, off+int64(len(p)) // the tail behind the last whole sector
			}
			if below {
				n = int(end - off)
				continue
			}
			m, err := readSome(d.origin, p[n:end-off], pos)
			n += m
			if err != nil {
				return n, err
			}
			continue
		}
		m, err := d.cow.read(d.runs[i], p[n:end-off], pos-e.Start)
		n += m
		if err != nil {
			return n, err
		}
		i++
	}
	if short {
		return n, io.EOF
	}
	return n, nil
}

// gaps counts the ranges of [off, end) that come from the origin, up to two; i
// is the first run that ends behind off.
func (d *Device) gaps(i int, off, end int64) (n int) {
	for ; off < end && n < 2; i++ {
		if i >= len(d.runs) {
			return n + 1
		}
		e := d.extent(d.runs[i])
		if e.Start > off {
			n++
		}
		off = max(off, e.End)
	}
	return n
}

// readSome reads len(p) bytes, and tells how many came where not all did.
func readSome(r io.ReaderAt, p []byte, off int64) (int, error) {
	n, err := r.ReadAt(p, off)
	if n == len(p) {
		return n, nil
	}
	if err == nil || err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// read reads data of a run, from the byte at in it on.
func (c *COW) read(r run, p []byte, at int64) (int, error) {
	cb := c.geo.bytes
	room := c.size / sectorSize * sectorSize
	if r.new < uint64(room)/uint64(cb)+1 {
		off := int64(r.new)*cb + at
		if off <= room && int64(len(p)) <= room-off {
			n, err := readSome(c.r, p, off)
			if err != nil {
				err = fmt.Errorf("%s: chunk %d: %w", c.name, r.new+uint64(at+int64(n))/uint64(cb), err)
			}
			return n, err
		}
		if off < room { // as far as the file goes
			n, err := readSome(c.r, p[:room-off], off)
			if err != nil {
				return n, fmt.Errorf("%s: chunk %d: %w", c.name, r.new+uint64(at+int64(n))/uint64(cb), err)
			}
			return n, c.pastEnd(r, at+int64(n))
		}
	}
	return 0, c.pastEnd(r, at)
}

// pastEnd is the error of reading a run at a byte that the file does not have.
func (c *COW) pastEnd(r run, at int64) error {
	skip := uint64(at) / uint64(c.geo.bytes)
	return &tree.FormatError{File: c.name, Place: c.geo.place(uint64(r.entry) + skip),
		Fact: fmt.Sprintf("chunk %d of the origin is in chunk %d, past the end of the file, which has %d", r.old+skip, r.new+skip,
			c.geo.chunks(c.size)),
		Kind: tree.ErrCorrupt, Err: syscall.EIO}
}

// Changed returns the ranges of the device that come from the COW, in ascending
// order, neighbours joined, cut at the end of the origin.
func (d *Device) Changed() iter.Seq[Extent] {
	return func(yield func(Extent) bool) {
		for i := 0; i < len(d.runs); {
			var e Extent
			if e, i = d.joined(i, d.size); !yield(e) {
				return
			}
		}
	}
}

// joinBytes is how far NextData and the merge look ahead for neighbours.
const joinBytes = 64 << 20

// joined returns the range that begins with run i, with those that follow on
// until the range ends behind enough, and the index of the next run.
func (d *Device) joined(i int, enough int64) (Extent, int) {
	e := d.extent(d.runs[i])
	for i++; i < len(d.runs) && e.End < enough; i++ {
		next := d.extent(d.runs[i])
		if next.Start != e.End {
			break
		}
		e.End = next.End
	}
	return e, i
}

// ChangedIn reports whether any of n bytes at off come from the COW.
func (d *Device) ChangedIn(off, n int64) bool {
	if n <= 0 || off >= d.limit || off+n <= 0 {
		return false
	}
	if off < 0 {
		off, n = 0, n+off
	}
	i := d.at(off)
	if i == len(d.runs) {
		return false
	}
	e := d.extent(d.runs[i])
	return e.Start < off+n && e.End > off
}

// NextData implements tree.Content: the holes are those of the origin that no
// chunk of the COW covers.
func (d *Device) NextData(off int64) (start, end int64, err error) {
	off = max(off, 0)
	if off >= d.size {
		return 0, 0, io.EOF
	}
	start, end, err = d.origin.NextData(off)
	if err != nil && err != io.EOF {
		return 0, 0, err
	}
	none := err == io.EOF
	if i := d.at(off); i < len(d.runs) && off < d.limit {
		e, _ := d.joined(i, off+joinBytes)
		e.Start = max(e.Start, off)
		switch {
		case none || e.Start < start:
			return e.Start, e.End, nil
		case e.Start <= end:
			end = max(end, e.End)
		}
	} else if none {
		return 0, 0, io.EOF
	}
	return start, min(end, d.size), nil
}
