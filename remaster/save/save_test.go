package save_test

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

	"relive/codec"
	"relive/remaster/exclude"
	"relive/remaster/live"
	"relive/remaster/livetest"
	"relive/remaster/refusal"
	"relive/remaster/save"
	"relive/remaster/say"
	"relive/remaster/swap"
	"relive/tree"
	"relive/tree/systest"
)

func newDynamic(t testing.TB, options string) *livetest.Dynamic {
	t.Helper()
	livetest.NeedKernel(t)
	d := systest.TempDir(t)
	systest.Must(t, os.Chmod(d, 0o755))
	livetest.SmallSystem(t, d)
	for _, f := range []string{"usr/lib/app/one", "usr/lib/app/two", "usr/lib/app/sub/three", "var/cache/apt/archives/x.deb", "tmp/base"} {
		livetest.Write(t, d+"/"+f, []byte(f), 0o644)
	}
	return livetest.DynamicOf(t, d, options, func(mnt string) { livetest.UseSmall(t, mnt) })
}

// useRAM does what loses marks with rsync.
func useRAM(y *livetest.Dynamic) {
	y.Run(func(mnt string) {
		t := y.T
		systest.Must(t, os.RemoveAll(mnt+"/usr/lib/app/sub"))
		livetest.Write(t, mnt+"/usr/lib/app/sub/fresh", []byte("a directory that was made again"), 0o644)
		systest.Must(t, os.Remove(mnt+"/usr/lib/app/two"))
		systest.Must(t, os.Rename(mnt+"/usr/lib/app/one", mnt+"/usr/lib/app/1"))
		livetest.Write(t, mnt+"/opt/bin/ping", livetest.Noise(5, 30_000), 0o755)
		systest.Run(t, "setcap", "cap_net_raw+ep", mnt+"/opt/bin/ping")
		systest.Must(t, os.Link(mnt+"/opt/bin/ping", mnt+"/opt/bin/ping6"))
		systest.Run(t, "mknod", mnt+"/opt/pipe", "p")
		systest.Run(t, "mknod", mnt+"/opt/device", "b", "7", "9")
		systest.Run(t, "setfattr", "-n", "trusted.mine", "-v", "yes", mnt+"/opt/bin/ping")
		systest.Run(t, "setfacl", "-m", "u:1234:rw", mnt+"/opt/pipe")
		systest.Must(t, os.Chtimes(mnt+"/opt/bin", time.Unix(1_600_000_000, 123456789), time.Unix(1_600_000_000, 987654321)))
		livetest.Sparse(t, mnt+"/opt/sparse", 5_000_000, 4_000_000)
		livetest.Write(t, mnt+"/tmp/now", []byte("gone with the boot"), 0o644)
		livetest.Write(t, mnt+"/var/cache/apt/archives/y.deb", livetest.Noise(6, 10_000), 0o644)
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
			y.Live.Options = options
			useRAM(y)
			if strings.HasPrefix(options, "redirect") {
				y.Run(func(mnt string) {
					systest.Must(t, os.Rename(mnt+"/usr/lib/app", mnt+"/opt/moved"))
					systest.Must(t, os.Chmod(mnt+"/usr/share/big.db", 0o600))
				})
			}
			var want *tree.Node
			y.Run(func(mnt string) { want = livetest.OpenDir(t, livetest.Duplicate(t, mnt)) })
			s := livetest.Save(t, y.Dir, y.RAM, save.Options{KeepOld: 1})
			if s.Changes.Added == 0 || s.Changes.Deleted == 0 || s.Excluded.Entries < 2 || s.From != y.RAM+"/upper" ||
				s.Before.Bytes == 0 || len(s.Held) != 0 {
				t.Errorf("%+v", s)
			}
			got := livetest.OpenDir(t, y.View())
			drop := []string{"lost+found", "tmp/now", "var/cache/apt/archives/y.deb"}
			livetest.Exactly(t, "in RAM", "saved", livetest.Without(t, want, drop...), livetest.Without(t, got, "lost+found"))
			systest.Fsck(t, y.Path("rootfs"))
			if st := y.Status(); len(st.Warnings) > 0 || st.Overlay.VIDState != live.VIDMatch {
				t.Errorf("%q %s", st.Warnings, st.Overlay.VIDState)
			}
			if options == "index=on" {
				return
			}
			if s := livetest.Save(t, y.Dir, y.RAM+"/upper", save.Options{KeepOld: 1}); !s.UpToDate || s.Changes.Sum() != 0 {
				t.Errorf("again: %+v", s)
			}
			if y.Names() != "linuxfs rootfs rootfs.old" {
				t.Error(y.Names())
			}
			// The layer itself, mark by mark.
			root, _ := systest.Mount(t, "ext4", "loop,ro", y.Path("rootfs"))
			livetest.Exactly(t, "layer in RAM", "layer saved", livetest.Without(t, livetest.OpenDir(t, y.RAM+"/upper"), drop...),
				livetest.OpenDir(t, root+"/upper"))
		})
	}
}

// TestSaveRandom: so it is whatever was done to the system, saved time and again.
func TestSaveRandom(t *testing.T) {
	t.Parallel()
	y := newDynamic(t, "redirect_dir=on,metacopy=on")
	y.Live.Options = y.Options
	seed := uint64(time.Now().UnixNano())
	h := &livetest.Hand{T: t, R: rand.New(rand.NewPCG(seed, 1))}
	for range 3 {
		var want *tree.Node
		y.Run(func(mnt string) {
			h.Root = mnt
			for range 40 {
				h.Act()
			}
			want = livetest.OpenDir(t, livetest.Duplicate(t, mnt))
		})
		livetest.Save(t, y.Dir, y.RAM, save.Options{All: true, Grow: true, KeepOld: 1})
		drop := []string{"lost+found", "etc/live/version/linuxfs.ver"}
		livetest.Exactly(t, "in RAM", "saved", livetest.Without(t, want, drop...), livetest.Without(t, livetest.OpenDir(t, y.View()),
			drop...))
		systest.Fsck(t, y.Path("rootfs"))
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
	useRAM(y)
	for _, name := range []string{"log/a", "log/b", "log/c"} {
		livetest.Write(t, y.RAM+"/upper/"+name, []byte("first"), 0o600)
	}
	systest.Must(t, os.Link(y.RAM+"/upper/log/a", y.RAM+"/upper/log/a2"))
	e := livetest.Env(t, codec.Auto)
	n := 0
	e.Progress = livetest.Phases(func(name string) {
		if !strings.HasPrefix(name, "new ") && name != "measuring" || n > 200 {
			return
		}
		n++
		for _, f := range []string{"log/a", "log/b"} {
			livetest.Write(t, y.RAM+"/upper/"+f, livetest.Noise(uint64(n), 5000+n), 0o640)
		}
		systest.Must(t, os.RemoveAll(y.RAM+"/upper/log/c"))
	})
	s, err := livetest.TrySave(t, e, y.Dir, y.RAM, save.Options{})
	systest.Must(t, err)
	if strings.Join(s.Held, " ") != "/log/a /log/a2 /log/b" {
		t.Errorf("%q", s.Held)
	}
	root, drop := systest.Mount(t, "ext4", "loop,ro", y.Path("rootfs"))
	for _, f := range []string{"a", "b"} {
		b, err := os.ReadFile(root + "/upper/log/" + f)
		systest.Must(t, err)
		ok := false
		for i := range n + 1 {
			ok = ok || string(b) == string(livetest.Noise(uint64(i), 5000+i))
		}
		if !ok {
			t.Errorf("%s holds %d bytes that it never held", f, len(b))
		}
	}
	if livetest.Has(root+"/upper/log/c") || livetest.Stat(t, root+"/upper/log/a2").Mode().Perm() != 0o640 {
		t.Error("not as it was")
	}
	drop()

	var stop atomic.Bool
	done := make(chan bool)
	go func() {
		for i := 0; !stop.Load(); i++ {
			f, err := os.OpenFile(y.RAM+"/upper/log/b", os.O_WRONLY, 0)
			if err == nil {
				_, _ = f.WriteAt([]byte{byte(i)}, int64(i%4096))
				f.Close()
			}
		}
		close(done)
	}()
	livetest.Write(t, y.RAM+"/upper/log/b", livetest.Noise(9, 48<<20), 0o600)
	before := livetest.Sums(t, y.Dir) // not times: the directory holds a scratch file for a moment
	for try := 0; ; try++ {
		d := livetest.Duplicate(t, y.Dir)
		_, err = livetest.TrySave(t, livetest.Env(t, codec.Auto), d, y.RAM, save.Options{Grow: true})
		if err == nil && try < 5 {
			continue // on a busy machine the writer may rest for long enough
		}
		if r, ok := refusal.Is(err); !ok || !strings.Contains(r.Fact, "/log/b: is written to all the time") {
			t.Errorf("%v", err)
		}
		if !maps.Equal(livetest.Sums(t, d), before) {
			t.Error("it was changed")
		}
		break
	}
	rule, err := exclude.ParsePattern("log/b", "test")
	systest.Must(t, err)
	livetest.Save(t, y.Dir, y.RAM, save.Options{Exclude: []exclude.Rule{rule}})
	stop.Store(true)
	<-done
}

// TestSaveAufs: a layer of aufs becomes the image's root.
func TestSaveAufs(t *testing.T) {
	livetest.NeedKernel(t)
	t.Parallel()
	d := systest.TempDir(t)
	livetest.SmallSystem(t, d)
	l := &livetest.Live{T: t, Dir: systest.TempDir(t)}
	systest.Run(t, "mksquashfs", d, l.Path("linuxfs"), "-noappend", "-quiet", "-no-progress", "-comp", "gzip")
	u := systest.TempDir(t)
	livetest.Write(t, u+"/etc/live/version/rootfs.ver", []byte(livetest.VersionText), 0o644)
	systest.Run(t, "mke2fs", "-q", "-F", "-t", "ext4", "-d", u, l.Path("rootfs"), "16M")
	livetest.Write(t, u+"/etc/new", []byte("new"), 0o600)
	livetest.Write(t, u+"/opt/.wh.gone", nil, 0o444)
	livetest.Write(t, u+"/tmp/.wh.x", nil, 0o444)
	livetest.Write(t, u+"/usr/share/deep/.wh..wh..opq", nil, 0o444)
	livetest.Write(t, u+"/.wh..wh.plnk/17.42", []byte("a pseudo-link"), 0o600)
	livetest.Write(t, u+"/.wh..wh.aufs", nil, 0o400)
	livetest.Save(t, l.Dir, u, save.Options{})
	systest.Fsck(t, l.Path("rootfs"))
	root, _ := systest.Mount(t, "ext4", "loop,ro", l.Path("rootfs"))
	livetest.Exactly(t, "layer", "saved", livetest.Without(t, livetest.OpenDir(t, u), ".wh..wh.plnk", ".wh..wh.aufs", "tmp/.wh.x"),
		livetest.Without(t, livetest.OpenDir(t, root), "lost+found"))
	shown := livetest.OpenTree(t, l.Dir, "")
	if n, err := shown.Lookup("opt/gone"); err != nil || n != nil {
		t.Error("a deleted file shows", err)
	}
	systest.Must(t, os.Rename(u, filepath.Dir(u)+"/upper"))
	systest.Must(t, os.Mkdir(u, 0o755))
	systest.Must(t, os.Rename(filepath.Dir(u)+"/upper", u+"/upper"))
	_, err := livetest.TrySave(t, livetest.Env(t, codec.Auto), l.Dir, u, save.Options{})
	if r, ok := refusal.Is(err); !ok || !strings.Contains(r.Fact, "a layer of overlayfs") {
		t.Error(err)
	}
}

// TestSaveRefused: what belongs to another base, does not fit or is no layer is
// left alone.
func TestSaveRefused(t *testing.T) {
	t.Parallel()
	y := newDynamic(t, "")
	useRAM(y)
	refused := func(fact string, o save.Options) {
		t.Helper()
		before := livetest.Hashes(t, y.Dir)
		_, err := livetest.TrySave(t, livetest.Env(t, codec.Auto), y.Dir, y.RAM, o)
		r, ok := refusal.Is(err)
		if !ok || !strings.Contains(r.Fact, fact) || r.Hint == "" {
			t.Errorf("%s: %v (hint %q)", fact, err, refusal.Hint(err))
		}
		if livetest.Hashes(t, y.Dir) != before {
			t.Error("it was changed")
		}
	}
	big := y.RAM + "/upper/opt/big"
	livetest.Write(t, big, livetest.Noise(3, 50<<20), 0o644)
	refused("has room for", save.Options{})
	s := livetest.Save(t, y.Dir, y.RAM, save.Options{Grow: true, KeepOld: 1})
	if s.Size <= s.OldSize || livetest.Stat(t, y.Path("rootfs")).Size() != s.Size {
		t.Errorf("%+v", s)
	}
	systest.Must(t, os.Remove(big))
	stamp := y.RAM + "/upper/etc/live/version/rootfs.ver"
	livetest.Write(t, stamp, []byte("==== 77777777777777777777777777777777\n"), 0o644)
	refused("was written over another linuxfs", save.Options{})
	systest.Must(t, os.Remove(stamp))
	refused("holds no version id", save.Options{})
	livetest.Write(t, y.RAM+"/upper/.wh..wh.aufs", nil, 0o400)
	refused("a layer of aufs", save.Options{Force: true})
	systest.Must(t, os.Remove(y.RAM+"/upper/.wh..wh.aufs"))
	if s := livetest.Save(t, y.Dir, y.RAM, save.Options{Force: true}); len(s.Notes) == 0 {
		t.Error("no note")
	}
}

// TestSaveCrash: wherever it is cut off, there is the old rootfs or the new one.
func TestSaveCrash(t *testing.T) {
	t.Parallel()
	y := newDynamic(t, "")
	useRAM(y)
	run := func(d string, n int) (*livetest.Dying, error) {
		e, disk := livetest.Env(t, codec.Auto), &livetest.Dying{Left: n}
		e.Disk = disk
		_, err := livetest.TrySave(t, e, d, y.RAM, save.Options{KeepOld: 1})
		return disk, err
	}
	done := livetest.Duplicate(t, y.Dir)
	whole, err := run(done, 1<<20)
	systest.Must(t, err)
	before, after := livetest.Sums(t, y.Dir), livetest.Sums(t, done)
	met := map[string]int{}
	for n := range whole.Done {
		d := livetest.Duplicate(t, y.Dir)
		if _, err := run(d, n); !errors.Is(err, livetest.ErrPower) {
			t.Fatalf("after %d changes: %v", n, err)
		}
		if s := livetest.Sums(t, d)["rootfs"]; s != before["rootfs"] && s != after["rootfs"] {
			t.Errorf("after %d changes there is another rootfs", n)
		}
		for _, dir := range live.JournalDirs(d) {
			if _, err := swap.Recover(t.Context(), swap.OS{}, dir); err != nil && !errors.Is(err, os.ErrNotExist) {
				t.Errorf("after %d changes: recovery: %v", n, err)
			}
		}
		switch s := livetest.Sums(t, d); {
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
	y.Live.Options = y.Options
	useRAM(y)
	y.Run(func(mnt string) {
		systest.Must(t, os.Rename(mnt+"/usr/share/deep", mnt+"/opt/moved"))
		systest.Must(t, os.Chmod(mnt+"/usr/share/big.db", 0o600))
	})
	var want *tree.Node
	y.Run(func(mnt string) { want = livetest.OpenDir(t, livetest.Duplicate(t, mnt)) })
	marked := livetest.Duplicate(t, y.Dir)
	if s := livetest.Save(t, marked, y.RAM, save.Options{All: true}); !livetest.HasWarning(s.Notes, say.Plain+" does without them") {
		t.Errorf("no note of marks: %q", s.Notes)
	}
	o := save.Options{All: true, Plain: true}
	if s := livetest.Save(t, y.Dir, y.RAM, o); livetest.HasWarning(s.Notes, say.Plain) {
		t.Errorf("%q", s.Notes)
	}
	livetest.Exactly(t, "in RAM", "saved", want, livetest.Without(t, livetest.OpenDir(t, y.View()), "lost+found"))
	if s := livetest.Save(t, y.Dir, y.RAM, o); !s.UpToDate {
		t.Errorf("again: %+v", s)
	}
	lossy := func(dir string) *tree.Node {
		c := &livetest.Live{T: t, Dir: livetest.Duplicate(t, dir)}
		systest.Must(t, os.Remove(c.Path("rootfs")))
		c.Mkfs("-t", "ext4")
		from, dropFrom := systest.Mount(t, "ext4", "loop,ro", dir+"/rootfs")
		to, dropTo := systest.Mount(t, "ext4", "loop", c.Path("rootfs"))
		systest.Run(t, "cp", "-dR", "--preserve=mode,ownership,timestamps,links", from+"/upper", from+"/work", to)
		dropTo()
		dropFrom()
		return livetest.Without(t, livetest.OpenDir(t, c.View()), "lost+found")
	}
	bare := tree.CompareOptions{Links: true, IgnoreXattr: func(string) bool { return true }}
	livetest.Same(t, "in RAM", "copied without attributes", want, lossy(y.Dir), bare)
	lost := false
	systest.Must(t, tree.Compare(t.Context(), want, lossy(marked), bare, func(tree.Change) error { lost = true; return nil }))
	if !lost {
		t.Error("the layer with marks shows the same after it was copied without them: no test")
	}
}
