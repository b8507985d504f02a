package remaster_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"relive/remaster/compact"
	"relive/remaster/job"
	"relive/remaster/live"
	"relive/remaster/rebase"
	"relive/remaster/refusal"
	"relive/remaster/rollback"
	"relive/remaster/sets"
	"relive/remaster/source"
	"relive/squash/codec"
	"relive/tree"
	"relive/tree/systest"
)

// restamp stamps a set, and gives the error of the plan.
func restamp(t testing.TB, e *job.Env, dir, set string) error {
	t.Helper()
	l, err := live.Open(t.Context(), e, dir, live.WithSet(set))
	systest.Must(t, err)
	defer l.Close()
	p, err := rebase.NewRestamp(t.Context(), e, l, rebase.RestampOptions{KeepOld: 1})
	if err != nil {
		return err
	}
	defer p.Close()
	return p.Run(t.Context())
}

// withoutTimes takes the times of directories, and what a boot or a compaction
// stamps, out of a tree.
func withoutTimes(t testing.TB, root *tree.Node) *tree.Node {
	t.Helper()
	n := without(t, root, append([]string{"lost+found"}, stamps...)...)
	return &tree.Node{Meta: untimed(n).Meta, Xattrs: n.Xattrs, Dir: untimedDir{n}}
}

func untimed(n *tree.Node) *tree.Node {
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
		out = append(out, untimed(k))
	}
	return out, err
}

// TestRestampTruth: two sets are written by the kernel, and one is folded into
// the base. The other, restamped, shows to the kernel what it showed before with
// what was done in the first.
func TestRestampTruth(t *testing.T) {
	requireKernel(t)
	t.Parallel()
	d := systest.TempDir(t)
	smallSystem(t, d)
	for _, name := range []string{"opt/both/one", "opt/both/two", "srv/replaced/a", "srv/shut/a", "srv/shut/b", "srv/emptied/a"} {
		write(t, d+"/"+name, text(31, 800), 0o644)
	}
	settle(t, d)
	l := &frugal{t: t, dir: systest.TempDir(t)}
	systest.Run(t, "mksquashfs", d, l.path("linuxfs"), "-noappend", "-quiet", "-no-progress", "-comp", "gzip")
	l.mkfs("-t", "ext4")
	base := func(mnt string) {
		useSmall(t, mnt)
		write(t, mnt+"/opt/both/one", []byte("by the base"), 0o640)
		systest.Must(t, os.RemoveAll(mnt+"/srv/replaced"))
		write(t, mnt+"/srv/replaced", []byte("a file now"), 0o644)
		for _, name := range []string{"/etc/new", "/etc/hostname", "/usr/share/deep/a/again", "/opt/both/one", "/srv/replaced"} {
			systest.Run(t, "touch", "-d", "@1700000000", mnt+name)
		}
	}
	set := func(mnt string) {
		write(t, mnt+"/opt/both/two", []byte("by the set"), 0o600)
		write(t, mnt+"/etc/of-the-set", []byte("x"), 0o600)
		systest.Must(t, os.Link(mnt+"/etc/of-the-set", mnt+"/opt/linked"))
		systest.Must(t, os.RemoveAll(mnt+"/srv/shut"))
		write(t, mnt+"/srv/shut/new", []byte("alone"), 0o644)
		systest.Must(t, os.Remove(mnt+"/srv/emptied/a"))
		write(t, mnt+"/usr/share/new/deep/file", text(5, 900), 0o644)
		systest.Must(t, os.Remove(mnt+"/var/lib/dpkg/status"))
	}
	l.boot(false, func(string) {}) // stamps it
	e := environment(t, codec.Auto)
	p, err := sets.Clone(t.Context(), e, l.dir, "work", "")
	systest.Must(t, err)
	systest.Must(t, p.Run(t.Context()))
	l.boot(false, base)
	work := &frugal{t: t, dir: systest.TempDir(t)}
	systest.CopyFile(t, l.path("linuxfs"), work.path("linuxfs"))
	systest.Must(t, os.Rename(l.path("work/rootfs"), work.path("rootfs")))
	work.boot(false, set)
	expected := systest.TempDir(t)
	systest.Run(t, "cp", "-a", work.view()+"/.", expected)
	base(expected)
	systest.Must(t, os.Rename(work.path("rootfs"), l.path("work/rootfs")))

	res := l.compact(keepOne())
	if !hasWarning(res.Warnings, "the rootfs of the set work was written over the present linuxfs") {
		t.Errorf("no warning of the other set: %q", res.Warnings)
	}
	if s := l.status(); !hasWarning(s.Warnings, "a boot ignores the rootfs of the set work") {
		t.Errorf("status: no warning of the other set: %q", s.Warnings)
	}
	systest.Must(t, restamp(t, e, l.dir, "work"))
	systest.Fsck(t, l.path("work/rootfs"))
	if !has(l.path("work/rootfs.old")) {
		t.Error("the former rootfs is not kept")
	}
	systest.Must(t, os.Remove(work.path("linuxfs")))
	systest.CopyFile(t, l.path("linuxfs"), work.path("linuxfs"))
	systest.CopyFile(t, l.path("work/rootfs"), work.path("rootfs"))
	got := work.view()
	sameTree(t, "by hand", "the kernel", withoutTimes(t, openDir(t, expected)), withoutTimes(t, openDir(t, got)))
	one, err := os.ReadFile(got + "/etc/live/version/rootfs.ver")
	systest.Must(t, err)
	two, err := os.ReadFile(got + "/etc/live/version/linuxfs.ver")
	systest.Must(t, err)
	if string(one) != string(two) {
		t.Errorf("the version ids differ: %s, %s", one, two)
	}

	// The same system, compacted with the set, and all the way back.
	opened, err := live.Open(t.Context(), e, l.dir, live.WithSet("work"))
	systest.Must(t, err)
	want := withoutTimes(t, openTree(t, work.dir, ""))
	plan, err := compact.New(t.Context(), e, opened, keepOne())
	systest.Must(t, err)
	_, err = plan.Run(t.Context())
	systest.Must(t, errors.Join(err, opened.Close()))
	sameTree(t, "base and set", "compacted", want, withoutTimes(t, openTree(t, l.path("linuxfs"), "")))
	back, err := rollback.New(t.Context(), e, l.dir, live.WithSet("work"))
	systest.Must(t, err)
	systest.Must(t, back.Run(t.Context()))
	sameTree(t, "before", "rolled back", want, withoutTimes(t, setTree(t, l.dir, "work")))
}

func setTree(t testing.TB, dir, set string) *tree.Node {
	t.Helper()
	root, c, err := source.Open(t.Context(), environment(t, codec.Auto), dir, "", "", live.WithSet(set))
	systest.Must(t, err)
	t.Cleanup(func() { c.Close() })
	return root
}

// restampDir makes a live directory in which a set was written over a former
// base.
func restampDir(t testing.TB, was, is, upper *tree.Node) string {
	t.Helper()
	version := func(root *tree.Node, name, id string) *tree.Node {
		var e tree.Edits
		e.Put("etc/live/version/"+name, file("", []byte(id+"\n")))
		out, err := e.Apply(root)
		systest.Must(t, err)
		return out
	}
	const former = "==== 11111111111111111111111111111111"
	l := craft(t, version(is, "linuxfs.ver", newVersion), nil, likeMksquashfs(codec.Gzip, 128<<10))
	writeSquash(t, l.path("linuxfs.old"), version(was, "linuxfs.ver", former), likeMksquashfs(codec.Gzip, 128<<10))
	systest.Must(t, os.Mkdir(l.path("work"), 0o755))
	stamped := *version(upper, "rootfs.ver", former)
	stamped.Name = "upper"
	buildRootfs(t, l.path("work/rootfs"), dir("", &stamped, dir("work")))
	return l.dir
}

// TestRestampKeeps: a former rootfs goes on to the next name while its base is
// there, and goes with it.
func TestRestampKeeps(t *testing.T) {
	t.Parallel()
	f := func(name, content string) *tree.Node { return file(name, []byte(content)) }
	d := restampDir(t, dir("", dir("etc")), dir("", dir("etc"), f("a", "1")), merging(dir("", dir("etc"), f("b", "2"))))
	systest.CopyFile(t, d+"/work/rootfs", d+"/work/rootfs.old") // over linuxfs.old
	const gone = "==== 55555555555555555555555555555555"
	buildRootfs(t, d+"/work/rootfs.old.2", dir("", dir("upper", dir("etc", dir("live", dir("version", f("rootfs.ver", gone+"\n"))))), dir("work")))
	before := sums(t, d)
	systest.Must(t, restamp(t, environment(t, codec.Auto), d, "work"))
	after := sums(t, d)
	if after["work/rootfs.old"] != before["work/rootfs"] || after["work/rootfs.old.2"] != before["work/rootfs.old"] || after["work/rootfs.old.3"] != "" {
		t.Errorf("before\n%v\nafter\n%v", before, after)
	}
}

// TestRestampConflicts: what both have changed is told, and refused.
func TestRestampConflicts(t *testing.T) {
	t.Parallel()
	f := func(name, content string) *tree.Node { return file(name, []byte(content)) }
	opaque := func(n *tree.Node) *tree.Node {
		return with(n, func(n *tree.Node) { n.Xattrs = tree.Xattrs{{Name: "trusted.overlay.opaque", Value: "y"}} })
	}
	mode := func(n *tree.Node, m uint16) *tree.Node { return with(n, func(n *tree.Node) { n.Perm = m }) }
	later := func(n *tree.Node) *tree.Node { return with(n, func(n *tree.Node) { n.Mtime.Sec += 10 }) }
	for name, c := range map[string]struct {
		was, is, upper []*tree.Node
		want           string // "" where it applies
	}{
		"nothing below":              {nil, []*tree.Node{f("a", "1")}, []*tree.Node{f("b", "2")}, ""},
		"unchanged below a file":     {[]*tree.Node{f("a", "1")}, []*tree.Node{f("a", "1"), f("b", "1")}, []*tree.Node{f("a", "2")}, ""},
		"changed below a file":       {[]*tree.Node{f("a", "1")}, []*tree.Node{f("a", "3")}, []*tree.Node{f("a", "2")}, "a: changed: content, changed: content"},
		"touched below a file":       {[]*tree.Node{f("a", "1")}, []*tree.Node{later(f("a", "1"))}, []*tree.Node{f("a", "2")}, ""},
		"the same change":            {[]*tree.Node{f("a", "1")}, []*tree.Node{f("a", "2")}, []*tree.Node{f("a", "2")}, ""},
		"changed below a copy":       {[]*tree.Node{f("a", "1")}, []*tree.Node{f("a", "3")}, []*tree.Node{f("a", "1")}, ""},
		"deleted below a file":       {[]*tree.Node{f("a", "1")}, nil, []*tree.Node{f("a", "2")}, "a: changed: content, deleted"},
		"added by both":              {nil, []*tree.Node{f("a", "1")}, []*tree.Node{f("a", "2")}, "a: added, added"},
		"changed below a deletion":   {[]*tree.Node{f("a", "1")}, []*tree.Node{f("a", "2")}, []*tree.Node{whiteout("a")}, "a: deleted, changed: content"},
		"deleted by both":            {[]*tree.Node{f("a", "1")}, nil, []*tree.Node{whiteout("a")}, ""},
		"unchanged below a deletion": {[]*tree.Node{f("a", "1")}, []*tree.Node{f("a", "1")}, []*tree.Node{whiteout("a")}, ""},
		"changed below a deleted directory": {[]*tree.Node{dir("d", f("a", "1"))}, []*tree.Node{dir("d", f("a", "2"))}, []*tree.Node{whiteout("d")},
			"d: deleted, changed below"},
		"changed in a directory of both": {[]*tree.Node{dir("d", f("a", "1"), f("b", "1"))}, []*tree.Node{later(dir("d", f("a", "2"), f("b", "1"), f("c", "1")))},
			[]*tree.Node{dir("d", f("b", "3"), f("e", "1"))}, ""},
		"added below an opaque directory": {[]*tree.Node{dir("d", f("a", "1"))}, []*tree.Node{dir("d", f("a", "1"), f("b", "1"))},
			[]*tree.Node{opaque(dir("d", f("c", "3")))}, ""},
		"unchanged below an opaque directory": {[]*tree.Node{dir("d", f("a", "1"))}, []*tree.Node{dir("d", f("a", "1"))},
			[]*tree.Node{opaque(dir("d", f("c", "3")))}, ""},
		"mode of a directory": {[]*tree.Node{dir("d", f("a", "1"))}, []*tree.Node{mode(dir("d", f("a", "1")), 0o700)}, []*tree.Node{dir("d", f("b", "3"))},
			""},
		"the same mode of a directory": {[]*tree.Node{dir("d", f("a", "1"))}, []*tree.Node{mode(dir("d", f("a", "1")), 0o700)},
			[]*tree.Node{mode(dir("d", f("b", "3")), 0o700)}, ""},
		"modes of a directory": {[]*tree.Node{dir("d", f("a", "1"))}, []*tree.Node{mode(dir("d", f("a", "1")), 0o700)}, []*tree.Node{mode(dir("d", f("b", "3")), 0o750)},
			"d: changed: mode, changed: mode"},
		"a directory deleted": {[]*tree.Node{dir("d", f("a", "1"))}, nil, []*tree.Node{dir("d", f("b", "3"))}, ""},
		"a directory made a file": {[]*tree.Node{dir("d", f("a", "1"))}, []*tree.Node{f("d", "x")}, []*tree.Node{dir("d", f("b", "3"))},
			"d: changed below, made a file"},
		"a file made a directory": {[]*tree.Node{f("d", "1")}, []*tree.Node{f("d", "1")}, []*tree.Node{opaque(dir("d", f("b", "3")))}, ""},
		"several": {[]*tree.Node{f("a", "1"), f("b", "1")}, []*tree.Node{f("a", "2"), f("b", "2")}, []*tree.Node{f("a", "3"), whiteout("b")},
			"a: changed: content, changed: content; b: deleted, changed: content"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			top := func(kids []*tree.Node) *tree.Node { return dir("", slices.Concat(kids, []*tree.Node{dir("etc")})...) }
			d := restampDir(t, top(c.was), top(c.is), merging(top(c.upper)))
			before := sums(t, d)
			err := restamp(t, environment(t, codec.Auto), d, "work")
			var conflicts *rebase.Conflicts
			var got []string
			if errors.As(err, &conflicts) {
				for _, c := range conflicts.Conflicts {
					got = append(got, fmt.Sprintf("%s: %s, %s", c.Path, c.Overlay, c.Base))
				}
				if _, ok := refusal.Is(err); !ok || conflicts.Count != len(got) || refusal.Hint(err) == "" {
					t.Errorf("no refusal with a hint: %v", err)
				}
				if !maps.Equal(before, sums(t, d)) {
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
	f := func(name, content string) *tree.Node { return file(name, []byte(content)) }
	mark := func(name string) *tree.Node { return f(name, "") }
	was := func() []*tree.Node { return []*tree.Node{f("a", "1"), f("b", "1"), dir("d", f("x", "1"))} }
	const former = "==== 11111111111111111111111111111111"
	for name, c := range map[string]struct {
		is   []*tree.Node
		want string
	}{
		"fits":     {[]*tree.Node{f("a", "1"), f("b", "2"), dir("d", f("x", "1"))}, ""},
		"deletion": {[]*tree.Node{f("a", "2"), f("b", "1"), dir("d", f("x", "1"))}, "a"},
		"opaque":   {[]*tree.Node{f("a", "1"), f("b", "1"), dir("d", f("x", "2"))}, "d/x"},
	} {
		version := func(file, id string) *tree.Node { return dir("etc", dir("live", dir("version", f(file, id+"\n")))) }
		l := craft(t, dir("", append(c.is, version("linuxfs.ver", newVersion))...), nil, likeMksquashfs(codec.Gzip, 128<<10))
		writeSquash(t, l.path("linuxfs.old"), dir("", append(was(), version("linuxfs.ver", former))...), likeMksquashfs(codec.Gzip, 128<<10))
		systest.Must(t, os.Mkdir(l.path("work"), 0o755))
		buildRootfs(t, l.path("work/rootfs"), dir("", mark(".wh.a"), dir("d", mark(".wh..wh..opq"), f("z", "3")), version("rootfs.ver", former)))
		err := restamp(t, environment(t, codec.Auto), l.dir, "work")
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
		got := slices.Sorted(maps.Keys(flat(t, setTree(t, l.dir, "work"))))
		if s := strings.Join(got, " "); s != "b d d/z" {
			t.Errorf("%s: shows %s", name, s)
		}
	}
}
