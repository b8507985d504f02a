package hostfs

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"relive/tree"
)

// mountID returns the id of the mount that a path is on. Linux before 5.8 does not
// tell it.
func mountID(path string, flags int) (uint64, error) {
	var st unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, path, flags|unix.AT_NO_AUTOMOUNT, unix.STATX_MNT_ID, &st)
	switch {
	case err == nil && st.Mask&unix.STATX_MNT_ID == 0:
		err = errors.ErrUnsupported
		fallthrough
	case err != nil:
		return 0, &os.PathError{Op: "statx (mount id)", Path: path, Err: err}
	}
	return st.Mnt_id, nil
}

// checkMount is an error where something is mounted at the path and mounts are
// refused.
func (s *source) checkMount(path string) error {
	if s.mount == 0 {
		return nil
	}
	id, err := mountID(path, unix.AT_SYMLINK_NOFOLLOW)
	if err != nil {
		return err
	}
	if id != s.mount {
		return tree.Unsupported(path, "", "something is mounted here, and what it covers does not show")
	}
	return nil
}
