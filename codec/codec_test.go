package codec

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"

	"relive/tree"
)

// libraries gives both libraries under test. Where the system's own are
// missing, the tests of the native ones are skipped, but not in CI.
func libraries(t testing.TB) map[string]*Library {
	t.Helper()
	pure, err := Open(Go)
	if err != nil {
		t.Fatal(err)
	}
	libs := map[string]*Library{"go": pure}
	native, err := Open(Native)
	switch {
	case err == nil:
		libs["native"] = native
	case os.Getenv("CI") == "true" && nativeBuild:
		t.Fatal(err)
	default:
		t.Log(err)
	}
	return libs
}

// samples are contents of blocks by name, at most size bytes.
func samples(size int) map[string][]byte {
	rnd := rand.New(rand.NewPCG(1, uint64(size)))
	noise := make([]byte, size)
	for i := range noise {
		noise[i] = byte(rnd.Uint32())
	}
	var text []byte
	for i := 0; len(text) < size; i++ {
		text = fmt.Appendf(text, "%d: the quick brown fox %x jumps\n", i, rnd.Uint32()%5000)
	}
	half := append(bytes.Clone(noise[:size/2]), text[:size-size/2]...)
	s := map[string][]byte{
		"one":   {'x'},
		"zero":  make([]byte, size),
		"noise": noise,
		"text":  text[:size],
		"half":  half,
		"odd":   text[:size-size/3],
	}
	s["code"] = text[:size]
	if exe, err := os.ReadFile("/proc/self/exe"); err == nil && len(exe) > size+4096 {
		s["code"] = exe[4096 : 4096+size]
	}
	return s
}

// variants are options to be tried for a compressor.
func variants(id ID, blockSize int) []Options {
	d := DefaultOptions(id, blockSize)
	vary := func(f func(o *Options)) Options { o := d; f(&o); return o }
	out := []Options{d}
	switch id {
	case Gzip:
		out = append(out,
			vary(func(o *Options) { o.Level = 1 }),
			vary(func(o *Options) { o.WindowBits = 8 }),
			vary(func(o *Options) { o.Strategies = StrategyHuffmanOnly }),
			vary(func(o *Options) { o.Strategies = allStrategies }))
	case XZ:
		out = append(out, vary(func(o *Options) { o.Filters = allFilters }))
		if blockSize > 8192 {
			out = append(out, vary(func(o *Options) { o.DictSize = 8192 }),
				vary(func(o *Options) { o.DictSize = blockSize / 4 * 3; o.Filters = FilterX86 | FilterARM }))
		}
	case LZ4:
		out = append(out, vary(func(o *Options) { o.Level = 100 }),
			vary(func(o *Options) { o.HC, o.Level = true, 12 }),
			vary(func(o *Options) { o.HC, o.Level = true, 3 }))
	case LZO:
		out = append(out, vary(func(o *Options) { o.Level = 1 }))
		for a := LZO1X1; a < LZO1X999; a++ {
			out = append(out, vary(func(o *Options) { o.Algorithm, o.Level = a, 0 }))
		}
	case Zstd:
		for _, level := range []int{-5, 1, 3, 9, 22} {
			out = append(out, vary(func(o *Options) { o.Level = level }))
		}
	}
	return out
}

// TestRoundTrip: Decompress(Compress(b)) == b, whichever library writes and
// whichever reads.
func TestRoundTrip(t *testing.T) {
	libs := libraries(t)
	for _, blockSize := range []int{4096, 65536, 1 << 20} {
		blocks := samples(blockSize)
		for _, id := range IDs() {
			options := variants(id, blockSize)
			if blockSize == 1<<20 {
				options = options[:1]
				blocks = map[string][]byte{"half": blocks["half"]}
			}
			for writer, lw := range libs {
				t.Run(fmt.Sprintf("%s/%d/%s", id, blockSize, writer), func(t *testing.T) {
					t.Parallel()
					for _, o := range options {
						c, err := lw.NewCompressor(o, blockSize)
						if errors.Is(err, tree.ErrUnsupported) && (id == LZMA || id == LZO && writer == "go") {
							return // what the package says it does not write
						}
						if err != nil {
							t.Fatal(err)
						}
						roundTrip(t, libs, c, o, blockSize, blocks)
						if err := c.Close(); err != nil {
							t.Error(err)
						}
					}
				})
			}
		}
	}
}

// roundTrip packs the blocks and reads them back with every library.
func roundTrip(t *testing.T, libs map[string]*Library, c Compressor, o Options, blockSize int, blocks map[string][]byte) {
	readers := map[string]Decompressor{}
	for name, l := range libs {
		d, err := l.NewDecompressorFor(o, blockSize)
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		readers[name] = d
	}
	out := make([]byte, blockSize)
	var packed []byte
	for name, block := range blocks {
		var ok bool
		var err error
		packed, ok, err = c.Compress(packed, block)
		if err != nil {
			t.Fatalf("%+v %s: %v", o, name, err)
		}
		incompressible := name == "noise" || name == "one"
		switch {
		case ok && incompressible:
			t.Errorf("%+v: packed %s of %d bytes to %d", o, name, len(block), len(packed))
		case !ok && (name == "zero" || name == "text" && o.Level != 100):
			t.Errorf("%+v: did not pack %s", o, name)
		case ok && len(packed) >= len(block):
			t.Errorf("%+v %s: %d bytes of %d said to be ok", o, name, len(packed), len(block))
		}
		if !ok {
			continue
		}
		for reader, d := range readers {
			n, err := d.Decompress(out, packed)
			if err != nil {
				t.Fatalf("to %s %+v %s of %d: %v", reader, o, name, len(block), err)
			}
			if !bytes.Equal(out[:n], block) {
				t.Fatalf("to %s %+v %s: content differs", reader, o, name)
			}
			// Exactly the room suffices, a byte less does not.
			if n, err = d.Decompress(out[:len(block)], packed); err != nil || n != len(block) {
				t.Errorf("to %s %+v %s: into exact room: %d, %v", reader, o, name, n, err)
			}
			for what, err := range map[string]error{
				"into a byte less":   second(d.Decompress(out[:len(block)-1], packed)),
				"into nothing":       second(d.Decompress(nil, packed)),
				"with a byte behind": second(d.Decompress(out, append(bytes.Clone(packed), 1))),
				"cut by a byte":      second(d.Decompress(out, packed[:len(packed)-1])),
				"cut to a byte":      second(d.Decompress(out, packed[:1])),
				"of nothing":         second(d.Decompress(out, nil)),
			} {
				if !errors.Is(err, tree.ErrCorrupt) {
					t.Errorf("to %s %+v %s: %s: %v", reader, o, name, what, err)
				}
			}
		}
	}
}

func second(_ int, err error) error { return err }
