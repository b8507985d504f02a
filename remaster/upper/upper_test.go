package upper_test

import (
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"relive/codec"
	"relive/remaster/job"
	"relive/remaster/live"
	"relive/remaster/livetest"
	"relive/remaster/refusal"
	"relive/remaster/say"
	"relive/remaster/upper"
	"relive/tree"
	"relive/tree/systest"
)

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
	s, err := relayer(t, livetest.Env(t, codec.Auto), dir, want, o)
	if err != nil {
		t.Fatalf("%v (hint: %s)", err, refusal.Hint(err))
	}
	return s
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
	all := livetest.Forms(t, func(dir string) {
		livetest.SmallSystem(t, dir)
		systest.Must(t, os.Link(dir+"/opt/tool", dir+"/usr/share/tool2"))
		livetest.Sparse(t, dir+"/var/lib/sparse.img", 3_000_000, 1_000_000)
		h := &livetest.Hand{T: t, R: rand.New(rand.NewPCG(seed, 99)), Root: dir}
		for range 60 {
			h.Act()
		}
		livetest.Directories(t, dir, "usr/share/deep", "var/lib", "etc/live/version", "opt")
		livetest.Write(t, dir+"/etc/live/version/linuxfs.ver", []byte(livetest.VersionText), 0o644)
	})
	for i, name := range slices.Sorted(maps.Keys(all)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			t.Logf("RELIVE_SEED=%d", seed)
			s := all[name](t)
			h := &livetest.Hand{T: t, R: rand.New(rand.NewPCG(seed, uint64(i)))}
			act := func(root string, times int) {
				in := []string{""}
				if strings.HasPrefix(name, "Debian") {
					in = []string{"/opt", "/usr/share/deep", "/var/lib"} // mounts stay where they are
				}
				for j := range times {
					h.Root = root + in[j%len(in)]
					h.Act()
				}
			}
			for round := range 2 {
				s.Boot(func(mnt string) {
					act(mnt, 40)
					if name == "antiX" || round == 0 {
						systest.Must(t, os.RemoveAll(mnt+"/new-sparse.img"))
						livetest.Sparse(t, mnt+"/new-sparse.img", 5_000_000, 4_000_000)
					}
				})
				before := s.View()
				// By hand: a copy of what the kernel shows, and things done to it.
				shown := systest.TempDir(t)
				systest.Run(t, "cp", "-a", before+"/.", shown)
				act(shown, 30)
				livetest.Directories(t, shown, "usr/share/deep", "var/lib", "etc/live/version")
				if name == "antiX" {
					// It stays whether it is asked for or not.
					systest.Must(t, os.RemoveAll(shown+"/etc/live/version/rootfs.ver"))
				}
				want := livetest.OpenDir(t, shown)
				sum := mustRelayer(t, s.Dir, func(*live.Live) *tree.Node { return want }, upper.Options{KeepOld: 1})
				drop := []string{"lost+found", "etc/live/version/rootfs.ver"}
				// A link cannot lead from one mount to another.
				o := tree.CompareOptions{Links: !strings.HasPrefix(name, "Debian")}
				livetest.Same(t, "wanted", "relive after", livetest.Without(t, want, drop...),
					livetest.Without(t, livetest.OpenTree(t, s.Dir, ""), drop...), o)
				livetest.Same(t, "wanted", "the kernel after", livetest.Without(t, want, drop...),
					livetest.Without(t, livetest.OpenDir(t, s.View()), drop...), o)
				if s.Over != "" {
					systest.Fsck(t, s.Over)
				}
				if st := livetest.StatusOf(t, s.Dir); len(st.Warnings) > 0 {
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
	all := livetest.Forms(t, func(dir string) { livetest.SmallSystem(t, dir) })
	for name, make := range all {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := make(t)
			s.Boot(func(mnt string) {
				livetest.UseSmall(t, mnt)
				livetest.Write(t, mnt+"/usr/share/deep/only-here", []byte("in the union"), 0o644)
				livetest.Write(t, mnt+"/var/lib/dpkg/status", livetest.Text(61, 2_100), 0o644)
			})
			before := s.View()
			livetest.SameTree(t, "the kernel", "relive", livetest.Without(t, livetest.OpenDir(t, before), "lost+found"),
				livetest.Without(t, livetest.OpenTree(t, s.Dir, ""), "lost+found"))
			same := func(l *live.Live) *tree.Node { return l.Merged }
			mustRelayer(t, s.Dir, same, upper.Options{KeepOld: 1})
			livetest.Exactly(t, "before", "after", livetest.Without(t, livetest.OpenDir(t, before), "lost+found"),
				livetest.Without(t, livetest.OpenDir(t, s.View()), "lost+found"))
			if !strings.HasPrefix(name, "Debian") {
				return
			}
			root := filepath.Join(s.Dir, "persistence")
			if s.Over != "" {
				c := systest.TempDir(t) + "/image"
				systest.CopyFile(t, s.Over, c)
				root, _ = systest.Mount(t, "ext4", "loop,ro", c)
			}
			for path, want := range map[string]string{"home/user/letter": "dear", "rw/var/lib/hidden": "where no boot shows it",
				"share/rw/only-here": "in the union"} {
				if b, err := os.ReadFile(root + "/" + path); err != nil || string(b) != want {
					t.Errorf("%s: %q, %v", path, b, err)
				}
			}
			if livetest.Has(root+"/rw/usr/share/deep") || livetest.Has(root+"/rw/var/lib/dpkg") {
				t.Error("the outer layer holds what belongs to the inner ones")
			}
			empty := func(l *live.Live) *tree.Node { return l.Base.Root }
			mustRelayer(t, s.Dir, empty, upper.Options{DropHidden: true})
			l, err := live.Open(t.Context(), livetest.Env(t, codec.Auto), s.Dir)
			systest.Must(t, err)
			defer l.Close()
			if !l.Overlay.Empty || livetest.Has(filepath.Join(s.Dir, "persistence.old")) {
				t.Error("a layer that is to show nothing is not empty, or a former one is kept")
			}
		})
	}
}

// TestRelayerAufs: in the form of aufs, what relive shows of base and new overlay
// is the tree that was asked for; of aufs's own files none is left.
func TestRelayerAufs(t *testing.T) {
	livetest.NeedKernel(t)
	t.Parallel()
	d := systest.TempDir(t)
	livetest.SmallSystem(t, d)
	base := systest.TempDir(t) + "/base"
	systest.Run(t, "mksquashfs", d, base, "-noappend", "-quiet", "-no-progress", "-comp", "gzip")
	l := &livetest.Live{T: t, Dir: systest.TempDir(t)}
	systest.CopyFile(t, base, l.Path("linuxfs"))
	u := systest.TempDir(t)
	livetest.Write(t, u+"/etc/live/version/rootfs.ver", []byte(livetest.VersionText), 0o644)
	livetest.Write(t, u+"/etc/new", []byte("new"), 0o600)
	livetest.Write(t, u+"/opt/.wh.gone", nil, 0o444)
	livetest.Write(t, u+"/usr/share/deep/.wh..wh..opq", nil, 0o444)
	livetest.Write(t, u+"/usr/share/deep/fresh", []byte("fresh"), 0o644)
	livetest.Write(t, u+"/.wh..wh.plnk/17.42", []byte("a pseudo-link"), 0o600)
	systest.Run(t, "mknod", u+"/etc/null0", "c", "0", "0")
	systest.Run(t, "mke2fs", "-q", "-F", "-t", "ext4", "-d", u, l.Path("rootfs"), "16M")

	shown := systest.TempDir(t)
	systest.Must(t, os.Chmod(shown, 0o755))
	livetest.SmallSystem(t, shown)
	livetest.Write(t, shown+"/etc/live/version/rootfs.ver", []byte(livetest.VersionText), 0o644)
	systest.Must(t, os.Remove(shown+"/opt/tool"))
	systest.Run(t, "mknod", shown+"/opt/tool", "c", "0", "0")
	systest.Run(t, "setfattr", "-n", "trusted.overlay.opaque", "-v", "y", shown+"/opt/gone")
	systest.Must(t, os.RemoveAll(shown+"/usr/share/deep"))
	livetest.Write(t, shown+"/usr/share/deep", []byte("a file now"), 0o644)
	systest.Must(t, os.Remove(shown+"/etc/hostname"))
	livetest.Write(t, shown+"/etc/hostname/inside", []byte("a directory now"), 0o644)
	systest.Must(t, os.RemoveAll(shown+"/var"))
	want := livetest.OpenDir(t, shown)
	mustRelayer(t, l.Dir, func(*live.Live) *tree.Node { return want }, upper.Options{})
	drop := "etc/live/version/rootfs.ver" // as it was, with its time
	livetest.Exactly(t, "wanted", "relive after", livetest.Without(t, want, drop), livetest.Without(t, livetest.OpenTree(t, l.Dir, ""),
		drop))
	systest.Fsck(t, l.Path("rootfs"))
	root, _ := systest.Mount(t, "ext4", "loop,ro", l.Path("rootfs"))
	for _, path := range []string{".wh.var", "etc/hostname/.wh..wh..opq", "etc/hostname/inside", "opt/gone"} {
		if !livetest.Has(root + "/" + path) {
			t.Errorf("%s is missing", path)
		}
	}
	for _, path := range []string{".wh..wh.plnk", "etc/new", "opt/.wh.gone", "usr/share/big.db.db"} {
		if livetest.Has(root + "/" + path) {
			t.Errorf("%s is there", path)
		}
	}
}

// TestRelayerSizes: an image that becomes too small is refused with the numbers,
// or grows, with room for more; one that is asked for in another size has it.
func TestRelayerSizes(t *testing.T) {
	livetest.NeedKernel(t)
	t.Parallel()
	d := systest.TempDir(t)
	livetest.SmallSystem(t, d)
	base := systest.TempDir(t) + "/base"
	systest.Run(t, "mksquashfs", d, base, "-noappend", "-quiet", "-no-progress", "-comp", "gzip")
	l := &livetest.Live{T: t, Dir: systest.TempDir(t)}
	systest.CopyFile(t, base, l.Path("linuxfs"))
	systest.Run(t, "mke2fs", "-q", "-F", "-t", "ext4", "-L", "persist", "-N", "128", "-m", "2", l.Path("rootfs"), "12M")
	l.Boot(false, func(mnt string) { livetest.UseSmall(t, mnt) })
	with := func(files, size int) func(*live.Live) *tree.Node {
		return func(l *live.Live) *tree.Node {
			var e tree.Edits
			for i := range files {
				e.Put("srv/data/"+strconv.Itoa(i), tree.NewFile("", 0o644, livetest.Noise(uint64(i), size)))
			}
			out, err := e.Apply(l.Merged)
			systest.Must(t, err)
			return out
		}
	}
	for _, tt := range []struct{ files, size int }{{1, 14 << 20}, {300, 1}} {
		before := livetest.Hashes(t, l.Dir)
		_, err := relayer(t, livetest.Env(t, codec.Auto), l.Dir, with(tt.files, tt.size), upper.Options{KeepOld: 1})
		r, ok := refusal.Is(err)
		if !ok || !strings.Contains(r.Fact, "room for") || !strings.Contains(r.Hint, say.Grow) || livetest.Hashes(t, l.Dir) != before {
			t.Errorf("%d files of %d: %v", tt.files, tt.size, err)
		}
		dir := livetest.Duplicate(t, l.Dir)
		s := mustRelayer(t, dir, with(tt.files, tt.size), upper.Options{KeepOld: 1, Grow: true})
		st := livetest.Stat(t, dir+"/rootfs")
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
	s := mustRelayer(t, l.Dir, with(1, 5), upper.Options{Size: 40 << 20})
	if s.Size != 40<<20 || livetest.Stat(t, l.Path("rootfs")).Size() != 40<<20 || s.Before.FreeBytes == 0 {
		t.Errorf("%+v", s)
	}
	systest.Fsck(t, l.Path("rootfs"))
	if st := livetest.Stat(t, l.Path("rootfs")); st.Sys().(*syscall.Stat_t).Blocks*512 > 20<<20 {
		t.Error("the image has no holes")
	}
}

// TestRelayerRefused: what is no layer of files, is in use or belongs to another
// base is left alone.
func TestRelayerRefused(t *testing.T) {
	t.Parallel()
	all := livetest.Forms(t, func(dir string) { livetest.SmallSystem(t, dir) })
	d := systest.TempDir(t)
	livetest.SmallSystem(t, d)
	same := func(l *live.Live) *tree.Node { return l.Merged }
	refused := func(dir, fact string, want func(l *live.Live) *tree.Node) {
		t.Helper()
		before := livetest.Hashes(t, dir)
		_, err := relayer(t, livetest.Env(t, codec.Auto), dir, want, upper.Options{KeepOld: 1})
		r, ok := refusal.Is(err)
		if !ok || !strings.Contains(r.Fact, fact) || r.Hint == "" {
			t.Errorf("%s: %v (hint %q)", fact, err, refusal.Hint(err))
		}
		if livetest.Hashes(t, dir) != before {
			t.Error("it was changed")
		}
	}
	m := livetest.LiveOS(t).Fill(d, "dm", false, false, "-comp", "gzip")
	m.Boot(false, func(mnt string) { livetest.Write(t, mnt+"/etc/new", nil, 0o644) })
	refused(m.Dir, "device-mapper snapshot", same)
	m = livetest.LiveOS(t).Fill(d, "none", true, false, "-comp", "gzip")
	refused(m.Dir, "there is no overlay", same)
	s := all["antiX"](t)
	s.Boot(func(mnt string) {
		systest.Run(t, "sync", "-f", mnt) // so that the kernel does not write while the image is read
		refused(s.Dir, "in use", same)
		livetest.Write(t, mnt+"/etc/live/version/rootfs.ver", []byte("==== 77777777777777777777777777777777\n"), 0o644)
	})
	refused(s.Dir, "do not match", same)
	s = all["Debian, image"](t)
	refused(s.Dir, "/var/lib: is to be a file", func(l *live.Live) *tree.Node {
		var e tree.Edits
		e.Put("var/lib", tree.NewFile("", 0o644, nil))
		out, err := e.Apply(l.Merged)
		systest.Must(t, err)
		return out
	})
}

// TestRelayerOutside: what no union lies over cannot be changed.
func TestRelayerOutside(t *testing.T) {
	livetest.NeedKernel(t)
	t.Parallel()
	l := &livetest.Live{T: t, Dir: systest.TempDir(t)}
	livetest.Squashed(t, l.Path("live/filesystem.squashfs"), func(dir string) { livetest.SmallSystem(t, dir) })
	p := systest.TempDir(t)
	livetest.Write(t, p+"/persistence.conf", []byte("/etc union\n/srv/data union\n"), 0o644)
	livetest.Write(t, p+"/etc/rw/new", []byte("new"), 0o644)
	systest.Run(t, "mke2fs", "-q", "-F", "-t", "ext4", "-d", p, l.Path("persistence"), "16M")
	with := func(path string) func(l *live.Live) *tree.Node {
		return func(l *live.Live) *tree.Node {
			var e tree.Edits
			e.Put(path, tree.NewFile("", 0o644, []byte("x")))
			out, err := e.Apply(l.Merged)
			systest.Must(t, err)
			return out
		}
	}
	_, err := relayer(t, livetest.Env(t, codec.Auto), l.Dir, with("opt/x"), upper.Options{})
	if r, ok := refusal.Is(err); !ok || !strings.Contains(r.Fact, "/opt") {
		t.Error(err)
	}
	mustRelayer(t, l.Dir, with("srv/data/x"), upper.Options{})
	mustRelayer(t, l.Dir, with("etc/x"), upper.Options{})
	root := livetest.OpenTree(t, l.Dir, "")
	if livetest.ReadFile(t, root, "srv/data/x") != "x" || livetest.ReadFile(t, root, "etc/x") != "x" ||
		livetest.ReadFile(t, root, "etc/new") != "new" {
		t.Error("not all is there")
	}
}

// TestRelayerCrash: wherever it is cut off, a boot shows what it showed before or
// what was asked for, and recovery leads to one of these, whole.
func TestRelayerCrash(t *testing.T) {
	all := livetest.Forms(t, func(dir string) { livetest.SmallSystem(t, dir) })
	for _, name := range []string{"antiX", "LiveOS, directory", "Debian, image"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := all[name](t)
			s.Boot(func(mnt string) { livetest.UseSmall(t, mnt) })
			if name == "antiX" { // a former state, and a former overlay of this one
				livetest.Write(t, s.Dir+"/linuxfs.old", []byte("base"), 0o644)
				livetest.Write(t, s.Dir+"/rootfs.old", []byte("its overlay"), 0o644)
				livetest.Write(t, s.Dir+"/rootfs.old.2", []byte("another"), 0o644)
			}
			want := func(l *live.Live) *tree.Node {
				var e tree.Edits
				e.Remove("etc/new")
				e.Put("etc/newer", tree.NewFile("", 0o644, []byte("newer")))
				out, err := e.Apply(l.Merged)
				systest.Must(t, err)
				return out
			}
			run := func(d string, n int) (*livetest.Dying, error) {
				e, disk := livetest.Env(t, codec.Auto), &livetest.Dying{Left: n, NoLink: name == "antiX"}
				e.Disk = disk
				_, err := relayer(t, e, d, want, upper.Options{KeepOld: 1})
				return disk, err
			}
			done := livetest.Duplicate(t, s.Dir)
			whole, err := run(done, 1<<20)
			systest.Must(t, err)
			old, new := livetest.Shown(t, s.Dir), livetest.Shown(t, done)
			if old == new || whole.Commit < 2 {
				t.Fatal("nothing happens")
			}
			met := livetest.CutOff(t, s.Dir, done, whole, run, func(d string) string {
				return map[string]string{old: "old", new: "new"}[livetest.Shown(t, d)]
			})
			if met["old"] == 0 || met["new"] == 0 {
				t.Error(met)
			}
			if name == "antiX" {
				if got := (&livetest.Live{T: t, Dir: done}).Names(); got != "linuxfs linuxfs.old.2 rootfs rootfs.old rootfs.old.2" {
					t.Error(got)
				}
				if b, err := os.ReadFile(done + "/rootfs.old.2"); err != nil || string(b) != "its overlay" {
					t.Errorf("%q, %v", b, err)
				}
			}
		})
	}
}
