package livetest

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"relive/tree/systest"
)

// sharedDir is where Shared keeps what it has made.
var sharedDir string

// Main is for the TestMain of packages that use Shared; it returns the exit code.
func Main(m *testing.M) int {
	sharedDir = os.Getenv("RELIVE_SHARED")
	if sharedDir == "" {
		dir, err := os.MkdirTemp("", "relive-shared-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		sharedDir = dir
	}
	return m.Run()
}

// Shared returns the path of what fill makes, which it does once for all tests of a
// package; where RELIVE_SHARED names a directory, as scripts/test has it, once for
// those of all packages. Nobody may change what is there.
func Shared(t testing.TB, name string, fill func(path string)) string {
	t.Helper()
	if sharedDir == "" {
		t.Fatal("the TestMain of this package does not run livetest.Main")
	}
	path := filepath.Join(sharedDir, name)
	lock, err := os.OpenFile(path+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	systest.Must(t, err)
	defer lock.Close()
	for {
		if err = unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != unix.EINTR {
			break
		}
	}
	systest.Must(t, err)
	if Has(path) {
		return path
	}
	// Under another name until it is whole, as a test may be ended in between.
	part := path + ".part"
	systest.Must(t, os.RemoveAll(part))
	fill(part)
	systest.Must(t, os.Rename(part, path))
	return path
}
