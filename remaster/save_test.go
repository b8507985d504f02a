package remaster_test

import (
	"errors"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"relive/remaster/exclude"
	"relive/remaster/job"
	"relive/remaster/live"
	"relive/remaster/refusal"
	"relive/remaster/save"
	"relive/remaster/swap"
	"relive/squash/codec"
	"relive/tree"
	"relive/tree/systest"
)

// save brings a layer into a rootfs.
func runSave(t testing.TB, e *job.Env, dir, from string, o save.Options) (*save.Summary, error) {
	t.Helper()
	l, err := live.Open(t.Context(), e, dir)
	if err != nil {
		return nil, err
	}
	defer l.Close()
	p, err := save.New(t.Context(), e, l, from, o)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	return &p.Summary, p.Run(t.Context())
}

func mustSave(t testing.TB, dir, from string, o save.Options) *save.Summary {
	t.Helper()
	s, err := runSave(t, environment(t, codec.Auto), dir, from, o)
	if err != nil {
		t.Fatalf("%v (hint: %s)", err, refusal.Hint(err))
	}
	return s
}

// dynamic is a live system with dynamic root persistence: rootfs is copied to
// RAM and written to there.
type dynamic struct {
	frugal
	ram     string
	options string
}

func newDynamic(t testing.TB, options string) *dynamic {
	t.Helper()
	requireKernel(t)
	d := systest.TempDir(t)
	systest.Must(t, os.Chmod(d, 0o755))
	smallSystem(t, d)
	for _, f := range []string{"usr/lib/app/one", "usr/lib/app/two", "usr/lib/app/sub/three", "var/cache/apt/archives/x.deb", "tmp/base"} {
		write(t, d+"/"+f, []byte(f), 0o644)
	}
	return dynamicOf(t, d, options, func(mnt string) { useSmall(t, mnt) })
}

// dynamicOf makes the live system of a directory, in which fn is done before it
// is copied to RAM.
func dynamicOf(t testing.TB, d, options string, fn func(mnt string)) *dynamic {
	t.Helper()
	base := systest.TempDir(t) + "/base"
	systest.Run(t, "mksquashfs", d, base, "-noappend", "-quiet", "-no-progress", "-comp", "gzip")
	y := &dynamic{frugal: *newLive(t, base), ram: systest.MemDir(t), options: options}
	y.boot(false, fn)
	root, drop := systest.Mount(t, "ext4", "loop,ro", y.path("rootfs"))
	systest.Run(t, "cp", "-a", root+"/upper", y.ram)
	drop()
	systest.Must(t, os.Mkdir(y.ram+"/work", 0o755))
	return y
}

// run runs fn in what the layer in RAM shows over the base.
func (y *dynamic) run(fn func(mnt string)) {
	y.t.Helper()
	lower, dropLower := systest.Mount(y.t, "squashfs", "loop,ro", y.path("linuxfs"))
	o := "lowerdir=" + lower + ",upperdir=" + y.ram + "/upper,workdir=" + y.ram + "/work"
	if y.options != "" {
		o += "," + y.options
	}
	mnt, drop := systest.Mount(y.t, "overlay", o, "overlay")
	fn(mnt)
	drop()
	dropLower()
}

// act does what loses marks with rsync.
func (y *dynamic) act() {
	y.run(func(mnt string) {
		t := y.t
		systest.Must(t, os.RemoveAll(mnt+"/usr/lib/app/sub"))
		write(t, mnt+"/usr/lib/app/sub/fresh", []byte("a directory that was made again"), 0o644)
		systest.Must(t, os.Remove(mnt+"/usr/lib/app/two"))
		systest.Must(t, os.Rename(mnt+"/usr/lib/app/one", mnt+"/usr/lib/app/1"))
		write(t, mnt+"/opt/bin/ping", noise(5, 30_000), 0o755)
		systest.Run(t, "setcap", "cap_net_raw+ep", mnt+"/opt/bin/ping")
		systest.Must(t, os.Link(mnt+"/opt/bin/ping", mnt+"/opt/bin/ping6"))
		systest.Run(t, "mknod", mnt+"/opt/pipe", "p")
		systest.Run(t, "mknod", mnt+"/opt/device", "b", "7", "9")
		systest.Run(t, "setfattr", "-n", "trusted.mine", "-v", "yes", mnt+"/opt/bin/ping")
		systest.Run(t, "setfacl", "-m", "u:1234:rw", mnt+"/opt/pipe")
		systest.Must(t, os.Chtimes(mnt+"/opt/bin", time.Unix(1_600_000_000, 123456789), time.Unix(1_600_000_000, 987654321)))
		sparse(t, mnt+"/opt/sparse", 5_000_000, 4_000_000)
		write(t, mnt+"/tmp/now", []byte("gone with the boot"), 0o644)
		write(t, mnt+"/var/cache/apt/archives/y.deb", noise(6, 10_000), 0o644)
		systest.Must(t, os.Remove(mnt+"/etc/new"))
	})
}

// TestSaveKernel: base and new rootfs show what base and the layer in RAM
// show, but for what persist-save leaves out.
func TestSaveKernel(t *testing.T) {
	for _, options := range []string{"", "redirect_dir=on,metacopy=on", "index=on"} {
		t.Run(options, func(t *testing.T) {
			t.Parallel()
			y := newDynamic(t, options)
			y.frugal.options = options
			y.act()
			if strings.HasPrefix(options, "redirect") {
				y.run(func(mnt string) {
					systest.Must(t, os.Rename(mnt+"/usr/lib/app", mnt+"/opt/moved"))
					systest.Must(t, os.Chmod(mnt+"/usr/share/big.db", 0o600))
				})
			}
			var want *tree.Node
			y.run(func(mnt string) { want = openDir(t, duplicate(t, mnt)) })
			s := mustSave(t, y.dir, y.ram, save.Options{KeepOld: 1})
			if s.Changes.Added == 0 || s.Changes.Deleted == 0 || s.Excluded.Entries < 2 || s.From != y.ram+"/upper" || s.Before.Bytes == 0 || len(s.Held) != 0 {
				t.Errorf("%+v", s)
			}
			got := openDir(t, y.view())
			drop := []string{"lost+found", "tmp/now", "var/cache/apt/archives/y.deb"}
			exactly(t, "in RAM", "saved", without(t, want, drop...), without(t, got, "lost+found"))
			systest.Fsck(t, y.path("rootfs"))
			if st := y.status(); len(st.Warnings) > 0 || st.Overlay.VIDState != live.VIDMatch {
				t.Errorf("%q %s", st.Warnings, st.Overlay.VIDState)
			}
			if options == "index=on" {
				return
			}
			if s := mustSave(t, y.dir, y.ram+"/upper", save.Options{KeepOld: 1}); !s.UpToDate || s.Changes.Sum() != 0 {
				t.Errorf("again: %+v", s)
			}
			if y.names() != "linuxfs rootfs rootfs.old" {
				t.Error(y.names())
			}
			// The layer itself, mark by mark.
			root, _ := systest.Mount(t, "ext4", "loop,ro", y.path("rootfs"))
			exactly(t, "layer in RAM", "layer saved", without(t, openDir(t, y.ram+"/upper"), drop...), openDir(t, root+"/upper"))
		})
	}
}

// TestSaveRandom: so it is whatever was done to the system, saved time and again.
func TestSaveRandom(t *testing.T) {
	t.Parallel()
	y := newDynamic(t, "redirect_dir=on,metacopy=on")
	y.frugal.options = y.options
	seed := uint64(time.Now().UnixNano())
	h := &hand{t: t, r: rand.New(rand.NewPCG(seed, 1))}
	for range 3 {
		var want *tree.Node
		y.run(func(mnt string) {
			h.root = mnt
			for range 40 {
				h.act()
			}
			want = openDir(t, duplicate(t, mnt))
		})
		mustSave(t, y.dir, y.ram, save.Options{All: true, Grow: true, KeepOld: 1})
		drop := []string{"lost+found", "etc/live/version/linuxfs.ver"}
		exactly(t, "in RAM", "saved", without(t, want, drop...), without(t, openDir(t, y.view()), drop...))
		systest.Fsck(t, y.path("rootfs"))
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// TestSaveChanging: files that are written to meanwhile are saved as they were
// at one moment, and one that never holds still is named.
func TestSaveChanging(t *testing.T) {
	t.Parallel()
	y := newDynamic(t, "")
	y.act()
	for _, name := range []string{"log/a", "log/b", "log/c"} {
		write(t, y.ram+"/upper/"+name, []byte("first"), 0o600)
	}
	systest.Must(t, os.Link(y.ram+"/upper/log/a", y.ram+"/upper/log/a2"))
	e := environment(t, codec.Auto)
	n := 0
	e.Progress = phases(func(name string) {
		if !strings.HasPrefix(name, "new ") && name != "measuring" || n > 200 {
			return
		}
		n++
		for _, f := range []string{"log/a", "log/b"} {
			write(t, y.ram+"/upper/"+f, noise(uint64(n), 5000+n), 0o640)
		}
		systest.Must(t, os.RemoveAll(y.ram+"/upper/log/c"))
	})
	s, err := runSave(t, e, y.dir, y.ram, save.Options{})
	systest.Must(t, err)
	if strings.Join(s.Held, " ") != "/log/a /log/a2 /log/b" {
		t.Errorf("%q", s.Held)
	}
	root, drop := systest.Mount(t, "ext4", "loop,ro", y.path("rootfs"))
	for _, f := range []string{"a", "b"} {
		b, err := os.ReadFile(root + "/upper/log/" + f)
		systest.Must(t, err)
		ok := false
		for i := range n + 1 {
			ok = ok || string(b) == string(noise(uint64(i), 5000+i))
		}
		if !ok {
			t.Errorf("%s holds %d bytes that it never held", f, len(b))
		}
	}
	if has(root+"/upper/log/c") || stat(t, root+"/upper/log/a2").Mode().Perm() != 0o640 {
		t.Error("not as it was")
	}
	drop()

	var stop atomic.Bool
	done := make(chan bool)
	go func() {
		for i := 0; !stop.Load(); i++ {
			f, err := os.OpenFile(y.ram+"/upper/log/b", os.O_WRONLY, 0)
			if err == nil {
				_, _ = f.WriteAt([]byte{byte(i)}, int64(i%4096))
				f.Close()
			}
		}
		close(done)
	}()
	write(t, y.ram+"/upper/log/b", noise(9, 48<<20), 0o600)
	before := sums(t, y.dir) // not times: the directory holds a scratch file for a moment
	for try := 0; ; try++ {
		d := duplicate(t, y.dir)
		_, err = runSave(t, environment(t, codec.Auto), d, y.ram, save.Options{Grow: true})
		if err == nil && try < 5 {
			continue // on a busy machine the writer may rest for long enough
		}
		if r, ok := refusal.Is(err); !ok || !strings.Contains(r.Fact, "/log/b: is written to all the time") {
			t.Errorf("%v", err)
		}
		if !maps.Equal(sums(t, d), before) {
			t.Error("it was changed")
		}
		break
	}
	rule, err := exclude.ParsePattern("log/b", "test")
	systest.Must(t, err)
	mustSave(t, y.dir, y.ram, save.Options{Exclude: []exclude.Rule{rule}})
	stop.Store(true)
	<-done
}

// phases is called with the name of each phase.
type phases func(name string)

func (p phases) Phase(name string, _ int64) { p(name) }
func (phases) Done(int64)                   {}

// TestSaveAufs: a layer of aufs becomes the image's root.
func TestSaveAufs(t *testing.T) {
	requireKernel(t)
	t.Parallel()
	d := systest.TempDir(t)
	smallSystem(t, d)
	l := &frugal{t: t, dir: systest.TempDir(t)}
	systest.Run(t, "mksquashfs", d, l.path("linuxfs"), "-noappend", "-quiet", "-no-progress", "-comp", "gzip")
	u := systest.TempDir(t)
	write(t, u+"/etc/live/version/rootfs.ver", []byte(versionText), 0o644)
	systest.Run(t, "mke2fs", "-q", "-F", "-t", "ext4", "-d", u, l.path("rootfs"), "16M")
	write(t, u+"/etc/new", []byte("new"), 0o600)
	write(t, u+"/opt/.wh.gone", nil, 0o444)
	write(t, u+"/tmp/.wh.x", nil, 0o444)
	write(t, u+"/usr/share/deep/.wh..wh..opq", nil, 0o444)
	write(t, u+"/.wh..wh.plnk/17.42", []byte("a pseudo-link"), 0o600)
	write(t, u+"/.wh..wh.aufs", nil, 0o400)
	mustSave(t, l.dir, u, save.Options{})
	systest.Fsck(t, l.path("rootfs"))
	root, _ := systest.Mount(t, "ext4", "loop,ro", l.path("rootfs"))
	exactly(t, "layer", "saved", without(t, openDir(t, u), ".wh..wh.plnk", ".wh..wh.aufs", "tmp/.wh.x"), without(t, openDir(t, root), "lost+found"))
	shown := openTree(t, l.dir, "")
	if n, err := shown.Lookup("opt/gone"); err != nil || n != nil {
		t.Error("a deleted file shows", err)
	}
	systest.Must(t, os.Rename(u, filepath.Dir(u)+"/upper"))
	systest.Must(t, os.Mkdir(u, 0o755))
	systest.Must(t, os.Rename(filepath.Dir(u)+"/upper", u+"/upper"))
	_, err := runSave(t, environment(t, codec.Auto), l.dir, u, save.Options{})
	if r, ok := refusal.Is(err); !ok || !strings.Contains(r.Fact, "a layer of overlayfs") {
		t.Error(err)
	}
}

// TestSaveRefused: what belongs to another base, does not fit or is no layer is
// left alone.
func TestSaveRefused(t *testing.T) {
	t.Parallel()
	y := newDynamic(t, "")
	y.act()
	refused := func(fact string, o save.Options) {
		t.Helper()
		before := hashes(t, y.dir)
		_, err := runSave(t, environment(t, codec.Auto), y.dir, y.ram, o)
		r, ok := refusal.Is(err)
		if !ok || !strings.Contains(r.Fact, fact) || r.Hint == "" {
			t.Errorf("%s: %v (hint %q)", fact, err, refusal.Hint(err))
		}
		if hashes(t, y.dir) != before {
			t.Error("it was changed")
		}
	}
	big := y.ram + "/upper/opt/big"
	write(t, big, noise(3, 50<<20), 0o644)
	refused("has room for", save.Options{})
	s := mustSave(t, y.dir, y.ram, save.Options{Grow: true, KeepOld: 1})
	if s.Size <= s.OldSize || stat(t, y.path("rootfs")).Size() != s.Size {
		t.Errorf("%+v", s)
	}
	systest.Must(t, os.Remove(big))
	stamp := y.ram + "/upper/etc/live/version/rootfs.ver"
	write(t, stamp, []byte("==== 77777777777777777777777777777777\n"), 0o644)
	refused("was written over another linuxfs", save.Options{})
	systest.Must(t, os.Remove(stamp))
	refused("holds no version id", save.Options{})
	write(t, y.ram+"/upper/.wh..wh.aufs", nil, 0o400)
	refused("a layer of aufs", save.Options{Force: true})
	systest.Must(t, os.Remove(y.ram+"/upper/.wh..wh.aufs"))
	if s := mustSave(t, y.dir, y.ram, save.Options{Force: true}); len(s.Notes) == 0 {
		t.Error("no note")
	}
}

// TestSaveCrash: wherever it is cut off, there is the old rootfs or the new one.
func TestSaveCrash(t *testing.T) {
	t.Parallel()
	y := newDynamic(t, "")
	y.act()
	run := func(d string, n int) (*dying, error) {
		e, disk := environment(t, codec.Auto), &dying{left: n}
		e.Disk = disk
		_, err := runSave(t, e, d, y.ram, save.Options{KeepOld: 1})
		return disk, err
	}
	done := duplicate(t, y.dir)
	whole, err := run(done, 1<<20)
	systest.Must(t, err)
	before, after := sums(t, y.dir), sums(t, done)
	met := map[string]int{}
	for n := range whole.done {
		d := duplicate(t, y.dir)
		if _, err := run(d, n); !errors.Is(err, errPower) {
			t.Fatalf("after %d changes: %v", n, err)
		}
		if s := sums(t, d)["rootfs"]; s != before["rootfs"] && s != after["rootfs"] {
			t.Errorf("after %d changes there is another rootfs", n)
		}
		for _, dir := range live.JournalDirs(d) {
			if _, err := swap.Recover(t.Context(), swap.OS{}, dir); err != nil && !errors.Is(err, os.ErrNotExist) {
				t.Errorf("after %d changes: recovery: %v", n, err)
			}
		}
		switch s := sums(t, d); {
		case maps.Equal(s, before):
			met["old"]++
		case maps.Equal(s, after):
			met["new"]++
		default:
			t.Errorf("after %d changes there is then\n%v", n, s)
		}
		systest.Must(t, os.RemoveAll(d))
	}
	if met["old"] == 0 || met["new"] == 0 {
		t.Error(met)
	}
}

// TestSavePlain: a layer that was saved with --plain shows what the one in RAM
// shows, also after rootfs was copied as a boot with dynamic persistence copies
// it: without attributes.
func TestSavePlain(t *testing.T) {
	t.Parallel()
	y := newDynamic(t, "redirect_dir=on,metacopy=on")
	y.frugal.options = y.options
	y.act()
	y.run(func(mnt string) {
		systest.Must(t, os.Rename(mnt+"/usr/share/deep", mnt+"/opt/moved"))
		systest.Must(t, os.Chmod(mnt+"/usr/share/big.db", 0o600))
	})
	var want *tree.Node
	y.run(func(mnt string) { want = openDir(t, duplicate(t, mnt)) })
	marked := duplicate(t, y.dir)
	if s := mustSave(t, marked, y.ram, save.Options{All: true}); !hasWarning(s.Notes, "--plain does without them") {
		t.Errorf("no note of marks: %q", s.Notes)
	}
	o := save.Options{All: true, Plain: true}
	if s := mustSave(t, y.dir, y.ram, o); hasWarning(s.Notes, "--plain") {
		t.Errorf("%q", s.Notes)
	}
	exactly(t, "in RAM", "saved", want, without(t, openDir(t, y.view()), "lost+found"))
	if s := mustSave(t, y.dir, y.ram, o); !s.UpToDate {
		t.Errorf("again: %+v", s)
	}
	lossy := func(dir string) *tree.Node {
		c := &frugal{t: t, dir: duplicate(t, dir)}
		systest.Must(t, os.Remove(c.path("rootfs")))
		c.mkfs("-t", "ext4")
		from, dropFrom := systest.Mount(t, "ext4", "loop,ro", dir+"/rootfs")
		to, dropTo := systest.Mount(t, "ext4", "loop", c.path("rootfs"))
		systest.Run(t, "cp", "-dR", "--preserve=mode,ownership,timestamps,links", from+"/upper", from+"/work", to)
		dropTo()
		dropFrom()
		return without(t, openDir(t, c.view()), "lost+found")
	}
	bare := tree.CompareOptions{Links: true, IgnoreXattr: func(string) bool { return true }}
	same(t, "in RAM", "copied without attributes", want, lossy(y.dir), bare)
	lost := false
	systest.Must(t, tree.Compare(t.Context(), want, lossy(marked), bare, func(tree.Change) error { lost = true; return nil }))
	if !lost {
		t.Error("the layer with marks shows the same after it was copied without them: no test")
	}
}
