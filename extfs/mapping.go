package extfs

import (
	"relive/extfs/internal/ondisk"
	"relive/tree"
)

// run is a range of a file's blocks that lie one after another, or are a hole.
type run struct {
	logical   uint64
	physical  uint64 // 0 where no blocks are allocated
	length    uint64
	unwritten bool // allocated, but reads as zeros
}

func (r run) end() uint64 { return r.logical + r.length }

// hole reports whether the run reads as zeros.
func (r run) hole() bool { return r.physical == 0 || r.unwritten }

// continues reports whether next goes on where r ends, in the file and on the
// device, so that both are one run.
func (r run) continues(next run) bool {
	if next.logical != r.end() || next.unwritten != r.unwritten {
		return false
	}
	if r.physical == 0 {
		return next.physical == 0
	}
	return next.physical == r.physical+r.length
}

// from returns the part of the run from a logical block inside it on.
func (r run) from(logical uint64) run {
	d := logical - r.logical
	r.logical, r.length = logical, r.length-d
	if r.physical != 0 {
		r.physical += d
	}
	return r
}

// mapBlock returns the run that starts at a logical block.
func (fs *FS) mapBlock(in *inode, logical uint64) (run, error) {
	if in.fast != nil {
		return in.fast.overlay(logical, func() (run, error) { return fs.mapStored(in, logical) })
	}
	return fs.mapStored(in, logical)
}

// mapStored is mapBlock without what fast commits changed.
func (fs *FS) mapStored(in *inode, logical uint64) (run, error) {
	if in.has(ondisk.FlExtents) {
		return fs.mapExtent(in, logical)
	}
	return fs.mapIndirect(in, logical)
}

// mapMerged is mapBlock with the runs that continue it merged in, up to the
// logical block until.
func (fs *FS) mapMerged(in *inode, logical, until uint64) (run, error) {
	r, err := fs.mapBlock(in, logical)
	if err != nil {
		return run{}, err
	}
	for r.end() < until {
		next, err := fs.mapBlock(in, r.end())
		if err != nil {
			return run{}, err
		}
		if !r.continues(next) {
			break
		}
		r.length += next.length
	}
	return r, nil
}

// block returns a metadata block through the cache; check, which may be nil,
// sees it when it is read and not when it comes from the cache.
func (fs *FS) block(number uint64, kind blockKind, owner uint32, check func([]byte) error) ([]byte, error) {
	key := cacheKey{block: number, owner: owner, kind: kind}
	if p := fs.cache.peek(key); p != nil { // spares the closure
		return p, nil
	}
	return fs.cache.get(key, func() ([]byte, error) {
		p := make([]byte, fs.geo.blockSize)
		if err := fs.dev.readBlocks(p, number); err != nil {
			return nil, err
		}
		if check != nil {
			if err := check(p); err != nil {
				return nil, err
			}
		}
		return p, nil
	})
}

func (fs *FS) corrupt(in *inode, fact string, args ...any) error {
	return tree.Corrupt(fs.name, in.place(), fact, args...)
}
