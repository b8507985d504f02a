package squash

import (
	"bytes"
	"context"
	"fmt"
	oldrand "math/rand"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"relive/codec"
	"relive/tree"
)

// memory is an io.WriterAt that grows.
type memory struct {
	mu sync.Mutex
	b  []byte
}

func (m *memory) WriteAt(p []byte, off int64) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if need := int(off) + len(p); need > len(m.b) {
		m.b = append(m.b, make([]byte, need-len(m.b))...)
	}
	return copy(m.b[off:], p), nil
}

func writeImage(t testing.TB, root *tree.Node, o WriteOptions) ([]byte, *Plan) {
	t.Helper()
	p, err := NewPlan(context.Background(), root, o)
	if err != nil {
		t.Fatal(err)
	}
	var m memory
	rep, err := p.Write(context.Background(), &m, 0)
	if err != nil {
		t.Fatal(err)
	}
	if rep.Size != int64(len(m.b)) || rep.Size%4096 != 0 {
		t.Fatalf("report of %d bytes, image of %d", rep.Size, len(m.b))
	}
	return m.b, p
}

func openImage(t testing.TB, b []byte, lib *codec.Library) *Reader {
	t.Helper()
	r, err := Open(bytes.NewReader(b), int64(len(b)), "image", lib)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func differences(t testing.TB, a, b *tree.Node) string {
	t.Helper()
	var out []string
	err := tree.Compare(context.Background(), a, b, tree.CompareOptions{WholeSeconds: true, Links: true,
		IgnoreXattr: func(n string) bool { return strings.HasPrefix(n, "system.") }}, func(c tree.Change) error {
		out = append(out, fmt.Sprintf("%s: %v", tree.Quote(c.Path), c.Diff))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(out, "\n")
}

// sampleTree is a tree with something of everything.
func sampleTree(seed uint64, blockSize int) *tree.Node {
	rnd := rand.New(rand.NewPCG(seed, 1))
	text := func(n int) []byte {
		b := make([]byte, 0, n+16)
		for len(b) < n {
			b = fmt.Appendf(b, "line %d of a file\n", rnd.IntN(1000))
		}
		return b[:n]
	}
	noise := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(rnd.Uint32())
		}
		return b
	}
	meta := func(n *tree.Node) *tree.Node {
		n.UID, n.GID = uint32(rnd.IntN(3))*70000, uint32(rnd.IntN(5))
		n.Mtime = tree.Time{Sec: int64(rnd.Uint32())}
		return n
	}
	file := func(name string, b []byte) *tree.Node { return meta(tree.NewFile(name, uint16(rnd.IntN(0o10000)), b)) }

	var kids []*tree.Node
	for i, n := range []int{0, 1, 100, blockSize - 1, blockSize, blockSize + 1, 3*blockSize + 77, 5 * blockSize} {
		kids = append(kids, file(fmt.Sprintf("text-%d", i), text(n)), file(fmt.Sprintf("noise-%d", i), noise(n)),
			file(fmt.Sprintf("zeros-%d", i), make([]byte, n)))
	}
	sparse := make([]byte, 7*blockSize+5)
	copy(sparse[3*blockSize:], text(blockSize+10))
	kids = append(kids, file("sparse", sparse), file("twin-a", text(2*blockSize+9)))
	twin := *kids[len(kids)-1]
	twin.Name = "twin-b"
	kids = append(kids, &twin)

	linked := file("linked-a", text(500))
	linked.Inode, linked.Nlink = tree.Inode{Source: linked, Number: 7}, 3
	again := *linked
	again.Name = "linked-b"
	third := *linked
	third.Name = "linked-c"
	kids = append(kids, linked, &again)

	kids = append(kids, meta(tree.NewSymlink("symlink", "../some/where")),
		meta(&tree.Node{Name: "block", Meta: tree.Meta{Type: tree.BlockDevice, Perm: 0o660, Rdev: tree.Rdev{Major: 8, Minor: 300}}}),
		meta(&tree.Node{Name: "char", Meta: tree.Meta{Type: tree.CharDevice, Perm: 0o600, Rdev: tree.Rdev{Major: 4000, Minor: 1 << 19}}}),
		meta(&tree.Node{Name: "fifo", Meta: tree.Meta{Type: tree.FIFO, Perm: 0o600}}),
		meta(&tree.Node{Name: "socket", Meta: tree.Meta{Type: tree.Socket, Perm: 0o755}}))

	long := strings.Repeat("a value that is long enough to be shared ", 20)
	withXattrs := func(n *tree.Node, x ...tree.Xattr) *tree.Node {
		tree.SortXattrs(x)
		n.Xattrs = x
		return n
	}
	kids = append(kids,
		withXattrs(file("x1", text(10)), tree.Xattr{Name: "user.a", Value: long},
			tree.Xattr{Name: "security.capability", Value: "\x01\x00\x00\x02" + strings.Repeat("\x00", 16)}),
		withXattrs(file("x2", text(10)), tree.Xattr{Name: "user.b", Value: long}, tree.Xattr{Name: "trusted.empty"}),
		withXattrs(file("x3", text(10)), tree.Xattr{Name: "user.big", Value: string(noise(60000))}),
		withXattrs(meta(tree.NewSymlink("xlink", "t")), tree.Xattr{Name: "trusted.t", Value: long}))

	var many []*tree.Node
	entries := 3000 // more than one directory index takes
	if blockSize > 4096 {
		entries = 300
	}
	for i := range entries {
		many = append(many, file(fmt.Sprintf("%s-%05d", strings.Repeat("n", i%60), i), text(i%50)))
	}
	many = append(many, &third)
	kids = append(kids, meta(tree.NewDir("many", 0o755, many...)), meta(tree.NewDir("empty", 0o1777)),
		withXattrs(meta(tree.NewDir("dirx", 0o700, file("\xff\n\\odd", text(3)), file(strings.Repeat("L", 255), text(4)))),
			tree.Xattr{Name: "user.d", Value: "v"}))
	root := meta(tree.NewDir("", 0o755, kids...))
	return root
}

// codecs are those that the library can write.
func codecs(lib *codec.Library) []codec.ID {
	var out []codec.ID
	for _, d := range lib.Describe() {
		if d.Compress {
			out = append(out, d.ID)
		}
	}
	return out
}

// quick returns default options with the effort turned down, for what is tested
// here is not compression.
func quick(id codec.ID, blockSize int) codec.Options {
	o := codec.DefaultOptions(id, blockSize)
	switch id {
	case codec.Gzip:
		o.Level = 2
	case codec.LZO:
		o.Level, o.Algorithm = 0, codec.LZO1X1
	case codec.Zstd:
		o.Level = 2
	}
	return o
}

// Read(Write(t)) == t, and Verify finds nothing in what is written.
func TestReadWriteRoundTrip(t *testing.T) {
	for _, mode := range []codec.Mode{codec.Go, codec.Auto} {
		lib, err := codec.Open(mode)
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range codecs(lib) {
			for _, bs := range []int{4096, 131072, 1 << 20} {
				if bs > 4096 && (mode == codec.Go || id == codec.XZ) || bs > 131072 && id != codec.LZ4 {
					continue
				}
				for i, flags := range []uint16{
					FlagDuplicates | FlagExportable, FlagAlwaysFragments | FlagUncompressedIDs, FlagNoFragments | FlagExportable,
					FlagUncompressedData | FlagUncompressedFragments | FlagUncompressedInodes | FlagUncompressedXattrs,
				} {
					if i > 0 && (bs > 4096 || mode == codec.Go || id == codec.XZ) && id != codec.LZ4 {
						continue
					}
					t.Run(fmt.Sprintf("%v/%v/%d/%#x", mode, id, bs, flags), func(t *testing.T) {
						t.Parallel()
						root := sampleTree(uint64(bs), bs)
						o := WriteOptions{Library: lib, Codec: quick(id, bs), BlockSize: bs, Flags: flags}
						img, _ := writeImage(t, root, o)
						r := openImage(t, img, lib)
						if d := differences(t, root, rootOf(t, r)); d != "" {
							t.Errorf("Read(Write(t)) differs:\n%s", d)
						}
						verifyClean(t, r)
						if got := r.super.Flags & chosenFlags; got != flags {
							t.Errorf("flags %#x", got)
						}
					})
				}
			}
		}
	}
}

func fixedRand() *oldrand.Rand { return oldrand.New(oldrand.NewSource(3)) }

// An image as an fs.FS does what testing/fstest asks of one.
func TestWrittenAsFS(t *testing.T) {
	root := tree.NewDir("", 0o755, tree.NewFile("file", 0o644, bytes.Repeat([]byte("content "), 3000)), tree.NewFile("empty", 0o600, nil),
		tree.NewDir("dir", 0o1755, tree.NewFile("tail", 0o644, []byte("tail")), tree.NewDir("none", 0o700)),
		tree.NewFile("\xff", 0o644, nil))
	image, _ := writeImage(t, root, WriteOptions{Library: library(t), Codec: quick(codec.LZ4, 4096), BlockSize: 4096})
	r := openImage(t, image, library(t))
	if err := fstest.TestFS(tree.FS(rootOf(t, r)), "file", "empty", "dir/tail", "dir/none"); err != nil {
		t.Error(err)
	}
}
