package mkfs

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"relive/extfs"
	"relive/extfs/internal/ondisk"
	"relive/tree"
	"relive/tree/systest"
)

// collidingNames finds pairs of names of 255 bytes whose hashes are equal.
func collidingNames(h dirHash, tries int) []string {
	prefix := strings.Repeat("p", 240)
	type hashed struct {
		hash uint32
		n    int
	}
	all := make([]hashed, tries)
	for i := range all {
		all[i].hash, _ = h.sum(fmt.Sprintf("%s%015d", prefix, i))
		all[i].n = i
	}
	slices.SortFunc(all, func(a, b hashed) int {
		if a.hash != b.hash {
			if a.hash < b.hash {
				return -1
			}
			return 1
		}
		return a.n - b.n
	})
	var names []string
	for i := 1; i < len(all); i++ {
		if all[i].hash == all[i-1].hash {
			names = append(names, fmt.Sprintf("%s%015d", prefix, all[i-1].n), fmt.Sprintf("%s%015d", prefix, all[i].n))
		}
	}
	return names
}

// TestBuildCollisions: names of one hash that lie in two leaves are found.
func TestBuildCollisions(t *testing.T) {
	systest.NeedRoot(t, "mount", "e2fsck")
	t.Parallel()
	o := Options{BlockSize: 1024, Time: stamp, NoLostAndFound: true}
	r, err := o.resolve()
	if err != nil {
		t.Fatal(err)
	}
	names := collidingNames(r.hash, 500000)
	if len(names) < 40 {
		t.Fatalf("only %d names", len(names))
	}
	var kids []*tree.Node
	var entries []direntry
	for _, name := range names {
		kids = append(kids, fileOf(name, nil))
		entries = append(entries, direntry{name, 12, ondisk.FTReg})
	}
	d := newDirWriter(r.feat, r.blockSize, r.hash, 0)
	d.plan(entries, 0)
	continued := 0
	for _, l := range d.leaves {
		continued += int(l.hash & 1)
	}
	if continued == 0 {
		t.Fatal("no leaf continues another's hash")
	}
	img, _ := buildFile(t, dirOf("", dirOf("d", kids...)), o)
	systest.Fsck(t, img)
	at, umount := mount(t, img, "rw")
	for _, name := range names {
		if _, err := os.Lstat(filepath.Join(at, "d", name)); err != nil {
			t.Error(err)
		}
	}
	for _, name := range names[:len(names)/2] {
		if err := os.Remove(filepath.Join(at, "d", name)); err != nil {
			t.Error(err)
		}
	}
	umount()
	systest.Fsck(t, img)
}

// TestBuildUnsignedHash: names with high bytes, hashed as on ARM.
func TestBuildUnsignedHash(t *testing.T) {
	systest.NeedRoot(t, "mount", "e2fsck")
	t.Parallel()
	var kids []*tree.Node
	for i := range 3000 {
		kids = append(kids, fileOf(fmt.Sprintf("ünï-%c-%d", 0x3b1+i%20, i), nil))
	}
	root := dirOf("", dirOf("d", kids...))
	for _, unsigned := range []bool{false, true} {
		img, _ := buildFile(t, root, Options{Time: stamp, UnsignedHash: unsigned, NoLostAndFound: true})
		systest.Fsck(t, img)
		at, umount := mount(t, img, "rw")
		for _, k := range kids {
			if _, err := os.Lstat(filepath.Join(at, "d", k.Name)); err != nil {
				t.Fatal(err)
			}
		}
		umount()
	}
}

// TestDirHash compares with debugfs.
func TestDirHash(t *testing.T) {
	seed := [16]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}
	for _, name := range []string{"a", "abc", "abcd", strings.Repeat("x", 31), strings.Repeat("y", 32), strings.Repeat("z", 33),
		strings.Repeat("n", 255), "\u00fc"} {
		major, minor := newDirHash(seed, false).sum(name)
		out := systest.Output(t, "debugfs", "-R", "dx_hash -h half_md4 -s 01020304-0506-0708-090a-0b0c0d0e0f10 "+name)
		if want := fmt.Sprintf("is 0x%x (minor 0x%x)", major, minor); !strings.Contains(out, want) {
			t.Errorf("%q: %s, debugfs says %s", name, want, out)
		}
	}
}

// comb is content of n blocks of which every other one is zeros.
func comb(n, blockSize int, hide bool) *holey {
	h := &holey{hide: hide, size: int64(2 * n * blockSize)}
	for i := range n {
		h.pieces = append(h.pieces, holeyPiece{int64(2 * i * blockSize), []byte{1}})
	}
	return h
}

// TestBuildManyExtents: extent trees of up to three levels, and indirect
// blocks of three, for holes that the source tells of and for those it hides.
func TestBuildManyExtents(t *testing.T) {
	for _, c := range []struct {
		n        int
		features string
	}{
		{5, ""}, {336, ""}, {337, ""}, {30000, ""}, {30000, "^metadata_csum"}, {40000, "^extent ^64bit"},
	} {
		for _, hide := range []bool{false, true} {
			t.Run(fmt.Sprint(c.n, c.features, hide), func(t *testing.T) {
				t.Parallel()
				if testing.Short() && c.n > 1000 {
					t.Skip("large")
				}
				f := sparseFile("f", comb(c.n, 1024, hide))
				img, rep := buildFile(t, dirOf("", f), Options{BlockSize: 1024, Time: stamp, NoLostAndFound: true,
					Features: parseFeatures(t, c.features)})
				if rep.DataBytes != int64(c.n)*1024 {
					t.Errorf("%d bytes of data", rep.DataBytes)
				}
				systest.Fsck(t, img)
				got, err := readBack(t, img).Lookup("f")
				if err != nil {
					t.Fatal(err)
				}
				content, err := got.Open()
				if err != nil {
					t.Fatal(err)
				}
				defer content.Close()
				data := 0
				for off := int64(0); ; data++ {
					start, end, err := content.NextData(off)
					if err != nil {
						break
					}
					var b [1]byte
					if _, err := content.ReadAt(b[:], start); err != nil || b[0] != 1 || end-start != 1024 || start%2048 != 0 {
						t.Fatal(start, end, b, err)
					}
					off = end
				}
				if data != c.n {
					t.Errorf("%d ranges of data", data)
				}
			})
		}
	}
}

// TestBuildTreeOutgrows: where leaving out one block of zeros would cost two
// blocks of mapping, the zeros keep their block.
func TestBuildTreeOutgrows(t *testing.T) {
	h := comb(335, 1024, false)
	last := &h.pieces[len(h.pieces)-1]
	// Three blocks, the second hidden zeros: 336 extents become 337.
	h.pieces = append(h.pieces, holeyPiece{last.at + 2048, append([]byte{1}, make([]byte, 2048)...)})
	h.pieces[len(h.pieces)-1].data[2048] = 1
	h.size += 4096
	root := dirOf("", sparseFile("f", h))
	img, rep := buildFile(t, root, Options{BlockSize: 1024, Time: stamp, NoLostAndFound: true})
	systest.Fsck(t, img)
	same(t, readBack(t, img), root, tree.CompareOptions{})
	if rep.DataBytes != 337*1024 {
		t.Errorf("%d bytes of data", rep.DataBytes)
	}
}

// TestBuildSharedAttributes: equal sets share blocks, at most 1024 to a block.
func TestBuildSharedAttributes(t *testing.T) {
	var kids []*tree.Node
	for i := range 3000 {
		n := fileOf(fmt.Sprintf("%04d", i), nil)
		n.Xattrs = tree.Xattrs{{Name: "security.selinux", Value: strings.Repeat("s", 200)}}
		kids = append(kids, n)
	}
	root := dirOf("", kids...)
	needs, err := Measure(t.Context(), root, Options{Time: stamp, NoLostAndFound: true})
	if err != nil {
		t.Fatal(err)
	}
	if want := uint64(12 + 3); needs.Blocks != want {
		t.Errorf("%d blocks, want %d", needs.Blocks, want)
	}
	img, _ := buildFile(t, root, Options{Time: stamp, NoLostAndFound: true})
	systest.Fsck(t, img)
	same(t, readBack(t, img), root, tree.CompareOptions{})
}

// TestBuildLargeAttributes: values too large for a block have inodes, the
// root's among them, if the feature allows that.
func TestBuildLargeAttributes(t *testing.T) {
	systest.NeedRoot(t, "mount", "e2fsck")
	t.Parallel()
	large := tree.Xattrs{{Name: "user.a", Value: strings.Repeat("a", 5000)},
		{Name: "user.b", Value: strings.Repeat("b", ondisk.XAMaxValue)}}
	root := dirOf("", dirOf("d", fileOf("f", []byte("f"))), tree.NewSymlink("l", "target"))
	root.Xattrs = large
	d, _ := root.Lookup("d")
	d.Xattrs = large
	l, _ := root.Lookup("l")
	l.Mtime, l.Xattrs = stamp, tree.Xattrs{{Name: "trusted.large", Value: strings.Repeat("c", 9000)}}
	o := Options{Size: 32 << 20, BlockSize: 4096, Time: stamp, NoLostAndFound: true, Features: parseFeatures(t, "ea_inode")}
	img, _ := buildFile(t, root, o)
	systest.Fsck(t, img)
	same(t, readBack(t, img), root, tree.CompareOptions{})
	at, umount := mount(t, img, "rw")
	viewed(t, at, root)
	if err := os.RemoveAll(filepath.Join(at, "d")); err != nil {
		t.Error(err)
	}
	if err := unix.Removexattr(at, "user.b"); err != nil {
		t.Error(err)
	}
	umount()
	systest.Fsck(t, img)
}

// TestBuildTimes: what an inode cannot hold is brought as near as it can, and
// counted.
func TestBuildTimes(t *testing.T) {
	for _, c := range []struct {
		in, want  tree.Time
		inodeSize int
	}{
		{tree.Time{Sec: minInodeSec, Nsec: 1}, tree.Time{Sec: minInodeSec, Nsec: 1}, 256},
		{tree.Time{Sec: -1, Nsec: 999999999}, tree.Time{Sec: -1, Nsec: 999999999}, 256},
		{tree.Time{Sec: maxInodeSec}, tree.Time{Sec: maxInodeSec}, 256},
		{tree.Time{Sec: maxInodeSec + 1, Nsec: 7}, tree.Time{Sec: maxInodeSec}, 256},
		{tree.Time{Sec: minInodeSec - 1, Nsec: 7}, tree.Time{Sec: minInodeSec}, 256},
		{tree.Time{Sec: 5, Nsec: 7}, tree.Time{Sec: 5}, 128},
		{tree.Time{Sec: 1 << 31}, tree.Time{Sec: 1<<31 - 1}, 128},
	} {
		n := fileOf("f", nil)
		n.Mtime = c.in
		img, rep := buildFile(t, dirOf("", n), Options{InodeSize: c.inodeSize, Time: stamp})
		got, err := readBack(t, img).Lookup("f")
		if err != nil || got.Mtime != c.want {
			t.Errorf("%v: %v, want %v %v", c.in, got.Mtime, c.want, err)
		}
		// The root's own time loses its nanoseconds in the small inode.
		want := 0
		if c.in != c.want {
			want++
		}
		if c.inodeSize == ondisk.InodeSizeOld {
			want += 2 - 0
		}
		if rep.TimesChanged != want {
			t.Errorf("%v: %d times changed, want %d", c.in, rep.TimesChanged, want)
		}
	}
}

// changing gives other children each time.
type changing struct{ turns []*tree.Node }

func (c *changing) Children() ([]*tree.Node, error) {
	n := c.turns[0]
	if len(c.turns) > 1 {
		c.turns = c.turns[1:]
	}
	return n.Children()
}

// TestBuildChangingTree: a tree that is another one the second time is an
// error, whatever the change.
func TestBuildChangingTree(t *testing.T) {
	o := Options{Size: 64 << 20, Time: stamp, BlockSize: 1024, Features: parseFeatures(t, "ea_inode")}
	for seed := range uint64(40) {
		var turns []*tree.Node
		for i := range uint64(2) {
			g := newGenerator(seed*2+i, o)
			g.budget = 30
			turns = append(turns, g.tree(30))
		}
		root := *turns[0]
		root.Dir = &changing{turns}
		if _, err := Build(t.Context(), &memImage{}, &root, o); err == nil || !strings.Contains(err.Error(), "changed") {
			t.Errorf("seed %d: %v", seed, err)
		}
	}
}

// canceling cancels when it is read.
type canceling struct {
	*holey
	cancel func()
}

func (c canceling) Open() (tree.Content, error) { c.cancel(); return c.holey, nil }

func TestBuildCanceled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	n := fileOf("f", nil)
	n.Size = 10 << 10
	n.Data = canceling{&holey{size: n.Size, pieces: []holeyPiece{{0, []byte("x")}}}, cancel}
	_, err := Build(ctx, &memImage{}, dirOf("", n), Options{})
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "/f: ") {
		t.Error(err)
	}
}

// TestBuildGrows: what is built has room reserved for resize2fs to grow it.
func TestBuildGrows(t *testing.T) {
	for i, m := range matrix {
		if i%5 != 0 {
			continue
		}
		o := Options{Size: 30 << 20, BlockSize: 1024, InodeSize: m.inodeSize, Features: parseFeatures(t, m.features), Time: stamp,
			NoLostAndFound: true}
		g := newGenerator(uint64(i), o)
		g.budget = 100
		root := g.tree(20)
		img, _ := buildFile(t, root, o)
		if err := os.Truncate(img, 300<<20); err != nil {
			t.Fatal(err)
		}
		systest.Run(t, "resize2fs", "-f", img)
		systest.Fsck(t, img)
		same(t, readBack(t, img), root, tree.CompareOptions{Links: true})
	}
}

// TestParseFeatures: names come and go, and unknown ones are refused.
func TestParseFeatures(t *testing.T) {
	f := DefaultFeatures()
	if got := f.String(); got != "has_journal ext_attr resize_inode dir_index filetype extent 64bit flex_bg sparse_super large_file "+
		"huge_file dir_nlink extra_isize metadata_csum" {
		t.Error(got)
	}
	all, err := FeatureSet{}.ParseFeatures(f.Names()...)
	if err != nil || all != f {
		t.Error(all, err)
	}
	less, err := f.ParseFeatures("^has_journal", "+gdt_csum")
	if err != nil || less.journal() || less.ROCompat&ondisk.ROGDTCsum == 0 {
		t.Error(less, err)
	}
	if _, err := f.ParseFeatures("extra_sugar"); !errors.Is(err, tree.ErrUnsupported) {
		t.Error(err)
	}
	if got := (FeatureSet{Incompat: 1 << 30}).String(); got != "FEATURE_I30" {
		t.Error(got)
	}
}

// FuzzBuildACL: an ACL that the builder takes is the one that the reader gives.
func FuzzBuildACL(f *testing.F) {
	g := newGenerator(1, Options{})
	for range 5 {
		f.Add(g.acl())
	}
	f.Add("")
	f.Add("\x02\x00\x00\x00\x01")
	f.Fuzz(func(t *testing.T, v string) {
		stored, err := ondisk.EncodeACL(v)
		if err != nil {
			return
		}
		back, err := ondisk.DecodeACL([]byte(stored))
		if err != nil {
			t.Fatal(err)
		}
		// The id of an entry that has none is not kept, and an ACL without
		// entries is none.
		want := []byte(v)
		for p := want[ondisk.ACLHdrSize:]; len(p) > 0; p = p[ondisk.ACLXattrSize:] {
			if tag := ondisk.LE16(p, 0); tag != ondisk.ACLUser && tag != ondisk.ACLGroup {
				binary.LittleEndian.PutUint32(p[4:], ondisk.ACLUndefinedID)
			}
		}
		if len(want) == ondisk.ACLHdrSize {
			want = nil
		}
		if back != string(want) {
			t.Errorf("%q became %q", want, back)
		}
	})
}

// FuzzBuild: Read(Build(t)) is t, for trees, sizes and features of all kinds.
func FuzzBuild(f *testing.F) {
	for i := range uint64(8) {
		f.Add(i, uint8(i))
	}
	f.Fuzz(func(t *testing.T, seed uint64, pick uint8) {
		m := matrix[int(pick)%len(matrix)]
		o := Options{BlockSize: 1024 << (pick % 3), InodeSize: m.inodeSize, Features: parseFeatures(t, m.features), NoLostAndFound: true}
		g := newGenerator(seed, o)
		g.budget = int(seed % 200)
		root := g.tree(50)
		var img memImage
		if _, err := Build(t.Context(), &img, root, o); err != nil {
			t.Fatal(err)
		}
		fs, err := extfs.Open(bytes.NewReader(img.data), int64(len(img.data)), "image")
		if err != nil {
			t.Fatal(err)
		}
		same(t, rootOf(t, fs), root, tree.CompareOptions{Links: true})
	})
}

// TestBuildInTheFuture: e2fsck has nothing to ask of an image with times that
// are yet to come, in the tree or given.
func TestBuildInTheFuture(t *testing.T) {
	systest.NeedTools(t, "e2fsck")
	for _, sec := range []int64{2_500_000_000, 1<<32 - 1, 1 << 32, maxInodeSec} {
		n := fileOf("f", []byte("f"))
		n.Mtime = tree.Time{Sec: sec}
		for _, o := range []Options{{}, {Time: n.Mtime}, {Time: n.Mtime, Features: parseFeatures(t, "orphan_file ^metadata_csum")}} {
			img, rep := buildFile(t, dirOf("", n), o)
			if out := systest.Run(t, "e2fsck", "-fn", img); strings.Contains(out, "? no") {
				t.Errorf("%d: %s", sec, out)
			}
			if out, err := systest.Try(t, "e2fsck", "-p", img); err != nil {
				t.Errorf("%d: e2fsck -p: %v %s", sec, err, out)
			}
			if rep.Time.Sec != sec || openImage(t, img).Info().Created.Sec != sec {
				t.Errorf("made at %v, not %d", rep.Time, sec)
			}
		}
	}
}

// TestBuildFlags: the flags that chattr sets are kept for files and directories,
// and those that say how content is stored are not taken over.
func TestBuildFlags(t *testing.T) {
	systest.NeedTools(t, "e2fsck", "debugfs")
	set := map[string]tree.Flags{"": ondisk.FlNodump, "d": ondisk.FlImmutable | ondisk.FlTopdir,
		"f": ondisk.FlAppend | ondisk.FlNoatime | ondisk.FlInlineData | ondisk.FlVerity | tree.FlagMarked, "l": ondisk.FlImmutable}
	root := dirOf("", dirOf("d"), fileOf("f", []byte("content")), fileOf("g", nil), tree.NewSymlink("l", "f"))
	root.Flags = set[""]
	for name, flags := range set {
		n, err := root.Lookup(name)
		if err != nil {
			t.Fatal(err)
		}
		n.Flags = flags
	}
	img, _ := buildFile(t, root, Options{Time: stamp})
	systest.Fsck(t, img)
	fs := openImage(t, img)
	for name, want := range map[string]tree.Flags{"": ondisk.FlNodump, "d": ondisk.FlImmutable | ondisk.FlTopdir,
		"f": ondisk.FlAppend | ondisk.FlNoatime, "g": 0, "l": 0} {
		n, err := rootOf(t, fs).Lookup(name)
		if err != nil {
			t.Fatal(err)
		}
		if n.Flags&extfs.KeptFlags != want {
			t.Errorf("%s: %#x, not %#x", name, n.Flags, want)
		}
	}
	if out := systest.Output(t, "debugfs", "-R", "stat /f", img); !strings.Contains(out, "Flags: 0x800a0") {
		t.Error(out)
	}
}
