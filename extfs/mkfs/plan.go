package mkfs

import (
	"errors"

	"relive/extfs/internal/ondisk"
)

// plan is a geometry with a place for all that the tree holds. Everything is
// laid out upwards from the first free block in the order directories,
// attribute blocks, then the content of files, symlinks and values by inode
// number, each followed by the blocks that map it; so the place of each thing
// follows from counting again.
type plan struct {
	geo        *layout
	xattrStart uint64 // where attribute blocks begin
	dataStart  uint64 // where content begins
	end        uint64 // past the last block in use
	taken      uint64 // blocks that the tree takes
	free       uint64 // blocks that were free before
}

// placement finds places for contents one after the other.
type placement struct {
	o     *resolved
	geo   *layout
	at    cursor
	whole [1]logicalRun
	data  []blockRun
	meta  []blockRun
}

func newPlacement(o *resolved, g *layout, start uint64) *placement {
	return &placement{o: o, geo: g, at: cursor{used: g.used, at: start}}
}

// next places the content of an inode. The results are valid until the next
// call.
func (p *placement) next(rec inodeRecord, sparse []logicalRun) (logical []logicalRun, data, meta []blockRun, err error) {
	if rec.blocks == 0 {
		return nil, nil, nil, nil
	}
	logical = sparse
	if logical == nil {
		p.whole[0] = logicalRun{0, rec.blocks}
		logical = p.whole[:]
	}
	p.data = p.at.take(uint64(rec.blocks), p.data[:0])
	n, err := p.geo.mapBlocks(p.o, logical, p.data)
	if err != nil {
		return nil, nil, nil, err
	}
	p.meta = p.at.take(uint64(n), p.meta[:0])
	return logical, p.data, p.meta, nil
}

// inodeAt is the inode number of the record at index i.
func inodeAt(i int) uint32 {
	if i == 0 {
		return ondisk.InoRoot
	}
	return uint32(i) + firstInode - 1
}

// place lays the tree out in a geometry, going on past its end where it does
// not fit.
func (c *census) place(o *resolved, g *layout) (*plan, error) {
	p := &plan{geo: g, free: g.blocks - g.used.countUsed(0, g.blocks)}
	at := newPlacement(o, g, 0)
	for _, rec := range c.records {
		if rec.kind == holdsDirectory {
			if _, _, _, err := at.next(rec, nil); err != nil {
				return nil, err
			}
		}
	}
	p.xattrStart = at.at.at
	at.at.take(uint64(len(c.xattrRefs)), nil)
	p.dataStart = at.at.at
	for i, rec := range c.records {
		if rec.kind != holdsDirectory {
			if _, _, _, err := at.next(rec, c.sparse[inodeAt(i)]); err != nil {
				return nil, err
			}
		}
	}
	p.end = at.at.at
	p.taken = at.at.taken
	return p, nil
}

// layOut is the plan for an image of size bytes, or a NoSpaceError.
func (c *census) layOut(o *resolved, size int64) (*plan, error) {
	g, err := newLayout(o, size, c.inodesUsed())
	if err != nil {
		return nil, err
	}
	if n := c.inodesUsed(); n > uint64(g.inodes) {
		return nil, &NoSpaceError{Image: o.Name, What: "inodes", Needed: n, Available: uint64(g.inodes)}
	}
	p, err := c.place(o, g)
	if err != nil {
		return nil, err
	}
	if p.taken > p.free {
		return nil, &NoSpaceError{Image: o.Name, What: "blocks", Needed: p.taken, Available: p.free, BlockSize: g.blockSize}
	}
	return p, nil
}

// fits reports whether an image of size bytes holds the tree. An error is one
// that no other size would mend.
func (c *census) fits(o *resolved, size int64) (bool, error) {
	_, err := c.layOut(o, size)
	var no *NoSpaceError
	if !errors.As(err, &no) {
		return err == nil, err
	}
	// Where the number of inodes is fixed, more room gives no more of them.
	if no.What == "inodes" && o.Inodes != 0 && c.inodesUsed() == no.Needed &&
		(c.inodesUsed() > uint64(o.Inodes) || size > plentyFor(o)) {
		return false, err
	}
	return false, nil
}

// plentyFor is a size at which a fixed number of inodes has all the room that
// it wants.
func plentyFor(o *resolved) int64 { return int64(o.Inodes)*(int64(o.inodeSize)+8) + 1<<30 }

// smallestSize is the size in bytes, a whole number of blocks, that holds the
// tree while one block less does not.
func (c *census) smallestSize(o *resolved) (int64, error) {
	bs := int64(o.blockSize)
	low, high := int64(0), int64(64)
	for {
		ok, err := c.fits(o, high*bs)
		if err != nil {
			return 0, err
		}
		if ok {
			break
		}
		low, high = high, high*2
	}
	for low+1 < high {
		mid := low + (high-low)/2
		ok, err := c.fits(o, mid*bs)
		if err != nil {
			return 0, err
		}
		if ok {
			high = mid
		} else {
			low = mid
		}
	}
	return high * bs, nil
}

// comfortableSize is the smallest size and a tenth more, at least 16 MiB more,
// in whole MiB.
func (c *census) comfortableSize(o *resolved) (int64, error) {
	const mib = 1 << 20
	size, err := c.smallestSize(o)
	if err != nil {
		return 0, err
	}
	size += max(size/10, 16*mib)
	size = divCeil(size, mib) * mib
	for {
		ok, err := c.fits(o, size)
		if err != nil || ok {
			return size, err
		}
		// A size that ends in a group too short to use can hold less than a
		// smaller one.
		size += mib
	}
}
