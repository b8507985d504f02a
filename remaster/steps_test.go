package remaster_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"relive/remaster/compact"
	"relive/remaster/refusal"
	"relive/remaster/rollback"
	"relive/tree/systest"
)

// stepped gives the state of a directory after some steps of a plan, from what
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
	requireKernel(t)
	t.Parallel()
	d := &debian{frugal: frugal{t: t, dir: systest.TempDir(t)}, over: "persistence", names: [2]string{"rw", "work"}, unions: []string{"/ ."},
		images: []string{"live/10-addon.squashfs", "live/20-more.squashfs", "live/filesystem.squashfs"}}
	for i, name := range d.images {
		squashed(t, d.path(name), func(dir string) {
			for _, f := range []string{"both", "etc/changed", "etc/gone"} {
				write(t, dir+"/"+f, []byte(name), 0o644)
			}
			write(t, dir+"/usr/share/db"+name[5:7], text(uint64(i), 50_000), 0o644)
			if i > 0 {
				write(t, dir+"/usr/two", []byte(name), 0o644)
			}
		})
	}
	p := systest.TempDir(t)
	write(t, p+"/persistence.conf", []byte("/ union,source=.\n"), 0o644)
	systest.Run(t, "mke2fs", "-q", "-F", "-t", "ext4", "-d", p, d.path("persistence"), "16M")
	mnt, drop := d.mounted(false)
	write(t, mnt+"/etc/changed", []byte("changed"), 0o600)
	systest.Must(t, os.Remove(mnt+"/etc/gone"))
	drop()
	want, drop := d.shown()
	drop()
	before := systest.TempDir(t) + "/m"
	systest.Run(t, "cp", "-a", "--sparse=always", d.dir, before)
	check := func(from, to string, steps []string) {
		t.Helper()
		for n := range len(steps) + 1 {
			c := *d
			c.dir = stepped(t, from, to, steps[:n])
			got, drop := c.shown()
			sameTree(t, "before", "after the steps "+strings.Join(steps[:n], "; "), want, got)
			drop()
		}
	}
	res := d.compact(compact.Options{KeepOld: 1})
	after := systest.TempDir(t) + "/m"
	systest.Run(t, "cp", "-a", "--sparse=always", d.dir, after)
	check(before, after, res.Plan.Steps)

	// The same on the way back, from a system with other changes.
	mnt, drop = d.mounted(false)
	write(t, mnt+"/etc/gone", []byte("back"), 0o600)
	write(t, mnt+"/etc/changed", []byte("once more"), 0o600)
	drop()
	plan, err := rollback.New(t.Context(), environment(t, 0), d.dir)
	systest.Must(t, err)
	steps := plan.Steps
	from := systest.TempDir(t) + "/m"
	systest.Run(t, "cp", "-a", "--sparse=always", d.dir, from)
	systest.Must(t, plan.Run(t.Context()))
	for n := 1; n <= len(steps); n++ {
		c := *d
		c.dir = stepped(t, from, d.dir, steps[:n])
		got, drop := c.shown()
		sameTree(t, "the former state", "after the steps "+strings.Join(steps[:n], "; "), want, got)
		drop()
	}
}

// TestLiveBootUnlisted: an image that filesystem.module does not name is no part
// of the system, before and after.
func TestLiveBootUnlisted(t *testing.T) {
	systest.NeedTools(t, "mksquashfs")
	t.Parallel()
	l := &frugal{t: t, dir: systest.TempDir(t)}
	for _, name := range []string{"addon", "filesystem", "other"} {
		squashed(t, l.path("live/"+name+".squashfs"), func(dir string) {
			write(t, dir+"/etc/which", []byte(name), 0o644)
			write(t, dir+"/etc/"+name, []byte(name), 0o644)
		})
	}
	write(t, l.path("live/filesystem.module"), []byte("filesystem.squashfs\naddon.squashfs\n"), 0o644)
	want := manifestOf(t, openTree(t, l.dir, ""))
	l.compact(compact.Options{KeepOld: 1, BlockSize: 1 << 20})
	sameManifest(t, want, manifestOf(t, openTree(t, l.dir, "")))
	p, err := rollback.New(t.Context(), environment(t, 0), l.dir)
	systest.Must(t, err)
	systest.Must(t, p.Run(t.Context()))
	sameManifest(t, want, manifestOf(t, openTree(t, l.dir, "")))
}

// TestLiveBootDirectory: persistence in a directory is emptied, kept, rotated
// and brought back.
func TestLiveBootDirectory(t *testing.T) {
	requireKernel(t)
	t.Parallel()
	l := &frugal{t: t, dir: systest.TempDir(t)}
	squashed(t, l.path("live/filesystem.squashfs"), func(dir string) {
		write(t, dir+"/etc/which", []byte("base"), 0o644)
		write(t, dir+"/home/x", []byte("base"), 0o644)
	})
	write(t, l.path("persistence/persistence.conf"), []byte("/ union\n/home union,source=h\n/srv\n"), 0o644)
	for _, d := range []string{"rw", "work", "h/rw", "h/work"} {
		systest.Must(t, os.MkdirAll(l.path("persistence/"+d), 0o755))
	}
	var states []map[string]string
	shown := func() map[string]string {
		root := openTree(t, l.dir, "")
		return map[string]string{"which": readFile(t, root, "etc/which"), "x": readFile(t, root, "home/x")}
	}
	for _, word := range []string{"one", "two", "three"} {
		write(t, l.path("persistence/rw/etc/which"), []byte(word), 0o644)
		write(t, l.path("persistence/h/rw/x"), []byte(word), 0o644)
		states = append(states, shown())
		l.compact(compact.Options{KeepOld: 2})
		if got := shown(); got["which"] != word || got["x"] != word {
			t.Errorf("after the compaction of %s: %v", word, got)
		}
		if s := l.status(); !s.Overlay.Empty {
			t.Errorf("the overlay is not empty: %+v", s.Overlay)
		}
	}
	for _, name := range []string{"persistence/rw.old.2/etc/which", "persistence/h/rw.old/x", "live/filesystem.squashfs.old.2"} {
		if _, err := os.Stat(l.path(name)); err != nil {
			t.Error(err)
		}
	}
	write(t, l.path("persistence/rw/etc/which"), []byte("four"), 0o644)
	p, err := rollback.New(t.Context(), environment(t, 0), l.dir)
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
	l := small(t)
	l.refused(compact.Options{Output: systest.TempDir(t), Force: true}, "is a directory")
	if _, err := l.plan(compact.Options{Output: systest.TempDir(t) + "/no/such"}); !errors.Is(err, os.ErrNotExist) || refusal.Hint(err) == "" {
		t.Errorf("%v", err)
	}
}
