package dmmerge

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"syscall"
	"testing"

	"relive/tree"
)

// fuzzOrigin is what fuzzed COWs lie over: no multiple of a sector.
func fuzzOrigin() []byte {
	origin := make([]byte, 70*512+77)
	fill(origin, 0, rand.New(rand.NewPCG(51, 1)))
	return origin
}

// addSeeds adds small COWs, sound ones and others.
func addSeeds(f *testing.F) {
	f.Helper()
	rnd := rand.New(rand.NewPCG(52, 1))
	for i := range 12 {
		cs := 1 + i%2
		cow, _ := history(rnd, cs, 70*512, 3+rnd.IntN(36/cs), rnd.IntN(60))
		if i%3 == 2 {
			cow = damage(rnd, cow, cs)
		}
		f.Add(cow)
	}
	full := make([][2]uint64, 32)
	for i := range full {
		full[i] = [2]uint64{uint64(i), uint64(i) + 2}
	}
	f.Add(forge(1, 34*512, full))
	f.Add(forge(8, 3*4096, [][2]uint64{{1, 2}, {1 << 63, 1<<64 - 1}, {0, 3}, {3, 3}}))
	f.Add(forge(1<<21, 4096, nil))
	f.Add(make([]byte, 8192))
}

// checkKind fails where an error is of no kind that a reader may give.
func checkKind(t *testing.T, err error) {
	t.Helper()
	if err != nil && !errors.Is(err, tree.ErrCorrupt) && !errors.Is(err, tree.ErrUnsupported) {
		t.Fatalf("%v: neither corrupt nor unsupported", err)
	}
}

// FuzzOpen holds the reader against the model on any bytes.
func FuzzOpen(f *testing.F) {
	addSeeds(f)
	f.Fuzz(func(t *testing.T, cow []byte) {
		origin := fuzzOrigin()
		k, kerr := load(bytes.Clone(cow), origin, 8)
		c, err := Open(bytes.NewReader(cow), int64(len(cow)), "cow")
		checkKind(t, err)
		if err == nil {
			_ = c.Findings()
			for _, f := range c.Findings() {
				_ = f.String()
			}
		}
		if kerr != nil {
			if err == nil && c.State() != Unloadable && c.State() != New {
				t.Fatalf("taken as %v, the kernel says %v", c.State(), kerr)
			}
			return
		}
		if err != nil {
			// An invalid one may be too short for its areas; the kernel does not look.
			if k.valid {
				t.Fatalf("%v, the kernel takes it", err)
			}
			return
		}
		if got, want := c.Status().String(), k.status(); got != want {
			t.Fatalf("status %q, the kernel says %q", got, want)
		}
		if k.valid {
			d, err := c.Over(newContent(origin))
			if err != nil {
				t.Fatal(err)
			}
			compareDevice(t, rand.New(rand.NewPCG(1, 1)), d, k)
		}
	})
}

// FuzzRecover recovers any bytes: the new COW is sound and shows what the old
// one did where it was whole.
func FuzzRecover(f *testing.F) {
	addSeeds(f)
	f.Fuzz(func(t *testing.T, cow []byte) {
		origin := fuzzOrigin()
		out := &memory{}
		rep, err := Recover(t.Context(), bytes.NewReader(cow), int64(len(cow)), "cow", out, RecoverOptions{})
		checkKind(t, err)
		if err != nil {
			return
		}
		c := openBytes(t, out.b)
		if rep.State != New && (c.State() != Valid || c.Chunks() != rep.Saved) || len(c.Findings()) != 0 {
			t.Fatalf("%v, %v", c.State(), c.Findings())
		}
		got := shows(t, out.b, origin)
		old := openBytes(t, cow)
		d, err := old.Over(newContent(origin))
		if err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 512)
		for s := int64(0); s < 70*512; s += 512 {
			want, lost := origin[s:s+512], false
			for _, l := range rep.Lost {
				lost = lost || l.Start <= s && l.End > s
			}
			if !lost {
				if _, err := d.ReadAt(buf, s); err != nil {
					t.Fatalf("%d is not told as lost: %v", s, err)
				}
				want = buf
			}
			if !bytes.Equal(got[s:s+512], want) {
				t.Fatalf("%d shows something else", s)
			}
		}
	})
}

// FuzzMerge merges any bytes, into a copy and in place, and repacks them.
func FuzzMerge(f *testing.F) {
	addSeeds(f)
	f.Fuzz(func(t *testing.T, cow []byte) {
		origin := fuzzOrigin()
		c, err := Open(bytes.NewReader(cow), int64(len(cow)), "cow")
		if err != nil {
			return
		}
		d, err := c.Over(newContent(origin))
		if err != nil {
			t.Fatal(err)
		}
		_, err = d.CheckBase()
		checkKind(t, err)
		copied, packed := &memory{}, &memory{}
		_, err = MergeTo(t.Context(), copied, d, MergeOptions{})
		checkKind(t, err)
		whole := err == nil
		if !whole && !errors.Is(err, syscall.EIO) {
			t.Fatal(err)
		}
		_, err = Repack(t.Context(), d, packed, RepackOptions{})
		checkKind(t, err)
		if (err == nil) != whole {
			t.Fatalf("repacked: %v", err)
		}
		if whole && !bytes.Equal(shows(t, packed.b, origin), copied.b) {
			t.Fatal("repacked, it shows something else")
		}
		o, w := &memory{b: bytes.Clone(origin)}, &memory{b: bytes.Clone(cow)}
		_, err = MergeInPlace(t.Context(), o, int64(len(origin)), w, int64(len(cow)), "cow", InPlaceOptions{Batch: 1})
		checkKind(t, err)
		if err != nil {
			if o.writes+w.writes > 0 {
				t.Fatalf("%v, but written to", err)
			}
			return
		}
		if !bytes.Equal(o.b, copied.b) {
			t.Fatal("in place it is something else")
		}
		if s := openBytes(t, w.b).Status(); !s.Merged || s.Allocated != s.Metadata {
			t.Fatal(s)
		}
	})
}
