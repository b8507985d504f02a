package erofs

import (
	"bytes"
	"fmt"

	"relive/codec"
	"relive/erofs/internal/ondisk"
	"relive/tree"
)

// extentKey is what makes two extents one in the cache.
type extentKey struct {
	pos     int64
	stored  int
	size    int
	algo    codec.Raw
	partial bool
}

// readExtent reads what of an extent begins skip bytes behind its start.
func (r *Reader) readExtent(p []byte, e *extent, skip int64) error {
	var err error
	switch e.form {
	case formHole:
		clear(p)
		return nil
	case formFragment:
		err = r.readPacked(p, e.pos+skip)
	case formPlain:
		err = r.read(p, e.pos+skip)
	case formInterlaced:
		err = r.readInterlaced(p, e, skip)
	default:
		key := extentKey{e.pos, e.stored, int(e.len()), e.algo, e.partial}
		if len(p) == key.size {
			err = r.decode(p, key)
			break
		}
		var b []byte
		if b, err = r.extents.Get(key); err == nil {
			copy(p, b[skip:])
		}
	}
	return tree.Within(err, "extent at %d", e.start)
}

// readPacked reads of the packed inode.
func (r *Reader) readPacked(p []byte, off int64) error {
	return tree.Within(tree.ReadFull(r.packed, p, off), "packed data at %d", off)
}

// readInterlaced reads of an extent whose byte at offset n of the file is at byte n of
// its block, modulo the length of one: the beginning is at the end of the pcluster,
// and the rest at its beginning.
func (r *Reader) readInterlaced(p []byte, e *extent, skip int64) error {
	head := r.blockSize - e.start%r.blockSize
	if skip < head {
		n := min(int64(len(p)), head-skip)
		if err := r.read(p[:n], e.pos+int64(e.stored)-head+skip); err != nil {
			return err
		}
		p, skip = p[n:], skip+n
	}
	if len(p) == 0 {
		return nil
	}
	return r.read(p, e.pos+skip-head)
}

func (r *Reader) loadExtent(key extentKey) ([]byte, int64, error) {
	b := make([]byte, key.size)
	return b, int64(len(b)), r.decode(b, key)
}

// source is a buffer for what is stored.
type source struct{ b []byte }

// Close implements io.Closer.
func (*source) Close() error { return nil }

// decode decodes an extent.
func (r *Reader) decode(dst []byte, key extentKey) error {
	s, err := r.sources.Take()
	if err != nil {
		return err
	}
	defer r.sources.Give(s)
	if cap(s.b) < key.stored {
		s.b = make([]byte, key.stored)
	}
	src := s.b[:key.stored]
	if err := r.read(src, key.pos); err != nil {
		return err
	}
	d, err := r.decoders[key.algo].Take()
	if err != nil {
		return err
	}
	defer r.decoders[key.algo].Give(d)
	unpack := d.Decompress
	if key.partial {
		unpack = d.Prefix
	}
	if key.algo != codec.RawLZ4 || r.super.Incompat&ondisk.IncompatZeroPadding != 0 {
		// A stream ends with its last block, and begins with no zero.
		padded := src[:min(int64(len(src)), r.blockSize-key.pos%r.blockSize)]
		src = src[len(padded)-len(bytes.TrimLeft(padded, "\x00")):]
	} else {
		unpack = d.Prefix // where it ends is not told
	}
	return r.undecodable(unpack(dst, src), key.pos)
}

// undecodable names image and place of a stream that does not decode.
func (r *Reader) undecodable(err error, pos int64) error {
	if err == nil {
		return nil
	}
	if !tree.IsDamage(err) {
		return err
	}
	place := fmt.Sprintf("stored at offset %d", pos)
	return &tree.FormatError{File: r.name, Place: place, Fact: "does not decode", Kind: tree.ErrCorrupt, Err: err}
}
