package remaster

import (
	"context"
	"errors"
	"os"

	"relive/tree/hostfs"
)

// CopyAnd copies a file as a clone does, calls spoil, and reads the copy back.
func (p *SetChange) CopyAnd(ctx context.Context, from, to string, spoil func()) error {
	in, err := hostfs.OpenFile(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	c := setCopy{"copy", from, in.Size()}
	parts, err := p.copyData(ctx, out, in, c)
	if err = errors.Join(err, out.Close()); err != nil {
		return err
	}
	spoil()
	return p.checkCopy(ctx, to, c, parts)
}
