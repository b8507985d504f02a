package remaster

import (
	"context"
	"errors"
	"fmt"
	"io"

	"relive/extfs/mkfs"
	"relive/remaster/written"
	"relive/tree"
	"relive/tree/hostfs"
)

// deviceMaker writes a block device, such as a merged snapshot, to an image
// file with holes where it has them.
type deviceMaker struct {
	p    *CompactPlan
	data tree.Data
	size int64
}

func (m *deviceMaker) content() int64 { return m.size }

func (m *deviceMaker) write(ctx context.Context, out *written.File, _ func() (string, error)) (int64, baseFacts, error) {
	c, err := m.data.Open()
	if err != nil {
		return 0, baseFacts{}, err
	}
	defer c.Close()
	m.p.env.phase("writing the merged image", m.size)
	err = copyDevice(ctx, out, c, m.p.env.done)
	return m.size, baseFacts{content: m.size}, err
}

// copyBuffer is how much copyDevice reads at a time, in bytes.
const copyBuffer = 4 << 20

// copyDevice copies what is not a hole and not zero. done is told how far it
// has come, in bytes.
func copyDevice(ctx context.Context, out *written.File, c tree.Content, done func(int64)) error {
	if err := out.Truncate(c.Size()); err != nil {
		return err
	}
	buf := make([]byte, copyBuffer)
	for off := int64(0); off < c.Size(); {
		start, end, err := c.NextData(off)
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		for off = max(start, off); off < end; {
			if err := ctx.Err(); err != nil {
				return context.Cause(ctx)
			}
			// Reads end at multiples of the buffer, so that blocks below are not cut.
			p := buf[:min(end-off, copyBuffer-off%copyBuffer)]
			if err := tree.ReadFull(c, p, off); err != nil {
				return err
			}
			if err := writeData(out, p, off); err != nil {
				return err
			}
			off += int64(len(p))
			done(off)
		}
	}
	return nil
}

// holeUnit is the granularity in which zeros become holes, in bytes.
const holeUnit = 64 << 10

// writeData writes those units of p that are not zero.
func writeData(out io.WriterAt, p []byte, off int64) error {
	for len(p) > 0 {
		n := run(p, false)
		if n > 0 {
			if _, err := out.WriteAt(p[:n], off); err != nil {
				return err
			}
		}
		p, off = p[n:], off+int64(n)
		n = run(p, true)
		p, off = p[n:], off+int64(n)
	}
	return nil
}

// run is the length of the units at the start of p that are all zero, or are
// not.
func run(p []byte, zero bool) (n int) {
	for n < len(p) {
		u := p[n:min(n+holeUnit, len(p))]
		if tree.IsZero(u) != zero {
			break
		}
		n += len(u)
	}
	return n
}

func (m *deviceMaker) check(ctx context.Context, path string) error {
	c, err := hostfs.OpenFile(path)
	if err != nil {
		return err
	}
	defer c.Close()
	if c.Size() != m.size {
		return fmt.Errorf("%s: %w: it has %d bytes, not %d", path, ErrReadBack, c.Size(), m.size)
	}
	want := tree.NewFile("", 0, nil)
	want.Data, want.Size = m.data, m.size
	got := tree.NewFile("", 0, nil)
	got.Data, got.Size = shared{c}, m.size
	same, err := tree.SameContent(ctx, want, got)
	if err != nil {
		return fmt.Errorf("%s: %w: %w", path, ErrReadBack, err)
	}
	if !same {
		return fmt.Errorf("%s: %w", path, ErrReadBack)
	}
	return nil
}

// extMaker writes the merged tree into an ext image of its own.
type extMaker struct {
	p     *CompactPlan
	inner *innerImage
}

func (m *extMaker) content() int64 { return m.inner.size }

func (m *extMaker) write(ctx context.Context, out *written.File, _ func() (string, error)) (int64, baseFacts, error) {
	m.p.env.phase("building "+m.inner.name, 0)
	_, err := mkfs.Build(ctx, out, m.inner.root, m.inner.options)
	if errors.Is(err, mkfs.ErrNoSpace) {
		err = withHint(err, "leave things out with -e")
	}
	return m.inner.size, baseFacts{content: m.inner.size}, err
}

func (m *extMaker) check(ctx context.Context, path string) error { return m.inner.same(ctx, path) }
