package stick

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"relive/tree"
)

func requireTool(t testing.TB, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatalf("%s is missing", name)
			}
			t.Skipf("%s is missing", name)
		}
	}
}

func command(t testing.TB, stdin, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Stdin = strings.NewReader(stdin)
	cmd.Env = append(os.Environ(), "TZ=UTC", "LC_ALL=C.UTF-8", "MTOOLS_SKIP_CHECK=1")
	out, err := cmd.Output()
	if err != nil {
		var e *exec.ExitError
		if errors.As(err, &e) {
			t.Fatalf("%s %.300q: %v\n%.500s%.500s", name, args, err, out, e.Stderr)
		}
		t.Fatal(err)
	}
	return string(out)
}

// image makes an empty image.
func image(t testing.TB, size string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "img")
	command(t, "", "truncate", "-s", size, path)
	return path
}

func open(t testing.TB, path string) *Stick {
	t.Helper()
	s, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// blkid gives what blkid tells of an image, or of a part of it.
func blkid(t testing.TB, path string, args ...string) map[string]string {
	t.Helper()
	requireTool(t, "blkid")
	out := map[string]string{}
	for line := range strings.Lines(command(t, "", "blkid", append(append([]string{"-p", "-o", "udev"}, args...), path)...)) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			out[strings.TrimPrefix(key, "ID_")] = value
		}
	}
	return out
}

// unescape undoes the \x20 of blkid's udev output.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if strings.HasPrefix(s[i:], `\x`) && i+4 <= len(s) {
			var v byte
			for _, c := range []byte(strings.ToLower(s[i+2 : i+4])) {
				v = v<<4 | byte(strings.IndexByte("0123456789abcdef", c))
			}
			b.WriteByte(v)
			i += 3
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// text reads a small file of a tree.
func read(t testing.TB, root *tree.Node, path string) string {
	t.Helper()
	n, err := root.Lookup(path)
	if err != nil || n == nil {
		t.Fatalf("%s: %v, %v", path, n, err)
	}
	p, err := tree.ReadAll(n, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	return string(p)
}

func hintOf(err error) string {
	var h interface{ Hint() string }
	if errors.As(err, &h) {
		return h.Hint()
	}
	return ""
}
