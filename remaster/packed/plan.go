package packed

import (
	"context"
	"io"

	"relive/erofs"
	"relive/squash"
	"relive/tree"
)

// Stats are the figures of a planned image.
type Stats struct {
	Inodes uint64 // distinct inodes
	Bytes  int64  // of distinct regular files

	Reused, Mixed, Duplicate uint64 // files that are copied as stored, that are in part, that share the data of another
	Copy                     int64  // stored bytes that are copied
	Compress                 int64  // bytes of content to compress
	Repacked                 int    // blocks of several files that are packed anew
	Dead                     int64  // bytes that are copied along and belong to no file

	DroppedXattrs   map[string]uint64 // files by the name of an attribute that the format does not hold
	DroppedFlags    map[string]uint64 // files by the name of a flag that chattr sets
	FirstFlagged    string            // the first of them
	TimesOutOfRange uint64            // files whose times the format does not hold
}

// Plan is an image that is planned: what of it is copied as stored is decided.
type Plan interface {
	Stats() Stats
	// OnProgress has fn called with the bytes copied and compressed so far, from one
	// goroutine at a time.
	OnProgress(fn func(done int64))
	// Write writes the image into out, its first byte at base. size is that of the
	// image, tables what of it is no content of files.
	Write(ctx context.Context, out io.WriterAt, base int64) (size, tables int64, err error)
	// NumbersKept reports whether each inode of the image that Numbers names has its
	// number in the new one.
	NumbersKept() bool
	// Check compares what a written image has besides its tree with what was planned.
	Check(ctx context.Context, got Image) error
}

// NewPlan plans an image of a tree.
func NewPlan(ctx context.Context, root *tree.Node, o WriteOptions) (Plan, error) {
	if o.format == EROFS {
		p, err := erofs.NewPlan(ctx, root, o.erofs)
		if err != nil {
			return nil, err
		}
		return erofsPlan{p}, nil
	}
	p, err := squash.NewPlan(ctx, root, o.squash)
	if err != nil {
		return nil, err
	}
	return squashPlan{p}, nil
}

type squashPlan struct{ *squash.Plan }

// Stats implements Plan.
func (p squashPlan) Stats() Stats {
	s := &p.Plan.Stats
	return Stats{Inodes: s.Inodes, Bytes: s.Bytes, Reused: s.ReusedFiles, Mixed: s.MixedFiles, Duplicate: s.DuplicateFiles,
		Copy: s.CopyBytes, Compress: s.CompressBytes, Repacked: s.RepackedBlocks, Dead: s.DeadBytes, DroppedXattrs: s.DroppedXattrs,
		DroppedFlags: s.DroppedFlags, FirstFlagged: s.FirstFlagged, TimesOutOfRange: s.TimesOutOfRange}
}

// OnProgress implements Plan.
func (p squashPlan) OnProgress(fn func(int64)) {
	p.Plan.OnProgress(func(w squash.WriteProgress) { fn(w.Copied + w.Compressed) })
}

// Write implements Plan.
func (p squashPlan) Write(ctx context.Context, out io.WriterAt, base int64) (size, tables int64, err error) {
	rep, err := p.Plan.Write(ctx, out, base)
	if err != nil {
		return 0, 0, err
	}
	return rep.Size, rep.TableBytes, nil
}

// Check implements Plan.
func (p squashPlan) Check(ctx context.Context, got Image) error {
	return p.CheckNumbers(ctx, Squash(got))
}

type erofsPlan struct{ *erofs.Plan }

// Stats implements Plan.
func (p erofsPlan) Stats() Stats {
	s := &p.Plan.Stats
	return Stats{Inodes: s.Inodes, Bytes: s.Bytes, Reused: s.ReusedFiles, Mixed: s.MixedFiles, Duplicate: s.DuplicateFiles,
		Copy: s.CopyBytes, Compress: s.CompressBytes, Repacked: s.RepackedExtents, Dead: s.DeadBytes, DroppedXattrs: s.DroppedXattrs,
		DroppedFlags: s.DroppedFlags, FirstFlagged: s.FirstFlagged}
}

// OnProgress implements Plan.
func (p erofsPlan) OnProgress(fn func(int64)) {
	p.Plan.OnProgress(func(w erofs.WriteProgress) { fn(w.Copied + w.Compressed) })
}

// Write implements Plan.
func (p erofsPlan) Write(ctx context.Context, out io.WriterAt, base int64) (size, tables int64, err error) {
	rep, err := p.Plan.Write(ctx, out, base)
	if err != nil {
		return 0, 0, err
	}
	return rep.Size, rep.MetaBytes, nil
}

// NumbersKept implements Plan: an EROFS image has a UUID of its own instead.
func (erofsPlan) NumbersKept() bool { return false }

// Check implements Plan.
func (erofsPlan) Check(context.Context, Image) error { return nil }
