package kernel

import (
	"fmt"
	"slices"

	"relive/tree"
)

// Modules returns the kernels whose modules a system's tree holds, sorted: the
// directories in /lib/modules and /usr/lib/modules that have a modules.dep or a
// kernel/. Symlinks, as of a merged /usr, are followed within the tree. A
// directory that an uninstalled kernel has left behind holds neither.
func Modules(root *tree.Node) ([]string, error) {
	var versions []string
	for _, at := range []string{"lib/modules", "usr/lib/modules"} {
		dir, _, err := tree.Follow(root, at)
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
				n, _, err := tree.Follow(root, path)
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
