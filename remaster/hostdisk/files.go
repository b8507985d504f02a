package hostdisk

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// Exists reports whether there is anything at a path, be it a symlink to nothing.
func Exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// TreeSize returns the size of all files below a path, in bytes.
func TreeSize(path string) (n int64, err error) {
	err = filepath.WalkDir(path, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil {
			n += info.Size()
		}
		return err
	})
	return n, err
}

// BaseName is the last part of a directory's path, also of "." and the like.
func BaseName(dir string) string {
	if abs, err := filepath.Abs(dir); err == nil {
		dir = abs
	}
	return filepath.Base(dir)
}

// FreeAt returns the space that is free where a file is to be, in bytes, and how
// large it may become.
func FreeAt(dir string) (free, most int64, err error) {
	if free, err = FreeSpace(dir); err != nil {
		return 0, 0, err
	}
	most, err = MaxFileSize(dir)
	return free, most, err
}
