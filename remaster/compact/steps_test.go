package compact_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"relive/remaster/compact"
	"relive/remaster/livetest"
	"relive/remaster/packed"
	"relive/remaster/refusal"
	"relive/remaster/rollback"
	"relive/tree/systest"
)

// stepped returns the state of a directory after some steps of a plan, from what
// it was before the first and after the last.
func stepped(t testing.TB, before, after string, steps []string) string {
	t.Helper()
	dir := systest.TempDir(t) + "/m"
	systest.Run(t, "cp", "-a", "--sparse=always", before, dir)
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, s := range steps {
		if rest, ok := strings.CutPrefix(s, "replace "); ok {
			target, keep, _ := strings.Cut(rest, ", keep the former as ")
			systest.Must(t, os.Rename(at(target), at(keep)))
			systest.Run(t, "cp", "-a", filepath.Join(after, target), at(target))
		} else if rest, ok := strings.CutPrefix(s, "rename "); ok {
			from, to, _ := strings.Cut(rest, " to ")
			systest.Must(t, os.Rename(at(from), at(to)))
		} else {
			t.Fatalf("the step %q", s)
		}
	}
	return dir
}

// TestLiveBootSteps: with several images over each other, a boot shows the same
// system whatever steps of a compaction are done.
func TestLiveBootSteps(t *testing.T) {
	livetest.NeedKernel(t)
	t.Parallel()
	d := &livetest.Debian{Live: livetest.Live{T: t, Dir: systest.TempDir(t)}, Over: "persistence", Names: [2]string{"rw", "work"},
		Unions: []string{"/ ."},
		Images: []string{"live/10-addon.squashfs", "live/20-more.squashfs", "live/filesystem.squashfs"}}
	for i, name := range d.Images {
		livetest.Squashed(t, d.Path(name), func(dir string) {
			for _, f := range []string{"both", "etc/changed", "etc/gone"} {
				livetest.Write(t, dir+"/"+f, []byte(name), 0o644)
			}
			livetest.Write(t, dir+"/usr/share/db"+name[5:7], livetest.Text(uint64(i), 50_000), 0o644)
			if i > 0 {
				livetest.Write(t, dir+"/usr/two", []byte(name), 0o644)
			}
		})
	}
	p := systest.TempDir(t)
	livetest.Write(t, p+"/persistence.conf", []byte("/ union,source=.\n"), 0o644)
	systest.Run(t, "mke2fs", "-q", "-F", "-t", "ext4", "-d", p, d.Path("persistence"), "16M")
	mnt, drop := d.Mounted(false)
	livetest.Write(t, mnt+"/etc/changed", []byte("changed"), 0o600)
	systest.Must(t, os.Remove(mnt+"/etc/gone"))
	drop()
	want, drop := d.Shown()
	drop()
	before := systest.TempDir(t) + "/m"
	systest.Run(t, "cp", "-a", "--sparse=always", d.Dir, before)
	check := func(from, to string, steps []string) {
		t.Helper()
		for n := range len(steps) + 1 {
			c := *d
			c.Dir = stepped(t, from, to, steps[:n])
			got, drop := c.Shown()
			livetest.SameTree(t, "before", "after the steps "+strings.Join(steps[:n], "; "), want, got)
			drop()
		}
	}
	res := d.Compact(compact.Options{KeepOld: 1})
	after := systest.TempDir(t) + "/m"
	systest.Run(t, "cp", "-a", "--sparse=always", d.Dir, after)
	check(before, after, res.Plan.Steps)

	// The same on the way back, from a system with other changes.
	mnt, drop = d.Mounted(false)
	livetest.Write(t, mnt+"/etc/gone", []byte("back"), 0o600)
	livetest.Write(t, mnt+"/etc/changed", []byte("once more"), 0o600)
	drop()
	plan, err := rollback.New(t.Context(), livetest.Env(t, 0), d.Dir)
	systest.Must(t, err)
	steps := plan.Steps
	from := systest.TempDir(t) + "/m"
	systest.Run(t, "cp", "-a", "--sparse=always", d.Dir, from)
	systest.Must(t, plan.Run(t.Context()))
	for n := 1; n <= len(steps); n++ {
		c := *d
		c.Dir = stepped(t, from, d.Dir, steps[:n])
		got, drop := c.Shown()
		livetest.SameTree(t, "the former state", "after the steps "+strings.Join(steps[:n], "; "), want, got)
		drop()
	}
}

// TestLiveBootUnlisted: an image that filesystem.module does not name is no part
// of the system, before and after.
func TestLiveBootUnlisted(t *testing.T) {
	systest.NeedTools(t, "mksquashfs")
	t.Parallel()
	l := &livetest.Live{T: t, Dir: systest.TempDir(t)}
	for _, name := range []string{"addon", "filesystem", "other"} {
		livetest.Squashed(t, l.Path("live/"+name+".squashfs"), func(dir string) {
			livetest.Write(t, dir+"/etc/which", []byte(name), 0o644)
			livetest.Write(t, dir+"/etc/"+name, []byte(name), 0o644)
		})
	}
	livetest.Write(t, l.Path("live/filesystem.module"), []byte("filesystem.squashfs\naddon.squashfs\n"), 0o644)
	want := livetest.ManifestOf(t, livetest.OpenTree(t, l.Dir, ""))
	l.Compact(compact.Options{KeepOld: 1, Wish: packed.Wish{BlockSize: 1 << 20}})
	livetest.SameManifest(t, want, livetest.ManifestOf(t, livetest.OpenTree(t, l.Dir, "")))
	p, err := rollback.New(t.Context(), livetest.Env(t, 0), l.Dir)
	systest.Must(t, err)
	systest.Must(t, p.Run(t.Context()))
	livetest.SameManifest(t, want, livetest.ManifestOf(t, livetest.OpenTree(t, l.Dir, "")))
}

// TestLiveBootDirectory: persistence in a directory is emptied, kept, rotated
// and brought back.
func TestLiveBootDirectory(t *testing.T) {
	livetest.NeedKernel(t)
	t.Parallel()
	l := &livetest.Live{T: t, Dir: systest.TempDir(t)}
	livetest.Squashed(t, l.Path("live/filesystem.squashfs"), func(dir string) {
		livetest.Write(t, dir+"/etc/which", []byte("base"), 0o644)
		livetest.Write(t, dir+"/home/x", []byte("base"), 0o644)
	})
	livetest.Write(t, l.Path("persistence/persistence.conf"), []byte("/ union\n/home union,source=h\n/srv\n"), 0o644)
	for _, d := range []string{"rw", "work", "h/rw", "h/work"} {
		systest.Must(t, os.MkdirAll(l.Path("persistence/"+d), 0o755))
	}
	var states []map[string]string
	shown := func() map[string]string {
		root := livetest.OpenTree(t, l.Dir, "")
		return map[string]string{"which": livetest.ReadFile(t, root, "etc/which"), "x": livetest.ReadFile(t, root, "home/x")}
	}
	for _, word := range []string{"one", "two", "three"} {
		livetest.Write(t, l.Path("persistence/rw/etc/which"), []byte(word), 0o644)
		livetest.Write(t, l.Path("persistence/h/rw/x"), []byte(word), 0o644)
		states = append(states, shown())
		l.Compact(compact.Options{KeepOld: 2})
		if got := shown(); got["which"] != word || got["x"] != word {
			t.Errorf("after the compaction of %s: %v", word, got)
		}
		if s := l.Status(); !s.Overlay.Empty {
			t.Errorf("the overlay is not empty: %+v", s.Overlay)
		}
	}
	for _, name := range []string{"persistence/rw.old.2/etc/which", "persistence/h/rw.old/x", "live/filesystem.squashfs.old.2"} {
		if _, err := os.Stat(l.Path(name)); err != nil {
			t.Error(err)
		}
	}
	livetest.Write(t, l.Path("persistence/rw/etc/which"), []byte("four"), 0o644)
	p, err := rollback.New(t.Context(), livetest.Env(t, 0), l.Dir)
	systest.Must(t, err)
	systest.Must(t, p.Run(t.Context()))
	if got := shown(); got["which"] != "three" || got["x"] != "three" || len(states) != 3 {
		t.Errorf("after the rollback: %v", got)
	}
}

// TestOutputPlaces: a place that the new base cannot be written to is told
// before the work.
func TestOutputPlaces(t *testing.T) {
	t.Parallel()
	l := livetest.Small(t)
	l.Refused(compact.Options{Output: systest.TempDir(t), Force: true}, "is a directory")
	if _, err := l.Plan(compact.Options{Output: systest.TempDir(t) + "/no/such"}); !errors.Is(err, os.ErrNotExist) ||
		refusal.Hint(err) == "" {
		t.Errorf("%v", err)
	}
}
