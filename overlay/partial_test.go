package overlay

import (
	"errors"
	"testing"

	"relive/tree"
)

var errUnreadable = tree.Corrupt("layer", "an entry", "its bytes are wrong")

type badDir struct {
	good tree.List
	bad  []string
}

func (d badDir) Children() ([]*tree.Node, error) {
	var bad []tree.BadEntry
	for _, name := range d.bad {
		bad = append(bad, tree.BadEntry{Name: name, Err: errUnreadable})
	}
	return tree.Partial(d.good, bad)
}

// TestBadEntries passes on what cannot be read in a layer, unless a layer above
// hides it: by a whiteout, by another file, by an opaque directory.
func TestBadEntries(t *testing.T) {
	file := func(name string) *tree.Node { return tree.NewFile(name, 0o644, []byte(name)) }
	dir := func(name string, bad []string, kids ...*tree.Node) *tree.Node {
		n := tree.NewDir(name, 0o755, kids...)
		n.Dir = badDir{n.Dir.(tree.List), bad}
		return n
	}
	hide := &tree.Node{Name: "hidden", Nlink: 1, Meta: tree.Meta{Type: tree.CharDevice}}
	opaque := tree.NewDir("opaque", 0o755, file("new"))
	opaque.Xattrs = tree.Xattrs{{Name: "trusted.overlay.opaque", Value: "y"}}
	lower := tree.NewDir("", 0o755,
		dir("etc", []string{"bad", "covered", "hidden"}, file("good")),
		dir("opaque", []string{"bad"}), dir("own", []string{"bad"}))
	upper := tree.NewDir("", 0o755,
		dir("etc", []string{"upper"}, file("covered"), hide), opaque)
	m, err := Merge([]Layer{{Root: upper, Namespace: Trusted}, {Root: lower}})
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string][2]string{"etc": {"covered good", "bad upper"}, "opaque": {"new", ""}, "own": {"", "bad"}} {
		n, err := m.Root().Lookup(path)
		if err != nil || n == nil {
			t.Fatal(path, n, err)
		}
		good, bad, err := n.Readable()
		var names [2]string
		for _, k := range good {
			names[0] = spaced(names[0], k.Name)
		}
		for _, b := range bad {
			names[1] = spaced(names[1], b.Name)
			if !errors.Is(b.Err, errUnreadable) {
				t.Error(b)
			}
		}
		if names != want || err != nil {
			t.Errorf("%s: %q, %v, want %q", path, names, err, want)
		}
		if _, err := n.Children(); (err != nil) != (want[1] != "") {
			t.Errorf("%s: %v", path, err)
		}
		for _, b := range bad {
			if k, err := n.Child(b.Name); k != nil || !errors.Is(err, errUnreadable) {
				t.Errorf("%s/%s: %v, %v", path, b.Name, k, err)
			}
		}
	}
	if _, err := m.Report(); err != nil {
		t.Error(err)
	}
	if n, err := m.Root().Lookup("etc/hidden"); n != nil || err != nil {
		t.Error(n, err)
	}
}

func spaced(a, b string) string {
	if a == "" {
		return b
	}
	return a + " " + b
}
