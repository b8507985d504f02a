package resize

import (
	"iter"
	"slices"
	"strings"
	"testing"

	"relive/dmmerge"
	"relive/overlay"
	"relive/tree"
)

func extents(pairs ...int64) iter.Seq2[dmmerge.Extent, error] {
	return func(yield func(dmmerge.Extent, error) bool) {
		for p := range slices.Chunk(pairs, 2) {
			if !yield(dmmerge.Extent{Start: p[0], End: p[1]}, nil) {
				return
			}
		}
	}
}

// TestFreeCursor: ascending questions to ascending ranges, of which neighbours
// are one.
func TestFreeCursor(t *testing.T) {
	f := newFreeCursor(extents(10, 20, 20, 40, 50, 60))
	defer f.stop()
	for _, c := range []struct {
		start, end int64
		want       bool
	}{{0, 5, false}, {5, 15, false}, {10, 20, true}, {15, 40, true}, {35, 45, false}, {40, 50, false}, {50, 60, true}, {55, 61, false},
		{70, 80, false}} {
		if got, err := f.holds(c.start, c.end); err != nil || got != c.want {
			t.Errorf("%d to %d: %v %v", c.start, c.end, got, err)
		}
	}
	none := newFreeCursor(nil)
	defer none.stop()
	if got, err := none.holds(0, 1); got || err != nil {
		t.Error(got, err)
	}
}

// TestWithoutUpperHandles: of an index, the marks of the layer's own directories
// go; files, whiteouts and what lies outside stay.
func TestWithoutUpperHandles(t *testing.T) {
	marked := func(n *tree.Node, names ...string) *tree.Node {
		for _, name := range names {
			n.Xattrs = append(n.Xattrs, tree.Xattr{Name: "trusted.overlay." + name, Value: "handle"})
		}
		return n
	}
	index := marked(tree.NewDir("index", 0o755,
		marked(tree.NewDir("00dir", 0o755), "upper"),
		marked(tree.NewFile("00file", 0o644, []byte("x")), "origin", "nlink"),
		&tree.Node{Name: "00gone", Meta: tree.Meta{Type: tree.CharDevice}},
	), "upper", "origin", "other")
	root := tree.NewDir("", 0o755, marked(tree.NewDir("upper", 0o755), "origin", "uuid"),
		tree.NewDir("work", 0o700, index, tree.NewDir("work", 0)))
	got, err := withoutUpperHandles(root, "work", "absent")
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	err = tree.Walk(t.Context(), got, func(path string, n *tree.Node) error {
		for _, x := range n.Xattrs {
			path += " " + strings.TrimPrefix(x.Name, overlay.MarkPrefix)
		}
		list = append(list, path)
		return nil
	})
	want := []string{"", "upper origin uuid", "work", "work/index other", "work/index/00file origin nlink", "work/index/00gone",
		"work/work"}
	if err != nil || !slices.Equal(list, want) {
		t.Errorf("%q %v", list, err)
	}
	if same, err := withoutUpperHandles(got, "work"); err != nil || same != got {
		t.Error("a tree without such marks is changed", err)
	}
}

// TestSizeArg: sizes in hints are ones that the command line takes.
func TestSizeArg(t *testing.T) {
	for n, want := range map[int64]string{1 << 20: "1M", 19 << 20: "19M", 5 << 30: "5120M", 1<<20 + 4096: "1052672"} {
		if got := sizeArg(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
	if roomLeft(1<<20) != 16<<20 || roomLeft(1<<30) != (1<<30)/10 {
		t.Error(roomLeft(1<<20), roomLeft(1<<30))
	}
}
