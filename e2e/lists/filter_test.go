package lists_test

import (
	"testing"

	"relive/e2e/lists"
)

// TestFilters has lines as e2e/guest/list writes them, and what is left of them.
func TestFilters(t *testing.T) {
	const gone = "(left out)"
	for _, c := range []struct {
		name       string
		filter     lists.Filter
		line, want string
	}{
		{"file", lists.WholeSeconds, "/a\tf 644 0 0 12.5000000000 7 ", "/a\tf 644 0 0 12 7 "},
		{"odd name", lists.WholeSeconds, "/a\xff b\td 755 0 0 1.5", "/a\xff b\td 755 0 0 1"},
		{"sum", lists.WholeSeconds, "/a\tsum d41d8cd98f00b204e9800998ecf8427e", "/a\tsum d41d8cd98f00b204e9800998ecf8427e"},
		{"uncut root", lists.Uncut, "/root\td 700 0 0 1.5", gone},
		{"uncut, a file of root", lists.Uncut, "/root/first\td 700 0 0 1.5", "/root/first\td 700 0 0 1.5"},
		{"uncut, made by the cut", lists.Uncut, "/root/cut/late-1\tf 644 0 0 1.5 7 ", gone},
		{"uncut, only named like it", lists.Uncut, "/root/cuts\tf 644 0 0 1.5 7 ", "/root/cuts\tf 644 0 0 1.5 7 "},
		{"untimed root", lists.UntimedRoot, "/\td 755 0 0 12.5", "/\td 755 0 0"},
		{"untimed, not the root", lists.UntimedRoot, "/a\td 755 0 0 12.5", "/a\td 755 0 0 12.5"},
		{"squashed time", lists.Squashed, "/a\tf 644 0 0 12.5 7 ", "/a\tf 644 0 0 12 7 "},
		{"squashed ACL", lists.Squashed, "/a\tsystem.posix_acl_access=0x02", gone},
		{"squashed, a time in homefs", lists.Squashed, "/home/a\tf 644 0 0 12.5 7 ", "/home/a\tf 644 0 0 12.5 7 "},
		{"squashed, an ACL in homefs", lists.Squashed, "/home\tsystem.posix_acl_access=0x02", "/home\tsystem.posix_acl_access=0x02"},
		{"squashed, only named like it", lists.Squashed, "/homes\td 755 0 0 12.5", "/homes\td 755 0 0 12"},
		{"mark", lists.WithoutMark, "/etc/live/version/rootfs.ver\tf 644 0 0 1 7 ", gone},
		{"mark's directory", lists.WithoutMark, "/etc/live\td 755 0 0 1", gone},
		{"beside the mark", lists.WithoutMark, "/etc/live/config\tf 644 0 0 1 7 ", "/etc/live/config\tf 644 0 0 1 7 "},
		{"replaced once", lists.Replace(`\tl ([0-7]+) [0-9]+`, "\tl $1"), "/a\tl 777 5\tl 777 5", "/a\tl 777\tl 777 5"},
	} {
		got, kept := c.filter(c.line)
		if !kept {
			got = gone
		}
		if got != c.want {
			t.Errorf("%s: %q becomes %q, not %q", c.name, c.line, got, c.want)
		}
	}
}
