package rebase_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"relive/codec"
	"relive/remaster/job"
	"relive/remaster/live"
	"relive/remaster/livetest"
	"relive/remaster/rebase"
	"relive/remaster/refusal"
	"relive/remaster/say"
	"relive/remaster/update"
	"relive/tree"
	"relive/tree/systest"
)

// tryRebase carries the overlay of a live directory over to another base.
func tryRebase(t testing.TB, e *job.Env, dir, onto string, o rebase.Options) (*update.Result, error) {
	t.Helper()
	l, err := live.Open(t.Context(), e, dir)
	systest.Must(t, err)
	defer l.Close()
	var from *live.Live
	if bare, err := l.IsBase(onto); err != nil {
		return nil, err
	} else if bare {
		from, err = l.OpenBase(e, onto)
		if err != nil {
			return nil, err
		}
	} else if from, err = livetest.OpenSource(t, e, onto); err != nil {
		return nil, err
	}
	defer from.Close()
	p, err := update.New(t.Context(), e, l, from, update.Options{Overlay: update.OverlayRebase, Rebase: o, KeepOld: 1, NoKernel: true})
	if err != nil {
		return nil, err
	}
	return p.Run(t.Context())
}

func mustRebase(t testing.TB, dir, onto string, o rebase.Options) *update.Result {
	t.Helper()
	res, err := tryRebase(t, livetest.Env(t, codec.Auto), dir, onto, o)
	if err != nil {
		t.Fatalf("rebase: %v (hint: %s)", err, refusal.Hint(err))
	}
	return res
}

// upgrade is what a new base brings to a small system.
func upgrade(t testing.TB, d string) {
	t.Helper()
	livetest.Write(t, d+"/opt/tool", livetest.Text(41, 6_000), 0o755)
	livetest.Write(t, d+"/usr/share/deep/a/b/more", livetest.Text(42, 2_000), 0o644)
	livetest.Write(t, d+"/usr/bin/brandnew", livetest.Text(43, 2_000), 0o755)
	livetest.Write(t, d+"/var/lib/dpkg/status", livetest.Text(44, 2_200), 0o644)
	livetest.Write(t, d+"/usr/share/untouched", livetest.Text(45, 3_000), 0o644)
	systest.Must(t, os.RemoveAll(d+"/srv/emptied"))
	systest.Must(t, os.Remove(d+"/srv/becomes"))
	livetest.Write(t, d+"/srv/becomes/a/dir", []byte("x"), 0o644)
}

// TestRebaseTruth: after a rebase the kernel shows what comes of doing by hand,
// in the new base, what was done in the old system.
func TestRebaseTruth(t *testing.T) {
	livetest.NeedKernel(t)
	systest.NeedTools(t, "setfattr")
	for _, options := range []string{"", "redirect_dir=on,metacopy=on,index=on", "redirect_dir=off,metacopy=off"} {
		t.Run("options "+options, func(t *testing.T) {
			t.Parallel()
			d := systest.TempDir(t)
			systest.Must(t, os.Chmod(d, 0o755))
			livetest.SmallSystem(t, d)
			for _, name := range []string{"opt/mode", "opt/cap", "opt/renamed/a/one", "opt/renamed/two", "srv/emptied/a", "srv/emptied/b",
				"srv/becomes", "srv/shut/a", "srv/shut/b", "srv/linked"} {
				livetest.Write(t, d+"/"+name, livetest.Text(31, 800), 0o644)
			}
			systest.Must(t, os.Link(d+"/srv/linked", d+"/opt/linked"))
			livetest.Settle(t, d)
			base := systest.TempDir(t) + "/base"
			systest.Run(t, "mksquashfs", d, base, "-noappend", "-quiet", "-no-progress", "-comp", "gzip")
			ours := func(mnt string) {
				livetest.Write(t, mnt+"/etc/hostname", []byte("named\n"), 0o644)
				livetest.Write(t, mnt+"/etc/of-ours", []byte("x"), 0o600)
				systest.Must(t, os.Link(mnt+"/etc/of-ours", mnt+"/opt/twice"))
				systest.Must(t, os.Remove(mnt+"/opt/gone"))
				systest.Must(t, os.Chmod(mnt+"/opt/tool", 0o700)) // whose content is another in the new base
				systest.Run(t, "setfattr", "-n", "security.capability", "-v", fmt.Sprintf("0x%x", livetest.Capability), mnt+"/opt/cap")
				// which SquashFS cannot hold
				systest.Must(t, unix.Lsetxattr(mnt+"/etc/of-ours", "system.posix_acl_access", livetest.ACL, 0))
				systest.Must(t, os.RemoveAll(mnt+"/srv/shut"))
				livetest.Write(t, mnt+"/srv/shut/new", []byte("alone"), 0o644)
				systest.Must(t, os.Chmod(mnt+"/usr/share/deep", 0o750))
				systest.Run(t, "mv", mnt+"/opt/renamed", mnt+"/opt/under-another-name")
				systest.Must(t, os.Remove(mnt+"/srv/linked"))
				livetest.Write(t, mnt+"/var/cache/new/deep/file", livetest.Text(5, 900), 0o644)
				livetest.Sparse(t, mnt+"/var/cache/sparse.img", 3_000_000, 1_000_000)
			}
			l := livetest.NewLive(t, base)
			l.Options = options
			l.Boot(false, ours)
			before := livetest.Copied(t, l.View())

			d2 := systest.TempDir(t)
			systest.Run(t, "cp", "-a", d+"/.", d2)
			upgrade(t, d2)
			systest.Must(t, os.Remove(d2+"/etc/live/version/linuxfs.ver"))
			livetest.Write(t, d2+"/etc/live/version/linuxfs.ver", []byte(livetest.NewVersion+"\n"), 0o644)
			onto := systest.TempDir(t) + "/linuxfs-new"
			systest.Run(t, "mksquashfs", d2, onto, "-noappend", "-quiet", "-no-progress", "-comp", "zstd")
			expected := systest.TempDir(t)
			systest.Must(t, os.Chmod(expected, 0o755))
			systest.Run(t, "cp", "-a", d2+"/.", expected)
			livetest.Write(t, expected+"/etc/live/version/rootfs.ver", []byte(livetest.NewVersion+"\n"), 0o644)
			ours(expected)

			res := mustRebase(t, l.Dir, onto, rebase.Options{})
			s := res.Plan.Rebase
			if res.Plan.Overlay.Outcome != update.OutcomeRebased || s == nil || s.Conflicts != 0 || s.After.Inodes == 0 ||
				s.Size != 48<<20 {
				t.Errorf("%+v, %+v", res.Plan.Overlay, s)
			}
			systest.Fsck(t, l.Path("rootfs"))
			systest.Run(t, "cmp", l.Path("linuxfs"), onto)
			got := l.View()
			root := livetest.OpenDir(t, got)
			o := tree.CompareOptions{WholeSeconds: true, Links: true}
			drop := []string{"lost+found", "etc/live/version/rootfs.ver"}
			timeless := func(root *tree.Node) *tree.Node { return recent(livetest.Without(t, root, drop...)) }
			livetest.Same(t, "by hand", "the kernel", timeless(livetest.OpenDir(t, expected)), timeless(root), o)
			livetest.Same(t, "the kernel", "relive", livetest.Without(t, root, drop...),
				livetest.Without(t, livetest.OpenTree(t, l.Dir, ""), drop...), o)
			if st := l.Status(); st.Overlay.VIDState != live.VIDMatch || st.Overlay.VID != livetest.NewVersion || len(st.Warnings) > 0 {
				t.Errorf("%q: %s, %q", st.Overlay.VID, st.Overlay.VIDState, st.Warnings)
			}
			// No more is in the layer than the changes.
			if n := s.After.Inodes; n > 60 {
				t.Errorf("the new overlay holds %d files", n)
			}
			l.Rollback()
			livetest.SameTree(t, "before", "after the rollback", before, livetest.Copied(t, l.View()))
		})
	}
}

// recent takes times out of a tree that are those of the test itself, and those
// of directories.
func recent(n *tree.Node) *tree.Node {
	c := *n
	if n.Type == tree.Directory {
		c.Dir, c.Inode = recentDir{n}, tree.Inode{}
	}
	if n.Type == tree.Directory || n.Mtime.Sec > 1_750_000_000 {
		c.Mtime = tree.Time{}
	}
	return &c
}

type recentDir struct{ n *tree.Node }

func (d recentDir) Children() ([]*tree.Node, error) {
	kids, err := d.n.Children()
	out := make([]*tree.Node, 0, len(kids))
	for _, k := range kids {
		out = append(out, recent(k))
	}
	return out, err
}

// dpkg is a database of packages, each "name version".
func dpkg(packages ...string) *tree.Node {
	var status strings.Builder
	var info []*tree.Node
	for _, p := range packages {
		name, version, _ := strings.Cut(p, " ")
		fmt.Fprintf(&status, "Package: %s\nStatus: install ok installed\nArchitecture: amd64\nVersion: %s\n\n", name, version)
		info = append(info, livetest.File(name+".list", []byte("/usr/share/"+name+"\n")))
	}
	return livetest.Dir("var", livetest.Dir("lib", livetest.Dir("dpkg", livetest.File("status", []byte(status.String())),
		livetest.Dir("info", info...), livetest.File("lock", nil))))
}

// rebaseDir makes an antiX directory and a new base.
func rebaseDir(t testing.TB, was, is, upper []*tree.Node) (d, onto string) {
	t.Helper()
	version := func(id string) *tree.Node { return livetest.Etc(id) }
	l := livetest.Craft(t, livetest.Dir("", append(was, version("1"))...), nil, livetest.LikeMksquashfs(codec.Gzip, 128<<10))
	top := *livetest.Merging(livetest.Dir("", upper...))
	top.Name = "upper"
	livetest.BuildRootfs(t, l.Path("rootfs"), livetest.Dir("", &top, livetest.Dir("work")))
	onto = systest.TempDir(t) + "/new.squashfs"
	livetest.WriteSquash(t, onto, livetest.Dir("", append(is, version("2"))...), livetest.LikeMksquashfs(codec.Gzip, 128<<10))
	return l.Dir, onto
}

// TestRebaseDatabases: the database of packages comes from one side, and it is
// told what that does not know of.
func TestRebaseDatabases(t *testing.T) {
	t.Parallel()
	was := func() *tree.Node { return dpkg("base 1", "tool 1", "gone 1") }
	is := func() *tree.Node { return dpkg("base 2", "tool 1", "gone 1", "brand 1") }
	ours := func() *tree.Node { return dpkg("base 1", "tool 3", "mine 1") }
	make := func(is, ours *tree.Node) (string, string) {
		return rebaseDir(t, []*tree.Node{was()}, []*tree.Node{is}, []*tree.Node{ours})
	}
	for prefer, want := range map[rebase.Prefer]string{
		rebase.PreferOverlay: "base 1-2-1, brand -1-",
		rebase.PreferBase:    "gone 1--1, mine -1-, tool 1-3-1",
	} {
		d, onto := make(is(), ours())
		res := mustRebase(t, d, onto, rebase.Options{Prefer: prefer})
		db := res.Plan.Rebase.Databases
		if len(db) != 1 || db[0].Name != "dpkg" || db[0].Taken != prefer || db[0].Unread != "" {
			t.Fatalf("%s: %+v", prefer, db)
		}
		var got []string
		for _, p := range db[0].Unknown {
			got = append(got, fmt.Sprintf("%s %s-%s-%s", p.Name, p.Was, p.Is, p.Told))
		}
		if s := strings.Join(got, ", "); s != want {
			t.Errorf("%s: unknown are %s, not %s", prefer, s, want)
		}
		if !livetest.HasWarning(res.Warnings, "the database of dpkg in /var/lib/dpkg is") {
			t.Errorf("%s: %q", prefer, res.Warnings)
		}
		side := map[rebase.Prefer]*tree.Node{rebase.PreferOverlay: ours(), rebase.PreferBase: is()}[prefer]
		lib := livetest.OpenTree(t, d, "")
		if got, want := livetest.ReadFile(t, lib, "var/lib/dpkg/status"), livetest.ReadFile(t, livetest.Dir("", side),
			"var/lib/dpkg/status"); got != want {
			t.Errorf("%s: the database is\n%s\nnot\n%s", prefer, got, want)
		}
		for name, of := range map[string]rebase.Prefer{"mine": rebase.PreferOverlay, "brand": rebase.PreferBase} {
			if n, err := lib.Lookup("var/lib/dpkg/info/" + name + ".list"); err != nil || (n != nil) != (of == prefer) {
				t.Errorf("%s: the list of %s: %v, %v", prefer, name, n, err)
			}
		}
	}
	// A damaged one is taken as it is.
	damaged := livetest.Dir("var", livetest.Dir("lib", livetest.Dir("dpkg", livetest.File("status", []byte("no field\n")))))
	d, onto := make(is(), damaged)
	res := mustRebase(t, d, onto, rebase.Options{Prefer: rebase.PreferBase})
	if db := res.Plan.Rebase.Databases; len(db) != 1 || !strings.Contains(db[0].Unread, "no field") ||
		!livetest.HasWarning(res.Warnings, "it is unknown here: ") {
		t.Errorf("%+v, %q", db, res.Warnings)
	}
	// Nothing decides, and where only one side has changed it there is no question.
	d, onto = make(is(), ours())
	_, err := tryRebase(t, livetest.Env(t, codec.Auto), d, onto, rebase.Options{})
	var conflicts *rebase.Conflicts
	if !errors.As(err, &conflicts) || conflicts.Count != 1 || conflicts.Conflicts[0].Database != "dpkg" ||
		!strings.Contains(conflicts.Fact, "the database of packages in /var/lib/dpkg") {
		t.Errorf("%v", err)
	}
	d, onto = make(was(), ours())
	if r := mustRebase(t, d, onto, rebase.Options{}).Plan.Rebase; r.Conflicts != 0 || len(r.Databases) != 0 {
		t.Errorf("%+v", r)
	}
	if s := livetest.ReadFile(t, livetest.OpenTree(t, d, ""), "var/lib/dpkg/status"); !strings.Contains(s, "mine") {
		t.Errorf("the database is\n%s", s)
	}
}

// TestRebaseDecisions: a file of decisions decides by path, and what it leaves
// open is refused.
func TestRebaseDecisions(t *testing.T) {
	t.Parallel()
	f := func(name, content string) *tree.Node { return livetest.File(name, []byte(content)) }
	three := func(s string) []*tree.Node {
		return []*tree.Node{livetest.Dir("d", f("a", s), f("b", s), livetest.Dir("e", f("c", s))), f("odd \n%name", s), f("z", s)}
	}
	const text = "# a comment\n\nours /d  # all below\ntheirs /d/e\nask /z\ntheirs /odd%20%0A%25name\n"
	read := func(s string) *rebase.Decisions {
		d, err := rebase.ReadDecisions(strings.NewReader(s), "file")
		systest.Must(t, err)
		return d
	}
	d, onto := rebaseDir(t, three("1"), three("2"), three("3"))
	before := livetest.Sums(t, d)
	var lines []string
	_, err := tryRebase(t, livetest.Env(t, codec.Auto), d, onto,
		rebase.Options{Decisions: read(text), Conflict: func(c rebase.Conflict) error {
			lines = append(lines, c.Path+"="+string(c.Decided))
			return nil
		}})
	var conflicts *rebase.Conflicts
	if !errors.As(err, &conflicts) || conflicts.Count != 1 || conflicts.Conflicts[0].Path != "z" {
		t.Fatalf("%v", err)
	}
	if got := strings.Join(lines, " "); got != "d/a=ours d/b=ours d/e/c=theirs odd \n%name=theirs z=" {
		t.Errorf("%q", got)
	}
	if !maps.Equal(before, livetest.Sums(t, d)) {
		t.Error("something was changed")
	}
	line := conflicts.Conflicts[0].Line()
	if line != "ask /z  # overlay: changed: content; new base: changed: content\n" {
		t.Errorf("%q", line)
	}
	res := mustRebase(t, d, onto, rebase.Options{Decisions: read(text + strings.Replace(line, "ask", "ours", 1))})
	if r := res.Plan.Rebase; r.Conflicts != 5 || r.Overlay != 3 || r.NewBase != 2 {
		t.Errorf("%+v", r)
	}
	got := livetest.OpenTree(t, d, "")
	for path, want := range map[string]string{"d/a": "3", "d/b": "3", "d/e/c": "2", "odd \n%name": "2", "z": "3"} {
		if s := livetest.ReadFile(t, got, path); s != want {
			t.Errorf("%q holds %s, not %s", path, s, want)
		}
	}
	for s, fact := range map[string]string{"maybe /d\n": `line 1: "maybe" is neither`, "ours\n": "line 1: there is no path",
		"\nours d\n": "line 2: there is no path", "ours /%zz\n": "line 1: /%zz", "ours /" + strings.Repeat("x", 1<<16): "line 1"} {
		if _, err := rebase.ReadDecisions(strings.NewReader(s), "file"); err == nil || !strings.Contains(err.Error(), "file: "+fact) {
			t.Errorf("%.40q: %v", s, err)
		}
	}
}

// TestRebaseInPlace: a set that was written over a former base, and that has
// conflicts with the present one, is carried over as decided.
func TestRebaseInPlace(t *testing.T) {
	t.Parallel()
	f := func(name, content string) *tree.Node { return livetest.File(name, []byte(content)) }
	top := func(kids ...*tree.Node) *tree.Node { return livetest.Dir("", append(kids, livetest.Dir("etc"))...) }
	for prefer, want := range map[rebase.Prefer]string{rebase.PreferOverlay: "3", rebase.PreferBase: "2"} {
		moved := livetest.With(livetest.Dir("moved"), func(n *tree.Node) {
			n.Xattrs = tree.Xattrs{{Name: "trusted.overlay.redirect", Value: "/stays"}}
		})
		d := livetest.RestampDir(t, top(f("a", "1"), f("b", "1"), livetest.Dir("stays", f("x", "1"))),
			top(f("a", "2"), f("b", "2"), livetest.Dir("stays", f("x", "1"))),
			top(f("a", "3"), f("c", "3"), moved, livetest.Whiteout("stays")))
		e := livetest.Env(t, codec.Auto)
		l, err := live.Open(t.Context(), e, d, live.WithSet("work"))
		systest.Must(t, err)
		p, err := rebase.NewRestamp(t.Context(), e, l, rebase.RestampOptions{KeepOld: 1, Rebase: rebase.Options{Prefer: prefer}})
		systest.Must(t, err)
		systest.Must(t, p.Run(t.Context()))
		if r := p.Summary.Rebase; r.Conflicts != 1 || r.Overlay+r.NewBase != 1 || !strings.HasSuffix(p.Summary.Former, "linuxfs.old") {
			t.Errorf("%+v", p.Summary)
		}
		systest.Must(t, errors.Join(p.Close(), l.Close()))
		got := setTree(t, d, "work")
		for path, want := range map[string]string{"a": want, "b": "2", "c": "3", "moved/x": "1"} {
			if s := livetest.ReadFile(t, got, path); s != want {
				t.Errorf("%s: %s holds %s, not %s", prefer, path, s, want)
			}
		}
		if n, err := got.Lookup("stays"); n != nil || err != nil {
			t.Errorf("%s: what was renamed is there twice: %v", prefer, err)
		}
		// Once more there is nothing to do.
		before := livetest.Sums(t, d)
		systest.Must(t, livetest.Restamp(t, e, d, "work"))
		if !maps.Equal(before, livetest.Sums(t, d)) {
			t.Error("a second time something was changed")
		}
	}
}

// TestRebaseRefused: what cannot be carried over is refused, and nothing changes.
func TestRebaseRefused(t *testing.T) {
	livetest.NeedKernel(t)
	t.Parallel()
	refused := func(dir, onto, fact, hint string, o rebase.Options) {
		t.Helper()
		before := livetest.Hashes(t, dir)
		_, err := tryRebase(t, livetest.Env(t, codec.Auto), dir, onto, o)
		if err == nil || !strings.Contains(err.Error(), fact) || !strings.Contains(refusal.Hint(err), hint) {
			t.Errorf("%s: %v (hint %q)", fact, err, refusal.Hint(err))
		}
		if livetest.Hashes(t, dir) != before {
			t.Error("it was changed")
		}
	}
	big := func(n int) []*tree.Node { return []*tree.Node{livetest.File("big", livetest.Noise(3, n))} }
	f := func(name, content string) *tree.Node { return livetest.File(name, []byte(content)) }
	d, onto := rebaseDir(t, nil, nil, []*tree.Node{f("a", "1")})
	refused(d, onto, say.Prefer+" maybe: neither ours nor theirs", "", rebase.Options{Prefer: "maybe"})
	livetest.Write(t, d+"/none", livetest.Noise(1, 9000), 0o644)
	refused(d, d+"/none", "none", "", rebase.Options{})
	empty := systest.TempDir(t) + "/empty"
	livetest.WriteSquash(t, empty, livetest.Dir("", f("x", "1")), livetest.LikeMksquashfs(codec.Gzip, 128<<10))
	refused(d, empty, "holds no system", "", rebase.Options{})
	cut := systest.TempDir(t) + "/cut"
	b, err := os.ReadFile(onto)
	systest.Must(t, err)
	systest.Must(t, os.WriteFile(cut, b[:300], 0o644))
	refused(d, cut, "", "", rebase.Options{})

	// A base that brings much makes the layer no larger, but one whose file gets
	// another mode does.
	is := big(200 << 20 / 16)
	with := livetest.With(is[0], func(n *tree.Node) {})
	d, onto = rebaseDir(t, []*tree.Node{f("big", "1")}, []*tree.Node{with},
		[]*tree.Node{func() *tree.Node { n := f("big", "1"); n.Perm = 0o600; return n }()})
	systest.Must(t, os.Truncate(d+"/rootfs", livetest.Stat(t, d+"/rootfs").Size()))
	l := &livetest.Live{T: t, Dir: d}
	systest.Run(t, "mke2fs", "-q", "-F", "-t", "ext4", "-L", "rootfs", l.Path("rootfs")+".small", "4M")
	systest.Must(t, os.Rename(l.Path("rootfs")+".small", l.Path("rootfs")))
	l.Boot(false, func(mnt string) { systest.Must(t, os.Chmod(mnt+"/big", 0o600)) })
	refused(d, onto, "room for", say.Grow, rebase.Options{})
	if s := mustRebase(t, d, onto, rebase.Options{Grow: true}).Plan.Rebase; s.Size <= s.OldSize {
		t.Errorf("%+v", s)
	}
	systest.Fsck(t, l.Path("rootfs"))

	system := systest.TempDir(t)
	livetest.SmallSystem(t, system)
	m := livetest.LiveOS(t).Fill(system, "dm", false, false, "-comp", "gzip")
	m.Boot(false, func(mnt string) { livetest.Write(t, mnt+"/opt/new", []byte("new"), 0o644) })
	upgrade := systest.TempDir(t)
	livetest.SmallSystem(t, upgrade)
	livetest.Write(t, upgrade+"/usr/bin/brandnew", livetest.Text(43, 2_000), 0o755)
	refused(m.Dir, livetest.LiveOS(t).Fill(upgrade, "none", false, false, "-comp", "gzip").Dir,
		"holds chunks of the file system in its base and no files", say.Image+" FILE", rebase.Options{})

	// A rootfs that fits neither.
	d, onto = rebaseDir(t, nil, nil,
		[]*tree.Node{livetest.Dir("etc",
			livetest.Dir("live", livetest.Dir("version", f("rootfs.ver", "==== 77777777777777777777777777777777\n")))), f("a", "1")})
	refused(d, onto, "do not match", "without "+say.Onto, rebase.Options{})
}

// TestRebaseCrash: wherever it is cut off, a boot shows the old system or the new
// one, and recovery leads to one of these, whole.
func TestRebaseCrash(t *testing.T) {
	all := livetest.Forms(t, func(dir string) { livetest.SmallSystem(t, dir) })
	next := livetest.Forms(t, func(dir string) {
		livetest.SmallSystem(t, dir)
		livetest.Write(t, dir+"/usr/bin/brandnew", livetest.Text(43, 2_000), 0o755)
		livetest.Write(t, dir+"/etc/live/version/linuxfs.ver", []byte(livetest.NewVersion+"\n"), 0o644)
	})
	for _, name := range []string{"antiX", "LiveOS, directory"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, onto := all[name](t), next[name](t)
			s.Boot(func(mnt string) { livetest.UseSmall(t, mnt) })
			run := func(d string, n int) (*livetest.Dying, error) {
				e, disk := livetest.Env(t, codec.Auto), &livetest.Dying{Left: n, NoLink: name == "antiX"}
				e.Disk = disk
				_, err := tryRebase(t, e, d, onto.Dir, rebase.Options{Prefer: rebase.PreferOverlay})
				return disk, err
			}
			done := livetest.Duplicate(t, s.Dir)
			whole, err := run(done, 1<<20)
			systest.Must(t, err)
			old, new, alone := livetest.Shown(t, s.Dir), livetest.Shown(t, done),
				livetest.ManifestText(t, livetest.OpenTree(t, s.Dir, "base"))
			if old == new || whole.Commit < 2 {
				t.Fatal("nothing happens")
			}
			met := livetest.CutOff(t, s.Dir, done, whole, run, func(d string) string {
				boots := d
				if name != "antiX" && !livetest.Has(d+"/ovlwork") {
					boots = livetest.Duplicate(t, d) // dracut does not use one without the other
					systest.Must(t, os.RemoveAll(boots+"/overlay-LIVE-12AB-34CD"))
				}
				return map[string]string{old: "old", new: "new", alone: "base alone",
					livetest.ManifestText(t, livetest.OpenTree(t, onto.Dir, "base")): "base alone"}[livetest.Shown(t, boots)]
			})
			if met["old"] == 0 || met["new"] == 0 {
				t.Error(met)
			}
			t.Log(met)
		})
	}
}

// FuzzDecisions: whatever a file of decisions holds, reading it gives an error or
// what can be asked for every path.
func FuzzDecisions(f *testing.F) {
	f.Add("ours /a\ntheirs /a/b # x\nask /\n", "a/b/c")
	f.Add("ours /%00%zz\n", "")
	f.Fuzz(func(t *testing.T, text, path string) {
		d, err := rebase.ReadDecisions(strings.NewReader(text), "file")
		if err != nil {
			return
		}
		c := rebase.Conflict{Path: strings.Trim(path, "/"), Overlay: "x", Base: "y"}
		if d.Has(c.Path) {
			return
		}
		again, err := rebase.ReadDecisions(strings.NewReader(text+"\n"+c.Line()), "file")
		if err != nil || !again.Has(c.Path) {
			t.Errorf("its own line is not read: %q: %v", c.Line(), err)
		}
	})
}
