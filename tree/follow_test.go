package tree

import "testing"

func TestFollow(t *testing.T) {
	root := NewDir("", 0o755,
		NewSymlink("bin", "usr/bin"), NewSymlink("loop", "loop"), NewSymlink("up", "../../../usr"), NewSymlink("none", "/nothing"),
		NewDir("sbin", 0o755, NewSymlink("init", "/lib/systemd/systemd")),
		NewSymlink("lib", "usr/lib"),
		NewDir("usr", 0o755,
			NewDir("bin", 0o755, NewFile("dash", 0o755, nil), NewSymlink("sh", "dash")),
			NewDir("lib", 0o755, NewDir("systemd", 0o755, NewFile("systemd", 0o755, nil)), NewSymlink("here", "./../lib"))))
	for path, want := range map[string]string{
		"/bin/sh": "usr/bin/dash", "sbin/init": "usr/lib/systemd/systemd", "up/bin/dash": "usr/bin/dash", "/": "", "": "",
		"usr/lib/here/systemd/../systemd": "usr/lib/systemd",
		"usr/../bin":                      "usr/bin",
	} {
		if n, at, err := Follow(root, path); err != nil || n == nil || at != want {
			t.Errorf("Follow(%q) = %v, %q, %v, not at %q", path, n, at, err, want)
		}
	}
	for _, path := range []string{"loop", "none", "bin/sh/x", "usr/bin/none"} {
		if n, at, err := Follow(root, path); n != nil || err != nil || at != "" {
			t.Errorf("Follow(%q) = %v, %q, %v, not nothing", path, n, at, err)
		}
	}
}
