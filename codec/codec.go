package codec

import (
	"fmt"

	"relive/tree"
)

// MetadataSize is the most that a metadata block holds, in bytes, uncompressed.
const MetadataSize = 8192

// Block sizes that SquashFS 4.0 allows, in bytes; a block size is a power of
// two.
const (
	MinBlockSize = 4096
	MaxBlockSize = 1 << 20
)

// Compressor packs blocks one after another. It is not safe for concurrent use:
// each worker has its own.
type Compressor interface {
	// Compress packs src, at most a block, into dst[:0], which grows where its
	// capacity is below the block size. ok is false, and out is dst[:0], where
	// the result is not shorter than src: SquashFS stores such a block raw. The
	// error is that of a library that failed; incompressible data is none.
	Compress(dst, src []byte) (out []byte, ok bool, err error)
	// Close frees what the garbage collector does not see. No method may be
	// called after it.
	Close() error
}

// Decompressor unpacks blocks one after another. It is not safe for concurrent
// use: each worker has its own.
type Decompressor interface {
	// Decompress unpacks src into dst and gives the number of bytes written,
	// never more than len(dst). A block that unpacks to more than len(dst)
	// bytes, is truncated or damaged, or is followed by anything else is
	// tree.ErrCorrupt. dst may have been written to where there is an error.
	Decompress(dst, src []byte) (n int, err error)
	// Close frees what the garbage collector does not see. No method may be
	// called after it.
	Close() error
}

// checkPacked refuses what no compressor gives and some decoders trip over: a
// block of nothing, or one that is to unpack to nothing.
func checkPacked(id ID, dst, src []byte) error {
	if len(src) == 0 {
		return corruptf(id, "has no bytes")
	}
	if len(dst) == 0 {
		return corruptf(id, "unpacks to more than 0 bytes")
	}
	return nil
}

// corrupt is the error of a block that does not decode.
func corrupt(id ID, cause error) error {
	return &tree.FormatError{Place: id.String() + " block", Kind: tree.ErrCorrupt, Err: cause}
}

// corruptf is corrupt with the fact in words.
func corruptf(id ID, fact string, args ...any) error {
	return tree.Corrupt("", id.String()+" block", fact, args...)
}

// failed is the error of a library that refuses to work, which says nothing
// about the image.
func failed(what string, code any) error {
	return fmt.Errorf("%s failed: %v", what, code)
}

// room gives dst emptied, with capacity for n bytes.
func room(dst []byte, n int) []byte {
	if cap(dst) < n {
		return make([]byte, 0, n)
	}
	return dst[:0]
}

// checkBlock refuses a block that the compressor was not made for.
func checkBlock(id ID, src []byte, blockSize int) error {
	if len(src) > blockSize {
		return fmt.Errorf("%s: %d bytes to compress where a block has at most %d", id, len(src), blockSize)
	}
	return nil
}

// unsupportedf is the error of a block that may be right, but asks for what is
// not there.
func unsupportedf(id ID, fact string, args ...any) error {
	return tree.Unsupported("", id.String()+" block", fact, args...)
}
