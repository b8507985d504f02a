package squash

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"relive/codec"
	"relive/squash/internal/ondisk"
	"relive/tree"
	"relive/tree/systest"
)

func lz4Options(t testing.TB, blockSize int) WriteOptions {
	t.Helper()
	return WriteOptions{Library: library(t), Codec: quick(codec.LZ4, blockSize), BlockSize: blockSize,
		Flags: FlagDuplicates | FlagExportable}
}

// islands is a Data of that size with text at some offsets and holes between.
type islands struct {
	size int64
	at   []int64
	text string
}

func (d islands) Open() (tree.Content, error) { return d, nil }
func (d islands) Size() int64                 { return d.size }
func (d islands) Close() error                { return nil }

func (d islands) ReadAt(p []byte, off int64) (n int, err error) {
	if off >= d.size {
		return 0, io.EOF
	}
	if int64(len(p)) > d.size-off {
		p, err = p[:d.size-off], io.EOF
	}
	clear(p)
	for _, at := range d.at {
		if at < off+int64(len(p)) && at+int64(len(d.text)) > off {
			from := max(at, off)
			copy(p[from-off:], d.text[from-at:])
		}
	}
	return len(p), err
}

func (d islands) NextData(off int64) (start, end int64, err error) {
	for _, at := range d.at {
		if end := at + int64(len(d.text)); end > off {
			return max(at, off), end, nil
		}
	}
	return 0, 0, io.EOF
}

func sparseFile(name string, d islands) *tree.Node {
	n := tree.NewFile(name, 0o644, nil)
	n.Size, n.Data = d.size, d
	return n
}

// Files of 8 GiB that are nearly all holes take no time, the first time, as
// duplicates, reused, and changed.
func TestWriteSparse(t *testing.T) {
	began := time.Now()
	const size = 8<<30 + 12345
	d := islands{size, []int64{0, 131072*5 - 3, 5 << 30, size - 4}, "text"}
	root := tree.NewDir("", 0o755, sparseFile("a", d), sparseFile("b", d), sparseFile("hole", islands{size: 8 << 30}),
		sparseFile("hole2", islands{size: 8 << 30}))
	o := lz4Options(t, 131072)
	image, plan := writeImage(t, root, o)
	if plan.Stats.DuplicateFiles != 2 {
		t.Errorf("%+v", plan.Stats)
	}
	base := openImage(t, image, o.Library)
	sameTree(t, "sparse", root, rootOf(t, base))
	verifyClean(t, base)

	changed := d
	changed.at = []int64{0, 131072*5 - 3, 6 << 30, size - 4}
	n := *sparseFile("", changed)
	n.Was = lookup(t, rootOf(t, base), "a").Data
	root = apply(t, rootOf(t, base), func(e *tree.Edits) { e.Put("a", &n) })
	image, plan = writeImage(t, root, o)
	again := openImage(t, image, o.Library)
	sameTree(t, "changed", root, rootOf(t, again))
	if plan.Stats.MixedFiles != 1 || plan.Stats.CompressBytes != 131072 {
		t.Errorf("%+v", plan.Stats)
	}
	n2 := lookup(t, rootOf(t, again), "a")
	c, err := n2.Open()
	if err != nil {
		t.Fatal(err)
	}
	if start, end, err := c.NextData(6 * 131072); err != nil || start != 6<<30 || end != 6<<30+131072 {
		t.Errorf("data at %d to %d, %v", start, end, err)
	}
	if took := time.Since(began); took > systest.Within(20*time.Second) {
		t.Errorf("took %v", took)
	}
}

// Blocks and files beyond 4 GiB need the extended inode; the kernel follows
// offsets beyond 4 GiB.
func TestWriteBeyond4GiB(t *testing.T) {
	kids := []*tree.Node{sparseFile("sparse", islands{5 << 30, []int64{0, 5<<30 - 4}, "text"})}
	for i := range 5 {
		kids = append(kids, tree.NewFile(fmt.Sprint("f", i), 0o644, []byte(strings.Repeat(fmt.Sprint("file ", i), 4000*i))))
	}
	root := tree.NewDir("", 0o755, kids...)
	o := lz4Options(t, 4096)
	p, err := NewPlan(context.Background(), root, o)
	if err != nil {
		t.Fatal(err)
	}
	// The image begins with 5 GiB of nothing, where its first blocks could be.
	out, err := os.Create(filepath.Join(t.TempDir(), "far.sqfs"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	dw := &dataWriter{plan: p, ctx: context.Background(), out: out, pos: 5 << 30}
	if err := dw.run(); err != nil {
		t.Fatal(err)
	}
	mw := &metaWriter{plan: p, ctx: context.Background(), out: out, pos: dw.pos, fragments: dw.fragments}
	if _, err := mw.run(); err != nil {
		t.Fatal(err)
	}
	base := openFile(t, out.Name())
	sameTree(t, "far", root, rootOf(t, base))
	again, _ := writeImage(t, rootOf(t, base), o)
	if len(again) > 1<<20 {
		t.Errorf("what is copied of it takes %d bytes", len(again))
	}
	sameTree(t, "copied", root, rootOf(t, openImage(t, again, o.Library)))
	sameTree(t, "the kernel's view", root, hostTree(t, mount(t, out.Name())))
}

// The extended form is taken where, and only where, the basic one cannot hold
// the inode.
func TestFileInodeForms(t *testing.T) {
	w := &metaWriter{plan: &Plan{o: WriteOptions{BlockSize: 4096}}}
	data := []uint32{1, 2, 3}
	for _, c := range []struct {
		name string
		f    file
		h    ondisk.InodeHead
		ext  bool
	}{
		{"plain", file{size: 10, start: 96}, ondisk.InodeHead{Nlink: 1}, false},
		{"largest basic", file{size: 1<<32 - 1, start: 1<<32 - 1}, ondisk.InodeHead{Nlink: 1}, false},
		{"far", file{size: 10, start: 1 << 32}, ondisk.InodeHead{Nlink: 1}, true},
		{"large", file{size: 1 << 32}, ondisk.InodeHead{Nlink: 1}, true},
		{"sparse", file{size: 3 * 4096, words: []uint32{1, 0, 3}}, ondisk.InodeHead{Nlink: 1, Sparse: 4096}, true},
		{"linked", file{size: 10}, ondisk.InodeHead{Nlink: 2}, true},
	} {
		sparse := c.h.Sparse
		c.h.Type, c.h.Xattr = ondisk.InodeFile, ondisk.NoXattr
		if c.f.words == nil {
			c.f.words = data
		}
		b := w.fileInode(nil, &c.h, &c.f)
		if got := c.h.Type == ondisk.InodeExtFile; got != c.ext || len(b) != c.h.Type.HeadSize()+12 {
			t.Errorf("%s: %v of %d bytes", c.name, c.h.Type, len(b))
		}
		if c.h.Start != uint64(c.f.start) || c.h.FileSize != uint64(c.f.size) || c.h.Sparse != sparse {
			t.Errorf("%s: %+v", c.name, c.h)
		}
	}
}

// A directory of 70,000 names: the kernel lists each, finds those that it is
// asked for, in every block of the listing, and none that is not there.
func TestWriteLargeDirectory(t *testing.T) {
	const entries = 70000
	var kids []*tree.Node
	for i := range entries {
		n := tree.NewFile(fmt.Sprintf("%x-%s", uint32(i)*2654435761, strings.Repeat("x", i%30)), 0o644, nil)
		n.UID = uint32(i % 60000)
		kids = append(kids, n)
	}
	long := tree.NewFile(strings.Repeat("n", 255), 0o644, []byte("long"))
	root := tree.NewDir("", 0o755, tree.NewDir("many", 0o755, kids...), long)
	path, _ := writeFile(t, root, lz4Options(t, 4096))
	r := openFile(t, path)
	verifyClean(t, r)
	sameTree(t, "large directory", root, rootOf(t, r))
	dir := lookup(t, rootOf(t, r), "many")
	at := mount(t, path)
	f, err := os.Open(at + "/many")
	if err != nil {
		t.Fatal(err)
	}
	names, err := f.Readdirnames(-1)
	if f.Close(); err != nil || len(names) != entries {
		t.Fatalf("the kernel lists %d names, %v", len(names), err)
	}
	for i, k := range kids { // NewDir has sorted them
		if names[i] != k.Name {
			t.Fatalf("the kernel lists %s, not %s", names[i], k.Name)
		}
	}
	var st unix.Stat_t
	for i, k := range kids {
		if i%25 != 0 && i != entries-1 {
			continue
		}
		if err := unix.Lstat(at+"/many/"+k.Name, &st); err != nil || st.Uid != k.UID {
			t.Fatalf("%s: uid %d, %v", k.Name, st.Uid, err)
		}
		if i%500 == 0 {
			if n, err := dir.Child(k.Name); err != nil || n == nil || n.UID != k.UID {
				t.Fatalf("%s: %v, %v", k.Name, n, err)
			}
			if err := unix.Lstat(at+"/many/"+k.Name+"!", &st); !errors.Is(err, unix.ENOENT) {
				t.Errorf("%s!: %v", k.Name, err)
			}
		}
	}
}

// A thousand levels of directories, down to a file.
func TestWriteDeep(t *testing.T) {
	const levels = 1000
	n := tree.NewFile("f", 0o644, []byte("bottom"))
	for i := range levels {
		n = tree.NewDir("d", 0o755, n, tree.NewFile("side", uint16(i%512), nil))
	}
	n.Name = ""
	path, _ := writeFile(t, n, lz4Options(t, 4096))
	r := openFile(t, path)
	verifyClean(t, r)
	sameTree(t, "deep", n, rootOf(t, r))
	b, err := os.ReadFile(mount(t, path) + strings.Repeat("/d", levels-1) + "/f")
	if err != nil || string(b) != "bottom" {
		t.Errorf("%q, %v", b, err)
	}
}

// Link counts are those of the names that the image has, not of those that a
// layer hides.
func TestWriteHardLinks(t *testing.T) {
	linked := tree.NewFile("", 0o644, []byte("linked"))
	linked.Inode, linked.Nlink = tree.Inode{Source: linked, Number: 1}, 4
	alone := *linked
	alone.Inode.Number = 2
	fifo := &tree.Node{Meta: tree.Meta{Type: tree.FIFO, Perm: 0o600}, Inode: tree.Inode{Source: linked, Number: 3}, Nlink: 2}
	no := tree.NewFile("no-inode", 0o644, nil)
	no.Nlink = 5
	root := apply(t, tree.NewDir("", 0o755, no), func(e *tree.Edits) {
		for path, n := range map[string]*tree.Node{"a": linked, "d/b": linked, "z": linked, "d/alone": &alone, "p1": fifo, "p2": fifo} {
			e.Put(path, n)
		}
	})
	path, plan := writeFile(t, root, lz4Options(t, 4096))
	verifyClean(t, openFile(t, path))
	if plan.Stats.Inodes != 6 || plan.Stats.Files != 3 {
		t.Errorf("%+v", plan.Stats)
	}
	at := mount(t, path)
	inodes := map[string]uint64{}
	for name, want := range map[string]uint64{"a": 3, "d/b": 3, "z": 3, "d/alone": 1, "p1": 2, "p2": 2, "no-inode": 1, ".": 3, "d": 2} {
		var st unix.Stat_t
		if err := unix.Lstat(filepath.Join(at, name), &st); err != nil || uint64(st.Nlink) != want {
			t.Errorf("%s: %d links, %v", name, st.Nlink, err)
		}
		inodes[name] = st.Ino
	}
	if inodes["a"] != inodes["z"] || inodes["a"] != inodes["d/b"] || inodes["p1"] != inodes["p2"] || inodes["a"] == inodes["d/alone"] {
		t.Errorf("inodes %v", inodes)
	}
}

// What SquashFS cannot hold is refused before anything is written, or counted.
func TestWriteRefuses(t *testing.T) {
	dir := func(kids ...*tree.Node) *tree.Node { return tree.NewDir("", 0o755, kids...) }
	owners := func(n int) *tree.Node {
		var kids []*tree.Node
		for i := range n - 1 {
			k := tree.NewFile(fmt.Sprintf("%05d", i), 0o644, nil)
			k.UID, k.GID = uint32(i+1), uint32(i+1)
			kids = append(kids, k)
		}
		return dir(kids...)
	}
	device := func(major, minor uint32) *tree.Node {
		return &tree.Node{Name: "dev", Meta: tree.Meta{Type: tree.BlockDevice, Rdev: tree.Rdev{Major: major, Minor: minor}}}
	}
	hollow := tree.NewFile("hollow", 0o644, []byte("x"))
	hollow.Data = nil
	named := func(name string) *tree.Node {
		return &tree.Node{Meta: dir().Meta, Dir: tree.List{tree.NewFile(name, 0o644, nil)}}
	}
	xattr := tree.NewFile("x", 0o644, nil)
	xattr.Xattrs = tree.Xattrs{{Name: "user.x", Value: strings.Repeat("v", 65537)}}
	for _, c := range []struct {
		name string
		root *tree.Node
		want string // of the error, or none
	}{
		{"65535 owners", owners(65535), ""},
		{"65536 owners", owners(65536), "65535 different owners"},
		{"device 4095:1048575", dir(device(4095, 1<<20-1)), ""},
		{"device 4096:0", dir(device(4096, 0)), "/dev: device number 4096:0"},
		{"device 0:1048576", dir(device(0, 1<<20)), "/dev: device number"},
		{"target of 4095", dir(tree.NewSymlink("s", strings.Repeat("t", 4095))), ""},
		{"target of 4096", dir(tree.NewSymlink("s", strings.Repeat("t", 4096))), "/s: symlink target of 4096 bytes"},
		{"name of 255", named(strings.Repeat("n", 255)), ""},
		{"name of 256", named(strings.Repeat("n", 256)), "256 bytes"},
		{"name with a slash", named("a/b"), "slash"},
		{"name ..", named(".."), ".."},
		{"empty name", named(""), "empty"},
		{"no data", dir(hollow), "/hollow"},
		{"too many blocks", dir(sparseFile("s", islands{size: 4096*maxStoredBlocks + 1})), "more than"},
		{"xattr of 65537", dir(xattr), "/x: attribute"},
	} {
		p, err := NewPlan(context.Background(), c.root, lz4Options(t, 4096))
		if c.want == "" && err == nil {
			_, err = p.Write(context.Background(), &memory{}, 0)
		}
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v", c.name, err)
		}
	}

	// A directory that lists out of order makes no image.
	root := &tree.Node{Meta: dir().Meta, Dir: tree.List{tree.NewFile("b", 0o644, nil), tree.NewFile("a", 0o644, nil)}}
	p, err := NewPlan(context.Background(), root, lz4Options(t, 4096))
	if err == nil {
		_, err = p.Write(context.Background(), &memory{}, 0)
	}
	if err == nil {
		t.Error("names out of order are no error")
	}

	for _, change := range []func(*WriteOptions){
		func(o *WriteOptions) { o.BlockSize = 2048 },
		func(o *WriteOptions) { o.BlockSize = 2 << 20 },
		func(o *WriteOptions) { o.BlockSize = 5000 },
		func(o *WriteOptions) { o.Flags = FlagCompressorOptions },
		func(o *WriteOptions) { o.Library = nil },
		func(o *WriteOptions) { o.Codec.ID = codec.LZMA },
	} {
		o := lz4Options(t, 4096)
		change(&o)
		p, err := NewPlan(context.Background(), dir(), o)
		if err == nil {
			_, err = p.Write(context.Background(), &memory{}, 0)
		}
		if err == nil {
			t.Errorf("%+v is no error", o)
		}
	}
}

// What is lost is counted: nanoseconds, times out of range, attributes.
func TestWriteLosses(t *testing.T) {
	file := func(name string, at tree.Time, x ...tree.Xattr) *tree.Node {
		n := tree.NewFile(name, 0o644, nil)
		n.Mtime, n.Xattrs = at, x
		return n
	}
	root := tree.NewDir("", 0o755, file("a", tree.Time{Sec: 5, Nsec: 1}), file("b", tree.Time{Sec: -1}),
		file("c", tree.Time{Sec: 1 << 32, Nsec: 3}),
		file("d", tree.Time{Sec: 1<<32 - 1}, tree.Xattr{Name: "system.posix_acl_access", Value: "x"},
			tree.Xattr{Name: "user.y", Value: "y"}),
		file("e", tree.Time{}, tree.Xattr{Name: "system.posix_acl_access", Value: "x"}, tree.Xattr{Name: "odd.name"}))
	o := lz4Options(t, 4096)
	image, plan := writeImage(t, root, o)
	st := plan.Stats
	if st.Nanoseconds != 2 || st.TimesOutOfRange != 2 || fmt.Sprint(st.DroppedXattrs) != "map[odd.name:1 system.posix_acl_access:2]" {
		t.Errorf("%+v", st)
	}
	got := rootOf(t, openImage(t, image, o.Library))
	if x := lookup(t, got, "d").Xattrs; len(x) != 1 || x[0].Name != "user.y" {
		t.Errorf("attributes %v", x)
	}
	for path, want := range map[string]int64{"a": 5, "b": 0, "c": 1<<32 - 1, "d": 1<<32 - 1} {
		if at := lookup(t, got, path).Mtime; at != (tree.Time{Sec: want}) {
			t.Errorf("%s: %v", path, at)
		}
	}
	o.Flags |= FlagNoXattrs
	image, plan = writeImage(t, root, o)
	if r := openImage(t, image, o.Library); r.super.XattrTableStart != ondisk.NoTable || plan.Stats.DroppedXattrs["user.y"] != 1 {
		t.Errorf("without attributes: %+v", plan.Stats)
	}
}

// The report and the superblock tell the same, and the tables are all that is
// not data.
func TestWriteReport(t *testing.T) {
	root, o := mixedTree(t, FlagDuplicates|FlagExportable)
	p, err := NewPlan(context.Background(), root, o)
	if err != nil {
		t.Fatal(err)
	}
	var m memory
	rep, err := p.Write(context.Background(), &m, 0)
	if err != nil {
		t.Fatal(err)
	}
	sb := openImage(t, m.b, o.Library).super
	if rep.Size != int64(len(m.b)) || rep.BytesUsed != int64(sb.BytesUsed) || rep.Fragments != sb.FragmentCount ||
		rep.Inodes != sb.InodeCount ||
		rep.DataBytes+rep.TableBytes != rep.BytesUsed || uint64(rep.Inodes) != p.Stats.Inodes ||
		rep.DataBytes != int64(sb.InodeTableStart)-p.dataStart() {
		t.Errorf("%+v of %+v", rep, sb)
	}
}
