package tree

import "strings"

// Bounds of the symlinks that a path may lead over, as Linux has them.
const (
	maxLinks  = 40
	maxTarget = 4096
)

// Follow walks a path as a system would that has this tree as its root: symlinks
// are followed, and an absolute one begins at the root again. It returns what is
// there and the path that leads to it without a symlink; nil where nothing is
// there, or links lead in a circle.
func Follow(root *Node, path string) (n *Node, at string, err error) {
	rest := strings.Split(path, "/")
	way := []*Node{root} // from the root to where the walk has come
	names := []string{}
	links := 0
	for len(rest) > 0 {
		name := rest[0]
		rest = rest[1:]
		switch name {
		case "", ".":
			continue
		case "..":
			way = way[:max(1, len(way)-1)]
			names = names[:len(way)-1]
			continue
		}
		here := way[len(way)-1]
		if here.Type != Directory {
			return nil, "", nil
		}
		n, err := here.Child(name)
		if n == nil || err != nil {
			return nil, "", err
		}
		if n.Type != Symlink {
			way, names = append(way, n), append(names, name)
			continue
		}
		if links++; links > maxLinks || len(n.Target) > maxTarget {
			return nil, "", nil
		}
		rest = append(strings.Split(n.Target, "/"), rest...)
		if strings.HasPrefix(n.Target, "/") {
			way, names = way[:1], names[:0]
		}
	}
	return way[len(way)-1], strings.Join(names, "/"), nil
}
