package codec

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"relive/tree"
)

// fitOptions are options to be tried for a raw compression.
func fitOptions(r Raw) []FitOptions {
	switch r {
	case RawLZ4:
		return []FitOptions{{}, {Level: 1}, {Level: 9}, {Level: 12}}
	case MicroLZMA:
		return []FitOptions{{}, {Level: FitLevel0}, {Level: 3}, {Level: 109, Dictionary: 1 << 20}, {Level: 9, Dictionary: 4096}}
	case RawDeflate:
		return []FitOptions{{}, {Level: 6}, {Level: 9}, {Level: 5, WindowBits: 8}}
	}
	return []FitOptions{{}, {Level: 1, WindowLog: 10}, {Level: 8, WindowLog: 20}, {Level: 19}, {Level: -5}}
}

// window is what a decoder of these streams sets aside.
func (o FitOptions) window(r Raw) int {
	o = o.WithDefaults(r, fitSmallestPcluster)
	return map[Raw]int{RawLZ4: 64 << 10, MicroLZMA: int(o.Dictionary), RawDeflate: 1 << o.WindowBits, RawZstd: 1 << o.WindowLog}[r]
}

// eachFitter runs a test for every compression, its options and the libraries.
func eachFitter(t *testing.T, run func(t *testing.T, r Raw, o FitOptions, f Fitter, readers map[string]RawDecompressor)) {
	libs := libraries(t)
	for _, r := range raws() {
		for _, o := range fitOptions(r) {
			readers := map[string]RawDecompressor{}
			for name, l := range libs {
				d, err := l.NewRawDecompressor(r, o.window(r))
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { d.Close() })
				readers[name] = d
			}
			for name, l := range libs {
				t.Run(fmt.Sprintf("%s/%+v/%s", r, o, name), func(t *testing.T) {
					f, err := l.NewFitter(r, o)
					if err != nil {
						t.Fatal(err)
					}
					defer f.Close()
					run(t, r, o, f, readers)
				})
			}
		}
	}
}

// checkFit holds one call to what Fitter promises. It gives the stream.
func checkFit(t testing.TB, place string, f Fitter, readers map[string]RawDecompressor, dst, src []byte) (used int, stream []byte) {
	t.Helper()
	used, n, err := f.Fit(dst, src)
	if err != nil {
		t.Fatalf("%s: %v", place, err)
	}
	if used == 0 && n == 0 {
		return 0, nil
	}
	if n < 1 || n > len(dst) || used > len(src) || used > FitMax || n >= used {
		t.Fatalf("%s: %d bytes in %d, of %d and %d", place, used, n, len(src), len(dst))
	}
	if dst[0] == 0 {
		t.Fatalf("%s: begins with byte 0", place)
	}
	got := make([]byte, used)
	for name, d := range readers {
		clear(got)
		if err := d.Decompress(got, dst[:n]); err != nil || !bytes.Equal(got, src[:used]) {
			t.Fatalf("%s: %d bytes in %d, read by %s: %v, or content differs", place, used, n, name, err)
		}
	}
	return used, dst[:n]
}

// TestFit: a stream unpacks to the beginning that it is said to hold, whichever
// library wrote and whichever reads, and is the same each time. Buffers end where
// no page follows.
func TestFit(t *testing.T) {
	const size = 48 << 10
	room, source := guarded(t, 64<<10), guarded(t, size)
	eachFitter(t, func(t *testing.T, r Raw, o FitOptions, f Fitter, readers map[string]RawDecompressor) {
		first := map[string][]byte{}
		for round := range 2 {
			for name, b := range samples(size) {
				src := source[size-len(b):]
				copy(src, b)
				for _, n := range []int{0, 1, 5, 7, 8, 9, 13, 40, 333, 4096, 20000, len(room)} {
					place := fmt.Sprintf("%s into %d", name, n)
					used, stream := checkFit(t, place, f, readers, room[len(room)-n:], src)
					if round == 0 {
						first[place] = bytes.Clone(stream)
					} else if !bytes.Equal(stream, first[place]) {
						t.Errorf("%s: %d bytes, not the same as before", place, used)
					}
					whole := used == len(src)
					switch {
					case name == "noise" || name == "one":
						if used > 0 {
							t.Errorf("%s: %d bytes", place, used)
						}
					case n == len(room) && !whole:
						t.Errorf("%s: %d bytes of %d", place, used, len(src))
					case n == 4096 && name == "text" && (used < 2*n || !whole && len(stream) < n*98/100):
						t.Errorf("%s: %d bytes in %d", place, used, len(stream))
					}
				}
			}
		}
	})
}

// TestFitLengths: all short inputs, into all short rooms.
func TestFitLengths(t *testing.T) {
	text := samples(4096)["text"]
	inputs := map[string][]byte{"zero": make([]byte, 60), "pairs": bytes.Repeat([]byte("ab"), 30), "text": text[:60],
		"late": append(bytes.Clone(text[:30]), text[:30]...)}
	eachFitter(t, func(t *testing.T, r Raw, o FitOptions, f Fitter, readers map[string]RawDecompressor) {
		dst := make([]byte, 64)
		for name, b := range inputs {
			for in := range len(b) + 1 {
				for n := 0; n <= len(dst); n += 1 + n/16 {
					checkFit(t, fmt.Sprintf("%d of %s into %d", in, name, n), f, readers, dst[:n], b[:in])
				}
			}
		}
	})
}

// TestFitZeros: what holds almost anything is bounded by what there is, and by what
// the kernel takes.
func TestFitZeros(t *testing.T) {
	zeros := make([]byte, FitMax+4096)
	eachFitter(t, func(t *testing.T, r Raw, o FitOptions, f Fitter, readers map[string]RawDecompressor) {
		dst := make([]byte, 128<<10)
		sizes := []int{8 << 20}
		if o == (FitOptions{}) {
			sizes = append(sizes, len(zeros))
		}
		for _, size := range sizes {
			used, stream := checkFit(t, "zeros", f, readers, dst, zeros[:size])
			if want := min(size, FitMax); used != want && o.WindowLog != fitMinWindowLog { // whose blocks hold 1 KiB
				t.Errorf("%d bytes of %d in %d", used, want, len(stream))
			}
		}
		used, stream := checkFit(t, "zeros", f, readers, dst[:4096], zeros)
		if used < 80*4096 {
			t.Errorf("%d bytes in %d", used, len(stream))
		}
	})
}

// TestFitMixed: data whose compressibility changes, from one end to the other, and
// repetitions at all distances.
func TestFitMixed(t *testing.T) {
	rounds := 25
	if testing.Short() {
		rounds = 10
	}
	eachFitter(t, func(t *testing.T, r Raw, o FitOptions, f Fitter, readers map[string]RawDecompressor) {
		rnd := rand.New(rand.NewPCG(11, uint64(r)))
		dst := make([]byte, 70<<10)
		for round := range rounds {
			src := mixed(rnd, 1+rnd.IntN(200<<10))
			n := rnd.IntN(1 + rnd.IntN(len(dst)))
			checkFit(t, fmt.Sprintf("round %d, %d into %d", round, len(src), n), f, readers, dst[:n], src)
		}
	})
}

// mixed gives noise, runs, text and repetitions in turns.
func mixed(rnd *rand.Rand, size int) []byte {
	var b []byte
	for len(b) < size {
		n := 1 + rnd.IntN(1+rnd.IntN(size/2+1))
		switch kind := rnd.IntN(5); {
		case kind == 0:
			for range n {
				b = append(b, byte(rnd.Uint32()))
			}
		case kind == 1:
			b = append(b, bytes.Repeat([]byte{byte(rnd.Uint32())}, n)...)
		case kind == 2:
			for range n / 20 {
				b = fmt.Appendf(b, "%d: %x, ", len(b), rnd.Uint32()%999)
			}
		case len(b) > 0:
			from := rnd.IntN(len(b))
			b = append(b, b[from:from+min(n, len(b)-from)]...)
		}
	}
	return b[:size]
}

// Options that are out of range are refused by name.
func TestFitOptions(t *testing.T) {
	for name, l := range libraries(t) {
		for r, bad := range map[Raw][]FitOptions{
			RawLZ4:     {{Level: -1}, {Level: 13}},
			MicroLZMA:  {{Level: -2}, {Level: 10}, {Level: 110}, {Dictionary: 4095}, {Dictionary: 8<<20 + 1}},
			RawDeflate: {{Level: -1}, {Level: 10}, {WindowBits: 7}, {WindowBits: 16}},
			RawZstd:    {{Level: 23}, {WindowLog: 9}, {WindowLog: 21}},
		} {
			for _, o := range bad {
				if _, err := l.NewFitter(r, o); !errors.Is(err, ErrOptions) {
					t.Errorf("%s: %s %+v: %v", name, r, o, err)
				}
			}
		}
		if _, err := l.NewFitter(rawCount, FitOptions{}); !errors.Is(err, tree.ErrUnsupported) {
			t.Errorf("an unknown algorithm: %v", err)
		}
	}
	for _, c := range []struct {
		r        Raw
		pcluster int
		want     FitOptions
	}{
		{RawLZ4, 4096, FitOptions{0, 32 << 10, 15, 15}},
		{MicroLZMA, 4096, FitOptions{6, 32 << 10, 15, 15}},
		{MicroLZMA, 1 << 20, FitOptions{6, 4 << 20, 15, 20}},
		{RawDeflate, 16 << 10, FitOptions{1, 64 << 10, 15, 17}},
		{RawZstd, 64 << 10, FitOptions{3, 256 << 10, 15, 19}},
		{RawZstd, 12 << 10, FitOptions{3, 48 << 10, 15, 16}},
	} {
		if got := (FitOptions{}).WithDefaults(c.r, c.pcluster); got != c.want {
			t.Errorf("%s for %d: %+v, not %+v", c.r, c.pcluster, got, c.want)
		}
	}
	set := FitOptions{-3, 5000, 9, 11}
	if got := set.WithDefaults(RawZstd, 1<<20); got != set {
		t.Errorf("%+v became %+v", set, got)
	}
}

// fuzzFit holds the fitters of a compression to their promises on any input and room.
func fuzzFit(f *testing.F, r Raw) {
	for _, b := range samples(9 << 10) {
		f.Add(b, uint16(4096), uint8(0))
		f.Add(b, uint16(100), uint8(1))
	}
	libs := libraries(f)
	type pair struct {
		name    string
		fitter  Fitter
		readers map[string]RawDecompressor
	}
	var pairs []pair
	for _, o := range fitOptions(r) {
		readers := map[string]RawDecompressor{}
		for name, l := range libs {
			d, err := l.NewRawDecompressor(r, o.window(r))
			if err != nil {
				f.Fatal(err)
			}
			f.Cleanup(func() { d.Close() })
			readers[name] = d
		}
		for name, l := range libs {
			p, err := l.NewFitter(r, o)
			if err != nil {
				f.Fatal(err)
			}
			f.Cleanup(func() { p.Close() })
			pairs = append(pairs, pair{fmt.Sprintf("%s %+v %s", r, o, name), p, readers})
		}
	}
	f.Fuzz(func(t *testing.T, src []byte, room uint16, which uint8) {
		p := pairs[int(which)%len(pairs)]
		dst := make([]byte, room)
		_, first := checkFit(t, p.name, p.fitter, p.readers, dst, src)
		if _, again := checkFit(t, p.name, p.fitter, p.readers, make([]byte, room), src); !bytes.Equal(first, again) {
			t.Fatalf("%s: not the same bytes again", p.name)
		}
	})
}

func FuzzFitLZ4(f *testing.F)       { fuzzFit(f, RawLZ4) }
func FuzzFitMicroLZMA(f *testing.F) { fuzzFit(f, MicroLZMA) }
func FuzzFitDeflate(f *testing.F)   { fuzzFit(f, RawDeflate) }
func FuzzFitZstd(f *testing.F)      { fuzzFit(f, RawZstd) }
