package kernel

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/ulikunitz/xz/lzma"

	"relive/tree"
)

// xzReader reads one .xz stream; the numbers in comments are sections of the .xz
// File Format. The library's own reader of the container takes whatever
// dictionary a block asks for. The check behind a block is passed over: what is
// looked for in an initrd does not hang on it.
type xzReader struct {
	u     *unpacker
	check int       // bytes of a check
	block io.Reader // that is being read, nil between blocks
	began int64     // where its content begins
	ended bool
}

func newXZReader(u *unpacker) (io.Reader, error) {
	var h [12]byte // 2.1.1
	if _, err := io.ReadFull(u.in, h[:]); err != nil {
		return nil, unexpected(err)
	}
	if binary.LittleEndian.Uint32(h[8:]) != crc32.ChecksumIEEE(h[6:8]) || h[6] != 0 || h[7] > 15 {
		return nil, errors.New("damaged stream header")
	}
	// 2.1.1.2: none, then three sizes for each of 4, 8, 16, 32 and 64 bytes.
	check := 0
	if h[7] > 0 {
		check = 4 << ((h[7] - 1) / 3)
	}
	return &xzReader{u: u, check: check}, nil
}

func (r *xzReader) Read(p []byte) (int, error) {
	for !r.ended {
		if r.block == nil {
			if err := r.next(); err != nil {
				return 0, err
			}
			continue
		}
		n, err := r.block.Read(p)
		if err == io.EOF {
			// 3.3 and 3.4: padding to four bytes, and the check.
			skip := int(-(r.u.pos()-r.began)&3) + r.check
			if _, err := r.u.in.Discard(skip); err != nil {
				return n, unexpected(err)
			}
			r.block, err = nil, nil
		}
		if n > 0 || err != nil {
			return n, unexpected(err)
		}
	}
	return 0, io.EOF
}

// next reads a block's header (3.1), or the index and the footer.
func (r *xzReader) next() error {
	size, err := r.u.in.ReadByte()
	if err != nil {
		return unexpected(err)
	}
	if size == 0 {
		r.ended = true
		return r.tail()
	}
	h := make([]byte, (int(size)+1)*4)
	h[0] = size
	if _, err := io.ReadFull(r.u.in, h[1:]); err != nil {
		return unexpected(err)
	}
	body := h[:len(h)-4]
	if binary.LittleEndian.Uint32(h[len(body):]) != crc32.ChecksumIEEE(body) {
		return errors.New("damaged block header")
	}
	flags := body[1]
	if flags&0x3c != 0 {
		return errors.New("unknown flags of a block")
	}
	if flags&3 != 0 {
		return tree.Unsupported(r.u.name, r.u.place(), "xz with a filter before LZMA2")
	}
	rest := bytes.NewReader(body[2:])
	for range int(flags>>6&1) + int(flags>>7) { // packed and unpacked size
		if _, err := binary.ReadUvarint(rest); err != nil {
			return errors.New("damaged block header")
		}
	}
	id, err1 := binary.ReadUvarint(rest)
	n, err2 := binary.ReadUvarint(rest)
	bits, err3 := rest.ReadByte()
	if err := errors.Join(err1, err2, err3); err != nil || id != 0x21 || n != 1 || bits > 40 {
		return errors.New("damaged block header, or not of LZMA2")
	}
	dict := int64(2|bits&1) << (bits/2 + 11) // 5.3.1
	if dict > maxDict {
		return tree.Unsupported(r.u.name, r.u.place(), "a dictionary of %d MiB", dict>>20)
	}
	if err := r.u.take(dictCost(dict)); err != nil {
		return err
	}
	r.began = r.u.pos()
	r.block, err = lzma.Reader2Config{DictCap: int(max(dict, lzma.MinDictCap))}.NewReader2(r.u.in)
	return err
}

// tail passes over the index (4) and the stream footer (2.1.2). Its first byte
// has been read.
func (r *xzReader) tail() error {
	began := r.u.pos() - 1
	n, err := binary.ReadUvarint(r.u.in)
	if err != nil {
		return unexpected(err)
	}
	if n > uint64(r.u.end) {
		return fmt.Errorf("an index of %d blocks", n)
	}
	for range 2 * n {
		if _, err := binary.ReadUvarint(r.u.in); err != nil {
			return unexpected(err)
		}
	}
	skip := int(-(r.u.pos()-began)&3) + 4
	if _, err := r.u.in.Discard(skip); err != nil {
		return unexpected(err)
	}
	var f [12]byte
	if _, err := io.ReadFull(r.u.in, f[:]); err != nil {
		return unexpected(err)
	}
	if string(f[10:]) != "YZ" {
		return errors.New("damaged stream footer")
	}
	return nil
}
