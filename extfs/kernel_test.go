package extfs

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"relive/extfs/internal/ondisk"
	"relive/tree"
	"relive/tree/hostfs"
	"relive/tree/systest"
)

// mkfs makes an image of that many MiB.
func mkfs(t testing.TB, mib int, args ...string) string {
	t.Helper()
	img := filepath.Join(systest.MemDir(t), "image")
	systest.BlankAt(t, img, int64(mib)<<20)
	args = append([]string{"-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0"}, args...)
	systest.Run(t, "mke2fs", append(args, img)...)
	return img
}

// mount mounts an image.
func mount(t testing.TB, img, options string) (dir string, umount func()) {
	t.Helper()
	return systest.Mount(t, "ext4", "loop,"+options, img)
}

func openImage(t testing.TB, img string, opts ...Option) *FS {
	t.Helper()
	f, size := systest.OpenFile(t, img)
	fs, err := Open(f, size, "image", opts...)
	systest.Must(t, err)
	return fs
}

// compareTrees reports every difference, hard links, link counts and holes
// among them, and gives the number of paths.
func compareTrees(t testing.TB, got, want *tree.Node, sameHoles bool) int {
	t.Helper()
	// The kernel counts unwritten blocks as data once they have been read.
	wanted := make(map[string]*tree.Node)
	data := make(map[string]string)
	err := tree.Walk(t.Context(), want, func(path string, n *tree.Node) error {
		wanted[path] = n
		data[path] = holeMap(t, n)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	err = tree.Compare(t.Context(), got, want, tree.CompareOptions{Links: true}, func(c tree.Change) error {
		t.Errorf("%s: %s\n got %+v\nwant %+v", tree.Quote(c.Path), c.Diff, describe(c.A), describe(c.B))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	err = tree.Walk(t.Context(), got, func(path string, g *tree.Node) error {
		n++
		if t.Failed() {
			return nil
		}
		w := wanted[path]
		if g.Nlink != w.Nlink {
			t.Errorf("%s: %d links, want %d", tree.Quote(path), g.Nlink, w.Nlink)
		}
		if a, b := holeMap(t, g), data[path]; sameHoles && a != b {
			t.Errorf("%s: data at %s, want %s", tree.Quote(path), a, b)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func describe(n *tree.Node) any {
	if n == nil {
		return nil
	}
	return struct {
		tree.Meta
		tree.Xattrs
	}{n.Meta, n.Xattrs}
}

// holeMap lists a file's ranges of data.
func holeMap(t testing.TB, n *tree.Node) string {
	if n.Type != tree.Regular {
		return ""
	}
	c, err := n.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var b strings.Builder
	for off := int64(0); ; {
		start, end, err := c.NextData(off)
		if errors.Is(err, io.EOF) {
			return b.String()
		}
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%d-%d ", start, end)
		off = end
	}
}

// compareWithKernel compares an image with what the kernel shows of it,
// mounted read-only.
func compareWithKernel(t testing.TB, fs *FS, img string) int {
	t.Helper()
	dir, umount := mount(t, img, "ro")
	defer umount()
	want, err := hostfs.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return compareTrees(t, rootOf(t, fs), want, true)
}

// filler writes odd content into a mounted file system.
type filler struct {
	t     testing.TB
	dir   string
	bs    int64
	files int  // in the large directory
	small bool // leave out what needs many blocks
	rnd   *rand.Rand
}

func (f *filler) path(name string) string { return filepath.Join(f.dir, name) }

func (f *filler) ok(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

// maybe passes over what this file system cannot hold.
func (f *filler) maybe(err error) {
	f.t.Helper()
	if err != nil && !errors.Is(err, unix.ENOSPC) && !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.E2BIG) &&
		!errors.Is(err, unix.ERANGE) && !errors.Is(err, unix.EFBIG) {
		f.t.Fatal(err)
	}
}

func (f *filler) bytes(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(f.rnd.Uint32())
	}
	return p
}

func (f *filler) write(name string, p []byte) string {
	f.t.Helper()
	path := f.path(name)
	f.ok(os.WriteFile(path, p, 0o644))
	return path
}

func (f *filler) all() {
	f.names()
	f.contents()
	f.mappings()
	f.links()
	f.devices()
	f.attributes()
	f.metadata()
	f.directories()
}

func (f *filler) names() {
	f.ok(os.Mkdir(f.path("names"), 0o755))
	for _, n := range []string{strings.Repeat("n", 255), "new\nline", "back\\slash", " ", "-", "\xff\xfe", "\x80", "\x01", "ä€😀", ".hidden",
		"..."} {
		f.write("names/"+n, []byte(n))
	}
}

func (f *filler) contents() {
	f.ok(os.Mkdir(f.path("sizes"), 0o755))
	for _, n := range []int{0, 1, 3, 59, 60, 61, 63, 64, 100, 127, 128, 130, 150, 156, 160, 161, 200, 600, 700, 1023, 1024, 1025, 4095,
		4096, 4097, 70000} {
		f.write(fmt.Sprintf("sizes/%d", n), f.bytes(n))
	}
	f.ok(os.Truncate(f.write("sizes/grown", []byte("abc")), 100))
	f.ok(os.Truncate(f.write("sizes/shrunk", f.bytes(150)), 70))
	f.ok(os.Truncate(f.write("sizes/longer", []byte("abc")), 5000))
}

func (f *filler) mappings() {
	f.ok(os.Mkdir(f.path("maps"), 0o755))
	sparse, err := os.Create(f.path("maps/sparse"))
	f.ok(err)
	defer sparse.Close()
	// With 1 KiB blocks this reaches all three levels of indirect blocks.
	for _, off := range []int64{0, 5 * f.bs, 11 * f.bs, 12 * f.bs, 13 * f.bs, (12 + f.bs/4) * f.bs, (12 + f.bs/4 - 1) * f.bs,
		(12 + f.bs/4 + f.bs/4*f.bs/4) * f.bs, 100<<20 + 17, 1<<30 + 1} {
		_, err := sparse.WriteAt([]byte(fmt.Sprint("at ", off)), off)
		f.maybe(err)
	}
	f.ok(sparse.Truncate(2<<30 + 12345))
	f.ok(os.Truncate(f.write("maps/all-hole", nil), 10<<20))

	if unwritten, err := os.Create(f.path("maps/unwritten")); err == nil {
		f.maybe(unix.Fallocate(int(unwritten.Fd()), 0, 0, 40*f.bs))
		f.maybe(unix.Fallocate(int(unwritten.Fd()), unix.FALLOC_FL_KEEP_SIZE, 60*f.bs, 40*f.bs))
		for _, off := range []int64{0, 7*f.bs + 3, 20 * f.bs} {
			_, err := unwritten.WriteAt(f.bytes(100), off)
			f.ok(err)
		}
		f.ok(unwritten.Close())
	}
	// Every other block: an extent each, in a tree of two levels or more.
	n := int64(1500)
	if f.small {
		n = 60
	}
	frag, err := os.Create(f.path("maps/fragments"))
	f.ok(err)
	defer frag.Close()
	for i := range n {
		_, err := frag.WriteAt(f.bytes(16), 2*i*f.bs)
		f.ok(err)
	}
	whole := f.write("maps/whole", f.bytes(2<<20))
	f.write("maps/truncated", f.bytes(1<<20))
	f.ok(os.Truncate(f.path("maps/truncated"), 300_001))
	punch, err := os.OpenFile(whole, os.O_RDWR, 0)
	f.ok(err)
	f.maybe(unix.Fallocate(int(punch.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 100_000, 300_000))
	f.maybe(unix.Fallocate(int(punch.Fd()), unix.FALLOC_FL_ZERO_RANGE, 800_000, 100_000))
	f.ok(punch.Close())
}

func (f *filler) links() {
	f.ok(os.Mkdir(f.path("links"), 0o755))
	for _, n := range []int{1, 20, 58, 59, 60, 61, 100, 150, 160, 500, int(min(f.bs, 4096)) - 1} {
		f.ok(os.Symlink(strings.Repeat("t", n), f.path(fmt.Sprintf("links/sym%d", n))))
	}
	f.ok(os.Symlink("\xff\x01/../x", f.path("links/odd")))
	one := f.write("links/one", []byte("linked"))
	f.ok(os.Link(one, f.path("links/two")))
	f.ok(os.Link(one, f.path("three")))
	f.ok(os.Link(f.path("links/sym20"), f.path("links/sym20-again")))
}

func (f *filler) devices() {
	f.ok(os.Mkdir(f.path("dev"), 0o755))
	for i, d := range [][2]uint32{{0, 0}, {1, 3}, {8, 1}, {255, 255}, {256, 0}, {4095, systest.LargestMinor}, {300, 70000}, {0, 256}} {
		f.ok(unix.Mknod(f.path(fmt.Sprintf("dev/c%d", i)), unix.S_IFCHR|0o600, int(unix.Mkdev(d[0], d[1]))))
		f.ok(unix.Mknod(f.path(fmt.Sprintf("dev/b%d", i)), unix.S_IFBLK|0o640, int(unix.Mkdev(d[0], d[1]))))
	}
	f.ok(unix.Mknod(f.path("dev/fifo"), unix.S_IFIFO|0o622, 0))
	f.ok(unix.Mknod(f.path("dev/socket"), unix.S_IFSOCK|0o755, 0))
}

// posixACL makes a value of system.posix_acl_*.
func posixACL(entries ...[3]uint32) []byte {
	p := binary.LittleEndian.AppendUint32(nil, ondisk.ACLXattrVersion)
	for _, e := range entries {
		p = binary.LittleEndian.AppendUint16(p, uint16(e[0]))
		p = binary.LittleEndian.AppendUint16(p, uint16(e[1]))
		p = binary.LittleEndian.AppendUint32(p, e[2])
	}
	return p
}

func (f *filler) attributes() {
	f.ok(os.Mkdir(f.path("xattr"), 0o755))
	none := uint32(ondisk.ACLUndefinedID)
	acl := posixACL([3]uint32{ondisk.ACLUserObj, 7, none}, [3]uint32{ondisk.ACLUser, 5, 1000}, [3]uint32{ondisk.ACLUser, 4, 100000},
		[3]uint32{ondisk.ACLGroupObj, 4, none},
		[3]uint32{ondisk.ACLGroup, 6, 27}, [3]uint32{ondisk.ACLMask, 7, none}, [3]uint32{ondisk.ACLOther, 0, none})
	caps := []byte{1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	set := func(path, name string, value []byte) { f.maybe(unix.Lsetxattr(path, name, value, 0)) }
	for i := range 6 { // equal sets share a block
		p := f.write(fmt.Sprintf("xattr/f%d", i), []byte("x"))
		set(p, "user.one", []byte("1"))
		set(p, "user.empty", nil)
		set(p, "trusted.overlay.opaque", []byte("y"))
		set(p, "security.capability", caps)
		set(p, "system.posix_acl_access", acl)
		set(p, "user."+strings.Repeat("n", 200), bytes.Repeat([]byte{0, 1}, 150))
	}
	for _, n := range []int{4, 40, 100, 900, 2000, 3900, 9000, 65536} {
		p := f.write(fmt.Sprintf("xattr/v%d", n), nil)
		set(p, "user.v", f.bytes(n))
		set(p, "user.w", f.bytes(n/2))
		set(p, "user.binary\xff\x80", f.bytes(n/8))
	}
	d := f.path("xattr/dir")
	f.ok(os.Mkdir(d, 0o755))
	set(d, "system.posix_acl_default", acl)
	set(d, "user.d", []byte("dir"))
	f.write("xattr/dir/inherits", []byte("y"))
	f.ok(os.Symlink("target", f.path("xattr/sym")))
	set(f.path("xattr/sym"), "trusted.on-symlink", []byte("v"))
	set(f.path("xattr/sym"), "security.long", f.bytes(700))
	f.ok(os.Symlink(strings.Repeat("s", 300), f.path("xattr/slow")))
	set(f.path("xattr/slow"), "trusted.on-symlink", f.bytes(500))
	f.ok(unix.Mknod(f.path("xattr/whiteout"), unix.S_IFCHR, 0))
	set(f.path("xattr/whiteout"), "trusted.x", []byte("v"))
}

func (f *filler) metadata() {
	f.ok(os.Mkdir(f.path("meta"), 0o755))
	for i, mode := range []uint32{0, 0o7777, 0o4755, 0o2711, 0o1644, 0o100} {
		p := f.write(fmt.Sprintf("meta/mode%d", i), []byte("m"))
		systest.Chown(f.t, p, uint32(70000+i), 4_000_000_000)
		f.ok(unix.Chmod(p, mode))
	}
	for i, ts := range []tree.Time{{Sec: 0, Nsec: 1}, {Sec: -1, Nsec: 999_999_999}, {Sec: -2147483648, Nsec: 5}, {Sec: -1000, Nsec: 0},
		{Sec: 2147483647, Nsec: 999_999_999}, {Sec: 2147483648, Nsec: 7}, {Sec: 4294967295, Nsec: 1}, {Sec: 4294967296, Nsec: 2},
		{Sec: 6442450943, Nsec: 3}, {Sec: 6442450944, Nsec: 4}, {Sec: 15032385535, Nsec: 123456789}, {Sec: 1600000000, Nsec: 500_000_000}} {
		p := f.write(fmt.Sprintf("meta/time%d", i), nil)
		f.ok(hostfs.SetTimes(unix.AT_FDCWD, p, ts))
	}
	f.ok(os.Chmod(f.dir, 0o751))
}

func (f *filler) directories() {
	deep := f.path("deep")
	for i := range 40 {
		deep = filepath.Join(deep, fmt.Sprintf("d%d", i))
	}
	f.ok(os.MkdirAll(deep, 0o755))
	for _, n := range []int{0, 1, 2, 3, 5, 8, 13} { // sizes around those of inline directories
		d := f.path(fmt.Sprintf("few%d", n))
		f.ok(os.Mkdir(d, 0o755))
		for i := range n {
			f.ok(os.WriteFile(fmt.Sprintf("%s/file-%d", d, i), nil, 0o600))
		}
	}
	f.ok(os.Mkdir(f.path("churn"), 0o755))
	for i := range 200 {
		f.write(fmt.Sprintf("churn/%0*d", 1+i%90, i), nil)
	}
	for i := range 200 {
		if i%3 != 0 {
			f.ok(os.Remove(f.path(fmt.Sprintf("churn/%0*d", 1+i%90, i))))
		}
	}
	f.ok(os.Mkdir(f.path("large"), 0o755))
	for i := range f.files {
		name := f.path(fmt.Sprintf("large/entry-%d-%s", i, strings.Repeat("x", i%40)))
		if i%4 == 0 {
			f.ok(os.WriteFile(name, nil, 0o644))
		} else {
			f.ok(os.Symlink("t", name))
		}
	}
}

// kernelCases are the combinations of features that the kernel is asked to
// write and show.
var kernelCases = []struct {
	name  string
	mib   int
	bs    int64
	files int
	args  []string
	mount string
}{
	{"ext2-1k-128", 48, 1024, 5000, []string{"-t", "ext2", "-b", "1024", "-I", "128"}, ""},
	{"ext2-nofiletype", 32, 1024, 300, []string{"-t", "ext2", "-b", "1024", "-I", "128", "-O", "none,ext_attr"}, ""},
	{"ext2-4k", 48, 4096, 300, []string{"-t", "ext2", "-b", "4096", "-I", "256"}, ""},
	{"ext3-1k", 48, 1024, 300, []string{"-t", "ext3", "-b", "1024", "-I", "128"}, ""},
	{"ext3-2k", 48, 2048, 2000, []string{"-t", "ext3", "-b", "2048", "-I", "256"}, ""},
	{"ext4-4k", 64, 4096, 5000, []string{"-t", "ext4", "-b", "4096"}, ""},
	{"ext4-1k", 48, 1024, 5000, []string{"-t", "ext4", "-b", "1024", "-O", "64bit,metadata_csum,metadata_csum_seed"}, ""},
	{"ext4-uninit-bg", 300, 1024, 300, []string{"-t", "ext4", "-b", "1024", "-g", "8192", "-O", "^64bit,^metadata_csum,uninit_bg"}, ""},
	{"ext4-uninit-bg-64bit", 64, 4096, 300, []string{"-t", "ext4", "-b", "4096", "-O", "64bit,^metadata_csum,uninit_bg"}, ""},
	{"ext4-noflex", 64, 1024, 300, []string{"-t", "ext4", "-b", "1024", "-g", "8192", "-O", "^flex_bg,^resize_inode"}, ""},
	{"ext4-meta-bg", 400, 1024, 300, []string{"-t", "ext4", "-b", "1024", "-g", "1024", "-O", "meta_bg,^resize_inode"}, ""},
	{"ext4-inline-256", 48, 4096, 500, []string{"-t", "ext4", "-b", "4096", "-I", "256", "-O", "inline_data"}, ""},
	{"ext4-inline-1024", 64, 1024, 500, []string{"-t", "ext4", "-b", "1024", "-I", "1024", "-O", "inline_data"}, ""},
	{"ext4-inline-nocsum", 48, 4096, 500, []string{"-t", "ext4", "-b", "4096", "-I", "512", "-O", "inline_data,^metadata_csum"}, ""},
	{"ext4-bigalloc", 96, 4096, 300, []string{"-t", "ext4", "-b", "4096", "-C", "16384", "-O", "bigalloc"}, ""},
	{"ext4-bigalloc-1k", 96, 1024, 300, []string{"-t", "ext4", "-b", "1024", "-C", "8192", "-O", "bigalloc"}, ""},
	{"ext4-bigalloc-1k-meta-bg", 96, 1024, 100, []string{"-t", "ext4", "-b", "1024", "-C", "8192", "-O", "bigalloc,meta_bg,^resize_inode"},
		""},
	{"ext4-ea-inode", 64, 4096, 300, []string{"-t", "ext4", "-b", "4096", "-O", "ea_inode"}, ""},
	{"ext4-ea-inode-1k-nocsum", 64, 1024, 300, []string{"-t", "ext4", "-b", "1024", "-O", "ea_inode,^metadata_csum"}, ""},
	{"ext4-sparse-super2", 64, 1024, 300, []string{"-t", "ext4", "-b", "1024", "-g", "8192", "-O", "sparse_super2,^resize_inode"}, ""},
	{"ext4-large-dir", 64, 1024, 5000, []string{"-t", "ext4", "-b", "1024", "-O", "large_dir"}, ""},
	{"ext4-orphan-file", 64, 4096, 300, []string{"-t", "ext4", "-b", "4096", "-O", "encrypt,stable_inodes,orphan_file,fast_commit"}, ""},
	{"ext4-indirect", 64, 4096, 300, []string{"-t", "ext4", "-b", "4096", "-O", "^extent,^64bit,^flex_bg"}, ""},
	{"ext4-nojournal", 48, 2048, 300, []string{"-t", "ext4", "-b", "2048", "-O", "^has_journal,^huge_file,^dir_nlink"}, ""},
	{"ext4-mmp", 64, 4096, 100, []string{"-t", "ext4", "-b", "4096", "-O", "mmp"}, ""},
	{"ext4-data-journal", 64, 4096, 300, []string{"-t", "ext4", "-b", "4096", "-J", "size=8"}, "data=journal"},
}

// TestKernel fills file systems through the kernel's mount and compares what
// the kernel shows of them.
func TestKernel(t *testing.T) {
	systest.NeedRoot(t, "mke2fs", "mount")
	for _, c := range kernelCases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			img := mkfs(t, c.mib, c.args...)
			dir, umount := mount(t, img, strings.TrimPrefix(c.mount+",rw", ","))
			f := filler{t: t, dir: dir, bs: c.bs, files: c.files, rnd: rand.New(rand.NewPCG(1, 2))}
			f.all()
			umount()
			fs := openImage(t, img)
			if n := compareWithKernel(t, fs, img); n < c.files {
				t.Errorf("only %d paths", n)
			}
			checkMapping(t, fs)
		})
	}
}
