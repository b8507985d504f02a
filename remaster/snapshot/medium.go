package snapshot

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"relive/remaster/live"
	"relive/remaster/refusal"
	"relive/tree"
)

// picked are the files of a medium that go along to an ISO.
type picked struct {
	root *tree.Node
	// left are names at and beside what was taken that stay behind, a slash
	// behind those of directories.
	left []string
}

// pick takes what the patterns name out of a medium's tree, with all below it.
// A pattern matches path by path, each part as path.Match has it. Former and
// unfinished files never match. Names in skip are not told of as left. A
// directory of which only a part is taken gets the time now: its own may be that
// of the snapshot before, which was written into it.
func pick(root *tree.Node, takes []string, now tree.Time, skip func(path string) bool) (*picked, error) {
	p := &picked{}
	var take func(dir string, n *tree.Node) (*tree.Node, error)
	take = func(dir string, n *tree.Node) (*tree.Node, error) {
		kids, err := n.Children()
		if err != nil {
			return nil, err
		}
		var out tree.List
		for _, k := range kids {
			at := tree.Join(dir, k.Name)
			switch whole, inside := reach(takes, at); {
			case whole && !live.IsAside(k.Name):
				out = append(out, worldReadable(k))
			case inside && k.Type == tree.Directory:
				sub, err := take(at, k)
				if err != nil {
					return nil, err
				}
				if kids, err := sub.Children(); err != nil {
					return nil, err
				} else if len(kids) > 0 {
					out = append(out, sub)
				}
			case skip(at):
			case k.Type == tree.Directory:
				p.left = append(p.left, at+"/")
			default:
				p.left = append(p.left, at)
			}
		}
		c := worldReadable(n)
		c.Dir, c.Inode, c.Mtime = out, tree.Inode{}, now
		return c, nil
	}
	var err error
	p.root, err = take("", root)
	return p, err
}

// reach reports whether a pattern matches a path, or something that can be below
// it.
func reach(patterns []string, at string) (whole, inside bool) {
	parts := strings.Split(at, "/")
	for _, p := range patterns {
		want := strings.Split(p, "/")
		if len(parts) > len(want) {
			continue
		}
		fits := true
		for i, part := range parts {
			if ok, err := path.Match(want[i], part); err != nil || !ok {
				fits = false
				break
			}
		}
		if fits && len(parts) == len(want) {
			return true, false
		}
		inside = inside || fits
	}
	return false, inside
}

// worldReadable returns a medium's file the owner and mode that all can read it with,
// as mkisofs -r does: those that it has on a stick are the mounting user's, and
// nobody else's business.
func worldReadable(n *tree.Node) *tree.Node {
	c := *n
	c.UID, c.GID, c.Xattrs = 0, 0, nil
	switch n.Type {
	case tree.Directory:
		c.Perm, c.Inode = 0o755, tree.Inode{} // what is below differs, too
		c.Dir = rationalDir{n}
	case tree.Regular:
		if c.Perm&0o111 != 0 {
			c.Perm = 0o555
		} else {
			c.Perm = 0o444
		}
	}
	return &c
}

type rationalDir struct{ n *tree.Node }

// Children implements tree.Dir.
func (d rationalDir) Children() ([]*tree.Node, error) {
	kids, err := d.n.Children()
	if err != nil {
		return nil, err
	}
	out := make([]*tree.Node, len(kids))
	for i, k := range kids {
		out[i] = worldReadable(k)
	}
	return out, nil
}

// onlyFiles is an error where a tree that comes from the place of that name holds
// what no medium needs and an ISO would carry to others: sockets, pipes and
// device files.
func onlyFiles(ctx context.Context, name string, root *tree.Node) error {
	return tree.Walk(ctx, root, func(at string, n *tree.Node) error {
		switch n.Type {
		case tree.Regular, tree.Directory, tree.Symlink:
			return nil
		}
		return refusal.New(refusal.WrongKind, "take it away first", "%s: is a %v, which has no place on an ISO", path.Join(name,
			tree.Quote(at)), n.Type)
	})
}

// ownFile reports whether a path of the medium is the live directory's own, and
// so accounted for.
func ownFile(l *live.Live, root, at string) bool {
	name := path.Join(root, at)
	for _, own := range slices.Concat(l.Files.Together(), l.Files.Stack, []string{l.Files.Home}) {
		if own == "" || slices.Contains(l.Files.Follow, own) {
			continue
		}
		own = path.Join(l.Absolute(), own)
		if name == own || strings.HasPrefix(own, name+"/") || strings.HasPrefix(name, own+".") {
			return true
		}
	}
	return false
}

// globTree returns the regular files of a tree that match a pattern, sorted, those
// with shorter names first: vmlinuz before vmlinuz.old.
func globTree(root *tree.Node, pattern string) ([]string, error) {
	nodes := map[string]*tree.Node{"": root}
	for part := range strings.SplitSeq(pattern, "/") {
		next := map[string]*tree.Node{}
		for at, n := range nodes {
			if n.Type != tree.Directory {
				continue
			}
			kids, err := n.Children()
			if err != nil {
				return nil, err
			}
			for _, k := range kids {
				if ok, err := path.Match(part, k.Name); err != nil {
					return nil, fmt.Errorf("%q: %w", pattern, err)
				} else if ok {
					next[tree.Join(at, k.Name)] = k
				}
			}
		}
		nodes = next
	}
	var out []string
	for at, n := range nodes {
		if n.Type == tree.Regular && !sumFileName(at) {
			out = append(out, at)
		}
	}
	slices.SortFunc(out, func(a, b string) int {
		if len(a) != len(b) {
			return len(a) - len(b)
		}
		return strings.Compare(a, b)
	})
	return out, nil
}

// sumFileName reports whether a file tells of another: vmlinuz.md5, vmlinuz1.ver.
func sumFileName(at string) bool {
	switch path.Ext(at) {
	case ".md5", ".sha256", ".sha512", ".sum", ".ver", ".sig", ".old", ".bad", ".bak", ".new":
		return true
	}
	return false
}

// laid puts the files of one tree over those of another, directories together.
func laid(ctx context.Context, below, above *tree.Node) (*tree.Node, error) {
	var edits tree.Edits
	err := tree.Walk(ctx, above, func(at string, n *tree.Node) error {
		if at == "" {
			return nil
		}
		if n.Type == tree.Directory {
			if was, err := below.Lookup(at); err != nil {
				return err
			} else if was != nil && was.Type == tree.Directory {
				return nil
			}
			edits.Put(at, n)
			return tree.SkipDir
		}
		edits.Put(at, n)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return edits.Apply(below)
}
