package compact_test

import (
	"os"
	"testing"

	"relive/codec"
	"relive/remaster/compact"
	"relive/remaster/live"
	"relive/remaster/livetest"
	"relive/squash"
	"relive/tree/systest"
)

// truth compacts a directory that was in use and checks that the kernel shows
// of the new one what it showed of the old one.
func truth(t *testing.T, l *livetest.Live, o compact.Options) *compact.Result {
	t.Helper()
	before := l.View()
	res := l.Compact(o)

	// The new base is what the kernel showed.
	merged, unmount := systest.Mount(t, "squashfs", "loop,ro", l.Path("linuxfs"))
	defer unmount()
	livetest.SameTree(t, "kernel's overlay", "kernel's view of the new base",
		livetest.Without(t, livetest.OpenDir(t, before), livetest.Stamps...), livetest.Without(t, livetest.OpenDir(t, merged),
			livetest.Stamps...))
	for _, name := range livetest.Stamps[1:] {
		if _, err := os.Lstat(merged + "/" + name); err == nil {
			t.Errorf("the new base holds %s", name)
		}
	}
	afterwards(t, l, merged)
	return res
}

// afterwards checks that the new rootfs goes with the new base, which is
// mounted at merged, and changes nothing of it.
func afterwards(t *testing.T, l *livetest.Live, merged string) {
	t.Helper()
	systest.Fsck(t, l.Path("rootfs"))
	s := l.Status()
	if s.Overlay.VIDState != live.VIDMatch || s.Overlay.VID == "" || s.Overlay.VID != s.Base.VID {
		t.Errorf("version ids: base %q, rootfs %q: %s", s.Base.VID, s.Overlay.VID, s.Overlay.VIDState)
	}
	if s.Overlay.Changes.Sum() != 0 {
		t.Errorf("the new rootfs changes something: %+v", s.Overlay.Changes)
	}
	if len(s.Warnings) > 0 {
		t.Errorf("the status of the new directory warns: %q", s.Warnings)
	}
	l.Boot(false, func(mnt string) {
		stamp, err := os.ReadFile(mnt + "/etc/live/version/rootfs.ver")
		systest.Must(t, err)
		if base, err := os.ReadFile(merged + "/etc/live/version/linuxfs.ver"); err != nil || string(base) != string(stamp) {
			t.Errorf("rootfs.ver is\n%s\nlinuxfs.ver is\n%s\n%v", stamp, base, err)
		}
		livetest.SameTree(t, "new base", "new base and new rootfs", livetest.OpenDir(t, merged),
			livetest.Without(t, livetest.OpenDir(t, mnt), livetest.Stamps[1]))
		systest.Must(t, os.RemoveAll(mnt+"/etc/written"))
		livetest.Write(t, mnt+"/etc/written", []byte("still writable\n"), 0o644)
		os.RemoveAll(mnt + "/usr/share/big.db") // where it is still there
	})
	systest.Fsck(t, l.Path("rootfs"))
}

// TestTruth: of base and overlay together the kernel shows what it shows of
// the new base, whatever options the overlay was written with and whatever
// image it lies in.
func TestTruth(t *testing.T) {
	livetest.NeedKernel(t)
	ext4, ext3, ext2 := []string{"-t", "ext4"}, []string{"-t", "ext3"}, []string{"-t", "ext2"}
	for _, test := range []struct {
		name, options string
		mkfs          []string
		dirty         bool
		base          []string // of mksquashfs
	}{
		{name: "plain", mkfs: ext4},
		{name: "redirect", options: "redirect_dir=on", mkfs: ext3, base: []string{"-comp", "gzip", "-b", "64K"}},
		{name: "metacopy", options: "redirect_dir=on,metacopy=on", mkfs: []string{"-t", "ext4", "-b", "1024"}, dirty: true},
		{name: "index", options: "index=on", mkfs: ext2, base: []string{"-comp", "lz4", "-b", "256K", "-always-use-fragments"}},
		{name: "all, power cut", options: "index=on,redirect_dir=on,metacopy=on", mkfs: ext4, dirty: true,
			base: []string{"-comp", "xz", "-b", "1M", "-Xbcj", "x86"}},
		{name: "nothing compressed", mkfs: []string{"-t", "ext4", "-I", "128", "-O", "^extents,^metadata_csum,^64bit"},
			base: []string{"-noI", "-noD", "-noF", "-noX", "-b", "4K"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			l := livetest.NewLive(t, livetest.SystemImage(t, test.base...), test.mkfs...)
			l.Options = test.options
			l.Boot(test.dirty, func(mnt string) { livetest.Use(t, mnt) })
			s := l.Status()
			if test.dirty && !s.Overlay.JournalPending {
				t.Error("the journal is not pending, so that this tests less than it should")
			}
			res := truth(t, l, livetest.KeepOne())
			if !livetest.HasWarning(res.Warnings, "POSIX ACLs: 2 are lost") {
				t.Errorf("no warning of two lost ACLs: %q", res.Warnings)
			}
			if !livetest.HasWarning(res.Warnings, "times before 1970 and after 2106: 1") {
				t.Errorf("no warning of a lost time: %q", res.Warnings)
			}
			if want := "linuxfs linuxfs.info linuxfs.md5 linuxfs.old rootfs rootfs.old"; l.Names() != want {
				t.Errorf("the directory holds\n%s\nnot\n%s", l.Names(), want)
			}
			systest.Run(t, "sh", "-c", `cd "$1" && md5sum -c --quiet linuxfs.md5`, "sh", l.Dir)
		})
	}
}

// TestTruthOwnBase: a base that our own writer made is folded as well, more
// than once.
func TestTruthOwnBase(t *testing.T) {
	livetest.NeedKernel(t)
	t.Parallel()
	livetest.SystemImage(t)
	base := livetest.Shared(t, "own.sqfs", func(path string) {
		livetest.WriteSquash(t, path, livetest.OpenDir(t, livetest.SystemDir(t)), squash.WriteOptions{
			Codec: codec.DefaultOptions(codec.Gzip, 128<<10), BlockSize: 128 << 10, Flags: squash.FlagDuplicates | squash.FlagExportable,
			MkfsTime: 1_700_000_000})
	})
	l := livetest.NewLive(t, base)
	l.Boot(false, func(mnt string) { livetest.Use(t, mnt) })
	truth(t, l, livetest.KeepOne())
	// The second round finds what afterwards wrote.
	truth(t, l, livetest.KeepOne())
	if _, err := os.Stat(l.Path("linuxfs.old.2")); err == nil {
		t.Error("more than one former state is kept")
	}
}
