package resize

import (
	"context"
	"path/filepath"

	"relive/remaster/bytesize"
	"relive/remaster/hostdisk"
	"relive/remaster/refusal"
)

const mib = 1 << 20

// roomLeft is the room in bytes that an image is to have besides what it holds:
// a live system needs some to boot. It is what mkfs.Build leaves by itself.
func roomLeft(holds int64) int64 { return max(holds/10, 16*mib) }

// hostMargin is what an image that takes all of the disk leaves of it, in bytes.
func hostMargin(free int64) int64 { return max(free/64, 16*mib) }

// chooseSizes decides on the sizes. The image that is to take what the disk has
// room for comes last.
func (p *Plan) chooseSizes(ctx context.Context) error {
	left, err := p.free()
	if err != nil {
		return err
	}
	for _, last := range []bool{false, true} {
		for _, r := range p.images {
			want := p.asked(r)
			if (want.Kind == SizeMax) != last {
				continue
			}
			disk := left[filepath.Dir(r.path)]
			if err := p.choose(ctx, r, want, *disk); err != nil {
				return err
			}
			*disk -= p.claim(r)
		}
	}
	return nil
}

// free returns what is free on the file systems of the images, by the directory of
// each; directories of one file system share it.
func (p *Plan) free() (map[string]*int64, error) {
	left, disks := map[string]*int64{}, map[uint64]*int64{}
	for _, r := range p.images {
		dir := filepath.Dir(r.path)
		at, err := hostdisk.StampOf(dir)
		if err != nil {
			return nil, err
		}
		if disks[at.Dev] == nil {
			n, err := hostdisk.FreeSpace(dir)
			if err != nil {
				return nil, err
			}
			disks[at.Dev] = &n
		}
		left[dir] = disks[at.Dev]
	}
	return left, nil
}

// asked is the size that an image was asked to have.
func (p *Plan) asked(r *resizing) NewSize {
	if p.live.Files.Home == r.target {
		return *p.o.Home
	}
	return *p.o.Overlay
}

// largestImage bounds what is kept in memory for an image, in bytes.
const largestImage = 1 << 40

// choose decides on the size of an image.
func (p *Plan) choose(ctx context.Context, r *resizing, want NewSize, free int64) error {
	size := want.Bytes
	switch want.Kind {
	case SizeMore:
		size = r.OldSize + want.Bytes
	case SizeLess:
		size = r.OldSize - want.Bytes
	case SizeMin:
		size = r.Least
	case SizeMax:
		var err error
		if size, err = p.largest(r, free); err != nil {
			return err
		}
	}
	// Whole pages, as they are mapped.
	if size = size >> 12 << 12; size == r.OldSize {
		r.How, r.Size, r.Free = ResizeStays, size, r.FreeOld
		return nil
	}
	if size > largestImage {
		return refusal.New(refusal.WrongSize, "choose a smaller size", "%s: %s for %s is more than the %s that images are made of at most",
			p.live.Dir, bytesize.Format(size), r.target, bytesize.Format(largestImage))
	}
	limit, err := hostdisk.MaxFileSize(p.live.Dir)
	if err == nil && size > limit {
		return refusal.New(refusal.FileTooLarge, "give at most "+sizeArg(limit/mib*mib)+", or max",
			"%s: %s cannot have %s, since a file on this file system cannot have more than %s",
			p.live.Dir, r.target, bytesize.Format(size), bytesize.Format(limit))
	}
	if size < r.OldSize && size < r.Least {
		return refusal.New(refusal.WrongSize, "give at least "+sizeArg(r.Least)+", or min",
			"%s: %s is too small for %s: what it holds needs %s, and with its own tables and some room that is at least %s",
			p.live.Dir, bytesize.Format(max(size, 0)), r.target, bytesize.Format(r.Holds), bytesize.Format(r.Least))
	}
	return r.fit(ctx, size)
}

// claim is what of the room that is free now an image takes when all of it is in
// use.
func (p *Plan) claim(r *resizing) int64 {
	if r.make != nil && p.o.KeepOld > 0 {
		return r.Size // the old one stays
	}
	return r.Size - min(r.allocated, r.Size)
}

// largest is the largest size that the disk has room for while all of the image
// is in use, in whole MiB; the present one where that is larger.
func (p *Plan) largest(r *resizing, free int64) (int64, error) {
	size := free - hostMargin(free)
	if r.How == ResizeGrow || p.o.KeepOld == 0 && !r.Whole {
		size += r.allocated // the old one's, which is taken over or free afterwards
	}
	limit, err := hostdisk.MaxFileSize(p.live.Dir)
	if err != nil {
		return 0, err
	}
	size = min(size, limit, largestImage)
	if r.most > 0 {
		size = min(size, r.most)
	}
	return max(size/mib*mib, r.OldSize), nil
}

// sizeArg is a number of bytes as the command line takes it.
func sizeArg(n int64) string {
	if n%mib == 0 {
		return formatInt(n/mib) + "M"
	}
	return formatInt(n)
}
