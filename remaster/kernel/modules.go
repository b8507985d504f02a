package kernel

import (
	"fmt"
	"slices"
	"strings"

	"relive/tree"
)

// Modules gives the kernels whose modules a system's tree holds, sorted: the
// directories in /lib/modules and /usr/lib/modules that have a modules.dep or a
// kernel/. Symlinks, as of a merged /usr, are followed within the tree. A
// directory that an uninstalled kernel has left behind holds neither.
func Modules(root *tree.Node) ([]string, error) {
	var versions []string
	for _, at := range []string{"lib/modules", "usr/lib/modules"} {
		dir, err := follow(root, at)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", tree.Quote(at), err)
		}
		if dir == nil {
			continue
		}
		kids, err := dir.Children()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", tree.Quote(at), err)
		}
		for _, k := range kids {
			if !isRelease(k.Name) || k.Type != tree.Directory && k.Type != tree.Symlink || slices.Contains(versions, k.Name) {
				continue
			}
			for _, has := range []string{"modules.dep", "modules.dep.bin", "kernel"} {
				path := tree.Join(tree.Join(at, k.Name), has)
				n, err := follow(root, path)
				if err != nil {
					return nil, fmt.Errorf("%s: %w", tree.Quote(path), err)
				}
				if n == nil {
					continue
				}
				if len(versions) == maxVersions {
					return nil, tree.Unsupported(tree.Quote(at), "", "modules of more than %d kernels", maxVersions)
				}
				versions = append(versions, k.Name)
				break
			}
		}
	}
	slices.Sort(versions)
	return versions, nil
}

// Bounds of the symlinks that a path may lead over, as Linux has them.
const (
	maxLinks  = 40
	maxTarget = 4096
)

// follow walks a path as the system itself would with this tree as its root. It
// gives nil where nothing is there, or links lead in a circle.
func follow(root *tree.Node, path string) (*tree.Node, error) {
	rest := strings.Split(path, "/")
	way := []*tree.Node{root} // from the root to where the walk has come
	links := 0
	for len(rest) > 0 {
		name := rest[0]
		rest = rest[1:]
		switch name {
		case "", ".":
			continue
		case "..":
			way = way[:max(1, len(way)-1)]
			continue
		}
		n, err := way[len(way)-1].Child(name)
		if n == nil || err != nil {
			return nil, err
		}
		if n.Type != tree.Symlink {
			way = append(way, n)
			continue
		}
		if links++; links > maxLinks || len(n.Target) > maxTarget {
			return nil, nil
		}
		rest = append(strings.Split(n.Target, "/"), rest...)
		if strings.HasPrefix(n.Target, "/") {
			way = way[:1]
		}
	}
	return way[len(way)-1], nil
}
