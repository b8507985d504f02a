package rebase_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"relive/codec"
	"relive/remaster/compact"
	"relive/remaster/live"
	"relive/remaster/livetest"
	"relive/remaster/rebase"
	"relive/remaster/refusal"
	"relive/remaster/rollback"
	"relive/remaster/sets"
	"relive/remaster/source"
	"relive/tree"
	"relive/tree/systest"
)

// TestRestampTruth: two sets are written by the kernel, and one is folded into
// the base. The other, restamped, shows to the kernel what it showed before with
// what was done in the first.
func TestRestampTruth(t *testing.T) {
	livetest.NeedKernel(t)
	t.Parallel()
	d := systest.TempDir(t)
	livetest.SmallSystem(t, d)
	for _, name := range []string{"opt/both/one", "opt/both/two", "srv/replaced/a", "srv/shut/a", "srv/shut/b", "srv/emptied/a"} {
		livetest.Write(t, d+"/"+name, livetest.Text(31, 800), 0o644)
	}
	livetest.Settle(t, d)
	l := &livetest.Live{T: t, Dir: systest.TempDir(t)}
	systest.Run(t, "mksquashfs", d, l.Path("linuxfs"), "-noappend", "-quiet", "-no-progress", "-comp", "gzip")
	l.Mkfs("-t", "ext4")
	base := func(mnt string) {
		livetest.UseSmall(t, mnt)
		livetest.Write(t, mnt+"/opt/both/one", []byte("by the base"), 0o640)
		systest.Must(t, os.RemoveAll(mnt+"/srv/replaced"))
		livetest.Write(t, mnt+"/srv/replaced", []byte("a file now"), 0o644)
		for _, name := range []string{"/etc/new", "/etc/hostname", "/usr/share/deep/a/again", "/opt/both/one", "/srv/replaced"} {
			systest.Run(t, "touch", "-d", "@1700000000", mnt+name)
		}
	}
	set := func(mnt string) {
		livetest.Write(t, mnt+"/opt/both/two", []byte("by the set"), 0o600)
		livetest.Write(t, mnt+"/etc/of-the-set", []byte("x"), 0o600)
		systest.Must(t, os.Link(mnt+"/etc/of-the-set", mnt+"/opt/linked"))
		systest.Must(t, os.RemoveAll(mnt+"/srv/shut"))
		livetest.Write(t, mnt+"/srv/shut/new", []byte("alone"), 0o644)
		systest.Must(t, os.Remove(mnt+"/srv/emptied/a"))
		livetest.Write(t, mnt+"/usr/share/new/deep/file", livetest.Text(5, 900), 0o644)
		systest.Must(t, os.Remove(mnt+"/var/lib/dpkg/status"))
	}
	l.Boot(false, func(string) {}) // stamps it
	e := livetest.Env(t, codec.Auto)
	p, err := sets.Clone(t.Context(), e, l.Dir, "work", "")
	systest.Must(t, err)
	systest.Must(t, p.Run(t.Context()))
	l.Boot(false, base)
	work := &livetest.Live{T: t, Dir: systest.TempDir(t)}
	systest.CopyFile(t, l.Path("linuxfs"), work.Path("linuxfs"))
	systest.Must(t, os.Rename(l.Path("work/rootfs"), work.Path("rootfs")))
	work.Boot(false, set)
	expected := systest.TempDir(t)
	systest.Run(t, "cp", "-a", work.View()+"/.", expected)
	base(expected)
	systest.Must(t, os.Rename(work.Path("rootfs"), l.Path("work/rootfs")))

	res := l.Compact(livetest.KeepOne())
	if !livetest.HasWarning(res.Warnings, "the rootfs of the set work was written over the present linuxfs") {
		t.Errorf("no warning of the other set: %q", res.Warnings)
	}
	if s := l.Status(); !livetest.HasWarning(s.Warnings, "a boot ignores the rootfs of the set work") {
		t.Errorf("status: no warning of the other set: %q", s.Warnings)
	}
	systest.Must(t, livetest.Restamp(t, e, l.Dir, "work"))
	systest.Fsck(t, l.Path("work/rootfs"))
	if !livetest.Has(l.Path("work/rootfs.old")) {
		t.Error("the former rootfs is not kept")
	}
	systest.Must(t, os.Remove(work.Path("linuxfs")))
	systest.CopyFile(t, l.Path("linuxfs"), work.Path("linuxfs"))
	systest.CopyFile(t, l.Path("work/rootfs"), work.Path("rootfs"))
	got := work.View()
	livetest.SameTree(t, "by hand", "the kernel", livetest.WithoutTimes(t, livetest.OpenDir(t, expected)),
		livetest.WithoutTimes(t, livetest.OpenDir(t, got)))
	one, err := os.ReadFile(got + "/etc/live/version/rootfs.ver")
	systest.Must(t, err)
	two, err := os.ReadFile(got + "/etc/live/version/linuxfs.ver")
	systest.Must(t, err)
	if string(one) != string(two) {
		t.Errorf("the version ids differ: %s, %s", one, two)
	}

	// The same system, compacted with the set, and all the way back.
	opened, err := live.Open(t.Context(), e, l.Dir, live.WithSet("work"))
	systest.Must(t, err)
	want := livetest.WithoutTimes(t, livetest.OpenTree(t, work.Dir, ""))
	plan, err := compact.New(t.Context(), e, opened, livetest.KeepOne())
	systest.Must(t, err)
	_, err = plan.Run(t.Context())
	systest.Must(t, errors.Join(err, opened.Close()))
	livetest.SameTree(t, "base and set", "compacted", want, livetest.WithoutTimes(t, livetest.OpenTree(t, l.Path("linuxfs"), "")))
	back, err := rollback.New(t.Context(), e, l.Dir, live.WithSet("work"))
	systest.Must(t, err)
	systest.Must(t, back.Run(t.Context()))
	livetest.SameTree(t, "before", "rolled back", want, livetest.WithoutTimes(t, setTree(t, l.Dir, "work")))
}

func setTree(t testing.TB, dir, set string) *tree.Node {
	t.Helper()
	root, c, err := source.Open(t.Context(), livetest.Env(t, codec.Auto), dir, "", "", live.WithSet(set))
	systest.Must(t, err)
	t.Cleanup(func() { c.Close() })
	return root
}

// TestRestampKeeps: a former rootfs goes on to the next name while its base is
// there, and goes with it.
func TestRestampKeeps(t *testing.T) {
	t.Parallel()
	f := func(name, content string) *tree.Node { return livetest.File(name, []byte(content)) }
	d := livetest.RestampDir(t, livetest.Dir("", livetest.Dir("etc")), livetest.Dir("", livetest.Dir("etc"), f("a", "1")),
		livetest.Merging(livetest.Dir("", livetest.Dir("etc"), f("b", "2"))))
	systest.CopyFile(t, d+"/work/rootfs", d+"/work/rootfs.old") // over linuxfs.old
	const gone = "==== 55555555555555555555555555555555"
	livetest.BuildRootfs(t, d+"/work/rootfs.old.2",
		livetest.Dir("", livetest.Dir("upper",
			livetest.Dir("etc", livetest.Dir("live", livetest.Dir("version", f("rootfs.ver", gone+"\n"))))), livetest.Dir("work")))
	before := livetest.Sums(t, d)
	systest.Must(t, livetest.Restamp(t, livetest.Env(t, codec.Auto), d, "work"))
	after := livetest.Sums(t, d)
	if after["work/rootfs.old"] != before["work/rootfs"] || after["work/rootfs.old.2"] != before["work/rootfs.old"] ||
		after["work/rootfs.old.3"] != "" {
		t.Errorf("before\n%v\nafter\n%v", before, after)
	}
}

// TestRestampConflicts: what both have changed is told, and refused.
func TestRestampConflicts(t *testing.T) {
	t.Parallel()
	f := func(name, content string) *tree.Node { return livetest.File(name, []byte(content)) }
	opaque := func(n *tree.Node) *tree.Node {
		return livetest.With(n, func(n *tree.Node) { n.Xattrs = tree.Xattrs{{Name: "trusted.overlay.opaque", Value: "y"}} })
	}
	mode := func(n *tree.Node, m uint16) *tree.Node { return livetest.With(n, func(n *tree.Node) { n.Perm = m }) }
	later := func(n *tree.Node) *tree.Node { return livetest.With(n, func(n *tree.Node) { n.Mtime.Sec += 10 }) }
	for name, c := range map[string]struct {
		was, is, upper []*tree.Node
		want           string // "" where it applies
	}{
		"nothing below":          {nil, []*tree.Node{f("a", "1")}, []*tree.Node{f("b", "2")}, ""},
		"unchanged below a file": {[]*tree.Node{f("a", "1")}, []*tree.Node{f("a", "1"), f("b", "1")}, []*tree.Node{f("a", "2")}, ""},
		"changed below a file": {[]*tree.Node{f("a", "1")}, []*tree.Node{f("a", "3")}, []*tree.Node{f("a", "2")},
			"a: changed: content, changed: content"},
		"touched below a file": {[]*tree.Node{f("a", "1")}, []*tree.Node{later(f("a", "1"))}, []*tree.Node{f("a", "2")}, ""},
		"the same change":      {[]*tree.Node{f("a", "1")}, []*tree.Node{f("a", "2")}, []*tree.Node{f("a", "2")}, ""},
		"changed below a copy": {[]*tree.Node{f("a", "1")}, []*tree.Node{f("a", "3")}, []*tree.Node{f("a", "1")}, ""},
		"deleted below a file": {[]*tree.Node{f("a", "1")}, nil, []*tree.Node{f("a", "2")}, "a: changed: content, deleted"},
		"added by both":        {nil, []*tree.Node{f("a", "1")}, []*tree.Node{f("a", "2")}, "a: added, added"},
		"changed below a deletion": {[]*tree.Node{f("a", "1")}, []*tree.Node{f("a", "2")}, []*tree.Node{livetest.Whiteout("a")},
			"a: deleted, changed: content"},
		"deleted by both":            {[]*tree.Node{f("a", "1")}, nil, []*tree.Node{livetest.Whiteout("a")}, ""},
		"unchanged below a deletion": {[]*tree.Node{f("a", "1")}, []*tree.Node{f("a", "1")}, []*tree.Node{livetest.Whiteout("a")}, ""},
		"changed below a deleted directory": {[]*tree.Node{livetest.Dir("d", f("a", "1"))}, []*tree.Node{livetest.Dir("d", f("a", "2"))},
			[]*tree.Node{livetest.Whiteout("d")},
			"d: deleted, changed below"},
		"changed in a directory of both": {[]*tree.Node{livetest.Dir("d", f("a", "1"), f("b", "1"))},
			[]*tree.Node{later(livetest.Dir("d", f("a", "2"), f("b", "1"), f("c", "1")))},
			[]*tree.Node{livetest.Dir("d", f("b", "3"), f("e", "1"))}, ""},
		"added below an opaque directory": {[]*tree.Node{livetest.Dir("d", f("a", "1"))},
			[]*tree.Node{livetest.Dir("d", f("a", "1"), f("b", "1"))},
			[]*tree.Node{opaque(livetest.Dir("d", f("c", "3")))}, ""},
		"unchanged below an opaque directory": {[]*tree.Node{livetest.Dir("d", f("a", "1"))}, []*tree.Node{livetest.Dir("d", f("a", "1"))},
			[]*tree.Node{opaque(livetest.Dir("d", f("c", "3")))}, ""},
		"mode of a directory": {[]*tree.Node{livetest.Dir("d", f("a", "1"))}, []*tree.Node{mode(livetest.Dir("d", f("a", "1")), 0o700)},
			[]*tree.Node{livetest.Dir("d", f("b", "3"))},
			""},
		"the same mode of a directory": {[]*tree.Node{livetest.Dir("d", f("a", "1"))},
			[]*tree.Node{mode(livetest.Dir("d", f("a", "1")), 0o700)},
			[]*tree.Node{mode(livetest.Dir("d", f("b", "3")), 0o700)}, ""},
		"modes of a directory": {[]*tree.Node{livetest.Dir("d", f("a", "1"))}, []*tree.Node{mode(livetest.Dir("d", f("a", "1")), 0o700)},
			[]*tree.Node{mode(livetest.Dir("d", f("b", "3")), 0o750)},
			"d: changed: mode, changed: mode"},
		"a directory deleted": {[]*tree.Node{livetest.Dir("d", f("a", "1"))}, nil, []*tree.Node{livetest.Dir("d", f("b", "3"))}, ""},
		"a directory made a file": {[]*tree.Node{livetest.Dir("d", f("a", "1"))}, []*tree.Node{f("d", "x")},
			[]*tree.Node{livetest.Dir("d", f("b", "3"))},
			"d: changed below, made a file"},
		"a file made a directory": {[]*tree.Node{f("d", "1")}, []*tree.Node{f("d", "1")},
			[]*tree.Node{opaque(livetest.Dir("d", f("b", "3")))}, ""},
		"several": {[]*tree.Node{f("a", "1"), f("b", "1")}, []*tree.Node{f("a", "2"), f("b", "2")},
			[]*tree.Node{f("a", "3"), livetest.Whiteout("b")},
			"a: changed: content, changed: content; b: deleted, changed: content"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			top := func(kids []*tree.Node) *tree.Node {
				return livetest.Dir("", slices.Concat(kids, []*tree.Node{livetest.Dir("etc")})...)
			}
			d := livetest.RestampDir(t, top(c.was), top(c.is), livetest.Merging(top(c.upper)))
			before := livetest.Sums(t, d)
			err := livetest.Restamp(t, livetest.Env(t, codec.Auto), d, "work")
			var conflicts *rebase.Conflicts
			var got []string
			if errors.As(err, &conflicts) {
				for _, c := range conflicts.Conflicts {
					got = append(got, fmt.Sprintf("%s: %s, %s", c.Path, c.Overlay, c.Base))
				}
				if _, ok := refusal.Is(err); !ok || conflicts.Count != len(got) || refusal.Hint(err) == "" {
					t.Errorf("no refusal with a hint: %v", err)
				}
				if !maps.Equal(before, livetest.Sums(t, d)) {
					t.Error("something was changed")
				}
			} else {
				systest.Must(t, err)
			}
			if s := strings.Join(got, "; "); s != c.want {
				t.Errorf("conflicts %q, not %q", s, c.want)
			}
		})
	}
}

// flat tells of each path but the stamps what it holds.
func flat(t testing.TB, root *tree.Node) map[string]string {
	t.Helper()
	out := map[string]string{}
	systest.Must(t, tree.Walk(t.Context(), root, func(path string, n *tree.Node) error {
		switch {
		case path == "etc" || path == "lost+found":
			return tree.SkipDir
		case path == "":
		case n.Type == tree.Directory:
			out[path] = fmt.Sprintf("dir %o", n.Perm)
		default:
			b, err := tree.ReadAll(n, 1<<20)
			out[path] = fmt.Sprintf("file %o %d %s", n.Perm, n.Mtime.Sec, b)
			return err
		}
		return nil
	}))
	return out
}

// TestRestampAufs: a rootfs from the days of aufs is carried over as well, and
// what its whiteouts hide counts.
func TestRestampAufs(t *testing.T) {
	t.Parallel()
	f := func(name, content string) *tree.Node { return livetest.File(name, []byte(content)) }
	mark := func(name string) *tree.Node { return f(name, "") }
	was := func() []*tree.Node { return []*tree.Node{f("a", "1"), f("b", "1"), livetest.Dir("d", f("x", "1"))} }
	const former = "==== 11111111111111111111111111111111"
	for name, c := range map[string]struct {
		is   []*tree.Node
		want string
	}{
		"fits":     {[]*tree.Node{f("a", "1"), f("b", "2"), livetest.Dir("d", f("x", "1"))}, ""},
		"deletion": {[]*tree.Node{f("a", "2"), f("b", "1"), livetest.Dir("d", f("x", "1"))}, "a"},
		"opaque":   {[]*tree.Node{f("a", "1"), f("b", "1"), livetest.Dir("d", f("x", "2"))}, "d/x"},
	} {
		version := func(file, id string) *tree.Node {
			return livetest.Dir("etc", livetest.Dir("live", livetest.Dir("version", f(file, id+"\n"))))
		}
		l := livetest.Craft(t, livetest.Dir("", append(c.is, version("linuxfs.ver", livetest.NewVersion))...), nil,
			livetest.LikeMksquashfs(codec.Gzip, 128<<10))
		livetest.WriteSquash(t, l.Path("linuxfs.old"), livetest.Dir("", append(was(), version("linuxfs.ver", former))...),
			livetest.LikeMksquashfs(codec.Gzip, 128<<10))
		systest.Must(t, os.Mkdir(l.Path("work"), 0o755))
		livetest.BuildRootfs(t, l.Path("work/rootfs"), livetest.Dir("", mark(".wh.a"), livetest.Dir("d", mark(".wh..wh..opq"), f("z", "3")),
			version("rootfs.ver", former)))
		err := livetest.Restamp(t, livetest.Env(t, codec.Auto), l.Dir, "work")
		var conflicts *rebase.Conflicts
		switch {
		case c.want != "":
			if !errors.As(err, &conflicts) || conflicts.Conflicts[0].Path != c.want {
				t.Errorf("%s: %v", name, err)
			}
			continue
		case err != nil:
			t.Errorf("%s: %v", name, err)
			continue
		}
		got := slices.Sorted(maps.Keys(flat(t, setTree(t, l.Dir, "work"))))
		if s := strings.Join(got, " "); s != "b d d/z" {
			t.Errorf("%s: shows %s", name, s)
		}
	}
}
