package erofs

import (
	"encoding/binary"
	"math/bits"

	"relive/codec"
	"relive/erofs/internal/ondisk"
	"relive/tree"
)

// algorithms is the number of compressions that are known.
const algorithms = 4

// algorithm is what an image says of a compression.
type algorithm struct {
	used     bool
	window   int    // bytes
	distance uint16 // of LZ4
	blocks   int    // of LZ4's pclusters; 0 where that is not told
	bits     uint8  // of deflate's window
}

// defaultWindow is that of algorithms without a configuration of it.
const defaultWindow = 64 << 10

// readConfigs reads the configurations behind the superblock: for each bit of the
// bitmap, two bytes of length and as many bytes, at a multiple of four.
func (r *Reader) readConfigs() error {
	for i := range r.algos {
		r.algos[i].window = defaultWindow
	}
	if r.super.Incompat&ondisk.IncompatConfigs == 0 {
		r.algos[codec.RawLZ4].used = true
		r.algos[codec.RawLZ4].distance = r.super.Algorithms
		return nil
	}
	bitmap := r.super.Algorithms
	if unknown := bitmap >> algorithms; unknown != 0 {
		return tree.Unsupported(r.name, "superblock", "the image has compressions that are unknown: bitmap 0x%x", bitmap)
	}
	at := int64(ondisk.SuperblockOffset + ondisk.SuperblockSize + ondisk.ExtensionSize*int64(r.super.Extensions))
	for ; bitmap != 0; bitmap &= bitmap - 1 {
		algo := codec.Raw(bits.TrailingZeros16(bitmap))
		at = up(at, 4)
		var head [2]byte
		if err := r.read(head[:], at); err != nil {
			return tree.Within(err, "configuration of %s", algo)
		}
		n := int(binary.LittleEndian.Uint16(head[:]))
		if n == 0 {
			n = 1 << 16
		}
		b := make([]byte, n)
		if err := r.read(b, at+2); err != nil {
			return tree.Within(err, "configuration of %s", algo)
		}
		at += 2 + int64(n)
		if err := r.readConfig(algo, b); err != nil {
			return tree.Within(err, "configuration of %s", algo)
		}
		r.algos[algo].used = true
	}
	return nil
}

// readConfig reads the configuration of one algorithm.
func (r *Reader) readConfig(algo codec.Raw, b []byte) error {
	le := binary.LittleEndian
	if need := [algorithms]int{4, 6, 1, 2}[algo]; len(b) < need {
		return r.corrupt("", "has %d bytes, less than %d", len(b), need)
	}
	switch algo {
	case codec.RawLZ4:
		if n := int64(le.Uint16(b[2:])); n > ondisk.PclusterMax>>r.blockBits {
			return r.corrupt("", "pclusters of %d blocks", n)
		}
		r.algos[algo].distance, r.algos[algo].blocks = le.Uint16(b), max(int(le.Uint16(b[2:])), 1)
	case codec.MicroLZMA:
		dict := le.Uint32(b)
		if dict < ondisk.LZMADictMin || dict > ondisk.LZMADictMax {
			return r.corrupt("", "dictionary of %d bytes", dict)
		}
		if f := le.Uint16(b[4:]); f != 0 {
			return tree.Unsupported(r.name, "", "format %d is unknown", f)
		}
		r.algos[algo].window = int(dict)
	case codec.RawDeflate:
		if b[0] > ondisk.DeflateBitsMax {
			return r.corrupt("", "window of 2^%d bytes", b[0])
		}
		r.algos[algo].bits = b[0]
	case codec.RawZstd:
		if b[0] != 0 {
			return tree.Unsupported(r.name, "", "format %d is unknown", b[0])
		}
		if b[1] > ondisk.ZstdLogMax-ondisk.ZstdLogMin {
			return r.corrupt("", "window of 2^%d bytes", int(b[1])+ondisk.ZstdLogMin)
		}
		r.algos[algo].window = 1 << (b[1] + ondisk.ZstdLogMin)
	}
	return nil
}
