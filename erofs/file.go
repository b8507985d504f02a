package erofs

import (
	"errors"
	"fmt"
	"io"

	"relive/erofs/internal/ondisk"
	"relive/tree"
)

// fileData is the tree.Data of a file in an image, and what directories and symlinks
// are read from.
type fileData struct {
	r      *Reader
	nid    uint64
	size   int64
	start  uint64 // see inode
	tail   int64
	layout ondisk.Layout
	hole   bool
	chunk  uint32 // format of chunks
}

func (r *Reader) fileData(n *inode) *fileData {
	return &fileData{r: r, nid: n.nid, size: n.size, start: n.start, tail: n.tail, layout: n.Layout(), hole: n.hole, chunk: n.U}
}

func (d *fileData) place() string { return inodePlace(d.nid) }

// String names the file in messages.
func (d *fileData) String() string { return fmt.Sprintf("%s: %s", d.r.name, d.place()) }

func (d *fileData) corrupt(fact string, args ...any) error {
	return d.r.corrupt(d.place(), fact, args...)
}

// Open implements tree.Data.
func (d *fileData) Open() (tree.Content, error) { return d.open(false) }

// open opens the content; packed tells that it is the packed inode's.
func (d *fileData) open(packed bool) (tree.Content, error) {
	if d.size == 0 {
		return &content{d: d}, nil
	}
	switch d.layout {
	case ondisk.FlatPlain, ondisk.FlatInline:
		f, err := d.flat()
		if err != nil {
			return nil, err
		}
		return &content{d: d, pieces: f}, nil
	case ondisk.ChunkBased:
		f, err := d.chunks()
		if err != nil {
			return nil, err
		}
		return &content{d: d, pieces: f}, nil
	}
	f, err := d.compressed(packed)
	if err != nil {
		return nil, tree.Within(err, "%s", d.place())
	}
	return &content{d: d, pieces: f}, nil
}

// pieces are what a content is made of. Calls may run at the same time.
type pieces interface {
	// readPiece reads from the piece that the byte at off is in, at least one byte and
	// as many as it has and p takes. With an error it gives none.
	readPiece(p []byte, off int64) (int, error)
	// piece gives the end of that piece, and tells whether it is a hole.
	piece(off int64) (end int64, hole bool, err error)
}

// content is an open file.
type content struct {
	d      *fileData
	pieces pieces // nil where the file is empty
}

// Size implements tree.Content.
func (f *content) Size() int64 { return f.d.size }

// Close implements tree.Content.
func (f *content) Close() error { return nil }

var errNegative = errors.New("negative offset")

// ReadAt implements io.ReaderAt.
func (f *content) ReadAt(p []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, errNegative
	}
	if off >= f.d.size {
		if len(p) == 0 {
			return 0, nil
		}
		return 0, io.EOF
	}
	if int64(len(p)) > f.d.size-off {
		p, err = p[:f.d.size-off], io.EOF
	}
	for n < len(p) {
		k, readErr := f.pieces.readPiece(p[n:], off+int64(n))
		n += k
		if readErr != nil {
			return n, tree.Within(readErr, "%s", f.d.place())
		}
	}
	return n, err
}

// NextData implements tree.Content.
func (f *content) NextData(off int64) (start, end int64, err error) {
	if off < 0 {
		return 0, 0, errNegative
	}
	for off < f.d.size {
		end, hole, err := f.pieces.piece(off)
		if err != nil {
			return 0, 0, tree.Within(err, "%s", f.d.place())
		}
		if !hole {
			return off, end, nil
		}
		off = end
	}
	return 0, 0, io.EOF
}

// flat is content that is stored as it is, whole blocks first and a tail beside the
// inode.
type flat struct {
	d      *fileData
	start  int64 // absolute offset of the blocks
	blocks int64 // bytes in blocks
}

func (d *fileData) flat() (*flat, error) {
	f := &flat{d: d, start: d.r.blockAt(d.start), blocks: d.size}
	if d.layout == ondisk.FlatInline {
		bs := d.r.blockSize
		f.blocks = (d.size - 1) / bs * bs
		// The kernel reads no tail that two blocks hold.
		if d.tail%bs+d.size-f.blocks > bs {
			return nil, d.corrupt("its tail of %d bytes at offset %d crosses a block", d.size-f.blocks, d.tail)
		}
	}
	return f, nil
}

func (f *flat) readPiece(p []byte, off int64) (int, error) {
	at, end := f.start+off, f.blocks
	if off >= f.blocks {
		at, end = f.d.tail+off-f.blocks, f.d.size
	}
	p = p[:min(int64(len(p)), end-off)]
	var err error
	switch {
	case f.d.hole:
		clear(p)
	case off >= f.blocks:
		err = f.d.r.readMeta(p, at)
	default:
		err = f.d.r.read(p, at)
	}
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

func (f *flat) piece(int64) (int64, bool, error) { return f.d.size, f.d.hole, nil }
