package erofs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"relive/codec"
	"relive/tree"
	"relive/tree/systest"
)

// sparseData is content with data at its end alone.
type sparseData struct {
	size int64
	tail string
}

func (d sparseData) Open() (tree.Content, error) { return d, nil }
func (d sparseData) Size() int64                 { return d.size }
func (d sparseData) Close() error                { return nil }
func (d sparseData) ReadAt(p []byte, off int64) (int, error) {
	n := int(min(int64(len(p)), d.size-off))
	clear(p[:n])
	if at := d.size - int64(len(d.tail)) - off; at < int64(n) {
		copy(p[max(at, 0):n], d.tail[max(-at, 0):])
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}
func (d sparseData) NextData(off int64) (int64, int64, error) {
	if off >= d.size {
		return 0, 0, io.EOF
	}
	return max(off, d.size-int64(len(d.tail))), d.size, nil
}

// limitsTree is a tree at the limits of what EROFS holds.
func limitsTree(links int) *tree.Node {
	var kids []*tree.Node
	sparse := tree.NewFile("sparse", 0o644, nil)
	sparse.Size, sparse.Data = 4<<30+5, sparseData{4<<30 + 5, "the end"}
	kids = append(kids, sparse, tree.NewDir(strings.Repeat("d", 255), 0o755, tree.NewFile(strings.Repeat("\xff", 255), 0o644, []byte("x"))))
	first := tree.NewFile("", 0o644, []byte("linked"))
	var names []*tree.Node
	for i := range links {
		n := *first
		n.Name, n.Nlink, n.Inode = fmt.Sprintf("l%d", i), uint32(links), tree.Inode{Source: first, Number: 1}
		names = append(names, &n)
	}
	kids = append(kids, tree.NewDir("links", 0o755, names...))
	owned := tree.NewFile("owned", 0o6777, []byte("x"))
	owned.UID, owned.GID, owned.Mtime = 1<<32-2, 70000, tree.Time{Sec: -1 << 31, Nsec: 999999999}
	large := tree.NewFile("xattr", 0o644, []byte("x"))
	large.Xattrs = tree.Xattrs{{Name: "trusted." + strings.Repeat("n", 247), Value: strings.Repeat("v", 65535)}}
	many := tree.NewFile("xattrs", 0o644, []byte("x"))
	twin := tree.NewFile("xattrs2", 0o644, []byte("x"))
	third := tree.NewFile("xattrs3", 0o644, []byte("x"))
	for i := range 300 { // more than a body has ids for
		many.Xattrs = append(many.Xattrs, tree.Xattr{Name: fmt.Sprintf("trusted.%03d", i), Value: "value"})
	}
	twin.Xattrs, third.Xattrs = many.Xattrs, many.Xattrs
	late := tree.NewFile("late", 0o644, []byte("x"))
	late.Mtime = tree.Time{Sec: 1 << 33}
	return tree.NewDir("", 0o755, append(kids, owned, large, many, twin, third, late)...)
}

// What is at the limits of the format is shown by the kernel as it is.
func TestWriteLimits(t *testing.T) {
	for _, o := range []WriteOptions{
		{Compressions: []Compression{{Algorithm: codec.RawLZ4}}, Configs: true, PclusterSize: 65536, Fragments: true},
		{Compressions: []Compression{{Algorithm: codec.RawLZ4}}, ChunkSize: 4096, UnsharedXattrs: 2, Compact: true},
	} {
		root := limitsTree(65536 + 3)
		b, _ := writeImage(t, root, o)
		r := openBytes(t, b)
		if d := differences(t, root, rootOf(t, r)); d != "" {
			t.Errorf("differs:\n%.2000s", d)
		}
		if len(b) > 64<<20 {
			t.Errorf("%d bytes", len(b))
		}
		if testing.Short() {
			continue
		}
		systest.NeedRoot(t)
		systest.NeedFilesystems(t, "erofs")
		if d := differences(t, root, mounted(t, b)); d != "" {
			t.Errorf("the kernel shows another tree:\n%.2000s", d)
		}
	}
}

// What EROFS cannot hold, and options that cannot be, are refused.
func TestWriteRefused(t *testing.T) {
	lz4 := []Compression{{Algorithm: codec.RawLZ4}}
	with := func(n *tree.Node) *tree.Node { return tree.NewDir("", 0o755, n) }
	ok := tree.NewFile("f", 0o644, []byte("x"))
	wide := *ok
	wide.Xattrs = tree.Xattrs{{Name: "user.x", Value: strings.Repeat("v", 65536)}}
	huge := *ok
	huge.Size = compressedMax + 1
	for _, c := range []struct {
		root *tree.Node
		o    WriteOptions
		want string
	}{
		{ok, WriteOptions{}, "the root is a file, not a directory"},
		{with(&wide), WriteOptions{}, `/f: attribute "user.x" with a value of 65536 bytes is larger than EROFS can hold`},
		{with(&huge), WriteOptions{}, "/f: a file of 274877906945 bytes is longer than 274877906944"},
		{with(tree.NewSymlink("l", strings.Repeat("x", 4096))), WriteOptions{}, "/l: symlink target of 4096 bytes; EROFS holds 1 to 4095"},
		{with(&tree.Node{Name: "d", Meta: tree.Meta{Type: tree.CharDevice, Rdev: tree.Rdev{Major: 4096}}}), WriteOptions{},
			"/d: device number 4096:0 is larger than EROFS can hold"},
		{with(ok), WriteOptions{Compressions: lz4, PclusterSize: 8192},
			"without configurations (feature compr_cfgs) there is LZ4 alone, in pclusters of 4096 bytes"},
		{with(ok), WriteOptions{Compressions: lz4, Configs: true, PclusterSize: 2 << 20},
			"a pcluster size of 2097152 is no multiple of 4096 up to 1048576"},
		{with(ok), WriteOptions{Fragments: true}, "fragments, compressed tails and dedupe need a compression"},
		{with(ok), WriteOptions{ChunkSize: 5000}, "a chunk size of 5000 is no power of two from 4096 to 16777216"},
		{with(ok), WriteOptions{Label: strings.Repeat("l", 17)}, "a label of 17 bytes is longer than 16"},
		{with(ok), WriteOptions{Compressions: append(lz4, lz4...), Configs: true}, "lz4 is named twice"},
		{with(ok), WriteOptions{Compressions: []Compression{{Algorithm: 7}}}, "algorithm 7 cannot be written"},
	} {
		c.o.Library = library(t)
		if _, err := NewPlan(t.Context(), c.root, c.o); err == nil || err.Error() != c.want {
			t.Errorf("%v, not %s", err, c.want)
		}
	}
}

// An image with what is not written is refused by name.
func TestWriteOptionsLikeRefused(t *testing.T) {
	for name, want := range map[string]string{
		"plain-48bit-193":    "superblock: the image has 48-bit addresses (feature 48BIT, 0x80), which are read and not written",
		"part-bs512-194":     "superblock: the image has blocks of 512 bytes, not 4096, which are read and not written",
		"zstd-bs1024-193":    "superblock: the image has blocks of 1024 bytes, not 4096, which are read and not written",
		"part-48bit-lz4-194": "superblock: the image has 48-bit addresses (feature 48BIT, 0x80), which are read and not written",
	} {
		_, err := WriteOptionsLike(openBytes(t, fixture(t, name)))
		if !errors.Is(err, tree.ErrUnsupported) || err.Error() != "image: "+want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// failingOut fails one write.
type failingOut struct {
	memory
	n    int
	fail int
}

var errWrite = errors.New("the disk is full")

func (f *failingOut) WriteAt(p []byte, off int64) (int, error) {
	f.mu.Lock()
	n := f.n
	f.n++
	f.mu.Unlock()
	if n == f.fail {
		return 0, errWrite
	}
	return f.memory.WriteAt(p, off)
}

// Every write that fails is told, and nothing is left running; so is a context that
// ends.
func TestWriteFails(t *testing.T) {
	o := WriteOptions{Library: library(t), Compressions: []Compression{{Algorithm: codec.RawLZ4}}, Configs: true, PclusterSize: 16384,
		Fragments: true}
	b, _ := writeImage(t, sampleTree(), o)
	r := openBytes(t, b)
	root := changeTree(t, newTreeMaker(11), rootOf(t, r), 0)
	p, err := NewPlan(t.Context(), root, o)
	if err != nil {
		t.Fatal(err)
	}
	count := failingOut{fail: -1}
	if _, err := p.Write(t.Context(), &count, 0); err != nil {
		t.Fatal(err)
	}
	step := 1 + count.n/40
	for n := 0; n < count.n; n += step {
		if _, err := p.Write(t.Context(), &failingOut{fail: n}, 0); !errors.Is(err, errWrite) {
			t.Errorf("write %d of %d: %v", n, count.n, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Write(ctx, &memory{}, 0); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// An image may be written at an offset, and by a plan again.
func TestWriteAtOffset(t *testing.T) {
	o := WriteOptions{Library: library(t), Compressions: []Compression{{Algorithm: codec.RawLZ4}}, Tails: true, Label: "a label",
		UUID: [16]byte{1, 2, 3}}
	p, err := NewPlan(t.Context(), sampleTree(), o)
	if err != nil {
		t.Fatal(err)
	}
	var a, b memory
	if _, err := p.Write(t.Context(), &a, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Write(t.Context(), &b, 8192); err != nil {
		t.Fatal(err)
	}
	if string(b.b[8192:]) != string(a.b) || string(b.b[:8192]) != string(make([]byte, 8192)) {
		t.Error("another image at an offset")
	}
	if i := openBytes(t, a.b).Info(); i.Label != "a label" || i.UUID != o.UUID {
		t.Errorf("%+v", i)
	}
}
