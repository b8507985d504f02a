package kernel

import (
	"bufio"
	"compress/bzip2"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz/lzma"

	"relive/codec"
	"relive/tree"
)

// Bounds of what a file may ask for, in bytes.
const (
	// maxUnpacked is how much a file may hold, and may unpack to in all.
	maxUnpacked = 2 << 30
	// maxDict is the largest dictionary or window; xz -9 has 64 MiB, zstd
	// --ultra 128 MiB.
	maxDict = 128 << 20
	// perStream is what each compressed stream counts as beside its content, for
	// what its decoder sets up.
	perStream = 64 << 10
)

// form is a compression, as lib/decompress.c of Linux tells them apart.
type form uint8

const (
	formNone form = iota
	formGzip
	formBzip2
	formLZMA
	formXZ
	formLZO
	formLZ4
	formZstd
)

func (f form) String() string {
	return [...]string{"uncompressed", "gzip", "bzip2", "lzma", "xz", "lzo", "lz4", "zstd"}[f]
}

// formOf tells a compression by the first bytes.
func formOf(b []byte) form {
	has := func(magic string) bool { return len(b) >= len(magic) && string(b[:len(magic)]) == magic }
	switch {
	case has("\x1f\x8b"), has("\x1f\x9e"):
		return formGzip
	case has("BZh"):
		return formBzip2
	case has("\x5d\x00\x00"):
		return formLZMA
	case has("\xfd7zXZ\x00"):
		return formXZ
	case has("\x89LZO\x00\r\n\x1a\n"):
		return formLZO
	case has("\x02\x21\x4c\x18"):
		return formLZ4
	case has("\x28\xb5\x2f\xfd"):
		return formZstd
	}
	return formNone
}

// unpacker reads a file that holds compressed streams.
type unpacker struct {
	ctx  context.Context
	c    tree.Content
	name string
	end  int64 // of what is read
	left int64 // bytes that may still be unpacked

	in    *bufio.Reader
	inEnd int64 // where in the file in's own source has come to

	gzip *gzip.Reader
	zstd *zstd.Decoder
	buf  blockBuffers
}

func newUnpacker(ctx context.Context, c tree.Content, name string) (*unpacker, error) {
	if size := c.Size(); size > maxUnpacked {
		return nil, tree.Unsupported(name, "", "has %d bytes, more than any kernel or initrd", size)
	}
	return &unpacker{ctx: ctx, c: c, name: name, end: c.Size(), left: maxUnpacked}, nil
}

// fileReader is the unpacker as the source of its buffer.
type fileReader struct{ u *unpacker }

func (f fileReader) Read(p []byte) (int, error) {
	u := f.u
	if err := u.ctx.Err(); err != nil {
		return 0, context.Cause(u.ctx)
	}
	n := min(int64(len(p)), u.end-u.inEnd)
	if n <= 0 {
		return 0, io.EOF
	}
	if err := tree.ReadFull(u.c, p[:n], u.inEnd); err != nil {
		return 0, err
	}
	u.inEnd += n
	return int(n), nil
}

// seek makes in read from an offset of the file. What it has read of that stays.
func (u *unpacker) seek(at int64) {
	if u.in == nil {
		u.in = bufio.NewReaderSize(nil, 64<<10)
	} else if skip := at - u.pos(); skip >= 0 && at <= u.inEnd {
		if _, err := u.in.Discard(int(skip)); err == nil {
			return
		}
	}
	u.inEnd = at
	u.in.Reset(fileReader{u})
}

// pos is the offset of the next byte that in gives.
func (u *unpacker) pos() int64 { return u.inEnd - int64(u.in.Buffered()) }

func (u *unpacker) place() string { return fmt.Sprintf("byte %d", u.pos()) }

// take counts bytes against the bound.
func (u *unpacker) take(n int64) error {
	if u.left -= n; u.left < 0 {
		return tree.Unsupported(u.name, u.place(), "unpacks to more than %d MiB", maxUnpacked>>20)
	}
	return nil
}

// open returns a reader of what is at an offset, unpacked where it is compressed.
// Once it has given io.EOF, in stands behind the stream.
func (u *unpacker) open(at int64) (io.Reader, form, error) {
	u.seek(at)
	magic, err := u.in.Peek(16)
	if err != nil && err != io.EOF {
		return nil, 0, fmt.Errorf("%s: %w", u.name, err)
	}
	f := formOf(magic)
	var dict [4]byte // lzma's, which stands behind its first byte
	copy(dict[:], magic[min(1, len(magic)):])
	err = nil
	var r io.Reader
	switch f {
	case formNone:
		r = u.in
	case formGzip:
		if u.gzip == nil {
			u.gzip = new(gzip.Reader)
		}
		if err = u.gzip.Reset(u.in); err == nil {
			u.gzip.Multistream(false)
			r = u.gzip
		}
	case formBzip2:
		r = bzip2.NewReader(u.in)
	case formLZMA:
		if err = u.take(dictCost(int64(binary.LittleEndian.Uint32(dict[:])))); err == nil {
			r, err = lzma.ReaderConfig{DictCap: maxDict}.NewReader(u.in)
		}
	case formXZ:
		r, err = codec.NewXZStream(u.in, maxDict, func(dict int64) error { return u.take(dictCost(dict)) })
	case formLZO:
		r, err = newLZOReader(u)
	case formLZ4:
		r, err = newLZ4Reader(u)
	case formZstd:
		r, err = u.openZstd(at)
	}
	if err != nil {
		return nil, f, u.failed(f, at, err)
	}
	if err := u.take(perStream); err != nil {
		return nil, f, err
	}
	return &stream{u: u, r: r, form: f, at: at}, f, nil
}

// dictCost is what a dictionary counts as: it is cleared, which is faster than
// unpacking. A size beyond what is allowed is refused where it is used.
func dictCost(size int64) int64 { return min(size, maxDict) / 4 }

// openZstd opens the frames at an offset. The library reads ahead, so where
// they end is found first.
func (u *unpacker) openZstd(at int64) (io.Reader, error) {
	end, err := zstdEnd(u, at)
	if err != nil {
		return nil, err
	}
	src := io.NewSectionReader(u.c, at, end-at)
	u.seek(end)
	if u.zstd != nil {
		return u.zstd, u.zstd.Reset(src)
	}
	u.zstd, err = zstd.NewReader(src, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(maxDict), zstd.WithDecoderMaxMemory(maxUnpacked))
	return u.zstd, err
}

// close frees what the decoders hold.
func (u *unpacker) close() {
	if u.zstd != nil {
		u.zstd.Close()
	}
}

// failed makes an error of a decoder one of the file's format, with its place.
func (u *unpacker) failed(f form, at int64, err error) error {
	var fe *tree.FormatError
	if u.ctx.Err() != nil {
		return err
	}
	kind := tree.ErrCorrupt
	if errors.As(err, &fe) {
		if fe.File != "" {
			return err
		}
		kind = fe.Kind // of a decoder, which does not know the file
	}
	if f == formNone {
		return fmt.Errorf("%s: %w", u.name, err)
	}
	return &tree.FormatError{File: u.name, Place: fmt.Sprintf("%s at byte %d", f, at), Fact: "does not unpack", Kind: kind, Err: err}
}

// stream counts what it unpacks, and names itself in errors.
type stream struct {
	u    *unpacker
	r    io.Reader
	form form
	at   int64
}

func (s *stream) Read(p []byte) (int, error) {
	if err := s.u.ctx.Err(); err != nil {
		return 0, context.Cause(s.u.ctx)
	}
	n, err := s.r.Read(p)
	if s.form != formNone {
		if e := s.u.take(int64(n)); e != nil {
			return n, e
		}
	}
	if err == io.EOF {
		return n, err
	}
	if err != nil {
		err = s.u.failed(s.form, s.at, err)
	}
	return n, err
}
