package tree

import (
	"bytes"
	"errors"
	"io"
)

// Data is the content of a regular file before it is opened. Implementations
// may offer more through further interfaces, such as the stored blocks that
// the SquashFS writer copies; a layer hands a Data on as it is.
type Data interface {
	// Open returns the content. The caller closes it.
	Open() (Content, error)
}

// Content is an opened file: bytes at offsets, with holes. It serves also as
// the block device below a tree: an image file, a file inside a SquashFS, a
// merged device-mapper snapshot.
type Content interface {
	// ReadAt reads as io.ReaderAt says; holes read as zeros. Calls may run at
	// the same time.
	io.ReaderAt
	// Size is the length in bytes.
	Size() int64
	// NextData returns the first range [start, end) at or after off that may hold
	// anything but zeros; all between off and start is a hole. It gives io.EOF
	// where only holes follow. A source that knows of no holes gives
	// [off, Size).
	NextData(off int64) (start, end int64, err error)
	io.Closer
}

// ErrNoData is the error of opening a node that is not a regular file.
var ErrNoData = errors.New("not a regular file")

// Open opens a regular file's content.
func (n *Node) Open() (Content, error) {
	if n.Data == nil {
		return nil, ErrNoData
	}
	return n.Data.Open()
}

// Bytes is the Data of a file whose content is in memory.
type Bytes []byte

// Open implements Data.
func (b Bytes) Open() (Content, error) {
	return bytesContent{bytes.NewReader(b)}, nil
}

type bytesContent struct{ r *bytes.Reader }

func (c bytesContent) ReadAt(p []byte, off int64) (int, error) { return c.r.ReadAt(p, off) }
func (c bytesContent) Size() int64                             { return c.r.Size() }
func (c bytesContent) Close() error                            { return nil }
func (c bytesContent) NextData(off int64) (int64, int64, error) {
	return WholeData(off, c.r.Size())
}

// WholeData is the NextData of content of that size that knows of no holes.
func WholeData(off, size int64) (start, end int64, err error) {
	if off >= size {
		return 0, 0, io.EOF
	}
	return off, size, nil
}

// ReadFull reads len(p) bytes at off; content that ends earlier is
// io.ErrUnexpectedEOF.
func ReadFull(r io.ReaderAt, p []byte, off int64) error {
	n, err := r.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == nil || err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// ReadAll reads a regular file of at most limit bytes; a longer one is an
// error.
func ReadAll(n *Node, limit int64) ([]byte, error) {
	if n.Size > limit {
		return nil, errors.New("file is larger than expected")
	}
	c, err := n.Open()
	if err != nil {
		return nil, err
	}
	defer c.Close()
	b := make([]byte, n.Size)
	if err := ReadFull(c, b, 0); err != nil {
		return nil, err
	}
	return b, nil
}

// IsZero reports whether all bytes are zero.
func IsZero(p []byte) bool {
	for len(p) >= 8 {
		if p[0]|p[1]|p[2]|p[3]|p[4]|p[5]|p[6]|p[7] != 0 {
			return false
		}
		p = p[8:]
	}
	for _, b := range p {
		if b != 0 {
			return false
		}
	}
	return true
}

// skipHoles returns the first offset at or after off at which either content may
// hold data, or size.
func skipHoles(a, b Content, off, size int64) (int64, error) {
	next := size
	for _, c := range []Content{a, b} {
		start, _, err := c.NextData(off)
		if err == io.EOF {
			continue
		}
		if err != nil {
			return 0, err
		}
		next = min(next, max(start, off))
	}
	return next, nil
}
