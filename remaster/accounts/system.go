package accounts

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"relive/tree"
)

// system is the tree that is looked at: nodes by their real paths, read once.
type system struct {
	ctx   context.Context
	root  *tree.Node
	nodes map[string]*tree.Node
	kids  map[string][]*tree.Node
}

func newSystem(ctx context.Context, root *tree.Node) *system {
	return &system{ctx: ctx, root: root, nodes: map[string]*tree.Node{}, kids: map[string][]*tree.Node{}}
}

// at returns the node of a real path, nil where there is none. No symlink is
// followed.
func (s *system) at(real string) (*tree.Node, error) {
	if real == "" {
		return s.root, nil
	}
	if n, ok := s.nodes[real]; ok {
		return n, nil
	}
	dir := parent(real)
	d, err := s.at(dir)
	if err != nil {
		return nil, err
	}
	var n *tree.Node
	if d != nil {
		name := real[strings.LastIndexByte(real, '/')+1:]
		if kids, ok := s.kids[dir]; ok {
			n = tree.Find(kids, name)
		} else if n, err = d.Child(name); err != nil {
			return nil, fmt.Errorf("%s: %w", tree.Quote(real), err)
		}
	}
	s.nodes[real] = n
	return n, nil
}

// list returns the children of a real path.
func (s *system) list(real string) ([]*tree.Node, error) {
	if kids, ok := s.kids[real]; ok {
		return kids, nil
	}
	if s.ctx.Err() != nil {
		return nil, context.Cause(s.ctx)
	}
	n, err := s.at(real)
	if n == nil || err != nil {
		return nil, err
	}
	kids, err := n.Children()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", tree.Quote(real), err)
	}
	s.kids[real] = kids
	return kids, nil
}

// maxLinks is how many symlinks a path may lead over, as Linux has it.
const maxLinks = 40

// errLinks is the error of a path that leads over too many symlinks.
type errLinks struct{ path string }

func (e errLinks) Error() string {
	return fmt.Sprintf("%s: symlinks lead in a circle, or over more than %d", tree.Quote(e.path), maxLinks)
}

// resolve walks a path as the system itself would with this tree as its root,
// and gives the real path that it leads to. The last name's symlink is followed
// only if that is asked for. n is nil where nothing is there; real is then
// where it would be.
func (s *system) resolve(p string, follow bool) (real string, n *tree.Node, err error) {
	rest := strings.Split(p, "/")
	links := 0
	n = s.root
	for len(rest) > 0 {
		name := rest[0]
		rest = rest[1:]
		switch name {
		case "", ".":
			continue
		case "..":
			real = parent(real)
			if n, err = s.at(real); err != nil {
				return "", nil, err
			}
			continue
		}
		real = tree.Join(real, name)
		if n, err = s.at(real); err != nil {
			return "", nil, err
		}
		if n == nil || n.Type != tree.Symlink || len(rest) == 0 && !follow {
			continue
		}
		if links++; links > maxLinks || len(n.Target) > 4096 {
			return "", nil, errLinks{p}
		}
		rest = append(strings.Split(n.Target, "/"), rest...)
		if strings.HasPrefix(n.Target, "/") {
			real, n = "", s.root
			continue
		}
		real = parent(real)
		if n, err = s.at(real); err != nil {
			return "", nil, err
		}
	}
	return real, n, nil
}

// glob calls fn for every path that the parts of a pattern match. Symlinks on
// the way are followed; the last only if that is asked for.
func (s *system) glob(parts []string, follow bool, fn func(real string, n *tree.Node) error) error {
	return s.globAt("", parts, follow, 0, fn)
}

func (s *system) globAt(dir string, parts []string, follow bool, depth int, fn func(string, *tree.Node) error) error {
	if depth > tree.MaxDepth {
		return fmt.Errorf("%s: directories nest deeper than %d", tree.Quote(dir), tree.MaxDepth)
	}
	d, err := s.at(dir)
	if err != nil || d == nil || d.Type != tree.Directory {
		return err
	}
	part, rest := parts[0], parts[1:]
	if part == anyDepth {
		return s.deep(dir, d, [][]string{rest}, follow, depth, fn)
	}
	visit := func(name string) error {
		real, n, err := s.resolve(tree.Join(dir, name), follow || len(rest) > 0)
		if _, loop := err.(errLinks); loop {
			return nil // leads nowhere
		}
		if err != nil || n == nil {
			return err
		}
		if len(rest) == 0 {
			if real == "" {
				return nil // a link to the root; no rule is about that
			}
			return fn(real, n)
		}
		return s.globAt(real, rest, follow, depth+1, fn)
	}
	if isLiteral(part) {
		return visit(part)
	}
	kids, err := s.list(dir)
	if err != nil {
		return err
	}
	for _, k := range kids {
		ok, err := path.Match(part, k.Name)
		if err != nil {
			return fmt.Errorf("pattern %q: %w", part, err)
		}
		if !ok {
			continue
		}
		if err := visit(k.Name); err != nil {
			return err
		}
	}
	return nil
}

// deep calls fn for what the tails match in a directory or any below it. It
// walks once for all tails and keeps nothing of what it lists.
func (s *system) deep(dir string, d *tree.Node, tails [][]string, follow bool, depth int, fn func(string, *tree.Node) error) error {
	if depth > tree.MaxDepth {
		return fmt.Errorf("%s: directories nest deeper than %d", tree.Quote(dir), tree.MaxDepth)
	}
	if s.ctx.Err() != nil {
		return context.Cause(s.ctx)
	}
	kids, err := d.Children()
	if err != nil {
		return fmt.Errorf("%s: %w", tree.Quote(dir), err)
	}
	for _, tail := range tails {
		if len(tail) > 1 || follow {
			if err := s.globAt(dir, tail, follow, depth+1, fn); err != nil {
				return err
			}
			continue
		}
		for _, k := range kids {
			ok := k.Name == tail[0]
			if !isLiteral(tail[0]) {
				if ok, err = path.Match(tail[0], k.Name); err != nil {
					return fmt.Errorf("pattern %q: %w", tail[0], err)
				}
			}
			if ok {
				if err := fn(tree.Join(dir, k.Name), k); err != nil {
					return err
				}
			}
		}
	}
	for _, k := range kids {
		if k.Type == tree.Directory {
			if err := s.deep(tree.Join(dir, k.Name), k, tails, follow, depth+1, fn); err != nil {
				return err
			}
		}
	}
	return nil
}

// globAll is glob for several patterns. Those that agree up to a "**" are
// looked for in one walk.
func (s *system) globAll(patterns [][]string, follow bool, fn func(real string, n *tree.Node) error) error {
	done := make([]bool, len(patterns))
	for i, p := range patterns {
		if done[i] {
			continue
		}
		at := slices.Index(p, anyDepth)
		if at < 0 {
			if err := s.glob(p, follow, fn); err != nil {
				return err
			}
			continue
		}
		var tails [][]string
		for j := i; j < len(patterns); j++ {
			if q := patterns[j]; !done[j] && slices.Index(q, anyDepth) == at && slices.Equal(q[:at], p[:at]) {
				tails = append(tails, q[at+1:])
				done[j] = true
			}
		}
		walk := func(real string, n *tree.Node) error {
			if n.Type != tree.Directory {
				return nil
			}
			return s.deep(real, n, tails, follow, 0, fn)
		}
		var err error
		if at == 0 {
			err = walk("", s.root)
		} else {
			err = s.glob(p[:at], true, walk)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
