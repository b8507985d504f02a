package remaster_test

import (
	"os"
	"strings"
	"testing"

	"relive/remaster/compact"
	"relive/remaster/live"
	"relive/squash"
	"relive/squash/codec"
	"relive/tree/systest"
)

// truth compacts a directory that was in use and checks that the kernel shows
// of the new one what it showed of the old one.
func truth(t *testing.T, l *frugal, o compact.Options) *compact.Result {
	t.Helper()
	before := l.view()
	res := l.compact(o)

	// The new base is what the kernel showed.
	merged, unmount := systest.Mount(t, "squashfs", "loop,ro", l.path("linuxfs"))
	defer unmount()
	sameTree(t, "kernel's overlay", "kernel's view of the new base",
		without(t, openDir(t, before), stamps...), without(t, openDir(t, merged), stamps...))
	for _, name := range stamps[1:] {
		if _, err := os.Lstat(merged + "/" + name); err == nil {
			t.Errorf("the new base holds %s", name)
		}
	}
	afterwards(t, l, merged)
	return res
}

// afterwards checks that the new rootfs goes with the new base, which is
// mounted at merged, and changes nothing of it.
func afterwards(t *testing.T, l *frugal, merged string) {
	t.Helper()
	systest.Fsck(t, l.path("rootfs"))
	s := l.status()
	if s.Overlay.VIDState != live.VIDMatch || s.Overlay.VID == "" || s.Overlay.VID != s.Base.VID {
		t.Errorf("version ids: base %q, rootfs %q: %s", s.Base.VID, s.Overlay.VID, s.Overlay.VIDState)
	}
	if s.Overlay.Changes.Sum() != 0 {
		t.Errorf("the new rootfs changes something: %+v", s.Overlay.Changes)
	}
	if len(s.Warnings) > 0 {
		t.Errorf("the status of the new directory warns: %q", s.Warnings)
	}
	l.boot(false, func(mnt string) {
		stamp, err := os.ReadFile(mnt + "/etc/live/version/rootfs.ver")
		systest.Must(t, err)
		if base, err := os.ReadFile(merged + "/etc/live/version/linuxfs.ver"); err != nil || string(base) != string(stamp) {
			t.Errorf("rootfs.ver is\n%s\nlinuxfs.ver is\n%s\n%v", stamp, base, err)
		}
		sameTree(t, "new base", "new base and new rootfs", openDir(t, merged), without(t, openDir(t, mnt), stamps[1]))
		systest.Must(t, os.RemoveAll(mnt+"/etc/written"))
		write(t, mnt+"/etc/written", []byte("still writable\n"), 0o644)
		os.RemoveAll(mnt + "/usr/share/big.db") // where it is still there
	})
	systest.Fsck(t, l.path("rootfs"))
}

// TestTruth: of base and overlay together the kernel shows what it shows of
// the new base, whatever options the overlay was written with and whatever
// image it lies in.
func TestTruth(t *testing.T) {
	requireKernel(t)
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
		{name: "nothing compressed", mkfs: []string{"-t", "ext4", "-I", "128", "-O", "^extents,^metadata_csum,^64bit"}, base: []string{"-noI", "-noD", "-noF", "-noX", "-b", "4K"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			l := newLive(t, systemImage(t, test.base...), test.mkfs...)
			l.options = test.options
			l.boot(test.dirty, func(mnt string) { use(t, mnt) })
			s := l.status()
			if test.dirty && !s.Overlay.JournalPending {
				t.Error("the journal is not pending, so that this tests less than it should")
			}
			res := truth(t, l, keepOne())
			if !hasWarning(res.Warnings, "POSIX ACLs: 2 are lost") {
				t.Errorf("no warning of two lost ACLs: %q", res.Warnings)
			}
			if !hasWarning(res.Warnings, "times before 1970 and after 2106: 1") {
				t.Errorf("no warning of a lost time: %q", res.Warnings)
			}
			if want := "linuxfs linuxfs.info linuxfs.md5 linuxfs.old rootfs rootfs.old"; l.names() != want {
				t.Errorf("the directory holds\n%s\nnot\n%s", l.names(), want)
			}
			systest.Run(t, "sh", "-c", `cd "$1" && md5sum -c --quiet linuxfs.md5`, "sh", l.dir)
		})
	}
}

func hasWarning(all []string, part string) bool {
	return strings.Contains(strings.Join(all, "\n"), part)
}

// TestTruthOwnBase: a base that our own writer made is folded as well, more
// than once.
func TestTruthOwnBase(t *testing.T) {
	requireKernel(t)
	t.Parallel()
	systemImage(t)
	base := shared.get(t, "own.sqfs", func(path string) {
		writeSquash(t, path, openDir(t, shared.dir+"/system"), squash.WriteOptions{
			Codec: codec.DefaultOptions(codec.Gzip, 128<<10), BlockSize: 128 << 10, Flags: squash.FlagDuplicates | squash.FlagExportable, MkfsTime: 1_700_000_000})
	})
	l := newLive(t, base)
	l.boot(false, func(mnt string) { use(t, mnt) })
	truth(t, l, keepOne())
	// The second round finds what afterwards wrote.
	truth(t, l, keepOne())
	if _, err := os.Stat(l.path("linuxfs.old.2")); err == nil {
		t.Error("more than one former state is kept")
	}
}
