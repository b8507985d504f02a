package overlay

import (
	"strings"

	"relive/tree"
)

// lowerMarks name, without their prefix, the marks that refer to inodes of the
// lower layer as it was when they were set, but for origin.
var lowerMarks = map[string]bool{"impure": true, "nlink": true, "uuid": true, "upper": true}

// WithoutOrigins returns a layer's tree without the marks that refer to inodes of
// the layer below, for use above a base that was made anew. What the union
// shows does not depend on them, but for the inode index and for metacopies,
// which such a layer must not use.
//
// The mark origin stays, but empty: to the kernel that is "copied up, from where
// is not known" (fs/overlayfs/namei.c, ovl_get_fh), and a directory without it
// would look as if it had lost its attributes.
func WithoutOrigins(root *tree.Node) *tree.Node {
	n := *root
	n.Xattrs = nil
	for _, x := range root.Xattrs {
		for _, prefix := range []string{"trusted.overlay.", "user.overlay."} {
			mark, ok := strings.CutPrefix(x.Name, prefix)
			switch {
			case ok && mark == "origin":
				x.Value = ""
			case ok && lowerMarks[mark]:
				x.Name = ""
			}
		}
		if x.Name != "" {
			n.Xattrs = append(n.Xattrs, x)
		}
	}
	if n.Dir != nil {
		n.Dir, n.Inode = originlessDir{root.Dir}, tree.Inode{}
	}
	return &n
}

type originlessDir struct{ of tree.Dir }

// Children implements tree.Dir.
func (d originlessDir) Children() ([]*tree.Node, error) {
	kids, bad, err := (&tree.Node{Dir: d.of}).Readable()
	if err != nil {
		return nil, err
	}
	out := make([]*tree.Node, len(kids))
	for i, k := range kids {
		out[i] = WithoutOrigins(k)
	}
	return tree.Partial(out, bad)
}
