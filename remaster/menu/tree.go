package menu

import (
	"context"
	"fmt"
	"strings"

	"relive/tree"
)

// File is a menu on a medium.
type File struct {
	// Path is from the root, joined by '/', without a leading one.
	Path string
	Kind Kind
	Node *tree.Node
	Text []byte
	// Err is why the menu was not read: it is larger than MaxText. Text is nil
	// then.
	Err error
}

// Bounds of what is looked at on a medium.
const (
	maxFiles     = 4096    // that may be menus
	maxTexts     = 8 << 20 // bytes of menus
	maxMenuDepth = 16      // of directories within each other
)

// Files finds the menus of a medium's tree. It looks into the directories that
// loaders know, at the root and one below it ("arch/boot"), and at files that
// lie in these; others are not entered. Symlinks are not followed: what they
// lead to is found under its own name.
func Files(ctx context.Context, root *tree.Node) ([]File, error) {
	f := finder{ctx: ctx}
	kids, err := root.Children()
	if err != nil {
		return nil, fmt.Errorf("/: %w", err)
	}
	for _, k := range kids {
		switch {
		case k.Type == tree.Regular:
			err = f.file(k.Name, k)
		case k.Type != tree.Directory:
		case bootDirectory(k.Name):
			err = f.directory(k.Name, k, 0)
		default:
			err = f.below(k.Name, k)
		}
		if err != nil {
			return nil, err
		}
	}
	return f.found, nil
}

// bootDirectory reports whether loaders have their menus in a directory of that
// name.
func bootDirectory(name string) bool {
	switch strings.ToLower(name) {
	case "boot", "efi", "isolinux", "syslinux", "extlinux", "pxelinux.cfg", "grub", "grub2", "loader":
		return true
	}
	return false
}

type finder struct {
	ctx   context.Context
	found []File
	seen  int
	bytes int64
}

// below looks at a directory of the root that is none of a loader.
func (f *finder) below(path string, n *tree.Node) error {
	if f.ctx.Err() != nil {
		return context.Cause(f.ctx)
	}
	kids, err := n.Children()
	if err != nil {
		return fmt.Errorf("%s: %w", tree.Quote(path), err)
	}
	for _, k := range kids {
		p := tree.Join(path, k.Name)
		switch {
		case k.Type == tree.Regular:
			// Of a frugal install: grub.entry.
			if kind, sure := kindOfPath(p); sure && kind != 0 {
				err = f.file(p, k)
			}
		case k.Type == tree.Directory && bootDirectory(k.Name):
			err = f.directory(p, k, 0)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (f *finder) directory(path string, n *tree.Node, depth int) error {
	if f.ctx.Err() != nil {
		return context.Cause(f.ctx)
	}
	if depth == maxMenuDepth {
		return tree.Unsupported(tree.Quote(path), "", "directories of loaders nest deeper than %d", maxMenuDepth)
	}
	kids, err := n.Children()
	if err != nil {
		return fmt.Errorf("%s: %w", tree.Quote(path), err)
	}
	for _, k := range kids {
		p := tree.Join(path, k.Name)
		switch k.Type {
		case tree.Regular:
			err = f.file(p, k)
		case tree.Directory:
			err = f.directory(p, k, depth+1)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// file takes a file up that is a menu.
func (f *finder) file(path string, n *tree.Node) error {
	kind, sure := kindOfPath(path)
	if kind == 0 {
		return nil
	}
	if f.seen++; f.seen > maxFiles {
		return tree.Unsupported(tree.Quote(path), "", "more than %d menus", maxFiles)
	}
	m := File{Path: path, Kind: kind, Node: n}
	if n.Size > MaxText {
		if sure {
			m.Err = tooLarge(path, n.Size)
			f.found = append(f.found, m)
		}
		return nil
	}
	if f.bytes += n.Size; f.bytes > maxTexts {
		return tree.Unsupported(tree.Quote(path), "", "menus of more than %d bytes", maxTexts)
	}
	text, err := tree.ReadAll(n, MaxText)
	if err != nil {
		return fmt.Errorf("%s: %w", tree.Quote(path), err)
	}
	if kind, ok := KindOf(path, text); ok {
		m.Kind, m.Text = kind, text
		f.found = append(f.found, m)
	}
	return nil
}

// Tree edits every menu that Files finds, and knows of each what the others
// tell: which variables of GRUB reach a kernel, and whether labels of SYSLINUX
// have arguments from elsewhere. What the edits do not touch is the very node of
// the tree; a menu that is edited stands alone where it had other names (hard
// links). Menus stay at their paths, also where Paths has them.
//
// A menu that cannot be edited stays, and a Change tells why.
func (e *Edits) Tree(ctx context.Context, root *tree.Node) (*tree.Node, []Change, error) {
	r, err := e.compile()
	if err != nil {
		return nil, nil, err
	}
	if r.none() {
		return root, nil, nil
	}
	files, err := Files(ctx, root)
	if err != nil {
		return nil, nil, err
	}
	near := r.look(files)
	var edits tree.Edits
	var changes []Change
	for _, f := range files {
		if ctx.Err() != nil {
			return nil, nil, context.Cause(ctx)
		}
		out, c, err := f.Text, []Change(nil), f.Err
		if err == nil {
			out, c, err = r.apply(f.Kind, f.Path, f.Text, near)
		}
		if err != nil {
			changes = append(changes, Change{File: f.Path, Left: err.Error()})
			continue
		}
		changes = append(changes, c...)
		if string(out) == string(f.Text) {
			continue
		}
		n := *f.Node
		n.Data, n.Size, n.Inode, n.Nlink, n.Was = tree.Bytes(out), int64(len(out)), tree.Inode{}, 1, nil
		edits.Put(f.Path, &n)
	}
	now, err := edits.Apply(root)
	if err != nil {
		return nil, nil, err
	}
	return now, changes, nil
}

// look gathers what menus of a medium tell about each other.
func (r *rules) look(files []File) *surroundings {
	near := &surroundings{}
	f := flow{forgets: r.forgets}
	for _, m := range files {
		switch m.Kind {
		case Syslinux:
			near.append = near.append || m.Text != nil && len(readConfiguration(m.Text).globals) > 0
		case GRUB:
			if s, err := readScript(m.Path, m.Text); err == nil {
				f.add(s, keepsChoices(m.Path))
			}
		}
	}
	near.variables = f.variables()
	return near
}
