package live

import (
	"context"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"relive/overlay"
	"relive/remaster/job"
	"relive/remaster/packed"
	"relive/tree"
)

// openStack opens a base that is several images over each other, the bottom
// first. The Base is the one of Files.Base; the others lie below it.
func (l *Live) openStack(e *job.Env, names []string) error {
	for _, name := range names {
		if err := l.openModule(e, l.stackPath(name)); err != nil {
			return err
		}
		l.Base.layer = l.Base.Root
		l.Stack = append(l.Stack, l.Base)
	}
	l.Base = l.Stack[slices.Index(names, l.Files.Base)]
	if len(names) == 1 {
		return nil
	}
	for _, b := range l.Stack {
		if b != l.Base {
			l.Base.Below = append(l.Base.Below, b.Path)
		}
	}
	for i := len(l.Stack) - 1; i >= 0; i-- {
		l.Lowers = append(l.Lowers, overlay.Layer{Root: l.Stack[i].layer, Form: overlay.OverlayFS, Namespace: overlay.Trusted})
	}
	union, err := overlay.Merge(l.Lowers, overlay.KeepEscaped())
	if err != nil {
		return err
	}
	l.Base.Root = union.Root()
	return nil
}

// stackPath is the path of an image of the stack. Where a layout's stack stays,
// only the topmost has generations.
func (l *Live) stackPath(name string) string {
	if l.Layout.Traits().StackStays && name != l.Files.Base {
		return filepath.Join(l.Dir, name)
	}
	return l.Path(name)
}

// openModule opens an image of a stack: SquashFS, a file system of the ext family,
// or a directory.
func (l *Live) openModule(e *job.Env, path string) error {
	if IsDir(l.Place, path) {
		root, err := l.Place.Directory(path)
		l.Base = &Base{Path: path, Root: root}
		return err
	}
	res, err := ProbeFile(l.Place, path)
	if err != nil {
		return err
	}
	if res.Kind.IsExt() {
		return l.openBare(path)
	}
	return l.openBase(e, path)
}

// LowerLayers are what an overlay lies over, the uppermost first.
func (l *Live) LowerLayers() []overlay.Layer {
	if len(l.Lowers) > 0 {
		return l.Lowers
	}
	return []overlay.Layer{{Root: l.Base.Root}}
}

// ownLayer returns the tree that the base's image is to hold so that it shows
// the system over the images below it.
func (l *Live) ownLayer(ctx context.Context, system *tree.Node) (*tree.Node, error) {
	below, err := overlay.Merge(l.Lowers[1:], overlay.KeepEscaped())
	if err != nil {
		return nil, err
	}
	stored := packed.NewStoredComparer()
	return overlay.Difference(ctx, below.Root(), system, overlay.DifferenceOptions{
		Namespace: overlay.Trusted, Escaped: true, WholeSeconds: true, TrustInode: true,
		SameContent: func(_ string, a, b *tree.Node) (bool, error) { return stored.Same(a, b) },
	})
}

// imagesIn names the files with one of those extensions in a directory, and the
// directories with the extension .dir, sorted.
func imagesIn(at Place, dir, generation string, exts ...string) (names []string, err error) {
	if !IsDir(at, dir) {
		return nil, nil
	}
	entries, err := at.List(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		name, ok := strings.CutSuffix(e, generation)
		ext := filepath.Ext(name)
		if !ok || !slices.Contains(exts, ext) {
			continue
		}
		if st, err := at.Stat(filepath.Join(dir, e)); err == nil && (st.regular && ext != ".dir" || st.dir && ext == ".dir") {
			names = append(names, name)
		}
	}
	return names, nil
}

func isSquash(name string) bool { return path.Ext(name) == ".squashfs" }
