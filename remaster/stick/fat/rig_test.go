package fat

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"relive/tree"
	"relive/tree/systest"
)

func openFile(t testing.TB, path string) *FS {
	t.Helper()
	f, size := systest.OpenFile(t, path)
	fs, err := Open(f, size, "image")
	if err != nil {
		t.Fatal(err)
	}
	return fs
}

func rootOf(t testing.TB, fs *FS) *tree.Node {
	t.Helper()
	root, err := fs.Root()
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func lookup(t testing.TB, root *tree.Node, path string) *tree.Node {
	t.Helper()
	n, err := root.Lookup(path)
	if err != nil || n == nil {
		t.Fatalf("%s: %v, %v", path, n, err)
	}
	return n
}

// unpacked holds the images of testdata, of which one has 40 MiB.
var unpacked sync.Map

// fixture returns a copy of an image of testdata.
func fixture(t testing.TB, name string) []byte {
	t.Helper()
	img, ok := unpacked.Load(name)
	if !ok {
		img, _ = unpacked.LoadOrStore(name, systest.Unpack(t, filepath.Join("testdata", name+".img.zst")))
	}
	return bytes.Clone(img.([]byte))
}

// names are what a stick may hold; those beyond the Basic Multilingual Plane are
// more than mtools can write.
func names(r *rand.Rand, plane0 bool) []string {
	out := []string{
		"README", "linuxfs", "LiveOS", "squashfs.img", "a.b.c.d", "Mixed Case.TXT", "UPPER.EXT", "lower.ext",
		"UPPER.low", "low.UPP", "with space", ".hidden", "über groß.txt", "ÄÖÜ.TXT", "日本語のファイル名.img", "trailing~1.txt",
		"exactly13unit", "exactly-twenty-six-units.x", "[brackets] + = , ;", "100%", "0123456789012345",
	}
	if !plane0 {
		out = append(out, "é\u0301", "smile 😀 𝔘𝔫𝔦", "😀", "twelve units😀x")
	}
	long := make([]byte, 200+r.IntN(40))
	for i := range long {
		long[i] = 'a' + byte(r.IntN(26))
	}
	return append(out, string(long))
}

// populate makes a random tree on the host: files of sizes around those of
// clusters, and directories that need several.
func populate(t testing.TB, r *rand.Rand, dir string, plane0 bool, depth int, large bool) {
	t.Helper()
	when := func(path string) {
		at := time.Unix(315532800+86400+2*r.Int64N(1<<30), 0)
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
	file := func(name string, size int) {
		p := make([]byte, size)
		for i := range p {
			p[i] = byte(r.Uint32())
		}
		if err := os.WriteFile(filepath.Join(dir, name), p, 0o644); err != nil {
			t.Fatal(err)
		}
		when(filepath.Join(dir, name))
	}
	for i, name := range names(r, plane0) {
		switch {
		case i%5 == 0 && depth > 0:
			sub := filepath.Join(dir, name)
			if err := os.Mkdir(sub, 0o755); err != nil {
				t.Fatal(err)
			}
			populate(t, r, sub, plane0, depth-1, large)
			when(sub)
		case i%7 == 0:
			file(name, 0)
		default:
			file(name, []int{1, 511, 512, 513, 4096, 32768, 32769, 100000}[r.IntN(map[bool]int{false: 5, true: 8}[large])])
		}
	}
	if depth == 0 && large {
		for i := range 30 {
			file(fmt.Sprintf("one of many files %d", i), i)
		}
	}
}

// equalTrees compares all that both formats keep: names, types, sizes, content,
// and times of files where within says how exactly.
func equalTrees(t *testing.T, got, want *tree.Node, path string, within time.Duration) (nodes int) {
	t.Helper()
	have, err := got.Children()
	if err != nil {
		t.Fatal(path, err)
	}
	expect, err := want.Children()
	if err != nil {
		t.Fatal(path, err)
	}
	if len(have) != len(expect) {
		t.Errorf("%s: %d names, want %d", path, len(have), len(expect))
	}
	for _, w := range expect {
		g := tree.Find(have, w.Name)
		at := path + "/" + w.Name
		if g == nil {
			t.Errorf("%q: missing", at)
			continue
		}
		nodes++
		if g.Type != w.Type || g.Size != w.Size && w.Type == tree.Regular {
			t.Errorf("%q: %s of %d bytes, want %s of %d", at, g.Type, g.Size, w.Type, w.Size)
			continue
		}
		if g.Type == tree.Directory {
			nodes += equalTrees(t, g, w, at, within)
			continue
		}
		if d := g.Mtime.Time().Sub(w.Mtime.Time()); d.Abs() > within {
			t.Errorf("%q: time %v, want %v", at, g.Mtime.Time(), w.Mtime.Time())
		}
		a, err := tree.ReadAll(g, 1<<30)
		if err != nil {
			t.Errorf("%q: %v", at, err)
		}
		b, err := tree.ReadAll(w, 1<<30)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(a, b) {
			t.Errorf("%q: other content", at)
		}
	}
	return nodes
}

// fragments counts the files of a tree whose clusters do not follow one another.
func fragments(t testing.TB, n *tree.Node) (count int) {
	t.Helper()
	err := tree.Walk(t.Context(), n, func(path string, n *tree.Node) error {
		if n.Type != tree.Regular {
			return nil
		}
		c, err := n.Open()
		if err != nil {
			return err
		}
		if !c.(*content).chain.straight {
			count++
		}
		return c.Close()
	})
	if err != nil {
		t.Fatal(err)
	}
	return count
}

func checkKind(t testing.TB, err error) {
	t.Helper()
	if err != nil && !errors.Is(err, tree.ErrCorrupt) && !errors.Is(err, tree.ErrUnsupported) {
		t.Fatalf("%v (%T)", err, err)
	}
}
