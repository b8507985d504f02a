package overlay

import (
	"strings"

	"relive/tree"
)

// Names of an aufs branch (aufs, include/uapi/linux/aufs_type.h): AUFS_WH_PFX,
// AUFS_WH_PFX2 and AUFS_WH_DIROPQ.
const (
	aufsWhiteout = ".wh."
	aufsInternal = ".wh..wh."
	aufsOpaqueNm = ".wh..wh..opq"
	aufsPlinks   = ".wh..wh.plnk"
)

// isAufsName reports whether aufs keeps the name to itself.
func isAufsName(name string) bool { return strings.HasPrefix(name, aufsWhiteout) }

// findAufs looks for a name in a directory of an aufs branch, where a whiteout
// beside the name wins.
func findAufs(p *part, name string) (n *tree.Node, hidden bool, err error) {
	if isAufsName(name) {
		return nil, false, nil
	}
	if len(aufsWhiteout)+len(name) <= 255 {
		w, err := p.child(aufsWhiteout + name)
		if err != nil {
			return nil, false, err
		}
		if w != nil && w.Type != tree.Directory {
			return nil, true, nil
		}
	}
	n, err = p.child(name)
	return n, false, err
}

func aufsOpaque(dir *tree.Node) (bool, error) {
	n, err := dir.Child(aufsOpaqueNm)
	return n != nil, err
}

// checkAufsNames finds names that no aufs writes.
func checkAufsNames(path string, kids []*tree.Node) error {
	if tree.Find(kids, aufsWhiteout) != nil {
		return tree.Corrupt("aufs layer", tree.Quote(path), "a whiteout %q without a name", aufsWhiteout)
	}
	return nil
}
