package refusal

import (
	"errors"
	"syscall"
)

// NothingChanged is the state that most pipelines leave behind a full disk.
const NothingChanged = "nothing was changed"

// DiskFull adds to the error of a full disk, or of a file that is too large for
// it, what state that leaves, and what can be done besides freeing space.
func DiskFull(err error, state, full, large string) error {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return WithHint(err, "the disk is full; "+state+". Free some space"+full)
	case errors.Is(err, syscall.EFBIG):
		return WithHint(err, "the file system cannot hold a file of this size; "+state+large)
	}
	return err
}

// DiskFullForISO adds to a full disk's error what can be done.
func DiskFullForISO(err error) error {
	return DiskFull(err, NothingChanged, ", or write to another disk", ". Write to another disk")
}
