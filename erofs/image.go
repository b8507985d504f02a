package erofs

import (
	"fmt"
	"io"

	"relive/tree"
)

// read reads len(p) bytes of the image, past whose end nothing is.
func (r *Reader) read(p []byte, off int64) error {
	if off < 0 || off > r.size || int64(len(p)) > r.size-off {
		return r.corrupt(fmt.Sprintf("offset %d", off), "%d bytes reach past the end of the image at %d", len(p), r.size)
	}
	n, err := r.image.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == nil || err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("%s: reading %d bytes at offset %d: %w", r.name, len(p), off, err)
}

// metaPiece is how much of the image is read at once where inodes, indexes and
// attributes are.
const metaPiece = 16 << 10

func (r *Reader) loadMeta(piece int64) ([]byte, int64, error) {
	b := make([]byte, min(metaPiece, r.size-piece*metaPiece))
	return b, int64(len(b)), r.read(b, piece*metaPiece)
}

// readMeta is read through the cache of metadata.
func (r *Reader) readMeta(p []byte, off int64) error {
	if off < 0 || off > r.size || int64(len(p)) > r.size-off {
		return r.read(p, off) // which says what is wrong
	}
	for len(p) > 0 {
		b, err := r.metas.Get(off / metaPiece)
		if err != nil {
			return err
		}
		n := copy(p, b[off%metaPiece:])
		p, off = p[n:], off+int64(n)
	}
	return nil
}

// corrupt makes errors that name the image.
func (r *Reader) corrupt(place, fact string, args ...any) error {
	return tree.Corrupt(r.name, place, fact, args...)
}

// up rounds up to a multiple of a power of two.
func up(n, to int64) int64 { return (n + to - 1) &^ (to - 1) }
