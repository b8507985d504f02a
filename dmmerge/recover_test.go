package dmmerge

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"relive/tree"
)

// TestRecover recovers COWs that are damaged in all ways and compares the new
// one, as the model shows it, with what the old one showed where it was whole.
func TestRecover(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(41, 1))
	seen := map[Condition]int{}
	for i := range 400 {
		cs, originSize, chunks, n := sizes(rnd)
		cow, origin := history(rnd, cs, originSize, chunks, n)
		if i%4 > 0 {
			cow = damage(rnd, cow, cs)
		}
		if rnd.IntN(3) == 0 {
			stale(cow, cs, rnd)
		}
		if rnd.IntN(3) == 0 {
			cow[4] = 0
		}
		was := bytes.Clone(cow)
		out := &memory{}
		rep, err := Recover(t.Context(), bytes.NewReader(cow), int64(len(cow)), "cow", out, RecoverOptions{})
		if err != nil {
			if len(cow) >= 2*cs*512 {
				t.Fatalf("%d: %v", i, err)
			}
			continue
		}
		if !bytes.Equal(was, cow) {
			t.Fatal("the damaged COW is written to")
		}
		for _, c := range rep.Conditions {
			seen[c]++
		}
		if int64(len(out.b)) != rep.Size || CheckSize(rep.Size, uint32(cs)) != nil {
			t.Fatalf("%d: size %d", i, rep.Size)
		}
		c := openBytes(t, out.b)
		if c.State() != Valid || len(c.Findings()) != 0 || c.Chunks() != rep.Saved || c.Status().Leaked != 0 {
			t.Fatalf("%d: the new COW: %v %v, %d chunks of %d", i, c.State(), c.Findings(), c.Chunks(), rep.Saved)
		}
		// The old one as the model shows it, made valid and with room for areas
		// that are missing.
		old := append(bytes.Clone(cow), make([]byte, (cs*32+2)*cs*512-len(cow)%512)...)
		old[4] = 1
		k, err := load(old, origin, cs)
		if err != nil {
			t.Fatal(err)
		}
		got := shows(t, out.b, origin)
		for s := range len(origin) / 512 {
			want, lost := origin[s*512:][:512], false
			for _, l := range rep.Lost {
				lost = lost || l.Start <= int64(s*512) && l.End > int64(s*512)
			}
			if !lost {
				if want, err = k.sector(s); err != nil {
					t.Fatalf("%d: sector %d is not told as lost: %v", i, s, err)
				}
			}
			if !bytes.Equal(got[s*512:][:512], want) {
				t.Fatalf("%d: sector %d, lost: %v, shows something else", i, s, lost)
			}
		}
		if sound := i%4 == 0 && rep.State == Valid && len(rep.Conditions) == 0; sound != (rep.Sound() && i%4 == 0) || sound &&
			len(rep.Lost) > 0 {
			t.Fatalf("%d: %+v", i, rep)
		}
	}
	for _, c := range []Condition{Invalidated, Overflowed, Truncated, HasPastEnd, HasStale, HasDuplicate, HasShared, HasMetadata,
		HasOutside, TrapSize} {
		if seen[c] < 2 {
			t.Errorf("%s: met only %d times", c, seen[c])
		}
	}
}

// badReader fails in a range.
type badReader struct {
	io.ReaderAt
	from, to int64
}

func (b badReader) ReadAt(p []byte, off int64) (int, error) {
	if off < b.to && off+int64(len(p)) > b.from {
		return 0, errors.New("medium error")
	}
	return b.ReaderAt.ReadAt(p, off)
}

// A chunk that cannot be read is lost alone.
func TestRecoverMediumError(t *testing.T) {
	t.Parallel()
	cow, origin := image(t, "p8-multi/cow"), image(t, "p8-multi/origin")
	out := &memory{}
	rep, err := Recover(t.Context(), badReader{bytes.NewReader(cow), 100 * 4096, 100*4096 + 1}, int64(len(cow)), "cow", out,
		RecoverOptions{})
	if err != nil || rep.LostChunks != 1 || len(rep.Lost) != 1 || rep.Saved != 699 || !slices.Contains(rep.Conditions, Unreadable) {
		t.Fatalf("%+v, %v", rep, err)
	}
	got, want := shows(t, out.b, origin), image(t, "p8-multi/truth")
	l := rep.Lost[0]
	copy(want[l.Start:l.End], origin[l.Start:l.End])
	if !bytes.Equal(got, want) {
		t.Error("more than the chunk is lost")
	}
	for name, r := range map[string][2]int64{"header": {0, 1}, "area 1": {258 * 4096, 258*4096 + 1}} {
		if _, err := Recover(t.Context(), badReader{bytes.NewReader(cow), r[0], r[1]}, int64(len(cow)), "cow", out,
			RecoverOptions{}); err == nil || !strings.Contains(err.Error(), name+": medium error") {
			t.Error(name, err)
		}
	}
}

// A header that was zeroed, or overwritten, hides entries that are still there.
func TestRecoverLostHeader(t *testing.T) {
	t.Parallel()
	for _, junk := range []byte{0, 0x55} {
		cow, origin := image(t, "p8-few/cow"), image(t, "p8-few/origin")
		for i := range 16 {
			cow[i] = junk
		}
		out := &memory{}
		rep, err := Recover(t.Context(), bytes.NewReader(cow), int64(len(cow)), "cow", out, RecoverOptions{Chunk: 8})
		if err != nil || rep.Saved != 18 || !slices.Equal(rep.Conditions, []Condition{HeaderLost}) {
			t.Fatalf("%+v, %v", rep, err)
		}
		if !bytes.Equal(shows(t, out.b, origin), image(t, "p8-few/truth")) {
			t.Error("not what it showed")
		}
		rep, err = Recover(t.Context(), bytes.NewReader(cow), int64(len(cow)), "cow", out, RecoverOptions{})
		if junk == 0 && (err != nil || rep.State != New || !tree.IsZero(out.b)) || junk != 0 && !errors.Is(err, tree.ErrCorrupt) {
			t.Errorf("%+v, %v", rep, err)
		}
	}
	if _, err := Diagnose(bytes.NewReader(nil), 0, "cow", RecoverOptions{Chunk: 3}); err == nil {
		t.Error("chunks of 3 sectors are taken")
	}
}

// A chunk at the place of an area is lost where that area is in use, else not.
func TestRecoverAtMetadata(t *testing.T) {
	t.Parallel()
	e := [][2]uint64{{5, 34}}
	for i := range uint64(35) {
		e = append(e, [2]uint64{10 + i, 2 + i + i/32})
	}
	for n, want := range map[int]uint64{1: 0, 36: 1} {
		cow := forge(1, 80*512, e[:n])
		rep, err := Recover(t.Context(), bytes.NewReader(cow), int64(len(cow)), "cow", &memory{}, RecoverOptions{})
		if err != nil || rep.LostChunks != want || rep.Saved != uint64(n)-want || !slices.Contains(rep.Conditions, HasMetadata) {
			t.Errorf("%d entries: %+v, %v", n, rep, err)
		}
		if want > 0 && rep.Lost[0] != (Lost{Extent{5 * 512, 6 * 512}, 0, "area 0, entry 0", "overwritten by metadata"}) {
			t.Errorf("%+v", rep.Lost)
		}
	}
}

// A size that does not hold what is whole is refused with one that does.
func TestRecoverSize(t *testing.T) {
	t.Parallel()
	cow := image(t, "p8-multi/cow")
	var bad *SizeError
	_, err := Recover(t.Context(), bytes.NewReader(cow), int64(len(cow)), "cow", &memory{}, RecoverOptions{Size: 1 << 20})
	if !errors.As(err, &bad) {
		t.Fatal(err)
	}
	out := &memory{}
	if _, err = Recover(t.Context(), bytes.NewReader(cow), int64(len(cow)), "cow", out, RecoverOptions{Size: bad.Next}); err != nil ||
		int64(len(out.b)) != bad.Next {
		t.Fatal(err)
	}
	if _, err = Recover(t.Context(), bytes.NewReader(cow), int64(len(cow)), "cow", &memory{fail: 3}, RecoverOptions{}); !errors.Is(err,
		errWrite) {
		t.Error(err)
	}
}

// TestActivate makes a COW valid only where nothing else is wrong with it.
func TestActivate(t *testing.T) {
	t.Parallel()
	cow := image(t, "p8-few/cow")
	cow[4] = 0
	m := &memory{b: cow}
	if res, err := Activate(m, int64(len(cow)), "cow"); err != nil || !res.Activated || openBytes(t, m.b).State() != Valid {
		t.Error(res, err)
	}
	full := image(t, "po8-overflow/cow")
	full[4] = 0
	if _, err := Activate(&memory{b: full}, int64(len(full)), "cow"); err == nil ||
		!strings.Contains(err.Error(), "invalid and full (2048 of 2048 sectors)") {
		t.Error(err)
	}
	m = &memory{b: full}
	if res, err := Grow(m, int64(len(full)), 2<<20, "cow"); err != nil || !res.Activated {
		t.Error(res, err)
	}
	if got := sum(shows(t, m.b, image(t,
		"po8-overflow/origin"))); got != "e4ceb126538c7eb459e1df21f0c5f7d9ebe938d6045e84f21f27286b78bcf885" {
		t.Error(got)
	}
	for _, name := range []string{"forged/dup-old", "forged/new-beyond"} {
		b := image(t, name)
		if _, err := Activate(&memory{b: b}, int64(len(b)), "cow"); !errors.Is(err, tree.ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
	b := image(t, "forged/new-beyond")
	if _, err := Grow(&memory{b: b}, int64(len(b)), 100<<20, "cow"); err == nil || !strings.Contains(err.Error(), "entry 18") {
		t.Error(err)
	}
	if _, err := Grow(&memory{b: b}, int64(len(b)), 1, "cow"); err == nil {
		t.Error("it shrinks")
	}
}

// TestRepack checks that what a repacked COW leaves out is equal or free, that
// it leaves out all of that, and that all else is the same.
func TestRepack(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(42, 1))
	equal, freed := uint64(0), uint64(0)
	for i := range 300 {
		cs := []int{1, 2, 8, 16}[i%4]
		cow, origin := soundHistory(rnd, cs)
		want := shows(t, cow, origin)
		o := RepackOptions{}
		ncs := cs
		if i%3 == 0 {
			ncs = []int{1, 4, 32, 4096}[rnd.IntN(4)]
			o.Chunk = uint32(ncs)
		}
		if ncs < 4096 {
			o.Size = int64(len(cow) + rnd.IntN(1<<20))
		}
		var free []Extent
		for at := int64(rnd.IntN(40000)); at < int64(len(origin)); at += int64(rnd.IntN(60000)) {
			n := int64(1 + rnd.IntN(30000))
			free = append(free, Extent{at, at + n})
			at += n
			if rnd.IntN(2) == 0 { // a neighbour that goes on
				free = append(free, Extent{at, at + 5000})
				at += 5000
			}
		}
		if i%2 == 0 {
			o.Free = all(free)
		} else {
			free = nil
		}
		last := int64(0)
		o.Progress = func(done, total int64) {
			if done < last || done > total {
				t.Error("progress", last, done, total)
			}
			last = done
		}
		d := over(t, cow, origin)
		out := &memory{}
		res, err := Repack(t.Context(), d, out, o)
		var bad *SizeError
		if errors.As(err, &bad) { // larger chunks may need more
			o.Size, last = bad.Next, 0
			res, err = Repack(t.Context(), d, out, o)
		}
		if err != nil {
			t.Fatal(err)
		}
		isFree := func(from, to int) bool {
			// Neighbours are one.
			for from < to {
				j := slices.IndexFunc(free, func(f Extent) bool { return f.Start <= int64(from) && f.End > int64(from) })
				if j < 0 {
					return false
				}
				from = int(free[j].End)
			}
			return true
		}
		got := shows(t, out.b, origin)
		for s := 0; s < len(want); s += 512 {
			e := min(s+512, len(want))
			if !bytes.Equal(got[s:e], want[s:e]) && !(isFree(s, e) && bytes.Equal(got[s:e], origin[s:e])) {
				t.Fatalf("%d: sector %d shows something else", i, s/512)
			}
		}
		c := openBytes(t, out.b)
		for r := range c.Runs {
			for j := range int(r.Count) {
				from := (int(r.Old) + j) * ncs * 512
				to := min(from+ncs*512, len(origin)/512*512)
				if bytes.Equal(want[from:to], origin[from:to]) || isFree(from, to) {
					t.Fatalf("%d: chunk %d is kept", i, r.Old)
				}
			}
		}
		if c.Chunks() != res.Kept || res.Size != int64(len(out.b)) || len(c.Findings()) > 0 || CheckSize(res.Size, uint32(ncs)) != nil ||
			ncs == cs && res.Before != res.Kept+res.Free+res.Equal {
			t.Fatalf("%d: %+v, %v", i, res, c.Findings())
		}
		equal, freed = equal+res.Equal, freed+res.Free
	}
	if equal < 100 || freed < 100 {
		t.Errorf("%d equal, %d free chunks are left out", equal, freed)
	}
}

func all(e []Extent) iter.Seq2[Extent, error] {
	return func(yield func(Extent, error) bool) {
		for _, x := range e {
			if !yield(x, nil) {
				return
			}
		}
	}
}

func TestRepackErrors(t *testing.T) {
	t.Parallel()
	d := over(t, image(t, "p8-few/cow"), image(t, "p8-few/origin"))
	stop := errors.New("the bitmap is broken")
	free := func(yield func(Extent, error) bool) { yield(Extent{}, stop) }
	if _, err := Repack(t.Context(), d, &memory{}, RepackOptions{Free: free}); !errors.Is(err, stop) {
		t.Error(err)
	}
	if _, err := Repack(t.Context(), d, &memory{}, RepackOptions{Chunk: 12}); err == nil {
		t.Error("chunks of 12 sectors are taken")
	}
	if _, err := Repack(t.Context(), d, &memory{}, RepackOptions{Size: 12288}); !errors.Is(err, ErrSize) {
		t.Error(err)
	}
	if _, err := Repack(t.Context(), d, &memory{fail: 2}, RepackOptions{}); !errors.Is(err, errWrite) {
		t.Error(err)
	}
	if _, err := Repack(t.Context(), over(t, image(t, "forged/new-beyond"), image(t, "p8-few/origin")), &memory{},
		RepackOptions{}); !errors.Is(err, tree.ErrCorrupt) {
		t.Error(err)
	}
}

// TestCreate makes COWs that the model takes.
func TestCreate(t *testing.T) {
	t.Parallel()
	for _, cs := range []uint32{0, 1, 8, 32} {
		m := &memory{b: []byte("something else, longer than a header")}
		if err := Create(m, 1<<20, cs); err != nil {
			t.Fatal(err)
		}
		c := openBytes(t, m.b)
		if cs == 0 && c.State() != New || cs != 0 && (c.State() != Valid || c.Header() != Header{1, 1, cs}) || !c.Status().Merged {
			t.Errorf("%d: %v %+v", cs, c.State(), c.Header())
		}
		lives(t, rand.New(rand.NewPCG(1, 1)), m.b, make([]byte, 1<<20))
	}
	var bad *SizeError
	if err := Create(&memory{}, 258*4096, 0); !errors.As(err, &bad) || bad.Next != 259*4096 ||
		!strings.Contains(err.Error(), "next good size is 1060864") {
		t.Error(err)
	}
	if err := Create(&memory{}, 4096, 8); !errors.As(err, &bad) || bad.Next != 3*4096 {
		t.Error(err)
	}
	if err := Create(&memory{}, 1<<20, 7); err == nil || errors.Is(err, ErrSize) {
		t.Error(err)
	}
	if fmt.Sprint(Create(&memory{fail: 1}, 1<<20, 8)) != errWrite.Error() {
		t.Error("a failing write is not told")
	}
}

// TestResetForce empties what is no COW only when it must.
func TestResetForce(t *testing.T) {
	t.Parallel()
	b := bytes.Repeat([]byte{7}, 1<<20)
	m := &memory{b: b}
	if _, err := Reset(m, 1<<20, "cow", ResetOptions{}); !errors.Is(err, tree.ErrCorrupt) || m.writes != 0 {
		t.Error(err)
	}
	if kept, err := Reset(m, 1<<20, "cow", ResetOptions{Force: true, KeepChunk: true}); err != nil || kept != DefaultChunkSectors ||
		openBytes(t, m.b).State() != Valid {
		t.Error(kept, err)
	}
	m = &memory{b: bytes.Repeat([]byte{7}, 1<<20)}
	if kept, err := Reset(m, 1<<20, "cow", ResetOptions{Force: true}); err != nil || kept != 0 || openBytes(t, m.b).State() != New {
		t.Error(kept, err)
	}
	if _, err := Reset(m, 100, "cow", ResetOptions{Force: true}); err == nil {
		t.Error("a file of 100 bytes is taken")
	}
}
