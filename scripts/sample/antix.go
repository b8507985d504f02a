package main

import (
	"path/filepath"

	"relive/codec"
	"relive/tree"
)

// antiX makes a base and a rootfs in dir.
func antiX(dir string) error {
	base, err := load("data/base.txtar")
	if err != nil {
		return err
	}
	fill(base)
	return writeAntiX(dir, base)
}

// writeAntiX writes a base, and a rootfs that changes some of it.
func writeAntiX(dir string, base *files) error {
	upper, err := load("data/upper.txtar")
	if err != nil {
		return err
	}
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

	if err := writeBase(filepath.Join(dir, "linuxfs"), base.tree(), codec.XZ, 0); err != nil {
		return err
	}
	layer := marked(upper.tree())
	layer.Name = "upper"
	root := tree.NewDir("", 0o755, layer, tree.NewDir("work", 0o755))
	return writeExt(filepath.Join(dir, "rootfs"), "rootfs", root)
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
