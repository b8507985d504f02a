package remaster_test

import (
	"os"
	"path/filepath"
	"testing"

	"relive/codec"
	"relive/remaster/job"
	"relive/remaster/live"
	"relive/remaster/livetest"
	"relive/remaster/rebase"
	"relive/remaster/refusal"
	"relive/remaster/resize"
	"relive/remaster/save"
	"relive/remaster/synchome"
	"relive/remaster/update"
	"relive/tree/systest"
)

// opened runs a plan's verb on the opened live directory.
func (d *twoDisks) opened(b *booted, e *job.Env, fn func(l *live.Live) error) error {
	l, err := live.Open(d.t.Context(), e, b.livePath(), d.options(b)...)
	if err != nil {
		return err
	}
	defer l.Close()
	return fn(l)
}

// updateFrom takes the base of another directory.
func updateFrom(from, overlay string) func(d *twoDisks, b *booted, e *job.Env) error {
	return func(d *twoDisks, b *booted, e *job.Env) error {
		src, err := livetest.OpenSource(d.t, e, from)
		if err != nil {
			return err
		}
		defer src.Close()
		return d.opened(b, e, func(l *live.Live) error {
			p, err := update.New(d.t.Context(), e, l, src, update.Options{Overlay: overlay, KeepOld: 1,
				Rebase: rebase.Options{Prefer: rebase.PreferOverlay}})
			if err != nil {
				return err
			}
			_, err = p.Run(d.t.Context())
			return err
		})
	}
}

// TestTwoFilesystemsUpdate: an update whose base lies on one file system and whose
// overlay on another, cut off: the former system, the new one, or one of the bases
// without changes, and recovery leads to one of the first two.
func TestTwoFilesystemsUpdate(t *testing.T) {
	livetest.NeedKernel(t)
	t.Parallel()
	start := newTwoDisks(t, false)
	system, from := systest.TempDir(t), systest.TempDir(t)
	originFiles(t, system, "etc")
	livetest.Write(t, system+"/etc/b12", []byte("another release\n"), 0o644)
	livetest.Write(t, system+"/etc/release", []byte("two\n"), 0o644)
	systest.Must(t, os.Mkdir(from+"/live", 0o755))
	systest.Run(t, "mksquashfs", system, from+"/live/filesystem.squashfs", "-quiet", "-no-progress", "-comp", "gzip")
	b, drop := start.mount()
	alone := []string{b.alone()}
	other := *b
	other.dir, other.live, other.images = from, ".", []string{"live/filesystem.squashfs"}
	alone = append(alone, other.alone())
	drop()
	for _, overlay := range []string{update.OverlayReset, update.OverlayRebase} {
		t.Run(overlay, func(t *testing.T) {
			d := *start
			d.t = t
			done := d.crash(t, twoVerb{name: "update", do: updateFrom(from, overlay), changes: true, between: alone})
			done.crash(t, twoVerb{name: "rollback", do: (*twoDisks).rollback, changes: true, between: alone})
		})
	}
}

// TestTwoFilesystemsHomes: homes of a mounted directory that are brought into an
// overlay on another file system than the base, cut off: the former homes or the
// new ones.
func TestTwoFilesystemsHomes(t *testing.T) {
	livetest.NeedKernel(t)
	t.Parallel()
	homes := systest.TempDir(t)
	livetest.Write(t, homes+"/anna/notes", []byte("hers"), 0o600)
	livetest.Write(t, homes+"/berta/letter", livetest.Text(5, 30_000), 0o644)
	newTwoDisks(t, false).crash(t, twoVerb{name: "sync-home", changes: true, do: func(d *twoDisks, b *booted, e *job.Env) error {
		l, err := live.Open(t.Context(), e, b.livePath(), live.WithHome(homes))
		if err != nil {
			return err
		}
		defer l.Close()
		p, err := synchome.New(t.Context(), e, l, synchome.Options{KeepOld: 1})
		if err != nil {
			return err
		}
		return p.Run(t.Context())
	}})
}

// newTwoAntix makes an antiX stick whose linuxfs and homefs lie on one partition and
// whose rootfs lies on another.
func newTwoAntix(t testing.TB) (d *twoDisks, ram string) {
	dir := systest.MemDir(t)
	d = &twoDisks{t: t, base: dir + "/base", over: dir + "/over", top: systest.TempDir(t), named: true}
	for path, label := range map[string]string{d.base: "LIVE", d.over: "KEPT"} {
		systest.BlankAt(t, path, 48<<20)
		systest.Run(t, "mke2fs", "-q", "-F", "-t", "ext4", "-O", "^has_journal", "-L", label, path)
	}
	system := systest.TempDir(t)
	livetest.SmallSystem(t, system)
	y := livetest.DynamicOf(t, system, "", func(mnt string) { livetest.UseSmall(t, mnt) })
	y.Run(func(mnt string) { livetest.Write(t, mnt+"/etc/later", []byte("in memory\n"), 0o644) })
	people := systest.TempDir(t)
	livetest.Write(t, people+"/demo/letter", livetest.Text(1, 40_000), 0o600)
	b, drop := d.mount()
	systest.CopyFile(t, y.Path("linuxfs"), filepath.Join(b.livePath(), "linuxfs"))
	systest.CopyFile(t, y.Path("rootfs"), filepath.Join(b.dir, b.over, "rootfs"))
	systest.Run(t, "mke2fs", "-q", "-F", "-t", "ext4", "-L", "homefs", "-d", people, filepath.Join(b.livePath(), "homefs"), "8M")
	drop()
	d.look = func(b *booted) string {
		l, err := live.Open(t.Context(), livetest.Env(t, codec.Auto), b.livePath(), d.options(b)...)
		if err != nil {
			t.Errorf("it does not open: %v (hint: %s)", err, refusal.Hint(err))
			return ""
		}
		defer l.Close()
		for _, image := range []string{l.Overlay.Image.Path, l.Home.Path} {
			systest.Fsck(t, image)
		}
		homes, _, err := l.HomeRoot()
		systest.Must(t, err)
		return livetest.ManifestText(t, l.Merged) + livetest.ManifestText(t, homes)
	}
	return d, y.RAM
}

// TestTwoFilesystemsImages: images on two file systems that are resized in one step,
// and one into which a layer of the memory is saved, cut off: the former images or
// the new ones, each whole.
func TestTwoFilesystemsImages(t *testing.T) {
	livetest.NeedKernel(t)
	t.Parallel()
	d, ram := newTwoAntix(t)
	d.crash(t, twoVerb{name: "resize", do: func(d *twoDisks, b *booted, e *job.Env) error {
		return d.opened(b, e, func(l *live.Live) error {
			p, err := resize.New(t.Context(), e, l, resize.Options{Overlay: livetest.Mebibytes(20), Home: livetest.Mebibytes(12),
				KeepOld: 1})
			if err != nil {
				return err
			}
			_, err = p.Run(t.Context())
			return err
		})
	}})
	d.crash(t, twoVerb{name: "save", changes: true, do: func(d *twoDisks, b *booted, e *job.Env) error {
		return d.opened(b, e, func(l *live.Live) error {
			p, err := save.New(t.Context(), e, l, ram, save.Options{KeepOld: 1})
			if err != nil {
				return err
			}
			defer p.Close()
			return p.Run(t.Context())
		})
	}})
}
