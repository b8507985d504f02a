package tree

import (
	"fmt"
	"strings"
)

// Edits is a set of changes by path that a transform lays over a tree. The
// zero value is ready.
type Edits struct{ root edit }

// edit is what happens to one node and, by name, below it.
type edit struct {
	put    *Node // replaces the node
	remove bool
	kids   map[string]*edit
}

func (e *Edits) at(path string) *edit {
	at := &e.root
	for part := range strings.SplitSeq(path, "/") {
		if part == "" {
			continue
		}
		if at.kids == nil {
			at.kids = map[string]*edit{}
		}
		next := at.kids[part]
		if next == nil {
			next = &edit{}
			at.kids[part] = next
		}
		at = next
	}
	return at
}

// Remove takes the path, with all below it, out of the tree, also what was put
// there before. A path that does not exist is no error.
func (e *Edits) Remove(path string) {
	at := e.at(path)
	at.remove, at.put, at.kids = true, nil, nil
}

// Put sets the node at path, replacing what is there and what was put below it
// before; its Name is set from the path. Directories that lead there and do not exist are made, with mode 0755,
// owner root and the mtime of the node.
func (e *Edits) Put(path string, n *Node) {
	at := e.at(path)
	at.put, at.remove, at.kids = n, false, nil
}

// Apply returns the tree with the edits. What they do not touch is the source's
// own; a directory on the way to an edit has another Inode.
func (e *Edits) Apply(root *Node) (*Node, error) {
	if e.root.remove || e.root.put != nil {
		return nil, fmt.Errorf("the root of a tree can neither be removed nor replaced")
	}
	return e.root.apply(root), nil
}

func (e *edit) apply(n *Node) *Node {
	if len(e.kids) == 0 {
		return n
	}
	out := *n
	out.Dir, out.Inode = &editedDir{n, e}, Inode{}
	return &out
}

type editedDir struct {
	n *Node
	e *edit
}

// Children implements Dir.
func (d *editedDir) Children() ([]*Node, error) {
	kids, all, err := d.n.Readable()
	if err != nil {
		return nil, err
	}
	// What is removed or replaced need not be readable.
	var bad []BadEntry
	for _, b := range all {
		if e := d.e.kids[b.Name]; e == nil || e.put == nil && !e.remove {
			bad = append(bad, b)
		}
	}
	out := make([]*Node, 0, len(kids)+len(d.e.kids))
	seen := make(map[string]bool, len(d.e.kids))
	for _, k := range kids {
		e := d.e.kids[k.Name]
		if e == nil {
			out = append(out, k)
			continue
		}
		seen[k.Name] = true
		if k = e.on(k.Name, k); k != nil {
			out = append(out, k)
		}
	}
	for name, e := range d.e.kids {
		if seen[name] || FindBad(bad, name) != nil {
			continue
		}
		if k := e.on(name, nil); k != nil {
			out = append(out, k)
		}
	}
	Sort(out)
	return Partial(out, bad)
}

// on returns what the edit makes of the node of that name, nil for nothing.
func (e *edit) on(name string, n *Node) *Node {
	if e.put != nil {
		c := *e.put
		c.Name = name
		n = &c
	} else if e.remove {
		n = nil
	}
	if len(e.kids) == 0 {
		return n
	}
	if n != nil && n.Type == Directory {
		return e.apply(n)
	}
	// Something is put below a path that is missing or is no directory.
	mtime, any := e.puts()
	if !any {
		return n
	}
	dir := NewDir(name, 0o755)
	dir.Mtime = mtime
	return e.apply(dir)
}

// puts reports whether anything is put below, and the latest of its mtimes.
func (e *edit) puts() (latest Time, any bool) {
	for _, k := range e.kids {
		if k.put != nil && (!any || latest.Before(k.put.Mtime)) {
			latest, any = k.put.Mtime, true
		}
		if t, ok := k.puts(); ok && (!any || latest.Before(t)) {
			latest, any = t, true
		}
	}
	return latest, any
}
