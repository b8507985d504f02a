package remaster_test

import (
	"context"
	"fmt"
	"os"
	"testing"

	"relive/extfs/mkfs"
	"relive/remaster/live"
	"relive/squash"
	"relive/squash/codec"
	"relive/tree"
	"relive/tree/systest"
)

// dir and file make nodes with a time, so that no test depends on now.
func dir(name string, kids ...*tree.Node) *tree.Node {
	d := tree.NewDir(name, 0o755, kids...)
	d.Mtime = tree.Time{Sec: 1_600_000_000}
	return d
}

func file(name string, content []byte) *tree.Node {
	f := tree.NewFile(name, 0o644, content)
	f.Mtime = tree.Time{Sec: 1_600_000_001}
	return f
}

// etc makes etc with a version file in it.
func etc(name string, more ...*tree.Node) *tree.Node {
	return dir("etc", append(more, dir("live", dir("version", file(name, []byte(versionText)))))...)
}

// likeMksquashfs are the options of an image as mksquashfs makes it.
func likeMksquashfs(id codec.ID, blockSize int) squash.WriteOptions {
	return squash.WriteOptions{Codec: codec.DefaultOptions(id, blockSize), BlockSize: blockSize,
		Flags: squash.FlagDuplicates | squash.FlagExportable, MkfsTime: 1_650_000_000}
}

// craft makes a live directory from trees, with our own writers and without
// root: base is a whole system, root all of rootfs.
func craft(t testing.TB, base, root *tree.Node, o squash.WriteOptions) *frugal {
	t.Helper()
	l := &frugal{t: t, dir: systest.TempDir(t)}
	writeSquash(t, l.path("linuxfs"), base, o)
	if root != nil {
		buildRootfs(t, l.path("rootfs"), root)
	}
	return l
}

func buildRootfs(t testing.TB, path string, root *tree.Node) {
	t.Helper()
	f, err := os.Create(path)
	systest.Must(t, err)
	defer f.Close()
	_, err = mkfs.Build(context.Background(), f, root, mkfs.Options{Size: 16 << 20, Label: "rootfs"})
	systest.Must(t, err)
}

// overlaid is the tree of a rootfs in overlayfs's form.
func overlaid(kids ...*tree.Node) *tree.Node {
	return dir("", merging(dir("upper", kids...)), dir("work"))
}

// merging gives the directories of a layer the mark that the kernel gives to
// those that it merges with one below. It is empty where the file system below
// has no file handles.
func merging(n *tree.Node) *tree.Node {
	if n.Type == tree.Directory {
		n.Xattrs = append(tree.Xattrs{{Name: "trusted.overlay.origin"}}, n.Xattrs...)
		for _, k := range n.Dir.(tree.List) {
			merging(k)
		}
	}
	return n
}

// whiteout is what overlayfs marks a deletion with.
func whiteout(name string) *tree.Node {
	return &tree.Node{Name: name, Nlink: 1, Meta: tree.Meta{Type: tree.CharDevice, Mtime: tree.Time{Sec: 1_600_000_002}}}
}

// with gives a node other attributes.
func with(n *tree.Node, fn func(*tree.Node)) *tree.Node {
	fn(n)
	return n
}

// TestAufs: a rootfs from the days of aufs folds as aufs would have shown it.
func TestAufs(t *testing.T) {
	t.Parallel()
	mark := func(name string) *tree.Node {
		return with(file(name, nil), func(n *tree.Node) { n.Perm = 0o444 })
	}
	private := func(name string) *tree.Node { return with(dir(name), func(n *tree.Node) { n.Perm = 0o700 }) }
	base := func() *tree.Node {
		return dir("", etc("linuxfs.ver", file("passwd", []byte("root\n")), file("gone", []byte("x"))),
			dir("opt", dir("again", file("old", text(1, 5000)), dir("deep", file("f", nil))), dir("kept", file("a", text(2, 3000)), file("b", []byte("b")))),
			dir("usr", file("tool", text(3, 200_000)), file("typed", []byte("a file"))))
	}
	root := dir("",
		mark(".wh..wh.aufs"), private(".wh..wh.plnk"), private(".wh..wh.orph"), private("lost+found"),
		etc("rootfs.ver", mark(".wh.gone"), file("new", []byte("new\n"))),
		dir("opt",
			dir("again", mark(".wh..wh..opq"), file("fresh", []byte("fresh\n"))),
			dir("kept", mark(".wh.a"))),
		dir("usr", with(file("tool", text(3, 200_000)), func(n *tree.Node) { n.Perm = 0o755 }),
			dir("typed", file("inside", nil))))
	want := dir("",
		dir("etc", file("new", []byte("new\n")), file("passwd", []byte("root\n")), dir("live", dir("version"))),
		dir("opt", dir("again", file("fresh", []byte("fresh\n"))), dir("kept", file("b", []byte("b")))),
		dir("usr", with(file("tool", text(3, 200_000)), func(n *tree.Node) { n.Perm = 0o755 }), dir("typed", file("inside", nil))))

	l := craft(t, base(), root, likeMksquashfs(codec.Gzip, 128<<10))
	s := l.status()
	if s.Overlay.Form != "aufs" || s.Overlay.VIDState != live.VIDMatch {
		t.Errorf("form %s, version ids: %s", s.Overlay.Form, s.Overlay.VIDState)
	}
	res := l.compact(keepOne())
	if res.Plan.Compress > 2000 {
		t.Errorf("%d bytes to compress, where a chmod and a few small files are new", res.Plan.Compress)
	}
	got := openTree(t, l.path("linuxfs"), "")
	sameTree(t, "by hand", "compacted", want, without(t, got, stamps...))
	systest.Fsck(t, l.path("rootfs"))

	// The new rootfs keeps the form, and changes nothing.
	s = l.status()
	if s.Overlay.Form != "aufs" || s.Overlay.Changes.Sum() != 0 || s.Overlay.VIDState != live.VIDMatch {
		t.Errorf("afterwards: form %s, %+v, version ids: %s", s.Overlay.Form, s.Overlay.Changes, s.Overlay.VIDState)
	}
	sameTree(t, "new base", "new base and new rootfs", without(t, got, stamps...), without(t, openTree(t, l.dir, ""), stamps...))
}

// TestNoRootfs: without an overlay there is nothing to fold, but the base can
// be rebuilt.
func TestNoRootfs(t *testing.T) {
	t.Parallel()
	l := craft(t, dir("", etc("linuxfs.ver"), dir("usr", file("f", text(1, 300_000)))), nil, likeMksquashfs(codec.Gzip, 128<<10))
	if res := l.compact(keepOne()); !res.Plan.NothingToDo || res.Plan.Nothing != "there is no overlay" || l.names() != "linuxfs" {
		t.Errorf("of nothing to fold in: %+v; the directory holds %s", res.Plan, l.names())
	}
	o := keepOne()
	id := codec.Zstd
	o.Codec = &id
	l.compact(o)
	if got := l.names(); got != "linuxfs linuxfs.info linuxfs.md5 linuxfs.old" {
		t.Errorf("the directory holds %s", got)
	}
	sameTree(t, "old", "new", without(t, openTree(t, l.path("linuxfs.old"), ""), stamps...), without(t, openTree(t, l.path("linuxfs"), ""), stamps...))
}

// TestNeverBooted: a rootfs that nothing has written to yet.
func TestNeverBooted(t *testing.T) {
	t.Parallel()
	base := dir("", etc("linuxfs.ver"), dir("usr", file("f", text(1, 300_000))))
	for name, root := range map[string]*tree.Node{"bare": dir(""), "upper and work": overlaid(), "stamped": overlaid(etc("rootfs.ver"))} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := craft(t, base, root, likeMksquashfs(codec.Gzip, 128<<10))
			if s := l.status(); s.Overlay.Changes.Sum() != 0 || !s.Overlay.VIDState.Used() {
				t.Errorf("status: %+v, version ids: %s", s.Overlay.Changes, s.Overlay.VIDState)
			}
			before := hashes(t, l.dir)
			if res := l.compact(keepOne()); !res.Plan.NothingToDo || hashes(t, l.dir) != before {
				t.Errorf("of nothing to fold in: %+v", res.Plan)
			}
			o := keepOne()
			o.BlockSize = 64 << 10
			l.compact(o)
			sameTree(t, "old", "new", without(t, openTree(t, l.path("linuxfs.old"), ""), stamps...), without(t, openTree(t, l.path("linuxfs"), ""), stamps...))
			if s := l.status(); s.Overlay.Changes.Sum() != 0 || s.Overlay.VIDState != live.VIDMatch {
				t.Errorf("afterwards: %+v, version ids: %s", s.Overlay.Changes, s.Overlay.VIDState)
			}
			sameTree(t, "new base", "new base and new rootfs", openTree(t, l.path("linuxfs"), ""), without(t, openTree(t, l.dir, ""), stamps[1]))
		})
	}
}

// TestWayToStamp: the directories that lead to the version file of the new
// rootfs show, so they have the metadata of the base's.
func TestWayToStamp(t *testing.T) {
	t.Parallel()
	own := with(etc("linuxfs.ver"), func(n *tree.Node) {
		n.Perm, n.UID, n.GID = 0o2751, 5, 70_000
		n.Xattrs = tree.Xattrs{{Name: "user.note", Value: "kept"}}
		live := n.Dir.(tree.List)[0]
		live.Perm, live.Mtime = 0o700, tree.Time{Sec: 1_500_000_000}
	})
	base := dir("", own, dir("usr", file("f", text(1, 300_000))))
	base.Perm = 0o711
	l := craft(t, base, dir(""), likeMksquashfs(codec.Gzip, 128<<10))
	o := keepOne()
	o.BlockSize = 64 << 10 // or there would be nothing to do
	l.compact(o)
	want := without(t, openTree(t, l.path("linuxfs.old"), ""), stamps...)
	sameTree(t, "old base", "new base", want, without(t, openTree(t, l.path("linuxfs"), ""), stamps...))
	sameTree(t, "old base", "new base and new rootfs", want, without(t, openTree(t, l.dir, ""), stamps...))
	if s := l.status(); s.Overlay.Changes.Sum() != 0 {
		t.Errorf("the new rootfs changes something: %+v", s.Overlay.Changes)
	}
}

// manyFiles makes small files that share fragment blocks.
func manyFiles(n int) (out []*tree.Node) {
	for i := range n {
		out = append(out, file(fmt.Sprintf("small%03d", i), text(uint64(i)+1000, 2000)))
	}
	return out
}
