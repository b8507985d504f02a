package sumlist

import (
	"testing"

	"relive/tree"
)

// TestFollow: symlinks in lists of sums lead where they would on the medium, and
// no loop of them is endless.
func TestFollow(t *testing.T) {
	root := tree.NewDir("", 0o755,
		tree.NewDir("a", 0o755, tree.NewFile("f", 0o644, []byte("f")), tree.NewSymlink("up", "../b"), tree.NewSymlink("abs", "/a/f"),
			tree.NewSymlink("out", "../../../a/f")),
		tree.NewSymlink("b", "a/f"), tree.NewSymlink("dir", "a"), tree.NewSymlink("loop", "loop"), tree.NewSymlink("ping", "pong"),
		tree.NewSymlink("pong", "ping"), tree.NewSymlink("dead", "none"))
	for at, want := range map[string]string{"a/f": "f", "a/up": "f", "a/abs": "f", "a/out": "f", "b": "f", "dir/f": "f", "dir/up": "f",
		"loop": "", "ping": "", "dead": "", "none": "", "a/f/x": "", "dir/none": ""} {
		n, err := Resolve(root, at)
		got := ""
		if n != nil {
			got = n.Name
		}
		if err != nil || got != want {
			t.Errorf("%s: %q, %v", at, got, err)
		}
	}
}
