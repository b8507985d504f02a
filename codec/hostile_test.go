package codec

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"testing"

	"relive/tree"
)

// packedSamples gives blocks that unpack to at most size bytes, as the best
// libraries at hand write them.
func packedSamples(t testing.TB, o Options, size int) [][]byte {
	t.Helper()
	auto, err := Open(Auto)
	if err != nil {
		t.Fatal(err)
	}
	if o.ID == LZMA {
		return storedSamples(t, o.ID)
	}
	c, err := auto.NewCompressor(o, max(size, MinBlockSize))
	if errors.Is(err, tree.ErrUnsupported) {
		return storedSamples(t, o.ID)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var out [][]byte
	s := samples(size)
	for _, name := range []string{"zero", "text", "half", "odd"} {
		p, ok, err := c.Compress(nil, s[name])
		if err != nil {
			t.Fatal(err)
		}
		if ok {
			out = append(out, p)
		}
	}
	return out
}

// storedSamples are blocks that mksquashfs wrote, for compressors that may not
// be at hand: zeros, and the content of text.raw.
func storedSamples(t testing.TB, id ID) [][]byte {
	t.Helper()
	var out [][]byte
	for _, name := range []string{"zero", "text"} {
		b, err := os.ReadFile("testdata/" + name + "." + id.String())
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, b)
	}
	return out
}

// TestStored: blocks of mksquashfs that are kept here decode.
func TestStored(t *testing.T) {
	text, err := os.ReadFile("testdata/text.raw")
	if err != nil {
		t.Fatal(err)
	}
	const size = 16 << 10
	out := make([]byte, size)
	for lib, l := range libraries(t) {
		for _, id := range []ID{LZMA, LZO} {
			d, err := l.NewDecompressor(id, size)
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			for i, want := range [][]byte{make([]byte, size), text} {
				n, err := d.Decompress(out, storedSamples(t, id)[i])
				if err != nil || !bytes.Equal(out[:n], want) {
					t.Errorf("%s %s %d: %v, or content differs", lib, id, i, err)
				}
			}
		}
	}
}

// damage gives variants of a block: cut, with flipped bits, with runs
// overwritten, with parts moved.
func damage(rnd *rand.Rand, b []byte) []byte {
	b = bytes.Clone(b)
	switch rnd.IntN(5) {
	case 0:
		return b[:rnd.IntN(len(b)+1)]
	case 1:
		b[rnd.IntN(len(b))] ^= 1 << rnd.IntN(8)
	case 2:
		b[rnd.IntN(min(len(b), 40))] ^= 1 << rnd.IntN(8)
	case 3:
		at := rnd.IntN(len(b))
		for i := at; i < min(len(b), at+8); i++ {
			b[i] = byte(rnd.Uint32() | rnd.Uint32()) // rather ones than zeros
		}
	case 4:
		copy(b[rnd.IntN(len(b)):], b[rnd.IntN(len(b)):])
	}
	return b
}

// TestHostile: damaged blocks give an error or too little or wrong content,
// and nothing worse: no byte outside dst and src is touched, no panic, memory
// stays bounded, and the decompressor goes on to work.
func TestHostile(t *testing.T) {
	const size = 16 << 10
	for lib, l := range libraries(t) {
		for _, id := range IDs() {
			t.Run(fmt.Sprintf("%s/%s", id, lib), func(t *testing.T) {
				o := DefaultOptions(id, size)
				good := packedSamples(t, o, size)
				d, err := l.NewDecompressorFor(o, size)
				if err != nil {
					t.Fatal(err)
				}
				defer d.Close()
				rnd := rand.New(rand.NewPCG(7, uint64(id)))
				room, source := guarded(t, size), guarded(t, 2*size)
				want := make([]byte, size)
				n, err := d.Decompress(want, good[1])
				if err != nil {
					t.Fatal(err)
				}
				want = want[:n]
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				const rounds = 3000
				for range rounds {
					bad := damage(rnd, good[rnd.IntN(len(good))])
					src := source[len(source)-len(bad):]
					copy(src, bad)
					dst := room[rnd.IntN(2)*rnd.IntN(size):]
					n, err := d.Decompress(dst, src)
					if n < 0 || n > len(dst) {
						t.Fatalf("%d bytes of %d, %v", n, len(dst), err)
					}
					if err != nil && !errors.Is(err, tree.ErrCorrupt) && !errors.Is(err, tree.ErrUnsupported) {
						t.Fatalf("error of an unknown kind: %v", err)
					}
				}
				runtime.ReadMemStats(&after)
				if per := (after.TotalAlloc - before.TotalAlloc) / rounds; per > 8*size {
					t.Errorf("%d bytes allocated a block of %d", per, size)
				}
				got := make([]byte, size)
				if n, err := d.Decompress(got, good[1]); err != nil || !bytes.Equal(got[:n], want) {
					t.Errorf("no longer works: %v", err)
				}
			})
		}
	}
}
