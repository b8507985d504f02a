package iso

import (
	"errors"
	"testing"

	"relive/tree"
)

// TestBadEntry breaks the attributes of one file, and has the rest of its
// directory.
func TestBadEntry(t *testing.T) {
	p := fixture(t, "rock")
	e := &edit{t: t, p: p, img: memory(t, p)}
	want, err := rootOf(t, e.img).Children()
	if err != nil {
		t.Fatal(err)
	}
	both(e.entry("file", "PX")[4:], 0o170000)
	root := rootOf(t, memory(t, p))
	good, bad, err := root.Readable()
	if err != nil || len(good) != len(want)-1 || len(bad) != 1 || bad[0].Name != "file" || !errors.Is(bad[0].Err, tree.ErrCorrupt) {
		t.Errorf("%d of %d, %v, %v", len(good), len(want), bad, err)
	}
	if kids, err := root.Children(); kids != nil || !errors.Is(err, tree.ErrCorrupt) {
		t.Error(kids, err)
	}
}
