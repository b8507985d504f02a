package codec

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"

	"relive/tree"
)

// Options are what the compressor options behind the superblock hold, for one
// compressor; fields of the others are zero. Two Options are equal when they
// give the same bytes.
type Options struct {
	ID ID
	// Level is the level of gzip (1 to 9, default 9), zstd (-131072 to 22 but
	// not 0, default 15), lzo with the algorithm lzo1x_999 (1 to 9, default 8;
	// 0 for the other algorithms) and lz4 with HC (1 to 12, default 12); for
	// lz4 without HC it is the acceleration (1 to 65537, default 1).
	Level int
	// WindowBits is the binary logarithm of gzip's window (8 to 15, default 15).
	WindowBits int
	// Strategies are those of gzip to be tried, the smallest result being kept;
	// none means StrategyDefault alone.
	Strategies Strategies
	// DictSize is xz's dictionary in bytes: 2^n or 2^n+2^(n+1), default the
	// block size.
	DictSize int
	// Filters are xz's branch filters to be tried beside none, the smallest
	// result being kept.
	Filters Filters
	// HC selects lz4's high compression.
	HC bool
	// Algorithm is lzo's (default LZO1X999).
	Algorithm Algorithm
}

// Strategies is a set of zlib strategies, with the bits of gzip's options.
type Strategies uint16

// The strategies of gzip (gzip_wrapper.c).
const (
	StrategyDefault Strategies = 1 << iota
	StrategyFiltered
	StrategyHuffmanOnly
	StrategyRLE
	StrategyFixed

	allStrategies = StrategyFixed<<1 - 1
)

// Filters is a set of xz branch filters, with the bits of xz's options.
type Filters uint32

// The branch filters of xz (xz_wrapper.c).
const (
	FilterX86 Filters = 1 << iota
	FilterPowerPC
	FilterIA64
	FilterARM
	FilterARMThumb
	FilterSPARC
	FilterARM64
	FilterRISCV

	allFilters = FilterRISCV<<1 - 1
)

// Algorithm is one of lzo's (lzo_wrapper.h).
type Algorithm uint32

// The algorithms of lzo.
const (
	LZO1X1 Algorithm = iota
	LZO1X111
	LZO1X112
	LZO1X115
	LZO1X999
)

// Bounds and defaults of squashfs-tools' *_wrapper.h, and of zstd.h.
const (
	gzipDefaultLevel      = 9
	gzipDefaultWindowBits = 15
	zstdDefaultLevel      = 15
	zstdMinLevel          = -1 << 17
	zstdMaxLevel          = 22
	lzoDefaultLevel       = 8
	lz4DefaultHCLevel     = 12
	lz4MaxAcceleration    = 65537
	minDictSize           = 8192

	lz4Legacy     = 1
	lz4HC         = 1
	lz4NonDefault = 2
)

// DefaultOptions are those that mksquashfs takes where no -X option is given.
func DefaultOptions(id ID, blockSize int) Options {
	o := Options{ID: id}
	switch id {
	case Gzip:
		o.Level, o.WindowBits = gzipDefaultLevel, gzipDefaultWindowBits
	case LZO:
		o.Level, o.Algorithm = lzoDefaultLevel, LZO1X999
	case XZ:
		o.DictSize = blockSize
	case LZ4:
		o.Level = 1
	case Zstd:
		o.Level = zstdDefaultLevel
	}
	return o
}

// Metadata gives the options that mksquashfs takes for metadata blocks where o
// are those of the data: xz has a dictionary of a metadata block and no filter,
// gzip the default strategy alone.
func (o Options) Metadata() Options {
	switch o.ID {
	case XZ:
		o.DictSize, o.Filters = MetadataSize, 0
	case Gzip:
		o.Strategies = 0
	}
	return o
}

// ParseOptions reads the payload of the options' metadata block; nil means that
// the superblock's COMPRESSOR_OPTIONS flag is not set, and so the defaults.
// What squashfs-tools or the kernel refuse is tree.ErrCorrupt, an lz4 stream
// version but the legacy one, or flags of lz4 that are not known,
// tree.ErrUnsupported.
func ParseOptions(id ID, raw []byte, blockSize int) (Options, error) {
	if err := id.Check(); err != nil {
		return Options{}, err
	}
	o := DefaultOptions(id, blockSize)
	place := id.String() + " options"
	if raw == nil {
		if id == LZ4 {
			return Options{}, tree.Corrupt("", place, "missing, lz4 always has them")
		}
		return o, nil
	}
	le := binary.LittleEndian
	need := map[ID]int{Gzip: 8, LZO: 8, XZ: 8, LZ4: 8, Zstd: 4}[id]
	if len(raw) < need {
		return Options{}, tree.Corrupt("", place, "%d bytes where at least %d are needed", len(raw), need)
	}
	switch id {
	case Gzip:
		o.Level = int(int32(le.Uint32(raw)))
		o.WindowBits = int(int16(le.Uint16(raw[4:])))
		o.Strategies = Strategies(le.Uint16(raw[6:])) & allStrategies
	case LZO:
		o.Algorithm = Algorithm(le.Uint32(raw))
		o.Level = int(int32(le.Uint32(raw[4:])))
	case XZ:
		// The kernel's own check stands in Validate; it does not bound the
		// dictionary, which no decoder of this package allocates either.
		o.DictSize = int(int32(le.Uint32(raw)))
		o.Filters = Filters(le.Uint32(raw[4:])) & allFilters
	case LZ4:
		if v := le.Uint32(raw); v != lz4Legacy {
			return Options{}, tree.Unsupported("", place, "stream version %d, only 1 (legacy) is known", v)
		}
		flags := le.Uint32(raw[4:])
		known := uint32(lz4HC)
		if len(raw) >= 12 {
			known |= lz4NonDefault
		}
		if flags&^known != 0 {
			return Options{}, tree.Unsupported("", place, "unknown flags %#x", flags&^known)
		}
		o.HC = flags&lz4HC != 0
		if o.HC {
			o.Level = lz4DefaultHCLevel
		}
		if flags&lz4NonDefault != 0 {
			o.Level = int(int32(le.Uint32(raw[8:])))
		}
	case Zstd:
		o.Level = int(int32(le.Uint32(raw)))
	}
	if err := o.check(blockSize, false); err != nil {
		return Options{}, err
	}
	return o, nil
}

// Marshal gives the payload of the options' metadata block, or nil where all
// is as the defaults have it and mksquashfs writes none. lz4 always has one.
func (o Options) Marshal(blockSize int) []byte {
	le := binary.LittleEndian
	if o.ID != LZ4 && o == DefaultOptions(o.ID, blockSize) {
		return nil
	}
	switch o.ID {
	case Gzip:
		if o.Strategies == StrategyDefault {
			d := o
			d.Strategies = 0
			return d.Marshal(blockSize)
		}
		b := le.AppendUint32(nil, uint32(int32(o.Level)))
		b = le.AppendUint16(b, uint16(o.WindowBits))
		return le.AppendUint16(b, uint16(o.Strategies))
	case LZO:
		b := le.AppendUint32(nil, uint32(o.Algorithm))
		return le.AppendUint32(b, uint32(int32(o.Level)))
	case XZ:
		b := le.AppendUint32(nil, uint32(o.DictSize))
		return le.AppendUint32(b, uint32(o.Filters))
	case LZ4:
		flags, standard := uint32(0), 1
		if o.HC {
			flags, standard = lz4HC, lz4DefaultHCLevel
		}
		if o.Level != standard {
			flags |= lz4NonDefault
		}
		b := le.AppendUint32(nil, lz4Legacy)
		b = le.AppendUint32(b, flags)
		if flags&lz4NonDefault != 0 {
			b = le.AppendUint32(b, uint32(int32(o.Level)))
		}
		return b
	case Zstd:
		return le.AppendUint32(nil, uint32(int32(o.Level)))
	}
	return nil
}

// ErrOptions is the kind of error of options that mksquashfs would not take.
var ErrOptions = errors.New("invalid compressor options")

// Validate tells whether an image may be written with these options and this
// block size in bytes; the rules are mksquashfs's, the error is ErrOptions.
func (o Options) Validate(blockSize int) error {
	if blockSize < MinBlockSize || blockSize > MaxBlockSize || bits.OnesCount(uint(blockSize)) != 1 {
		return &tree.FormatError{Place: "block size", Kind: ErrOptions,
			Fact: fmt.Sprintf("%d is not a power of two from %d to %d", blockSize, MinBlockSize, MaxBlockSize)}
	}
	return o.check(blockSize, true)
}

// check tells whether the fields are in range. An image that is there already
// may hold a dictionary that mksquashfs would not take but the kernel does.
func (o Options) check(blockSize int, writing bool) error {
	if err := o.ID.Check(); err != nil {
		return err
	}
	kind := tree.ErrCorrupt
	if writing {
		kind = ErrOptions
	}
	wrong := func(fact string, args ...any) error {
		return &tree.FormatError{Place: o.ID.String() + " options", Fact: fmt.Sprintf(fact, args...), Kind: kind}
	}
	inRange := func(what string, v, low, high int) error {
		if v < low || v > high {
			return wrong("%s %d is not from %d to %d", what, v, low, high)
		}
		return nil
	}
	switch o.ID {
	case Gzip:
		if err := inRange("level", o.Level, 1, 9); err != nil {
			return err
		}
		if o.Strategies&^allStrategies != 0 {
			return wrong("unknown strategies %#x", uint16(o.Strategies))
		}
		return inRange("window size", o.WindowBits, 8, 15)
	case LZO:
		if o.Algorithm > LZO1X999 {
			return wrong("algorithm %d is unknown", uint32(o.Algorithm))
		}
		if o.Algorithm != LZO1X999 {
			return inRange("level", o.Level, 0, 0)
		}
		return inRange("level", o.Level, 1, 9)
	case XZ:
		if o.Filters&^allFilters != 0 {
			return wrong("unknown filters %#x", uint32(o.Filters))
		}
		if !storableDictSize(o.DictSize) {
			return wrong("dictionary size %d is neither 2^n nor 2^n+2^(n+1)", o.DictSize)
		}
		if writing && o.DictSize != blockSize {
			return inRange("dictionary size", o.DictSize, minDictSize, max(blockSize, MetadataSize))
		}
	case LZ4:
		if o.HC {
			return inRange("level", o.Level, 1, lz4DefaultHCLevel)
		}
		return inRange("acceleration", o.Level, 1, lz4MaxAcceleration)
	case Zstd:
		if o.Level == 0 {
			return wrong("level 0")
		}
		return inRange("level", o.Level, zstdMinLevel, zstdMaxLevel)
	}
	return nil
}

// storableDictSize tells whether n is 2^k or 2^k+2^(k+1), the sizes that the
// kernel takes and the header of an xz block can name.
func storableDictSize(n int) bool {
	if n <= 0 {
		return false
	}
	odd := n >> bits.TrailingZeros(uint(n))
	return odd == 1 || odd == 3
}
