package remaster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"relive/iso"
	"relive/remaster/menu"
	"relive/remaster/stick/fat"
	"relive/tree"
)

// bootEdits edits what boots of an ISO: the menus in its tree, and those in the
// FAT images that firmware for UEFI starts from.
type bootEdits struct {
	edits menu.Edits
	// swaps are files that other ones take the place of, wherever they lie in
	// those images.
	swaps []fileSwap
	// changes and left tell of lines that were changed, and of what could not be.
	changes, left []string
	open          closers
}

// fileSwap is a file and the one that takes its place.
type fileSwap struct{ was, now *tree.Node }

// apply edits a tree and the images that the recipe boots. What it opens stays
// so as long as they are in use.
func (b *bootEdits) apply(ctx context.Context, root *tree.Node, r *iso.Recipe) (*tree.Node, error) {
	root, changes, err := b.edits.Tree(ctx, root)
	if err != nil {
		return nil, err
	}
	b.note("", changes)
	done := map[string]bool{}
	for _, boot := range r.Boot {
		if boot.Platform != iso.PlatformEFI {
			continue
		}
		if boot.Path == "" {
			a := &r.Appended[boot.Appended-1]
			name := fmt.Sprintf("appended partition %d", boot.Appended)
			if done[name] {
				continue
			}
			done[name] = true
			n := tree.NewFile("", 0, nil)
			n.Data, n.Size = a.Data, a.Size
			if n, err = b.image(ctx, name, n); err != nil {
				return nil, err
			}
			a.Data, a.Size = n.Data, n.Size
			continue
		}
		if done[boot.Path] {
			continue
		}
		done[boot.Path] = true
		n, err := root.Lookup(boot.Path)
		if err != nil {
			return nil, err
		}
		if n == nil || n.Type != tree.Regular {
			continue // what boots is told by the ISO's writer
		}
		edited, err := b.image(ctx, boot.Path, n)
		if err != nil {
			return nil, err
		}
		if edited == n {
			continue
		}
		var edits tree.Edits
		edits.Put(boot.Path, edited)
		if root, err = edits.Apply(root); err != nil {
			return nil, err
		}
	}
	return root, nil
}

// image edits the menus of a FAT image.
func (b *bootEdits) image(ctx context.Context, name string, n *tree.Node) (*tree.Node, error) {
	c, err := n.Open()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	data, size, changed, err := fat.Rewrite(ctx, c, path.Base(name), func(root *tree.Node) (*tree.Node, error) {
		root, changes, err := b.edits.Tree(ctx, root)
		if err != nil {
			return nil, err
		}
		b.note(name, changes)
		return b.swap(ctx, root)
	})
	if errors.Is(err, tree.ErrUnsupported) || errors.Is(err, tree.ErrCorrupt) {
		b.left = append(b.left, fmt.Sprintf("menus in %s stay as they are: %v", name, err))
		return n, c.Close()
	}
	if err != nil || !changed {
		return n, errors.Join(err, c.Close())
	}
	b.open = append(b.open, c)
	edited := *n
	edited.Data, edited.Size, edited.Was, edited.Inode = data, size, nil, tree.Inode{}
	return &edited, nil
}

// swap puts files in the place of others of the same content.
func (b *bootEdits) swap(ctx context.Context, root *tree.Node) (*tree.Node, error) {
	if len(b.swaps) == 0 {
		return root, nil
	}
	var edits tree.Edits
	err := tree.Walk(ctx, root, func(at string, n *tree.Node) error {
		for _, s := range b.swaps {
			if n.Type != tree.Regular {
				continue
			}
			if same, err := sameFile(ctx, s.was, n); err != nil {
				return err
			} else if same {
				c := *n
				c.Data, c.Size = s.now.Data, s.now.Size
				edits.Put(at, &c)
				break
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return edits.Apply(root)
}

func (b *bootEdits) note(image string, changes []menu.Change) {
	for _, c := range changes {
		if image != "" {
			c.File = image + ": " + c.File
		}
		if c.Left != "" {
			b.left = append(b.left, c.String())
		} else {
			b.changes = append(b.changes, c.String())
		}
	}
}

// Close closes what edited images read from.
func (b *bootEdits) Close() error { return b.open.Close() }

var _ io.Closer = (*bootEdits)(nil)

// bootLabels are the labels that menus look for the live system's volume by, in
// the order of the menus.
func bootLabels(ctx context.Context, root *tree.Node) (labels []string, err error) {
	return bootNames(ctx, root, []string{"root=live:CDLABEL=", "root=live:LABEL=", "archisolabel=", "blab="}, unescapeLabel)
}

// bootUUIDs are the same for identities.
func bootUUIDs(ctx context.Context, root *tree.Node) (uuids []string, err error) {
	return bootNames(ctx, root, []string{"root=live:UUID=", "archisosearchuuid=", "buuid=", "bootuuid="}, strings.ToLower)
}

// bootNames are the values of arguments with those prefixes.
func bootNames(ctx context.Context, root *tree.Node, prefixes []string, clean func(string) string) (out []string, err error) {
	files, err := menu.Files(ctx, root)
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		if f.Err != nil {
			continue // the edits tell of it
		}
		entries, err := menu.Read(f.Kind, f.Path, f.Text)
		if err != nil {
			continue
		}
		for _, e := range entries {
			for _, a := range e.Args {
				for _, prefix := range prefixes {
					if name, ok := strings.CutPrefix(a, prefix); ok && name != "" && !strings.Contains(name, "$") {
						if name = clean(name); !slices.Contains(out, name) {
							out = append(out, name)
						}
					}
				}
			}
		}
	}
	return out, nil
}
