package tree

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"
)

var errBad = errors.New("its bytes are wrong")

// holed is a directory with entries that cannot be read.
type holed struct {
	good List
	bad  []BadEntry
}

func (h holed) Children() ([]*Node, error) { return Partial(h.good, h.bad) }

// holedDir makes one; names that begin with '!' are those that cannot be read.
func holedDir(name string, kids ...*Node) *Node {
	var h holed
	for _, k := range kids {
		if bad, ok := strings.CutPrefix(k.Name, "!"); ok {
			h.bad = append(h.bad, BadEntry{bad, errBad})
		} else {
			h.good = append(h.good, k)
		}
	}
	Sort(h.good)
	n := NewDir(name, 0o755)
	n.Dir = h
	return n
}

func badEntry(name string) *Node { return &Node{Name: "!" + name} }

// unlistable is a directory that cannot be listed.
type unlistable struct{}

func (unlistable) Children() ([]*Node, error) { return nil, errBad }

func holedTree() *Node {
	lost := NewDir("lost", 0o755)
	lost.Dir = unlistable{}
	return NewDir("", 0o755,
		holedDir("etc", NewFile("aaa", 0o644, []byte("a")), badEntry("link"), badEntry("more"), NewFile("zzz", 0o644, nil)),
		lost, NewFile("top", 0o644, nil))
}

// TestPartialRefused is the law for all who do not ask: an error that names the
// path, and nothing that could be taken for the whole.
func TestPartialRefused(t *testing.T) {
	root := holedTree()
	etc, _ := root.Child("etc")
	kids, err := etc.Children()
	if kids != nil || !errors.Is(err, errBad) {
		t.Error(kids, err)
	}
	err = Walk(context.Background(), root, func(string, *Node) error { return nil })
	var entry *EntryError
	if !errors.As(err, &entry) || entry.Path != "etc/link" || !errors.Is(err, errBad) ||
		!strings.Contains(err.Error(), "/etc/link (and 1 more ") {
		t.Error(err)
	}
	if err := Compare(context.Background(), root, root, CompareOptions{}, func(Change) error { return nil }); !errors.As(err, &entry) ||
		entry.Path != "etc/link" {
		t.Error(err)
	}
	if err := Manifest(context.Background(), root, ManifestOptions{}, func(Entry) error { return nil }); !errors.As(err, &entry) {
		t.Error(err)
	}
	if n, err := etc.Child("aaa"); n == nil || err != nil {
		t.Error(n, err)
	}
	if n, err := etc.Child("link"); n != nil || err != errBad {
		t.Error(n, err)
	}
	if n, err := etc.Child("none"); n != nil || err != nil {
		t.Error(n, err)
	}
}

// TestPartialShown is the law for those who only look: all else, in order, and
// every path that cannot be read.
func TestPartialShown(t *testing.T) {
	root := holedTree()
	var got []string
	bad := func(path string, err error) error {
		if err != errBad {
			t.Error(path, err)
		}
		got = append(got, "!"+path)
		return nil
	}
	err := WalkReadable(context.Background(), root, func(path string, _ *Node) error {
		got = append(got, path)
		return nil
	}, bad)
	if want := []string{"", "etc", "etc/aaa", "!etc/link", "!etc/more", "etc/zzz", "lost", "!lost", "top"}; err != nil ||
		!reflect.DeepEqual(got, want) {
		t.Errorf("%q, %v", got, err)
	}
	got = nil
	err = Manifest(context.Background(), root, ManifestOptions{Bad: bad}, func(e Entry) error {
		got = append(got, e.Path)
		return nil
	})
	if want := []string{"/", "/etc", "/etc/aaa", "!etc/link", "!etc/more", "/etc/zzz", "/lost", "!lost", "/top"}; err != nil ||
		!reflect.DeepEqual(got, want) {
		t.Errorf("%q, %v", got, err)
	}
	// What one tree cannot read is no change of the other.
	got = nil
	whole := NewDir("", 0o755,
		NewDir("etc", 0o755, NewFile("aaa", 0o644, []byte("b")), NewSymlink("link", "x"), NewFile("new", 0o644, nil),
			NewFile("zzz", 0o644, nil)),
		NewDir("lost", 0o755, NewFile("x", 0o644, nil)), NewFile("top", 0o644, nil))
	err = Compare(context.Background(), root, whole, CompareOptions{Bad: bad}, func(c Change) error {
		got = append(got, c.Path+" "+c.Diff.String())
		return nil
	})
	if want := []string{"!etc/link", "!etc/more", "etc/aaa content", "etc/new only in second", "!lost"}; err != nil ||
		!reflect.DeepEqual(got, want) {
		t.Errorf("%q, %v", got, err)
	}
	stop := errors.New("enough")
	if err := WalkReadable(context.Background(), root, func(string, *Node) error { return nil },
		func(string, error) error { return stop }); err != stop {
		t.Error(err)
	}
}

// TestPartialEdited replaces and removes what cannot be read, and hands the rest
// on.
func TestPartialEdited(t *testing.T) {
	var e Edits
	e.Remove("etc/link")
	e.Put("etc/new", NewFile("", 0o644, nil))
	root, err := e.Apply(holedTree())
	if err != nil {
		t.Fatal(err)
	}
	etc, _ := root.Child("etc")
	good, bad, err := etc.Readable()
	if err != nil || len(good) != 3 || good[1].Name != "new" || len(bad) != 1 || bad[0].Name != "more" {
		t.Error(good, bad, err)
	}
	e.Put("etc/more", NewFile("", 0o644, nil))
	if root, err = e.Apply(holedTree()); err != nil {
		t.Fatal(err)
	}
	etc, _ = root.Child("etc")
	if kids, err := etc.Children(); err != nil || len(kids) != 4 {
		t.Error(kids, err)
	}
}

// TestPartialWrapped does not take the list of another directory for that of the
// one that was asked.
func TestPartialWrapped(t *testing.T) {
	_, err := Partial([]*Node{NewFile("a", 0o644, nil)}, []BadEntry{{"b", errBad}})
	n := NewDir("", 0o755)
	n.Dir = within{errors.Join(err)}
	if good, bad, err := n.Readable(); good != nil || bad != nil || !errors.Is(err, errBad) {
		t.Error(good, bad, err)
	}
}

type within struct{ error }

func (w within) Children() ([]*Node, error) { return nil, w.error }
