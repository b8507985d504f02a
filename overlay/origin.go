package overlay

import (
	"strings"

	"relive/tree"
)

// lowerMarks name, without their prefix, the marks that refer to inodes of the
// lower layer as it was when they were set.
var lowerMarks = map[string]bool{"origin": true, "impure": true, "nlink": true, "uuid": true, "upper": true}

// WithoutOrigins gives a layer's tree without the marks that refer to inodes of
// the layer below, for use above a base that was made anew. What the union
// shows does not depend on them, but for the inode index and for metacopies,
// which such a layer must not use.
func WithoutOrigins(root *tree.Node) *tree.Node {
	n := *root
	n.Xattrs = n.Xattrs.Filter(func(x tree.Xattr) bool {
		for _, prefix := range []string{"trusted.overlay.", "user.overlay."} {
			if mark, ok := strings.CutPrefix(x.Name, prefix); ok && lowerMarks[mark] {
				return false
			}
		}
		return true
	})
	if n.Dir != nil {
		n.Dir, n.Inode = originlessDir{root.Dir}, tree.Inode{}
	}
	return &n
}

type originlessDir struct{ of tree.Dir }

// Children implements tree.Dir.
func (d originlessDir) Children() ([]*tree.Node, error) {
	kids, err := d.of.Children()
	if err != nil {
		return nil, err
	}
	out := make([]*tree.Node, len(kids))
	for i, k := range kids {
		out[i] = WithoutOrigins(k)
	}
	return out, nil
}
