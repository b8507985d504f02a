package compact_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"relive/codec"
	"relive/remaster/compact"
	"relive/remaster/exclude"
	"relive/remaster/live"
	"relive/remaster/livetest"
	"relive/remaster/verify"
	"relive/tree"
	"relive/tree/systest"
)

// paths lists the paths of a tree below one directory.
func paths(t testing.TB, root *tree.Node, below string) string {
	t.Helper()
	n, err := root.Lookup(below)
	systest.Must(t, err)
	if n == nil {
		return "(none)"
	}
	var out []string
	systest.Must(t, tree.Walk(t.Context(), n, func(path string, _ *tree.Node) error {
		if path != "" {
			out = append(out, path)
		}
		return nil
	}))
	return strings.Join(out, " ")
}

// TestCodecs: the new base can have any codec and block size, and the kernel
// reads it.
func TestCodecs(t *testing.T) {
	t.Parallel()
	can := map[codec.ID]bool{}
	for _, c := range livetest.Env(t, codec.Auto).Library.Describe() {
		can[c.ID] = c.Compress
	}
	for i, id := range []codec.ID{codec.Gzip, codec.LZ4, codec.XZ, codec.Zstd, codec.LZO} {
		l := livetest.Small(t)
		o := livetest.KeepOne()
		o.Codec, o.BlockSize = id.String(), 16<<10<<i
		if !can[id] {
			if id != codec.LZO {
				t.Errorf("%s cannot be written", id)
			}
			if _, err := l.Plan(o); err == nil {
				t.Errorf("%s cannot be written, but is planned", id)
			}
			continue
		}
		l.Compact(o)
		s := l.Status()
		if s.Base.Codec != id.String() || s.Base.BlockSize != o.BlockSize {
			t.Errorf("asked for %s in blocks of %d, got %s in %d", id, o.BlockSize, s.Base.Codec, s.Base.BlockSize)
		}
		livetest.SameTree(t, "merged", "compacted", livetest.Without(t, openOld(t, l), livetest.Stamps...),
			livetest.Without(t, livetest.OpenTree(t, l.Path("linuxfs"), ""), livetest.Stamps...))
		check, err := verify.File(t.Context(), livetest.Env(t, codec.Go), l.Path("linuxfs"))
		if err != nil || !check.OK {
			t.Errorf("%s: verify: %v %v", id, err, check.Findings)
		}
		if os.Geteuid() == 0 {
			mnt, unmount := systest.Mount(t, "squashfs", "loop,ro", l.Path("linuxfs"))
			livetest.SameTree(t, "kernel", "relive", livetest.OpenDir(t, mnt), livetest.OpenTree(t, l.Path("linuxfs"), ""))
			unmount()
		}
	}
}

// TestExcludes: what patterns name is left out, and a pattern that names
// nothing is refused, or a warning where that is allowed.
func TestExcludes(t *testing.T) {
	t.Parallel()
	l := livetest.Small(t)
	o := livetest.KeepOne()
	for _, p := range []string{"var/cache/*.deb", "etc/nothing"} {
		r, err := exclude.ParsePattern(p, "command line")
		systest.Must(t, err)
		o.Excludes = append(o.Excludes, r)
	}
	rules, err := exclude.Parse(strings.NewReader("# a list\nvar/log/!(samba)\n\n"), "list")
	systest.Must(t, err)
	o.Excludes = append(o.Excludes, rules...)
	if _, err := l.Plan(o); err == nil || !strings.Contains(err.Error(), `"etc/nothing"`) {
		t.Errorf("what matches nothing: %v", err)
	}
	o.AllowUnmatched = true
	res := l.Compact(o)
	if res.Plan.Excluded != 4 {
		t.Errorf("%d entries left out, not 4", res.Plan.Excluded)
	}
	if len(res.Warnings) != 1 || !strings.Contains(res.Warnings[0], `"etc/nothing"`) {
		t.Errorf("warnings: %q", res.Warnings)
	}
	if got := paths(t, livetest.OpenTree(t, l.Path("linuxfs"), ""), "var"); got != "cache cache/keep log log/samba log/samba/log" {
		t.Errorf("var holds %s", got)
	}
}

// TestOutput: -o writes one file and leaves the directory as it is.
func TestOutput(t *testing.T) {
	t.Parallel()
	l := livetest.Small(t)
	before := livetest.Hashes(t, l.Dir)
	out := systest.TempDir(t) + "/new.sqfs"
	o := compact.Options{Output: out}
	res := l.Compact(o)
	if res.Path != out {
		t.Errorf("the result is at %s", res.Path)
	}
	livetest.SameTree(t, "merged", "written", livetest.Without(t, livetest.OpenTree(t, l.Dir, ""), livetest.Stamps...),
		livetest.Without(t, livetest.OpenTree(t, out, ""), livetest.Stamps...))
	if after := livetest.Hashes(t, l.Dir); after != before {
		t.Errorf("the directory was changed\nfrom\n%s\nto\n%s", before, after)
	}
	l.Refused(o, "exists already")
	o.Force = true
	l.Compact(o)
}

// TestKeepOld: as many former states are kept as asked for.
func TestKeepOld(t *testing.T) {
	t.Parallel()
	sum := func(l *livetest.Live, name string) string {
		b, err := os.ReadFile(l.Path(name))
		systest.Must(t, err)
		return string(b)
	}
	for keep, want := range map[int]string{
		0: "linuxfs linuxfs.info linuxfs.md5 rootfs",
		1: "linuxfs linuxfs.info linuxfs.info.old linuxfs.md5 linuxfs.md5.old linuxfs.old rootfs rootfs.old",
		3: "linuxfs linuxfs.info linuxfs.info.old linuxfs.info.old.2 linuxfs.info.old.3 linuxfs.md5 linuxfs.md5.old linuxfs.md5.old.2 " +
			"linuxfs.md5.old.3 " +
			"linuxfs.old linuxfs.old.2 linuxfs.old.3 rootfs rootfs.old rootfs.old.2 rootfs.old.3",
	} {
		t.Run(fmt.Sprint(keep), func(t *testing.T) {
			t.Parallel()
			l := livetest.Small(t)
			var states []string
			for i := range 5 {
				states = append(states, sum(l, "linuxfs"))
				l.Compact(compact.Options{KeepOld: keep})
				if i < 4 { // another boot writes something
					root := livetest.Overlaid(livetest.Dir("etc",
						livetest.Dir("live", livetest.Dir("version",
							livetest.File("rootfs.ver", []byte(livetest.ReadFile(t, livetest.OpenTree(t, l.Path("linuxfs"), ""),
								livetest.Stamps[0])))))),
						livetest.File(fmt.Sprint("round", i), []byte("x")))
					livetest.BuildRootfs(t, l.Path("rootfs"), root)
				}
			}
			if got := l.Names(); got != want {
				t.Errorf("the directory holds\n%s\nnot\n%s", got, want)
			}
			for n := 1; n <= keep; n++ {
				name := "linuxfs.old"
				if n > 1 {
					name = fmt.Sprint("linuxfs.old.", n)
				}
				if sum(l, name) != states[len(states)-n] {
					t.Errorf("%s is not the base before the last %d compactions", name, n)
				}
			}
		})
	}
}

// TestNoReset: the overlay stays, stamped for the new base, and the kernel
// shows the same again.
func TestNoReset(t *testing.T) {
	livetest.NeedKernel(t)
	t.Parallel()
	l := livetest.NewLive(t, livetest.SystemImage(t))
	l.Boot(false, func(mnt string) { livetest.Use(t, mnt) })
	before := l.View()
	o := livetest.KeepOne()
	o.NoReset = true
	l.Compact(o)
	systest.Fsck(t, l.Path("rootfs"))
	s := l.Status()
	if s.Overlay.VIDState != live.VIDMatch || s.Overlay.UsedInodes < 100 {
		t.Errorf("version ids: %s; %d inodes in use", s.Overlay.VIDState, s.Overlay.UsedInodes)
	}
	livetest.SameTree(t, "kernel before", "kernel after", livetest.Without(t, livetest.OpenDir(t, before), livetest.Stamps...),
		livetest.Without(t, livetest.OpenDir(t, l.View()), livetest.Stamps...))
	// What it holds can be folded in again.
	if s.Compact.Refused != "" {
		t.Errorf("refused afterwards: %s", s.Compact.Refused)
	}

	l.Options = "redirect_dir=on"
	l.Boot(false, func(mnt string) { systest.Must(t, os.Rename(mnt+"/usr/share/many", mnt+"/usr/share/moved")) })
	l.Refused(o, "redirects")
}

// TestStage: the staged files are what init takes up, by its renames.
func TestStage(t *testing.T) {
	livetest.NeedKernel(t)
	t.Parallel()
	l := livetest.NewLive(t, livetest.SystemImage(t))
	l.Boot(false, func(mnt string) { livetest.Use(t, mnt) })
	systest.Must(t, os.MkdirAll(l.Path("state/machine"), 0o755))
	livetest.Write(t, l.Path("state/machine/file"), []byte("state\n"), 0o644)
	base, err := os.ReadFile(l.Path("linuxfs"))
	systest.Must(t, err)
	root, err := os.ReadFile(l.Path("rootfs"))
	systest.Must(t, err)
	before := l.View()
	l.Compact(compact.Options{KeepOld: 1, Stage: true})
	for name, was := range map[string][]byte{"linuxfs": base, "rootfs": root} {
		if now, err := os.ReadFile(l.Path(name)); err != nil || string(now) != string(was) {
			t.Errorf("%s was changed (%v)", name, err)
		}
	}
	if got := l.Names(); got != "linuxfs linuxfs.info linuxfs.md5.new linuxfs.new rootfs rootfs.new state state.new" {
		t.Errorf("the directory holds %s", got)
	}
	l.Refused(livetest.KeepOne(), "pending")
	// init: for each of its names, X becomes X.old and X.new becomes X.
	for _, name := range []string{"linuxfs", "rootfs", "xtra", "deb", "xtra.tgz", "linuxfs.md5", "state"} {
		for _, r := range [][2]string{{name, name + ".old"}, {name + ".new", name}} {
			if err := os.Rename(l.Path(r[0]), l.Path(r[1])); err != nil && !os.IsNotExist(err) {
				t.Fatal(err)
			}
		}
	}
	systest.Run(t, "sh", "-c", `cd "$1" && md5sum -c --quiet linuxfs.md5`, "sh", l.Dir)
	if b, err := os.ReadFile(l.Path("state/machine/file")); err != nil || string(b) != "state\n" {
		t.Errorf("state/machine/file holds %q (%v)", b, err)
	}
	merged, _ := systest.Mount(t, "squashfs", "loop,ro", l.Path("linuxfs"))
	livetest.SameTree(t, "kernel's overlay", "staged base", livetest.Without(t, livetest.OpenDir(t, before), livetest.Stamps...),
		livetest.Without(t, livetest.OpenDir(t, merged), livetest.Stamps...))
	afterwards(t, l, merged)
	l.Refused(compact.Options{KeepOld: 1, Stage: true}, "linuxfs.old is there")
}

// TestWrapped: a linuxfs that wraps an ext image folds into a plain one.
func TestWrapped(t *testing.T) {
	livetest.NeedKernel(t)
	t.Parallel()
	livetest.SystemImage(t)
	base := livetest.Shared(t, "wrapped.sqfs", func(path string) {
		d := systest.TempDir(t)
		systest.Run(t, "mke2fs", "-q", "-F", "-t", "ext4", "-O", "^has_journal", "-d", livetest.SystemDir(t), d+"/linuxfs", "64M")
		systest.Run(t, "mksquashfs", d, path, "-noappend", "-quiet", "-no-progress", "-comp", "gzip", "-Xcompression-level", "1")
	})
	l := livetest.NewLive(t, base)
	l.Boot(false, func(mnt string) {
		livetest.Write(t, mnt+"/etc/new", []byte("new\n"), 0o644)
		systest.Must(t, os.Remove(mnt+"/usr/bin/tool4"))
		systest.Must(t, os.Chmod(mnt+"/usr/share/big.db", 0o600))
	})
	if !l.Status().Base.Wrapped {
		t.Fatal("the base is not seen as wrapped")
	}
	truth(t, l, livetest.KeepOne())
	if l.Status().Base.Wrapped {
		t.Error("the new base is wrapped too")
	}
}

// TestForce: with --force a rootfs of another base is folded in.
func TestForce(t *testing.T) {
	t.Parallel()
	other := livetest.Dir("etc", livetest.Dir("live",
		livetest.Dir("version", livetest.File("rootfs.ver", []byte("==== ffffffffffffffffffffffffffffffff\n")))))
	l := livetest.Craft(t, livetest.SmallBase(), livetest.Overlaid(other, livetest.Dir("usr", livetest.Whiteout("tool"))),
		livetest.LikeMksquashfs(codec.Gzip, 128<<10))
	l.Refused(livetest.KeepOne(), "do not match")
	o := livetest.KeepOne()
	o.Force = true
	l.Compact(o)
	if got := paths(t, livetest.OpenTree(t, l.Path("linuxfs"), ""), "usr"); got != "big" {
		t.Errorf("usr holds %s", got)
	}
	// No version id in a rootfs that holds something is a mismatch as well.
	l = livetest.Craft(t, livetest.SmallBase(), livetest.Overlaid(livetest.Dir("usr", livetest.Whiteout("tool"))),
		livetest.LikeMksquashfs(codec.Gzip, 128<<10))
	l.Refused(livetest.KeepOne(), "do not match")
}

// TestOrder: the base is replaced before the overlay is reset, and what a boot
// looks for comes last where files are staged.
func TestOrder(t *testing.T) {
	t.Parallel()
	at := func(steps []string, what string) int {
		t.Helper()
		for i, s := range steps {
			if s, _, _ = strings.Cut(s, ", "); s == what {
				return i
			}
		}
		t.Fatalf("there is no step %q: %q", what, steps)
		return 0
	}
	l := livetest.Small(t)
	for _, o := range []compact.Options{{KeepOld: 1}, {KeepOld: 0}, {KeepOld: 3}, {KeepOld: 1, NoReset: true}} {
		p, err := l.Plan(o)
		systest.Must(t, err)
		if s := p.Summary.Steps; at(s, "replace linuxfs") > at(s, "replace rootfs") {
			t.Errorf("%+v: the overlay is reset before the base is replaced: %q", o, s)
		}
	}
	p, err := l.Plan(compact.Options{Stage: true})
	systest.Must(t, err)
	if s := p.Summary.Steps; !strings.Contains(s[len(s)-1], "linuxfs.new") {
		t.Errorf("linuxfs.new does not come last: %q", s)
	}
}

// TestVersion: the new base has a version id of its own, in the form that the
// old one had, and what describes the system stays.
func TestVersion(t *testing.T) {
	t.Parallel()
	for _, id := range []string{"==== 0123456789abcdef0123456789abcdef", "=== 0123456789abcdef0123456789abcdef",
		"==== " + strings.Repeat("0123456789abcdef", 4)} {
		text := id + "\n\ntitle: MX-23 Libretto\ncreation date: 1 January 2024 00:00:00 UTC\nkernel: 6.1.0\nmachine: box\n"
		stamp := func(name string) *tree.Node {
			return livetest.Dir("etc", livetest.Dir("live", livetest.Dir("version", livetest.File(name, []byte(text)))))
		}
		l := livetest.Craft(t, livetest.Dir("", stamp("linuxfs.ver"), livetest.Dir("usr", livetest.File("f", []byte("f")))),
			livetest.Overlaid(stamp("rootfs.ver"), livetest.File("new", []byte("n"))), livetest.LikeMksquashfs(codec.Gzip, 128<<10))
		l.Compact(livetest.KeepOne())
		got := livetest.ReadFile(t, livetest.OpenTree(t, l.Path("linuxfs"), ""), livetest.Stamps[0])
		first, rest, _ := strings.Cut(got, "\n")
		if first == id || len(first) != len(id) || strings.Fields(first)[0] != strings.Fields(id)[0] {
			t.Errorf("version id %q after %q", first, id)
		}
		for _, line := range []string{"title: MX-23 Libretto\n", "kernel: 6.1.0\n", "machine: box\n", "creation date: "} {
			if !strings.Contains(rest, "\n"+line) {
				t.Errorf("the version file lacks %q:\n%s", line, got)
			}
		}
		if strings.Contains(rest, "2024 00:00:00") {
			t.Errorf("the version file has the old date:\n%s", got)
		}
		if rootfs := livetest.ReadFile(t, livetest.OpenTree(t, l.Path("rootfs"), ""), "upper/"+livetest.Stamps[1]); rootfs != got {
			t.Errorf("rootfs.ver is\n%s\nlinuxfs.ver is\n%s", rootfs, got)
		}
	}
}

// TestFreshRootfs: the new rootfs has the size, label, id and owner of the old
// one, and features that a journalled ext4 has.
func TestFreshRootfs(t *testing.T) {
	livetest.NeedKernel(t)
	for i, args := range [][]string{
		{"-t", "ext4", "-m", "0"},
		{"-t", "ext4", "-b", "1024", "-O", "^metadata_csum,^64bit", "-m", "2"},
		{"-t", "ext4", "-b", "2048", "-O", "^has_journal"},
		{"-t", "ext2"},
		{"-t", "ext3", "-b", "4096", "-I", "128"},
	} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			t.Parallel()
			l := livetest.Craft(t, livetest.SmallBase(), nil, livetest.LikeMksquashfs(codec.Gzip, 128<<10))
			l.Mkfs(args...)
			l.Boot(false, func(mnt string) { livetest.Write(t, mnt+"/etc/new", []byte("new\n"), 0o644) })
			before, stBefore := superblock(t, l.Path("rootfs")), livetest.Stat(t, l.Path("rootfs"))
			systest.Must(t, os.Chmod(l.Path("rootfs"), 0o660+os.FileMode(i))) // more than a umask leaves
			systest.Must(t, os.Chown(l.Path("linuxfs"), 1000+i, 1001))
			systest.Must(t, os.Chmod(l.Path("linuxfs"), 0o666))
			l.Compact(livetest.KeepOne())
			after, stAfter := superblock(t, l.Path("rootfs")), livetest.Stat(t, l.Path("rootfs"))
			if stAfter.Size() != stBefore.Size() || stAfter.Mode().Perm() != 0o660+os.FileMode(i) {
				t.Errorf("size %d, mode %o; were %d, %o", stAfter.Size(), stAfter.Mode().Perm(), stBefore.Size(), 0o660+i)
			}
			base := livetest.Stat(t, l.Path("linuxfs"))
			if owner := base.Sys().(*syscall.Stat_t); base.Mode().Perm() != 0o666 || owner.Uid != uint32(1000+i) || owner.Gid != 1001 {
				t.Errorf("linuxfs has mode %o, owner %d:%d; had 666, %d:1001", base.Mode().Perm(), owner.Uid, owner.Gid, 1000+i)
			}
			for _, key := range []string{"Filesystem volume name", "Filesystem UUID", "Block size", "Reserved block count"} {
				if before[key] != after[key] {
					t.Errorf("%s: %q, was %q", key, after[key], before[key])
				}
			}
			features := []string{"has_journal", "extent", "filetype"}
			if slices.Contains(args, "^has_journal") { // its owner's choice, which stays
				features = features[1:]
			}
			for _, f := range features {
				if !strings.Contains(" "+after["Filesystem features"]+" ", " "+f+" ") {
					t.Errorf("features %q lack %s", after["Filesystem features"], f)
				}
			}
			systest.Fsck(t, l.Path("rootfs"))
			mnt, unmount := systest.Mount(t, "ext4", "loop", l.Path("rootfs"))
			livetest.Write(t, mnt+"/upper/x", []byte("x"), 0o644)
			unmount()
			systest.Fsck(t, l.Path("rootfs"))
		})
	}
}

// image gives what dumpe2fs tells of an image's superblock.
func superblock(t testing.TB, path string) map[string]string {
	t.Helper()
	systest.NeedTools(t, "dumpe2fs")
	out := map[string]string{}
	for line := range strings.SplitSeq(systest.Run(t, "dumpe2fs", "-h", path), "\n") {
		if k, v, ok := strings.Cut(line, ":"); ok {
			out[k] = strings.TrimSpace(v)
		}
	}
	return out
}
