package squash

import (
	"errors"
	"path/filepath"
	"testing"

	"relive/tree"
)

// TestBadEntry breaks the inode of one file at a time, and has the rest of its
// directory.
func TestBadEntry(t *testing.T) {
	tried := 0
	err := tree.Walk(t.Context(), rootOf(t, newPatient(t).r), func(path string, n *tree.Node) error {
		if n.Type == tree.Directory {
			return nil
		}
		tried++
		dir, name := filepath.Split(path)
		at, err := rootOf(t, newPatient(t).r).Lookup(dir)
		if err != nil {
			return err
		}
		want, err := at.Children()
		if err != nil {
			return err
		}
		p := newPatient(t)
		p.put16(p.field(path, 0), 99)
		damaged, err := rootOf(t, openBytes(t, p.b)).Lookup(dir)
		if err != nil {
			return err
		}
		good, bad, err := damaged.Readable()
		// Hard links are names of the same inode.
		if err != nil || len(good)+len(bad) != len(want) || tree.FindBad(bad, name) == nil || tree.Find(good, name) != nil {
			t.Errorf("%s: %d and %d of %d, %v", path, len(good), len(bad), len(want), err)
		}
		if kids, err := damaged.Children(); kids != nil || !errors.Is(err, tree.ErrCorrupt) {
			t.Errorf("%s: %v, %v", path, kids, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if tried == 0 {
		t.Fatal("there is no file")
	}
}
