package fat

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"relive/tree"
)

// TestLoopGuard: every loop is noticed soon, and no chain without one is taken
// for one.
func TestLoopGuard(t *testing.T) {
	for tail := range 40 {
		for loop := 1; loop < 40; loop++ {
			// Clusters 100, 101, ... of which the last is followed by one before.
			length := tail + loop
			g, cluster, steps := loopGuard{at: 100}, 100, 0
			for seen := false; !seen; steps++ {
				if cluster++; cluster == 100+length {
					cluster = 100 + tail
				}
				seen = g.loops(uint32(cluster))
				if seen && steps+1 < loop {
					t.Fatalf("tail %d, loop %d: seen after %d steps", tail, loop, steps)
				}
			}
			if steps > 3*length+3 {
				t.Errorf("tail %d, loop %d: %d steps", tail, loop, steps)
			}
		}
	}
	g := loopGuard{at: 2}
	for c := uint32(3); c < 100000; c++ {
		if g.loops(c) {
			t.Fatal("cluster", c)
		}
	}
}

// TestLoopingDirectory: a small exFAT whose directory goes in a circle does not
// cost what the largest directory would.
func TestLoopingDirectory(t *testing.T) {
	f := newForge(t, "exfat")
	s := f.set("deeper")
	stream := s[entrySize:]
	le.PutUint64(stream[xsLength:], 128<<20)
	le.PutUint64(stream[xsValid:], 128<<20)
	c := le.Uint32(stream[xsFirst:])
	sum(s)
	fillEx(f, c)
	f.next(c, c)
	r := &counter{r: bytes.NewReader(f.img)}
	fs, err := Open(r, int64(len(f.img)), "image")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lookup(t, rootOf(t, fs), "LiveOS/deeper").Children(); !errors.Is(err, tree.ErrCorrupt) {
		t.Error(err)
	}
	if r.bytes > 200<<10 {
		t.Errorf("%d bytes were read", r.bytes)
	}
}

// counter counts what is read.
type counter struct {
	r     io.ReaderAt
	bytes int
}

func (c *counter) ReadAt(p []byte, off int64) (int, error) {
	c.bytes += len(p)
	return c.r.ReadAt(p, off)
}
