package systest

import (
	"errors"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// patience is how long a mount may stay busy.
const patience = 20 * time.Second

// Mount mounts at a new directory, see [MountAt].
func Mount(t testing.TB, kind, options, what string) (at string, unmount func()) {
	t.Helper()
	at = TempDir(t)
	return at, MountAt(t, kind, options, what, at)
}

// MountAt runs mount -t kind -o options what at; without a kind, mount finds it
// out. It gives what unmounts, at the end of the test at the latest.
func MountAt(t testing.TB, kind, options, what, at string) (unmount func()) {
	t.Helper()
	var args []string
	if kind != "" {
		args = append(args, "-t", kind)
	}
	if options != "" {
		args = append(args, "-o", options)
	}
	NeedRoot(t)
	Run(t, "mount", append(args, what, at)...)
	return Mounted(t, at)
}

// Mounted is [MountAt] for what has been mounted by other means.
func Mounted(t testing.TB, at string) (unmount func()) {
	done := false
	unmount = func() {
		t.Helper()
		if !done {
			done = true
			Unmount(t, at)
		}
	}
	t.Cleanup(unmount)
	return unmount
}

// Unmount unmounts what is mounted at a path, waiting while it is busy: a program
// that another test starts holds copies of all open files for a moment. A mount
// that stays busy is an error of the test, and is detached so that nothing is
// left.
func Unmount(t testing.TB, at string) {
	t.Helper()
	unmountWithin(t, at, patience)
}

func unmountWithin(t testing.TB, at string, wait time.Duration) {
	t.Helper()
	for end := time.Now().Add(wait); ; time.Sleep(10 * time.Millisecond) {
		err := unix.Unmount(at, 0)
		if err == nil {
			return
		}
		if !errors.Is(err, unix.EBUSY) || time.Now().After(end) {
			t.Errorf("umount %s: %v", at, err)
			_ = unix.Unmount(at, unix.MNT_DETACH)
			return
		}
	}
}

// Loop attaches an image to a loop device and gives the device, with what
// detaches it, at the end of the test at the latest. The options are those of
// losetup. A system without loop devices is a case of [Lacks].
func Loop(t testing.TB, image string, options ...string) (device string, detach func()) {
	t.Helper()
	NeedRoot(t)
	out, err := Try(t, "losetup", append(options, "-f", "--show", image)...)
	if err != nil {
		Lacks(t, "a loop device: "+err.Error())
	}
	device = strings.TrimSpace(out)
	done := false
	detach = func() {
		t.Helper()
		if !done {
			done = true
			Run(t, "losetup", "-d", device)
		}
	}
	t.Cleanup(detach)
	return device, detach
}
