package dmmerge

import (
	"context"
	"fmt"
	"io"

	"relive/tree"
)

// Store is a file or device that is changed in place. Writes may be torn
// between sectors and reordered until Sync returns. An *os.File is one.
type Store interface {
	io.ReaderAt
	io.WriterAt
	Sync() error
}

// batchBytes is how much is merged before it is made durable and its entries
// are given up: what an interrupted merge does again at most, but for one area.
const batchBytes = 256 << 20

// inPlaceBytes is how much is read from the COW before it is written to the
// origin.
const inPlaceBytes = 4 << 20

// InPlaceOptions change how a merge in place works.
type InPlaceOptions struct {
	// Progress is told how many bytes are done; it may be nil.
	Progress func(done int64)
	// Batch is how many bytes are merged between syncs; 0 means 256 MiB.
	Batch int64
}

// InPlaceResult tells what a merge in place did.
type InPlaceResult struct {
	Chunks  uint64 `json:"chunks"`  // that were copied
	Bytes   int64  `json:"bytes"`   // that were copied
	Batches int    `json:"batches"` // syncs of the origin
}

// MergeInPlace copies what the COW holds into its origin and empties the COW,
// keeping its chunk size. It goes from the tail of the metadata to its head:
// copies, syncs the origin, gives up the entries by one write of one sector,
// syncs the COW, and so on. What both show together is the same whenever it
// stops, and a further run finishes it. It also finishes what the kernel's
// snapshot-merge began.
//
// Before anything is written it refuses, as tree.ErrCorrupt, a COW that is
// invalid or unloadable, one with corrupt entries, and entries past the end of
// the origin; whether it is the right origin, Device.CheckBase tells.
func MergeInPlace(ctx context.Context, origin Store, originSize int64, cow Store, cowSize int64, name string,
	o InPlaceOptions) (InPlaceResult, error) {
	var res InPlaceResult
	c, err := Open(cow, cowSize, name)
	if err != nil || c.state == New {
		return res, err
	}
	d, err := c.Over(sized{origin, originSize})
	if err != nil {
		return res, err
	}
	if err := d.checkInPlace(); err != nil {
		return res, err
	}
	if err := c.clearStale(cow); err != nil || c.entries == 0 {
		return res, err
	}
	if o.Batch <= 0 {
		o.Batch = batchBytes
	}
	m := inPlace{ctx: ctx, d: d, origin: origin, cow: cow, o: o, buf: make([]byte, 0, c.bufferSize()), res: &res}
	for hi := c.entries; hi > 0; {
		lo := m.boundary(hi)
		if err := m.copy(lo, hi); err != nil {
			return res, err
		}
		if err := origin.Sync(); err != nil {
			return res, fmt.Errorf("origin of %s: %w", name, err)
		}
		res.Batches++
		if lo == 0 {
			break
		}
		// The last sector of the area goes: the list ends there, and in its area
		// nothing stands behind the end. Areas behind it are zeroed by the kernel
		// before it uses them again.
		if err := writeSync(cow, make([]byte, sectorSize), c.geo.entryOffset(lo)); err != nil {
			return res, fmt.Errorf("%s: %w", name, err)
		}
		hi = lo
	}
	return res, c.empty(cow, c.header.ChunkSectors)
}

// sized is a Store as the origin of a device.
type sized struct {
	io.ReaderAt
	size int64
}

func (s sized) Size() int64  { return s.size }
func (s sized) Close() error { return nil }
func (s sized) NextData(off int64) (int64, int64, error) {
	return tree.WholeData(off, s.size)
}

// checkInPlace refuses what cannot be merged in place without loss.
func (d *Device) checkInPlace() error {
	c := d.cow
	switch c.state {
	case Invalid:
		return tree.Corrupt(c.name, "header", "it is marked invalid")
	case Unloadable:
		return tree.Corrupt(c.name, "metadata", "%v", c.findings[0])
	}
	for _, f := range c.findings {
		if f.Severity() == Corruption {
			return tree.Corrupt(c.name, "metadata", "%v", f)
		}
	}
	if out := d.Outside(); len(out) > 0 {
		return tree.Corrupt(c.name, "metadata", "%v", out[0])
	}
	return nil
}

// clearStale zeroes entries behind the terminator, which nothing reads.
func (c *COW) clearStale(s Store) error {
	if c.stale == 0 {
		return nil
	}
	start := c.geo.entryOffset(c.entries)
	end := int64(c.geo.areaChunk(c.area)+1) * c.geo.bytes
	if err := zero(s, start, min(end, c.size)); err != nil {
		return fmt.Errorf("%s: %w", c.name, err)
	}
	if err := s.Sync(); err != nil {
		return fmt.Errorf("%s: %w", c.name, err)
	}
	return nil
}

// empty returns up all entries at once by zeroing the header, which makes the COW
// new, then clears area 0 and writes a header again; chunk 0 leaves it without
// one. All entries are in area 0 or hidden behind it.
func (c *COW) empty(s Store, chunk uint32) error {
	err := writeSync(s, make([]byte, sectorSize), 0)
	if err == nil {
		err = zero(s, c.geo.bytes, min(2*c.geo.bytes, c.size))
	}
	if err == nil {
		err = s.Sync()
	}
	if err == nil && chunk != 0 {
		err = writeSync(s, Header{Valid: 1, Version: headerVersion, ChunkSectors: chunk}.encode(), 0)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", c.name, err)
	}
	return nil
}

// writeSync writes and syncs.
func writeSync(s Store, p []byte, off int64) error {
	if _, err := s.WriteAt(p, off); err != nil {
		return err
	}
	return s.Sync()
}

// zero makes bytes [from, to) zero, without writing what is zero already.
func zero(s Store, from, to int64) error {
	if from >= to {
		return nil
	}
	have := make([]byte, min(to-from, scanBytes))
	zeros := make([]byte, len(have))
	for from < to {
		n := min(to-from, scanBytes)
		if err := tree.ReadFull(s, have[:n], from); err != nil {
			return err
		}
		if !tree.IsZero(have[:n]) {
			if _, err := s.WriteAt(zeros[:n], from); err != nil {
				return err
			}
		}
		from += n
	}
	return nil
}

// inPlace is a merge under way.
type inPlace struct {
	ctx         context.Context
	d           *Device
	origin, cow Store
	o           InPlaceOptions
	buf         []byte // what is to be written at off
	off         int64
	res         *InPlaceResult
}

// bufferSize is inPlaceBytes, or less where all the data is.
func (c *COW) bufferSize() int64 {
	if c.entries >= uint64(inPlaceBytes/c.geo.bytes) {
		return inPlaceBytes
	}
	return int64(c.entries) * c.geo.bytes
}

// boundary returns the entry from which on a batch that ends at hi is merged: the
// first one in the last sector of an area, or 0.
func (m *inPlace) boundary(hi uint64) uint64 {
	g := m.d.cow.geo
	want := (uint64(m.o.Batch) + uint64(g.bytes) - 1) / uint64(g.bytes)
	if hi <= want || hi-want < g.epa-sectorEntries {
		return 0
	}
	area := (hi - want - (g.epa - sectorEntries)) / g.epa
	return area*g.epa + g.epa - sectorEntries
}

// copy copies the chunks of the entries [lo, hi) into the origin, by their place
// there.
func (m *inPlace) copy(lo, hi uint64) error {
	g := m.d.cow.geo
	for _, r := range m.d.runs {
		first, end := uint64(r.entry), uint64(r.entry)+uint64(r.n)
		if end <= lo || first >= hi {
			continue
		}
		skip := max(lo, first) - first
		r = r.part(r.old+skip, r.old+min(hi, end)-first)
		e := m.d.extent(r)
		m.res.Chunks += uint64(r.n)
		for at := int64(0); at < e.End-e.Start; {
			if len(m.buf) == cap(m.buf) || e.Start+at != m.off+int64(len(m.buf)) {
				if err := m.flush(); err != nil {
					return err
				}
				m.off = e.Start + at
			}
			room := m.buf[len(m.buf):cap(m.buf)]
			room = room[:min(int64(len(room)), e.End-e.Start-at)]
			if err := tree.ReadFull(m.cow, room, int64(r.new)*g.bytes+at); err != nil {
				return fmt.Errorf("%s: chunk %d: %w", m.d.cow.name, r.new+uint64(at/g.bytes), err)
			}
			m.buf = m.buf[:len(m.buf)+len(room)]
			at += int64(len(room))
		}
	}
	return m.flush()
}

// flush writes what is gathered.
func (m *inPlace) flush() error {
	if m.ctx.Err() != nil {
		return context.Cause(m.ctx)
	}
	if len(m.buf) == 0 {
		return nil
	}
	if _, err := m.origin.WriteAt(m.buf, m.off); err != nil {
		return fmt.Errorf("origin of %s: %w", m.d.cow.name, err)
	}
	m.res.Bytes += int64(len(m.buf))
	m.buf = m.buf[:0]
	if m.o.Progress != nil {
		m.o.Progress(m.res.Bytes)
	}
	return nil
}
