package codec

import (
	"fmt"

	"relive/tree"
)

// Raw is a compression without a container: whoever stored a stream knows how
// long it is, and what it unpacks to. The numbers are EROFS's
// (Z_EROFS_COMPRESSION_* in Linux's fs/erofs/erofs_fs.h).
type Raw uint8

// The raw compressions.
const (
	RawLZ4     Raw = 0 // one LZ4 block
	MicroLZMA  Raw = 1 // LZMA without a header; see xz's lzma_microlzma_decoder
	RawDeflate Raw = 2 // deflate without zlib's header and sum
	RawZstd    Raw = 3 // one frame
)

// rawCount is one past the highest Raw.
const rawCount = 4

// String is the name that mkfs.erofs -z takes.
func (r Raw) String() string {
	switch r {
	case RawLZ4:
		return "lz4"
	case MicroLZMA:
		return "lzma"
	case RawDeflate:
		return "deflate"
	case RawZstd:
		return "zstd"
	}
	return fmt.Sprintf("algorithm %d", uint8(r))
}

// RawDecompressor unpacks raw streams one after another. It is not safe for
// concurrent use. Streams that do not give what is asked for are a
// tree.ErrCorrupt; dst may then have been written to.
type RawDecompressor interface {
	// Decompress unpacks src into dst. Both must end where the stream does.
	Decompress(dst, src []byte) error
	// Prefix unpacks the first len(dst) bytes, which more may follow; what of src
	// is not needed for them is not looked at.
	Prefix(dst, src []byte) error
	// Close frees what the garbage collector does not see. No method may be called
	// after it.
	Close() error
}

// rawImplementation makes what packs and unpacks one Raw; a nil function cannot.
type rawImplementation struct {
	decompressor func(window int) (RawDecompressor, error)
	// fitter is called with options that are in range, without defaults to fill in.
	fitter    func(o FitOptions) (Fitter, error)
	nativeFit bool // it is of a library of the system
}

// NewRawDecompressor makes a decompressor. As in the kernel, window bounds, in
// bytes, how far back the streams of MicroLZMA and RawZstd may reach, for which the
// image says what it is; others do not look at it.
func (l *Library) NewRawDecompressor(r Raw, window int) (RawDecompressor, error) {
	if r >= rawCount {
		return nil, tree.Unsupported("", "", "%s is unknown", r)
	}
	if window < 1 || window > maxDictSize {
		return nil, tree.Corrupt("", r.String(), "window of %d bytes", window)
	}
	return l.raws[r].decompressor(window)
}

// pureRaws gives the implementations in Go.
func pureRaws() [rawCount]rawImplementation {
	return [rawCount]rawImplementation{
		RawLZ4:     {decompressor: newPureRawLZ4, fitter: newPureLZ4Fitter},
		MicroLZMA:  {decompressor: newPureMicroLZMA, fitter: newPureMicroLZMAFitter},
		RawDeflate: {decompressor: newPureRawDeflate, fitter: newDeflateFitter},
		RawZstd:    {decompressor: newPureRawZstd, fitter: newPureZstdFitter},
	}
}

// rawCorrupt is the error of a stream that does not decode.
func rawCorrupt(r Raw, cause error) error {
	return &tree.FormatError{Place: r.String() + " stream", Kind: tree.ErrCorrupt, Err: cause}
}

// rawCorruptf is rawCorrupt with the fact in words.
func rawCorruptf(r Raw, fact string, args ...any) error {
	return tree.Corrupt("", r.String()+" stream", fact, args...)
}

// checkRaw refuses what no compressor gives and some decoders trip over.
func checkRaw(r Raw, dst, src []byte) error {
	if len(src) == 0 {
		return rawCorruptf(r, "has no bytes")
	}
	if len(dst) == 0 {
		return rawCorruptf(r, "unpacks to more than 0 bytes")
	}
	return nil
}

// checkGiven refuses a stream that gave n bytes where others belong.
func checkGiven(r Raw, dst []byte, n int) error {
	if n != len(dst) {
		return rawCorruptf(r, "unpacks to %d bytes, not %d", n, len(dst))
	}
	return nil
}
