//go:build 386 || arm

package hostfs

import (
	"errors"
	"unsafe"

	"golang.org/x/sys/unix"

	"relive/tree"
)

// Mtime returns the time of the last change of the file that st was taken of.
// The time_t of these machines' stat ends in January 2038, and the kernel cuts
// later times short without a word: statx knows them all. Before Linux 4.11
// there is none, nor in some sandboxes, and st is what is known.
func Mtime(path string, st *unix.Stat_t) (tree.Time, error) {
	var stx unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT, unix.STATX_MTIME|unix.STATX_INO, &stx)
	switch {
	case errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EPERM), err == nil && stx.Ino != st.Ino:
		return tree.Time{Sec: int64(st.Mtim.Sec), Nsec: uint32(st.Mtim.Nsec)}, nil
	case err != nil:
		return tree.Time{}, gone(err)
	}
	return tree.Time{Sec: stx.Mtime.Sec, Nsec: stx.Mtime.Nsec}, nil
}

// utimens makes the system call of 64-bit times. Linux has it since 5.1; before,
// times that 32 bits hold are set by the former one, and others are EOVERFLOW.
func utimens(dirfd int, path string, t tree.Time) error {
	p, err := unix.BytePtrFromString(path)
	if err != nil {
		return err
	}
	// struct __kernel_timespec (linux/time_types.h).
	type timespec struct{ sec, nsec int64 }
	ts := [2]timespec{{t.Sec, int64(t.Nsec)}, {t.Sec, int64(t.Nsec)}}
	_, _, errno := unix.Syscall6(unix.SYS_UTIMENSAT_TIME64, uintptr(dirfd), uintptr(unsafe.Pointer(p)), uintptr(unsafe.Pointer(&ts)),
		unix.AT_SYMLINK_NOFOLLOW, 0, 0)
	switch {
	case errno == 0:
		return nil
	case errno != unix.ENOSYS:
		return errno
	case t.Sec != int64(int32(t.Sec)):
		return unix.EOVERFLOW
	}
	old := unix.Timespec{Sec: int32(t.Sec), Nsec: int32(t.Nsec)}
	return unix.UtimesNanoAt(dirfd, path, []unix.Timespec{old, old}, unix.AT_SYMLINK_NOFOLLOW)
}
