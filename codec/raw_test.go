package codec

import (
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/ulikunitz/xz/lzma"

	"relive/tree"
)

// rawWindow is the window of streams in these tests.
const rawWindow = 64 << 10

func raws() []Raw { return []Raw{RawLZ4, MicroLZMA, RawDeflate, RawZstd} }

// packRaw packs b, or gives nil where that does not make it shorter.
func packRaw(t testing.TB, r Raw, b []byte) []byte {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	switch r {
	case RawLZ4, RawZstd:
		id := map[Raw]ID{RawLZ4: LZ4, RawZstd: Zstd}[r]
		l, err := Open(Go)
		must(err)
		c, err := l.NewCompressor(DefaultOptions(id, rawWindow), rawWindow)
		must(err)
		defer c.Close()
		p, ok, err := c.Compress(nil, b)
		must(err)
		if !ok {
			return nil
		}
		return bytes.Clone(p)
	case MicroLZMA:
		w, err := lzma.WriterConfig{DictCap: rawWindow, Matcher: lzma.HashTable4, Size: int64(len(b)), SizeInHeader: true}.NewWriter(&out)
		must(err)
		_, err = w.Write(b)
		must(err)
		must(w.Close())
		p := out.Bytes()[lzmaHeaderSize:]
		p[0] = ^out.Bytes()[0]
		return p
	case RawDeflate:
		w, err := flate.NewWriter(&out, 9)
		must(err)
		_, err = w.Write(b)
		must(err)
		must(w.Close())
	}
	return out.Bytes()
}

// rawReaders gives a decompressor of each library.
func rawReaders(t testing.TB, r Raw) map[string]RawDecompressor {
	t.Helper()
	out := map[string]RawDecompressor{}
	for name, l := range libraries(t) {
		d, err := l.NewRawDecompressor(r, rawWindow)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { d.Close() })
		out[name] = d
	}
	return out
}

// What was packed unpacks to the same, whole and the beginning of it; into other
// lengths, cut short, or with something behind it, it does not unpack as a whole.
func TestRaw(t *testing.T) {
	for _, r := range raws() {
		for lib, d := range rawReaders(t, r) {
			for name, want := range samples(rawWindow) {
				packed := packRaw(t, r, want)
				if packed == nil {
					continue
				}
				place := fmt.Sprintf("%s %s %s", r, lib, name)
				got := make([]byte, len(want))
				if err := d.Decompress(got, packed); err != nil || !bytes.Equal(got, want) {
					t.Errorf("%s: %v, or content differs", place, err)
				}
				for _, n := range []int{1, 2, len(want) / 3, len(want) - 1, len(want)} {
					if n < 1 || n > len(want) {
						continue
					}
					clear(got)
					if err := d.Prefix(got[:n], packed); err != nil || !bytes.Equal(got[:n], want[:n]) {
						t.Errorf("%s: the first %d bytes: %v, or content differs", place, n, err)
					}
					if tree.IsZero(want) && n < len(want) {
						continue
					}
					if !tree.IsZero(got[n:]) {
						t.Errorf("%s: more than %d bytes are written", place, n)
					}
				}
				if len(want) == 1 {
					continue // half of what is packed may hold it
				}
				long := make([]byte, len(want)+1)
				for what, err := range map[string]error{
					"into a byte less":         d.Decompress(got[:len(want)-1], packed),
					"into a byte more":         d.Decompress(long, packed),
					"beginning of a byte more": d.Prefix(long, packed),
					"with a byte behind":       d.Decompress(got, append(bytes.Clone(packed), 1)),
					"cut by a byte":            d.Decompress(got, packed[:len(packed)-1]),
					"beginning of half of it":  d.Prefix(got, packed[:len(packed)/2]),
					"of nothing":               d.Decompress(got, nil),
					"into nothing":             d.Decompress(nil, packed),
				} {
					if !errors.Is(err, tree.ErrCorrupt) {
						t.Errorf("%s: %s: %v", place, what, err)
					}
				}
			}
		}
	}
}

// A prefix that ends within the literals, the match or the lengths of LZ4 does not
// look at what follows.
func TestRawPrefixCut(t *testing.T) {
	want := samples(rawWindow)["text"]
	for _, r := range []Raw{RawLZ4, MicroLZMA, RawDeflate} { // zstd's blocks are decoded whole
		for lib, d := range rawReaders(t, r) {
			packed := packRaw(t, r, want)
			got := make([]byte, len(want)/2)
			if err := d.Prefix(got, packed[:len(packed)*3/4]); err != nil || !bytes.Equal(got, want[:len(got)]) {
				t.Errorf("%s %s: half from three quarters: %v", r, lib, err)
			}
		}
	}
}

// Windows beyond the image's are refused, as the kernel has no memory for them.
func TestRawWindow(t *testing.T) {
	noise := samples(rawWindow)["noise"]
	far := append(bytes.Clone(noise[:20<<10]), noise[:20<<10]...)
	for _, r := range []Raw{MicroLZMA, RawZstd} {
		packed := packRaw(t, r, far)
		for lib, l := range libraries(t) {
			for window, ok := range map[int]bool{rawWindow: true, 16 << 10: false} {
				d, err := l.NewRawDecompressor(r, window)
				if err != nil {
					t.Fatal(err)
				}
				defer d.Close()
				got := make([]byte, len(far))
				err = d.Decompress(got, packed)
				if ok != (err == nil) || !ok && !errors.Is(err, tree.ErrCorrupt) {
					t.Errorf("%s %s, window of %d: %v", r, lib, window, err)
				}
				if ok && !bytes.Equal(got, far) {
					t.Errorf("%s %s: content differs", r, lib)
				}
				// The beginning that reaches back over no more is the same.
				if err := d.Prefix(got, packed); ok != (err == nil) {
					t.Errorf("%s %s, window of %d: the whole as a beginning: %v", r, lib, window, err)
				}
			}
		}
	}
	pure, err := Open(Go)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pure.NewRawDecompressor(rawCount, rawWindow); !errors.Is(err, tree.ErrUnsupported) {
		t.Errorf("an unknown algorithm: %v", err)
	}
	for _, window := range []int{0, -1, maxDictSize + 1} {
		if _, err := pure.NewRawDecompressor(MicroLZMA, window); !errors.Is(err, tree.ErrCorrupt) {
			t.Errorf("window of %d: %v", window, err)
		}
	}
}

// Damaged streams give an error or wrong content, and nothing worse.
func TestRawHostile(t *testing.T) {
	const size = 16 << 10
	for _, r := range raws() {
		for lib, d := range rawReaders(t, r) {
			t.Run(fmt.Sprintf("%s/%s", r, lib), func(t *testing.T) {
				s := samples(size)
				var good [][]byte
				for _, name := range []string{"zero", "text", "half", "odd"} {
					good = append(good, packRaw(t, r, s[name]))
				}
				rnd := rand.New(rand.NewPCG(9, uint64(r)))
				room, source := guarded(t, size), guarded(t, 2*size)
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				const rounds = 3000
				for range rounds {
					bad := damage(rnd, good[rnd.IntN(len(good))])
					src := source[len(source)-len(bad):]
					copy(src, bad)
					dst := room[rnd.IntN(2)*rnd.IntN(size):]
					unpack := d.Decompress
					if rnd.IntN(2) == 0 {
						unpack = d.Prefix
					}
					if err := unpack(dst, src); err != nil && !errors.Is(err, tree.ErrCorrupt) {
						t.Fatalf("error of an unknown kind: %v", err)
					}
				}
				runtime.ReadMemStats(&after)
				if per := (after.TotalAlloc - before.TotalAlloc) / rounds; per > 8*rawWindow {
					t.Errorf("%d bytes allocated a stream of %d", per, size)
				}
				got := make([]byte, size)
				if err := d.Decompress(got, good[1]); err != nil || !bytes.Equal(got, s["text"]) {
					t.Errorf("no longer works: %v", err)
				}
			})
		}
	}
}

// fuzzRaw holds a raw compression to its promises on any input, with both
// libraries, and the libraries to each other: where both accept a stream they give
// the same content, which begins as its prefix does.
func fuzzRaw(f *testing.F, r Raw) {
	const size = 16 << 10
	s := samples(size)
	for _, name := range []string{"zero", "text", "half", "odd"} {
		f.Add(packRaw(f, r, s[name]), uint16(len(s[name])), uint16(len(s[name])/3))
	}
	readers := rawReaders(f, r)
	f.Fuzz(func(t *testing.T, b []byte, n, prefix uint16) {
		n, prefix = min(n, size), min(prefix, n, size)
		var first []byte
		var from string
		for name, d := range readers {
			dst := make([]byte, size+64)
			for i := range dst[n:] {
				dst[int(n)+i] = 0xa5
			}
			err := d.Decompress(dst[:n], b)
			if bytes.Count(dst[n:], []byte{0xa5}) != len(dst)-int(n) {
				t.Fatalf("%s wrote past the end", name)
			}
			head := make([]byte, prefix)
			perr := d.Prefix(head, b)
			for _, err := range []error{err, perr} {
				if err != nil && !errors.Is(err, tree.ErrCorrupt) {
					t.Fatalf("%s: error of an unknown kind: %v", name, err)
				}
			}
			if err != nil {
				continue
			}
			if errors.Is(perr, errLZ4Zero) && name == "native" {
				continue
			}
			if prefix > 0 && (perr != nil || !bytes.Equal(head, dst[:prefix])) {
				t.Fatalf("%s: the first %d bytes of %d: %v, or content differs", name, prefix, n, perr)
			}
			if first == nil {
				first, from = dst[:n], name
			} else if !bytes.Equal(first, dst[:n]) {
				t.Fatalf("%s and %s give different content", from, name)
			}
		}
	})
}

func FuzzRawLZ4(f *testing.F)     { fuzzRaw(f, RawLZ4) }
func FuzzMicroLZMA(f *testing.F)  { fuzzRaw(f, MicroLZMA) }
func FuzzRawDeflate(f *testing.F) { fuzzRaw(f, RawDeflate) }
func FuzzRawZstd(f *testing.F)    { fuzzRaw(f, RawZstd) }
