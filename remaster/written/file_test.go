package written

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// TestFlip: of files that were written in pieces at random, over each other too,
// with holes, cut and made longer, every byte that is changed is found, but for
// those that the kernel copied.
func TestFlip(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(1, 1))
	dir := t.TempDir()
	for range 12 {
		path := filepath.Join(dir, "f")
		out, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		f := New(out)
		size := int64(1 + rnd.IntN(300000))
		copied := map[int64]bool{}
		if err := f.Truncate(size); err != nil {
			t.Fatal(err)
		}
		for range rnd.IntN(20) {
			p := make([]byte, rnd.IntN(20000))
			for i := range p {
				p[i] = byte(rnd.IntN(256))
			}
			off := rnd.Int64N(size)
			if rnd.IntN(10) == 0 {
				if err := f.Truncate(off); err != nil {
					t.Fatal(err)
				}
				if err := f.Truncate(size); err != nil {
					t.Fatal(err)
				}
			}
			if rnd.IntN(4) > 0 {
				_, err = f.WriteAt(p, off)
			} else if err = f.Copied(off, int64(len(p))); err == nil {
				_, err = out.WriteAt(p, off)
			}
			if err != nil {
				t.Fatal(err)
			}
			for i := range p {
				delete(copied, off+int64(i))
			}
			size = max(size, off+int64(len(p)))
		}
		for _, p := range f.parts {
			for at := p.off; p.copied && at < p.end; at++ {
				copied[at] = true
			}
		}
		if err := f.Check(t.Context(), path); err != nil {
			t.Fatal(err)
		}
		flip := func(at int64) {
			var b [1]byte
			if _, err := out.ReadAt(b[:], at); err != nil {
				t.Fatal(err)
			}
			b[0] ^= 1 << rnd.IntN(8)
			if _, err := out.WriteAt(b[:], at); err != nil {
				t.Fatal(err)
			}
		}
		places := []int64{0, size - 1}
		for _, p := range f.parts {
			for _, at := range []int64{p.off - 1, p.off, p.end - 1, p.end} {
				if at >= 0 && at < size {
					places = append(places, at)
				}
			}
		}
		for range 8 {
			places = append(places, rnd.Int64N(size))
		}
		for _, at := range places {
			var was [1]byte
			if _, err := out.ReadAt(was[:], at); err != nil {
				t.Fatal(err)
			}
			flip(at)
			if err := f.Check(t.Context(), path); errors.Is(err, ErrDiffers) == copied[at] {
				t.Fatalf("byte %d of %d, copied %v: %v", at, size, copied[at], err)
			}
			if _, err := out.WriteAt(was[:], at); err != nil {
				t.Fatal(err)
			}
		}
		for _, other := range []int64{size - 1, size + 1} {
			if err := out.Truncate(other); err != nil {
				t.Fatal(err)
			}
			if err := f.Check(t.Context(), path); !errors.Is(err, ErrDiffers) {
				t.Fatalf("%d bytes of %d: %v", other, size, err)
			}
		}
		if err := out.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestOverDamage: what is damaged before a part of it is written anew does not
// get a new sum.
func TestOverDamage(t *testing.T) {
	out, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	f := New(out)
	if _, err := f.WriteAt(make([]byte, 100), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := out.WriteAt([]byte{1}, 50); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte{2}, 10); !errors.Is(err, ErrDiffers) {
		t.Error(err)
	}
	if err := f.Truncate(99); !errors.Is(err, ErrDiffers) {
		t.Error(err)
	}
	if _, err := f.WriteAt(make([]byte, 100), 0); err != nil {
		t.Errorf("all of it is written anew: %v", err)
	}
	if err := f.Check(t.Context(), out.Name()); err != nil {
		t.Error(err)
	}
	called := errors.New("called")
	if err := Settle(WithFault(t.Context(), func(*os.File) error { return called }), out); err != called {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.Check(ctx, out.Name()); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
