package compact_test

import (
	"testing"

	"relive/codec"
	"relive/remaster/live"
	"relive/remaster/livetest"
	"relive/tree"
	"relive/tree/systest"
)

// TestAufs: a rootfs from the days of aufs folds as aufs would have shown it.
func TestAufs(t *testing.T) {
	t.Parallel()
	mark := func(name string) *tree.Node {
		return livetest.With(livetest.File(name, nil), func(n *tree.Node) { n.Perm = 0o444 })
	}
	private := func(name string) *tree.Node {
		return livetest.With(livetest.Dir(name), func(n *tree.Node) { n.Perm = 0o700 })
	}
	base := func() *tree.Node {
		return livetest.Dir("", livetest.Etc("linuxfs.ver", livetest.File("passwd", []byte("root\n")), livetest.File("gone", []byte("x"))),
			livetest.Dir("opt", livetest.Dir("again", livetest.File("old", livetest.Text(1, 5000)),
				livetest.Dir("deep", livetest.File("f", nil))), livetest.Dir("kept", livetest.File("a", livetest.Text(2, 3000)),
				livetest.File("b", []byte("b")))),
			livetest.Dir("usr", livetest.File("tool", livetest.Text(3, 200_000)), livetest.File("typed", []byte("a file"))))
	}
	root := livetest.Dir("",
		mark(".wh..wh.aufs"), private(".wh..wh.plnk"), private(".wh..wh.orph"), private("lost+found"),
		livetest.Etc("rootfs.ver", mark(".wh.gone"), livetest.File("new", []byte("new\n"))),
		livetest.Dir("opt",
			livetest.Dir("again", mark(".wh..wh..opq"), livetest.File("fresh", []byte("fresh\n"))),
			livetest.Dir("kept", mark(".wh.a"))),
		livetest.Dir("usr", livetest.With(livetest.File("tool", livetest.Text(3, 200_000)), func(n *tree.Node) { n.Perm = 0o755 }),
			livetest.Dir("typed", livetest.File("inside", nil))))
	want := livetest.Dir("",
		livetest.Dir("etc", livetest.File("new", []byte("new\n")), livetest.File("passwd", []byte("root\n")),
			livetest.Dir("live", livetest.Dir("version"))),
		livetest.Dir("opt", livetest.Dir("again", livetest.File("fresh", []byte("fresh\n"))),
			livetest.Dir("kept", livetest.File("b", []byte("b")))),
		livetest.Dir("usr", livetest.With(livetest.File("tool", livetest.Text(3, 200_000)), func(n *tree.Node) { n.Perm = 0o755 }),
			livetest.Dir("typed", livetest.File("inside", nil))))

	l := livetest.Craft(t, base(), root, livetest.LikeMksquashfs(codec.Gzip, 128<<10))
	s := l.Status()
	if s.Overlay.Form != "aufs" || s.Overlay.VIDState != live.VIDMatch {
		t.Errorf("form %s, version ids: %s", s.Overlay.Form, s.Overlay.VIDState)
	}
	res := l.Compact(livetest.KeepOne())
	if res.Plan.Compress > 2000 {
		t.Errorf("%d bytes to compress, where a chmod and a few small files are new", res.Plan.Compress)
	}
	got := livetest.OpenTree(t, l.Path("linuxfs"), "")
	livetest.SameTree(t, "by hand", "compacted", want, livetest.Without(t, got, livetest.Stamps...))
	systest.Fsck(t, l.Path("rootfs"))

	// The new rootfs keeps the form, and changes nothing.
	s = l.Status()
	if s.Overlay.Form != "aufs" || s.Overlay.Changes.Sum() != 0 || s.Overlay.VIDState != live.VIDMatch {
		t.Errorf("afterwards: form %s, %+v, version ids: %s", s.Overlay.Form, s.Overlay.Changes, s.Overlay.VIDState)
	}
	livetest.SameTree(t, "new base", "new base and new rootfs", livetest.Without(t, got, livetest.Stamps...),
		livetest.Without(t, livetest.OpenTree(t, l.Dir, ""), livetest.Stamps...))
}

// TestNoRootfs: without an overlay there is nothing to fold, but the base can
// be rebuilt.
func TestNoRootfs(t *testing.T) {
	t.Parallel()
	l := livetest.Craft(t, livetest.Dir("", livetest.Etc("linuxfs.ver"),
		livetest.Dir("usr", livetest.File("f", livetest.Text(1, 300_000)))), nil, livetest.LikeMksquashfs(codec.Gzip, 128<<10))
	if res := l.Compact(livetest.KeepOne()); !res.Plan.NothingToDo || res.Plan.Nothing != "there is no overlay" || l.Names() != "linuxfs" {
		t.Errorf("of nothing to fold in: %+v; the directory holds %s", res.Plan, l.Names())
	}
	o := livetest.KeepOne()
	o.Codec = codec.Zstd.String()
	l.Compact(o)
	if got := l.Names(); got != "linuxfs linuxfs.info linuxfs.md5 linuxfs.old" {
		t.Errorf("the directory holds %s", got)
	}
	livetest.SameTree(t, "old", "new", livetest.Without(t, livetest.OpenTree(t, l.Path("linuxfs.old"), ""), livetest.Stamps...),
		livetest.Without(t, livetest.OpenTree(t, l.Path("linuxfs"), ""), livetest.Stamps...))
}

// TestNeverBooted: a rootfs that nothing has written to yet.
func TestNeverBooted(t *testing.T) {
	t.Parallel()
	base := livetest.Dir("", livetest.Etc("linuxfs.ver"), livetest.Dir("usr", livetest.File("f", livetest.Text(1, 300_000))))
	for name, root := range map[string]*tree.Node{"bare": livetest.Dir(""), "upper and work": livetest.Overlaid(),
		"stamped": livetest.Overlaid(livetest.Etc("rootfs.ver"))} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := livetest.Craft(t, base, root, livetest.LikeMksquashfs(codec.Gzip, 128<<10))
			if s := l.Status(); s.Overlay.Changes.Sum() != 0 || !s.Overlay.VIDState.Used() {
				t.Errorf("status: %+v, version ids: %s", s.Overlay.Changes, s.Overlay.VIDState)
			}
			before := livetest.Hashes(t, l.Dir)
			if res := l.Compact(livetest.KeepOne()); !res.Plan.NothingToDo || livetest.Hashes(t, l.Dir) != before {
				t.Errorf("of nothing to fold in: %+v", res.Plan)
			}
			o := livetest.KeepOne()
			o.BlockSize = 64 << 10
			l.Compact(o)
			livetest.SameTree(t, "old", "new", livetest.Without(t, livetest.OpenTree(t, l.Path("linuxfs.old"), ""), livetest.Stamps...),
				livetest.Without(t, livetest.OpenTree(t, l.Path("linuxfs"), ""), livetest.Stamps...))
			if s := l.Status(); s.Overlay.Changes.Sum() != 0 || s.Overlay.VIDState != live.VIDMatch {
				t.Errorf("afterwards: %+v, version ids: %s", s.Overlay.Changes, s.Overlay.VIDState)
			}
			livetest.SameTree(t, "new base", "new base and new rootfs", livetest.OpenTree(t, l.Path("linuxfs"), ""),
				livetest.Without(t, livetest.OpenTree(t, l.Dir, ""), livetest.Stamps[1]))
		})
	}
}

// TestWayToStamp: the directories that lead to the version file of the new
// rootfs show, so they have the metadata of the base's.
func TestWayToStamp(t *testing.T) {
	t.Parallel()
	own := livetest.With(livetest.Etc("linuxfs.ver"), func(n *tree.Node) {
		n.Perm, n.UID, n.GID = 0o2751, 5, 70_000
		n.Xattrs = tree.Xattrs{{Name: "user.note", Value: "kept"}}
		live := n.Dir.(tree.List)[0]
		live.Perm, live.Mtime = 0o700, tree.Time{Sec: 1_500_000_000}
	})
	base := livetest.Dir("", own, livetest.Dir("usr", livetest.File("f", livetest.Text(1, 300_000))))
	base.Perm = 0o711
	l := livetest.Craft(t, base, livetest.Dir(""), livetest.LikeMksquashfs(codec.Gzip, 128<<10))
	o := livetest.KeepOne()
	o.BlockSize = 64 << 10 // or there would be nothing to do
	l.Compact(o)
	want := livetest.Without(t, livetest.OpenTree(t, l.Path("linuxfs.old"), ""), livetest.Stamps...)
	livetest.SameTree(t, "old base", "new base", want, livetest.Without(t, livetest.OpenTree(t, l.Path("linuxfs"), ""), livetest.Stamps...))
	livetest.SameTree(t, "old base", "new base and new rootfs", want, livetest.Without(t, livetest.OpenTree(t, l.Dir, ""),
		livetest.Stamps...))
	if s := l.Status(); s.Overlay.Changes.Sum() != 0 {
		t.Errorf("the new rootfs changes something: %+v", s.Overlay.Changes)
	}
}
