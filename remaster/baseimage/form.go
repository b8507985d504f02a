package baseimage

import (
	"context"
	"errors"
	"fmt"

	"relive/remaster/packed"
	"relive/remaster/refusal"
	"relive/remaster/say"
	"relive/tree"
)

// keepsImage reports whether the new base holds a file system image, as the old
// one does.
func (p *Plan) keepsImage() bool {
	return p.Live.Base.Inner != nil && !p.o.Flatten && !p.Live.Layout.Traits().EitherForm
}

// maker decides of what form the new base is and plans it.
func (p *Plan) maker(ctx context.Context, wo packed.WriteOptions) (maker, error) {
	l, s := p.Live, &p.Summary
	bare := l.Base.Image == nil
	if bare && p.o.Medium == nil && p.o.Any() {
		return nil, refusal.WithHint(refusal.Option(fmt.Errorf(say.Format+", "+say.Codec+", "+say.Level+" and "+say.BlockSize+
			": %s is not compressed",
			l.Base.Path)), "compact without them")
	}
	switch {
	case bare && p.o.Flatten && p.o.Medium == nil:
		return nil, refusal.New(refusal.UnsupportedForm, "compress it with mksquashfs first",
			"%s is not compressed, so that there is nothing to flatten it into", l.Base.Path)
	case p.o.Bare && l.Base.Inner == nil:
		return nil, refusal.New(refusal.UnsupportedForm, say.Output+" writes the new base, which holds the files themselves",
			"%s holds no file system image that "+say.Image+" could write", l.Base.Path)
	case !p.keepsImage():
		s.Form = Squash
		return p.imageMaker(ctx, wo, p.System)
	}
	// The image is patched where nothing but chunks of it changed.
	if !p.Touched && (l.Overlay == nil || l.Overlay.Empty || l.COW() != nil) {
		image, err := p.patched(wo.Unit())
		if err != nil {
			return nil, err
		}
		size := l.Base.Inner.Content.Size()
		if bare && p.o.Medium == nil || p.o.Bare {
			s.Form, s.Bytes = Ext, size-image.freed()
			s.Copy = s.Bytes
			return &deviceMaker{p: p, data: image, size: size}, nil
		}
		root, err := p.wrap(image, size)
		if err != nil {
			return nil, err
		}
		s.Form, s.Freed = Nested, image.freed()
		return p.imageMaker(ctx, wo, root)
	}
	inner, err := p.planInner(ctx, p.System)
	if err != nil {
		return nil, err
	}
	s.Bytes = inner.size
	if bare && p.o.Medium == nil || p.o.Bare {
		s.Form = Ext
		return &extMaker{p: p, inner: inner}, nil
	}
	s.Form, s.Compress = Nested, inner.used
	return &imageMaker{p: p, options: wo, inner: inner}, nil
}

// imageMaker plans a compressed image of that tree.
func (p *Plan) imageMaker(ctx context.Context, wo packed.WriteOptions, root *tree.Node) (maker, error) {
	m := &imageMaker{p: p, options: wo, root: root}
	if err := m.look(ctx); err != nil {
		return nil, err
	}
	s, st := &p.Summary, m.plan.Stats()
	s.Inodes, s.Bytes = st.Inodes, st.Bytes
	s.Reused, s.Mixed, s.Duplicate = st.Reused, st.Mixed, st.Duplicate
	s.Copy, s.Compress, s.Repacked, s.Dead = st.Copy, st.Compress, st.Repacked, st.Dead
	p.warnLosses(&st)
	return m, nil
}

// patched returns the merged image with what is free left out, in units of
// blocks of the new base.
func (p *Plan) patched(unit int) (*patchedImage, error) {
	l := p.Live
	if unit == 0 {
		unit = copyUnit
	}
	var dev device = untouched{l.Base.Inner.Content}
	fs := l.Base.Inner.FS
	if s := l.COW(); s != nil {
		dev, fs = s.Device, s.FS
	}
	var empty bool // the journal
	var err error
	if journalMayStay(l, fs) {
		p.Warn("the file system in %s was not unmounted cleanly, and its journal is left for the next boot to replay", l.Base.Name())
	} else if dev, empty, err = recovered(dev, fs); err != nil {
		return nil, err
	}
	below := tree.Data(nil)
	if l.Base.Image != nil {
		root, err := l.Base.Image.Root()
		if err != nil {
			return nil, err
		}
		n, err := root.Lookup(l.Base.Inner.Path)
		if err != nil {
			return nil, err
		}
		below = n.Data
	}
	if p.o.KeepFree {
		fs = nil
	}
	image, err := newPatchedImage(dev, below, int64(unit), fs, empty)
	if errors.Is(err, tree.ErrUnsupported) {
		p.Warn("what is free in the file system is kept as it is: %v", err)
		return newPatchedImage(dev, below, int64(unit), nil, false)
	}
	return image, err
}

// copyUnit is the unit in which a bare image leaves out what is free, in bytes.
const copyUnit = 64 << 10

// untouched is a device on which nothing changed.
type untouched struct{ tree.Content }

// ChangedIn implements device.
func (untouched) ChangedIn(int64, int64) bool { return false }
