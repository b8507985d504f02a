package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/anchore/go-lzo"
	"github.com/pierrec/lz4/v4"
)

// blockBuffers are the buffers of the formats that are made of blocks.
type blockBuffers struct{ packed, unpacked []byte }

// sized returns the first n bytes of a buffer that grows as needed.
func sized(b *[]byte, n int) []byte {
	if cap(*b) < n {
		*b = make([]byte, n)
	}
	return (*b)[:n]
}

// blockReader reads a stream of blocks, which next unpacks one after another.
type blockReader struct {
	next func() ([]byte, error) // io.EOF after the last
	rest []byte
	err  error
}

func (r *blockReader) Read(p []byte) (int, error) {
	for len(r.rest) == 0 {
		if r.err != nil {
			return 0, r.err
		}
		r.rest, r.err = r.next()
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

const (
	lz4Magic = 0x184c2102
	// lz4Block is the most that a block of the legacy form holds unpacked.
	lz4Block = 8 << 20
)

// newLZ4Reader reads lz4's legacy form as decompress_unlz4.c does: the magic,
// then blocks of a size of four bytes and the packed bytes. The magic may come
// again between blocks; a size of zero, one that no block can have, or the end
// of the file ends it.
func newLZ4Reader(u *unpacker) (io.Reader, error) {
	if _, err := u.in.Discard(4); err != nil {
		return nil, err
	}
	next := func() ([]byte, error) {
		for {
			b, err := u.in.Peek(4)
			if err == io.EOF {
				return nil, io.EOF
			}
			if err != nil {
				return nil, err
			}
			size := binary.LittleEndian.Uint32(b)
			if size == lz4Magic {
				if _, err := u.in.Discard(4); err != nil {
					return nil, err
				}
				continue
			}
			if size == 0 || size > uint32(lz4.CompressBlockBound(lz4Block)) {
				return nil, io.EOF
			}
			if u.pos()+4+int64(size) > u.end {
				return nil, io.ErrUnexpectedEOF
			}
			if _, err := u.in.Discard(4); err != nil {
				return nil, err
			}
			packed := sized(&u.buf.packed, int(size))
			if _, err := io.ReadFull(u.in, packed); err != nil {
				return nil, unexpected(err)
			}
			out := sized(&u.buf.unpacked, lz4Block)
			n, err := lz4.UncompressBlock(packed, out)
			if err != nil {
				return nil, err
			}
			return out[:n], nil
		}
	}
	return &blockReader{next: next}, nil
}

// lzoBlock is the largest block of an lzop file that the kernel unpacks
// (decompress_unlzo.c, LZO_BLOCK_SIZE).
const lzoBlock = 256 << 10

// Flags of an lzop header.
const (
	lzopAdlerD  = 0x1
	lzopAdlerC  = 0x2
	lzopExtra   = 0x40
	lzopCRCD    = 0x100
	lzopCRCC    = 0x200
	lzopFilter  = 0x800
	lzopVersion = 0x940
)

// newLZOReader reads an lzop file: magic, header, then blocks of unpacked size,
// packed size, checksums and bytes, to an unpacked size of zero. All numbers
// are big-endian. The checksums are passed over.
func newLZOReader(u *unpacker) (io.Reader, error) {
	var b [4]byte
	num := func(n int) (uint32, error) {
		if _, err := io.ReadFull(u.in, b[:n]); err != nil {
			return 0, unexpected(err)
		}
		v := uint32(0)
		for _, c := range b[:n] {
			v = v<<8 | uint32(c)
		}
		return v, nil
	}
	skip := func(n int) error { _, err := u.in.Discard(n); return unexpected(err) }
	if err := skip(9); err != nil {
		return nil, err
	}
	version, err := num(2)
	if err != nil {
		return nil, err
	}
	rest := 2 + 1 // the library's version, the method
	if version >= lzopVersion {
		rest += 2 + 1 // the version needed, the level
	}
	if err := skip(rest); err != nil {
		return nil, err
	}
	flags, err := num(4)
	if err != nil {
		return nil, err
	}
	rest = 4 + 4 // mode and time
	if flags&lzopFilter != 0 {
		rest += 4
	}
	if version >= lzopVersion {
		rest += 4
	}
	if err := skip(rest); err != nil {
		return nil, err
	}
	nameLen, err := num(1)
	if err != nil {
		return nil, err
	}
	if err := skip(int(nameLen) + 4); err != nil { // and the checksum
		return nil, err
	}
	if flags&lzopExtra != 0 {
		n, err := num(4)
		if err != nil {
			return nil, err
		}
		if int64(n)+4 > u.end-u.pos() {
			return nil, io.ErrUnexpectedEOF
		}
		if err := skip(int(n) + 4); err != nil {
			return nil, err
		}
	}
	next := func() ([]byte, error) {
		size, err := num(4)
		if err != nil || size == 0 {
			if err == nil {
				err = io.EOF
			}
			return nil, err
		}
		packed, err := num(4)
		if err != nil {
			return nil, err
		}
		if size > lzoBlock || packed == 0 || packed > size {
			return nil, fmt.Errorf("a block of %d bytes, packed %d", size, packed)
		}
		sums := 0
		for _, f := range []uint32{lzopAdlerD, lzopCRCD} {
			if flags&f != 0 {
				sums += 4
			}
		}
		if packed < size {
			for _, f := range []uint32{lzopAdlerC, lzopCRCC} {
				if flags&f != 0 {
					sums += 4
				}
			}
		}
		if err := skip(sums); err != nil {
			return nil, err
		}
		src := sized(&u.buf.packed, int(packed))
		if _, err := io.ReadFull(u.in, src); err != nil {
			return nil, unexpected(err)
		}
		if packed == size {
			return src, nil
		}
		return unpackLZO(src, sized(&u.buf.unpacked, int(size)))
	}
	return &blockReader{next: next}, nil
}

// unpackLZO guards the library, whose bounds are checked by hand.
func unpackLZO(src, dst []byte) (out []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			out, err = nil, fmt.Errorf("%v", p)
		}
	}()
	n, err := lzo.Decompress(src, dst)
	if err != nil {
		return nil, err
	}
	if n != len(dst) {
		return nil, errors.New("a block is shorter than it says")
	}
	return dst, nil
}

// unexpected is the error of an end where none can be.
func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
