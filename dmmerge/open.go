package dmmerge

import (
	"encoding/binary"
	"fmt"
	"io"

	"relive/tree"
)

// State is what a COW is to the kernel that loads it.
type State uint8

// The states.
const (
	// New: the header is all zero. The COW was never used, or by a transient
	// snapshot; the kernel sets it up anew.
	New State = iota
	// Valid: the kernel loads it and it works.
	Valid
	// Invalid: the header's valid field is 0. The kernel loads it and fails every
	// read. The entries are read all the same: all that was flushed is intact.
	Invalid
	// Unloadable: the metadata runs past the end of the file, so the kernel
	// refuses to load it. The entries before are read all the same.
	Unloadable
)

func (s State) String() string {
	return [...]string{"new", "valid", "invalid", "unloadable"}[s]
}

// MarshalText implements encoding.TextMarshaler.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// COW is an opened copy-on-write store. It is not changed after Open and may be
// used by several goroutines at once.
type COW struct {
	r      io.ReaderAt
	size   int64
	name   string
	header Header
	geo    geometry
	state  State

	runs     []run  // by old, without overlaps
	entries  uint64 // in the metadata
	area     uint64 // the one that holds the terminator
	nextFree uint64 // chunk that the next exception gets

	findings   []Finding
	stale      uint64 // entries behind the terminator
	headerLost bool   // the chunk size is the caller's
}

// scanBytes is how much metadata is read at a time.
const scanBytes = 64 << 10

// Open reads header and metadata of the COW of size bytes that r reads. name is
// what errors call it. r must stay readable and unchanged while the COW is in
// use.
//
// What the kernel refuses by its header, or for want of room for any metadata,
// is tree.ErrCorrupt or tree.ErrUnsupported, with the kernel's verdict in
// words. A header that is marked invalid is none of these, nor one that is all
// zero: COW.State tells.
func Open(r io.ReaderAt, size int64, name string) (*COW, error) {
	return open(r, size, name, 0)
}

// open is Open; a chunk size other than 0 is taken where the header is all zero
// or broken.
func open(r io.ReaderAt, size int64, name string, chunk uint32) (*COW, error) {
	if size < headerSize {
		return nil, tree.Corrupt(name, "header", "the file has only %d bytes; the kernel refuses it (-EIO)", max(size, 0))
	}
	var b [headerSize]byte
	if err := tree.ReadFull(r, b[:], 0); err != nil {
		return nil, fmt.Errorf("%s: header: %w", name, err)
	}
	c := &COW{r: r, size: size, name: name, state: Valid, nextFree: 2}
	h, fresh, err := decodeHeader(name, b[:])
	if chunk != 0 && (fresh || err != nil) {
		h, fresh, err = Header{Version: headerVersion, ChunkSectors: chunk}, false, nil
		c.headerLost = true
	}
	if err != nil {
		return nil, err
	}
	c.header = h
	switch {
	case fresh:
		c.state, c.geo = New, newGeometry(DefaultChunkSectors)
		return c, nil
	case h.Valid == 0:
		c.state = Invalid
	}
	c.geo = newGeometry(h.ChunkSectors)
	if c.geo.chunks(size) < 2 {
		return nil, tree.Corrupt(name, "area 0",
			"past the end of the file, which has %d bytes and chunks of %d; the kernel refuses it (-EIO)", size, c.geo.bytes)
	}
	if err := c.scan(); err != nil {
		return nil, err
	}
	return c, nil
}

// scan reads all areas.
func (c *COW) scan() error {
	s := scanner{c: c, whole: c.geo.chunks(c.size), buf: make([]byte, min(scanBytes, c.geo.bytes)), ascending: true}
	for area := uint64(0); ; area++ {
		ended, err := s.area(area)
		if err != nil {
			return err
		}
		if ended {
			c.area = area
			break
		}
	}
	if c.geo.isMetadata(c.nextFree) {
		c.nextFree++
	}
	if !s.ascending {
		sharing(c.runs, func(r, with run) {
			f := c.geo.finding(Shared, r)
			f.Other = uint64(with.entry) + r.new - with.new
			c.add(f)
		})
	}
	c.runs = resolve(c.runs, func(loser, winner run) {
		f := c.geo.finding(Duplicate, loser)
		f.Other = uint64(winner.entry)
		c.add(f)
	})
	return nil
}

// scanner is the state of reading the areas.
type scanner struct {
	c         *COW
	whole     uint64 // chunks in the file
	buf       []byte
	ascending bool   // every chunk of the COW came after the one before
	last      uint64 // the highest chunk of the COW so far
}

// area reads one area and tells whether the list ends in it.
func (s *scanner) area(area uint64) (ended bool, err error) {
	g := s.c.geo
	chunk := g.areaChunk(area)
	limit := g.bytes
	if chunk >= s.whole {
		// The kernel stops here. What the file still holds of the area may have
		// entries; they are worth a look.
		if s.c.state == Valid {
			s.c.state = Unloadable
		}
		s.c.add(Finding{What: MissingArea, Area: area, epa: g.epa})
		limit = 0
		if chunk == s.whole {
			limit = (s.c.size - int64(chunk)*g.bytes) / sectorSize * sectorSize
		}
	}
	start := int64(chunk) * g.bytes
	for off := int64(0); off < limit; off += int64(len(s.buf)) {
		b := s.buf[:min(int64(len(s.buf)), limit-off)]
		if err := tree.ReadFull(s.c.r, b, start+off); err != nil {
			return false, fmt.Errorf("%s: area %d: %w", s.c.name, area, err)
		}
		for i := 0; i < len(b); i += entrySize {
			if binary.LittleEndian.Uint64(b[i+8:]) == 0 {
				return true, s.tail(area, off+int64(i), limit)
			}
			if s.c.entries == 1<<32-1 {
				return false, tree.Unsupported(s.c.name, g.place(s.c.entries), "more than %d exceptions", uint64(1<<32-1))
			}
			s.exception(binary.LittleEndian.Uint64(b[i:]), binary.LittleEndian.Uint64(b[i+8:]))
		}
	}
	return chunk >= s.whole, nil
}

// exception takes up one entry.
func (s *scanner) exception(old, newChunk uint64) {
	c := s.c
	r := run{old: old, new: newChunk, n: 1, entry: uint32(c.entries)}
	c.entries++
	if c.nextFree <= newChunk {
		c.nextFree = newChunk + 1
	}
	if newChunk <= s.last {
		s.ascending = false
	}
	s.last = max(s.last, newChunk)
	if old > 1<<62 {
		// No origin is that large: nothing ever reads it.
		c.add(c.geo.finding(Outside, r))
		return
	}
	if newChunk >= s.whole {
		c.add(c.geo.finding(PastEnd, r))
	} else if c.geo.isMetadata(newChunk) {
		c.add(c.geo.finding(AtMetadata, r))
	}
	r.new = min(r.new, 1<<62) // far past the end of any file; sums stay within bounds
	if n := len(c.runs); n > 0 && c.runs[n-1].follows(r) {
		c.runs[n-1].n++
		return
	}
	c.runs = append(c.runs, r)
}

// tail looks for entries behind the terminator at off in its area.
func (s *scanner) tail(area uint64, off, limit int64) error {
	c := s.c
	start := int64(c.geo.areaChunk(area)) * c.geo.bytes
	holes, _ := c.r.(interface {
		NextData(off int64) (start, end int64, err error)
	})
	first, count := int64(0), uint64(0)
	for off += entrySize; off < limit; {
		if holes != nil && off%int64(len(s.buf)) == 0 {
			data, _, err := holes.NextData(start + off)
			if err == io.EOF || err == nil && data >= start+limit {
				break
			}
			if err == nil && data > start+off {
				off = (data - start) / entrySize * entrySize
			}
		}
		b := s.buf[:min(int64(len(s.buf))-off%int64(len(s.buf)), limit-off)]
		if err := tree.ReadFull(c.r, b, start+off); err != nil {
			return fmt.Errorf("%s: area %d: %w", c.name, area, err)
		}
		if !tree.IsZero(b) {
			for i := 0; i < len(b); i += entrySize {
				if binary.LittleEndian.Uint64(b[i+8:]) == 0 {
					continue
				}
				if count == 0 {
					first = off + int64(i)
				}
				count++
			}
		}
		off += int64(len(b))
	}
	if count > 0 {
		c.stale = count
		c.add(Finding{What: StaleTail, Area: area, Index: uint64(first) / entrySize, Count: count, epa: c.geo.epa})
	}
	return nil
}

// Header returns the header as it stands; it is zero for a new COW.
func (c *COW) Header() Header { return c.header }

// State tells what the COW is to the kernel.
func (c *COW) State() State { return c.state }

// Name is the name that Open was given.
func (c *COW) Name() string { return c.name }

// Size is the length of the file in bytes.
func (c *COW) Size() int64 { return c.size }

// ChunkBytes is the size of a chunk; of a new COW, that of the usual table.
func (c *COW) ChunkBytes() int64 { return c.geo.bytes }

// Chunks is how many chunks of the origin the COW replaces.
func (c *COW) Chunks() uint64 {
	n := uint64(0)
	for _, r := range c.runs {
		n += uint64(r.n)
	}
	return n
}

// Exceptions is how many entries the metadata has.
func (c *COW) Exceptions() uint64 { return c.entries }

// Run is chunks that follow each other in metadata, origin and COW.
type Run struct {
	Entry uint64 `json:"entry"` // index of the first entry over all areas
	Old   uint64 `json:"old"`   // chunk of the origin
	New   uint64 `json:"new"`   // chunk of the COW
	Count uint64 `json:"count"` // chunks
}

// Runs returns the exceptions by their place in the origin, without those that an
// earlier one for the same chunk hides. It stops where yield says so.
func (c *COW) Runs(yield func(Run) bool) {
	for _, r := range c.runs {
		if !yield(Run{uint64(r.entry), r.old, r.new, uint64(r.n)}) {
			return
		}
	}
}
