package dmmerge

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"relive/tree/hostfs"
)

// benchPair writes an origin with 1 GiB, of which every 8th chunk is data, and a
// COW of n chunks of 4 KiB at random places, in runs of up to 16.
func benchPair(b *testing.B, n int) (origin, cow string) {
	b.Helper()
	dir := b.TempDir()
	origin, cow = filepath.Join(dir, "origin"), filepath.Join(dir, "cow")
	rnd := rand.New(rand.NewPCG(61, 1))
	const chunks = 1 << 18
	var entries [][2]uint64
	taken := map[uint64]bool{}
	for nc := uint64(2); len(entries) < n; {
		old := rnd.Uint64N(chunks)
		for range 1 + rnd.IntN(16) {
			if len(entries) < n && old < chunks && !taken[old] {
				taken[old] = true
				if nc%257 == 1 {
					nc++
				}
				entries = append(entries, [2]uint64{old, nc})
				nc++
			}
			old++
		}
	}
	size, err := newGeometry(8).sizeFor(uint64(n))
	if err != nil {
		b.Fatal(err)
	}
	img := forge(8, int(size), entries)
	for _, e := range entries {
		fill(img[e[1]*4096:][:4096], 0, rnd)
	}
	if err := os.WriteFile(cow, img, 0o600); err != nil {
		b.Fatal(err)
	}
	f, err := os.Create(origin)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(chunks * 4096); err != nil {
		b.Fatal(err)
	}
	p := make([]byte, 64<<10)
	fill(p, 0, rnd)
	for off := int64(0); off < chunks*4096; off += 8 * int64(len(p)) {
		if _, err := f.WriteAt(p, off); err != nil {
			b.Fatal(err)
		}
	}
	return origin, cow
}

func benchOpen(b *testing.B, path string) *os.File {
	b.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { f.Close() })
	return f
}

func BenchmarkOpen(b *testing.B) {
	_, cow := benchPair(b, 65000)
	f := benchOpen(b, cow)
	st, _ := f.Stat()
	for b.Loop() {
		if c, err := Open(f, st.Size(), "cow"); err != nil || c.Chunks() != 65000 {
			b.Fatal(err)
		}
	}
}

func BenchmarkMergeTo(b *testing.B) {
	origin, cow := benchPair(b, 65000)
	f := benchOpen(b, cow)
	st, _ := f.Stat()
	c, err := Open(f, st.Size(), "cow")
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		base, err := hostfs.OpenFile(origin)
		if err != nil {
			b.Fatal(err)
		}
		d, err := c.Over(base)
		if err != nil {
			b.Fatal(err)
		}
		out, err := os.Create(origin + ".merged")
		if err != nil {
			b.Fatal(err)
		}
		if _, err := MergeTo(context.Background(), out, d, MergeOptions{}); err != nil {
			b.Fatal(err)
		}
		out.Close()
		d.Close()
	}
	b.SetBytes(65000 * 4096)
}

func BenchmarkMergeInPlace(b *testing.B) {
	origin, cow := benchPair(b, 65000)
	img, err := os.ReadFile(cow)
	if err != nil {
		b.Fatal(err)
	}
	o := benchOpen(b, origin)
	b.SetBytes(65000 * 4096)
	for b.Loop() {
		b.StopTimer()
		if err := os.WriteFile(cow, img, 0o600); err != nil {
			b.Fatal(err)
		}
		f := benchOpen(b, cow)
		b.StartTimer()
		if res, err := MergeInPlace(context.Background(), o, 1<<30, f, int64(len(img)), "cow", InPlaceOptions{}); err != nil ||
			res.Chunks != 65000 {
			b.Fatal(err)
		}
	}
}
