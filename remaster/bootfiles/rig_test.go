package bootfiles

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"sort"
	"strings"
	"testing"

	"relive/iso"
	"relive/remaster/stick/fat"
	"relive/tree"
	"relive/tree/systest"
)

// make a tree of paths and content.
func treeOf(t testing.TB, files map[string]string) *tree.Node {
	t.Helper()
	var e tree.Edits
	for path, content := range files {
		n := tree.NewFile("", 0o644, []byte(content))
		if target, ok := strings.CutPrefix(content, "-> "); ok {
			n = tree.NewSymlink("", target)
		}
		n.Mtime = tree.Time{Sec: 1600000000}
		e.Put(path, n)
	}
	root, err := e.Apply(tree.NewDir("", 0o755))
	systest.Must(t, err)
	return root
}

// fakeISOLINUX is as much of one as is looked at.
func fakeISOLINUX(version string, hybrid bool) string {
	b := make([]byte, 4096)
	if hybrid {
		copy(b[64:], isolinuxSignature)
	}
	copy(b[100:], "\r\nISOLINUX "+version+" 20200816 \x00")
	return string(b)
}

// fakeGRUB is as much of an EFI image of GRUB as is looked at.
func fakeGRUB(prefix, config string) string {
	le := binary.LittleEndian
	var objects []byte
	object := func(kind uint32, content string) {
		content += strings.Repeat("\x00", 8-len(content)%8)
		objects = le.AppendUint32(objects, kind)
		objects = le.AppendUint32(objects, uint32(8+len(content)))
		objects = append(objects, content...)
	}
	object(0, "an ELF module with mimg in it")
	if config != "" {
		object(objectConfig, config)
	}
	object(objectPrefix, prefix)
	out := []byte("MZ, code, and mimg by chance ....................")
	out = append(out, "mimg\x00\x00\x00\x00"...)
	out = le.AppendUint64(out, 24)
	out = le.AppendUint64(out, uint64(24+len(objects)))
	return string(append(append(out, objects...), make([]byte, 100)...))
}

// code is MBR code that can be told from other code.
func code(name string, size int) string {
	return name + strings.Repeat("\x90", size-len(name))
}

// fakeFAT is a FAT image of files.
func fakeFAT(t testing.TB, files map[string]string) string {
	t.Helper()
	p, err := fat.NewPlan(t.Context(), treeOf(t, files), fat.BuildOptions{})
	systest.Must(t, err)
	return string(contentOf(t, p.Data()))
}

func contentOf(t testing.TB, d tree.Data) []byte {
	t.Helper()
	c, err := d.Open()
	systest.Must(t, err)
	defer c.Close()
	b := make([]byte, c.Size())
	systest.Must(t, tree.ReadFull(c, b, 0))
	return b
}

// paths lists the files of a tree.
func paths(t testing.TB, root *tree.Node) (out []string) {
	t.Helper()
	if root == nil {
		return nil
	}
	systest.Must(t, tree.Walk(t.Context(), root, func(path string, n *tree.Node) error {
		if n.Type != tree.Directory {
			out = append(out, path)
		}
		return nil
	}))
	sort.Strings(out)
	return out
}

// describe returns what a Setup boots, in short.
func describe(s *Setup) string {
	var out []string
	for _, b := range s.Boot {
		what := fmt.Sprintf("%#x %s", b.Platform, b.Path)
		if b.BootInfo {
			what += " info"
		}
		if b.Grub2Info {
			what += " grub2"
		}
		out = append(out, what)
	}
	if d := s.Disk; d != nil {
		name, _, _ := bytes.Cut(d.Code, []byte{0x90})
		out = append(out, fmt.Sprintf("%s %s %v", d.Kind, name, d.Table))
	}
	return strings.Join(out, ", ")
}

// laid is the medium with what a Setup puts on it.
func laid(t testing.TB, medium *tree.Node, s *Setup) *tree.Node {
	t.Helper()
	var e tree.Edits
	for _, path := range paths(t, s.Root) {
		n, err := s.Root.Lookup(path)
		systest.Must(t, err)
		e.Put(path, n)
	}
	root, err := e.Apply(medium)
	systest.Must(t, err)
	return root
}

// image is a sparse file in memory.
type image struct{ b []byte }

func (f *image) WriteAt(p []byte, off int64) (int, error) {
	if need := int(off) + len(p); need > len(f.b) {
		f.b = append(f.b, make([]byte, need-len(f.b))...)
	}
	return copy(f.b[off:], p), nil
}

// burn makes the ISO, which must take the Setup as it is, and the same bytes
// twice.
func burn(t testing.TB, medium *tree.Node, s *Setup) *iso.Image {
	t.Helper()
	var out [2]image
	for i := range out {
		p, err := iso.NewPlan(t.Context(), laid(t, medium, s), iso.Recipe{
			VolumeID: "TEST", Time: tree.Time{Sec: 1700000000},
			Boot: s.Boot, Catalog: s.Catalog, Disk: s.Disk, Appended: s.Appended,
		})
		systest.Must(t, err)
		r, err := p.Write(t.Context(), &out[i], nil)
		systest.Must(t, err)
		out[i].b = append(out[i].b, make([]byte, r.Size-int64(len(out[i].b)))...)
	}
	if !bytes.Equal(out[0].b, out[1].b) {
		t.Error("the second ISO differs")
	}
	img, err := iso.Open(bytes.NewReader(out[0].b), int64(len(out[0].b)), "test.iso")
	systest.Must(t, err)
	return img
}

// insideFAT returns the files of a FAT image in a tree.
func insideFAT(t testing.TB, root *tree.Node, path string) map[string]string {
	t.Helper()
	n, err := root.Lookup(path)
	if err != nil || n == nil {
		t.Fatalf("%s: %v, %v", path, n, err)
	}
	b := contentOf(t, n.Data)
	fs, err := fat.Open(bytes.NewReader(b), int64(len(b)), path)
	systest.Must(t, err)
	in, err := fs.Root()
	systest.Must(t, err)
	out := map[string]string{}
	for _, p := range paths(t, in) {
		n, err := in.Lookup(p)
		systest.Must(t, err)
		out[p] = string(contentOf(t, n.Data))
	}
	return out
}

func keys(m map[string]string) (out []string) {
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

var _ io.WriterAt = (*image)(nil)
