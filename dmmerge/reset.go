package dmmerge

import (
	"fmt"

	"relive/tree"
)

// ResetBytes is how much dracut and livecd-tools zero to empty an overlay. What
// is behind stays in the file.
const ResetBytes = 64 << 10

// ResetOptions change how a COW is emptied.
type ResetOptions struct {
	// KeepChunk writes a header again, with the chunk size that the COW had, or
	// DefaultChunkSectors where it had no header. Else the header stays zero, and the chunk size is that of the table that
	// the COW is next loaded with.
	KeepChunk bool
	// Force empties also what has no good header.
	Force bool
}

// Reset empties the COW of size bytes in s and makes it valid. At every point of
// a crash it shows all or nothing: the header goes first, by one write, the
// entries after it. It gives the chunk size that was kept, in sectors, or 0.
func Reset(s Store, size int64, name string, o ResetOptions) (kept uint32, err error) {
	if size < 2*sectorSize {
		return 0, tree.Corrupt(name, "header", "the file has only %d bytes", size)
	}
	var b [headerSize]byte
	if err := tree.ReadFull(s, b[:], 0); err != nil {
		return 0, fmt.Errorf("%s: header: %w", name, err)
	}
	h, _, err := decodeHeader(name, b[:])
	if err != nil && !o.Force {
		return 0, err
	}
	c := &COW{name: name, size: size, geo: newGeometry(DefaultChunkSectors)}
	if o.KeepChunk {
		kept = DefaultChunkSectors
	}
	if err == nil && h.ChunkSectors != 0 {
		c.geo = newGeometry(h.ChunkSectors)
		if o.KeepChunk {
			kept = h.ChunkSectors
		}
	}
	if err := c.empty(s, 0); err != nil {
		return 0, err
	}
	if err := zero(s, 0, min(ResetBytes, size)); err != nil {
		return 0, fmt.Errorf("%s: %w", name, err)
	}
	if err := s.Sync(); err != nil {
		return 0, fmt.Errorf("%s: %w", name, err)
	}
	if kept != 0 {
		err = writeSync(s, Header{Valid: 1, Version: headerVersion, ChunkSectors: kept}.encode(), 0)
	}
	if err != nil && kept != 0 {
		return 0, fmt.Errorf("%s: %w", name, err)
	}
	return kept, nil
}
