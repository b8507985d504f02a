package accounts

import (
	"bytes"
	"fmt"

	"relive/tree"
)

// maxText is the longest file that is edited, in bytes.
const maxText = 16 << 20

// text is a file that is edited: what it was and what it has become.
type text struct {
	path     string // its real path
	node     *tree.Node
	was, now []byte
}

// text reads a file for editing, or gives what it has become so far.
func (w *work) text(real string, n *tree.Node) (*text, error) {
	if t := w.texts[real]; t != nil {
		return t, nil
	}
	if n.Size > maxText {
		return nil, tree.Unsupported("", tree.Quote(real), "a file of %d bytes is to be edited; the most is %d", n.Size, maxText)
	}
	b, err := tree.ReadAll(n, maxText)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", tree.Quote(real), err)
	}
	t := &text{path: real, node: n, was: b, now: b}
	w.texts[real] = t
	return t, nil
}

// edited is the node of a file with other content. Everything else that stat
// tells stays, the modification time too, so that the same plan gives the same
// tree; signatures of the old content go.
func edited(n *tree.Node, content []byte) *tree.Node {
	c := *n
	c.Data, c.Was = tree.Bytes(content), nil
	c.Size = int64(len(content))
	c.Inode, c.Nlink = tree.Inode{}, 1
	c.Xattrs = n.Xattrs.Filter(func(x tree.Xattr) bool { return x.Name != "security.ima" && x.Name != "security.evm" })
	return &c
}

// putTexts puts the files that have changed into the tree.
func (w *work) putTexts() {
	for real, t := range w.texts {
		if !bytes.Equal(t.was, t.now) && !w.covered(real) {
			w.edits.Put(real, edited(t.node, t.now))
			if t.node.Nlink != 1 && t.node.Inode != (tree.Inode{}) {
				w.links[t.node.Inode] = &linked{first: real, edit: t}
			}
		}
	}
}
