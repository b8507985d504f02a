package baseimage

import (
	"context"
	"errors"
	"fmt"

	"relive/extfs/mkfs"
	"relive/remaster/hostdisk"
	"relive/remaster/live"
	"relive/remaster/readback"
	"relive/remaster/refusal"
	"relive/remaster/say"
	"relive/remaster/written"
	"relive/tree"
	"relive/tree/hostfs"
)

// deviceMaker writes a block device, such as a merged snapshot, to an image
// file with holes where it has them.
type deviceMaker struct {
	p    *Plan
	data tree.Data
	size int64
}

func (m *deviceMaker) content() int64 { return m.size }

func (m *deviceMaker) write(ctx context.Context, out *written.File, _ func() (string, error)) (int64, live.Facts, error) {
	c, err := m.data.Open()
	if err != nil {
		return 0, live.Facts{}, err
	}
	defer c.Close()
	m.p.Env.Phase("writing the merged image", m.size)
	err = hostdisk.CopySparse(ctx, out, c, m.p.Env.Done)
	return m.size, live.Facts{Content: m.size}, err
}

func (m *deviceMaker) check(ctx context.Context, path string) error {
	c, err := hostfs.OpenFile(path)
	if err != nil {
		return err
	}
	defer c.Close()
	if c.Size() != m.size {
		return fmt.Errorf("%s: %w: it has %d bytes, not %d", path, readback.Err, c.Size(), m.size)
	}
	want := tree.NewFile("", 0, nil)
	want.Data, want.Size = m.data, m.size
	got := tree.NewFile("", 0, nil)
	got.Data, got.Size = tree.Shared(c), m.size
	same, err := tree.SameContent(ctx, want, got)
	if err != nil {
		return fmt.Errorf("%s: %w: %w", path, readback.Err, err)
	}
	if !same {
		return fmt.Errorf("%s: %w", path, readback.Err)
	}
	return nil
}

// extMaker writes the merged tree into an ext image of its own.
type extMaker struct {
	p     *Plan
	inner *innerImage
}

func (m *extMaker) content() int64 { return m.inner.size }

func (m *extMaker) write(ctx context.Context, out *written.File, _ func() (string, error)) (int64, live.Facts, error) {
	m.p.Env.Phase("building "+m.inner.Name, 0)
	_, err := mkfs.Build(ctx, out, m.inner.Root, m.inner.Options)
	if errors.Is(err, mkfs.ErrNoSpace) {
		err = refusal.WithHint(err, "leave things out with "+say.Exclude)
	}
	return m.inner.size, live.Facts{Content: m.inner.size}, err
}

func (m *extMaker) check(ctx context.Context, path string) error { return m.inner.Same(ctx, path) }
