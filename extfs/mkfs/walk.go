package mkfs

import (
	"context"
	"fmt"
	"strings"

	"relive/extfs/internal/ondisk"
	"relive/tree"
)

const lostFoundName = "lost+found"

// firstInode is the number of the first inode that is not reserved.
const firstInode = ondisk.InoFirstOld

// walk goes through a tree in the order in which inodes are numbered and laid
// out: all children of a directory, then each of its subdirectories. Both
// passes use it, so that they agree without keeping a list.
type walk struct {
	ctx      context.Context
	image    string
	next     uint64 // the next free inode number
	lost     *tree.Node
	visitor  visitor
	path     []string
	entries  []direntry
	identity func(tree.Inode, uint32) (ino uint32, fresh bool, err error)
}

// visitor is what a pass does at each step.
type visitor interface {
	// inode meets an inode under its first name; it returns how many further
	// inode numbers it takes.
	inode(n *tree.Node, ino uint32) (more int, err error)
	// link meets a further name of an inode.
	link(n *tree.Node, ino uint32) error
	// directory has all the entries of a directory; they are valid during the
	// call.
	directory(self, parent uint32, entries []direntry, subdirs, minBlocks int) error
}

// place is the path that the walk is at.
func (w *walk) place(name string) string {
	p := "/" + strings.Join(w.path, "/")
	if name == "" {
		return p
	}
	if p == "/" {
		return p + name
	}
	return p + "/" + name
}

// wrap puts image and path before an error.
func (w *walk) wrap(name string, err error) error {
	return fmt.Errorf("%s: %s: %w", w.image, w.place(name), err)
}

func (w *walk) run(root *tree.Node, blockSize int) error {
	if root.Type != tree.Directory {
		return w.wrap("", fmt.Errorf("%w: the root is a %s, not a directory", tree.ErrUnsupported, root.Type))
	}
	w.next = firstInode
	more, err := w.visitor.inode(root, ondisk.InoRoot)
	if err != nil {
		return w.wrap("", err)
	}
	w.next += uint64(more)
	return w.dir(root, ondisk.InoRoot, ondisk.InoRoot, 0, blockSize)
}

func (w *walk) dir(n *tree.Node, self, parent uint32, minBlocks, blockSize int) error {
	if err := w.ctx.Err(); err != nil {
		return w.wrap("", err)
	}
	if len(w.path) > tree.MaxDepth {
		return w.wrap("", fmt.Errorf("%w: directories nest deeper than %d", tree.ErrUnsupported, tree.MaxDepth))
	}
	kids, err := n.ChildrenAt(strings.Join(w.path, "/"))
	if err != nil {
		return fmt.Errorf("%s: %w", w.image, err)
	}
	if self == ondisk.InoRoot && w.lost != nil {
		kids = withLostFound(kids, w.lost)
	}
	type subdir struct {
		node *tree.Node
		ino  uint32
	}
	var subdirs []subdir
	w.entries = w.entries[:0]
	for i, kid := range kids {
		if i&0xff == 0xff {
			if err := w.ctx.Err(); err != nil {
				return w.wrap("", err)
			}
		}
		if err := tree.CheckName(kid.Name); err != nil {
			return w.wrap("", fmt.Errorf("%w: %w", tree.ErrCorrupt, err))
		}
		if i > 0 && kids[i-1].Name >= kid.Name {
			return w.wrap(kid.Name, fmt.Errorf("%w: names are not in ascending order", tree.ErrCorrupt))
		}
		ino, err := w.meet(kid)
		if err != nil {
			return w.wrap(kid.Name, err)
		}
		w.entries = append(w.entries, direntry{kid.Name, ino, fileType(kid.Type)})
		if kid.Type == tree.Directory {
			subdirs = append(subdirs, subdir{kid, ino})
		}
	}
	if err := w.visitor.directory(self, parent, w.entries, len(subdirs), minBlocks); err != nil {
		return w.wrap("", err)
	}
	// Names are not needed while the walk is below.
	clear(w.entries)
	for _, sub := range subdirs {
		least := 0
		if self == ondisk.InoRoot && w.lost != nil && sub.node.Name == lostFoundName {
			least = max(lostFoundSize/blockSize, 2)
			// mke2fs stops at twelve blocks.
			least = min(least, ondisk.DirectBlocks)
		}
		w.path = append(w.path, sub.node.Name)
		err := w.dir(sub.node, sub.ino, self, least, blockSize)
		w.path = w.path[:len(w.path)-1]
		if err != nil {
			return err
		}
	}
	return nil
}

// meet returns the inode number of a child, which is a new one unless it is a
// further name of a file that was met before.
func (w *walk) meet(kid *tree.Node) (uint32, error) {
	if fileType(kid.Type) == ondisk.FTUnknown {
		return 0, fmt.Errorf("%w: file of %s", tree.ErrUnsupported, kid.Type)
	}
	if w.next > 1<<32-2 {
		return 0, fmt.Errorf("%w: more than 2^32 inodes", tree.ErrUnsupported)
	}
	ino := uint32(w.next)
	if kid.Type != tree.Directory && kid.Nlink != 1 && kid.Inode != (tree.Inode{}) {
		known, fresh, err := w.identity(kid.Inode, ino)
		if err != nil {
			return 0, err
		}
		if !fresh {
			return known, w.visitor.link(kid, known)
		}
	}
	more, err := w.visitor.inode(kid, ino)
	w.next += 1 + uint64(more)
	return ino, err
}

// withLostFound puts lost+found among the root's children, where there is
// nothing of that name.
func withLostFound(kids []*tree.Node, lost *tree.Node) []*tree.Node {
	out := make([]*tree.Node, 0, len(kids)+1)
	for i, kid := range kids {
		if kid.Name >= lost.Name {
			if kid.Name == lost.Name {
				return kids
			}
			return append(append(out, lost), kids[i:]...)
		}
		out = append(out, kid)
	}
	return append(out, lost)
}

// emptyDir is the content of the lost+found that the builder adds.
type emptyDir struct{}

func (emptyDir) Children() ([]*tree.Node, error) { return nil, nil }
