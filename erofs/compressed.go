package erofs

import (
	"fmt"
	"sync/atomic"

	"relive/codec"
	"relive/erofs/internal/ondisk"
)

// form is how the bytes of an extent are stored.
type form uint8

const (
	formStream     form = iota // compressed
	formPlain                  // as they are
	formInterlaced             // as they are, rotated within a block
	formFragment               // in the packed inode
	formHole                   // not at all
)

// extent is a run of bytes of a compressed file that is stored, and decodes, as one.
type extent struct {
	start, end int64 // in the file
	form       form
	algo       codec.Raw // of streams
	partial    bool      // the stream decodes to more
	inline     bool      // stored beside the index
	pos        int64     // absolute offset of what is stored; of a fragment, in the packed inode
	stored     int       // bytes
}

// len is the length in bytes, which is at most ondisk.ExtentMax but for holes and
// what is stored as it is.
func (e *extent) len() int64 { return e.end - e.start }

// extentMap finds the extents of a file. Calls may run at the same time.
type extentMap interface {
	// find gives the extent that the byte at off is in.
	find(off int64) (extent, error)
}

// compressed is content in extents.
type compressed struct {
	d    *fileData
	m    extentMap
	last atomic.Pointer[extent]
}

// header is the header of a compressed file with what follows from it.
type header struct {
	ondisk.MapHeader
	pos  int64 // absolute offset behind it
	bits uint  // log2 of an lcluster
}

// compressed opens content that is compressed; packed tells that it is the packed
// inode's, which has no fragments itself.
func (d *fileData) compressed(packed bool) (*compressed, error) {
	r := d.r
	at := up(d.tail, ondisk.MapHeaderSize)
	var b [ondisk.MapHeaderSize]byte
	if err := r.readMeta(b[:], at); err != nil {
		return nil, err
	}
	h := header{MapHeader: ondisk.DecodeMapHeader(b[:]), pos: at + ondisk.MapHeaderSize}
	whole := h.Bits&ondisk.WholeFragment != 0
	if packed && (whole || h.Advise&ondisk.AdviseFragment != 0) {
		return nil, r.corrupt("", "the packed inode has a fragment itself")
	}
	f := &compressed{d: d}
	if whole {
		e := extent{end: d.size, form: formFragment, pos: int64(h.Word &^ (1 << 63))}
		if err := r.checkExtent(&e); err != nil {
			return nil, err
		}
		f.m = single(e)
		return f, nil
	}
	h.bits = r.blockBits + uint(h.Bits&15)
	var err error
	if d.layout == ondisk.CompressedFull && h.Advise&ondisk.AdviseExtents != 0 {
		f.m, err = d.encoded(&h)
	} else {
		f.m, err = d.index(&h)
	}
	if err != nil {
		return nil, err
	}
	return f, nil
}

// single is the map of a file that is one extent.
type single extent

func (s single) find(int64) (extent, error) { return extent(s), nil }

// checkExtent judges what an index says of an extent.
func (r *Reader) checkExtent(e *extent) error {
	bad := func(fact string, args ...any) error {
		return r.corrupt(fmt.Sprintf("extent at %d", e.start), fact, args...)
	}
	switch e.form {
	case formHole:
		return nil
	case formFragment:
		switch {
		case r.packed == nil:
			return bad("is a fragment, where the image has no packed inode")
		case e.pos < 0 || e.pos > r.packed.Size() || e.len() > r.packed.Size()-e.pos:
			return bad("a fragment of %d bytes at %d reaches past the end of the packed inode of %d", e.len(), e.pos, r.packed.Size())
		}
		return nil
	case formPlain, formInterlaced:
		if e.len() > int64(e.stored) {
			return bad("has %d bytes, of which %d are stored", e.len(), e.stored)
		}
	case formStream:
		switch {
		case e.algo >= algorithms || !r.algos[e.algo].used:
			return bad("is compressed with %s, which the image does not use", e.algo)
		case e.len() > ondisk.ExtentMax:
			return bad("has %d bytes, more than %d", e.len(), ondisk.ExtentMax)
		}
	}
	switch {
	case e.stored == 0 || e.stored > ondisk.PclusterMax:
		return bad("takes %d bytes, not 1 to %d", e.stored, ondisk.PclusterMax)
	case e.pos < 0 || e.pos > r.size || int64(e.stored) > r.size-e.pos:
		return bad("%d bytes at offset %d reach past the end of the image at %d", e.stored, e.pos, r.size)
	case e.inline && e.pos%r.blockSize+int64(e.stored) > r.blockSize:
		return bad("its tail of %d bytes at offset %d crosses a block", e.stored, e.pos)
	}
	return nil
}

// at gives the extent that the byte at off is in.
func (f *compressed) at(off int64) (*extent, error) {
	if e := f.last.Load(); e != nil && off >= e.start && off < e.end {
		return e, nil
	}
	e, err := f.m.find(off)
	if err != nil {
		return nil, err
	}
	if e.start > off || e.end <= off {
		return nil, f.d.r.corrupt("", "its index leads for byte %d to an extent from %d to %d", off, e.start, e.end)
	}
	if err := f.d.r.checkExtent(&e); err != nil {
		return nil, err
	}
	f.last.Store(&e)
	return &e, nil
}

func (f *compressed) piece(off int64) (end int64, hole bool, err error) {
	e, err := f.at(off)
	if err != nil {
		return 0, false, err
	}
	return e.end, e.form == formHole, nil
}

func (f *compressed) readPiece(p []byte, off int64) (int, error) {
	e, err := f.at(off)
	if err != nil {
		return 0, err
	}
	p = p[:min(int64(len(p)), e.end-off)]
	if err := f.d.r.readExtent(p, e, off-e.start); err != nil {
		return 0, err
	}
	return len(p), nil
}
