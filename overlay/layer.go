package overlay

import (
	"errors"
	"fmt"

	"relive/tree"
)

// Form is the way in which a layer records what it hides.
type Form int

const (
	// OverlayFS has character devices 0:0 as whiteouts, and directories carry
	// marks in extended attributes (Linux fs/overlayfs).
	OverlayFS Form = iota
	// Aufs has files named ".wh.…" as whiteouts and opaque marks.
	Aufs
)

func (f Form) String() string {
	switch f {
	case OverlayFS:
		return "overlayfs"
	case Aufs:
		return "aufs"
	}
	return fmt.Sprintf("form %d", int(f))
}

// Namespace says which extended attributes an overlayfs layer's marks are.
type Namespace int

const (
	// AnyNamespace is the one of the two that the layer's attributes show.
	AnyNamespace Namespace = iota
	// Trusted is "trusted.overlay.", what a mount by root without the option
	// userxattr writes; "user.overlay." is then ordinary.
	Trusted
	// User is "user.overlay.", what a mount with the option userxattr writes;
	// "trusted.overlay." is then ordinary.
	User
)

// Prefix is what the names of the namespace's attributes begin with, empty for
// AnyNamespace.
func (n Namespace) Prefix() string {
	switch n {
	case Trusted:
		return "trusted.overlay."
	case User:
		return "user.overlay."
	}
	return ""
}

func (n Namespace) String() string {
	if p := n.Prefix(); p != "" {
		return p + "*"
	}
	return "any"
}

// ErrMixedNamespaces is the error of a layer that holds attributes of both
// namespaces and does not say which of them are its own marks.
var ErrMixedNamespaces = errors.New("both trusted.overlay.* and user.overlay.* attributes")

// Layer is one tree of the stack.
type Layer struct {
	// Root is the layer's root directory.
	Root *tree.Node
	// Form is how the layer marks what it hides. The base, which is the lowest
	// layer, hides nothing, and its Form is not looked at.
	Form Form
	// Index is the directory work/index that belongs to the uppermost layer, or
	// nil where index=off. It must come from the same source as Root, for its
	// entries are hard links of the layer's files. The Index of other layers is
	// not looked at, as the kernel does not.
	Index *tree.Node
	// Namespace of the marks of an overlayfs layer. A caller that knows how the
	// layer was mounted should say so: a system that runs containers may store
	// attributes of the other namespace, which are then ordinary content.
	Namespace Namespace
}

// layer is a Layer as Merge has understood it.
type layer struct {
	root   *tree.Node
	form   Form
	prefix string // of private attributes, empty for aufs
	// plain: the base that keeps everything it holds, marks of a nested
	// overlay included.
	plain bool
}

// part is a directory of one layer that takes part in a merged directory.
type part struct {
	layer int
	node  *tree.Node
	kids  []*tree.Node // the node's children, when listed
	bad   []tree.BadEntry
	list  bool
}

func (p *part) child(name string) (*tree.Node, error) {
	if p.list {
		if b := tree.FindBad(p.bad, name); b != nil {
			return nil, b.Err
		}
		return tree.Find(p.kids, name), nil
	}
	return p.node.Child(name)
}

// find looks for a name in one directory of a layer. A whiteout gives hidden
// and no node.
func (l *layer) find(p *part, name string) (n *tree.Node, hidden bool, err error) {
	if l.form == Aufs && !l.plain {
		return findAufs(p, name)
	}
	n, err = p.child(name)
	if n == nil || err != nil {
		return nil, false, err
	}
	if !l.plain && l.isWhiteout(n) {
		return nil, true, nil
	}
	return n, false, nil
}

// isWhiteout reports whether a node of an overlayfs layer is a whiteout. The
// attribute form counts in any directory, as it does when the kernel looks a
// name up (util.c, ovl_path_is_whiteout); the parent's opaque="x" only makes
// readdir look for it.
func (l *layer) isWhiteout(n *tree.Node) bool {
	switch n.Type {
	case tree.CharDevice:
		return n.Rdev == tree.Rdev{}
	case tree.Regular:
		if n.Size == 0 && len(n.Xattrs) > 0 {
			_, ok := n.Xattrs.Get(l.prefix + "whiteout")
			return ok
		}
	}
	return false
}

// isOpaque reports whether a directory of the layer hides the layers below it.
func (l *layer) isOpaque(n *tree.Node) (bool, error) {
	if l.plain {
		return false, nil
	}
	if l.form == Aufs {
		return aufsOpaque(n)
	}
	v, _ := n.Xattrs.Get(l.prefix + "opaque")
	return v == "y", nil
}

// listed reports whether a name that the layer's directory holds may be a name of
// the union: it is neither a whiteout nor the layer's own book-keeping.
func (l *layer) listed(n *tree.Node) bool {
	switch {
	case l.plain:
		return true
	case l.form == Aufs:
		return !isAufsName(n.Name)
	}
	return !l.isWhiteout(n)
}
