package hostfs

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"relive/tree"
	"relive/tree/systest"
)

// TestSetTimes: times that 32 bits cannot hold are set, and show again, on
// machines of any size; a symlink gets its own.
func TestSetTimes(t *testing.T) {
	dir := t.TempDir()
	d, err := os.Open(dir)
	systest.Must(t, err)
	defer d.Close()
	systest.Must(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o644))
	systest.Must(t, os.Symlink("file", filepath.Join(dir, "link")))
	// What ext4 can hold, and most others.
	for _, want := range []tree.Time{{Sec: 0, Nsec: 1}, {Sec: -1 << 31}, {Sec: 1<<31 - 1, Nsec: 999_999_999}, {Sec: 1 << 31, Nsec: 5},
		{Sec: 1<<33 + 7}} {
		other := tree.Time{Sec: want.Sec + 1, Nsec: want.Nsec}
		systest.Must(t, SetTimes(unix.AT_FDCWD, filepath.Join(dir, "file"), want))
		systest.Must(t, SetTimes(int(d.Fd()), "link", other))
		n, err := Open(dir)
		systest.Must(t, err)
		for name, want := range map[string]tree.Time{"file": want, "link": other} {
			k, err := n.Lookup(name)
			if err != nil || k.Mtime != want {
				t.Errorf("%s: %v, want %v, %v", name, k.Mtime, want, err)
			}
		}
	}
	err = SetTimes(int(d.Fd()), "none", tree.Time{})
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}
