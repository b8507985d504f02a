package systest

import (
	"os"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// TempDir makes a directory without commas and colons in its name, which mount
// options could not hold; t.TempDir puts the test's name there.
func TempDir(t testing.TB) string {
	t.Helper()
	return tempDir(t, "")
}

// MemDir makes a directory in memory, for tests that sync a lot, or on disk where
// there is no such place.
func MemDir(t testing.TB) string {
	t.Helper()
	if unix.Access("/dev/shm", unix.W_OK|unix.X_OK) != nil {
		return TempDir(t)
	}
	return tempDir(t, "/dev/shm")
}

func tempDir(t testing.TB, in string) string {
	t.Helper()
	dir, err := os.MkdirTemp(in, "relive-test-")
	Must(t, err)
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// Chown returns a file, or a symlink itself, an owner and a group. os.Lchown takes
// them as int, into which a constant above 2^31-1 does not go on machines of 32
// bits.
func Chown(t testing.TB, path string, uid, gid uint32) {
	t.Helper()
	Must(t, unix.Lchown(path, int(uid), int(gid)))
}

// LargestMinor is the largest minor number for which a device with the largest major
// number, 4095, can be made. On machines of 32 bits it is half of what the kernel
// takes: QEMU's user emulation takes the device's number as a signed one.
const LargestMinor = 1<<(strconv.IntSize/32+18) - 1
