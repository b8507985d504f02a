package systest

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// patience is how long a mount may stay busy, see [Within].
const patience = 20 * time.Second

// Mount mounts at a new directory, see [MountAt].
func Mount(t testing.TB, kind, options, what string) (at string, unmount func()) {
	t.Helper()
	at = TempDir(t)
	return at, MountAt(t, kind, options, what, at)
}

// MountAt mounts as mount -t kind -o options what at does; without a kind, or with
// auto, mount finds it out. It gives what unmounts, at the end of the test at the
// latest.
func MountAt(t testing.TB, kind, options, what, at string) (unmount func()) {
	t.Helper()
	NeedRoot(t)
	if known[kind] {
		Must(t, mount(kind, options, what, at))
		return Mounted(t, at)
	}
	var args []string
	if kind != "" {
		args = append(args, "-t", kind)
	}
	if options != "" {
		args = append(args, "-o", options)
	}
	Run(t, "mount", append(args, what, at)...)
	return Mounted(t, at)
}

// TryMountAt is [MountAt] of what the kernel may refuse, of a file system that
// [known] has.
func TryMountAt(t testing.TB, kind, options, what, at string) (unmount func(), err error) {
	t.Helper()
	NeedRoot(t)
	if err := mount(kind, options, what, at); err != nil {
		return nil, err
	}
	return Mounted(t, at), nil
}

// known are the file systems that tests mount by the hundred, for which the
// program mount does nothing but what [mount] does.
var known = map[string]bool{"squashfs": true, "erofs": true, "ext4": true, "overlay": true}

// mount asks the kernel itself.
func mount(kind, options, what, at string) error {
	var flags uintptr
	var loop bool
	var rest []string
	for o := range strings.SplitSeq(options, ",") {
		switch o {
		case "", "rw":
		case "loop":
			loop = true
		case "ro":
			flags |= unix.MS_RDONLY
		case "noatime":
			flags |= unix.MS_NOATIME
		case "strictatime":
			flags |= unix.MS_STRICTATIME
		case "sync":
			flags |= unix.MS_SYNCHRONOUS
		default: // the file system's own
			rest = append(rest, o)
		}
	}
	device := what
	if loop {
		mode := uint32(0)
		if flags&unix.MS_RDONLY != 0 {
			mode = unix.LO_FLAGS_READ_ONLY
		}
		dev, err := attach(what, 0, mode)
		if err != nil {
			return err
		}
		defer dev.Close() // the mount holds it
		device = dev.Name()
	}
	if err := unix.Mount(device, at, kind, flags, strings.Join(rest, ",")); err != nil {
		return fmt.Errorf("mount -t %s -o %s %s %s: %w", kind, options, what, at, err)
	}
	return nil
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
	unmountWithin(t, at, Within(patience))
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

// Loop attaches an image to a loop device with sectors of that many bytes, 0 for
// 512, and returns the device, with what detaches it, at the end of the test at the
// latest; when the test is killed, the kernel does. A system without loop devices
// is a case of [Lacks].
func Loop(t testing.TB, image string, sector uint32) (device string, detach func()) {
	t.Helper()
	NeedRoot(t)
	dev, err := attach(image, sector, 0)
	if err != nil {
		Lacks(t, "a loop device: "+err.Error())
	}
	detach = sync.OnceFunc(func() {
		t.Helper()
		if err := unix.IoctlSetInt(int(dev.Fd()), unix.LOOP_CLR_FD, 0); err != nil {
			t.Errorf("%s: %v", dev.Name(), err)
		}
		dev.Close()
	})
	t.Cleanup(detach)
	return dev.Name(), detach
}

// attach finds a device that is free. The device goes with the last file that is
// open on it.
func attach(image string, sector, flags uint32) (*os.File, error) {
	mode := os.O_RDWR
	if flags&unix.LO_FLAGS_READ_ONLY != 0 {
		mode = os.O_RDONLY
	}
	f, err := os.OpenFile(image, mode, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer control.Close()
	for {
		n, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return nil, &os.PathError{Op: "ioctl", Path: control.Name(), Err: err}
		}
		dev, err := os.OpenFile(fmt.Sprintf("/dev/loop%d", n), os.O_RDWR, 0)
		if err != nil {
			return nil, err
		}
		err = unix.IoctlLoopConfigure(int(dev.Fd()), &unix.LoopConfig{
			Fd: uint32(f.Fd()), Size: sector, Info: unix.LoopInfo64{Flags: unix.LO_FLAGS_AUTOCLEAR | flags}})
		if err == nil {
			return dev, nil
		}
		dev.Close()
		if !errors.Is(err, unix.EBUSY) { // somebody else was first
			return nil, &os.PathError{Op: "ioctl", Path: dev.Name(), Err: err}
		}
	}
}
