package hostdisk

import (
	"context"
	"io"

	"relive/remaster/written"
	"relive/tree"
)

// CopyBuffer is how much copyDevice reads at a time, in bytes.
const CopyBuffer = 4 << 20

// CopySparse copies what is not a hole and not zero. done is told how far it
// has come, in bytes.
func CopySparse(ctx context.Context, out *written.File, c tree.Content, done func(int64)) error {
	if err := out.Truncate(c.Size()); err != nil {
		return err
	}
	buf := make([]byte, CopyBuffer)
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
			p := buf[:min(end-off, CopyBuffer-off%CopyBuffer)]
			if err := tree.ReadFull(c, p, off); err != nil {
				return err
			}
			if err := WriteSparse(out, p, off); err != nil {
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

// WriteSparse writes those units of p that are not zero.
func WriteSparse(out io.WriterAt, p []byte, off int64) error {
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
