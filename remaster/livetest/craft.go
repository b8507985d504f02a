package livetest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"

	"relive/codec"
	"relive/extfs/mkfs"
	"relive/squash"
	"relive/tree"
	"relive/tree/systest"
)

// Dir and file make nodes with a time, so that no test depends on now.
func Dir(name string, kids ...*tree.Node) *tree.Node {
	d := tree.NewDir(name, 0o755, kids...)
	d.Mtime = tree.Time{Sec: 1_600_000_000}
	return d
}

// File is a file like that.
func File(name string, content []byte) *tree.Node {
	f := tree.NewFile(name, 0o644, content)
	f.Mtime = tree.Time{Sec: 1_600_000_001}
	return f
}

// Etc makes etc with a version file in it.
func Etc(name string, more ...*tree.Node) *tree.Node {
	return Dir("etc", append(more, Dir("live", Dir("version", File(name, []byte(VersionText)))))...)
}

// Overlaid is the tree of a rootfs in overlayfs's form.
func Overlaid(kids ...*tree.Node) *tree.Node {
	return Dir("", Merging(Dir("upper", kids...)), Dir("work"))
}

// Merging returns the directories of a layer the mark that the kernel gives to
// those that it merges with one below. It is empty where the file system below
// has no file handles.
func Merging(n *tree.Node) *tree.Node {
	if n.Type == tree.Directory {
		n.Xattrs = append(tree.Xattrs{{Name: "trusted.overlay.origin"}}, n.Xattrs...)
		for _, k := range n.Dir.(tree.List) {
			Merging(k)
		}
	}
	return n
}

// Whiteout is what overlayfs marks a deletion with.
func Whiteout(name string) *tree.Node {
	return &tree.Node{Name: name, Nlink: 1, Meta: tree.Meta{Type: tree.CharDevice, Mtime: tree.Time{Sec: 1_600_000_002}}}
}

// With returns a node other attributes.
func With(n *tree.Node, fn func(*tree.Node)) *tree.Node {
	fn(n)
	return n
}

// LikeMksquashfs are the options of an image as mksquashfs makes it.
func LikeMksquashfs(id codec.ID, blockSize int) squash.WriteOptions {
	return squash.WriteOptions{Codec: codec.DefaultOptions(id, blockSize), BlockSize: blockSize,
		Flags: squash.FlagDuplicates | squash.FlagExportable, MkfsTime: 1_650_000_000}
}

// Craft makes a live directory from trees, with our own writers and without
// root: base is a whole system, root all of rootfs.
func Craft(t testing.TB, base, root *tree.Node, o squash.WriteOptions) *Live {
	t.Helper()
	l := &Live{T: t, Dir: systest.TempDir(t)}
	WriteSquash(t, l.Path("linuxfs"), base, o)
	if root != nil {
		BuildRootfs(t, l.Path("rootfs"), root)
	}
	return l
}

// BuildRootfs writes a tree as the ext4 image of a rootfs.
func BuildRootfs(t testing.TB, path string, root *tree.Node) {
	t.Helper()
	f, err := os.Create(path)
	systest.Must(t, err)
	defer f.Close()
	_, err = mkfs.Build(context.Background(), f, root, mkfs.Options{Size: 16 << 20, Label: "rootfs"})
	systest.Must(t, err)
}

// WriteSquash writes a tree as an image with our own writer.
func WriteSquash(t testing.TB, path string, root *tree.Node, o squash.WriteOptions) *squash.Plan {
	t.Helper()
	if o.Library == nil {
		o.Library = Env(t, codec.Auto).Library
	}
	p, err := squash.NewPlan(t.Context(), root, o)
	systest.Must(t, err)
	f, err := os.Create(path)
	systest.Must(t, err)
	_, err = p.Write(t.Context(), f, 0)
	systest.Must(t, errors.Join(err, f.Close()))
	return p
}

// ManyFiles makes small files that share fragment blocks.
func ManyFiles(n int) (out []*tree.Node) {
	for i := range n {
		out = append(out, File(fmt.Sprintf("small%03d", i), Text(uint64(i)+1000, 2000)))
	}
	return out
}

// Small is a small live directory that needs no root to make.
func Small(t testing.TB) *Live {
	t.Helper()
	return Craft(t, SmallBase(), SmallUpper(), LikeMksquashfs(codec.Gzip, 128<<10))
}

// SmallBase is the base of Small, with more in its root.
func SmallBase(more ...*tree.Node) *tree.Node {
	return Dir("", append(more, Etc("linuxfs.ver", File("passwd", []byte("root\n"))),
		Dir("usr", File("big", Text(1, 400_000)), File("tool", Text(2, 3000))),
		Dir("var", Dir("cache", File("a.deb", Text(3, 20_000)), File("b.deb", Text(4, 100)), File("keep", []byte("k"))),
			Dir("log", File("syslog", Text(5, 9000)), Dir("samba", File("log", []byte("s"))))))...)
}

// SmallUpper is the rootfs of Small.
func SmallUpper() *tree.Node {
	return Overlaid(Etc("rootfs.ver", File("new", []byte("new\n"))), Dir("usr", Whiteout("tool")),
		Dir("var", Dir("cache", File("c.deb", []byte("c")))))
}

// RestampDir makes a live directory in which a set was written over a former
// base.
func RestampDir(t testing.TB, was, is, upper *tree.Node) string {
	t.Helper()
	version := func(root *tree.Node, name, id string) *tree.Node {
		var e tree.Edits
		e.Put("etc/live/version/"+name, File("", []byte(id+"\n")))
		out, err := e.Apply(root)
		systest.Must(t, err)
		return out
	}
	const former = "==== 11111111111111111111111111111111"
	l := Craft(t, version(is, "linuxfs.ver", NewVersion), nil, LikeMksquashfs(codec.Gzip, 128<<10))
	WriteSquash(t, l.Path("linuxfs.old"), version(was, "linuxfs.ver", former), LikeMksquashfs(codec.Gzip, 128<<10))
	systest.Must(t, os.Mkdir(l.Path("work"), 0o755))
	stamped := *version(upper, "rootfs.ver", former)
	stamped.Name = "upper"
	BuildRootfs(t, l.Path("work/rootfs"), Dir("", &stamped, Dir("work")))
	return l.Dir
}
