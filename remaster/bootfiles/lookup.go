package bootfiles

import (
	"fmt"
	"path"
	"strings"

	"relive/tree"
)

// maxLinks is how many symlinks are followed on the way to a file, as in Linux.
const maxLinks = 40

// maxLoader is the size in bytes up to which a file is taken for a loader, a font
// or a piece of boot code, and read as a whole.
const maxLoader = 64 << 20

// source is a tree in which files are looked for.
type source struct {
	root *tree.Node
	// anyCase also finds names that differ in case, as loaders and firmware do:
	// media have them as they came through FAT and plain ISO 9660.
	anyCase bool
}

// file finds a regular file, following symlinks within the tree, and gives the
// path by which it stands there; nil for none.
func (s source) file(name string) (at string, n *tree.Node, err error) {
	at, n, err = s.walk(name)
	if n != nil && n.Type != tree.Regular {
		n = nil
	}
	return at, n, err
}

// directory is file for directories.
func (s source) directory(name string) (at string, n *tree.Node, err error) {
	at, n, err = s.walk(name)
	if n != nil && n.Type != tree.Directory {
		n = nil
	}
	return at, n, err
}

// walk finds what a path leads to.
func (s source) walk(name string) (at string, n *tree.Node, err error) {
	if s.root == nil {
		return "", nil, nil
	}
	n = s.root
	rest, links := strings.Split(name, "/"), 0
	above := []*tree.Node{}
	var names []string
	for len(rest) > 0 {
		part := rest[0]
		rest = rest[1:]
		switch part {
		case "", ".":
			continue
		case "..":
			if k := len(above); k > 0 {
				n, above, names = above[k-1], above[:k-1], names[:k-1]
			}
			continue
		}
		next, err := s.child(n, part)
		if err != nil {
			return "", nil, fmt.Errorf("%s: %w", tree.Quote(strings.Join(names, "/")), err)
		}
		if next == nil {
			return "", nil, nil
		}
		if next.Type == tree.Symlink {
			if links++; links > maxLinks {
				return "", nil, nil
			}
			rest = append(strings.Split(next.Target, "/"), rest...)
			if path.IsAbs(next.Target) {
				n, above, names = s.root, nil, nil
			}
			continue
		}
		above, names = append(above, n), append(names, next.Name)
		n = next
	}
	return strings.Join(names, "/"), n, nil
}

func (s source) child(n *tree.Node, name string) (*tree.Node, error) {
	k, err := n.Child(name)
	if k != nil || err != nil || !s.anyCase {
		return k, err
	}
	kids, err := n.Children()
	if err != nil {
		return nil, err
	}
	for _, k := range kids {
		if strings.EqualFold(k.Name, name) {
			return k, nil
		}
	}
	return nil, nil
}

// first finds the first of some files that is there.
func (s source) first(names ...string) (at string, n *tree.Node, err error) {
	for _, name := range names {
		if at, n, err = s.file(name); n != nil || err != nil {
			return at, n, err
		}
	}
	return "", nil, nil
}

// match finds the files that match a pattern of path.Match, part by part, in the
// order of their names.
func (s source) match(pattern string) (out []string, err error) {
	parts := strings.Split(pattern, "/")
	var descend func(dir string, parts []string) error
	descend = func(dir string, parts []string) error {
		if !strings.ContainsAny(parts[0], "*?[") {
			if next := inDir(dir, parts[0]); len(parts) > 1 {
				return descend(next, parts[1:])
			}
			at, n, err := s.file(inDir(dir, parts[0]))
			if n != nil {
				out = append(out, at)
			}
			return err
		}
		_, n, err := s.directory(dir)
		if n == nil || err != nil {
			return err
		}
		kids, err := n.Children()
		if err != nil {
			return fmt.Errorf("%s: %w", tree.Quote(dir), err)
		}
		for _, k := range kids {
			if ok, err := path.Match(parts[0], k.Name); err != nil {
				return err
			} else if !ok {
				continue
			}
			if err := descend(dir, append([]string{k.Name}, parts[1:]...)); err != nil {
				return err
			}
		}
		return nil
	}
	return out, descend("", parts)
}

// read reads a file, at most most bytes from its start.
func read(at string, n *tree.Node, most int64) ([]byte, error) {
	c, err := n.Open()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", tree.Quote(at), err)
	}
	defer c.Close()
	b := make([]byte, min(most, n.Size))
	if err := tree.ReadFull(c, b, 0); err != nil {
		return nil, fmt.Errorf("%s: %w", tree.Quote(at), err)
	}
	return b, nil
}
