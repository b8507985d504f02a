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

// nothingChanged is the state that most pipelines leave behind a full disk.
const nothingChanged = "nothing was changed"

// spaceHint adds to the error of a full disk, or of a file that is too large for
// it, what state that leaves, and what can be done besides freeing space.
func spaceHint(err error, state, full, large string) error {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return withHint(err, "the disk is full; "+state+". Free some space"+full)
	case errors.Is(err, syscall.EFBIG):
		return withHint(err, "the file system cannot hold a file of this size; "+state+large)
	}
	return err
}
