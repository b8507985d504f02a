package dmmerge

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"syscall"
	"testing"

	"relive/tree"
)

// sizes are the parameters of a random case.
func sizes(rnd *rand.Rand) (cs, originSize, chunks, n int) {
	cs = []int{1, 1, 1, 2, 8, 16, 64}[rnd.IntN(7)]
	originSize = (1 + rnd.IntN(100*min(cs, 8))) * 512
	if rnd.IntN(3) == 0 {
		originSize += rnd.IntN(512)
	}
	chunks = 3 + rnd.IntN(150)
	if rnd.IntN(3) == 0 { // sizes about the end of an area, the trap among them
		chunks = max(3, (cs*32+1)*(1+rnd.IntN(3))+rnd.IntN(4)-1)
	}
	if cs > 2 {
		chunks = min(chunks, 3000/cs)
	}
	return cs, originSize, chunks, rnd.IntN(400)
}

// damage changes the metadata of a COW in ways that no kernel does.
func damage(rnd *rand.Rand, cow []byte, cs int) []byte {
	epa := cs * 32
	le := func(at int, v uint64) {
		for i := range 8 {
			if at+i < len(cow) {
				cow[at+i] = byte(v >> (8 * i))
			}
		}
	}
	for range rnd.IntN(6) {
		i := rnd.IntN(min(epa, 100))
		at := cs*512 + i*16
		chunks := uint64(len(cow) / 512 / cs)
		switch rnd.IntN(8) {
		case 0, 1: // one more for some chunk of the origin
			le(at, uint64(rnd.IntN(200)))
		case 2: // anywhere in the file
			le(at+8, rnd.Uint64N(chunks+3))
		case 3: // metadata
			le(at+8, uint64(1+rnd.IntN(2)*(epa+1)))
		case 4:
			le(at+8, rnd.Uint64())
		case 5:
			le(at, rnd.Uint64())
		case 6: // the end of the list
			le(at+8, 0)
		case 7:
			if rnd.IntN(3) == 0 {
				cow = cow[:max(1024, rnd.IntN(len(cow)))]
			}
		}
	}
	return cow
}

// TestReadIsTheKernels compares status, errors, bytes, ranges and holes with the
// model on thousands of COWs, sound ones and others.
func TestReadIsTheKernels(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(11, 1))
	damaged, refused := 0, 0
	for i := range 700 {
		cs, originSize, chunks, n := sizes(rnd)
		cow, origin := history(rnd, cs, originSize, chunks, n)
		if i%2 == 1 {
			cow = damage(rnd, cow, cs)
		}
		k, kerr := load(bytes.Clone(cow), origin, 8)
		c, err := Open(bytes.NewReader(cow), int64(len(cow)), "cow")
		if kerr != nil {
			refused++
			if err == nil && (c.State() != Unloadable || kerr != errEIO) {
				t.Fatalf("%d: taken as %v, the kernel says %v", i, c.State(), kerr)
			}
			continue
		}
		if err != nil {
			t.Fatalf("%d: %v", i, err)
		}
		if got, want := c.Status().String(), k.status(); got != want {
			t.Fatalf("%d: status %q, the kernel says %q", i, got, want)
		}
		if !k.valid {
			continue
		}
		d, err := c.Over(newContent(origin))
		if err != nil {
			t.Fatal(err)
		}
		if compareDevice(t, rnd, d, k); t.Failed() {
			t.Fatalf("case %d: cs %d, origin %d, cow %d", i, cs, originSize, len(cow))
		}
		if len(c.Findings()) > 0 {
			damaged++
		} else if i%2 == 1 && len(d.Outside()) == 0 {
			// What is not reported is sound: no two entries share anything.
			seen := map[uint64]bool{}
			for r := range c.Runs {
				for j := range r.Count {
					if seen[r.New+j] {
						t.Fatalf("%d: chunk %d is shared in silence", i, r.New+j)
					}
					seen[r.New+j] = true
				}
			}
		}
	}
	if damaged < 100 || refused < 5 {
		t.Errorf("only %d were damaged and %d refused", damaged, refused)
	}
}

func compareDevice(t *testing.T, rnd *rand.Rand, d *Device, k *kernel) {
	size := len(k.origin)
	if d.Size() != int64(size) {
		t.Errorf("size %d", d.Size())
	}
	// Sector by sector: bytes, errors, whether changed.
	buf := make([]byte, 512)
	want := bytes.Clone(k.origin)
	bad := make([]bool, size/512+1)
	var changed []Extent
	for n := range size / 512 {
		b, kerr := k.sector(n)
		_, err := d.ReadAt(buf, int64(n)*512)
		if kerr != nil {
			bad[n] = true
			if !errors.Is(err, syscall.EIO) || !errors.Is(err, tree.ErrCorrupt) {
				t.Errorf("sector %d: %v, the kernel says %v", n, err, kerr)
				return
			}
		} else if err != nil || !bytes.Equal(buf, b) {
			t.Errorf("sector %d: %v, other bytes than the kernel's", n, err)
			return
		} else {
			copy(want[n*512:], b)
		}
		_, in := k.table[uint64(n/k.cs)]
		if got := d.ChangedIn(int64(n)*512+int64(rnd.IntN(512)), 1); got != in {
			t.Errorf("sector %d: changed %v", n, got)
		}
		if in {
			if l := len(changed); l > 0 && changed[l-1].End == int64(n)*512 {
				changed[l-1].End += 512
			} else {
				changed = append(changed, Extent{int64(n) * 512, int64(n)*512 + 512})
			}
		}
	}
	if got := slices.Collect(d.Changed()); !slices.Equal(got, changed) {
		t.Errorf("changed %v, want %v", got, changed)
	}
	// Reads of any length at any place, several at once.
	var wg sync.WaitGroup
	for range 3 {
		seed := rnd.Uint64()
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(seed, 0))
			for range 10 {
				off := rnd.IntN(size + 100)
				p := make([]byte, rnd.IntN(20000))
				n, err := d.ReadAt(p, int64(off))
				end := min(off+len(p), size)
				for s := off / 512; s*512 < end; s++ {
					if bad[s] {
						end = max(off, s*512)
						break
					}
				}
				if n != max(0, end-off) || n > 0 && !bytes.Equal(p[:n], want[off:off+n]) || (err == nil) != (n == len(p) && off+n <= size &&
					off < size) {
					t.Errorf("%d bytes at %d of %d: %d, %v", len(p), off, size, n, err)
				}
			}
		})
	}
	wg.Wait()
	// All that NextData leaves out is zero.
	pos := int64(0)
	for {
		start, end, err := d.NextData(pos)
		if err == io.EOF {
			start = int64(size)
		} else if err != nil || start < pos || end <= start || end > int64(size) {
			t.Errorf("data at %d: %d to %d, %v", pos, start, end, err)
			return
		}
		if !tree.IsZero(want[pos:start]) || d.ChangedIn(pos, start-pos) {
			t.Errorf("%d to %d is no hole", pos, start)
		}
		if err == io.EOF {
			return
		}
		pos = end
	}
}

// TestForecast lets the model write until it fails, and compares with what was
// foretold.
func TestForecast(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(12, 1))
	traps := 0
	for i := range 300 {
		cs, originSize, chunks, n := sizes(rnd)
		cs = min(cs, 8)
		originSize = max(originSize, 1200*cs*512)
		cow, origin := history(rnd, cs, originSize, chunks, rnd.IntN(n+1))
		s := openBytes(t, cow).Status()
		if s.State != Valid {
			continue
		}
		k, err := load(cow, origin, 8)
		if err != nil {
			t.Fatal(err)
		}
		left := uint64(0)
		for c := 0; c < originSize/512; c += cs {
			if _, ok := k.table[uint64(c/cs)]; ok {
				continue
			}
			if err = k.write(c, make([]byte, 512)); err != nil {
				break
			}
			left++
		}
		if err == nil {
			continue // the origin has no more chunks
		}
		if errors.Is(err, errEIO) != s.Trap && s.Leaked == 0 {
			t.Errorf("%d: trap %v, but %v", i, s.Trap, err)
		}
		if errors.Is(err, errEIO) {
			traps++
		}
		if left != s.ChunksLeft || s.Full != (left == 0) || s.BytesLeft != left*uint64(cs)*512 {
			t.Errorf("%d: %d chunks fit, %+v", i, left, s)
		}
		empty := make([]byte, len(cow))
		if e, _ := load(empty, origin, cs); e != nil && openBytes(t, empty).Status().ChunksLeft != s.Capacity {
			t.Errorf("%d: capacity %d", i, s.Capacity)
		}
	}
	if traps < 10 {
		t.Errorf("only %d traps", traps)
	}
}

// TestGoodSizes holds the sizes that are given out against the model.
func TestGoodSizes(t *testing.T) {
	t.Parallel()
	for cs := 1; cs <= 4; cs *= 2 {
		for n := range 200 {
			origin := make([]byte, max(n, 1)*cs*512)
			size, err := NeverOverflowSize(int64(n*cs*512), uint32(cs))
			if err != nil || CheckSize(size, uint32(cs)) != nil && n > 0 {
				t.Fatalf("cs %d, %d chunks: %d, %v", cs, n, size, err)
			}
			k, err := load(make([]byte, size), origin, cs)
			if err != nil {
				t.Fatal(err)
			}
			for c := range n {
				if err := k.write(c*cs, make([]byte, 512)); err != nil {
					t.Fatalf("cs %d, %d chunks in %d bytes: %v at %d", cs, n, size, err, c)
				}
			}
			good, err := GoodSize(int64(n*512*cs), uint32(cs))
			if err != nil || CheckSize(good, uint32(cs)) != nil || good < int64(n*512*cs) {
				t.Fatalf("%d: %d, %v", n, good, err)
			}
		}
	}
	for _, cs := range []uint32{0, 3, 12, 1 << 22} {
		if _, err := NeverOverflowSize(1, cs); err == nil {
			t.Errorf("chunks of %d sectors are taken", cs)
		}
	}
	if err := CheckSize(258*4096, 8); !errors.Is(err, ErrSize) || err.(*SizeError).Next != 259*4096 {
		t.Error(err)
	}
	if _, err := NeverOverflowSize(1<<63-1, 1); err == nil {
		t.Error("a size beyond all files")
	}
}
