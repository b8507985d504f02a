package tree

import (
	"context"
	"errors"
)

// SkipDir is what the function that Walk calls returns on a directory to leave
// its children out.
var SkipDir = errors.New("skip this directory") //nolint:revive,staticcheck // named as fs.SkipDir is

// MaxDepth is how deep a tree may nest before a walk refuses it. PATH_MAX
// allows about 2048 levels of one-byte names.
const MaxDepth = 4096

// Walk calls fn for root and everything below, a directory before its
// children and these in byte order. The path of the root is "", that of
// anything else the names joined by '/', without a leading one. An error of fn
// other than SkipDir ends the walk and is returned; so does the end of ctx. SkipDir
// for what is no directory leaves nothing out.
func Walk(ctx context.Context, root *Node, fn func(path string, n *Node) error) error {
	return (&walker{ctx: ctx, fn: fn}).walk("", root, 0)
}

type walker struct {
	ctx context.Context
	fn  func(path string, n *Node) error
	bad func(path string, err error) error // nil ends the walk with the first error
}

func (w *walker) walk(path string, n *Node, depth int) error {
	if err := w.fn(path, n); err != nil {
		if err == SkipDir {
			return nil
		}
		return err
	}
	if n.Type != Directory {
		return nil
	}
	if depth == MaxDepth {
		return TooDeep(path)
	}
	if err := w.ctx.Err(); err != nil {
		return context.Cause(w.ctx)
	}
	kids, bad, err := w.children(path, n)
	if err != nil {
		return err
	}
	for len(kids) > 0 || len(bad) > 0 {
		if len(bad) > 0 && (len(kids) == 0 || bad[0].Name < kids[0].Name) {
			err, bad = w.bad(Join(path, bad[0].Name), bad[0].Err), bad[1:]
		} else {
			err, kids = w.walk(Join(path, kids[0].Name), kids[0], depth+1), kids[1:]
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// children lists a directory. Where bad is there, one that cannot be listed is
// empty.
func (w *walker) children(path string, n *Node) ([]*Node, []BadEntry, error) {
	if w.bad == nil {
		kids, err := n.ChildrenAt(path)
		return kids, nil, err
	}
	kids, bad, err := n.Readable()
	if err == nil || w.ctx.Err() != nil {
		return kids, bad, err
	}
	return nil, nil, w.bad(path, err)
}

// Join returns the path of a child.
func Join(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}
