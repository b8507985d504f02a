package remaster

import (
	"bytes"
	"fmt"
	"path"
	"strings"
	"testing"

	"relive/tree"
)

// TestSumKind: which files are lists of sums.
func TestSumKind(t *testing.T) {
	for name, want := range map[string]string{
		"linuxfs.md5": "md5", "vmlinuz.MD5": "md5", "md5sum.txt": "md5", "MD5SUMS": "md5", "md5sums.txt": "md5", "SHA256SUMS": "sha256", "sha256sum.txt": "sha256",
		"airootfs.sha512": "sha512", "x.iso.sha1": "sha1", "x.sha256sum": "sha256", "md5sum": "md5",
		"md5sum.txt.asc": "", "md5": "", "SHA256SUMS.gpg": "", "md5sum.c": "", "libmd5.so": "", "linuxfs.md5.new": "",
	} {
		if got := sumKind(name); got != want {
			t.Errorf("%s: %q, not %q", name, got, want)
		}
	}
}

const (
	sumA = "0123456789abcdef0123456789abcdef"
	sumB = "FEDCBA9876543210FEDCBA9876543210"
)

// TestSumsFile: the forms of lines, and what paths they name.
func TestSumsFile(t *testing.T) {
	for _, c := range []struct{ text, target, sum string }{
		{sumA + "  linuxfs", "antiX/linuxfs", sumA},
		{sumA + " *linuxfs\r", "antiX/linuxfs", sumA},
		{sumA + "  ./deep/../linuxfs", "antiX/linuxfs", sumA},
		{sumA + "  ../live/vmlinuz", "live/vmlinuz", sumA},
		{sumA + "  ../../../etc/passwd", "etc/passwd", sumA},
		{sumA + "  /live/vmlinuz", "live/vmlinuz", sumA},
		{sumA + "  with blank  s", "antiX/with blank  s", sumA},
		{`\` + sumA + `  back\\slash\nline`, "antiX/back\\slash\nline", sumA},
		{sumB + "  upper", "antiX/upper", sumB},
		{"MD5 (name (of)) = " + sumA, "antiX/name (of)", sumA},
		{sumA, "antiX/list", sumA},
		{sumA[:31] + "  short", "", ""},
		{sumA + "0  long", "", ""},
		{"# comment", "", ""},
		{"", "", ""},
		{"MD5 (x) = " + sumA[:30], "", ""},
	} {
		l := &sumsFile{path: "antiX/list.md5", kind: "md5"}
		l.parse([]byte(c.text + "\n"))
		if len(l.lines) != 1 || l.lines[0].target != c.target || l.lines[0].sum != c.sum {
			t.Errorf("%q: %+v", c.text, l.lines)
		}
		if string(l.bytes()) != c.text+"\n" {
			t.Errorf("%q became %q", c.text, l.bytes())
		}
		if c.target == "" {
			continue
		}
		l.lines[0].set(strings.Repeat("ab", 16))
		want := strings.Repeat("ab", 16)
		if c.sum == sumB {
			want = strings.ToUpper(want)
		}
		if got := string(l.bytes()); got != strings.Replace(c.text, c.sum, want, 1)+"\n" {
			t.Errorf("%q became %q", c.text, got)
		}
	}
}

// FuzzSumsFile: a list that is read and not changed has the same bytes, and no
// line names a path that leaves the tree.
func FuzzSumsFile(f *testing.F) {
	f.Add([]byte(sumA+"  a\n"+sumB+" *b\r\nMD5 (c) = "+sumA+"\n"), "dir/list.md5")
	f.Add([]byte("\\"+sumA+"  a\\n\n\n# x\n"+sumA), "md5sum.txt")
	f.Fuzz(func(t *testing.T, text []byte, at string) {
		if strings.Contains(at, "..") || strings.HasPrefix(at, "/") || path.Clean(at) != at {
			return
		}
		l := &sumsFile{path: at, kind: "md5"}
		l.parse(text)
		if !bytes.Equal(l.bytes(), text) {
			t.Errorf("%q became %q", text, l.bytes())
		}
		for i := range l.lines {
			line := &l.lines[i]
			if strings.HasPrefix(line.target, "/") || line.target == ".." || strings.HasPrefix(line.target, "../") {
				t.Errorf("%q is of %q", line.text, line.target)
			}
			if line.target != "" {
				before := len(line.text)
				line.set(strings.Repeat("0", 32))
				if len(line.text) != before {
					t.Errorf("%q", line.text)
				}
			}
		}
	})
}

// TestFollow: symlinks in lists of sums lead where they would on the medium, and
// no loop of them is endless.
func TestFollow(t *testing.T) {
	root := tree.NewDir("", 0o755,
		tree.NewDir("a", 0o755, tree.NewFile("f", 0o644, []byte("f")), tree.NewSymlink("up", "../b"), tree.NewSymlink("abs", "/a/f"), tree.NewSymlink("out", "../../../a/f")),
		tree.NewSymlink("b", "a/f"), tree.NewSymlink("dir", "a"), tree.NewSymlink("loop", "loop"), tree.NewSymlink("ping", "pong"), tree.NewSymlink("pong", "ping"), tree.NewSymlink("dead", "none"))
	for at, want := range map[string]string{"a/f": "f", "a/up": "f", "a/abs": "f", "a/out": "f", "b": "f", "dir/f": "f", "dir/up": "f", "loop": "", "ping": "", "dead": "", "none": "", "a/f/x": "", "dir/none": ""} {
		n, err := follow(root, at)
		got := ""
		if n != nil {
			got = n.Name
		}
		if err != nil || got != want {
			t.Errorf("%s: %q, %v", at, got, err)
		}
	}
}

// TestParseGraft: PATH=FILE.
func TestParseGraft(t *testing.T) {
	for in, want := range map[string]string{"a/b=c": "a/b c", "/a/../b=c=d": "b c=d", "a=": "", "=b": "", "/=b": "", "a": "", "..=x": ""} {
		g, err := ParseGraft(in)
		if got := fmt.Sprint(g.Path, " ", g.Source); (err == nil) != (want != "") || err == nil && got != want {
			t.Errorf("%s: %q, %v", in, got, err)
		}
	}
}
