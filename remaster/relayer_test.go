package remaster_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"relive/remaster/job"
	"relive/remaster/live"
	"relive/remaster/refusal"
	"relive/remaster/status"
	"relive/remaster/upper"
	"relive/squash/codec"
	"relive/tree"
	"relive/tree/systest"
)

// exactly fails the test for each difference of two trees.
func exactly(t testing.TB, nameA, nameB string, a, b *tree.Node) {
	t.Helper()
	same(t, nameA, nameB, a, b, tree.CompareOptions{Links: true})
}

func same(t testing.TB, nameA, nameB string, a, b *tree.Node, o tree.CompareOptions) {
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

// duplicate copies a directory with all attributes.
func duplicate(t testing.TB, from string) string {
	t.Helper()
	to := systest.TempDir(t)
	systest.Run(t, "cp", "-a", "--sparse=always", from+"/.", to+"/")
	return to
}

// relayer makes the overlay of a live directory show a tree.
func relayer(t testing.TB, e *job.Env, dir string, want func(l *live.Live) *tree.Node, o upper.Options) (*upper.Summary, error) {
	t.Helper()
	l, err := live.Open(t.Context(), e, dir)
	if err != nil {
		return nil, err
	}
	defer l.Close()
	p, err := upper.New(t.Context(), e, l, "relayer", want(l), o)
	if err != nil {
		return nil, err
	}
	return &p.Summary, p.Run(t.Context())
}

func mustRelayer(t testing.TB, dir string, want func(l *live.Live) *tree.Node, o upper.Options) *upper.Summary {
	t.Helper()
	s, err := relayer(t, environment(t, codec.Auto), dir, want, o)
	if err != nil {
		t.Fatalf("%v (hint: %s)", err, refusal.Hint(err))
	}
	return s
}

// showing is a live directory in one of the forms that there are.
type showing struct {
	dir  string
	boot func(fn func(mnt string))
	view func() string // what the kernel shows of a copy
	over string        // the image, "" for directories
}

func (m *medium) showing() *showing {
	s := &showing{dir: m.dir, boot: func(fn func(string)) { m.boot(false, fn) }, view: m.view}
	if m.kind == "image" {
		s.over = m.path(m.over)
	}
	return s
}

func (d *debian) showing() *showing {
	return &showing{dir: d.dir, over: d.path(d.over), view: func() string {
		// A tree of a directory has nothing of what is mounted in it.
		mnt, drop := d.mounted(true)
		defer drop()
		return duplicate(d.t, mnt)
	}, boot: func(fn func(string)) {
		mnt, drop := d.mounted(false)
		fn(mnt)
		drop()
	}}
}

// showings makes a live directory of each form that has an overlay of files.
func showings(t *testing.T, fill func(dir string)) map[string]func(t *testing.T) *showing {
	requireKernel(t)
	system := systest.TempDir(t)
	systest.Must(t, os.Chmod(system, 0o755))
	fill(system)
	return map[string]func(t *testing.T) *showing{
		"antiX": func(t *testing.T) *showing {
			base := systest.TempDir(t) + "/base"
			systest.Run(t, "mksquashfs", system, base, "-noappend", "-quiet", "-no-progress", "-comp", "gzip")
			l := newLive(t, base, "-t", "ext4", "-N", "2000")
			l.options = "redirect_dir=on,metacopy=on"
			return &showing{dir: l.dir, over: l.path("rootfs"), boot: func(fn func(string)) { l.boot(false, fn) }, view: l.view}
		},
		"LiveOS, image": func(t *testing.T) *showing {
			return liveOS(t).fill(system, "image", false, false, "-comp", "gzip").showing()
		},
		"LiveOS, directory": func(t *testing.T) *showing {
			return liveOS(t).fill(system, "dir", true, false, "-comp", "gzip").showing()
		},
		"archiso": func(t *testing.T) *showing {
			return archiso(t, "dir").fill(system, "dir", true, false, "-comp", "gzip").showing()
		},
		"casper": func(t *testing.T) *showing {
			d := &debian{frugal: frugal{t: t, dir: systest.TempDir(t)}, over: "writable", names: [2]string{"upper", "work"}, unions: []string{"/ ."},
				images: []string{"casper/a.b.squashfs", "casper/a.squashfs"}}
			squashed(t, d.path("casper/a.squashfs"), func(dir string) {
				systest.Run(t, "cp", "-a", system+"/.", dir)
				write(t, dir+"/opt/hidden", nil, 0o644)
			})
			squashed(t, d.path("casper/a.b.squashfs"), func(dir string) {
				write(t, dir+"/usr/share/upper", text(70, 9000), 0o644)
				systest.Run(t, "mkdir", "-p", dir+"/opt")
				systest.Run(t, "mknod", dir+"/opt/hidden", "c", "0", "0")
			})
			systest.Run(t, "mke2fs", "-q", "-F", "-t", "ext4", d.path("writable"), "32M")
			return d.showing()
		},
		"Debian, image": func(t *testing.T) *showing { return debianLive(t, system, true).showing() },
		"Debian, directory": func(t *testing.T) *showing {
			s := debianLive(t, system, false).showing()
			s.over = ""
			return s
		},
	}
}

// debianLive makes a medium of Debian live with several unions.
func debianLive(t *testing.T, system string, image bool) *debian {
	d := &debian{frugal: frugal{t: t, dir: systest.TempDir(t)}, over: "persistence", names: [2]string{"rw", "work"},
		images: []string{"live/filesystem.squashfs"}, unions: []string{"/ .", "/usr/share/deep share", "/var/lib state/lib"}}
	squashed(t, d.path("live/filesystem.squashfs"), func(dir string) { systest.Run(t, "cp", "-a", system+"/.", dir) })
	p := systest.TempDir(t)
	if !image {
		p = d.path("persistence")
	}
	write(t, p+"/persistence.conf", []byte("/ union,source=.\n/var/lib union,source=state/lib\n/usr/share/deep union,source=share\n/home\n"), 0o644)
	write(t, p+"/home/user/letter", []byte("dear"), 0o600)
	write(t, p+"/rw/var/lib/hidden", []byte("where no boot shows it"), 0o600)
	for _, dir := range []string{"work", "share/rw", "share/work", "state/lib/rw", "state/lib/work"} {
		systest.Must(t, os.MkdirAll(filepath.Join(p, dir), 0o755))
	}
	if image {
		systest.Run(t, "mke2fs", "-q", "-F", "-t", "ext4", "-L", "persistence", "-d", p, d.path("persistence"), "48M")
	}
	return d
}

// directories sees that there are directories at some paths.
func directories(t testing.TB, root string, paths ...string) {
	t.Helper()
	for _, p := range paths {
		at := root
		for part := range strings.SplitSeq(p, "/") {
			at += "/" + part
			if st, err := os.Lstat(at); err == nil && !st.IsDir() {
				systest.Must(t, os.Remove(at))
			}
		}
		systest.Must(t, os.MkdirAll(at, 0o755))
	}
}

// TestRelayerTruth: over several rounds of use and relayering, the kernel shows
// of base and new overlay the tree that was asked for, made by hand of what it
// showed before.
func TestRelayerTruth(t *testing.T) {
	seed := rand.Uint64()
	if s := os.Getenv("RELIVE_SEED"); s != "" {
		var err error
		seed, err = strconv.ParseUint(s, 10, 64)
		systest.Must(t, err)
	}
	all := showings(t, func(dir string) {
		smallSystem(t, dir)
		systest.Must(t, os.Link(dir+"/opt/tool", dir+"/usr/share/tool2"))
		sparse(t, dir+"/var/lib/sparse.img", 3_000_000, 1_000_000)
		h := &hand{t: t, r: rand.New(rand.NewPCG(seed, 99)), root: dir}
		for range 60 {
			h.act()
		}
		directories(t, dir, "usr/share/deep", "var/lib", "etc/live/version", "opt")
		write(t, dir+"/etc/live/version/linuxfs.ver", []byte(versionText), 0o644)
	})
	for i, name := range slices.Sorted(maps.Keys(all)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			t.Logf("RELIVE_SEED=%d", seed)
			s := all[name](t)
			h := &hand{t: t, r: rand.New(rand.NewPCG(seed, uint64(i)))}
			act := func(root string, times int) {
				in := []string{""}
				if strings.HasPrefix(name, "Debian") {
					in = []string{"/opt", "/usr/share/deep", "/var/lib"} // mounts stay where they are
				}
				for j := range times {
					h.root = root + in[j%len(in)]
					h.act()
				}
			}
			for round := range 2 {
				s.boot(func(mnt string) {
					act(mnt, 40)
					if name == "antiX" || round == 0 {
						systest.Must(t, os.RemoveAll(mnt+"/new-sparse.img"))
						sparse(t, mnt+"/new-sparse.img", 5_000_000, 4_000_000)
					}
				})
				before := s.view()
				// By hand: a copy of what the kernel shows, and things done to it.
				shown := systest.TempDir(t)
				systest.Run(t, "cp", "-a", before+"/.", shown)
				act(shown, 30)
				directories(t, shown, "usr/share/deep", "var/lib", "etc/live/version")
				if name == "antiX" {
					// It stays whether it is asked for or not.
					systest.Must(t, os.RemoveAll(shown+"/etc/live/version/rootfs.ver"))
				}
				want := openDir(t, shown)
				sum := mustRelayer(t, s.dir, func(*live.Live) *tree.Node { return want }, upper.Options{KeepOld: 1})
				drop := []string{"lost+found", "etc/live/version/rootfs.ver"}
				// A link cannot lead from one mount to another.
				o := tree.CompareOptions{Links: !strings.HasPrefix(name, "Debian")}
				same(t, "wanted", "relive after", without(t, want, drop...), without(t, openTree(t, s.dir, ""), drop...), o)
				same(t, "wanted", "the kernel after", without(t, want, drop...), without(t, openDir(t, s.view()), drop...), o)
				if s.over != "" {
					systest.Fsck(t, s.over)
				}
				if st := statusOf(t, s.dir); len(st.Warnings) > 0 {
					t.Errorf("the status warns: %q", st.Warnings)
				}
				if sum.After.Inodes == 0 || len(sum.Steps) == 0 {
					t.Errorf("%+v", sum)
				}
				if t.Failed() {
					t.Fatalf("in round %d", round)
				}
			}
		})
	}
}

// TestRelayerSame: an overlay that is to show what it shows becomes the least
// layer that does so; what lies beside it in the image stays.
func TestRelayerSame(t *testing.T) {
	all := showings(t, func(dir string) { smallSystem(t, dir) })
	for name, make := range all {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := make(t)
			s.boot(func(mnt string) {
				useSmall(t, mnt)
				write(t, mnt+"/usr/share/deep/only-here", []byte("in the union"), 0o644)
				write(t, mnt+"/var/lib/dpkg/status", text(61, 2_100), 0o644)
			})
			before := s.view()
			sameTree(t, "the kernel", "relive", without(t, openDir(t, before), "lost+found"), without(t, openTree(t, s.dir, ""), "lost+found"))
			same := func(l *live.Live) *tree.Node { return l.Merged }
			mustRelayer(t, s.dir, same, upper.Options{KeepOld: 1})
			exactly(t, "before", "after", without(t, openDir(t, before), "lost+found"), without(t, openDir(t, s.view()), "lost+found"))
			if !strings.HasPrefix(name, "Debian") {
				return
			}
			root := filepath.Join(s.dir, "persistence")
			if s.over != "" {
				c := systest.TempDir(t) + "/image"
				systest.CopyFile(t, s.over, c)
				root, _ = systest.Mount(t, "ext4", "loop,ro", c)
			}
			for path, want := range map[string]string{"home/user/letter": "dear", "rw/var/lib/hidden": "where no boot shows it", "share/rw/only-here": "in the union"} {
				if b, err := os.ReadFile(root + "/" + path); err != nil || string(b) != want {
					t.Errorf("%s: %q, %v", path, b, err)
				}
			}
			if has(root+"/rw/usr/share/deep") || has(root+"/rw/var/lib/dpkg") {
				t.Error("the outer layer holds what belongs to the inner ones")
			}
			empty := func(l *live.Live) *tree.Node { return l.Base.Root }
			mustRelayer(t, s.dir, empty, upper.Options{DropHidden: true})
			l, err := live.Open(t.Context(), environment(t, codec.Auto), s.dir)
			systest.Must(t, err)
			defer l.Close()
			if !l.Overlay.Empty || has(filepath.Join(s.dir, "persistence.old")) {
				t.Error("a layer that is to show nothing is not empty, or a former one is kept")
			}
		})
	}
}

func statusOf(t testing.TB, dir string) *status.Status {
	t.Helper()
	return (&frugal{t: t, dir: dir}).status()
}

// TestRelayerAufs: in the form of aufs, what relive shows of base and new overlay
// is the tree that was asked for; of aufs's own files none is left.
func TestRelayerAufs(t *testing.T) {
	requireKernel(t)
	t.Parallel()
	d := systest.TempDir(t)
	smallSystem(t, d)
	base := systest.TempDir(t) + "/base"
	systest.Run(t, "mksquashfs", d, base, "-noappend", "-quiet", "-no-progress", "-comp", "gzip")
	l := &frugal{t: t, dir: systest.TempDir(t)}
	systest.CopyFile(t, base, l.path("linuxfs"))
	u := systest.TempDir(t)
	write(t, u+"/etc/live/version/rootfs.ver", []byte(versionText), 0o644)
	write(t, u+"/etc/new", []byte("new"), 0o600)
	write(t, u+"/opt/.wh.gone", nil, 0o444)
	write(t, u+"/usr/share/deep/.wh..wh..opq", nil, 0o444)
	write(t, u+"/usr/share/deep/fresh", []byte("fresh"), 0o644)
	write(t, u+"/.wh..wh.plnk/17.42", []byte("a pseudo-link"), 0o600)
	systest.Run(t, "mknod", u+"/etc/null0", "c", "0", "0")
	systest.Run(t, "mke2fs", "-q", "-F", "-t", "ext4", "-d", u, l.path("rootfs"), "16M")

	shown := systest.TempDir(t)
	systest.Must(t, os.Chmod(shown, 0o755))
	smallSystem(t, shown)
	write(t, shown+"/etc/live/version/rootfs.ver", []byte(versionText), 0o644)
	systest.Must(t, os.Remove(shown+"/opt/tool"))
	systest.Run(t, "mknod", shown+"/opt/tool", "c", "0", "0")
	systest.Run(t, "setfattr", "-n", "trusted.overlay.opaque", "-v", "y", shown+"/opt/gone")
	systest.Must(t, os.RemoveAll(shown+"/usr/share/deep"))
	write(t, shown+"/usr/share/deep", []byte("a file now"), 0o644)
	systest.Must(t, os.Remove(shown+"/etc/hostname"))
	write(t, shown+"/etc/hostname/inside", []byte("a directory now"), 0o644)
	systest.Must(t, os.RemoveAll(shown+"/var"))
	want := openDir(t, shown)
	mustRelayer(t, l.dir, func(*live.Live) *tree.Node { return want }, upper.Options{})
	drop := "etc/live/version/rootfs.ver" // as it was, with its time
	exactly(t, "wanted", "relive after", without(t, want, drop), without(t, openTree(t, l.dir, ""), drop))
	systest.Fsck(t, l.path("rootfs"))
	root, _ := systest.Mount(t, "ext4", "loop,ro", l.path("rootfs"))
	for _, path := range []string{".wh.var", "etc/hostname/.wh..wh..opq", "etc/hostname/inside", "opt/gone"} {
		if !has(root + "/" + path) {
			t.Errorf("%s is missing", path)
		}
	}
	for _, path := range []string{".wh..wh.plnk", "etc/new", "opt/.wh.gone", "usr/share/big.db.db"} {
		if has(root + "/" + path) {
			t.Errorf("%s is there", path)
		}
	}
}

// TestRelayerSizes: an image that becomes too small is refused with the numbers,
// or grows, with room for more; one that is asked for in another size has it.
func TestRelayerSizes(t *testing.T) {
	requireKernel(t)
	t.Parallel()
	d := systest.TempDir(t)
	smallSystem(t, d)
	base := systest.TempDir(t) + "/base"
	systest.Run(t, "mksquashfs", d, base, "-noappend", "-quiet", "-no-progress", "-comp", "gzip")
	l := &frugal{t: t, dir: systest.TempDir(t)}
	systest.CopyFile(t, base, l.path("linuxfs"))
	systest.Run(t, "mke2fs", "-q", "-F", "-t", "ext4", "-L", "persist", "-N", "128", "-m", "2", l.path("rootfs"), "12M")
	l.boot(false, func(mnt string) { useSmall(t, mnt) })
	with := func(files, size int) func(*live.Live) *tree.Node {
		return func(l *live.Live) *tree.Node {
			var e tree.Edits
			for i := range files {
				e.Put("srv/data/"+strconv.Itoa(i), tree.NewFile("", 0o644, noise(uint64(i), size)))
			}
			out, err := e.Apply(l.Merged)
			systest.Must(t, err)
			return out
		}
	}
	for _, tt := range []struct{ files, size int }{{1, 14 << 20}, {300, 1}} {
		before := hashes(t, l.dir)
		_, err := relayer(t, environment(t, codec.Auto), l.dir, with(tt.files, tt.size), upper.Options{KeepOld: 1})
		r, ok := refusal.Is(err)
		if !ok || !strings.Contains(r.Fact, "room for") || !strings.Contains(r.Hint, "--grow") || hashes(t, l.dir) != before {
			t.Errorf("%d files of %d: %v", tt.files, tt.size, err)
		}
		dir := duplicate(t, l.dir)
		s := mustRelayer(t, dir, with(tt.files, tt.size), upper.Options{KeepOld: 1, Grow: true})
		st := stat(t, dir+"/rootfs")
		if st.Size() != s.Size || s.Size < s.OldSize || s.After.FreeBytes < s.Size/10 || s.After.FreeInodes < 20 {
			t.Errorf("%d files of %d: %+v, %d bytes", tt.files, tt.size, s, st.Size())
		}
		systest.Fsck(t, dir+"/rootfs")
		if got := systest.Run(t, "dumpe2fs", "-h", dir+"/rootfs"); !strings.Contains(got, "persist") {
			t.Error("the label is lost")
		}
		root, drop := systest.Mount(t, "ext4", "loop", dir+"/rootfs")
		if b, err := os.ReadFile(root + "/upper/srv/data/0"); err != nil || len(b) != tt.size {
			t.Errorf("%d bytes, %v", len(b), err)
		}
		var fill [2]int64
		for i, what := range []string{"%a %S", "%d"} {
			f := strings.Fields(systest.Run(t, "stat", "-f", "-c", strings.Replace(what, "%a", "%f", 1), root))
			n, _ := strconv.ParseInt(f[0], 10, 64)
			if i == 0 {
				unit, _ := strconv.ParseInt(f[1], 10, 64)
				n *= unit
			}
			fill[i] = n
		}
		if d := fill[0] - s.After.FreeBytes; d < 0 || d > 4096 || fill[1] != s.After.FreeInodes {
			t.Errorf("the kernel finds %d bytes and %d inodes free, the plan %+v", fill[0], fill[1], s.After)
		}
		drop()
	}
	s := mustRelayer(t, l.dir, with(1, 5), upper.Options{Size: 40 << 20})
	if s.Size != 40<<20 || stat(t, l.path("rootfs")).Size() != 40<<20 || s.Before.FreeBytes == 0 {
		t.Errorf("%+v", s)
	}
	systest.Fsck(t, l.path("rootfs"))
	if st := stat(t, l.path("rootfs")); st.Sys().(*syscall.Stat_t).Blocks*512 > 20<<20 {
		t.Error("the image has no holes")
	}
}

// TestRelayerRefused: what is no layer of files, is in use or belongs to another
// base is left alone.
func TestRelayerRefused(t *testing.T) {
	t.Parallel()
	all := showings(t, func(dir string) { smallSystem(t, dir) })
	d := systest.TempDir(t)
	smallSystem(t, d)
	same := func(l *live.Live) *tree.Node { return l.Merged }
	refused := func(dir, fact string, want func(l *live.Live) *tree.Node) {
		t.Helper()
		before := hashes(t, dir)
		_, err := relayer(t, environment(t, codec.Auto), dir, want, upper.Options{KeepOld: 1})
		r, ok := refusal.Is(err)
		if !ok || !strings.Contains(r.Fact, fact) || r.Hint == "" {
			t.Errorf("%s: %v (hint %q)", fact, err, refusal.Hint(err))
		}
		if hashes(t, dir) != before {
			t.Error("it was changed")
		}
	}
	m := liveOS(t).fill(d, "dm", false, false, "-comp", "gzip")
	m.boot(false, func(mnt string) { write(t, mnt+"/etc/new", nil, 0o644) })
	refused(m.dir, "device-mapper snapshot", same)
	m = liveOS(t).fill(d, "none", true, false, "-comp", "gzip")
	refused(m.dir, "there is no overlay", same)
	s := all["antiX"](t)
	s.boot(func(mnt string) {
		systest.Run(t, "sync", "-f", mnt) // so that the kernel does not write while the image is read
		refused(s.dir, "in use", same)
		write(t, mnt+"/etc/live/version/rootfs.ver", []byte("==== 77777777777777777777777777777777\n"), 0o644)
	})
	refused(s.dir, "do not match", same)
	s = all["Debian, image"](t)
	refused(s.dir, "/var/lib: is to be a file", func(l *live.Live) *tree.Node {
		var e tree.Edits
		e.Put("var/lib", tree.NewFile("", 0o644, nil))
		out, err := e.Apply(l.Merged)
		systest.Must(t, err)
		return out
	})
}

// TestRelayerOutside: what no union lies over cannot be changed.
func TestRelayerOutside(t *testing.T) {
	requireKernel(t)
	t.Parallel()
	l := &frugal{t: t, dir: systest.TempDir(t)}
	squashed(t, l.path("live/filesystem.squashfs"), func(dir string) { smallSystem(t, dir) })
	p := systest.TempDir(t)
	write(t, p+"/persistence.conf", []byte("/etc union\n/srv/data union\n"), 0o644)
	write(t, p+"/etc/rw/new", []byte("new"), 0o644)
	systest.Run(t, "mke2fs", "-q", "-F", "-t", "ext4", "-d", p, l.path("persistence"), "16M")
	with := func(path string) func(l *live.Live) *tree.Node {
		return func(l *live.Live) *tree.Node {
			var e tree.Edits
			e.Put(path, tree.NewFile("", 0o644, []byte("x")))
			out, err := e.Apply(l.Merged)
			systest.Must(t, err)
			return out
		}
	}
	_, err := relayer(t, environment(t, codec.Auto), l.dir, with("opt/x"), upper.Options{})
	if r, ok := refusal.Is(err); !ok || !strings.Contains(r.Fact, "/opt") {
		t.Error(err)
	}
	mustRelayer(t, l.dir, with("srv/data/x"), upper.Options{})
	mustRelayer(t, l.dir, with("etc/x"), upper.Options{})
	root := openTree(t, l.dir, "")
	if readFile(t, root, "srv/data/x") != "x" || readFile(t, root, "etc/x") != "x" || readFile(t, root, "etc/new") != "new" {
		t.Error("not all is there")
	}
}

// recovered recovers what was cut off after some changes.
func recovered(t testing.TB, d string, n int) {
	t.Helper()
	for _, dir := range live.JournalDirs(d) {
		settled(t, fmt.Sprintf("after %d changes", n), dir)
	}
}

// cutOff runs what changes a copy of a directory again and again, each time cut
// off after one more change, and counts the states in which that leaves it, ""
// being none that it may be in. Recovery must lead to what was there before or to
// what is there when nothing is cut off, which is in done.
func cutOff(t *testing.T, from, done string, whole *dying, run func(d string, n int) (*dying, error), state func(d string) string) map[string]int {
	t.Helper()
	before, after := sums(t, from), sums(t, done)
	met := map[string]int{}
	for n := range whole.done {
		d := duplicate(t, from)
		if _, err := run(d, n); !errors.Is(err, errPower) {
			t.Fatalf("after %d changes: %v", n, err)
		}
		now := state(d)
		if now == "" {
			t.Errorf("after %d changes it is in no state that it may be in: %v", n, slices.Sorted(maps.Keys(sums(t, d))))
		}
		met[now]++
		recovered(t, d, n)
		if s := sums(t, d); !maps.Equal(s, before) && !maps.Equal(s, after) {
			t.Errorf("after %d changes there is then\n%v\nbefore\n%v\nafter\n%v", n, s, before, after)
		}
		systest.Must(t, os.RemoveAll(d))
	}
	return met
}

// TestRelayerCrash: wherever it is cut off, a boot shows what it showed before or
// what was asked for, and recovery leads to one of these, whole.
func TestRelayerCrash(t *testing.T) {
	all := showings(t, func(dir string) { smallSystem(t, dir) })
	for _, name := range []string{"antiX", "LiveOS, directory", "Debian, image"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := all[name](t)
			s.boot(func(mnt string) { useSmall(t, mnt) })
			if name == "antiX" { // a former state, and a former overlay of this one
				write(t, s.dir+"/linuxfs.old", []byte("base"), 0o644)
				write(t, s.dir+"/rootfs.old", []byte("its overlay"), 0o644)
				write(t, s.dir+"/rootfs.old.2", []byte("another"), 0o644)
			}
			want := func(l *live.Live) *tree.Node {
				var e tree.Edits
				e.Remove("etc/new")
				e.Put("etc/newer", tree.NewFile("", 0o644, []byte("newer")))
				out, err := e.Apply(l.Merged)
				systest.Must(t, err)
				return out
			}
			run := func(d string, n int) (*dying, error) {
				e, disk := environment(t, codec.Auto), &dying{left: n, noLink: name == "antiX"}
				e.Disk = disk
				_, err := relayer(t, e, d, want, upper.Options{KeepOld: 1})
				return disk, err
			}
			done := duplicate(t, s.dir)
			whole, err := run(done, 1<<20)
			systest.Must(t, err)
			old, new := shown(t, s.dir), shown(t, done)
			if old == new || whole.commit < 2 {
				t.Fatal("nothing happens")
			}
			met := cutOff(t, s.dir, done, whole, run, func(d string) string {
				return map[string]string{old: "old", new: "new"}[shown(t, d)]
			})
			if met["old"] == 0 || met["new"] == 0 {
				t.Error(met)
			}
			if name == "antiX" {
				if got := (&frugal{t: t, dir: done}).names(); got != "linuxfs linuxfs.old.2 rootfs rootfs.old rootfs.old.2" {
					t.Error(got)
				}
				if b, err := os.ReadFile(done + "/rootfs.old.2"); err != nil || string(b) != "its overlay" {
					t.Errorf("%q, %v", b, err)
				}
			}
		})
	}
}
