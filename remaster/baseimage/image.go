package baseimage

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"relive/extfs/mkfs"
	"relive/remaster/bytesize"
	"relive/remaster/live"
	"relive/remaster/packed"
	"relive/remaster/readback"
	"relive/remaster/replace"
	"relive/remaster/written"
	"relive/tree"
	"relive/tree/hostfs"
)

// maker writes the image that takes the place of a base.
type maker interface {
	// write writes it to a new file, which it does not sync. scratch gives the
	// path of a further file, for what is needed until the end of check.
	write(ctx context.Context, out *written.File, scratch func() (string, error)) (size int64, f live.Facts, err error)
	// check compares the file with what it was made from.
	check(ctx context.Context, path string) error
	// content is how many bytes check looks at.
	content() int64
}

// imageMaker writes a compressed image.
type imageMaker struct {
	p       *Plan
	options packed.WriteOptions
	root    *tree.Node
	plan    packed.Plan
	// inner is not nil where the image is to hold an ext image that is made
	// first; root and plan are complete only then.
	inner *innerImage
	open  tree.Closers
}

// innerImage is an ext image that is made anew and that a base holds at path.
type innerImage struct {
	replace.Image
	path string
	size int64 // bytes
	used int64 // bytes of it that are not holes, about
}

// look plans the image, as far as that can be done without writing.
func (m *imageMaker) look(ctx context.Context) (err error) {
	m.p.Env.Phase("looking for what can be reused", 0)
	m.plan, err = packed.NewPlan(ctx, m.root, m.options)
	return err
}

func (m *imageMaker) content() int64 { return m.plan.Stats().Bytes }

func (m *imageMaker) write(ctx context.Context, out *written.File, scratch func() (string, error)) (int64, live.Facts, error) {
	return m.writeAt(ctx, out, 0, scratch)
}

// writeAt writes the image into a file that holds more, its first byte at base.
func (m *imageMaker) writeAt(ctx context.Context, out io.WriterAt, base int64, scratch func() (string, error)) (int64, live.Facts, error) {
	if m.inner != nil {
		if err := m.makeInner(ctx, scratch); err != nil {
			return 0, live.Facts{}, fmt.Errorf("the new %s: %w", m.inner.path, err)
		}
	}
	st := m.plan.Stats()
	env := m.p.Env
	env.Phase("writing "+m.p.Live.Base.Name(), st.Copy+st.Compress)
	m.plan.OnProgress(env.Done)
	size, tables, err := m.plan.Write(ctx, out, base)
	if err != nil {
		return 0, live.Facts{}, err
	}
	return size, live.Facts{Content: st.Bytes + tables}, nil
}

// makeInner builds the ext image and puts it into the tree.
func (m *imageMaker) makeInner(ctx context.Context, scratch func() (string, error)) error {
	path, err := scratch()
	if err != nil {
		return err
	}
	m.p.Env.Phase("building "+m.inner.path, 0)
	if err := m.inner.Build(ctx, path, m.p.Live.Base.Path); err != nil {
		return err
	}
	if err := m.inner.Check(ctx, path); err != nil {
		return err
	}
	c, err := hostfs.OpenFile(path)
	if err != nil {
		return err
	}
	m.open = append(m.open, c)
	if m.root, err = m.p.wrap(tree.Shared(c), c.Size()); err != nil {
		return err
	}
	return m.look(ctx)
}

func (m *imageMaker) check(ctx context.Context, path string) (err error) {
	c, err := hostfs.OpenFile(path)
	if err != nil {
		return fmt.Errorf("%w: %w", readback.Err, err)
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	return m.checkContent(ctx, path, c)
}

// checkContent is check for an image that is a part of a file.
func (m *imageMaker) checkContent(ctx context.Context, name string, c tree.Content) (err error) {
	defer func() {
		err = errors.Join(err, m.open.Close())
		m.open = nil
	}()
	r, err := packed.Open(c, c.Size(), filepath.Base(name), m.p.Env.Library, false)
	if err != nil {
		return fmt.Errorf("%w: %w", readback.Err, err)
	}
	defer r.Close()
	if m.p.o.FullVerify {
		if err := VerifyImage(ctx, m.p.Env, r, nil); err != nil {
			return fmt.Errorf("%w: %w", readback.Err, err)
		}
	}
	if r.Format() != m.options.Format() {
		return fmt.Errorf("%s: %w: it holds %s", name, readback.Err, r.Format().Name())
	}
	if err := imageEqual(ctx, name, m.root, r, m.p.Env.Jobs, m.p.Env.Done); err != nil {
		return err
	}
	if err := m.plan.Check(ctx, r); err != nil {
		return fmt.Errorf("%s: %w: %w", name, readback.Err, err)
	}
	return nil
}

// wrap returns the tree of the base's image with other content for the ext image
// inside. Where the base is an ext image itself, it is put where the layout has
// it in an image.
func (p *Plan) wrap(data tree.Data, size int64) (*tree.Node, error) {
	var edits tree.Edits
	if p.Live.Base.Image == nil {
		n := tree.NewFile("", 0o644, nil)
		n.Data, n.Size, n.Mtime = data, size, p.Now
		edits.Put(live.LiveosDir+"/"+p.Live.Base.Name(), n)
		root := tree.NewDir("", 0o755)
		root.Mtime = p.Now
		return edits.Apply(root)
	}
	root, err := p.Live.Base.Image.Root()
	if err != nil {
		return nil, err
	}
	was, err := root.Lookup(p.Live.Base.Inner.Path)
	if err != nil {
		return nil, err
	}
	n := *was
	n.Data, n.Was, n.Size, n.Mtime = data, nil, size, p.Now
	n.Inode, n.Nlink = tree.Inode{}, 1
	edits.Put(p.Live.Base.Inner.Path, &n)
	return edits.Apply(root)
}

// planInner plans an ext image like the one inside the base, with the merged
// tree in it: of the same size, or as large as the tree needs.
func (p *Plan) planInner(ctx context.Context, root *tree.Node) (*innerImage, error) {
	in := p.Live.Base.Inner
	name := filepath.Base(in.Path)
	if in.Path == "" {
		name = p.Live.Base.Name()
	}
	f, err := replace.NewImage(name, in.FS, root, p.Now)
	if err != nil {
		return nil, err
	}
	// To the kernel it is another file system, in which no mark of the overlay leads
	// to a file: they have other numbers.
	f.Options.UUID = otherUUID(f.Options.UUID, p.State, p.Salt())
	for _, lost := range f.Losses() {
		p.Warn("%s", lost)
	}
	p.Env.Phase("measuring", 0)
	needs, err := mkfs.Measure(ctx, root, f.Options)
	if err != nil {
		return nil, err
	}
	if needs.MinSize == 0 || needs.MinSize > f.Options.Size {
		// What was written need not fit into the image that it was written over.
		f.Options.Inodes, f.Options.ReservedBlocks, f.Options.JournalBlocks = 0, 0, 0
		if needs, err = mkfs.Measure(ctx, root, f.Options); err != nil {
			return nil, err
		}
		f.Options.Size = max(f.Options.Size, (needs.MinSize+needs.MinSize/10+1<<20-1)>>20<<20)
		p.Warn("%s grows from %s to %s to hold what was written", name, bytesize.Format(in.Content.Size()), bytesize.Format(f.Options.Size))
	}
	return &innerImage{Image: *f, path: in.Path, size: f.Options.Size, used: int64(needs.Blocks) * int64(needs.BlockSize)}, nil
}

// otherUUID makes a UUID (RFC 9562, version 8) out of that of a file system that
// is made anew and of what decides the new one.
func otherUUID(was [16]byte, state []byte, salt string) (id [16]byte) {
	h := sha256.New()
	h.Write(was[:])
	h.Write(state)
	h.Write([]byte(salt))
	copy(id[:], h.Sum(nil))
	id[6], id[8] = id[6]&0x0f|0x80, id[8]&0x3f|0x80
	return id
}
