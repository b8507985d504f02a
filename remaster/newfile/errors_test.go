package newfile

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestLacks: what says that a file system has not an operation, and what says that
// one failed.
func TestLacks(t *testing.T) {
	for err, want := range map[unix.Errno]bool{
		unix.EINVAL: true, unix.ENOSYS: true, unix.EOPNOTSUPP: true,
		unix.EPERM: false, unix.EEXIST: false, unix.EIO: false, unix.ENOSPC: false, unix.EROFS: false, unix.ENOENT: false,
	} {
		if got := lacks(&fs.PathError{Op: "rename", Path: "x", Err: err}); got != want {
			t.Errorf("%v: %v", err, got)
		}
	}
}

// TestLocked: a lock that cannot be asked for is an error that names the file; one
// of a file that has lost its name, or of another than has it, is not held.
func TestLocked(t *testing.T) {
	name := filepath.Join(t.TempDir(), "x")
	open := func() *os.File {
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	f := open()
	if held, err := locked(f, name); err != nil || !held {
		t.Errorf("%v, %v", held, err)
	}
	if held, err := locked(open(), name); err != nil || held {
		t.Errorf("by another descriptor: %v, %v", held, err)
	}
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	if held, err := locked(f, name); err != nil || held {
		t.Errorf("a name that is gone: %v, %v", held, err)
	}
	other := open()
	if held, err := locked(f, name); err != nil || held {
		t.Errorf("the name of another: %v, %v", held, err)
	}
	other.Close()
	if held, err := locked(other, name); err == nil || held {
		t.Errorf("a closed file: %v, %v", held, err)
	}
}
