package squash

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"relive/codec"
	"relive/squash/internal/ondisk"
	"relive/tree"
	"relive/tree/systest"
)

// smallImages are the images that imagePath finds.
var smallImages = []string{"plain", "lower.gzip", "lower.lz4", "lower.xz", "lower.zstd"}

// imagePath is where an image is: those of one tree are of the fixtures that
// packages share.
func imagePath(name string) string {
	if strings.HasPrefix(name, "lower.") {
		return "../testdata/antix-mini/" + name + ".sqfs"
	}
	return "testdata/" + name + ".sqfs"
}

// regularFiles returns all regular files below a node, by path.
func regularFiles(t testing.TB, root *tree.Node) map[string]*tree.Node {
	t.Helper()
	out := make(map[string]*tree.Node)
	var walk func(p string, n *tree.Node)
	walk = func(p string, n *tree.Node) {
		if n.Type == tree.Regular {
			out[p] = n
		}
		kids, err := n.Children()
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range kids {
			walk(path.Join(p, k.Name), k)
		}
	}
	walk("", root)
	return out
}

// Many goroutines that read anywhere get what reading from front to end gives.
func TestRandomAccess(t *testing.T) {
	t.Parallel()
	for _, name := range smallImages {
		b, err := os.ReadFile(imagePath(name))
		if err != nil {
			t.Fatal(err)
		}
		r, err := Open(bytes.NewReader(b), int64(len(b)), name, library(t), CacheBytes(0))
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		type file struct {
			name    string
			want    []byte
			content tree.Content
		}
		var files []file
		for p, n := range regularFiles(t, rootOf(t, r)) {
			want, err := tree.ReadAll(n, 1<<30)
			if err != nil {
				t.Fatal(err)
			}
			c, err := n.Open()
			if err != nil {
				t.Fatal(err)
			}
			if n.Size > 0 {
				files = append(files, file{p, want, c})
			}
		}
		slices.SortFunc(files, func(a, b file) int { return len(b.want) - len(a.want) })
		var wg sync.WaitGroup
		for seed := range int64(6) {
			wg.Go(func() {
				rnd := rand.New(rand.NewSource(seed))
				for range 150 {
					f := files[int(rnd.ExpFloat64()*6)%len(files)]
					off, p := rnd.Intn(len(f.want)+1), make([]byte, rnd.Intn(300000))
					if rnd.Intn(2) == 0 {
						off &^= r.blockSize - 1
					}
					n, err := f.content.ReadAt(p, int64(off))
					want := f.want[off:min(len(f.want), off+len(p))]
					if !bytes.Equal(p[:n], want) {
						t.Errorf("%s: %d bytes at %d are wrong", f.name, len(p), off)
					}
					if wantErr := error(io.EOF); n < len(p) && err != wantErr || n == len(p) && err != nil && err != io.EOF {
						t.Errorf("%s: %d of %d bytes at %d of %d: %v", f.name, n, len(p), off, len(f.want), err)
					}
					start, end, err := f.content.NextData(int64(off))
					if err == io.EOF {
						start = int64(len(f.want))
					} else if err != nil || start < int64(off) || end <= start || end > int64(len(f.want)) {
						t.Errorf("%s: NextData(%d) = %d, %d, %v", f.name, off, start, end, err)
						continue
					}
					if !tree.IsZero(f.want[min(off, len(f.want)):start]) {
						t.Errorf("%s: no hole from %d to %d", f.name, off, start)
					}
				}
			})
		}
		wg.Wait()
	}
}

// The stored form of every file decodes to its content.
func TestStored(t *testing.T) {
	for _, name := range smallImages {
		r := openFile(t, imagePath(name))
		block := make([]byte, r.blockSize)
		for p, n := range regularFiles(t, rootOf(t, r)) {
			want, err := tree.ReadAll(n, 1<<30)
			if err != nil {
				t.Fatal(err)
			}
			s, err := n.Data.(storer).storedForm()
			if err != nil {
				t.Fatal(err)
			}
			var got []byte
			at := s.Start
			for _, word := range s.Blocks {
				k, err := s.Image.readBlock(block, at, word)
				if err != nil {
					t.Fatal(err)
				}
				at += int64(ondisk.BlockStored(word))
				if word == 0 {
					k = min(len(block), int(s.Size)-len(got))
					clear(block)
				}
				got = append(got, block[:k]...)
			}
			if tail := int(s.Size) - len(got); tail > 0 {
				f, err := r.fragmentBlock(s.Fragment)
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, f[s.FragmentOffset:][:tail]...)
			}
			if s.Image != r || s.Size != n.Size || !bytes.Equal(got, want) {
				t.Errorf("%s: %s: the stored form is not the content", name, p)
			}
		}
	}
}

// A child that is looked up equals the one that is listed; names that are not
// there are not found.
func TestLookup(t *testing.T) {
	for _, name := range smallImages {
		r := openFile(t, imagePath(name))
		indexed := 0
		var walk func(n *tree.Node)
		walk = func(n *tree.Node) {
			kids, err := n.Children()
			if err != nil {
				t.Fatal(err)
			}
			if n.Dir != nil && n.Dir.(*dir).indexCount > 0 {
				indexed++
			}
			for _, k := range kids {
				got, err := n.Child(k.Name)
				if err != nil || got == nil || fmt.Sprint(got.Meta, got.Xattrs, got.Inode, got.Nlink, got.Name) != fmt.Sprint(k.Meta,
					k.Xattrs, k.Inode, k.Nlink, k.Name) {
					t.Errorf("%s: %q: %+v, %v", name, k.Name, got, err)
				}
				for _, no := range []string{k.Name + "\x01", k.Name[:len(k.Name)-1], "", "\xff"} {
					if got, err := n.Child(no); err != nil || (got != nil) != (tree.Find(kids, no) != nil) {
						t.Errorf("%s: %q: %v, %v", name, no, got, err)
					}
				}
				walk(k)
			}
		}
		walk(rootOf(t, r))
		if name == "plain" && indexed == 0 {
			t.Error("no directory has an index")
		}
	}
}

// plainDir is a directory without devices, FIFOs and sockets, which an fs.FS
// has no way to open.
type plainDir struct{ tree.Dir }

func (d plainDir) Children() ([]*tree.Node, error) {
	all, err := d.Dir.Children()
	var out []*tree.Node
	for _, n := range all {
		switch n.Type {
		case tree.Directory:
			c := *n
			c.Dir = plainDir{n.Dir}
			out = append(out, &c)
		case tree.Regular, tree.Symlink:
			out = append(out, n)
		}
	}
	return out, err
}

func TestFS(t *testing.T) {
	for name, want := range map[string]string{"plain": "dir/sub/both", "lower.zstd": "bin/t00"} {
		root := *rootOf(t, openFile(t, imagePath(name)))
		root.Dir = plainDir{root.Dir}
		if err := fstest.TestFS(tree.FS(&root), want); err != nil {
			t.Error(err)
		}
	}
}

// An image may lie anywhere in a file, with anything behind it.
func TestOffset(t *testing.T) {
	b, err := os.ReadFile(imagePath("lower.xz"))
	if err != nil {
		t.Fatal(err)
	}
	iso := append(append(bytes.Repeat([]byte{7}, 2048), b...), bytes.Repeat([]byte{9}, 5000)...)
	r, err := Open(io.NewSectionReader(bytes.NewReader(iso), 2048, 1<<40), int64(len(iso))-2048, "iso", library(t))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	compareManifests(t, manifest(t, rootOf(t, r)), manifest(t, rootOf(t, openBytes(t, b))))
}

// failing is an image on a medium that fails.
type failing struct {
	io.ReaderAt
	bad int64
}

var errMedium = errors.New("medium error")

func (f failing) ReadAt(p []byte, off int64) (int, error) {
	if f.bad >= off && f.bad < off+int64(len(p)) {
		return 0, errMedium
	}
	return f.ReaderAt.ReadAt(p, off)
}

// A medium that fails is not a corrupt image, and its error comes through.
func TestMediumError(t *testing.T) {
	b, err := os.ReadFile(imagePath("plain"))
	if err != nil {
		t.Fatal(err)
	}
	sound := openBytes(t, b)
	for _, bad := range []int64{0, 200, sound.inodes.start + 10, sound.dirs.start + 10, sound.fragments[0] + 3,
		int64(sound.super.IDTableStart), sound.pairs.start + 5} {
		r, err := Open(failing{bytes.NewReader(b), bad}, int64(len(b)), "image", library(t))
		if err == nil {
			err = exercise(r, 1000)
			r.Close()
		}
		if !errors.Is(err, errMedium) || errors.Is(err, tree.ErrCorrupt) || !strings.Contains(err.Error(), "image: ") {
			t.Errorf("failure at %d: %v", bad, err)
		}
	}
}

// Both sorts of codecs read the same.
func TestPureCodecs(t *testing.T) {
	lib, err := codec.Open(codec.Go)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range smallImages {
		b, err := os.ReadFile(imagePath(name))
		if err != nil {
			t.Fatal(err)
		}
		r, err := Open(bytes.NewReader(b), int64(len(b)), name, lib)
		if err != nil {
			t.Fatal(err)
		}
		compareManifests(t, manifest(t, rootOf(t, r)), manifest(t, rootOf(t, openBytes(t, b))))
		verifyClean(t, r)
		r.Close()
	}
}

// More words of a block list than a window holds: windows are loaded and left
// in any order.
func TestLongBlockList(t *testing.T) {
	systest.NeedTools(t, "mksquashfs")
	dir := t.TempDir()
	want := make([]byte, 5*windowBlocks*4096+123)
	rnd := rand.New(rand.NewSource(1))
	for i := 0; i < len(want); i += 3 * 4096 { // two of three blocks are holes
		rnd.Read(want[i:min(i+4096, len(want))])
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), want, 0o644); err != nil {
		t.Fatal(err)
	}
	image := filepath.Join(t.TempDir(), "image")
	systest.Run(t, "mksquashfs", dir, image, "-b", "4096", "-comp", "lz4", "-noD", "-quiet", "-no-progress")
	r := openFile(t, image)
	node, err := rootOf(t, r).Child("file")
	if err != nil {
		t.Fatal(err)
	}
	c, err := node.Open()
	if err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 9000)
	for range 400 {
		off := rnd.Intn(len(want))
		n, _ := c.ReadAt(p, int64(off))
		if !bytes.Equal(p[:n], want[off:min(off+len(p), len(want))]) {
			t.Fatalf("bytes at %d are wrong", off)
		}
	}
	for off, i := int64(0), 0; ; i++ {
		start, end, err := c.NextData(off)
		if err == io.EOF {
			if i != (len(want)+3*4096-1)/(3*4096) {
				t.Errorf("%d ranges of data", i)
			}
			break
		}
		if err != nil || start != int64(i)*3*4096 || end != min(start+4096, int64(len(want))) {
			t.Fatalf("range %d: %d to %d, %v", i, start, end, err)
		}
		off = end
	}
	verifyClean(t, r)
}
