package dmmerge

import "fmt"

// Status is what dmsetup status tells of a freshly loaded snapshot, and what is
// left in it. Sectors have 512 bytes.
type Status struct {
	State State `json:"state"`
	// Allocated, Total and Metadata are the figures A/T M, in sectors.
	Allocated uint64 `json:"allocated_sectors"`
	Total     uint64 `json:"total_sectors"`
	Metadata  uint64 `json:"metadata_sectors"`

	ChunkBytes int64  `json:"chunk_bytes"`
	Exceptions uint64 `json:"exceptions"`
	// Merged: there are no exceptions, as after a complete merge.
	Merged bool `json:"merged"`
	Forecast
}

// Forecast tells how much more a COW takes.
type Forecast struct {
	// Full: the next chunk that is written for the first time makes the COW
	// overflow; one loaded with P is invalidated then.
	Full bool `json:"full"`
	// ChunksLeft is how many chunks may yet be written for the first time, and
	// BytesLeft the same in bytes.
	ChunksLeft uint64 `json:"chunks_left"`
	BytesLeft  uint64 `json:"bytes_left"`
	// Capacity is how many chunks an empty COW of this size takes.
	Capacity      uint64 `json:"capacity_chunks"`
	CapacityBytes uint64 `json:"capacity_bytes"`
	// Leaked chunks are below the next free one and hold nothing.
	Leaked uint64 `json:"leaked_chunks"`
	// Trap: the size is such that filling the last area makes the kernel write
	// the next one past the end, which invalidates the COW and loses the last
	// flush.
	Trap bool `json:"trap"`
}

// Status returns the status.
func (c *COW) Status() Status {
	g := c.geo
	total := uint64(c.size) / sectorSize
	whole := g.chunks(c.size)
	s := Status{State: c.state, Allocated: c.nextFree * g.sectors, Total: total, Metadata: (c.area + 2) * g.sectors, ChunkBytes: g.bytes,
		Exceptions: c.entries, Merged: c.entries == 0}
	f := &s.Forecast
	f.Trap = g.trapped(whole)
	f.Capacity = g.capacity(whole)
	f.CapacityBytes = f.Capacity * uint64(g.bytes)
	if below := g.dataBelow(c.nextFree); below > c.entries && c.nextFree <= whole {
		f.Leaked = below - c.entries
	}
	if c.nextFree < whole {
		left := g.dataBelow(whole) - g.dataBelow(c.nextFree)
		// The first area that does not fit any more; the area before it must
		// never fill.
		missing := (whole - 1 + g.stride - 1) / g.stride
		f.ChunksLeft = min(left, max(missing*g.epa, c.entries+1)-c.entries-1)
	}
	f.BytesLeft = f.ChunksLeft * uint64(g.bytes)
	f.Full = f.ChunksLeft == 0
	return s
}

// String returns the status as dmsetup does, without start, length and target:
// "A/T M", or "Invalid". A COW that the kernel refuses to load has no status;
// the string says that.
func (s Status) String() string {
	switch s.State {
	case Invalid:
		return "Invalid"
	case Unloadable:
		return "refused (-EIO)"
	}
	return fmt.Sprintf("%d/%d %d", s.Allocated, s.Total, s.Metadata)
}

// Line returns the whole line of dmsetup status for an origin of that many bytes.
func (s Status) Line(originSize int64) string {
	return fmt.Sprintf("0 %d snapshot %s", originSize/sectorSize, s)
}

// NeverOverflowSize returns the size in bytes of a COW that has room for every
// chunk of an origin.
func NeverOverflowSize(originSize int64, chunkSectors uint32) (int64, error) {
	if err := checkChunk(chunkSectors); err != nil {
		return 0, err
	}
	g := newGeometry(chunkSectors)
	n := (uint64(max(originSize, 0)) + uint64(g.bytes) - 1) / uint64(g.bytes)
	return g.sizeFor(n)
}

// sizeFor returns the smallest size of a COW that takes n exceptions.
func (g geometry) sizeFor(n uint64) (int64, error) {
	chunks := 1 + (n+1+g.epa-1)/g.epa + n
	if chunks > uint64(1<<63-1)/uint64(g.bytes) {
		return 0, fmt.Errorf("%d chunks of %d bytes are more than a file can have", chunks, g.bytes)
	}
	return int64(chunks) * g.bytes, nil
}
