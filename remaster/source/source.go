package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"relive/extfs"
	"relive/remaster/job"
	"relive/remaster/live"
	"relive/remaster/packed"
	"relive/remaster/refusal"
	"relive/remaster/say"
	"relive/tree"
	"relive/tree/hostfs"
)

// Open opens anything that can be shown as a tree: a live directory (layer
// says whether merged, base or overlay; "" is merged), any other directory, a
// SquashFS, EROFS or ext2/3/4 image, or the live system on a stick, which on
// names where there are several.
func Open(ctx context.Context, e *job.Env, path, layer, on string, opts ...live.Option) (*tree.Node, io.Closer, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, nil, err
	}
	if st.IsDir() {
		return openDirTree(ctx, e, path, layer, opts)
	}
	if layer == "" {
		root, c, err := openImageTree(e, path)
		if err == nil || !errors.Is(err, errNoImage) {
			return root, c, err
		}
	}
	l, err := live.OpenOnStick(ctx, e, path, on, opts...)
	if err != nil {
		if layer == "" && (errors.Is(err, tree.ErrUnsupported) || errors.Is(err, live.ErrNoLayout)) {
			err = refusal.WithHint(fmt.Errorf("%s: neither a SquashFS, EROFS nor ext image, nor a stick with a live system: %w", path, err),
				refusal.Hint(err))
		}
		return nil, nil, err
	}
	return layerTree(l, path, layer)
}

// errNoImage is the error of a file that is no image of a file system that can
// be shown by itself.
var errNoImage = errors.New("no image of a file system")

// openImageTree opens a SquashFS, EROFS or ext image.
func openImageTree(e *job.Env, path string) (*tree.Node, io.Closer, error) {
	res, err := live.ProbeFile(live.Host{}, path)
	if err != nil {
		return nil, nil, err
	}
	if !packed.Holds(res.Kind) && !res.Kind.IsExt() {
		return nil, nil, fmt.Errorf("%s: %w", path, errNoImage)
	}
	c, err := hostfs.OpenFile(path)
	if err != nil {
		return nil, nil, err
	}
	name := filepath.Base(path)
	if packed.Holds(res.Kind) {
		r, err := packed.Open(c, c.Size(), name, e.Library, false)
		if err != nil {
			c.Close()
			return nil, nil, err
		}
		root, err := r.Root()
		return closeOnError(root, tree.Closers{c, r}, err)
	}
	fs, err := extfs.Open(c, c.Size(), name)
	if err != nil {
		c.Close()
		return nil, nil, err
	}
	root, err := fs.Root()
	return closeOnError(root, tree.Closers{c}, err)
}

func closeOnError(root *tree.Node, c io.Closer, err error) (*tree.Node, io.Closer, error) {
	if err != nil {
		c.Close()
		return nil, nil, err
	}
	return root, c, nil
}

func openDirTree(ctx context.Context, e *job.Env, path, layer string, opts []live.Option) (*tree.Node, io.Closer, error) {
	l, err := live.Open(ctx, e, path, opts...)
	if errors.Is(err, live.ErrNoLayout) && layer == "" {
		root, err := hostfs.Open(path)
		return root, tree.Closers{}, err
	}
	if err != nil {
		return nil, nil, err
	}
	return layerTree(l, path, layer)
}

// layerTree returns one layer's tree; l is closed with it.
func layerTree(l *live.Live, path, layer string) (*tree.Node, io.Closer, error) {
	root := l.Merged
	switch layer {
	case "", "merged":
	case "base":
		root = l.Base.Root
	case "overlay":
		if l.Overlay == nil || l.Overlay.Upper == nil {
			err := fmt.Errorf("%s: there is no overlay", path)
			if l.COW() != nil {
				err = refusal.WithHint(fmt.Errorf("%s: the overlay holds chunks of a file system, and no tree of its own", path),
					say.Diff+" lists what it changes")
			}
			l.Close()
			return nil, nil, err
		}
		root = l.Overlay.Upper
	default:
		l.Close()
		return nil, nil, fmt.Errorf("layer %q: not merged, base or overlay", layer)
	}
	return root, l, nil
}
