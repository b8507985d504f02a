package main

import (
	"context"
	"embed"
	"fmt"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/tools/txtar"

	"relive/extfs"
	"relive/squash"
	"relive/squash/codec"
	"relive/tree"
)

//go:embed data
var data embed.FS

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: sample DIR")
		os.Exit(2)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	base, err := load("data/base.txtar")
	if err != nil {
		return err
	}
	upper, err := load("data/upper.txtar")
	if err != nil {
		return err
	}
	fill(base)
	// A file whose owner changed: overlayfs copies all of it.
	copied := *base.at("usr/lib/part-07.dat")
	copied.UID = 1000
	upper.put("usr/lib/part-07.dat", &copied)
	// A file of which the middle changed.
	content := base.content["usr/lib/part-11.dat"]
	patched := append([]byte(nil), content...)
	copy(patched[len(patched)/2:], "a few bytes in the middle are new")
	upper.put("usr/lib/part-11.dat", tree.NewFile("", 0o644, patched))
	// Deleted: a character device 0:0 in the upper layer.
	upper.put("usr/share/doc/old-tool", &tree.Node{Meta: tree.Meta{Type: tree.CharDevice}, Nlink: 1})
	// A capability, which many a copy loses.
	upper.at("usr/bin/new-tool").Xattrs = tree.Xattrs{{Name: "security.capability",
		Value: "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"}}

	if err := writeBase(filepath.Join(dir, "linuxfs"), base.tree()); err != nil {
		return err
	}
	layer := marked(upper.tree())
	layer.Name = "upper"
	root := tree.NewDir("", 0o755, layer, tree.NewDir("work", 0o755))
	return writeRootfs(filepath.Join(dir, "rootfs"), root)
}

// marked gives directories the mark that overlayfs sets when it copies one up.
// Its value, the handle of the directory below, is empty where the file system
// has none.
func marked(n *tree.Node) *tree.Node {
	if n.Type != tree.Directory {
		return n
	}
	kids, err := n.Children()
	if err != nil {
		panic(err) // all is in memory
	}
	c := *n
	c.Xattrs = tree.Xattrs{{Name: "trusted.overlay.origin"}}
	list := make(tree.List, len(kids))
	for i, k := range kids {
		list[i] = marked(k)
	}
	c.Dir = list
	return &c
}

// made is when everything in the sample was made.
var made = tree.Time{Sec: 1767268800}

// files is a tree that grows by paths.
type files struct {
	edits   tree.Edits
	nodes   map[string]*tree.Node
	content map[string][]byte
}

func load(name string) (*files, error) {
	b, err := data.ReadFile(name)
	if err != nil {
		return nil, err
	}
	f := &files{nodes: map[string]*tree.Node{}, content: map[string][]byte{}}
	for _, file := range txtar.Parse(b).Files {
		perm := uint16(0o644)
		if strings.Contains(file.Name, "/bin/") {
			perm = 0o755
		}
		f.add(file.Name, perm, file.Data)
	}
	return f, nil
}

func (f *files) add(name string, perm uint16, content []byte) {
	f.content[name] = content
	f.put(name, tree.NewFile("", perm, content))
}

func (f *files) put(name string, n *tree.Node) {
	if n.Mtime == (tree.Time{}) {
		n.Mtime = made
	}
	f.nodes[name] = n
	f.edits.Put(name, n)
}

func (f *files) at(name string) *tree.Node { return f.nodes[name] }

func (f *files) tree() *tree.Node {
	root := tree.NewDir("", 0o755)
	root.Mtime = made
	out, err := f.edits.Apply(root)
	if err != nil {
		panic(err) // the root is not edited
	}
	return out
}

// fill adds the bulk of a system: text that compresses as programs and
// documentation do.
func fill(f *files) {
	rnd := rand.New(rand.NewPCG(1, 2))
	words := strings.Fields("the live system keeps what it has written in an upper layer above its compressed base and shows both as one tree")
	for i := range 24 {
		var b strings.Builder
		for b.Len() < 1<<20 {
			fmt.Fprintf(&b, "%s %08x ", words[rnd.IntN(len(words))], rnd.Uint32())
		}
		f.add(path.Join("usr/lib", fmt.Sprintf("part-%02d.dat", i)), 0o644, []byte(b.String()))
	}
	for i := range 400 {
		var b strings.Builder
		for range 20 + rnd.IntN(200) {
			b.WriteString(words[rnd.IntN(len(words))] + " ")
		}
		f.add(path.Join("usr/share/doc", fmt.Sprintf("package-%03d", i), "README"), 0o644, []byte(b.String()))
	}
}

func writeBase(name string, root *tree.Node) error {
	lib, err := codec.Open(codec.Auto)
	if err != nil {
		return err
	}
	const blockSize = 128 << 10
	p, err := squash.NewPlan(context.Background(), root, squash.WriteOptions{
		Library: lib, Codec: codec.DefaultOptions(codec.XZ, blockSize), BlockSize: blockSize,
		Flags: squash.FlagDuplicates | squash.FlagExportable, MkfsTime: uint32(made.Sec),
	})
	if err != nil {
		return err
	}
	return create(name, func(f *os.File) error {
		_, err := p.Write(context.Background(), f, 0)
		return err
	})
}

func writeRootfs(name string, root *tree.Node) error {
	return create(name, func(f *os.File) error {
		_, err := extfs.Build(context.Background(), f, root, extfs.BuildOptions{Name: "rootfs", Size: 64 << 20, Label: "rootfs", Time: made})
		return err
	})
}

func create(name string, fill func(*os.File) error) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	if err := fill(f); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}
