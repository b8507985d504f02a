package codec

import (
	"errors"

	"github.com/pierrec/lz4/v4"
)

type pureRawLZ4 struct{}

func newPureRawLZ4(int) (RawDecompressor, error) { return pureRawLZ4{}, nil }

func (pureRawLZ4) Decompress(dst, src []byte) error {
	if err := checkRaw(RawLZ4, dst, src); err != nil {
		return err
	}
	n, err := lz4.UncompressBlock(src, dst)
	if err != nil {
		return rawCorrupt(RawLZ4, err)
	}
	return checkGiven(RawLZ4, dst, n)
}

func (pureRawLZ4) Prefix(dst, src []byte) error { return rawLZ4Prefix(dst, src) }

func (pureRawLZ4) Close() error { return nil }

var (
	errLZ4Cut    = errors.New("LZ4 data is cut short")
	errLZ4Offset = errors.New("LZ4 match reaches back past the beginning")
	// errLZ4Zero is what the format forbids and liblz4 lets pass.
	errLZ4Zero = errors.New("LZ4 match has the offset 0")
)

// rawLZ4Prefix unpacks the first len(dst) bytes of a block, by lz4's
// doc/lz4_Block_format.md. Neither library does so: pierrec/lz4 only takes whole
// blocks, and LZ4_decompress_safe_partial of liblz4 before 1.9.3 needs to know
// where the block ends.
func rawLZ4Prefix(dst, src []byte) error {
	if err := checkRaw(RawLZ4, dst, src); err != nil {
		return err
	}
	s, d := 0, 0
	// length reads on what a token's four bits begin.
	length := func(n int) (int, bool) {
		if n != 15 {
			return n, true
		}
		for s < len(src) && n < 1<<30 {
			b := src[s]
			s++
			if n += int(b); b != 255 {
				return n, true
			}
		}
		return 0, false
	}
	for s < len(src) {
		token := src[s]
		s++
		n, ok := length(int(token >> 4))
		if !ok || min(n, len(dst)-d) > len(src)-s {
			return rawCorrupt(RawLZ4, errLZ4Cut)
		}
		d += copy(dst[d:], src[s:s+min(n, len(dst)-d)])
		if d == len(dst) {
			return nil
		}
		s += n
		if s == len(src) {
			return checkGiven(RawLZ4, dst, d)
		}
		if len(src)-s < 2 {
			return rawCorrupt(RawLZ4, errLZ4Cut)
		}
		offset := int(src[s]) | int(src[s+1])<<8
		s += 2
		if offset == 0 {
			return rawCorrupt(RawLZ4, errLZ4Zero)
		}
		if offset > d {
			return rawCorrupt(RawLZ4, errLZ4Offset)
		}
		if n, ok = length(int(token & 15)); !ok {
			return rawCorrupt(RawLZ4, errLZ4Cut)
		}
		end := min(d+n+4, len(dst))
		for d < end {
			// A match may reach into what it makes, which then repeats.
			d += copy(dst[d:end], dst[d-offset:d])
		}
		if d == len(dst) {
			return nil
		}
	}
	return rawCorrupt(RawLZ4, errLZ4Cut)
}
