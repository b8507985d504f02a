package remaster

import (
	"errors"
	"fmt"
	"syscall"
)

// Bytes shows a number of bytes to a person.
func Bytes(n int64) string {
	units := []string{"KiB", "MiB", "GiB", "TiB"}
	if n < 1024 {
		return fmt.Sprintf("%d bytes", n)
	}
	f := float64(n) / 1024
	for i, u := range units {
		if f < 1024 || i == len(units)-1 {
			if f < 10 {
				return fmt.Sprintf("%.2f %s", f, u)
			}
			return fmt.Sprintf("%.1f %s", f, u)
		}
		f /= 1024
	}
	return ""
}

// spaceHint adds to a full disk's error what can be done.
func spaceHint(err error) error {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return withHint(err, "the disk is full; nothing was changed. Free some space, or use -o to write the new base to another disk")
	case errors.Is(err, syscall.EFBIG):
		return withHint(err, "the file system cannot hold a file of this size; nothing was changed. Choose a stronger codec with --comp")
	}
	return err
}
