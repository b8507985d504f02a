package independent

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/diskfs/go-diskfs/backend"
	"github.com/diskfs/go-diskfs/backend/file"

	"relive/tree"
	"relive/tree/systest"
)

// stamp is an even second, as FAT keeps it.
var stamp = tree.Time{Sec: 1_700_000_000}

// content is n bytes that pack to about half.
func content(n int) []byte {
	rnd := rand.New(rand.NewPCG(uint64(n), 1))
	b := make([]byte, n)
	for i := range b {
		if i%3 == 0 {
			b[i] = byte(rnd.Uint32())
		}
	}
	return b
}

// sample is a tree of directories and files at the limits of blocks, of what
// FAT can hold, too.
func sample() *tree.Node {
	var sizes []*tree.Node
	for _, n := range []int{0, 1, 511, 512, 513, 2047, 2048, 2049, 4095, 4096, 4097, 131071, 131072, 131073, 300_000} {
		sizes = append(sizes, tree.NewFile(fmt.Sprintf("file of %d bytes", n), 0o644, content(n)))
	}
	var many []*tree.Node
	for i := range 300 {
		many = append(many, tree.NewFile(fmt.Sprintf("one of many files, number %03d", i), 0o600, fmt.Appendf(nil, "%d", i)))
	}
	root := tree.NewDir("", 0o755,
		tree.NewDir("sizes", 0o755, sizes...),
		tree.NewDir("many", 0o750, many...),
		tree.NewDir("empty", 0o700),
		tree.NewDir("EFI", 0o755, tree.NewDir("BOOT", 0o755, tree.NewFile("BOOTX64.EFI", 0o755, content(50_000)))),
		tree.NewFile("UPPER.TXT", 0o444, []byte("upper\n")),
		tree.NewFile("a name with blanks, "+strings.Repeat("long ", 20)+"end.text", 0o644, []byte("long\n")),
		tree.NewFile("übergrößé.txt", 0o644, []byte("umlauts\n")),
		tree.NewDir("a", 0o755, tree.NewDir("b", 0o755, tree.NewDir("c", 0o755, tree.NewFile("deep", 0o644, []byte("deep\n"))))))
	return dated(root)
}

// withLinks is a tree with symlinks as well, which FAT has not.
func withLinks() *tree.Node {
	kids, _ := sample().Children()
	kids = append(slices.Clone(kids), dated(tree.NewSymlink("link", "a/b/c/deep")),
		dated(tree.NewSymlink("long link", strings.Repeat("x/", 90)+"x")))
	root := tree.NewDir("", 0o755, kids...)
	root.Mtime = stamp
	return root
}

func dated(n *tree.Node) *tree.Node {
	n.Mtime = stamp
	kids, _ := n.Children()
	for _, k := range kids {
		dated(k)
	}
	return n
}

// facts is what both sides tell of a file, by path.
type facts map[string]string

func fact(kind string, size int64, b []byte) string {
	return fmt.Sprintf("%s of %d bytes, %x", kind, size, sha256.Sum256(b))
}

// wanted are the facts of a tree.
func wanted(t *testing.T, root *tree.Node) facts {
	t.Helper()
	f := facts{}
	err := tree.Walk(context.Background(), root, func(path string, n *tree.Node) error {
		switch n.Type {
		case tree.Directory:
			f[path] = "directory"
		case tree.Symlink:
			f[path] = "symlink to " + n.Target
		default:
			b, err := tree.ReadAll(n, 1<<20)
			if err != nil {
				return err
			}
			f[path] = fact("file", n.Size, b)
		}
		return nil
	})
	systest.Must(t, err)
	delete(f, "")
	return f
}

// walker is what go-diskfs's file systems have in common.
type walker interface {
	ReadDir(path string) ([]fs.DirEntry, error)
	Open(path string) (fs.File, error)
}

// reader reads a file of that size.
type reader func(w walker, path string, size int64) ([]byte, error)

// inPieces reads as io.Copy and most programs do.
func inPieces(w walker, path string, _ int64) ([]byte, error) {
	f, err := w.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(f)
}

// atOnce reads all of a file by one call.
func atOnce(w walker, path string, size int64) ([]byte, error) {
	f, err := w.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b := make([]byte, size)
	n, err := f.Read(b)
	if err == io.EOF {
		err = nil
	}
	return b[:n], err
}

// seen are the facts that a file system of go-diskfs tells. link gives a
// symlink's target.
func seen(t *testing.T, w walker, dir string, read reader, link func(fs.FileInfo) string) facts {
	t.Helper()
	f := facts{}
	entries, err := w.ReadDir(dir)
	systest.Must(t, err)
	for _, e := range entries {
		if e.Name() == "." || e.Name() == ".." {
			continue
		}
		path := strings.TrimPrefix(dir+"/"+e.Name(), "./")
		info, err := e.Info()
		systest.Must(t, err)
		switch {
		case info.IsDir():
			f[path] = "directory"
			maps.Copy(f, seen(t, w, path, read, link))
		case info.Mode()&fs.ModeSymlink != 0:
			f[path] = "symlink to " + link(info)
		default:
			b, err := read(w, path, info.Size())
			if err != nil {
				f[path] = err.Error()
				continue
			}
			f[path] = fact("file", info.Size(), b)
		}
	}
	return f
}

// same demands equal facts, but for those that wrong names.
func same(t *testing.T, got, want facts, wrong func(path string) bool) {
	t.Helper()
	all := maps.Clone(want)
	maps.Copy(all, got)
	for _, path := range slices.Sorted(maps.Keys(all)) {
		if got[path] != want[path] && (wrong == nil || !wrong(path)) {
			t.Errorf("%s: %q, not %q", path, got[path], want[path])
		}
	}
}

// written puts content into a file.
func written(t *testing.T, write func(f *os.File)) (path string, size int64) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "image")
	f, err := os.Create(path)
	systest.Must(t, err)
	defer f.Close()
	write(f)
	info, err := f.Stat()
	systest.Must(t, err)
	return path, info.Size()
}

// opened opens a file for go-diskfs.
func opened(t *testing.T, path string) backend.Storage {
	t.Helper()
	s, err := file.OpenFromPath(path, true)
	systest.Must(t, err)
	t.Cleanup(func() { s.Close() })
	return s
}
