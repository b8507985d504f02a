package dmmerge

import (
	"errors"
	"fmt"
)

// Resizable is a Store whose length can change. Bytes that Truncate appends
// must read as zeros. An *os.File is one.
type Resizable interface {
	Store
	Truncate(size int64) error
}

// ErrSize is the error of a size that a COW should not have.
var ErrSize = errors.New("no good size for a COW")

// SizeError is an ErrSize, with the next size in bytes that is good.
type SizeError struct {
	Size int64
	Next int64
	Fact string
}

func (e *SizeError) Error() string {
	return fmt.Sprintf("%d bytes: %s; the next good size is %d", e.Size, e.Fact, e.Next)
}

// Is implements errors.Is.
func (e *SizeError) Is(target error) bool { return target == ErrSize }

// CheckSize reports whether a COW of that many bytes works with a chunk size in
// sectors: it needs room for a header, an area and a chunk of data, and must
// not be of a size at which filling its last area invalidates it. The error is
// a *SizeError where the size is at fault.
func CheckSize(size int64, chunkSectors uint32) error {
	if err := checkChunk(chunkSectors); err != nil {
		return fmt.Errorf("%d sectors: %w", chunkSectors, err)
	}
	g := newGeometry(chunkSectors)
	chunks := g.chunks(max(size, 0))
	switch {
	case chunks < 3:
		return &SizeError{size, 3 * g.bytes, fmt.Sprintf("too small for a header, an area of metadata and a chunk of %d bytes", g.bytes)}
	case g.trapped(chunks):
		return &SizeError{size, int64(chunks+1) * g.bytes,
			"when the last area is full, the kernel writes the next one past the end and invalidates the COW"}
	}
	return nil
}

// GoodSize returns the smallest size from size on that CheckSize takes.
func GoodSize(size int64, chunkSectors uint32) (int64, error) {
	for {
		err := CheckSize(size, chunkSectors)
		var bad *SizeError
		if !errors.As(err, &bad) {
			return size, err
		}
		size = bad.Next
	}
}

// Create makes an empty COW of size bytes of a file, whose content is lost. With
// a chunk size, in sectors, it gets a header; with 0 it is all zero and takes
// the chunk size of the table that it is first loaded with. A size that
// CheckSize does not take is a *SizeError.
func Create(s Resizable, size int64, chunkSectors uint32) error {
	check := chunkSectors
	if check == 0 {
		check = DefaultChunkSectors
	}
	if err := CheckSize(size, check); err != nil {
		return err
	}
	if err := s.Truncate(0); err != nil {
		return err
	}
	if err := s.Truncate(size); err != nil {
		return err
	}
	if chunkSectors != 0 {
		if _, err := s.WriteAt(Header{Valid: 1, Version: headerVersion, ChunkSectors: chunkSectors}.encode(), 0); err != nil {
			return err
		}
	}
	return s.Sync()
}
