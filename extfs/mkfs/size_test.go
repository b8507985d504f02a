package mkfs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"relive/extfs/internal/ondisk"
	"relive/tree"
	"relive/tree/systest"
)

func allocated(t testing.TB, path string) int64 {
	t.Helper()
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return st.Sys().(*syscall.Stat_t).Blocks * 512
}

// superblockFacts are lines of dumpe2fs -h that do not depend on when and
// where an image was made.
func superblockFacts(t *testing.T, path string) map[string]string {
	t.Helper()
	out := systest.Output(t, "dumpe2fs", path)
	facts := map[string]string{}
	groups := 0
	for line := range strings.SplitSeq(out, "\n") {
		key, value, ok := strings.Cut(line, ":")
		if !ok {
			continue
		}
		switch {
		case strings.HasPrefix(key, "Group ") && strings.Contains(value, "Blocks"):
			groups++
			facts[fmt.Sprintf("group %d", groups)] = ""
		case strings.HasPrefix(key, "  Block bitmap at"), strings.HasPrefix(key, "  Inode table at"):
			facts[key] = value
		case key == "Last write time", key == "Last checked": // never
		case strings.HasPrefix(line, "Checksum:"), strings.HasPrefix(line, "Lifetime writes"), strings.HasPrefix(line, " "):
		default:
			facts[key] = strings.TrimSpace(value)
		}
	}
	for line := range strings.SplitSeq(out, "\n") {
		line = strings.TrimSpace(line)
		for _, prefix := range []string{"Block bitmap at", "Inode bitmap at", "Inode table at", "Primary superblock", "Backup superblock",
			"Reserved GDT blocks"} {
			if strings.HasPrefix(line, prefix) {
				place, _, _ := strings.Cut(line, ", csum")
				facts[place] = ""
			}
		}
	}
	return facts
}

// TestBuildLikeMke2fs: an empty image has the features, sizes, reserves,
// journal and places of metadata that mke2fs gives it.
func TestBuildLikeMke2fs(t *testing.T) {
	systest.NeedTools(t, "mke2fs", "dumpe2fs", "e2fsck")
	const uuid = "11111111-2222-3333-4444-555555555555"
	var id [16]byte
	copy(id[:], bytes.NewBufferString("\x11\x11\x11\x11\x22\x22\x33\x33\x44\x44\x55\x55\x55\x55\x55\x55").Bytes())
	for _, c := range []struct {
		size int64
		args string
		o    Options
	}{
		{8 << 20, "", Options{}},
		{2 << 20, "", Options{}},
		{100 << 20, "", Options{}},
		{511 << 20, "", Options{}},
		{512 << 20, "", Options{}},
		{2000 << 20, "", Options{}},
		{2050<<20 + 4097, "", Options{}},
		{12 << 30, "", Options{}},
		{40 << 30, "", Options{}},
		{129 << 20, "-b 4096", Options{BlockSize: 4096}},
		{700 << 20, "-b 1024", Options{BlockSize: 1024}},
		{700 << 20, "-b 2048 -m 0", Options{BlockSize: 2048, ReservedPercent: -1}},
		{700 << 20, "-m 1.5 -I 512", Options{ReservedPercent: 1.5, InodeSize: 512}},
		{700 << 20, "-i 65536", Options{BytesPerInode: 65536}},
		{700 << 20, "-N 1000000", Options{Inodes: 1000000}},
		{700 << 20, "-J size=8", Options{JournalBlocks: 2048}},
		{700 << 20, "-O ^flex_bg", Options{Features: FeatureSet{1, 1, 1}}},
		{700 << 20, "-O ^flex_bg,^has_journal -b 1024", Options{BlockSize: 1024, Features: FeatureSet{1, 1, 1}}},
		{700 << 20, "-O ^64bit,^metadata_csum,uninit_bg", Options{Features: FeatureSet{1, 1, 1}}},
		{700 << 20, "-O ^resize_inode,^sparse_super", Options{Features: FeatureSet{1, 1, 1}}},
		{700 << 20, "-O orphan_file,metadata_csum_seed", Options{Features: FeatureSet{1, 1, 1}}},
		{700 << 20, "-O ^64bit,^extent,^metadata_csum", Options{Features: FeatureSet{1, 1, 1}}},
	} {
		t.Run(fmt.Sprintf("%d %s", c.size, c.args), func(t *testing.T) {
			t.Parallel()
			theirs := systest.Blank(t, c.size)
			args := append([]string{"MKE2FS_CONFIG=testdata/mke2fs.conf", "E2FSPROGS_FAKE_TIME=1700000000", "mke2fs", "-q", "-F", "-t",
				"ext4", "-L", "rootfs", "-U", uuid, "-E", "hash_seed=" + uuid}, strings.Fields(c.args)...)
			systest.Run(t, "env", append(args, theirs)...)
			o := c.o
			o.Size, o.Label, o.Time, o.UUID, o.HashSeed = c.size, "rootfs", tree.Time{Sec: 1700000000}, id, id
			if o.Features != (FeatureSet{}) {
				_, list, _ := strings.Cut(c.args, "-O ")
				list, _, _ = strings.Cut(list, " ")
				o.Features = parseFeatures(t, strings.ReplaceAll(list, ",", " "))
			}
			root := tree.NewDir("", 0o755)
			root.Mtime = o.Time
			ours, rep := buildFile(t, root, o)
			systest.Fsck(t, ours)
			a, b := superblockFacts(t, theirs), superblockFacts(t, ours)
			for k := range a {
				if _, ok := b[k]; !ok {
					t.Errorf("mke2fs has %q %q", k, a[k])
				}
			}
			for k := range b {
				if v, ok := a[k]; !ok || v != b[k] {
					t.Errorf("%s: %q, mke2fs has %q", k, b[k], v)
				}
			}
			// The same again from what the reader tells of mke2fs's image.
			like := Like(openImage(t, theirs).Info())
			like.Time = o.Time
			again, repAgain := buildFile(t, root, like)
			if repAgain != rep {
				t.Errorf("built like mke2fs's: %+v, want %+v", repAgain, rep)
			}
			if c.size < 200<<20 {
				if _, err := systest.Try(t, "cmp", ours, again); err != nil {
					t.Errorf("built like mke2fs's: %v", err)
				}
			}
			if got := fmt.Sprint(rep.FreeBlocks, rep.Blocks, rep.Inodes, rep.FreeInodes); got != strings.Join([]string{a["Free blocks"],
				a["Block count"], a["Inode count"], a["Free inodes"]}, " ") {
				t.Errorf("report %s", got)
			}
		})
	}
}

// TestBuildExactFit: the smallest size that Measure tells is enough, is full,
// and one block less is refused before anything is written.
func TestBuildExactFit(t *testing.T) {
	for i, m := range matrix {
		if i%3 != 0 {
			continue
		}
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			o := Options{BlockSize: 4096 >> (i % 2), InodeSize: m.inodeSize, Features: parseFeatures(t, m.features), Time: stamp}
			g := newGenerator(uint64(i), o)
			// Without zeros, so that nothing turns out smaller than it seemed.
			root := dirOf("", fileOf("full", g.bytes(12<<20)), dirOf("d", fileOf("a", []byte("a")), dirOf("e")),
				manyNames("names", 500, 30))
			needs, err := Measure(t.Context(), root, o)
			if err != nil {
				t.Fatal(err)
			}
			if !needs.Fits || needs.FreeBlocks < needs.Blocks || needs.MinSize%int64(o.BlockSize) != 0 {
				t.Fatalf("%+v", needs)
			}
			o.Size = needs.MinSize
			img, rep := buildFile(t, root, o)
			systest.Fsck(t, img)
			if rep.FreeBlocks != needs.FreeBlocks-needs.Blocks {
				t.Errorf("%d blocks free, measured %+v", rep.FreeBlocks, needs)
			}
			o.Size -= int64(o.BlockSize)
			var no *NoSpaceError
			img2 := &memImage{}
			_, err = Build(t.Context(), img2, root, o)
			if !errors.As(err, &no) || !errors.Is(err, ErrNoSpace) || no.Needed <= no.Available {
				t.Errorf("one block less: %v", err)
			} else if !strings.Contains(err.Error(), fmt.Sprint(no.Needed)) || !strings.Contains(err.Error(), fmt.Sprint(no.Available)) {
				t.Errorf("error says too little: %v", err)
			}
			if img2.writes > 0 || img2.data != nil {
				t.Error("wrote before refusing")
			}
			if less, err := Measure(t.Context(), root, o); err != nil || less.Fits || less.MinSize != needs.MinSize {
				t.Errorf("measured %+v %v", less, err)
			}
		})
	}
}

// TestBuildInodes: with a fixed number of inodes, one too many files is
// refused; otherwise there are as many as the tree needs.
func TestBuildInodes(t *testing.T) {
	root := manyNames("", 5000, 1)
	img, rep := buildFile(t, root, Options{Size: 16 << 20, Time: stamp, BlockSize: 4096})
	systest.Fsck(t, img)
	if rep.Inodes-rep.FreeInodes != 5011 || rep.Files != 5000 || rep.Directories != 2 {
		t.Errorf("%+v", rep)
	}
	_, rep = buildFile(t, root, Options{Size: 16 << 20, Inodes: 5024})
	if rep.Inodes != 5024 {
		t.Errorf("%d inodes", rep.Inodes)
	}
	_, err := Build(t.Context(), &memImage{}, root, Options{Size: 16 << 20, Inodes: 5000})
	var no *NoSpaceError
	if !errors.As(err, &no) || no.What != "inodes" || no.Needed != 5011 || no.Available != 4992 {
		t.Errorf("%v", err)
	}
	for _, size := range []int64{0, 16 << 20} {
		for _, inodes := range []uint32{2000, 5000} {
			needs, err := Measure(t.Context(), root, Options{Size: size, Inodes: inodes, BlockSize: 4096})
			if err != nil || needs.Fits || needs.Inodes != 5011 || needs.MinSize != 0 {
				t.Errorf("%d bytes, %d inodes: %+v %v", size, inodes, needs, err)
			}
			if _, err := Build(t.Context(), &memImage{}, root, Options{Size: size, Inodes: inodes, BlockSize: 4096}); !errors.Is(err,
				ErrNoSpace) {
				t.Error(err)
			}
		}
	}
}

// TestBuildErrors: an error of a write, a read or the context comes through,
// with its place.
func TestBuildErrors(t *testing.T) {
	o := Options{Size: 8 << 20, Time: stamp}
	g := newGenerator(5, o)
	g.budget = 60
	root := g.tree(20)
	var whole memImage
	if _, err := Build(t.Context(), &whole, root, o); err != nil {
		t.Fatal(err)
	}
	for n := 1; n <= whole.writes; n++ {
		m := memImage{fail: n}
		if _, err := Build(t.Context(), &m, root, o); !errors.Is(err, errDisk) {
			t.Fatalf("write %d of %d: %v", n, whole.writes, err)
		}
		if n > 0 && ondisk.LE16(m.data, ondisk.SuperblockOffset+ondisk.SBMagic) == ondisk.SuperblockMagic {
			t.Errorf("write %d failed, but there is a superblock", n)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Build(ctx, &memImage{}, root, o); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}

	bad := fileOf("bad", nil)
	bad.Size, bad.Data = 5, tree.Bytes("1234")
	_, err := Build(t.Context(), &memImage{}, dirOf("", dirOf("d", bad)), o)
	if err == nil || !strings.Contains(err.Error(), "/d/bad: ") {
		t.Error(err)
	}
}

// TestBuildRefuses: what an image cannot hold is an error that names it.
func TestBuildRefuses(t *testing.T) {
	with := func(f func(*tree.Node)) *tree.Node {
		n := fileOf("x", []byte("x"))
		f(n)
		return dirOf("", n)
	}
	attr := func(name string, size int) *tree.Node {
		return with(func(n *tree.Node) { n.Xattrs = tree.Xattrs{{Name: name, Value: strings.Repeat("v", size)}} })
	}
	for _, c := range []struct {
		name string
		root *tree.Node
		o    Options
		want string
		kind error
	}{
		{"feature", dirOf(""), Options{Features: FeatureSet{ROCompat: ondisk.ROBigalloc}}, "bigalloc", tree.ErrUnsupported},
		{"64bit", dirOf(""), Options{Features: FeatureSet{Incompat: ondisk.Incompat64Bit}}, "64bit", tree.ErrUnsupported},
		{"label", dirOf(""), Options{Label: "seventeen letters"}, "label", tree.ErrUnsupported},
		{"block size", dirOf(""), Options{BlockSize: 8192}, "block size", tree.ErrUnsupported},
		{"inode size", dirOf(""), Options{InodeSize: 200}, "inode size", tree.ErrUnsupported},
		{"reserved", dirOf(""), Options{ReservedPercent: 51}, "reserved", tree.ErrUnsupported},
		{"journal", dirOf(""), Options{Size: 8 << 20, JournalBlocks: 100}, "journal", tree.ErrUnsupported},
		{"large journal", dirOf(""), Options{Size: 8 << 20, JournalBlocks: 8000}, "journal", ErrNoSpace},
		{"tiny", dirOf(""), Options{Size: 1}, "fit", ErrNoSpace},
		{"root", fileOf("", nil), Options{}, "root", tree.ErrUnsupported},
		{"attribute", attr("os2.x", 1), Options{}, "/x: ", tree.ErrUnsupported},
		{"acl", attr("system.posix_acl_access", 5), Options{}, "/x: ", tree.ErrCorrupt},
		{"large attribute", attr("user.large", 5000), Options{}, "ea_inode", tree.ErrUnsupported},
		{"symlink", dirOf("", tree.NewSymlink("l", strings.Repeat("x", 1024))), Options{BlockSize: 1024}, "/l: ", tree.ErrUnsupported},
		{"empty symlink", dirOf("", tree.NewSymlink("l", "")), Options{}, "/l: ", tree.ErrUnsupported},
		{"device", with(func(n *tree.Node) { n.Type, n.Rdev = tree.CharDevice, tree.Rdev{Major: 5000} }), Options{}, "5000",
			tree.ErrUnsupported},
		{"name", dirOf("", fileOf("a/b", nil)), Options{}, "slash", tree.ErrCorrupt},
		{"order", &tree.Node{Meta: tree.Meta{Type: tree.Directory}, Dir: tree.List{fileOf("b", nil), fileOf("a", nil)}}, Options{}, "order",
			tree.ErrCorrupt},
		{"long file", dirOf("", sparseFile("x", &holey{size: 1 << 40, hide: true})),
			Options{BlockSize: 1024, Features: FeatureSet{Compat: ondisk.CompatExtAttr}}, "extent", tree.ErrUnsupported},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := &memImage{}
			_, err := Build(t.Context(), m, c.root, c.o)
			if err == nil || !strings.Contains(err.Error(), c.want) || !errors.Is(err, c.kind) {
				t.Errorf("%v", err)
			}
			if m.writes > 0 {
				t.Error("wrote before refusing")
			}
		})
	}
}
