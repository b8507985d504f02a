package overlay

import (
	"context"
	"path"
	"strings"

	"relive/tree"
)

// Origin is the mark of a file that the kernel has copied up: the inode of a
// lower layer that it was (Linux, fs/overlayfs/namei.c: ovl_check_origin). Under
// redirect_dir, index, metacopy or xino the kernel follows it also into a file
// system without a UUID, such as SquashFS.
type Origin struct {
	// Path is a name of the file in its layer.
	Path string
	// Dir: it is a directory, which the kernel finds by its name, and looks at the
	// mark only to see whether it is still the same one: that of the layer's root,
	// whose Path is empty, when it mounts with an index.
	Dir bool
	// File is the identity of the file that has the mark.
	File tree.Inode
	// UUID is that of the lower file system, zero for one that has none.
	UUID [16]byte
	// Number is the inode's number there.
	Number uint64
}

// Origins lists the marks of a layer's files and directories that name inodes of
// the layers below, by each name of the files. Marks that are empty, or of a form
// that names no inode, are left out. Layers of aufs have none.
func Origins(l Layer) ([]Origin, error) {
	if l.Form != OverlayFS || l.Root == nil {
		return nil, nil
	}
	prefixes := []string{l.Namespace.Prefix()}
	if l.Namespace == AnyNamespace {
		prefixes = []string{Trusted.Prefix(), User.Prefix()}
	}
	var out []Origin
	err := walkRaw(l.Root, func(path string, n *tree.Node) error {
		for _, prefix := range prefixes {
			v, _ := n.Xattrs.Get(prefix + "origin")
			if v == "" {
				continue
			}
			// What the kernel cannot decode it passes over.
			if h, err := parseHandle([]byte(v)); err == nil {
				out = append(out, Origin{Path: strings.TrimPrefix(path, "/"), Dir: n.Type == tree.Directory, File: n.Inode, UUID: h.uuid,
					Number: h.inode})
			}
		}
		return nil
	})
	return out, err
}

// Astray returns a mark by which the kernel would show a file of the layer in the
// place of a file of base that it is not, or the other way about, or would refuse
// to mount; nil where there is none. base is the tree of the one file system
// below the layer, whose UUID is that of the marks.
//
// A mark leads to the inode that has its number in base. That is harmless where
// nobody else shows that inode: where it has no name but such as the layer
// covers, as the marked file covers its own, and where no other file of the layer
// is marked with it. A directory that is redirected shows what has names
// elsewhere. An inode of several names is not looked at by the kernel, which
// copies each name up for itself (inode.c, ovl_hash_bylower), unless there is an
// index; layers that depend on one are not to be laid over another base at all.
func Astray(ctx context.Context, l Layer, marks []Origin, base *tree.Node) (*Origin, error) {
	type carrier struct {
		mark *Origin
		more bool // another file is marked with the same inode
	}
	by := make(map[uint64]*carrier, len(marks))
	for i := range marks {
		m := &marks[i]
		c := by[m.Number]
		switch {
		case m.Dir && m.Path == "" && m.Number != base.Inode.Number:
			return m, nil
		case m.Dir:
			continue
		case c == nil:
			by[m.Number] = &carrier{mark: m}
		case m.File == (tree.Inode{}) || m.File != c.mark.File:
			c.more = true
		}
	}
	if len(by) == 0 {
		return nil, nil
	}
	at := &layer{root: l.Root, form: l.Form, prefix: l.Namespace.Prefix()}
	windows, err := at.windows()
	if err != nil {
		return nil, err
	}
	var astray *Origin
	err = tree.Walk(ctx, base, func(path string, n *tree.Node) error {
		c := by[n.Inode.Number]
		if n.Type == tree.Directory || c == nil || astray != nil || n.Nlink > 1 {
			return nil // a mark on a file that leads to a directory is passed over
		}
		if !c.more {
			if shown, err := at.shows(windows, path); !shown || err != nil {
				return err
			}
		}
		astray = c.mark
		return nil
	})
	return astray, err
}

// window is a directory of the layer that shows, beside what it holds itself,
// what a directory of the lower one holds: the root, and each that is redirected.
type window struct {
	dir   *tree.Node
	lower string // without a slash before or behind
}

// windows lists those of a layer over one other.
func (l *layer) windows() ([]window, error) {
	out := []window{{l.root, ""}}
	type place struct {
		window
		path   string
		opaque bool // it has nothing below that a name could lead to
		depth  int
	}
	for todo := []place{{window: out[0]}}; len(todo) > 0; {
		at := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if at.depth > tree.MaxDepth {
			return nil, tree.TooDeep(at.path)
		}
		kids, err := at.dir.Children()
		if err != nil {
			return nil, err
		}
		for _, n := range kids {
			if n.Type != tree.Directory {
				continue
			}
			next := place{window{n, path.Join(at.lower, n.Name)}, at.path + "/" + n.Name, at.opaque, at.depth + 1}
			to, redirected, err := l.redirect(n)
			redirected = redirected && err == nil // a wrong one cannot be looked into
			if redirected {
				if rest, absolute := strings.CutPrefix(to, "/"); absolute {
					next.lower, next.opaque = rest, false
				} else {
					next.lower = path.Join(at.lower, to)
				}
			}
			is, err := l.isOpaque(n)
			if err != nil {
				return nil, err
			}
			next.opaque = next.opaque || is
			if redirected && !next.opaque {
				out = append(out, next.window)
			}
			todo = append(todo, next)
		}
	}
	return out, nil
}

// shows reports whether what a lower layer has at a path that is no directory is
// seen by any name.
func (l *layer) shows(windows []window, path string) (bool, error) {
	for _, w := range windows {
		below := path
		if w.lower != "" {
			var ok bool
			if below, ok = strings.CutPrefix(path, w.lower+"/"); !ok {
				continue
			}
		}
		covered, err := l.covers(w.dir, below)
		if !covered || err != nil {
			return !covered, err
		}
	}
	return false, nil
}

// covers reports whether a directory of the layer hides what the lower one that it
// shows has at a path, which is no directory.
func (l *layer) covers(at *tree.Node, path string) (bool, error) {
	opaque := false
	for part := range strings.SplitSeq(path, "/") {
		n, err := at.Child(part)
		if err != nil {
			return false, err
		}
		if n == nil {
			return opaque, nil
		}
		if n.Type != tree.Directory {
			return true, nil // a file or a whiteout
		}
		is, err := l.isOpaque(n)
		if err != nil {
			return false, err
		}
		if _, redirected, err := l.redirect(n); err == nil && redirected {
			is = true // what is below shows another place of the lower layer
		}
		opaque = opaque || is
		at = n
	}
	return true, nil
}
