package livetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"

	"relive/codec"
	"relive/remaster/live"
	"relive/remaster/source"
	"relive/squash"
	"relive/tree"
	"relive/tree/hostfs"
	"relive/tree/systest"
)

// OpenTree opens a source with relive's readers, until the end of the test.
func OpenTree(t testing.TB, path, layer string) *tree.Node {
	t.Helper()
	root, c, err := source.Open(context.Background(), Env(t, codec.Auto), path, layer, "")
	systest.Must(t, err)
	t.Cleanup(func() { c.Close() })
	return root
}

// OpenDir opens a directory of the host.
func OpenDir(t testing.TB, path string) *tree.Node {
	t.Helper()
	root, err := hostfs.Open(path)
	systest.Must(t, err)
	return root
}

// ReadFile reads a whole file of a tree.
func ReadFile(t testing.TB, root *tree.Node, path string) string {
	t.Helper()
	n, err := root.Lookup(path)
	systest.Must(t, err)
	if n == nil {
		t.Fatalf("there is no %s", path)
	}
	b, err := tree.ReadAll(n, 64<<20)
	systest.Must(t, err)
	return string(b)
}

// Copied is a tree of what a directory holds now, but for lost+found.
func Copied(t testing.TB, dir string) *tree.Node {
	t.Helper()
	to := systest.TempDir(t)
	systest.Run(t, "cp", "-a", dir+"/.", to+"/")
	return Without(t, OpenDir(t, to), "lost+found")
}

// Without takes paths out of a tree.
func Without(t testing.TB, root *tree.Node, paths ...string) *tree.Node {
	t.Helper()
	var e tree.Edits
	for _, p := range paths {
		e.Remove(p)
	}
	out, err := e.Apply(root)
	systest.Must(t, err)
	return out
}

// Stamps are the files that a compaction is to change or drop.
var Stamps = []string{"etc/live/version/linuxfs.ver", "etc/live/version/rootfs.ver", "etc/live/protect/remaster"}

// SameTree fails the test for each difference, but for what SquashFS cannot
// hold.
func SameTree(t testing.TB, nameA, nameB string, a, b *tree.Node) {
	t.Helper()
	Same(t, nameA, nameB, a, b, tree.CompareOptions{WholeSeconds: true, Links: true,
		IgnoreXattr: func(name string) bool { return !squash.HoldsXattr(name) }})
}

// Exactly fails the test for each difference of two trees.
func Exactly(t testing.TB, nameA, nameB string, a, b *tree.Node) {
	t.Helper()
	Same(t, nameA, nameB, a, b, tree.CompareOptions{Links: true})
}

// Same fails the test for each difference of two trees that the options count.
func Same(t testing.TB, nameA, nameB string, a, b *tree.Node, o tree.CompareOptions) {
	t.Helper()
	n := 0
	err := tree.Compare(t.Context(), a, b, o, func(c tree.Change) error {
		if n++; n > 20 {
			return errors.New("more differences")
		}
		t.Errorf("%s: %s (first is %s, second is %s)\n\t%s\n\t%s", tree.Quote(c.Path), c.Diff, nameA, nameB, show(c.A), show(c.B))
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func show(n *tree.Node) string {
	if n == nil {
		return "-"
	}
	return fmt.Sprintf("%v %o %d:%d %v %v size %d %q %q inode %d nlink %d", n.Type, n.Perm, n.UID, n.GID, n.Mtime, n.Rdev, n.Size, n.Target,
		n.Xattrs, n.Inode.Number, n.Nlink)
}

// WithoutTimes takes the times of directories, and what a boot or a compaction
// stamps, out of a tree.
func WithoutTimes(t testing.TB, root *tree.Node) *tree.Node {
	t.Helper()
	n := Without(t, root, append([]string{"lost+found"}, Stamps...)...)
	return &tree.Node{Meta: Untimed(n).Meta, Xattrs: n.Xattrs, Dir: untimedDir{n}}
}

// Untimed is a node without the times of directories.
func Untimed(n *tree.Node) *tree.Node {
	c := *n
	if n.Type == tree.Directory {
		c.Mtime, c.Dir, c.Inode = tree.Time{}, untimedDir{n}, tree.Inode{}
	}
	return &c
}

type untimedDir struct{ n *tree.Node }

func (d untimedDir) Children() ([]*tree.Node, error) {
	kids, err := d.n.Children()
	out := make([]*tree.Node, 0, len(kids))
	for _, k := range kids {
		out = append(out, Untimed(k))
	}
	return out, err
}

// Shown is what a boot of a directory shows, as text.
func Shown(t testing.TB, dir string) string {
	t.Helper()
	l, err := live.Open(t.Context(), Env(t, codec.Auto), dir)
	if err != nil {
		t.Errorf("it does not open: %v", err)
		return ""
	}
	defer l.Close()
	vids, err := l.VIDs()
	systest.Must(t, err)
	root := l.Merged
	if !vids.State.Used() {
		root = l.Base.Root
	}
	return ManifestText(t, root)
}

// ManifestText is the manifest of a tree, without what a boot leaves.
func ManifestText(t testing.TB, root *tree.Node) string {
	t.Helper()
	var b bytes.Buffer
	top := *Without(t, root, "etc/live/version/rootfs.ver", "lost+found")
	top.Mtime, top.Xattrs = tree.Time{}, nil // those of an empty upper directory show
	systest.Must(t, tree.WriteManifest(t.Context(), &b, &top, tree.ManifestOptions{}))
	return b.String()
}
