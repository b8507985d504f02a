package packed

import (
	"context"
	"fmt"

	"relive/remaster/bytesize"
	"relive/squash"
	"relive/tree"
)

// squashImage is a SquashFS image.
type squashImage struct {
	*squash.Reader
	size int64
}

// Squash returns the reader of a SquashFS image, nil of another one.
func Squash(i Image) *squash.Reader {
	if s, ok := i.(squashImage); ok {
		return s.Reader
	}
	return nil
}

// Format implements Image.
func (squashImage) Format() Format { return SquashFS }

// Facts implements Image.
func (s squashImage) Facts() Facts {
	i := s.Info()
	return Facts{Codec: s.Options().ID.String(), BlockSize: i.BlockSize, Fragments: i.Fragments, Built: tree.Time{Sec: int64(i.MkfsTime)},
		Inodes: int64(i.Inodes), Numbered: i.Exportable, WholeSeconds: true, Data: i.TablesStart, Tables: i.BytesUsed - i.TablesStart}
}

// HoldsXattr implements Image.
func (squashImage) HoldsXattr(name string) bool { return squash.HoldsXattr(name) }

// Verify implements Image.
func (s squashImage) Verify(ctx context.Context, o VerifyOptions) (*Report, error) {
	rep, err := squash.Verify(ctx, s.Reader, squash.VerifyOptions{Workers: o.Workers, Progress: o.Progress})
	if err != nil {
		return nil, err
	}
	out := &Report{Inodes: rep.Inodes, More: rep.More,
		Detail: fmt.Sprintf("%s, %d inodes, %d fragments, %s", s.Options().ID, rep.Inodes, s.Info().Fragments, bytesize.Format(s.size))}
	for _, f := range rep.Findings {
		out.add(f.String(), f.Warning)
	}
	return out, nil
}
