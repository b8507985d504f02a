package update_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"relive/codec"
	"relive/iso"
	"relive/remaster/live"
	"relive/remaster/livetest"
	"relive/remaster/refusal"
	"relive/remaster/update"
	"relive/tree"
	"relive/tree/systest"
)

// isoOf makes an ISO image of a directory.
func isoOf(t testing.TB, dir string) string {
	t.Helper()
	p, err := iso.NewPlan(t.Context(), livetest.OpenDir(t, dir), iso.Recipe{VolumeID: "SNAPSHOT", Time: tree.Time{Sec: 1_700_000_000}})
	systest.Must(t, err)
	path := systest.TempDir(t) + "/snapshot.iso"
	f, err := os.Create(path)
	systest.Must(t, err)
	_, err = p.Write(t.Context(), f, nil)
	systest.Must(t, errors.Join(err, f.Close()))
	return path
}

// updated updates the directory, which must succeed, and gives what became of
// the overlay.
func updated(l *livetest.Live, from string, o update.Options) update.Overlay {
	l.T.Helper()
	o.KeepOld = 1
	res, err := livetest.TryUpdate(l.T, livetest.Env(l.T, codec.Auto), l.Dir, from, o)
	if err != nil {
		l.T.Fatalf("update: %v (hint: %s)", err, refusal.Hint(err))
	}
	return res.Plan.Overlay
}

// snapshotOf returns a directory with the files of a system that was in use, and
// what was done to it since: the system of a snapshot ISO.
func snapshotOf(t testing.TB, mnt, vid string) string {
	t.Helper()
	d := systest.TempDir(t)
	systest.Must(t, os.Chmod(d, 0o755))
	systest.Run(t, "cp", "-a", mnt+"/.", d+"/")
	systest.Must(t, os.RemoveAll(d+"/lost+found"))
	systest.Must(t, os.RemoveAll(d+"/etc/live/version/rootfs.ver"))
	livetest.Write(t, d+"/etc/live/version/linuxfs.ver", []byte(vid+"\n\ntitle: a snapshot\n"), 0o644)
	livetest.Write(t, d+"/usr/share/since", livetest.Text(11, 40_000), 0o644)
	livetest.Write(t, d+"/usr/share/other.db", livetest.Text(12, 100_000), 0o644)
	systest.Must(t, os.Remove(d+"/var/lib/dpkg/status"))
	livetest.Write(t, d+"/var/lib/dpkg/status", livetest.Text(13, 2_500), 0o644)
	return d
}

// TestUpdateTruth: after an update of an antiX directory the kernel shows the
// system of the snapshot, or with --overlay keep that system under the overlay;
// after a rollback what it showed before.
func TestUpdateTruth(t *testing.T) {
	livetest.NeedKernel(t)
	for _, c := range []struct {
		name    string
		options string
		overlay string
		dirty   bool
		more    bool // the overlay holds what the snapshot does not
		outcome update.Outcome
		refused string
	}{
		{name: "taken up", outcome: update.OutcomeTakenUp},
		{name: "taken up, power cut", dirty: true, outcome: update.OutcomeTakenUp},
		{name: "taken up, redirects", options: "redirect_dir=on,metacopy=on,index=on", outcome: update.OutcomeTakenUp},
		{name: "more", more: true, refused: "1 are not in the new base"},
		{name: "reset", more: true, overlay: "reset", outcome: update.OutcomeReset},
		{name: "keep", more: true, overlay: "keep", options: "redirect_dir=off,metacopy=off", outcome: update.OutcomeKept},
		{name: "keep, power cut", more: true, overlay: "keep", options: "redirect_dir=off,metacopy=off", dirty: true,
			outcome: update.OutcomeKept},
		{name: "keep, metacopy", more: true, overlay: "keep", options: "redirect_dir=on,metacopy=on",
			refused: "refers to files of the present base"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d := systest.TempDir(t)
			livetest.SmallSystem(t, d)
			base := systest.TempDir(t) + "/base"
			systest.Run(t, "mksquashfs", d, base, "-noappend", "-quiet", "-no-progress", "-comp", "gzip")
			l := livetest.NewLive(t, base)
			l.Options = c.options
			l.Boot(c.dirty, func(mnt string) { livetest.UseSmall(t, mnt) })
			snapshot := snapshotOf(t, l.View(), livetest.NewVersion)
			if c.more {
				l.Boot(c.dirty, func(mnt string) { livetest.Write(t, mnt+"/opt/mine", []byte("mine\n"), 0o644) })
			}
			before := livetest.Copied(t, l.View())
			medium := systest.TempDir(t)
			livetest.Write(t, medium+"/antiX/vmlinuz", []byte("new kernel"), 0o644)
			livetest.Write(t, medium+"/antiX/initrd.gz", []byte("new initrd"), 0o644)
			livetest.Write(t, l.Path("vmlinuz"), []byte("kernel"), 0o644)
			livetest.Write(t, l.Path("initrd.gz"), []byte("initrd"), 0o644)
			systest.Run(t, "mksquashfs", snapshot, medium+"/antiX/linuxfs", "-noappend", "-quiet", "-no-progress", "-comp", "zstd")
			systest.Run(t, "sh", "-c", "cd "+medium+"/antiX && md5sum linuxfs > linuxfs.md5")
			from := isoOf(t, medium)

			if c.refused != "" {
				was := livetest.Hashes(t, l.Dir)
				_, err := livetest.TryUpdate(t, livetest.Env(t, codec.Auto), l.Dir, from, update.Options{Overlay: c.overlay, KeepOld: 1})
				if r, ok := refusal.Is(err); !ok || !strings.Contains(r.Fact, c.refused) || r.Hint == "" {
					t.Errorf("not refused as it should be, but: %v", err)
				}
				if livetest.Hashes(t, l.Dir) != was {
					t.Error("the directory was changed")
				}
				return
			}
			want := livetest.OpenDir(t, snapshot)
			if c.outcome == update.OutcomeKept {
				// The former overlay over the new base, as the kernel shows them.
				both := &livetest.Live{T: t, Dir: systest.TempDir(t), Options: c.options}
				systest.CopyFile(t, medium+"/antiX/linuxfs", both.Path("linuxfs"))
				systest.CopyFile(t, l.Path("rootfs"), both.Path("rootfs"))
				want = livetest.Copied(t, both.View())
			}
			if o := updated(l, from, update.Options{Overlay: c.overlay}); o.Outcome != c.outcome {
				t.Errorf("the overlay is %s, not %s", o.Outcome, c.outcome)
			}
			systest.Run(t, "cmp", l.Path("linuxfs"), medium+"/antiX/linuxfs")
			systest.Run(t, "sh", "-c", `cd "$1" && md5sum -c --quiet linuxfs.md5`, "sh", l.Dir)
			systest.Fsck(t, l.Path("rootfs"))
			got := livetest.Copied(t, l.View())
			livetest.SameTree(t, "expected", "the kernel after", livetest.Without(t, want, livetest.Stamps[1]),
				livetest.Without(t, got, livetest.Stamps[1]))
			livetest.SameTree(t, "the kernel after", "relive after", got, livetest.OpenTree(t, l.Dir, ""))
			if s := l.Status(); s.Overlay.VIDState != live.VIDMatch || s.Overlay.VID != livetest.NewVersion {
				t.Errorf("version ids: %q: %s", s.Overlay.VID, s.Overlay.VIDState)
			}
			l.Rollback()
			livetest.SameTree(t, "the kernel before", "the kernel after the rollback", before, livetest.Copied(t, l.View()))
			for name, text := range map[string]string{"vmlinuz": "kernel", "initrd.gz": "initrd", "vmlinuz.bad": "new kernel",
				"initrd.gz.bad": "new initrd"} {
				if b, err := os.ReadFile(l.Path(name)); err != nil || string(b) != text {
					t.Errorf("after the rollback %s is %q, %v", name, b, err)
				}
			}
		})
	}
}

// TestUpdateLiveOS: the same with the forms of base and overlay of LiveOS and
// archiso media.
func TestUpdateLiveOS(t *testing.T) {
	livetest.NeedKernel(t)
	systest.NeedTools(t, "setfattr")
	for _, c := range []struct {
		name, kind       string
		flat, flatter    bool // the former and the new base hold files
		bare, arch, more bool
		overlay          string
		outcome          update.Outcome
	}{
		{name: "snapshot", kind: "dm", outcome: update.OutcomeTakenUp},
		{name: "snapshot, bare", kind: "dm", bare: true, outcome: update.OutcomeTakenUp},
		{name: "snapshot, reset", kind: "dm", more: true, overlay: "reset", outcome: update.OutcomeReset},
		{name: "snapshot, new base of files", kind: "dm", flatter: true, outcome: update.OutcomeTakenUp},
		{name: "image", kind: "image", outcome: update.OutcomeTakenUp},
		{name: "image, keep", kind: "image", more: true, overlay: "keep", outcome: update.OutcomeKept},
		{name: "image, new base of files", kind: "image", flatter: true, more: true, overlay: "reset", outcome: update.OutcomeReset},
		{name: "directory", kind: "dir", flat: true, flatter: true, outcome: update.OutcomeTakenUp},
		{name: "directory, keep", kind: "dir", flat: true, flatter: true, more: true, overlay: "keep", outcome: update.OutcomeKept},
		{name: "archiso snapshot", kind: "dm", arch: true, outcome: update.OutcomeTakenUp},
		{name: "archiso directory", kind: "dir", arch: true, flat: true, flatter: true, outcome: update.OutcomeTakenUp},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d := systest.TempDir(t)
			livetest.SmallSystem(t, d)
			make := func() *livetest.Medium {
				if c.arch {
					return livetest.Archiso(t, c.kind)
				}
				return livetest.LiveOS(t)
			}
			m := make().Fill(d, c.kind, c.flat, c.bare, "-comp", "gzip")
			m.Options = "redirect_dir=off,metacopy=off"
			m.Use(false, func(mnt string) { livetest.UseSmall(t, mnt) })
			snapshot := snapshotOf(t, m.View(), livetest.NewVersion)
			if c.more {
				m.Use(false, func(mnt string) { livetest.Write(t, mnt+"/opt/mine", []byte("mine\n"), 0o644) })
			}
			before := m.Seen()
			next := make().Fill(snapshot, "none", c.flatter, c.bare, "-comp", "zstd")
			from := next.Dir
			if !c.arch {
				from = isoOf(t, filepath.Dir(next.Dir))
			}
			want := livetest.Without(t, livetest.OpenDir(t, snapshot), "lost+found")
			if c.outcome == update.OutcomeKept {
				both := *next
				both.Kind = c.kind
				systest.Run(t, "cp", "-a", m.Path(m.Over), both.Path(m.Over))
				if c.kind == "dir" {
					systest.Run(t, "cp", "-a", m.Path(m.Work), both.Path(m.Work))
				}
				want = both.Seen()
			}
			if o := updated(&m.Live, from, update.Options{Overlay: c.overlay}); o.Outcome != c.outcome {
				t.Errorf("the overlay is %s, not %s", o.Outcome, c.outcome)
			}
			former := *m
			m.Flat = c.flatter
			if c.kind == "dm" && c.flatter {
				m.Kind = "image"
			}
			got := m.Seen()
			want.Mtime = got.Mtime // which mke2fs sets
			livetest.SameTree(t, "expected", "the kernel after", want, got)
			livetest.SameTree(t, "the kernel after", "relive after", got, livetest.Without(t, livetest.OpenTree(t, m.Dir, ""),
				"lost+found"))
			if c.outcome == update.OutcomeKept && c.kind == "dir" {
				return // the overlay lies over either base
			}
			m.Rollback()
			livetest.SameTree(t, "the kernel before", "the kernel after the rollback", before, former.Seen())
		})
	}
}

// TestUpdateDebian: the same with Debian live and casper.
func TestUpdateDebian(t *testing.T) {
	livetest.NeedKernel(t)
	for _, c := range []struct {
		name, image, over, upper, overlay string
		outcome                           update.Outcome
	}{
		{"Debian live", "live/filesystem.squashfs", "persistence", "rw", "", update.OutcomeTakenUp},
		{"Debian live, keep", "live/filesystem.squashfs", "persistence", "rw", "keep", update.OutcomeKept},
		{"casper", "casper/filesystem.squashfs", "writable", "upper", "", update.OutcomeTakenUp},
		{"casper, keep", "casper/filesystem.squashfs", "writable", "upper", "keep", update.OutcomeKept},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d := &livetest.Debian{Live: livetest.Live{T: t, Dir: systest.TempDir(t)}, Images: []string{c.image}, Over: c.over,
				Unions: []string{"/ ."}, Names: [2]string{c.upper, "work"}}
			livetest.Squashed(t, d.Path(c.image), func(dir string) { livetest.SmallSystem(t, dir) })
			p := systest.TempDir(t)
			systest.Must(t, os.Mkdir(p+"/"+c.upper, 0o755))
			systest.Must(t, os.Mkdir(p+"/work", 0o755))
			livetest.Write(t, p+"/persistence.conf", []byte("/ union\n"), 0o644)
			systest.Run(t, "mke2fs", "-q", "-F", "-t", "ext4", "-d", p, d.Path(c.over), "24M")
			mnt, drop := d.Mounted(false)
			livetest.UseSmall(t, mnt)
			drop()
			mnt, drop = d.Mounted(true)
			snapshot := snapshotOf(t, mnt, livetest.NewVersion)
			before := livetest.Copied(t, mnt)
			drop()
			medium := systest.TempDir(t)
			systest.Must(t, os.Mkdir(filepath.Join(medium, filepath.Dir(c.image)), 0o755))
			systest.Run(t, "mksquashfs", snapshot, filepath.Join(medium, c.image), "-noappend", "-quiet", "-no-progress", "-comp", "gzip",
				"-b", "64K")
			want := livetest.OpenDir(t, snapshot)
			if c.outcome == update.OutcomeKept {
				both := *d
				both.Dir = systest.TempDir(t)
				systest.Run(t, "cp", "-a", medium+"/.", both.Dir)
				systest.CopyFile(t, d.Path(c.over), both.Path(c.over))
				var drop func()
				want, drop = both.Shown()
				drop()
			}
			if o := updated(&d.Live, isoOf(t, medium), update.Options{Overlay: c.overlay}); o.Outcome != c.outcome {
				t.Errorf("the overlay is %s, not %s", o.Outcome, c.outcome)
			}
			got, drop := d.Shown()
			livetest.SameTree(t, "expected", "the kernel after", want, got)
			drop()
			d.Rollback()
			got, drop = d.Shown()
			livetest.SameTree(t, "the kernel before", "the kernel after the rollback", before, got)
			drop()
		})
	}
}

// TestUpdateRefused: files that are mounted are not replaced, nor is anything
// begun that does not fit the disk.
func TestUpdateRefused(t *testing.T) {
	livetest.NeedKernel(t)
	t.Parallel()
	image := systest.Blank(t, 24<<20)
	systest.Run(t, "mke2fs", "-q", "-F", "-t", "ext4", "-m", "0", image)
	disk, _ := systest.Mount(t, "ext4", "loop", image)
	d, next := systest.TempDir(t), systest.TempDir(t)
	livetest.SmallSystem(t, d)
	l := &livetest.Live{T: t, Dir: disk + "/antiX"}
	systest.Must(t, os.Mkdir(l.Dir, 0o755))
	systest.Run(t, "mksquashfs", d, l.Path("linuxfs"), "-noappend", "-quiet", "-no-progress")
	systest.Must(t, os.Remove(d+"/etc/live/version/linuxfs.ver"))
	livetest.Write(t, d+"/etc/live/version/linuxfs.ver", []byte(livetest.NewVersion+"\n"), 0o644)
	systest.Run(t, "mksquashfs", d, next+"/linuxfs", "-noappend", "-quiet", "-no-progress")
	refused := func(from, fact, hint string) {
		t.Helper()
		was := livetest.Hashes(t, l.Dir)
		_, err := livetest.TryUpdate(t, livetest.Env(t, codec.Auto), l.Dir, from, update.Options{NoKernel: true, KeepOld: 1})
		if r, ok := refusal.Is(err); !ok || !strings.Contains(r.Fact, fact) || !strings.Contains(r.Hint, hint) {
			t.Errorf("not refused as it should be, but: %v (hint: %s)", err, refusal.Hint(err))
		}
		if livetest.Hashes(t, l.Dir) != was {
			t.Error("the directory was changed")
		}
	}
	_, drop := systest.Mount(t, "squashfs", "loop,ro", l.Path("linuxfs"))
	refused(next, "in use", "do it from another one")
	drop()
	livetest.Write(t, d+"/usr/share/noise", livetest.Noise(1, 30<<20), 0o644)
	large := systest.TempDir(t)
	systest.Run(t, "mksquashfs", d, large+"/linuxfs", "-noappend", "-quiet", "-no-progress")
	refused(large, "not enough space", "free some space")
	updated(l, next, update.Options{NoKernel: true})
	systest.Run(t, "cmp", l.Path("linuxfs"), next+"/linuxfs")
	refused(large, "not enough space", "linuxfs.old and its like hold a former state")
}
