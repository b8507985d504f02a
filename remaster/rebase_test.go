package remaster_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"relive/remaster/job"
	"relive/remaster/live"
	"relive/remaster/rebase"
	"relive/remaster/refusal"
	"relive/remaster/update"
	"relive/squash/codec"
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
	} else if from, err = runSource(t, e, onto); err != nil {
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
	res, err := tryRebase(t, environment(t, codec.Auto), dir, onto, o)
	if err != nil {
		t.Fatalf("rebase: %v (hint: %s)", err, refusal.Hint(err))
	}
	return res
}

// upgrade is what a new base brings to a small system.
func upgrade(t testing.TB, d string) {
	t.Helper()
	write(t, d+"/opt/tool", text(41, 6_000), 0o755)
	write(t, d+"/usr/share/deep/a/b/more", text(42, 2_000), 0o644)
	write(t, d+"/usr/bin/brandnew", text(43, 2_000), 0o755)
	write(t, d+"/var/lib/dpkg/status", text(44, 2_200), 0o644)
	write(t, d+"/usr/share/untouched", text(45, 3_000), 0o644)
	systest.Must(t, os.RemoveAll(d+"/srv/emptied"))
	systest.Must(t, os.Remove(d+"/srv/becomes"))
	write(t, d+"/srv/becomes/a/dir", []byte("x"), 0o644)
}

// TestRebaseTruth: after a rebase the kernel shows what comes of doing by hand,
// in the new base, what was done in the old system.
func TestRebaseTruth(t *testing.T) {
	requireKernel(t)
	systest.NeedTools(t, "setfattr")
	for _, options := range []string{"", "redirect_dir=on,metacopy=on,index=on", "redirect_dir=off,metacopy=off"} {
		t.Run("options "+options, func(t *testing.T) {
			t.Parallel()
			d := systest.TempDir(t)
			systest.Must(t, os.Chmod(d, 0o755))
			smallSystem(t, d)
			for _, name := range []string{"opt/mode", "opt/cap", "opt/renamed/a/one", "opt/renamed/two", "srv/emptied/a", "srv/emptied/b", "srv/becomes", "srv/shut/a", "srv/shut/b", "srv/linked"} {
				write(t, d+"/"+name, text(31, 800), 0o644)
			}
			systest.Must(t, os.Link(d+"/srv/linked", d+"/opt/linked"))
			settle(t, d)
			base := systest.TempDir(t) + "/base"
			systest.Run(t, "mksquashfs", d, base, "-noappend", "-quiet", "-no-progress", "-comp", "gzip")
			ours := func(mnt string) {
				write(t, mnt+"/etc/hostname", []byte("named\n"), 0o644)
				write(t, mnt+"/etc/of-ours", []byte("x"), 0o600)
				systest.Must(t, os.Link(mnt+"/etc/of-ours", mnt+"/opt/twice"))
				systest.Must(t, os.Remove(mnt+"/opt/gone"))
				systest.Must(t, os.Chmod(mnt+"/opt/tool", 0o700)) // whose content is another in the new base
				systest.Run(t, "setfattr", "-n", "security.capability", "-v", fmt.Sprintf("0x%x", capability), mnt+"/opt/cap")
				systest.Must(t, unix.Lsetxattr(mnt+"/etc/of-ours", "system.posix_acl_access", acl, 0)) // which SquashFS cannot hold
				systest.Must(t, os.RemoveAll(mnt+"/srv/shut"))
				write(t, mnt+"/srv/shut/new", []byte("alone"), 0o644)
				systest.Must(t, os.Chmod(mnt+"/usr/share/deep", 0o750))
				systest.Run(t, "mv", mnt+"/opt/renamed", mnt+"/opt/under-another-name")
				systest.Must(t, os.Remove(mnt+"/srv/linked"))
				write(t, mnt+"/var/cache/new/deep/file", text(5, 900), 0o644)
				sparse(t, mnt+"/var/cache/sparse.img", 3_000_000, 1_000_000)
			}
			l := newLive(t, base)
			l.options = options
			l.boot(false, ours)
			before := copied(t, l.view())

			d2 := systest.TempDir(t)
			systest.Run(t, "cp", "-a", d+"/.", d2)
			upgrade(t, d2)
			systest.Must(t, os.Remove(d2+"/etc/live/version/linuxfs.ver"))
			write(t, d2+"/etc/live/version/linuxfs.ver", []byte(newVersion+"\n"), 0o644)
			onto := systest.TempDir(t) + "/linuxfs-new"
			systest.Run(t, "mksquashfs", d2, onto, "-noappend", "-quiet", "-no-progress", "-comp", "zstd")
			expected := systest.TempDir(t)
			systest.Must(t, os.Chmod(expected, 0o755))
			systest.Run(t, "cp", "-a", d2+"/.", expected)
			write(t, expected+"/etc/live/version/rootfs.ver", []byte(newVersion+"\n"), 0o644)
			ours(expected)

			res := mustRebase(t, l.dir, onto, rebase.Options{})
			s := res.Plan.Rebase
			if res.Plan.Overlay.Fate != update.FateRebased || s == nil || s.Conflicts != 0 || s.After.Inodes == 0 || s.Size != 48<<20 {
				t.Errorf("%+v, %+v", res.Plan.Overlay, s)
			}
			systest.Fsck(t, l.path("rootfs"))
			systest.Run(t, "cmp", l.path("linuxfs"), onto)
			got := l.view()
			root := openDir(t, got)
			o := tree.CompareOptions{WholeSeconds: true, Links: true}
			drop := []string{"lost+found", "etc/live/version/rootfs.ver"}
			timeless := func(root *tree.Node) *tree.Node { return recent(without(t, root, drop...)) }
			same(t, "by hand", "the kernel", timeless(openDir(t, expected)), timeless(root), o)
			same(t, "the kernel", "relive", without(t, root, drop...), without(t, openTree(t, l.dir, ""), drop...), o)
			if st := l.status(); st.Overlay.VIDState != live.VIDMatch || st.Overlay.VID != newVersion || len(st.Warnings) > 0 {
				t.Errorf("%q: %s, %q", st.Overlay.VID, st.Overlay.VIDState, st.Warnings)
			}
			// No more is in the layer than the changes.
			if n := s.After.Inodes; n > 60 {
				t.Errorf("the new overlay holds %d files", n)
			}
			l.rollback()
			sameTree(t, "before", "after the rollback", before, copied(t, l.view()))
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
		info = append(info, file(name+".list", []byte("/usr/share/"+name+"\n")))
	}
	return dir("var", dir("lib", dir("dpkg", file("status", []byte(status.String())), dir("info", info...), file("lock", nil))))
}

// rebaseDir makes an antiX directory and a new base.
func rebaseDir(t testing.TB, was, is, upper []*tree.Node) (d, onto string) {
	t.Helper()
	version := func(id string) *tree.Node { return etc(id) }
	l := craft(t, dir("", append(was, version("1"))...), nil, likeMksquashfs(codec.Gzip, 128<<10))
	top := *merging(dir("", upper...))
	top.Name = "upper"
	buildRootfs(t, l.path("rootfs"), dir("", &top, dir("work")))
	onto = systest.TempDir(t) + "/new.squashfs"
	writeSquash(t, onto, dir("", append(is, version("2"))...), likeMksquashfs(codec.Gzip, 128<<10))
	return l.dir, onto
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
		if !hasWarning(res.Warnings, "the database of dpkg in /var/lib/dpkg is") {
			t.Errorf("%s: %q", prefer, res.Warnings)
		}
		side := map[rebase.Prefer]*tree.Node{rebase.PreferOverlay: ours(), rebase.PreferBase: is()}[prefer]
		lib := openTree(t, d, "")
		if got, want := readFile(t, lib, "var/lib/dpkg/status"), readFile(t, dir("", side), "var/lib/dpkg/status"); got != want {
			t.Errorf("%s: the database is\n%s\nnot\n%s", prefer, got, want)
		}
		for name, of := range map[string]rebase.Prefer{"mine": rebase.PreferOverlay, "brand": rebase.PreferBase} {
			if n, err := lib.Lookup("var/lib/dpkg/info/" + name + ".list"); err != nil || (n != nil) != (of == prefer) {
				t.Errorf("%s: the list of %s: %v, %v", prefer, name, n, err)
			}
		}
	}
	// A damaged one is taken as it is.
	damaged := dir("var", dir("lib", dir("dpkg", file("status", []byte("no field\n")))))
	d, onto := make(is(), damaged)
	res := mustRebase(t, d, onto, rebase.Options{Prefer: rebase.PreferBase})
	if db := res.Plan.Rebase.Databases; len(db) != 1 || !strings.Contains(db[0].Unread, "no field") || !hasWarning(res.Warnings, "it cannot be told here: ") {
		t.Errorf("%+v, %q", db, res.Warnings)
	}
	// Nothing decides, and where only one side has changed it there is no question.
	d, onto = make(is(), ours())
	_, err := tryRebase(t, environment(t, codec.Auto), d, onto, rebase.Options{})
	var conflicts *rebase.Conflicts
	if !errors.As(err, &conflicts) || conflicts.Count != 1 || conflicts.Conflicts[0].Database != "dpkg" || !strings.Contains(conflicts.Fact, "the database of packages in /var/lib/dpkg") {
		t.Errorf("%v", err)
	}
	d, onto = make(was(), ours())
	if r := mustRebase(t, d, onto, rebase.Options{}).Plan.Rebase; r.Conflicts != 0 || len(r.Databases) != 0 {
		t.Errorf("%+v", r)
	}
	if s := readFile(t, openTree(t, d, ""), "var/lib/dpkg/status"); !strings.Contains(s, "mine") {
		t.Errorf("the database is\n%s", s)
	}
}

// TestRebaseDecisions: a file of decisions decides by path, and what it leaves
// open is refused.
func TestRebaseDecisions(t *testing.T) {
	t.Parallel()
	f := func(name, content string) *tree.Node { return file(name, []byte(content)) }
	three := func(s string) []*tree.Node {
		return []*tree.Node{dir("d", f("a", s), f("b", s), dir("e", f("c", s))), f("odd \n%name", s), f("z", s)}
	}
	const text = "# a comment\n\nours /d  # all below\ntheirs /d/e\nask /z\ntheirs /odd%20%0A%25name\n"
	read := func(s string) *rebase.Decisions {
		d, err := rebase.ReadDecisions(strings.NewReader(s), "file")
		systest.Must(t, err)
		return d
	}
	d, onto := rebaseDir(t, three("1"), three("2"), three("3"))
	before := sums(t, d)
	var lines []string
	_, err := tryRebase(t, environment(t, codec.Auto), d, onto, rebase.Options{Decisions: read(text), Conflict: func(c rebase.Conflict) error {
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
	if !maps.Equal(before, sums(t, d)) {
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
	got := openTree(t, d, "")
	for path, want := range map[string]string{"d/a": "3", "d/b": "3", "d/e/c": "2", "odd \n%name": "2", "z": "3"} {
		if s := readFile(t, got, path); s != want {
			t.Errorf("%q holds %s, not %s", path, s, want)
		}
	}
	for s, fact := range map[string]string{"maybe /d\n": `line 1: "maybe" is neither`, "ours\n": "line 1: there is no path", "\nours d\n": "line 2: there is no path", "ours /%zz\n": "line 1: /%zz", "ours /" + strings.Repeat("x", 1<<16): "line 1"} {
		if _, err := rebase.ReadDecisions(strings.NewReader(s), "file"); err == nil || !strings.Contains(err.Error(), "file: "+fact) {
			t.Errorf("%.40q: %v", s, err)
		}
	}
}

// TestRebaseInPlace: a set that was written over a former base, and that has
// conflicts with the present one, is carried over as decided.
func TestRebaseInPlace(t *testing.T) {
	t.Parallel()
	f := func(name, content string) *tree.Node { return file(name, []byte(content)) }
	top := func(kids ...*tree.Node) *tree.Node { return dir("", append(kids, dir("etc"))...) }
	for prefer, want := range map[rebase.Prefer]string{rebase.PreferOverlay: "3", rebase.PreferBase: "2"} {
		moved := with(dir("moved"), func(n *tree.Node) {
			n.Xattrs = tree.Xattrs{{Name: "trusted.overlay.redirect", Value: "/stays"}}
		})
		d := restampDir(t, top(f("a", "1"), f("b", "1"), dir("stays", f("x", "1"))), top(f("a", "2"), f("b", "2"), dir("stays", f("x", "1"))),
			top(f("a", "3"), f("c", "3"), moved, whiteout("stays")))
		e := environment(t, codec.Auto)
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
			if s := readFile(t, got, path); s != want {
				t.Errorf("%s: %s holds %s, not %s", prefer, path, s, want)
			}
		}
		if n, err := got.Lookup("stays"); n != nil || err != nil {
			t.Errorf("%s: what was renamed is there twice: %v", prefer, err)
		}
		// Once more there is nothing to do.
		before := sums(t, d)
		systest.Must(t, restamp(t, e, d, "work"))
		if !maps.Equal(before, sums(t, d)) {
			t.Error("a second time something was changed")
		}
	}
}

// TestRebaseRefused: what cannot be carried over is refused, and nothing changes.
func TestRebaseRefused(t *testing.T) {
	requireKernel(t)
	t.Parallel()
	refused := func(dir, onto, fact, hint string, o rebase.Options) {
		t.Helper()
		before := hashes(t, dir)
		_, err := tryRebase(t, environment(t, codec.Auto), dir, onto, o)
		if err == nil || !strings.Contains(err.Error(), fact) || !strings.Contains(refusal.Hint(err), hint) {
			t.Errorf("%s: %v (hint %q)", fact, err, refusal.Hint(err))
		}
		if hashes(t, dir) != before {
			t.Error("it was changed")
		}
	}
	big := func(n int) []*tree.Node { return []*tree.Node{file("big", noise(3, n))} }
	f := func(name, content string) *tree.Node { return file(name, []byte(content)) }
	d, onto := rebaseDir(t, nil, nil, []*tree.Node{f("a", "1")})
	refused(d, onto, "--prefer maybe: neither ours nor theirs", "", rebase.Options{Prefer: "maybe"})
	write(t, d+"/none", noise(1, 9000), 0o644)
	refused(d, d+"/none", "none", "", rebase.Options{})
	empty := systest.TempDir(t) + "/empty"
	writeSquash(t, empty, dir("", f("x", "1")), likeMksquashfs(codec.Gzip, 128<<10))
	refused(d, empty, "holds no system", "", rebase.Options{})
	cut := systest.TempDir(t) + "/cut"
	b, err := os.ReadFile(onto)
	systest.Must(t, err)
	systest.Must(t, os.WriteFile(cut, b[:300], 0o644))
	refused(d, cut, "", "", rebase.Options{})

	// A base that brings much makes the layer no larger, but one whose file gets
	// another mode does.
	is := big(200 << 20 / 16)
	with := with(is[0], func(n *tree.Node) {})
	d, onto = rebaseDir(t, []*tree.Node{f("big", "1")}, []*tree.Node{with}, []*tree.Node{func() *tree.Node { n := f("big", "1"); n.Perm = 0o600; return n }()})
	systest.Must(t, os.Truncate(d+"/rootfs", stat(t, d+"/rootfs").Size()))
	l := &frugal{t: t, dir: d}
	systest.Run(t, "mke2fs", "-q", "-F", "-t", "ext4", "-L", "rootfs", l.path("rootfs")+".small", "4M")
	systest.Must(t, os.Rename(l.path("rootfs")+".small", l.path("rootfs")))
	l.boot(false, func(mnt string) { systest.Must(t, os.Chmod(mnt+"/big", 0o600)) })
	refused(d, onto, "room for", "--grow", rebase.Options{})
	if s := mustRebase(t, d, onto, rebase.Options{Grow: true}).Plan.Rebase; s.Size <= s.OldSize {
		t.Errorf("%+v", s)
	}
	systest.Fsck(t, l.path("rootfs"))

	system := systest.TempDir(t)
	smallSystem(t, system)
	m := liveOS(t).fill(system, "dm", false, false, "-comp", "gzip")
	m.boot(false, func(mnt string) { write(t, mnt+"/opt/new", []byte("new"), 0o644) })
	upgrade := systest.TempDir(t)
	smallSystem(t, upgrade)
	write(t, upgrade+"/usr/bin/brandnew", text(43, 2_000), 0o755)
	refused(m.dir, liveOS(t).fill(upgrade, "none", false, false, "-comp", "gzip").dir, "holds chunks of the file system in its base and no files", "compact --image FILE", rebase.Options{})

	// A rootfs that fits neither.
	d, onto = rebaseDir(t, nil, nil, []*tree.Node{dir("etc", dir("live", dir("version", f("rootfs.ver", "==== 77777777777777777777777777777777\n")))), f("a", "1")})
	refused(d, onto, "do not match", "without --onto", rebase.Options{})
}

// TestRebaseCrash: wherever it is cut off, a boot shows the old system or the new
// one, and recovery leads to one of these, whole.
func TestRebaseCrash(t *testing.T) {
	all := showings(t, func(dir string) { smallSystem(t, dir) })
	next := showings(t, func(dir string) {
		smallSystem(t, dir)
		write(t, dir+"/usr/bin/brandnew", text(43, 2_000), 0o755)
		write(t, dir+"/etc/live/version/linuxfs.ver", []byte(newVersion+"\n"), 0o644)
	})
	for _, name := range []string{"antiX", "LiveOS, directory"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, onto := all[name](t), next[name](t)
			s.boot(func(mnt string) { useSmall(t, mnt) })
			run := func(d string, n int) (*dying, error) {
				e, disk := environment(t, codec.Auto), &dying{left: n, noLink: name == "antiX"}
				e.Disk = disk
				_, err := tryRebase(t, e, d, onto.dir, rebase.Options{Prefer: rebase.PreferOverlay})
				return disk, err
			}
			done := duplicate(t, s.dir)
			whole, err := run(done, 1<<20)
			systest.Must(t, err)
			old, new, alone := shown(t, s.dir), shown(t, done), manifestText(t, openTree(t, s.dir, "base"))
			if old == new || whole.commit < 2 {
				t.Fatal("nothing happens")
			}
			met := cutOff(t, s.dir, done, whole, run, func(d string) string {
				boots := d
				if name != "antiX" && !has(d+"/ovlwork") {
					boots = duplicate(t, d) // dracut does not use one without the other
					systest.Must(t, os.RemoveAll(boots+"/overlay-LIVE-12AB-34CD"))
				}
				return map[string]string{old: "old", new: "new", alone: "base alone", manifestText(t, openTree(t, onto.dir, "base")): "base alone"}[shown(t, boots)]
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
