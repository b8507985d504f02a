package codec

import (
	"fmt"
	"strings"

	"relive/tree"
)

// Mode says which implementations a Library is to use.
type Mode int

// The modes of Open.
const (
	Auto   Mode = iota // the system's libraries where they load, Go elsewhere
	Go                 // Go alone
	Native             // the system's libraries alone
)

// ParseMode reads the word by which a mode is chosen: "auto" or nothing, "go",
// "native".
func ParseMode(word string) (Mode, error) {
	switch word {
	case "", "auto":
		return Auto, nil
	case "go":
		return Go, nil
	case "native":
		return Native, nil
	}
	return 0, fmt.Errorf("codecs %q: none of auto, go, native", word)
}

// Implementation describes what a Library uses for one compressor.
type Implementation struct {
	ID ID
	// Name tells library and version: "liblzma.so.5 5.4.1",
	// "klauspost/compress zstd (Go)".
	Name string
	// Native tells a library of the system from Go code.
	Native bool
	// Compress and Decompress tell what it can do.
	Compress, Decompress bool
}

// Library is a choice of implementations. It is immutable and safe for
// concurrent use; the compressors that it makes are not.
type Library struct {
	codecs [idCount]implementation
	raws   [rawCount]rawImplementation
}

// implementation makes the compressors of one ID; a nil function cannot.
type implementation struct {
	name   string
	native bool
	// compressor is called with options that Validate took, or their Metadata.
	compressor func(o Options, blockSize int) (Compressor, error)
	// decompressor's blocks unpack to at most blockSize bytes; dictSize bounds
	// the dictionary of xz.
	decompressor func(blockSize, dictSize int) (Decompressor, error)
}

// maxDictSize bounds the dictionary that liblzma may set aside.
const maxDictSize = 32 << 20

// NativeError is the error of Open(Native) where libraries of the system do not
// load, or the build leaves them out.
type NativeError struct {
	Missing []MissingLibrary // none where the build has no native codecs
}

// MissingLibrary is a library that does not load.
type MissingLibrary struct {
	Name    string // "liblzma.so.5"
	Package string // of Debian: "liblzma5"
	Err     error
}

func (e *NativeError) Error() string {
	if len(e.Missing) == 0 {
		return "this build has no native codecs"
	}
	var names []string
	for _, m := range e.Missing {
		names = append(names, fmt.Sprintf("%s does not load (%v)", m.Name, m.Err))
	}
	return strings.Join(names, "; ")
}

// Open loads the implementations. Only Native fails, with a *NativeError; liblzo2
// is optional even there, since lzo is read by Go code.
func Open(mode Mode) (*Library, error) {
	l := &Library{codecs: pureCodecs(), raws: pureRaws()}
	if mode == Go {
		return l, nil
	}
	native, raws, missing := nativeCodecs()
	if mode == Native && (!nativeBuild || len(missing) > 0) {
		return nil, &NativeError{missing}
	}
	for id, c := range native {
		if c.decompressor != nil {
			l.codecs[id] = c
		}
	}
	for r, c := range raws {
		if c.decompressor != nil {
			l.raws[r].decompressor = c.decompressor
		}
		if c.fitter != nil {
			l.raws[r].fitter, l.raws[r].nativeFit = c.fitter, true
		}
	}
	return l, nil
}

// pureCodecs gives the implementations in Go.
func pureCodecs() [idCount]implementation {
	return [idCount]implementation{
		Gzip: {name: "klauspost/compress zlib (Go)", compressor: newPureGzipCompressor, decompressor: newPureGzipDecompressor},
		LZMA: {name: "relive lzma (Go)", decompressor: newPureLZMADecompressor},
		LZO:  {name: "anchore/go-lzo (Go)", decompressor: newPureLZODecompressor},
		XZ:   {name: "ulikunitz/xz lzma, relive xz (Go)", compressor: newPureXZCompressor, decompressor: newPureXZDecompressor},
		LZ4:  {name: "pierrec/lz4 (Go)", compressor: newPureLZ4Compressor, decompressor: newPureLZ4Decompressor},
		Zstd: {name: "klauspost/compress zstd (Go)", compressor: newPureZstdCompressor, decompressor: newPureZstdDecompressor},
	}
}

// NewCompressor makes a compressor for blocks of at most blockSize bytes: the
// image's block size with its options, or MetadataSize with their Metadata. A
// compressor that nothing here can write is tree.ErrUnsupported.
func (l *Library) NewCompressor(o Options, blockSize int) (Compressor, error) {
	if err := o.Validate(blockSize); err != nil {
		return nil, err
	}
	if c := l.codecs[o.ID]; c.compressor != nil {
		return c.compressor(o, blockSize)
	}
	if o.ID == LZO {
		return nil, tree.Unsupported("", "lzo",
			"writing needs liblzo2.so.2 (Debian package liblzo2-2), which does not load; another compressor can be chosen")
	}
	return nil, tree.Unsupported("", o.ID.String(), "cannot be written, no mainline kernel mounts it; another compressor can be chosen")
}

// NewDecompressor makes a decompressor for an image of that block size, in
// bytes, whose options are the defaults. Blocks of metadata need no other.
func (l *Library) NewDecompressor(id ID, blockSize int) (Decompressor, error) {
	return l.NewDecompressorFor(DefaultOptions(id, blockSize), blockSize)
}

// NewDecompressorFor makes a decompressor for an image of that block size, in
// bytes, and the options that it stores. As in the kernel, an xz block whose
// dictionary is larger than the stored one, or 8 KiB, is refused; as in
// unsquashfs, one of more than 32 MiB always is.
func (l *Library) NewDecompressorFor(o Options, blockSize int) (Decompressor, error) {
	if err := o.ID.Check(); err != nil {
		return nil, err
	}
	if blockSize < 1 || blockSize > MaxBlockSize {
		return nil, tree.Corrupt("", "superblock", "block size %d", blockSize)
	}
	return l.codecs[o.ID].decompressor(blockSize, min(max(o.DictSize, MetadataSize), maxDictSize))
}

// Describe returns what is in use, one entry a compressor, in the order of IDs.
func (l *Library) Describe() []Implementation {
	var out []Implementation
	for _, id := range IDs() {
		out = append(out, l.Implementation(id))
	}
	return out
}

// Implementation returns what is in use for one compressor.
func (l *Library) Implementation(id ID) Implementation {
	c := l.codecs[id]
	return Implementation{ID: id, Name: c.name, Native: c.native, Compress: c.compressor != nil, Decompress: c.decompressor != nil}
}
