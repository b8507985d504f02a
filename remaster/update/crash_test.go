package update_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"relive/codec"
	"relive/remaster/job"
	"relive/remaster/live"
	"relive/remaster/livetest"
	"relive/remaster/rollback"
	"relive/remaster/update"
	"relive/tree/systest"
)

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
	livetest.NeedKernel(t)
	kernel := func(d, name, initrd, text string) {
		livetest.Write(t, d+"/"+name, []byte(text+" kernel"), 0o644)
		livetest.Write(t, d+"/"+initrd, []byte(text+" initrd"), 0o644)
	}
	antix := func(vid string) *crashing {
		d := systest.TempDir(t)
		livetest.SmallSystem(t, d)
		base := systest.TempDir(t) + "/base"
		systest.Run(t, "mksquashfs", d, base, "-noappend", "-quiet", "-no-progress", "-comp", "gzip")
		l := &livetest.Live{T: t, Dir: systest.TempDir(t)}
		systest.CopyFile(t, base, l.Path("linuxfs"))
		systest.Run(t, "mke2fs", "-q", "-F", "-t", "ext4", "-L", "rootfs", "-O", "^has_journal", l.Path("rootfs"), "12M")
		l.Boot(false, func(mnt string) { livetest.UseSmall(t, mnt) })
		livetest.Write(t, l.Path("state/machine"), []byte("state\n"), 0o644)
		snapshot := snapshotOf(t, l.View(), vid)
		m := systest.TempDir(t)
		systest.Run(t, "mksquashfs", snapshot, m+"/linuxfs", "-noappend", "-quiet", "-no-progress", "-comp", "gzip")
		kernel(l.Dir, "vmlinuz", "initrd.gz", "old")
		livetest.Write(t, l.Path("vmlinuz.md5"), []byte("an old sum"), 0o644)
		kernel(m, "vmlinuz", "initrd.gz", "new")
		return &crashing{dir: ".", medium: l.Dir, from: m, base: "linuxfs", kernel: "vmlinuz", initrd: "initrd.gz"}
	}
	liveos := func(kind string, flat, flatter bool) *crashing {
		d := systest.TempDir(t)
		livetest.SmallSystem(t, d)
		m := livetest.LiveOS(t).Fill(d, kind, flat, false, "-comp", "gzip")
		m.Options = "redirect_dir=off,metacopy=off"
		m.Use(false, func(mnt string) { livetest.UseSmall(t, mnt) })
		if kind == "dm" {
			systest.Must(t, os.Truncate(m.Path(m.Over), 4<<20)) // what is behind was never written
		}
		next := livetest.LiveOS(t).Fill(snapshotOf(t, m.View(), livetest.NewVersion), "none", flatter, false, "-comp", "gzip")
		a, b := filepath.Dir(m.Dir), filepath.Dir(next.Dir)
		kernel(a, "images/pxeboot/vmlinuz", "images/pxeboot/initrd.img", "old")
		kernel(b, "images/pxeboot/vmlinuz", "images/pxeboot/initrd.img", "new")
		return &crashing{dir: "LiveOS", medium: a, from: b, base: "LiveOS/squashfs.img", kernel: "images/pxeboot/vmlinuz",
			initrd: "images/pxeboot/initrd.img", apart: true}
	}
	all := map[string]*crashing{
		"antiX":             antix(livetest.NewVersion),
		"antiX, one VID":    antix(strings.SplitN(livetest.VersionText, "\n", 2)[0]),
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
		_, err := livetest.TryUpdate(t, e, filepath.Join(d, c.dir), c.from, update.Options{Overlay: "reset", KeepOld: 1})
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
	systest.Must(t, update(livetest.Env(t, codec.Auto), updated))
	returned := copyOf(updated)
	systest.Must(t, back(livetest.Env(t, codec.Auto), returned))
	alone := func(d string) string {
		return livetest.ManifestText(t, livetest.OpenTree(t, filepath.Join(d, c.base), ""))
	}
	if c.name == "LiveOS, snapshot" {
		alone = func(d string) string {
			lone := systest.TempDir(t)
			systest.Must(t, os.Mkdir(lone+"/LiveOS", 0o755))
			systest.CopyFile(t, filepath.Join(d, c.base), lone+"/"+c.base)
			return livetest.Shown(t, lone)
		}
	}
	old, new := livetest.Shown(t, filepath.Join(c.medium, c.dir)), livetest.Shown(t, filepath.Join(updated, c.dir))
	allowed := map[string]string{old: "old", new: "new"}
	if c.apart {
		allowed[alone(c.medium)] = "old base alone"
	}
	if old == new || old != livetest.Shown(t, filepath.Join(returned, c.dir)) || new != alone(updated) {
		t.Fatal("the states are not what they should be")
	}
	for _, phase := range []struct {
		name     string
		from, to string
		run      func(e *job.Env, d string) error
	}{{"update", c.medium, updated, update}, {"rollback", updated, returned, back}} {
		before, after := livetest.Sums(t, phase.from), livetest.Sums(t, phase.to)
		met := map[string]int{}
		run := func(d string, n int) (*livetest.Dying, error) {
			e, disk := livetest.Env(t, codec.Auto), &livetest.Dying{Left: n, NoLink: noLink}
			e.Disk = disk
			return disk, phase.run(e, d)
		}
		d := copyOf(phase.from)
		whole, err := run(d, 1<<20)
		if s := livetest.Sums(t, d); err != nil || !maps.Equal(s, after) || whole.Commit < 2 || whole.Done < whole.Commit+5 {
			t.Fatalf("%s: %v; %d changes, %d before the commit point; in the end there is\n%v\nnot\n%v", phase.name, err, whole.Done,
				whole.Commit, s, after)
		}
		for n := 0; n < whole.Done; n++ {
			if n < whole.Commit-4 {
				n += 3 // where no name has changed yet, not every moment matters
			}
			d := copyOf(phase.from)
			_, err := run(d, n)
			if !errors.Is(err, livetest.ErrPower) {
				t.Fatalf("%s: after %d changes: %v", phase.name, n, err)
			}
			when := fmt.Sprintf("%s: cut off after %d changes", phase.name, n)
			boots := d
			if over := filepath.Join(d, c.dir, "overlay-LIVE-12AB-34CD"); !livetest.Has(filepath.Join(d, c.dir, "ovlwork")) &&
				livetest.Has(over+"/.") {
				// dracut does not use one without the other.
				boots = copyOf(d)
				systest.Must(t, os.RemoveAll(filepath.Join(boots, c.dir, filepath.Base(over))))
			}
			now, ok := allowed[livetest.Shown(t, filepath.Join(boots, c.dir))]
			if !ok {
				t.Errorf("%s: a boot shows neither the old system nor the new one: %v", when, slices.Sorted(maps.Keys(livetest.Sums(t, d))))
			}
			met[now]++
			s := livetest.Sums(t, d)
			for _, name := range []string{c.kernel, c.initrd} {
				if s[name] != before[name] && s[name] != after[name] {
					t.Errorf("%s: %s is neither the old nor the new one", when, name)
				}
			}
			if s[c.kernel] != s[c.initrd] && (s[c.kernel] == before[c.kernel]) != (s[c.initrd] == before[c.initrd]) {
				met["kernel without its initrd"]++
			}
			for _, dir := range live.JournalDirs(filepath.Join(d, c.dir)) {
				livetest.Settled(t, when, dir)
			}
			if s := livetest.Sums(t, d); !maps.Equal(s, before) && !maps.Equal(s, after) {
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
