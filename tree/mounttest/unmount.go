package mounttest

import (
	"errors"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// patience is how long a mount may stay busy.
const patience = 20 * time.Second

// Unmount unmounts what is mounted at a path, waiting while it is busy. A mount
// that stays busy is an error of the test, and is detached so that nothing is
// left.
func Unmount(t testing.TB, at string) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
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
