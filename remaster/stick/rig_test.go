package stick

import (
	"errors"
	"strings"
	"testing"

	"relive/tree"
	"relive/tree/systest"
)

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

// blkid returns what blkid tells of an image, or of a part of it.
func blkid(t testing.TB, path string, args ...string) map[string]string {
	t.Helper()
	systest.NeedTools(t, "blkid")
	out := map[string]string{}
	for line := range strings.Lines(systest.Output(t, "blkid", append(append([]string{"-p", "-o", "udev"}, args...), path)...)) {
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
