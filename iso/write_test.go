package iso

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"relive/tree"
	"relive/tree/systest"
)

// writeImage writes an image to a new file of the host.
func writeImage(t testing.TB, root *tree.Node, r Recipe) (path string, rep *WriteReport) {
	t.Helper()
	path = filepath.Join(systest.MemDir(t), "written.iso")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p, err := NewPlan(t.Context(), root, r)
	if err != nil {
		t.Fatal(err)
	}
	if rep, err = p.Write(t.Context(), f, nil); err != nil {
		t.Fatal(err)
	}
	var late []int64
	for _, l := range rep.Late {
		late = append(late, l.Size)
	}
	if size, err := p.Size(late...); err != nil || size != rep.Size {
		t.Errorf("planned %d bytes, wrote %d, %v", size, rep.Size, err)
	}
	if size, err := p.Size(); err != nil || size < rep.Size {
		t.Errorf("planned %d bytes at most, wrote %d, %v", size, rep.Size, err)
	}
	if st, err := f.Stat(); err != nil || st.Size() != rep.Size {
		t.Fatalf("%d bytes, not %d, %v", st.Size(), rep.Size, err)
	}
	return path, rep
}

// What is written is read as it was: by this package, and by xorriso and
// bsdtar, which write it to a directory.
func TestWriteTree(t *testing.T) {
	t.Parallel()
	systest.NeedRoot(t, "xorriso", "bsdtar")
	for seed := range uint64(3) {
		rng := rand.New(rand.NewPCG(seed, 11))
		dir := randomTree(t, rng, kinds{entries: 400, depth: 14, linkBytes: 900, nameBytes: 255})
		want := hostTree(t, dir)
		file, _ := writeImage(t, want, Recipe{VolumeID: "WRITTEN"})
		img := openFile(t, file)
		if img.Names() != RockRidge || img.Info().VolumeID != "WRITTEN" || img.Info().JolietLevel != 3 {
			t.Errorf("%+v", img.Info())
		}
		sameTree(t, want, rootOf(t, img), 0)
		for _, names := range []Names{Joliet, Plain} {
			other := openFile(t, file, WithNames(names))
			if err := tree.Walk(t.Context(), rootOf(t, other), func(path string, n *tree.Node) error {
				if n.Type == tree.Regular {
					_, err := tree.ReadAll(n, 1<<20)
					return err
				}
				return nil
			}); err != nil {
				t.Errorf("%v: %v", names, err)
			}
		}

		// libarchive makes no sockets; both take large minor numbers as libisofs
		// writes them, which Linux does not.
		want = mapped(want, func(n tree.Node) *tree.Node {
			if n.Type == tree.Socket || n.Rdev.Minor > 255 {
				return nil
			}
			return &n
		})
		file, _ = writeImage(t, want, Recipe{})
		out := filepath.Join(systest.MemDir(t), "tar")
		if err := os.Mkdir(out, 0o755); err != nil {
			t.Fatal(err)
		}
		if out, err := systest.Try(t, "bsdtar", "-xpf", file, "-C", out); err != nil {
			t.Fatalf("%v: %q", err, out[:min(len(out), 500)])
		}
		sameTree(t, mapped(want, extracted), mapped(hostTree(t, out), extracted), tree.LinkSet)
		out = filepath.Join(systest.MemDir(t), "xorriso")
		if out, err := systest.Try(t, "xorriso", "-osirrox", "on:o_excl_off", "-indev", "stdio:"+file, "-extract", "/", out); err != nil {
			t.Fatalf("%v: %q", err, out[:min(len(out), 500)])
		}
		noDevices := func(n tree.Node) *tree.Node {
			if n.Type == tree.BlockDevice || n.Type == tree.CharDevice {
				return nil
			}
			return extracted(n)
		}
		sameTree(t, mapped(want, noDevices), mapped(hostTree(t, out), noDevices), tree.LinkSet)
	}
}

// mapped is a tree of what f makes of every node, nil for nothing.
func mapped(n *tree.Node, f func(n tree.Node) *tree.Node) *tree.Node {
	out := f(*n)
	if out != nil && out.Dir != nil {
		out.Inode, out.Dir = tree.Inode{}, mappedDir{n.Dir, f}
	}
	return out
}

type mappedDir struct {
	tree.Dir
	f func(tree.Node) *tree.Node
}

func (d mappedDir) Children() ([]*tree.Node, error) {
	kids, err := d.Dir.Children()
	var out []*tree.Node
	for _, k := range kids {
		if k := mapped(k, d.f); k != nil {
			out = append(out, k)
		}
	}
	return out, err
}

// extracted is what programs keep that make files of an image: xorriso does not
// set owner and time of symlinks, neither that of the root.
func extracted(n tree.Node) *tree.Node {
	if n.Name == "" {
		n.Mtime = tree.Time{}
	}
	if n.Type == tree.Symlink {
		n.Mtime, n.UID, n.GID = tree.Time{}, 0, 0
	}
	return &n
}

// isoinfo lists the names of both hierarchies.
func TestWriteIsoinfo(t *testing.T) {
	t.Parallel()
	systest.NeedRoot(t, "isoinfo")
	root := tree.NewDir("", 0o755, tree.NewDir("isolinux", 0o755, tree.NewFile("isolinux.cfg", 0o644, []byte("x")),
		tree.NewFile("ldlinux.c32", 0o644, []byte("y"))),
		tree.NewFile("code;1*", 0o644, []byte("z")), tree.NewDir(".disk", 0o755), tree.NewFile("a.long.name.of.many.parts.and.more.parts",
			0o644, nil),
		tree.NewFile("a.long.name.of.many.parts.and.more.parts2", 0o644, nil))
	file, _ := writeImage(t, root, Recipe{VolumeID: "X"})
	for flag, want := range map[string][]string{
		"-l": {"_DISK", "ISOLINUX", "A_LONG_NAME_OF_MANY_PARTS.PARTS;1", "A_LONG_NAME_OF_MANY_PART.PARTS2;1", "CODE_1_.;1",
			"ISOLINUX.CFG;1", "LDLINUX.C32;1"},
		"-J": {".disk", "isolinux", "a.long.name.of.many.parts.and.more.parts", "a.long.name.of.many.parts.and.more.parts2", "code_1_",
			"isolinux.cfg", "ldlinux.c32"},
		"-R": {".disk", "isolinux", "a.long.name.of.many.parts.and.more.parts", "a.long.name.of.many.parts.and.more.parts2", "code;1*",
			"isolinux.cfg", "ldlinux.c32"},
	} {
		list := systest.Run(t, "isoinfo", "-l", flag, "-i", file)
		names := map[string]bool{}
		for line := range strings.Lines(list) {
			if _, name, ok := strings.Cut(line, "]  "); ok {
				names[strings.TrimSpace(name)] = true
			}
		}
		for _, w := range want {
			if !names[w] {
				t.Errorf("%s: no %q in %v", flag, w, names)
			}
		}
	}
	for _, table := range strings.Split(systest.Run(t, "isoinfo", "-p", "-i", file), "\n") {
		if strings.Contains(table, "ISOLINUX") && !strings.Contains(table, "2:    1 ") {
			t.Errorf("path table: %s", table)
		}
	}
}

// Plain names are unique in their directory, whatever the names.
func TestWriteNameCollisions(t *testing.T) {
	var files []*tree.Node
	for i := range 3000 {
		files = append(files, tree.NewFile(fmt.Sprintf("%s-%d", strings.Repeat("same ", 14), i), 0o644, []byte{byte(i)}))
	}
	for _, n := range []string{"a.", "a", "A", "a..", "_", "ä", "ö", "x.y", "X.Y"} {
		files = append(files, tree.NewFile(n, 0o644, []byte(n)))
	}
	root := tree.NewDir("", 0o755, files...)
	file, _ := writeImage(t, root, Recipe{})
	for _, names := range []Names{RockRidge, Joliet, Plain} {
		kids, err := rootOf(t, openFile(t, file, WithNames(names))).Children()
		if err != nil || len(kids) != len(files) {
			t.Errorf("%v: %d files, %v", names, len(kids), err)
		}
	}
	sameTree(t, root, rootOf(t, openFile(t, file)), 0)
}

// The same recipe and tree give the same bytes.
func TestWriteDeterministic(t *testing.T) {
	t.Parallel()
	systest.NeedRoot(t)
	dir := randomTree(t, rand.New(rand.NewPCG(2, 2)), kinds{entries: 100, depth: 4, linkBytes: 50, nameBytes: 50})
	var first []byte
	for range 2 {
		file, _ := writeImage(t, hostTree(t, dir), Recipe{VolumeID: "D", Disk: &Disk{Table: TableBoth}})
		p, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if first != nil && !bytes.Equal(p, first) {
			t.Error("another image of the same tree")
		}
		first = p
	}
}

// zeros is a file of zeros with marks.
type zeros struct {
	size  int64
	marks map[int64]string
}

func (z zeros) Open() (tree.Content, error) { return z, nil }
func (z zeros) Size() int64                 { return z.size }
func (z zeros) Close() error                { return nil }
func (z zeros) ReadAt(p []byte, off int64) (int, error) {
	n := int(min(int64(len(p)), z.size-off))
	clear(p[:n])
	for at, s := range z.marks {
		for i := range len(s) {
			if k := at + int64(i) - off; k >= 0 && k < int64(n) {
				p[k] = s[i]
			}
		}
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (z zeros) NextData(off int64) (int64, int64, error) {
	start := z.size
	for at, s := range z.marks {
		if at+int64(len(s)) > off {
			start = min(start, max(at&^4095, off))
		}
	}
	if start >= z.size {
		return 0, 0, io.EOF
	}
	return start, min(start&^4095+8192, z.size), nil
}

// Files of more than 4 GiB, also a late one of which only the largest size is
// known, read whole here and, but for their zeros, by xorriso.
func TestWriteLarge(t *testing.T) {
	t.Parallel()
	systest.NeedRoot(t, "xorriso")
	const size = 9<<30 + 777
	z := zeros{size, map[int64]string{0: "start", sectionBytes - 3: "between", 2*sectionBytes - 1: "between", size - 3: "end"}}
	root := tree.NewDir("", 0o755,
		&tree.Node{Name: "large", Meta: tree.Meta{Type: tree.Regular, Perm: 0o644, Size: size}, Nlink: 1, Data: z},
		&tree.Node{Name: "late", Meta: tree.Meta{Type: tree.Regular, Perm: 0o600}, Nlink: 1, Data: tree.Bytes(nil)},
		tree.NewFile("small", 0o644, []byte("small")))
	for _, late := range []int64{0, 1, 5000, sectionBytes, sectionBytes + 1, size} {
		file, rep := writeImage(t, root,
			Recipe{Late: []Late{{Path: "/late", Max: 100 << 30, Write: func(_ context.Context, out io.WriterAt, base int64) (int64, error) {
				if late == 0 {
					return 0, nil
				}
				_, err := out.WriteAt([]byte("!"), base+late-1)
				return late, err
			}}}})
		if len(rep.Late) != 1 || rep.Late[0].Size != late {
			t.Errorf("%+v", rep)
		}
		img := openFile(t, file)
		for _, names := range []Names{RockRidge, Joliet, Plain} {
			root := rootOf(t, openFile(t, file, WithNames(names)))
			n, err := root.Lookup("late")
			if names == Plain {
				n, err = root.Lookup("late")
			}
			if err != nil || n == nil || n.Size != late {
				t.Fatalf("%v: %+v, %v", names, n, err)
			}
		}
		n, err := rootOf(t, img).Lookup("large")
		if err != nil || n.Size != size {
			t.Fatalf("%+v, %v", n, err)
		}
		c, err := n.Open()
		if err != nil {
			t.Fatal(err)
		}
		for at, s := range z.marks {
			p := make([]byte, len(s))
			if err := tree.ReadFull(c, p, at); err != nil || string(p) != s {
				t.Errorf("at %d: %q, %v", at, p, err)
			}
		}
		if late > 0 {
			n, _ := rootOf(t, img).Lookup("late")
			c, err := n.Open()
			if err != nil {
				t.Fatal(err)
			}
			p := make([]byte, 1)
			if err := tree.ReadFull(c, p, late-1); err != nil || p[0] != '!' {
				t.Errorf("late of %d bytes: %q, %v", late, p, err)
			}
		}
		list := systest.Run(t, "xorriso", "-indev", "stdio:"+file, "-lsl", "/", "--")
		for _, want := range []string{fmt.Sprintf("%d ", int64(size)), fmt.Sprintf(" %d ", late), "'small'"} {
			if !strings.Contains(list, want) {
				t.Errorf("no %q in %s", want, list)
			}
		}
	}
}
