package squash

import (
	"errors"
	"fmt"
	"io"

	"relive/codec"
	"relive/squash/internal/ondisk"
	"relive/tree"
)

// readStored reads len(p) bytes of the image as they are stored, at the
// absolute offset off. Bytes past the image's used length are an error.
func (r *Reader) readStored(p []byte, off int64) error {
	if off < 0 || off > r.used || int64(len(p)) > r.used-off {
		return r.corrupt(fmt.Sprintf("offset %d", off), "%d bytes reach past the end of the image at %d", len(p), r.used)
	}
	n, err := r.image.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == nil || err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("%s: reading %d bytes at offset %d: %w", r.name, len(p), off, err)
}

// readBlock decodes the data or fragment block with that block word at the
// absolute offset start into dst and gives the number of bytes that it decodes
// to. A block that holds more than dst is corrupt. A hole (word 0) has no
// bytes. Calls may run at the same time.
func (r *Reader) readBlock(dst []byte, start int64, word uint32) (n int, err error) {
	if word == 0 {
		return 0, nil
	}
	stored, err := r.checkBlock(start, word)
	if err != nil {
		return 0, err
	}
	if word&ondisk.BlockUncompressed != 0 {
		if stored > len(dst) {
			return 0, r.corrupt(blockPlace(start), "stores %d bytes where at most %d belong", stored, len(dst))
		}
		return stored, r.readStored(dst[:stored], start)
	}
	d, err := r.decoders.Take()
	if err != nil {
		return 0, fmt.Errorf("%s: %w", r.name, err)
	}
	defer r.decoders.Give(d)
	if err := r.readStored(d.src[:stored], start); err != nil {
		return 0, err
	}
	n, err = d.Decompress(dst, d.src[:stored])
	if err != nil {
		return 0, r.undecodable(blockPlace(start), err)
	}
	return n, nil
}

// checkBlock tells why a block cannot be where its word says, and gives its
// stored length.
func (r *Reader) checkBlock(start int64, word uint32) (stored int, err error) {
	if word&^(ondisk.BlockUncompressed<<1-1) != 0 {
		return 0, r.corrupt(blockPlace(start), "block word %#x has unknown bits", word)
	}
	stored = ondisk.BlockStored(word)
	switch {
	case stored == 0:
		return 0, r.corrupt(blockPlace(start), "block word %#x names no bytes", word)
	case stored > r.blockSize:
		return 0, r.corrupt(blockPlace(start), "stores %d bytes, more than the block size of %d", stored, r.blockSize)
	case start < ondisk.SuperblockSize || start > r.used || int64(stored) > r.used-start:
		return 0, r.corrupt(blockPlace(start), "%d bytes reach past the end of the image at %d", stored, r.used)
	}
	return stored, nil
}

// readExactly decodes a block that must hold len(dst) bytes.
func (r *Reader) readExactly(dst []byte, start int64, word uint32) error {
	n, err := r.readBlock(dst, start, word)
	if err == nil && n != len(dst) {
		err = r.corrupt(blockPlace(start), "decodes to %d bytes where %d belong", n, len(dst))
	}
	return err
}

// blockKey is what makes two data blocks one in the cache.
type blockKey struct {
	start int64
	word  uint32
	size  uint32 // decoded bytes that must come out; 0 in fragment blocks
}

// cachedBlock returns a decoded block from the cache that data and fragment
// blocks share.
func (r *Reader) cachedBlock(key blockKey) ([]byte, error) {
	return r.blocks.Get(key)
}

func (r *Reader) loadBlock(key blockKey) ([]byte, int64, error) {
	if key.size != 0 {
		b := make([]byte, key.size)
		return b, int64(len(b)), r.readExactly(b, key.start, key.word)
	}
	b := make([]byte, r.blockSize)
	n, err := r.readBlock(b, key.start, key.word)
	if err != nil {
		return nil, 0, err
	}
	if n <= len(b)/2 {
		b = append(make([]byte, 0, n), b[:n]...)
	}
	return b[:n], int64(cap(b)), nil
}

func blockPlace(start int64) string { return fmt.Sprintf("block at offset %d", start) }

// decoder is a decompressor and a buffer for what it reads.
type decoder struct {
	codec.Decompressor
	src []byte
}

// newDecoder makes a decoder for blocks of an image.
func newDecoder(lib *codec.Library, opts codec.Options, blockSize int) (*decoder, error) {
	d, err := lib.NewDecompressorFor(opts, blockSize)
	if err != nil {
		return nil, err
	}
	// Also a metadata block with its header must fit.
	return &decoder{d, make([]byte, max(blockSize, ondisk.MetadataSize+2))}, nil
}

// corrupt and undecodable make errors that name the image.
func (r *Reader) corrupt(place, fact string, args ...any) error {
	return tree.Corrupt(r.name, place, fact, args...)
}

func (r *Reader) undecodable(place string, cause error) error {
	return &tree.FormatError{File: r.name, Place: place, Fact: "does not decode", Kind: tree.ErrCorrupt, Err: cause}
}

// named puts the image's name into a FormatError that has none.
func (r *Reader) named(err error) error {
	var f *tree.FormatError
	if !errors.As(err, &f) || f.File != "" {
		return err
	}
	g := *f
	g.File = r.name
	return &g
}
