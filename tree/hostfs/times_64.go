//go:build !386 && !arm

package hostfs

import (
	"golang.org/x/sys/unix"

	"relive/tree"
)

// Mtime returns the time of the last change of the file that st was taken of.
// On machines of 32 bits st cannot hold each time, and path is asked again; a
// symlink is not followed.
func Mtime(_ string, st *unix.Stat_t) (tree.Time, error) {
	return tree.Time{Sec: st.Mtim.Sec, Nsec: uint32(st.Mtim.Nsec)}, nil
}

func utimens(dirfd int, path string, t tree.Time) error {
	ts := unix.Timespec{Sec: t.Sec, Nsec: int64(t.Nsec)}
	return unix.UtimesNanoAt(dirfd, path, []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW)
}
