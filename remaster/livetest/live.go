package livetest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"relive/tree/systest"
)

// NeedKernel is for tests that mount images and overlays.
func NeedKernel(t testing.TB) {
	t.Helper()
	systest.NeedTools(t, "mksquashfs", "mke2fs", "e2fsck")
	systest.NeedFilesystems(t, "squashfs", "ext4", "overlay")
}

// Live is a live directory; what its methods mount and run is as antiX has it.
type Live struct {
	T   testing.TB
	Dir string
	// Options are those of overlayfs that the upper is written with.
	Options string
}

// Path is that of a file in the directory.
func (l *Live) Path(name string) string { return filepath.Join(l.Dir, name) }

// NewLive makes a live directory with that base and an empty rootfs made by
// mke2fs with these arguments.
func NewLive(t testing.TB, base string, mkfs ...string) *Live {
	t.Helper()
	l := &Live{T: t, Dir: systest.TempDir(t)}
	systest.CopyFile(t, base, l.Path("linuxfs"))
	if len(mkfs) == 0 {
		mkfs = []string{"-t", "ext4"}
	}
	l.Mkfs(mkfs...)
	return l
}

// Mkfs makes an empty rootfs, with these arguments of mke2fs.
func (l *Live) Mkfs(args ...string) {
	l.T.Helper()
	args = append(append([]string{"-q", "-F", "-L", "rootfs"}, args...), l.Path("rootfs"), "48M")
	systest.Run(l.T, "mke2fs", args...)
}

// Boot mounts the directory as antiX's init does, stamps an empty rootfs, and
// runs fn in the merged view. With dirty the image is left as a power cut would
// leave it: everything written, nothing unmounted.
func (l *Live) Boot(dirty bool, fn func(mnt string)) {
	l.T.Helper()
	base, dropBase := systest.Mount(l.T, "squashfs", "loop,ro", l.Path("linuxfs"))
	lower, dropWrapped := base, func() {}
	if _, err := os.Stat(base + "/linuxfs"); err == nil {
		lower, dropWrapped = systest.Mount(l.T, "ext4", "loop,ro,noload", base+"/linuxfs")
	}
	root, dropRoot := systest.Mount(l.T, "auto", "loop", l.Path("rootfs"))
	for _, dir := range []string{"/upper", "/work"} {
		systest.Must(l.T, os.MkdirAll(root+dir, 0o755))
	}
	stamp := root + "/upper/etc/live/version/rootfs.ver"
	if vid, err := os.ReadFile(lower + "/etc/live/version/linuxfs.ver"); err == nil {
		if _, err := os.Stat(stamp); err != nil {
			systest.Must(l.T, os.MkdirAll(filepath.Dir(stamp), 0o755))
			systest.Must(l.T, os.WriteFile(stamp, vid, 0o644))
		}
	}
	mnt, dropOverlay := l.overlay(lower, root, "")
	fn(mnt)
	if dirty {
		systest.Run(l.T, "sync", "-f", mnt)
		systest.CopyFile(l.T, l.Path("rootfs"), l.Path("rootfs.cut"))
	}
	dropOverlay()
	dropRoot()
	dropWrapped()
	dropBase()
	if dirty {
		systest.Must(l.T, os.Rename(l.Path("rootfs.cut"), l.Path("rootfs")))
	}
}

func (l *Live) overlay(lower, root, more string) (string, func()) {
	l.T.Helper()
	o := "lowerdir=" + lower + ",upperdir=" + root + "/upper,workdir=" + root + "/work"
	if l.Options != "" {
		o += "," + l.Options
	}
	return systest.Mount(l.T, "overlay", o+more, "overlay")
}

// View mounts copies of base and rootfs, so that the directory stays as it is,
// and gives what the kernel shows of them, until the end of the test.
func (l *Live) View() string {
	l.T.Helper()
	dir := systest.TempDir(l.T)
	systest.CopyFile(l.T, l.Path("linuxfs"), dir+"/linuxfs")
	systest.CopyFile(l.T, l.Path("rootfs"), dir+"/rootfs")
	lower, _ := systest.Mount(l.T, "squashfs", "loop,ro", dir+"/linuxfs")
	if _, err := os.Stat(lower + "/linuxfs"); err == nil {
		lower, _ = systest.Mount(l.T, "ext4", "loop,ro,noload", lower+"/linuxfs")
	}
	root, _ := systest.Mount(l.T, "auto", "loop", dir+"/rootfs")
	mnt, _ := l.overlay(lower, root, "")
	return mnt
}

// Names lists the directory.
func (l *Live) Names() string {
	l.T.Helper()
	entries, err := os.ReadDir(l.Dir)
	systest.Must(l.T, err)
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return strings.Join(out, " ")
}
