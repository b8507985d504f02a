package iso

import (
	"context"
	"fmt"
	"slices"

	"relive/tree"
)

// outNode is a name in the image that is planned.
type outNode struct {
	n      *tree.Node
	parent *outNode // the root's is itself
	kids   [2][]*outNode
	names  [2]string // identifiers as they are stored
	inode  *outInode // of what is no directory
	serial uint32    // of directories

	extents [hierarchies]dirExtent
	number  [2]int // in the path table, from 1
}

// dirExtent is where a directory lies. Sizes are in sectors.
type dirExtent struct {
	block        uint32
	reserved     uint32 // for the records
	continuation uint32 // for continuation areas, behind them
	length       uint32 // in bytes; known when it is written
}

// outInode is what is behind one or more names.
type outInode struct {
	path    string // the first name's
	serial  uint32
	nlink   uint32
	size    int64
	block   uint32
	data    tree.Data
	catalog bool // the boot catalogue shown as a file
	late    bool // size and block are known when it is written
}

// collect takes the tree into memory: names and metadata, no content.
func (p *Plan) collect(ctx context.Context, root *tree.Node) error {
	if root.Type != tree.Directory {
		return fmt.Errorf("the root of an image is a %s", root.Type)
	}
	if p.recipe.Catalog != "" && len(p.recipe.Boot) > 0 {
		var e tree.Edits
		e.Put(p.recipe.Catalog, tree.NewFile("", 0o444, make([]byte, sectorSize)))
		var err error
		if root, err = e.Apply(root); err != nil {
			return err
		}
	}
	byInode := map[tree.Inode]*outInode{}
	byPath := map[string]*outNode{}
	serial := uint32(0)
	newest := root.Mtime
	err := tree.Walk(ctx, root, func(path string, n *tree.Node) error {
		if n.Type == 0 || n.Type == tree.Symlink && n.Target == "" {
			return fmt.Errorf("%s: a %s that no image can hold", tree.Quote(path), n.Type)
		}
		serial++
		o := &outNode{n: n}
		byPath[path] = o
		if newest.Before(n.Mtime) {
			newest = n.Mtime
		}
		if path == "" {
			p.root, o.parent = o, o
		} else {
			o.parent = byPath[parentPath(path)]
		}
		if n.Type == tree.Directory {
			o.serial = serial
			p.dirs = append(p.dirs, o)
		} else {
			linked := n.Inode != (tree.Inode{}) && n.Nlink > 1
			if linked {
				o.inode = byInode[n.Inode]
			}
			if o.inode == nil {
				o.inode = &outInode{path: path, serial: serial}
				if n.Type == tree.Regular {
					o.inode.size, o.inode.data = n.Size, n.Data
					p.inodes = append(p.inodes, o.inode)
				}
				if linked {
					byInode[n.Inode] = o.inode
				}
			}
			o.inode.nlink++
		}
		if path != "" {
			k := &o.parent.kids
			k[primarySpace] = append(k[primarySpace], o)
			if n.Type == tree.Directory || n.Type == tree.Regular {
				k[jolietSpace] = append(k[jolietSpace], o)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	p.mtime = newest
	if p.recipe.Time == (tree.Time{}) {
		p.recipe.Time = newest
	}
	return p.findSpecial(byPath)
}

// path is the name's path from the root.
func (o *outNode) path() string {
	if o.parent == o {
		return ""
	}
	return tree.Join(o.parent.path(), o.n.Name)
}

func parentPath(path string) string {
	for i := len(path) - 1; i >= 0; i-- {
		if path[i] == '/' {
			return path[:i]
		}
	}
	return ""
}

// findSpecial finds the files that the recipe names.
func (p *Plan) findSpecial(byPath map[string]*outNode) error {
	find := func(path, what string) (*outInode, error) {
		o := byPath[trimSlashes(path)]
		if o == nil || o.n.Type != tree.Regular {
			return nil, fmt.Errorf("%s, the %s, is not a file of the tree", tree.Quote(path), what)
		}
		return o.inode, nil
	}
	for i, l := range p.recipe.Late {
		in, err := find(l.Path, "late file")
		if err != nil {
			return err
		}
		if in.late {
			return fmt.Errorf("%s: the same file twice among the late ones", tree.Quote(l.Path))
		}
		if l.Max < 0 || l.Write == nil {
			return fmt.Errorf("%s: late file %d is to have up to %d bytes", tree.Quote(l.Path), i+1, l.Max)
		}
		in.late, in.size = true, l.Max
		p.late = append(p.late, in)
	}
	if d := p.recipe.Disk; d != nil {
		p.loaded = map[string]*outInode{}
		for _, a := range d.Loads {
			if a.Boot > 0 {
				continue
			}
			in, err := find(a.Path, "file that the disk's code loads")
			if err != nil {
				return err
			}
			if in.late || in.size == 0 {
				return fmt.Errorf("%s: a file that the disk's code loads cannot be empty or a late file", tree.Quote(a.Path))
			}
			p.loaded[a.Path] = in
		}
	}
	if len(p.recipe.Boot) == 0 {
		return nil
	}
	if p.recipe.Catalog != "" {
		c, err := find(p.recipe.Catalog, "boot catalogue")
		if err != nil {
			return err
		}
		if c.late {
			return fmt.Errorf("%s: the boot catalogue cannot be a late file", tree.Quote(p.recipe.Catalog))
		}
		c.catalog = true
		o := byPath[c.path]
		n := *o.n
		n.Mtime = p.recipe.Time
		o.n = &n
	}
	hidden := 0
	for i, b := range p.recipe.Boot {
		if b.Path == "" && b.Hidden != nil {
			if b.Size <= 0 {
				return fmt.Errorf("boot image %d is empty", i+1)
			}
			// Before the files, so that it is not taken for an appended partition.
			in := &outInode{path: fmt.Sprintf("hidden boot image %d", i+1), size: b.Size, data: b.Hidden}
			p.inodes, p.boot = slices.Insert(p.inodes, hidden, in), append(p.boot, in)
			hidden++
			continue
		}
		if b.Path == "" {
			p.boot = append(p.boot, nil)
			continue
		}
		in, err := find(b.Path, "boot image")
		if err != nil {
			return err
		}
		if in.late {
			return fmt.Errorf("%s: a boot image cannot be a late file", tree.Quote(b.Path))
		}
		if in.size == 0 {
			return fmt.Errorf("%s: the boot image is empty", tree.Quote(b.Path))
		}
		p.boot = append(p.boot, in)
	}
	return nil
}

func trimSlashes(path string) string {
	for len(path) > 0 && path[0] == '/' {
		path = path[1:]
	}
	return path
}
