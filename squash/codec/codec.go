// Package codec is the former name of package relive/codec.
//
// Deprecated: import relive/codec, which has the same names.
package codec

import (
	"bufio"

	"relive/codec"
)

type (
	// Algorithm is [codec.Algorithm].
	Algorithm = codec.Algorithm
	// Compressor is [codec.Compressor].
	Compressor = codec.Compressor
	// Decompressor is [codec.Decompressor].
	Decompressor = codec.Decompressor
	// Filters is [codec.Filters].
	Filters = codec.Filters
	// ID is [codec.ID].
	ID = codec.ID
	// Implementation is [codec.Implementation].
	Implementation = codec.Implementation
	// Library is [codec.Library].
	Library = codec.Library
	// MissingLibrary is [codec.MissingLibrary].
	MissingLibrary = codec.MissingLibrary
	// Mode is [codec.Mode].
	Mode = codec.Mode
	// NativeError is [codec.NativeError].
	NativeError = codec.NativeError
	// Options is [codec.Options].
	Options = codec.Options
	// Strategies is [codec.Strategies].
	Strategies = codec.Strategies
	// XZStream is [codec.XZStream].
	XZStream = codec.XZStream
)

// The constants of package relive/codec.
const (
	MetadataSize = codec.MetadataSize
	MinBlockSize = codec.MinBlockSize
	MaxBlockSize = codec.MaxBlockSize

	Gzip = codec.Gzip
	LZMA = codec.LZMA
	LZO  = codec.LZO
	XZ   = codec.XZ
	LZ4  = codec.LZ4
	Zstd = codec.Zstd

	Auto   = codec.Auto
	Go     = codec.Go
	Native = codec.Native

	LZO1X1   = codec.LZO1X1
	LZO1X111 = codec.LZO1X111
	LZO1X112 = codec.LZO1X112
	LZO1X115 = codec.LZO1X115
	LZO1X999 = codec.LZO1X999

	FilterX86      = codec.FilterX86
	FilterPowerPC  = codec.FilterPowerPC
	FilterIA64     = codec.FilterIA64
	FilterARM      = codec.FilterARM
	FilterARMThumb = codec.FilterARMThumb
	FilterSPARC    = codec.FilterSPARC
	FilterARM64    = codec.FilterARM64
	FilterRISCV    = codec.FilterRISCV

	StrategyDefault     = codec.StrategyDefault
	StrategyFiltered    = codec.StrategyFiltered
	StrategyHuffmanOnly = codec.StrategyHuffmanOnly
	StrategyRLE         = codec.StrategyRLE
	StrategyFixed       = codec.StrategyFixed
)

// ErrOptions is codec.ErrOptions.
var ErrOptions = codec.ErrOptions

// DefaultOptions is codec.DefaultOptions.
func DefaultOptions(id ID, blockSize int) Options { return codec.DefaultOptions(id, blockSize) }

// IDs is codec.IDs.
func IDs() []ID { return codec.IDs() }

// NewXZStream is codec.NewXZStream.
func NewXZStream(in *bufio.Reader, limit int64, allow func(dict int64) error) (*XZStream, error) {
	return codec.NewXZStream(in, limit, allow)
}

// Open is codec.Open.
func Open(mode Mode) (*Library, error) { return codec.Open(mode) }

// ParseID is codec.ParseID.
func ParseID(name string) (ID, error) { return codec.ParseID(name) }

// ParseMode is codec.ParseMode.
func ParseMode(word string) (Mode, error) { return codec.ParseMode(word) }

// ParseOptions is codec.ParseOptions.
func ParseOptions(id ID, raw []byte, blockSize int) (Options, error) {
	return codec.ParseOptions(id, raw, blockSize)
}
