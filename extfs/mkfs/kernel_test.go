package mkfs

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"relive/extfs/internal/ondisk"
	"relive/tree"
	"relive/tree/hostfs"
	"relive/tree/systest"
)

// viewed demands that the kernel's view of a mounted image is the tree.
func viewed(t *testing.T, mounted string, want *tree.Node) {
	t.Helper()
	got, err := hostfs.Open(mounted)
	if err != nil {
		t.Fatal(err)
	}
	same(t, got, want, tree.CompareOptions{Links: true})
}

// TestBuildKernel: the kernel mounts what is built read-write and shows the
// tree; after it has changed things, and removed all, the image is still clean.
func TestBuildKernel(t *testing.T) {
	systest.NeedRoot(t, "mount", "e2fsck")
	for i, m := range matrix {
		if testing.Short() && i%4 != 0 {
			continue
		}
		blockSize := []int{1024, 2048, 4096}[i%3]
		t.Run(fmt.Sprintf("%s/%d", m.name, blockSize), func(t *testing.T) {
			t.Parallel()
			o := Options{
				Size: 64 << 20, BlockSize: blockSize, InodeSize: m.inodeSize, Time: stamp,
				Features: parseFeatures(t, m.features), NoLostAndFound: true,
			}
			g := newGenerator(uint64(1000+i), o)
			root := g.tree(40)
			img, _ := buildFile(t, root, o)
			at, umount := mount(t, img, "rw")
			viewed(t, at, root)
			names, err := os.ReadDir(at)
			if err != nil {
				t.Fatal(err)
			}
			for k, e := range names {
				p := filepath.Join(at, e.Name())
				if e.IsDir() {
					for n := range 30 {
						if err := os.WriteFile(filepath.Join(p, fmt.Sprintf("new-%d-%0100d", n, n)), g.bytes(5000), 0o600); err != nil {
							t.Error(err)
						}
					}
				} else if e.Type().IsRegular() {
					f, err := os.OpenFile(p, os.O_WRONLY|os.O_APPEND, 0)
					if err != nil {
						t.Fatal(err)
					}
					if _, err := f.Write(g.bytes(20000)); err != nil {
						t.Error(err)
					}
					f.Close()
				}
				if k%3 == 0 {
					if err := os.RemoveAll(p); err != nil {
						t.Error(err)
					}
				}
			}
			umount()
			systest.Fsck(t, img)
			at, umount = mount(t, img, "rw")
			for _, e := range names {
				if err := os.RemoveAll(filepath.Join(at, e.Name())); err != nil {
					t.Error(err)
				}
			}
			umount()
			systest.Fsck(t, img)
		})
	}
}

// manyNames makes a directory of n empty files with names of that length at
// least.
func manyNames(name string, n, length int) *tree.Node {
	kids := make([]*tree.Node, n)
	for i := range kids {
		kids[i] = fileOf(fmt.Sprintf("%0*d", length, i), nil)
	}
	return dirOf(name, kids...)
}

// TestBuildLargeDirectories: directories with one and two levels of index, and
// those that have too many names for their index, as the kernel finds them by
// name, adds to them and empties them.
func TestBuildLargeDirectories(t *testing.T) {
	systest.NeedRoot(t, "mount", "e2fsck")
	for _, c := range []struct {
		n, length, blockSize int
		features             string
		levels               int // -1 for a list
	}{
		{65536, 40, 4096, "", 1},
		{20000, 255, 4096, "", 1},
		{3000, 20, 4096, "", 0},
		{4000, 40, 1024, "", 1},
		{4000, 40, 1024, "^metadata_csum", 1},
		{3000, 100, 2048, "^dir_index", -1},
		{50000, 255, 1024, "", -1},
		{50000, 255, 1024, "large_dir", 2},
	} {
		t.Run(fmt.Sprintf("%d/%d/%d/%s", c.n, c.length, c.blockSize, c.features), func(t *testing.T) {
			t.Parallel()
			if testing.Short() && c.n > 10000 {
				t.Skip("large")
			}
			root := dirOf("", manyNames("d", c.n, c.length))
			o := Options{BlockSize: c.blockSize, Time: stamp, NoLostAndFound: true, Features: parseFeatures(t, c.features)}
			r, err := o.resolve()
			if err != nil {
				t.Fatal(err)
			}
			var entries []direntry
			for i := range c.n {
				entries = append(entries, direntry{fmt.Sprintf("%0*d", c.length, i), 12, ondisk.FTReg})
			}
			plan := newDirWriter(r.feat, r.blockSize, r.hash, 0).plan(entries, 0)
			if plan.indexed != (c.levels >= 0) || plan.indexed && plan.levels != c.levels {
				t.Errorf("shape %+v, want %d levels", plan, c.levels)
			}
			img, _ := buildFile(t, root, o)
			systest.Fsck(t, img)
			same(t, readBack(t, img), root, tree.CompareOptions{})
			at, umount := mount(t, img, "rw")
			d := filepath.Join(at, "d")
			step, changes := 1+c.n/10000, 500
			if !plan.indexed {
				step, changes = c.n/50, 20 // each look-up reads the whole list
			}
			for i := 0; i < c.n; i += step {
				if _, err := os.Lstat(filepath.Join(d, entries[i].name)); err != nil {
					t.Fatal(err)
				}
			}
			for i := range changes {
				if i%2 == 0 {
					err = os.WriteFile(filepath.Join(d, fmt.Sprintf("new-%d", i)), nil, 0o600)
				} else {
					err = os.Remove(filepath.Join(d, entries[i*c.n/changes].name))
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			umount()
			systest.Fsck(t, img)
		})
	}
}

// TestBuildManySubdirectories: past 65,000 links a directory counts one.
func TestBuildManySubdirectories(t *testing.T) {
	if testing.Short() {
		t.Skip("large")
	}
	kids := make([]*tree.Node, 65100)
	for i := range kids {
		kids[i] = dirOf(fmt.Sprint(i))
	}
	root := dirOf("", dirOf("d", kids...))
	o := Options{Time: stamp, BlockSize: 1024, InodeSize: 128, Features: parseFeatures(t, "^metadata_csum uninit_bg")}
	img, _ := buildFile(t, root, o)
	systest.Fsck(t, img)
	d, err := readBack(t, img).Lookup("d")
	if err != nil || d.Nlink != 1 {
		t.Errorf("%+v %v", d, err)
	}
	o.Features = parseFeatures(t, "^dir_nlink")
	if _, err := Build(t.Context(), &memImage{}, root, o); err == nil {
		t.Error("no error without dir_nlink")
	}
}

// TestBuildSparse: a file of 8 GiB with little in it, and an image of 40 GiB,
// take little room on the host.
func TestBuildSparse(t *testing.T) {
	systest.NeedRoot(t, "mount", "e2fsck")
	for _, features := range []string{"", "^extent ^64bit"} {
		t.Run(features, func(t *testing.T) {
			t.Parallel()
			h := &holey{size: 8 << 30}
			for i := range int64(300) {
				h.pieces = append(h.pieces, holeyPiece{i*(25<<20) + i*1000, []byte(fmt.Sprintf("piece %d", i))})
			}
			h.pieces = append(h.pieces, holeyPiece{h.size - 5, []byte("end")})
			root := dirOf("", sparseFile("sparse", h), sparseFile("empty", &holey{size: 3 << 30}))
			img, rep := buildFile(t, root, Options{Size: 40 << 30, Time: stamp, NoLostAndFound: true, Features: parseFeatures(t, features)})
			// Some pieces lie across two blocks.
			if blocks := rep.DataBytes / 4096; blocks < 301 || blocks > 310 {
				t.Errorf("%d bytes of data", rep.DataBytes)
			}
			if used := allocated(t, img); used > 8<<20 {
				t.Errorf("takes %d bytes", used)
			}
			systest.Fsck(t, img)
			same(t, readBack(t, img), root, tree.CompareOptions{})
			at, umount := mount(t, img, "rw")
			viewed(t, at, root)
			if err := os.WriteFile(filepath.Join(at, "new"), make([]byte, 1<<20), 0o600); err != nil {
				t.Error(err)
			}
			umount()
			systest.Fsck(t, img)
		})
	}
}

// manyFiles makes n small files in directories of a hundred.
func manyFiles(n int) *tree.Node {
	var dirs []*tree.Node
	for i := 0; i < n; i += 100 {
		var kids []*tree.Node
		for k := range 100 {
			kids = append(kids, fileOf(fmt.Sprintf("file-%03d", k), []byte(fmt.Sprintf("content of %d", i+k))))
		}
		dirs = append(dirs, dirOf(fmt.Sprintf("dir-%06d", i), kids...))
	}
	return dirOf("", dirs...)
}

// TestBuildManyFiles: 200,000 files at full scale.
func TestBuildManyFiles(t *testing.T) {
	if testing.Short() {
		t.Skip("large")
	}
	t.Parallel()
	n := scaled(200000, 20000)
	root := manyFiles(n)
	img, rep := buildFile(t, root, Options{Size: 2 << 30, Time: stamp, NoLostAndFound: true})
	if rep.Files != n {
		t.Errorf("%+v", rep)
	}
	systest.Fsck(t, img)
	same(t, readBack(t, img), root, tree.CompareOptions{})
}

// TestBuildUpper: a built image serves the kernel's overlayfs as its upper
// layer: whiteouts hide, opaque directories replace, and new changes land.
func TestBuildUpper(t *testing.T) {
	systest.NeedRoot(t, "mount", "e2fsck")
	t.Parallel()
	whiteout := &tree.Node{Name: "gone", Meta: tree.Meta{Type: tree.CharDevice, Mtime: stamp}}
	opaque := dirOf("replaced", fileOf("new", []byte("new")))
	opaque.Xattrs = tree.Xattrs{{Name: "trusted.overlay.opaque", Value: "y"}}
	img, _ := buildFile(t, dirOf("", dirOf("upper", whiteout, opaque), dirOf("work")), Options{Size: 64 << 20, Label: "rootfs",
		Time: stamp})
	at, umount := mount(t, img, "rw")
	lower := systest.TempDir(t)
	for _, name := range []string{"gone", "stays", "replaced/old"} {
		if err := os.MkdirAll(filepath.Join(lower, filepath.Dir(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(lower, name), []byte("lower"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	merged, umountMerged := systest.Mount(t, "overlay", fmt.Sprintf("lowerdir=%s,upperdir=%s/upper,workdir=%s/work", lower, at, at),
		"overlay")
	if err := os.WriteFile(filepath.Join(merged, "stays"), []byte("changed"), 0o644); err != nil {
		t.Error(err)
	}
	got := systest.Run(t, "find", merged, "-mindepth", "1", "-printf", "%P ")
	umountMerged()
	umount()
	names := strings.Fields(got)
	slices.Sort(names)
	if s := strings.Join(names, " "); s != "replaced replaced/new stays" {
		t.Errorf("the overlay shows %q", s)
	}
	systest.Fsck(t, img)
	n, err := readBack(t, img).Lookup("upper/stays")
	if err != nil || n == nil || n.Size != 7 {
		t.Error(n, err)
	}
}

// TestBuildAttributeBlock: an attribute block is byte for byte the kernel's,
// hashes included, but for its checksum.
func TestBuildAttributeBlock(t *testing.T) {
	systest.NeedRoot(t, "mount", "mke2fs", "debugfs")
	t.Parallel()
	xs := tree.Xattrs{
		{Name: "security.x", Value: "seven b"},
		{Name: "trusted.overlay.opaque", Value: "y"},
		{Name: "user.a", Value: strings.Repeat("v", 101)},
		{Name: "user.b\xc3\xbc", Value: "\xff\xfe\xfd\xfc\xfb"},
		{Name: "user.empty", Value: ""},
	}
	split, err := splitXattrs(xs, 0, 1024, false)
	if err != nil {
		t.Fatal(err)
	}
	want := make([]byte, 1024)
	putXattrBlock(want, split.block, 1)

	img := systest.Blank(t, 8<<20)
	systest.Run(t, "mke2fs", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", "-t", "ext4", "-b", "1024", "-I", "128", img)
	at, umount := mount(t, img, "rw")
	f := filepath.Join(at, "f")
	if err := os.WriteFile(f, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, s := range split.block {
		if err := unix.Setxattr(f, s.full, []byte(s.value), 0); err != nil {
			t.Fatal(err)
		}
	}
	umount()
	_, rest, ok := strings.Cut(systest.Run(t, "debugfs", "-R", "stat /f", img), "File ACL: ")
	var block int64
	if _, err := fmt.Sscan(rest, &block); !ok || err != nil || block == 0 {
		t.Fatal(rest, err)
	}
	raw, err := os.ReadFile(img)
	if err != nil {
		t.Fatal(err)
	}
	got := raw[block*1024:][:1024]
	clear(got[ondisk.XAHdrCsum : ondisk.XAHdrCsum+4])
	if !bytes.Equal(got, want) {
		t.Errorf("kernel:\n%x\nbuilt:\n%x", got, want)
	}
}
