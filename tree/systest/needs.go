package systest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Lacks skips a test for want of something. Under CI=true the test fails.
func Lacks(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("this test needs %s", what)
	}
	t.Skipf("this test needs %s", what)
}

// NeedTools needs programs, which are looked up as [Run] does.
func NeedTools(t testing.TB, names ...string) {
	t.Helper()
	for _, name := range names {
		if find(name) == "" {
			Lacks(t, name)
		}
	}
}

// NeedRoot needs root, and programs.
func NeedRoot(t testing.TB, names ...string) {
	t.Helper()
	if os.Geteuid() != 0 {
		Lacks(t, "root")
	}
	NeedTools(t, names...)
}

// NeedFilesystems needs file systems that the kernel knows, and root to mount
// them.
func NeedFilesystems(t testing.TB, names ...string) {
	t.Helper()
	NeedRoot(t, "mount")
	for _, name := range names {
		if !knows(t, name) {
			// A module is loaded when somebody mounts.
			at := TempDir(t)
			if unix.Mount("none", at, name, unix.MS_RDONLY, "") == nil {
				Unmount(t, at)
			}
			if !knows(t, name) {
				Lacks(t, "a kernel with "+name)
			}
		}
	}
}

func knows(t testing.TB, filesystem string) bool {
	t.Helper()
	known, err := os.ReadFile("/proc/filesystems")
	Must(t, err)
	return strings.Contains(string(known), "\t"+filesystem+"\n")
}

// searchPath is PATH and, as not every user has them there, the directories of
// the tools that make file systems.
func searchPath() string {
	return os.Getenv("PATH") + ":/usr/local/sbin:/usr/sbin:/sbin"
}

// find returns the path of a program, or "". A name with a slash is a path.
func find(name string) string {
	dirs := filepath.SplitList(searchPath())
	if strings.Contains(name, "/") {
		dirs = []string{""}
	}
	for _, dir := range dirs {
		p := filepath.Join(dir, name)
		if st, err := os.Stat(p); err == nil && st.Mode().IsRegular() && unix.Access(p, unix.X_OK) == nil {
			return p
		}
	}
	return ""
}

// Must stops a test at an error.
func Must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
