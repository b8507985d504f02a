package iso

import (
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"

	"relive/tree"
	"relive/tree/systest"
)

func TestPlainName(t *testing.T) {
	for id, want := range map[string]string{
		"README.TXT;1": "readme.txt",
		"README.;1":    "readme",
		"README;1":     "readme",
		"A.B;2":        "a.b.2",
		"lower.x":      "lower.x",
		"A;B;1":        "a.b",
		".;1":          "",
		"DIR":          "dir",
	} {
		if got := plainName([]byte(id)); got != want {
			t.Errorf("%q: %q, not %q", id, got, want)
		}
	}
}

func TestJolietName(t *testing.T) {
	wide := func(s string) []byte {
		var p []byte
		for _, r := range s {
			p = append(p, byte(r>>8), byte(r))
		}
		return p
	}
	for id, want := range map[string]string{
		"Read me.txt;1": "Read me.txt",
		"Ünï":           "Ünï",
		"日本;1":          "日本",
		"dots...;1":     "dots",
		".":             ".",
	} {
		if got := jolietName(wide(id)); got != want {
			t.Errorf("%q: %q, not %q", id, got, want)
		}
	}
	if got := jolietName([]byte{0xD8, 0x3D, 0xDE, 0x00, 0, 'x'}); got != "\U0001F600x" {
		t.Errorf("%q", got)
	}
	if got := jolietName([]byte{0xD8, 0x3D, 0, 'x', 0}); got != "\uFFFDx" {
		t.Errorf("%q", got)
	}
}

// paths lists a tree.
func paths(t *testing.T, root *tree.Node) []string {
	t.Helper()
	var out []string
	err := tree.Walk(t.Context(), root, func(path string, _ *tree.Node) error {
		out = append(out, "/"+path)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	sort.Strings(out)
	return out
}

// The other name spaces hold the same files: all of them, with their bytes, and
// with the names that bsdtar shows.
func TestNameSpaces(t *testing.T) {
	t.Parallel()
	systest.NeedRoot(t, "xorriso", "genisoimage", "bsdtar")
	rng := rand.New(rand.NewPCG(3, 3))
	dir := systest.MemDir(t)
	contents := map[string]int{}
	for i := range 300 {
		sub := filepath.Join(dir, strings.Repeat("d/", rng.IntN(7)))
		if err := os.MkdirAll(sub, 0o755); err != nil {
			t.Fatal(err)
		}
		name := randomName(rng, kinds{ascii: true}, i)
		if i%2 == 1 {
			name = "Ünïcode Name " + name
		}
		b := make([]byte, rng.IntN(5000))
		for j := range b {
			b[j] = byte(rng.Uint32())
		}
		contents[string(b)]++
		if err := os.WriteFile(filepath.Join(sub, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, tool := range [][]string{
		{"xorriso", "-as", "mkisofs", "-quiet", "-R", "-J", "-joliet-long"},
		{"genisoimage", "-quiet", "-R", "-J", "-input-charset", "utf-8"},
	} {
		file := filepath.Join(systest.MemDir(t), "image.iso")
		systest.Run(t, tool[0], append(tool[1:], "-o", file, dir)...)
		for names, option := range map[Names]string{RockRidge: "iso9660:joliet", Joliet: "iso9660:!rockridge",
			Plain: "iso9660:!rockridge,!joliet"} {
			img := openFile(t, file, WithNames(names))
			if img.Names() != names {
				t.Errorf("%v for %v", img.Names(), names)
			}
			root := rootOf(t, img)
			got := paths(t, root)
			list := systest.Run(t, "bsdtar", "-tf", file, "--options", option)
			var want []string
			for line := range strings.Lines(list) {
				line = strings.TrimPrefix(strings.TrimPrefix(unoctal(strings.TrimSuffix(line, "\n")), "."), "/")
				line = "/" + strings.TrimSuffix(line, "/")
				if names == Plain {
					line = strings.ToLower(line)
				}
				want = append(want, line)
			}
			sort.Strings(want)
			for i := range max(len(got), len(want)) {
				if i >= len(got) || i >= len(want) || got[i] != want[i] {
					t.Errorf("%s, %v: %q, not %q", tool[0], names, got[min(i, len(got)):min(i+3, len(got))],
						want[min(i, len(want)):min(i+3, len(want))])
					break
				}
			}
			found := map[string]int{}
			err := tree.Walk(t.Context(), root, func(_ string, n *tree.Node) error {
				if n.Type == tree.Regular {
					b, err := tree.ReadAll(n, 1<<20)
					if err != nil {
						return err
					}
					found[string(b)]++
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
			for b, n := range contents {
				if found[b] != n {
					t.Fatalf("%s, %v: a content of %d bytes is there %d times, not %d", tool[0], names, len(b), found[b], n)
				}
			}
		}
	}
}

// unoctal undoes bsdtar's escapes of what it does not print.
func unoctal(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) && s[i+1] >= '0' && s[i+1] <= '3' {
			b.WriteByte((s[i+1]-'0')<<6 | (s[i+2]-'0')<<3 | s[i+3] - '0')
			i += 3
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// A name space that is not there is refused by name.
func TestNamesMissing(t *testing.T) {
	systest.NeedRoot(t, "genisoimage")
	dir := systest.MemDir(t)
	if err := os.WriteFile(filepath.Join(dir, "Some File.text"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(systest.MemDir(t), "image.iso")
	systest.Run(t, "genisoimage", "-quiet", "-o", file, dir)
	img := openFile(t, file)
	if img.Names() != Plain || strings.Join(paths(t, rootOf(t, img)), "|") != "/|/some_fil.tex" {
		t.Errorf("%v %q", img.Names(), paths(t, rootOf(t, img)))
	}
	n, err := rootOf(t, img).Lookup("some_fil.tex")
	if err != nil || n.Perm != 0o555 || n.Nlink != 1 || n.Mtime.Sec == 0 {
		t.Errorf("%+v, %v", n, err)
	}
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	st, _ := f.Stat()
	for _, names := range []Names{RockRidge, Joliet} {
		if _, err := Open(f, st.Size(), "image", WithNames(names)); err == nil ||
			err.Error() != "image: volume descriptors: the image has no "+names.String()+" names" {
			t.Error(err)
		}
	}
}

// A file of more than 4 GiB is in two sections; what xorriso writes of it goes
// through a pipe into a store that drops zeros.
func TestLevel3(t *testing.T) {
	t.Parallel()
	systest.NeedRoot(t, "xorriso")
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	dir := systest.MemDir(t)
	const size = 4<<30 + 12345
	f, err := os.Create(filepath.Join(dir, "large"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	marks := map[int64]string{0: "start", 1 << 20: "middle", 4<<30 - 2048 - 3: "across the sections", 4<<30 - 4: "across 4 GiB",
		size - 3: "end"}
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	for at, s := range marks {
		if _, err := f.WriteAt([]byte(s[:min(int64(len(s)), size-at)]), at); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "after"), []byte("small"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := newSparseStore()
	pipe(t, s, "xorriso", "-as", "mkisofs", "-quiet", "-R", "-J", "-iso-level", "3", "-o", "-", dir)
	for _, names := range []Names{RockRidge, Joliet, Plain} {
		img, err := Open(s, s.size, "image", WithNames(names))
		if err != nil {
			t.Fatal(err)
		}
		n, err := rootOf(t, img).Lookup("large")
		if err != nil || n == nil || n.Size != size {
			t.Fatalf("%+v, %v", n, err)
		}
		if got := len(n.Data.(*file).more); got != 1 {
			t.Errorf("%d more sections", got)
		}
		c, err := n.Open()
		if err != nil {
			t.Fatal(err)
		}
		if c.Size() != size {
			t.Error(c.Size())
		}
		for at, s := range marks {
			s = s[:min(int64(len(s)), size-at)]
			p := make([]byte, len(s)+2)
			k, err := c.ReadAt(p, at)
			if k < len(s) || string(p[:len(s)]) != s || (err == io.EOF) != (at+int64(len(p)) > size) {
				t.Errorf("at %d: %d, %q, %v", at, k, p, err)
			}
		}
	}
}
