package hostfs

import (
	"os"

	"relive/tree"
)

// SetTimes returns a file, or a symlink itself, that time of its last change and
// of its last use. A relative path is one of the directory that dirfd is open
// on; unix.AT_FDCWD is the working directory. What the file system cannot hold
// it rounds or holds to the nearest end without an error.
func SetTimes(dirfd int, path string, t tree.Time) error {
	if err := utimens(dirfd, path, t); err != nil {
		return &os.PathError{Op: "utimens", Path: path, Err: err}
	}
	return nil
}
