package dmmerge

import (
	"fmt"

	"relive/tree"
)

// GrowResult tells what Grow did.
type GrowResult struct {
	OldSize int64 `json:"old_size"`
	Size    int64 `json:"size"`
	// Adjusted: the size that was asked for is one at which the kernel
	// invalidates the COW, so it became a chunk larger.
	Adjusted bool `json:"adjusted"`
	// Activated: the COW was invalid and is valid again.
	Activated bool `json:"activated"`
	// Cleared entries stood behind the end of the list.
	Cleared uint64 `json:"cleared_entries"`
}

// Grow makes the COW of oldSize bytes in s at least size bytes long and, where
// it was invalid, valid again: in this order, since a COW that is made valid
// while it is full is invalidated by its next write. It refuses, as
// tree.ErrCorrupt, a COW with entries that point past its end or at metadata:
// grown, they would show zeros for what is lost.
//
// The file system in a COW that was invalid is as after a power cut; its journal
// is to be replayed.
func Grow(s Resizable, oldSize, size int64, name string) (GrowResult, error) {
	res := GrowResult{OldSize: oldSize, Size: size}
	if size < oldSize {
		return res, fmt.Errorf("%s: %d bytes are fewer than its %d", name, size, oldSize)
	}
	c, err := Open(s, oldSize, name)
	if err != nil {
		return res, err
	}
	return grow(c, s, size)
}

func grow(c *COW, s Resizable, size int64) (GrowResult, error) {
	oldSize, name := c.size, c.name
	res := GrowResult{OldSize: oldSize, Size: size}
	for _, f := range c.findings {
		if f.What == PastEnd || f.What == AtMetadata {
			return res, tree.Corrupt(name, "metadata", "%v", f)
		}
	}
	if size > oldSize && c.geo.trapped(c.geo.chunks(size)) {
		size += c.geo.bytes
		res.Size, res.Adjusted = size, true
	}
	step := func(err error) error {
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return nil
	}
	if size > oldSize {
		// Behind the last whole sector may stand what was no part of the COW.
		if err := step(zero(s, oldSize/sectorSize*sectorSize, oldSize)); err != nil {
			return res, err
		}
		if err := step(s.Truncate(size)); err != nil {
			return res, err
		}
		if err := step(s.Sync()); err != nil {
			return res, err
		}
	}
	if c.state == New {
		return res, nil
	}
	if err := c.clearStale(s); err != nil {
		return res, err
	}
	res.Cleared = c.stale
	if c.header.Valid == 0 {
		if err := step(writeSync(s, []byte{1, 0, 0, 0}, 4)); err != nil {
			return res, err
		}
		res.Activated = true
	}
	return res, nil
}
