package tree

import (
	"context"
	"errors"
	"fmt"
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
	return walk(ctx, "", root, 0, fn)
}

func walk(ctx context.Context, path string, n *Node, depth int, fn func(string, *Node) error) error {
	if err := fn(path, n); err != nil {
		if err == SkipDir {
			return nil
		}
		return err
	}
	if n.Type != Directory {
		return nil
	}
	if depth == MaxDepth {
		return fmt.Errorf("%s: directories nest deeper than %d", Quote(path), MaxDepth)
	}
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	kids, err := n.Children()
	if err != nil {
		return fmt.Errorf("%s: %w", Quote(path), err)
	}
	for _, k := range kids {
		if err := walk(ctx, Join(path, k.Name), k, depth+1, fn); err != nil {
			return err
		}
	}
	return nil
}

// Join gives the path of a child.
func Join(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}
