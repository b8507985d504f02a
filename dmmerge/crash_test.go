package dmmerge

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"testing"

	"relive/tree"
)

// errCrash is the error of everything after a crash.
var errCrash = errors.New("the power is gone")

// power is what the files of one machine share: after left operations it fails.
type power struct {
	left int
	used int
}

func (p *power) step() error {
	if p.left == 0 {
		return errCrash
	}
	p.left--
	p.used++
	return nil
}

// disk is a file whose writes are sure only after a sync: until then each sector
// may have any of the states that it went through.
type disk struct {
	*power
	now     []byte
	durable []byte
	states  map[int][][]byte // of sectors since the last sync, in order
}

func newDisk(p *power, b []byte) *disk {
	return &disk{power: p, now: bytes.Clone(b), durable: bytes.Clone(b), states: map[int][][]byte{}}
}

func (d *disk) ReadAt(p []byte, off int64) (int, error) {
	return bytes.NewReader(d.now).ReadAt(p, off)
}

func (d *disk) WriteAt(p []byte, off int64) (int, error) {
	if err := d.step(); err != nil {
		return 0, err
	}
	if off+int64(len(p)) > int64(len(d.now)) {
		return 0, errors.New("a write past the end")
	}
	copy(d.now[off:], p)
	for s := int(off / 512); s*512 < int(off)+len(p); s++ {
		d.states[s] = append(d.states[s], bytes.Clone(d.now[s*512:min(s*512+512, len(d.now))]))
	}
	return len(p), nil
}

func (d *disk) Sync() error {
	if err := d.step(); err != nil {
		return err
	}
	if grown := len(d.now) - len(d.durable); grown > 0 {
		d.durable = append(d.durable, make([]byte, grown)...)
	}
	for s := range d.states {
		copy(d.durable[s*512:], d.now[s*512:min(s*512+512, len(d.now))])
	}
	clear(d.states)
	return nil
}

// Truncate only makes longer here; what is new counts as durable, or not there.
func (d *disk) Truncate(size int64) error {
	if err := d.step(); err != nil {
		return err
	}
	for int64(len(d.now)) < size {
		d.now = append(d.now, 0)
	}
	d.now = d.now[:size]
	return nil
}

// after is what the disk may hold after the crash.
func (d *disk) after(rnd *rand.Rand) []byte {
	b := bytes.Clone(d.durable)
	if len(d.now) > len(b) && rnd.IntN(2) == 0 {
		b = append(b, make([]byte, len(d.now)-len(b))...)
	}
	some := rnd.IntN(3) // mostly old, any, mostly new
	for s, states := range d.states {
		if rnd.IntN(4) < 1+some && s*512 < len(b) {
			copy(b[s*512:], states[rnd.IntN(len(states))])
		}
	}
	return b
}

// shows returns what the model shows of a pair, without changing it.
func shows(t *testing.T, cow, origin []byte) []byte {
	t.Helper()
	k, err := load(bytes.Clone(cow), origin, 8)
	if err != nil {
		t.Fatalf("the kernel refuses it: %v", err)
	}
	b, err := k.view()
	if err != nil {
		t.Fatalf("the kernel cannot read it: %v", err)
	}
	return b
}

// lives lets the model write to copies of a pair, as a boot would, and load
// again: entries that were given up must not come back to life.
func lives(t *testing.T, rnd *rand.Rand, cow, origin []byte) {
	t.Helper()
	cow = bytes.Clone(cow)
	k, err := load(cow, origin, 1)
	if err != nil {
		t.Fatal(err)
	}
	want, err := k.view()
	if err != nil {
		t.Fatal(err)
	}
	for range rnd.IntN(60) {
		n := rnd.IntN(len(origin) / 512)
		b := make([]byte, 512)
		fill(b, 0, rnd)
		if k.write(n, b) != nil {
			break
		}
		copy(want[n*512:], b)
	}
	if !k.valid {
		return
	}
	if got := shows(t, cow, origin); !bytes.Equal(got, want) {
		t.Fatal("what was written after the crash does not read back")
	}
}

// soundHistory is a history whose COW is valid.
func soundHistory(rnd *rand.Rand, cs int) (cow, origin []byte) {
	for {
		originSize := (40+rnd.IntN(100))*cs*512 + rnd.IntN(cs)*512
		cow, origin = history(rnd, cs, originSize, 60+rnd.IntN(160), rnd.IntN(300))
		if k, err := load(bytes.Clone(cow), origin, cs); err == nil && k.valid && len(k.table) > 0 {
			return cow, origin
		}
	}
}

// TestMergeInPlaceCrash cuts the power at every write and sync of merges in
// place. What a pair shows must never change, a boot in between must not bring
// anything back, and a further merge, itself cut at a random point, must finish
// it.
func TestMergeInPlaceCrash(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(21, 1))
	points := 0
	for round := range 12 {
		cs := []int{1, 1, 2, 4}[round%4]
		cow, origin := soundHistory(rnd, cs)
		want := shows(t, cow, origin)
		o := InPlaceOptions{Batch: int64(1+rnd.IntN(60)) * int64(cs) * 512}
		merge := func(p *power, cow, origin []byte) (c, or *disk, err error) {
			c, or = newDisk(p, cow), newDisk(p, origin)
			_, err = MergeInPlace(context.Background(), or, int64(len(origin)), c, int64(len(cow)), "cow", o)
			return c, or, err
		}
		full := &power{left: 1 << 30}
		if _, _, err := merge(full, cow, origin); err != nil {
			t.Fatal(err)
		}
		for left := 0; left <= full.used; left++ {
			points++
			c, or, err := merge(&power{left: left}, cow, origin)
			if left < full.used && !errors.Is(err, errCrash) {
				t.Fatalf("the crash at %d is not told: %v", left, err)
			}
			for range 2 {
				cow2, origin2 := c.after(rnd), or.after(rnd)
				if got := shows(t, cow2, origin2); !bytes.Equal(got, want) {
					t.Fatalf("round %d: a crash at %d of %d changes what is shown", round, left, full.used)
				}
				lives(t, rnd, cow2, origin2)
				// Another crash, and then to the end.
				c2, or2, _ := merge(&power{left: rnd.IntN(full.used + 1)}, cow2, origin2)
				cow2, origin2 = c2.after(rnd), or2.after(rnd)
				if got := shows(t, cow2, origin2); !bytes.Equal(got, want) {
					t.Fatalf("round %d: a second crash changes what is shown", round)
				}
				c3, or3, err := merge(&power{left: 1 << 30}, cow2, origin2)
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(or3.durable, want) {
					t.Fatalf("round %d: the merge does not finish after a crash at %d", round, left)
				}
				s := openBytes(t, c3.durable).Status()
				if s.Allocated != s.Metadata || !s.Merged {
					t.Fatalf("after the merge: %v", s)
				}
				lives(t, rnd, c3.durable, or3.durable)
			}
		}
	}
	t.Logf("%d crash points", points)
}

// A merge whose context ends leaves a pair that shows the same.
func TestMergeInPlaceStops(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(22, 1))
	cow, origin := soundHistory(rnd, 1)
	want := shows(t, cow, origin)
	stop := errors.New("enough")
	for after := range 5 {
		ctx, cancel := context.WithCancelCause(context.Background())
		p := &power{left: 1 << 30}
		c, or := newDisk(p, cow), newDisk(p, origin)
		calls := 0
		o := InPlaceOptions{Batch: 33 * 512, Progress: func(int64) {
			if calls++; calls > after {
				cancel(stop)
			}
		}}
		if _, err := MergeInPlace(ctx, or, int64(len(origin)), c, int64(len(cow)), "cow", o); !errors.Is(err, stop) {
			t.Fatal(err)
		}
		if !bytes.Equal(shows(t, c.now, or.now), want) {
			t.Error("what is shown changes")
		}
	}
}

// TestKernelMergeGoesOn finishes what the kernel's own snapshot-merge left.
func TestKernelMergeGoesOn(t *testing.T) {
	t.Parallel()
	cow, origin := image(t, "p8-merge-cut-a/cow"), image(t, "p8-merge-cut-a/origin-after")
	p := &power{left: 1 << 30}
	c, or := newDisk(p, cow), newDisk(p, origin)
	res, err := MergeInPlace(context.Background(), or, int64(len(origin)), c, int64(len(cow)), "cow", InPlaceOptions{Batch: 300 * 4096})
	if err != nil || res.Chunks != 595 || res.Bytes != 595*4096 || res.Batches < 2 {
		t.Fatal(res, err)
	}
	if got := sum(or.durable); got != "a598b960133792a74ecb4139d929cf47d39c631a3f9dfa0a03e1ab57252346b5" {
		t.Errorf("sum %s", got)
	}
	if s := openBytes(t, c.durable).Status(); s.String() != "16/8192 16" || !s.Merged {
		t.Error(s)
	}
	// Once more there is nothing to do.
	p.used = 0
	if _, err := MergeInPlace(context.Background(), or, int64(len(origin)), c, int64(len(cow)), "cow", InPlaceOptions{}); err != nil ||
		p.used != 0 {
		t.Error(p.used, err)
	}
}

// What would lose something is refused before anything is written.
func TestMergeInPlaceRefuses(t *testing.T) {
	t.Parallel()
	origin := make([]byte, 100*4096)
	entries := func(n int) (e [][2]uint64) {
		for i := range n {
			e = append(e, [2]uint64{uint64(i), uint64(i) + 2})
		}
		return e
	}
	invalid := forge(8, 100*4096, entries(3))
	invalid[4] = 0
	for name, cow := range map[string][]byte{
		"marked invalid":             invalid,
		"past the end of the file":   forge(8, 100*4096, [][2]uint64{{1, 2}, {2, 100}}),
		"the place of metadata":      forge(1, 100*4096, [][2]uint64{{1, 2}, {2, 34}}),
		"wins":                       forge(8, 100*4096, [][2]uint64{{1, 2}, {1, 3}}),
		"names the same chunk":       forge(8, 100*4096, [][2]uint64{{1, 2}, {2, 2}}),
		"past the end of the origin": forge(8, 100*4096, [][2]uint64{{1, 2}, {100, 3}}),
		"refuses to load it":         forge(1, 34*512, entries(32)),
	} {
		p := &power{left: 1 << 30}
		_, err := MergeInPlace(context.Background(), newDisk(p, origin), int64(len(origin)), newDisk(p, cow), int64(len(cow)), "cow",
			InPlaceOptions{})
		if !errors.Is(err, tree.ErrCorrupt) || !bytes.Contains([]byte(err.Error()), []byte(name)) || p.used != 0 {
			t.Errorf("%s: %v after %d writes", name, err, p.used)
		}
	}
}

// TestResetCrash cuts the power at every point of a reset: the pair shows the
// old state or the origin, and takes writes.
func TestResetCrash(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(23, 1))
	for round := range 24 {
		cs := []int{1, 2, 4, 8}[round%4]
		cow, origin := soundHistory(rnd, cs)
		if rnd.IntN(4) == 0 {
			stale(cow, cs, rnd)
		}
		was := shows(t, cow, origin)
		keep := round%8 < 4
		reset := func(p *power) (*disk, error) {
			d := newDisk(p, cow)
			_, err := Reset(d, int64(len(cow)), "cow", ResetOptions{KeepChunk: keep})
			return d, err
		}
		full := &power{left: 1 << 30}
		d, err := reset(full)
		if err != nil {
			t.Fatal(err)
		}
		c := openBytes(t, d.durable)
		if keep && (c.State() != Valid || int(c.Header().ChunkSectors) != cs) || !keep && c.State() != New || c.Status().Exceptions != 0 ||
			len(c.Findings()) != 0 {
			t.Fatalf("after the reset: %v %+v", c.State(), c.Status())
		}
		if !keep && !tree.IsZero(d.durable[:min(64<<10, len(d.durable))]) {
			t.Error("64 KiB are not zero")
		}
		lives(t, rnd, d.durable, origin)
		for left := range full.used {
			d, err := reset(&power{left: left})
			if !errors.Is(err, errCrash) {
				t.Fatal(err)
			}
			for range 4 {
				cow := d.after(rnd)
				got := shows(t, cow, origin)
				if !bytes.Equal(got, origin) && !bytes.Equal(got, was) {
					t.Fatalf("round %d: a crash at %d of %d shows neither the old state nor the new", round, left, full.used)
				}
				if bytes.Equal(got, origin) {
					lives(t, rnd, cow, origin)
				}
			}
		}
	}
}

// stale puts entries behind the terminator, as emptying a COW by its first entry
// alone would.
func stale(cow []byte, cs int, rnd *rand.Rand) {
	k, err := load(bytes.Clone(cow), make([]byte, 1<<20), cs)
	if err != nil || k.used >= k.epa()-2 {
		return
	}
	at := k.areaAt(k.area)
	for i := k.used + 1; i < k.epa(); i++ {
		cow[at+i*16], cow[at+i*16+8] = byte(rnd.IntN(30)), byte(2+rnd.IntN(30))
	}
}

// TestGrowCrash cuts the power at every point of growing: what a valid COW shows
// never changes, an invalid one becomes valid only when it has room.
func TestGrowCrash(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(24, 1))
	for round := range 60 {
		cs := []int{1, 1, 2, 8}[round%4]
		cow, origin := soundHistory(rnd, cs)
		cow = cow[:len(cow)/512*512]
		if rnd.IntN(3) == 0 {
			stale(cow, cs, rnd)
		}
		want := shows(t, cow, origin)
		if round%2 == 0 {
			cow[4] = 0
		}
		size := int64(len(cow) + rnd.IntN(300)*512)
		grow := func(p *power) (*disk, GrowResult, error) {
			d := newDisk(p, cow)
			res, err := Grow(d, int64(len(cow)), size, "cow")
			return d, res, err
		}
		full := &power{left: 1 << 30}
		d, res, err := grow(full)
		if err != nil {
			t.Fatal(err)
		}
		if int64(len(d.durable)) != res.Size || res.Size < size || res.Adjusted != (res.Size != size) || res.Activated != (round%2 == 0) {
			t.Fatalf("%+v, %d bytes", res, len(d.durable))
		}
		if size > int64(len(cow)) && CheckSize(res.Size, uint32(cs)) != nil {
			t.Fatalf("grown to %d", res.Size)
		}
		if !bytes.Equal(shows(t, d.durable, origin), want) {
			t.Fatal("it shows something else")
		}
		lives(t, rnd, d.durable, origin)
		for left := range full.used {
			d, _, err := grow(&power{left: left})
			if !errors.Is(err, errCrash) {
				t.Fatal(err)
			}
			for range 4 {
				got := d.after(rnd)
				c := openBytes(t, got)
				if round%2 == 0 && c.State() == Valid && int64(len(got)) != res.Size {
					t.Fatal("it is valid before it has room")
				}
				if c.State() == Valid && !bytes.Equal(shows(t, got, origin), want) {
					t.Fatalf("a crash at %d changes what is shown", left)
				}
			}
		}
	}
}
