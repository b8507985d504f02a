package baseimage

import (
	"bytes"
	"io"
	"math/rand/v2"
	"testing"

	"relive/tree"
)

// fakeDevice is a device of bytes of which some ranges changed against below.
type fakeDevice struct {
	now, below []byte
}

func (d *fakeDevice) Size() int64  { return int64(len(d.now)) }
func (d *fakeDevice) Close() error { return nil }
func (d *fakeDevice) ReadAt(p []byte, off int64) (int, error) {
	return bytes.NewReader(d.now).ReadAt(p, off)
}
func (d *fakeDevice) ChangedIn(off, n int64) bool {
	end := min(off+n, d.Size())
	return off < end && !bytes.Equal(d.now[off:end], d.below[off:end])
}

// NextData calls blocks of 16 zeros holes.
func (d *fakeDevice) NextData(off int64) (start, end int64, err error) {
	zero := func(at int64) bool { return tree.IsZero(d.now[at/16*16 : min(at/16*16+16, d.Size())]) }
	for off < d.Size() && zero(off) {
		off = off/16*16 + 16
	}
	if off >= d.Size() {
		return 0, 0, io.EOF
	}
	end = off
	for end < d.Size() && !zero(end) {
		end = end/16*16 + 16
	}
	return off, min(end, d.Size()), nil
}

// TestPatchedImage: the image is the device, but for what is free in whole
// units and in units that changed; and a unit that is told to be unchanged is
// what it was.
func TestPatchedImage(t *testing.T) {
	t.Parallel()
	for round := range 3000 {
		r := rand.New(rand.NewPCG(1, uint64(round)))
		size := 1 + r.Int64N(3000)
		unit := int64(32) << r.IntN(4)
		d := &fakeDevice{below: make([]byte, size)}
		for i := range d.below {
			if r.IntN(200) > 0 {
				d.below[i] = byte(i/64+1) * byte(i/512%2)
			} else {
				d.below[i] = byte(r.IntN(256))
			}
		}
		d.now = bytes.Clone(d.below)
		for range r.IntN(8) {
			at := r.Int64N(size)
			for i := at; i < min(at+16, size); i++ {
				d.now[i] = byte(r.IntN(3))
			}
		}
		m := &patchedImage{dev: d, below: tree.Bytes(d.below), unit: unit}
		for at := r.Int64N(100); at < size; at += 1 + r.Int64N(500) {
			e := extent{at, min(at+1+r.Int64N(400), size)}
			m.addFree(e)
			at = e.end
		}
		want := bytes.Clone(d.now)
		free := make([]bool, size)
		for _, e := range m.free {
			for i := e.start; i < e.end; i++ {
				free[i] = true
			}
		}
		for u := int64(0); u < size; u += unit {
			end := min(u+unit, size)
			whole := true
			for i := u; i < end; i++ {
				whole = whole && free[i]
			}
			if whole || d.ChangedIn(u, unit) {
				for i := u; i < end; i++ {
					if free[i] {
						want[i] = 0
					}
				}
			}
			if !m.ChangedIn(u, end-u) && !bytes.Equal(want[u:end], d.below[u:end]) {
				t.Fatalf("round %d: unit at %d changed and is told not to have", round, u)
			}
			if !whole && !d.ChangedIn(u, unit) && m.ChangedIn(u, end-u) {
				t.Fatalf("round %d: unit at %d is told to have changed", round, u)
			}
		}
		c, _ := m.Open()
		for range 20 {
			off := r.Int64N(size)
			p := bytes.Repeat([]byte{0xee}, int(1+r.Int64N(size-off)))
			if n, err := c.ReadAt(p, off); n != len(p) || err != nil && err != io.EOF {
				t.Fatalf("round %d: read of %d at %d: %d, %v", round, len(p), off, n, err)
			}
			if !bytes.Equal(p, want[off:off+int64(len(p))]) {
				t.Fatalf("round %d: wrong bytes in %d at %d", round, len(p), off)
			}
		}
		for off := int64(0); off < size; {
			start, end, err := c.NextData(off)
			if err == io.EOF {
				start, end = size, size
			} else if err != nil || start < off || end <= start || end > size {
				t.Fatalf("round %d: data from %d: %d to %d, %v", round, off, start, end, err)
			}
			if !tree.IsZero(want[off:start]) {
				t.Fatalf("round %d: the hole from %d to %d is none", round, off, start)
			}
			for _, h := range m.holes {
				if start < h.end && end > h.start {
					t.Fatalf("round %d: %d to %d is data, though it is free", round, start, end)
				}
			}
			off = end
		}
	}
}
