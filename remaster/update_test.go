package remaster_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"relive/iso"
	"relive/remaster/job"
	"relive/remaster/live"
	"relive/remaster/refusal"
	"relive/remaster/rollback"
	"relive/remaster/update"
	"relive/squash/codec"
	"relive/tree"
	"relive/tree/systest"
)

// isoOf makes an ISO image of a directory.
func isoOf(t testing.TB, dir string) string {
	t.Helper()
	p, err := iso.NewPlan(t.Context(), openDir(t, dir), iso.Recipe{VolumeID: "SNAPSHOT", Time: tree.Time{Sec: 1_700_000_000}})
	systest.Must(t, err)
	path := systest.TempDir(t) + "/snapshot.iso"
	f, err := os.Create(path)
	systest.Must(t, err)
	_, err = p.Write(t.Context(), f, nil)
	systest.Must(t, errors.Join(err, f.Close()))
	return path
}

// source opens where an update takes a base from.
func runSource(t testing.TB, e *job.Env, path string) (*live.Live, error) {
	t.Helper()
	if stat(t, path).IsDir() {
		return live.Open(t.Context(), e, path)
	}
	return live.OpenOnStick(t.Context(), e, path, "")
}

// tryUpdate updates a live directory.
func tryUpdate(t testing.TB, e *job.Env, dir, from string, o update.Options) (*update.Result, error) {
	t.Helper()
	src, err := runSource(t, e, from)
	systest.Must(t, err)
	defer src.Close()
	opened, err := live.Open(t.Context(), e, dir)
	systest.Must(t, err)
	defer opened.Close()
	p, err := update.New(t.Context(), e, opened, src, o)
	if err != nil {
		return nil, err
	}
	return p.Run(t.Context())
}

// update updates the directory, which must succeed, and gives what became of
// the overlay.
func (l *frugal) update(from string, o update.Options) update.Overlay {
	l.t.Helper()
	o.KeepOld = 1
	res, err := tryUpdate(l.t, environment(l.t, codec.Auto), l.dir, from, o)
	if err != nil {
		l.t.Fatalf("update: %v (hint: %s)", err, refusal.Hint(err))
	}
	return res.Plan.Overlay
}

func (l *frugal) rollback() {
	l.t.Helper()
	p, err := rollback.New(l.t.Context(), environment(l.t, codec.Auto), l.dir)
	if err != nil {
		l.t.Fatalf("rollback: %v (hint: %s)", err, refusal.Hint(err))
	}
	systest.Must(l.t, p.Run(l.t.Context()))
}

// smallSystem fills a directory with a few files.
func smallSystem(t testing.TB, d string) {
	t.Helper()
	write(t, d+"/usr/share/big.db", text(1, 300_000), 0o644)
	write(t, d+"/usr/share/deep/a/b/c", text(2, 9_000), 0o644)
	write(t, d+"/opt/tool", text(3, 5_000), 0o755)
	write(t, d+"/opt/gone", noise(4, 90_000), 0o644)
	write(t, d+"/etc/hostname", []byte("live\n"), 0o644)
	write(t, d+"/var/lib/dpkg/status", text(6, 2_000), 0o644)
	write(t, d+"/etc/live/version/linuxfs.ver", []byte(versionText), 0o644)
}

// useSmall changes a running small system.
func useSmall(t testing.TB, mnt string) {
	t.Helper()
	write(t, mnt+"/etc/new", []byte("new\n"), 0o600)
	systest.Must(t, os.Remove(mnt+"/opt/gone"))
	systest.Must(t, os.Chmod(mnt+"/usr/share/big.db", 0o600))
	systest.Must(t, os.Chown(mnt+"/opt/tool", 1, 2))
	systest.Must(t, os.RemoveAll(mnt+"/usr/share/deep/a"))
	write(t, mnt+"/usr/share/deep/a/again", text(9, 3_000), 0o644)
	write(t, mnt+"/etc/hostname", []byte("named\n"), 0o644)
}

// snapshotOf gives a directory with the files of a system that was in use, and
// what was done to it since: the system of a snapshot ISO.
func snapshotOf(t testing.TB, mnt, vid string) string {
	t.Helper()
	d := systest.TempDir(t)
	systest.Must(t, os.Chmod(d, 0o755))
	systest.Run(t, "cp", "-a", mnt+"/.", d+"/")
	systest.Must(t, os.RemoveAll(d+"/lost+found"))
	systest.Must(t, os.RemoveAll(d+"/etc/live/version/rootfs.ver"))
	write(t, d+"/etc/live/version/linuxfs.ver", []byte(vid+"\n\ntitle: a snapshot\n"), 0o644)
	write(t, d+"/usr/share/since", text(11, 40_000), 0o644)
	write(t, d+"/usr/share/other.db", text(12, 100_000), 0o644)
	systest.Must(t, os.Remove(d+"/var/lib/dpkg/status"))
	write(t, d+"/var/lib/dpkg/status", text(13, 2_500), 0o644)
	return d
}

const newVersion = "==== 99999999999999999999999999999999"

// TestUpdateTruth: after an update of an antiX directory the kernel shows the
// system of the snapshot, or with --overlay keep that system under the overlay;
// after a rollback what it showed before.
func TestUpdateTruth(t *testing.T) {
	requireKernel(t)
	for _, c := range []struct {
		name    string
		options string
		overlay string
		dirty   bool
		more    bool // the overlay holds what the snapshot does not
		fate    update.Fate
		refused string
	}{
		{name: "taken up", fate: update.FateTakenUp},
		{name: "taken up, power cut", dirty: true, fate: update.FateTakenUp},
		{name: "taken up, redirects", options: "redirect_dir=on,metacopy=on,index=on", fate: update.FateTakenUp},
		{name: "more", more: true, refused: "1 are not in the new base"},
		{name: "reset", more: true, overlay: "reset", fate: update.FateReset},
		{name: "keep", more: true, overlay: "keep", options: "redirect_dir=off,metacopy=off", fate: update.FateKept},
		{name: "keep, power cut", more: true, overlay: "keep", options: "redirect_dir=off,metacopy=off", dirty: true, fate: update.FateKept},
		{name: "keep, metacopy", more: true, overlay: "keep", options: "redirect_dir=on,metacopy=on", refused: "refers to files of the present base"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d := systest.TempDir(t)
			smallSystem(t, d)
			base := systest.TempDir(t) + "/base"
			systest.Run(t, "mksquashfs", d, base, "-noappend", "-quiet", "-no-progress", "-comp", "gzip")
			l := newLive(t, base)
			l.options = c.options
			l.boot(c.dirty, func(mnt string) { useSmall(t, mnt) })
			snapshot := snapshotOf(t, l.view(), newVersion)
			if c.more {
				l.boot(c.dirty, func(mnt string) { write(t, mnt+"/opt/mine", []byte("mine\n"), 0o644) })
			}
			before := copied(t, l.view())
			medium := systest.TempDir(t)
			write(t, medium+"/antiX/vmlinuz", []byte("new kernel"), 0o644)
			write(t, medium+"/antiX/initrd.gz", []byte("new initrd"), 0o644)
			write(t, l.path("vmlinuz"), []byte("kernel"), 0o644)
			write(t, l.path("initrd.gz"), []byte("initrd"), 0o644)
			systest.Run(t, "mksquashfs", snapshot, medium+"/antiX/linuxfs", "-noappend", "-quiet", "-no-progress", "-comp", "zstd")
			systest.Run(t, "sh", "-c", "cd "+medium+"/antiX && md5sum linuxfs > linuxfs.md5")
			from := isoOf(t, medium)

			if c.refused != "" {
				was := hashes(t, l.dir)
				_, err := tryUpdate(t, environment(t, codec.Auto), l.dir, from, update.Options{Overlay: c.overlay, KeepOld: 1})
				if r, ok := refusal.Is(err); !ok || !strings.Contains(r.Fact, c.refused) || r.Hint == "" {
					t.Errorf("not refused as it should be, but: %v", err)
				}
				if hashes(t, l.dir) != was {
					t.Error("the directory was changed")
				}
				return
			}
			want := openDir(t, snapshot)
			if c.fate == update.FateKept {
				// The former overlay over the new base, as the kernel shows them.
				both := &frugal{t: t, dir: systest.TempDir(t), options: c.options}
				systest.CopyFile(t, medium+"/antiX/linuxfs", both.path("linuxfs"))
				systest.CopyFile(t, l.path("rootfs"), both.path("rootfs"))
				want = copied(t, both.view())
			}
			if o := l.update(from, update.Options{Overlay: c.overlay}); o.Fate != c.fate {
				t.Errorf("the overlay is %s, not %s", o.Fate, c.fate)
			}
			systest.Run(t, "cmp", l.path("linuxfs"), medium+"/antiX/linuxfs")
			systest.Run(t, "sh", "-c", `cd "$1" && md5sum -c --quiet linuxfs.md5`, "sh", l.dir)
			systest.Fsck(t, l.path("rootfs"))
			got := copied(t, l.view())
			sameTree(t, "expected", "the kernel after", without(t, want, stamps[1]), without(t, got, stamps[1]))
			sameTree(t, "the kernel after", "relive after", got, openTree(t, l.dir, ""))
			if s := l.status(); s.Overlay.VIDState != live.VIDMatch || s.Overlay.VID != newVersion {
				t.Errorf("version ids: %q: %s", s.Overlay.VID, s.Overlay.VIDState)
			}
			l.rollback()
			sameTree(t, "the kernel before", "the kernel after the rollback", before, copied(t, l.view()))
			for name, text := range map[string]string{"vmlinuz": "kernel", "initrd.gz": "initrd", "vmlinuz.bad": "new kernel", "initrd.gz.bad": "new initrd"} {
				if b, err := os.ReadFile(l.path(name)); err != nil || string(b) != text {
					t.Errorf("after the rollback %s is %q, %v", name, b, err)
				}
			}
		})
	}
}

// TestUpdateLiveOS: the same with the forms of base and overlay of LiveOS and
// archiso media.
func TestUpdateLiveOS(t *testing.T) {
	requireKernel(t)
	systest.NeedTools(t, "setfattr")
	for _, c := range []struct {
		name, kind       string
		flat, flatter    bool // the former and the new base hold files
		bare, arch, more bool
		overlay          string
		fate             update.Fate
	}{
		{name: "snapshot", kind: "dm", fate: update.FateTakenUp},
		{name: "snapshot, bare", kind: "dm", bare: true, fate: update.FateTakenUp},
		{name: "snapshot, reset", kind: "dm", more: true, overlay: "reset", fate: update.FateReset},
		{name: "snapshot, new base of files", kind: "dm", flatter: true, fate: update.FateTakenUp},
		{name: "image", kind: "image", fate: update.FateTakenUp},
		{name: "image, keep", kind: "image", more: true, overlay: "keep", fate: update.FateKept},
		{name: "image, new base of files", kind: "image", flatter: true, more: true, overlay: "reset", fate: update.FateReset},
		{name: "directory", kind: "dir", flat: true, flatter: true, fate: update.FateTakenUp},
		{name: "directory, keep", kind: "dir", flat: true, flatter: true, more: true, overlay: "keep", fate: update.FateKept},
		{name: "archiso snapshot", kind: "dm", arch: true, fate: update.FateTakenUp},
		{name: "archiso directory", kind: "dir", arch: true, flat: true, flatter: true, fate: update.FateTakenUp},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d := systest.TempDir(t)
			smallSystem(t, d)
			make := func() *medium {
				if c.arch {
					return archiso(t, c.kind)
				}
				return liveOS(t)
			}
			m := make().fill(d, c.kind, c.flat, c.bare, "-comp", "gzip")
			m.options = "redirect_dir=off,metacopy=off"
			m.use(false, func(mnt string) { useSmall(t, mnt) })
			snapshot := snapshotOf(t, m.view(), newVersion)
			if c.more {
				m.use(false, func(mnt string) { write(t, mnt+"/opt/mine", []byte("mine\n"), 0o644) })
			}
			before := m.seen()
			next := make().fill(snapshot, "none", c.flatter, c.bare, "-comp", "zstd")
			from := next.dir
			if !c.arch {
				from = isoOf(t, filepath.Dir(next.dir))
			}
			want := without(t, openDir(t, snapshot), "lost+found")
			if c.fate == update.FateKept {
				both := *next
				both.kind = c.kind
				systest.Run(t, "cp", "-a", m.path(m.over), both.path(m.over))
				if c.kind == "dir" {
					systest.Run(t, "cp", "-a", m.path(m.work), both.path(m.work))
				}
				want = both.seen()
			}
			if o := m.update(from, update.Options{Overlay: c.overlay}); o.Fate != c.fate {
				t.Errorf("the overlay is %s, not %s", o.Fate, c.fate)
			}
			former := *m
			m.flat = c.flatter
			if c.kind == "dm" && c.flatter {
				m.kind = "image"
			}
			got := m.seen()
			want.Mtime = got.Mtime // which mke2fs sets
			sameTree(t, "expected", "the kernel after", want, got)
			sameTree(t, "the kernel after", "relive after", got, without(t, openTree(t, m.dir, ""), "lost+found"))
			if c.fate == update.FateKept && c.kind == "dir" {
				return // the overlay lies over either base
			}
			m.rollback()
			sameTree(t, "the kernel before", "the kernel after the rollback", before, former.seen())
		})
	}
}

// TestUpdateDebian: the same with Debian live and casper.
func TestUpdateDebian(t *testing.T) {
	requireKernel(t)
	for _, c := range []struct {
		name, image, over, upper, overlay string
		fate                              update.Fate
	}{
		{"Debian live", "live/filesystem.squashfs", "persistence", "rw", "", update.FateTakenUp},
		{"Debian live, keep", "live/filesystem.squashfs", "persistence", "rw", "keep", update.FateKept},
		{"casper", "casper/filesystem.squashfs", "writable", "upper", "", update.FateTakenUp},
		{"casper, keep", "casper/filesystem.squashfs", "writable", "upper", "keep", update.FateKept},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d := &debian{frugal: frugal{t: t, dir: systest.TempDir(t)}, images: []string{c.image}, over: c.over, unions: []string{"/ ."}, names: [2]string{c.upper, "work"}}
			squashed(t, d.path(c.image), func(dir string) { smallSystem(t, dir) })
			p := systest.TempDir(t)
			systest.Must(t, os.Mkdir(p+"/"+c.upper, 0o755))
			systest.Must(t, os.Mkdir(p+"/work", 0o755))
			write(t, p+"/persistence.conf", []byte("/ union\n"), 0o644)
			systest.Run(t, "mke2fs", "-q", "-F", "-t", "ext4", "-d", p, d.path(c.over), "24M")
			mnt, drop := d.mounted(false)
			useSmall(t, mnt)
			drop()
			mnt, drop = d.mounted(true)
			snapshot := snapshotOf(t, mnt, newVersion)
			before := copied(t, mnt)
			drop()
			medium := systest.TempDir(t)
			systest.Must(t, os.Mkdir(filepath.Join(medium, filepath.Dir(c.image)), 0o755))
			systest.Run(t, "mksquashfs", snapshot, filepath.Join(medium, c.image), "-noappend", "-quiet", "-no-progress", "-comp", "gzip", "-b", "64K")
			want := openDir(t, snapshot)
			if c.fate == update.FateKept {
				both := *d
				both.dir = systest.TempDir(t)
				systest.Run(t, "cp", "-a", medium+"/.", both.dir)
				systest.CopyFile(t, d.path(c.over), both.path(c.over))
				var drop func()
				want, drop = both.shown()
				drop()
			}
			if o := d.update(isoOf(t, medium), update.Options{Overlay: c.overlay}); o.Fate != c.fate {
				t.Errorf("the overlay is %s, not %s", o.Fate, c.fate)
			}
			got, drop := d.shown()
			sameTree(t, "expected", "the kernel after", want, got)
			drop()
			d.rollback()
			got, drop = d.shown()
			sameTree(t, "the kernel before", "the kernel after the rollback", before, got)
			drop()
		})
	}
}

// TestUpdateRefused: files that are mounted are not replaced, nor is anything
// begun that does not fit the disk.
func TestUpdateRefused(t *testing.T) {
	requireKernel(t)
	t.Parallel()
	image := systest.Blank(t, 24<<20)
	systest.Run(t, "mke2fs", "-q", "-F", "-t", "ext4", "-m", "0", image)
	disk, _ := systest.Mount(t, "ext4", "loop", image)
	d, next := systest.TempDir(t), systest.TempDir(t)
	smallSystem(t, d)
	l := &frugal{t: t, dir: disk + "/antiX"}
	systest.Must(t, os.Mkdir(l.dir, 0o755))
	systest.Run(t, "mksquashfs", d, l.path("linuxfs"), "-noappend", "-quiet", "-no-progress")
	systest.Must(t, os.Remove(d+"/etc/live/version/linuxfs.ver"))
	write(t, d+"/etc/live/version/linuxfs.ver", []byte(newVersion+"\n"), 0o644)
	systest.Run(t, "mksquashfs", d, next+"/linuxfs", "-noappend", "-quiet", "-no-progress")
	refused := func(from, fact, hint string) {
		t.Helper()
		was := hashes(t, l.dir)
		_, err := tryUpdate(t, environment(t, codec.Auto), l.dir, from, update.Options{NoKernel: true, KeepOld: 1})
		if r, ok := refusal.Is(err); !ok || !strings.Contains(r.Fact, fact) || !strings.Contains(r.Hint, hint) {
			t.Errorf("not refused as it should be, but: %v (hint: %s)", err, refusal.Hint(err))
		}
		if hashes(t, l.dir) != was {
			t.Error("the directory was changed")
		}
	}
	_, drop := systest.Mount(t, "squashfs", "loop,ro", l.path("linuxfs"))
	refused(next, "in use", "do it from another one")
	drop()
	write(t, d+"/usr/share/noise", noise(1, 30<<20), 0o644)
	large := systest.TempDir(t)
	systest.Run(t, "mksquashfs", d, large+"/linuxfs", "-noappend", "-quiet", "-no-progress")
	refused(large, "not enough space", "free some space")
	l.update(next, update.Options{NoKernel: true})
	systest.Run(t, "cmp", l.path("linuxfs"), next+"/linuxfs")
	refused(large, "not enough space", "linuxfs.old and its like hold a former state")
}
