package remaster_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"relive/remaster/job"
	"relive/remaster/live"
	"relive/remaster/rollback"
	"relive/remaster/swap"
	"relive/remaster/update"
	"relive/squash/codec"
	"relive/tree"
	"relive/tree/systest"
)

var errPower = errors.New("the power is cut")

// dying is the host's file system until a number of changes is done; then
// nothing changes any more.
type dying struct {
	swap.OS
	left   int
	noLink bool // as FAT
	done   int
	commit int // how many changes there were before the commit point
}

func (d *dying) change(fn func() error) error {
	if d.left == 0 {
		return errPower
	}
	d.left--
	d.done++
	return fn()
}

func (d *dying) WriteFile(path string, data []byte) error {
	if bytes.Contains(data, []byte(`"committed"`)) {
		d.commit = d.done
	}
	return d.change(func() error { return d.OS.WriteFile(path, data) })
}

func (d *dying) CopyFile(from, to string) error {
	return d.change(func() error { return d.OS.CopyFile(from, to) })
}

func (d *dying) Mkdir(path string) error {
	return d.change(func() error { return d.OS.Mkdir(path) })
}

func (d *dying) SetMeta(path string, info swap.FileInfo) error {
	return d.change(func() error { return d.OS.SetMeta(path, info) })
}

func (d *dying) Rename(from, to string) error {
	return d.change(func() error { return d.OS.Rename(from, to) })
}

func (d *dying) Exchange(a, b string) error {
	return d.change(func() error { return d.OS.Exchange(a, b) })
}

func (d *dying) Link(from, to string) error {
	if d.noLink {
		return swap.ErrNoSupport
	}
	return d.change(func() error { return d.OS.Link(from, to) })
}

func (d *dying) Remove(path string) error {
	return d.change(func() error { return d.OS.Remove(path) })
}

// sums gives the sum of each file below a directory.
func sums(t testing.TB, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	systest.Must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		if !d.Type().IsRegular() {
			out[name] = d.Type().String()
			return nil
		}
		b, err := os.ReadFile(path)
		out[name] = fmt.Sprintf("%x", sha256.Sum256(b))[:12]
		return err
	}))
	return out
}

// shown is what a boot of a directory shows, as text.
func shown(t testing.TB, dir string) string {
	t.Helper()
	l, err := live.Open(t.Context(), environment(t, codec.Auto), dir)
	if err != nil {
		t.Errorf("it does not open: %v", err)
		return ""
	}
	defer l.Close()
	vids, err := l.VIDs()
	systest.Must(t, err)
	root := l.Merged
	if !vids.State.Used() {
		root = l.Base.Root
	}
	return manifestText(t, root)
}

func manifestText(t testing.TB, root *tree.Node) string {
	t.Helper()
	var b bytes.Buffer
	top := *without(t, root, "etc/live/version/rootfs.ver", "lost+found")
	top.Mtime, top.Xattrs = tree.Time{}, nil // those of an empty upper directory show
	systest.Must(t, tree.WriteManifest(t.Context(), &b, &top, tree.ManifestOptions{}))
	return b.String()
}

// settled recovers a directory. What other tests have just forked holds every
// lock for a moment longer, until it runs a program.
func settled(t testing.TB, when, dir string) {
	t.Helper()
	var err error
	for start := time.Now(); time.Since(start) < systest.Within(20*time.Second); time.Sleep(10 * time.Millisecond) {
		if _, err = swap.Recover(t.Context(), swap.OS{}, dir); !errors.Is(err, swap.ErrBusy) {
			break
		}
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s: recovery: %v", when, err)
	}
}

func has(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// crashing is a medium on which updates are cut off.
type crashing struct {
	name   string
	dir    string // the live directory, relative to the medium
	medium string
	from   string
	base   string // its path on the medium
	kernel string // without a number
	initrd string
	apart  bool // a boot in between may show the former base alone
}

// TestUpdateCrash: wherever an update or the rollback after it is cut off, a
// boot shows the former system or the new one, of files that are whole; what
// comes next leads to the state before or after, kernel and all.
func TestUpdateCrash(t *testing.T) {
	requireKernel(t)
	kernel := func(d, name, initrd, text string) {
		write(t, d+"/"+name, []byte(text+" kernel"), 0o644)
		write(t, d+"/"+initrd, []byte(text+" initrd"), 0o644)
	}
	antix := func(vid string) *crashing {
		d := systest.TempDir(t)
		smallSystem(t, d)
		base := systest.TempDir(t) + "/base"
		systest.Run(t, "mksquashfs", d, base, "-noappend", "-quiet", "-no-progress", "-comp", "gzip")
		l := &frugal{t: t, dir: systest.TempDir(t)}
		systest.CopyFile(t, base, l.path("linuxfs"))
		systest.Run(t, "mke2fs", "-q", "-F", "-t", "ext4", "-L", "rootfs", "-O", "^has_journal", l.path("rootfs"), "12M")
		l.boot(false, func(mnt string) { useSmall(t, mnt) })
		write(t, l.path("state/machine"), []byte("state\n"), 0o644)
		snapshot := snapshotOf(t, l.view(), vid)
		m := systest.TempDir(t)
		systest.Run(t, "mksquashfs", snapshot, m+"/linuxfs", "-noappend", "-quiet", "-no-progress", "-comp", "gzip")
		kernel(l.dir, "vmlinuz", "initrd.gz", "old")
		write(t, l.path("vmlinuz.md5"), []byte("an old sum"), 0o644)
		kernel(m, "vmlinuz", "initrd.gz", "new")
		return &crashing{dir: ".", medium: l.dir, from: m, base: "linuxfs", kernel: "vmlinuz", initrd: "initrd.gz"}
	}
	liveos := func(kind string, flat, flatter bool) *crashing {
		d := systest.TempDir(t)
		smallSystem(t, d)
		m := liveOS(t).fill(d, kind, flat, false, "-comp", "gzip")
		m.options = "redirect_dir=off,metacopy=off"
		m.use(false, func(mnt string) { useSmall(t, mnt) })
		if kind == "dm" {
			systest.Must(t, os.Truncate(m.path(m.over), 4<<20)) // what is behind was never written
		}
		next := liveOS(t).fill(snapshotOf(t, m.view(), newVersion), "none", flatter, false, "-comp", "gzip")
		a, b := filepath.Dir(m.dir), filepath.Dir(next.dir)
		kernel(a, "images/pxeboot/vmlinuz", "images/pxeboot/initrd.img", "old")
		kernel(b, "images/pxeboot/vmlinuz", "images/pxeboot/initrd.img", "new")
		return &crashing{dir: "LiveOS", medium: a, from: b, base: "LiveOS/squashfs.img", kernel: "images/pxeboot/vmlinuz", initrd: "images/pxeboot/initrd.img", apart: true}
	}
	all := map[string]*crashing{
		"antiX":             antix(newVersion),
		"antiX, one VID":    antix(strings.SplitN(versionText, "\n", 2)[0]),
		"LiveOS, snapshot":  liveos("dm", false, true),
		"LiveOS, directory": liveos("dir", true, true),
	}
	all["antiX, one VID"].apart = true
	for name, c := range all {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.name = name
			c.test(t)
		})
	}
}

func (c *crashing) test(t *testing.T) {
	noLink := strings.Contains(c.name, "one VID")
	copyOf := func(from string) string {
		d := systest.MemDir(t)
		systest.Run(t, "cp", "-a", "--sparse=always", from+"/.", d)
		return d
	}
	update := func(e *job.Env, d string) error {
		_, err := tryUpdate(t, e, filepath.Join(d, c.dir), c.from, update.Options{Overlay: "reset", KeepOld: 1})
		return err
	}
	back := func(e *job.Env, d string) error {
		p, err := rollback.New(t.Context(), e, filepath.Join(d, c.dir))
		if err != nil {
			return err
		}
		return p.Run(t.Context())
	}
	updated := copyOf(c.medium)
	systest.Must(t, update(environment(t, codec.Auto), updated))
	returned := copyOf(updated)
	systest.Must(t, back(environment(t, codec.Auto), returned))
	alone := func(d string) string {
		return manifestText(t, openTree(t, filepath.Join(d, c.base), ""))
	}
	if c.name == "LiveOS, snapshot" {
		alone = func(d string) string {
			lone := systest.TempDir(t)
			systest.Must(t, os.Mkdir(lone+"/LiveOS", 0o755))
			systest.CopyFile(t, filepath.Join(d, c.base), lone+"/"+c.base)
			return shown(t, lone)
		}
	}
	old, new := shown(t, filepath.Join(c.medium, c.dir)), shown(t, filepath.Join(updated, c.dir))
	allowed := map[string]string{old: "old", new: "new"}
	if c.apart {
		allowed[alone(c.medium)] = "old base alone"
	}
	if old == new || old != shown(t, filepath.Join(returned, c.dir)) || new != alone(updated) {
		t.Fatal("the states are not what they should be")
	}
	for _, phase := range []struct {
		name     string
		from, to string
		run      func(e *job.Env, d string) error
	}{{"update", c.medium, updated, update}, {"rollback", updated, returned, back}} {
		before, after := sums(t, phase.from), sums(t, phase.to)
		met := map[string]int{}
		run := func(d string, n int) (*dying, error) {
			e, disk := environment(t, codec.Auto), &dying{left: n, noLink: noLink}
			e.Disk = disk
			return disk, phase.run(e, d)
		}
		d := copyOf(phase.from)
		whole, err := run(d, 1<<20)
		if s := sums(t, d); err != nil || !maps.Equal(s, after) || whole.commit < 2 || whole.done < whole.commit+5 {
			t.Fatalf("%s: %v; %d changes, %d before the commit point; in the end there is\n%v\nnot\n%v", phase.name, err, whole.done, whole.commit, s, after)
		}
		for n := 0; n < whole.done; n++ {
			if n < whole.commit-4 {
				n += 3 // where no name has changed yet, not every moment matters
			}
			d := copyOf(phase.from)
			_, err := run(d, n)
			if !errors.Is(err, errPower) {
				t.Fatalf("%s: after %d changes: %v", phase.name, n, err)
			}
			when := fmt.Sprintf("%s: cut off after %d changes", phase.name, n)
			boots := d
			if over := filepath.Join(d, c.dir, "overlay-LIVE-12AB-34CD"); !has(filepath.Join(d, c.dir, "ovlwork")) && has(over+"/.") {
				// dracut does not use one without the other.
				boots = copyOf(d)
				systest.Must(t, os.RemoveAll(filepath.Join(boots, c.dir, filepath.Base(over))))
			}
			now, ok := allowed[shown(t, filepath.Join(boots, c.dir))]
			if !ok {
				t.Errorf("%s: a boot shows neither the old system nor the new one: %v", when, slices.Sorted(maps.Keys(sums(t, d))))
			}
			met[now]++
			s := sums(t, d)
			for _, name := range []string{c.kernel, c.initrd} {
				if s[name] != before[name] && s[name] != after[name] {
					t.Errorf("%s: %s is neither the old nor the new one", when, name)
				}
			}
			if s[c.kernel] != s[c.initrd] && (s[c.kernel] == before[c.kernel]) != (s[c.initrd] == before[c.initrd]) {
				met["kernel without its initrd"]++
			}
			for _, dir := range live.JournalDirs(filepath.Join(d, c.dir)) {
				settled(t, when, dir)
			}
			if s := sums(t, d); !maps.Equal(s, before) && !maps.Equal(s, after) {
				t.Errorf("%s: then there is\n%v\nbefore\n%v\nafter\n%v", when, s, before, after)
			}
			systest.Must(t, os.RemoveAll(d))
			if t.Failed() {
				return
			}
		}
		t.Logf("%s: %v", phase.name, met)
		if met["old"] == 0 || met["new"] == 0 || met["kernel without its initrd"] > 2 || c.apart && met["old base alone"] == 0 {
			t.Errorf("%s: not every state was met as it should be: %v", phase.name, met)
		}
	}
}
