package extfs

import (
	"fmt"
	"iter"

	"relive/extfs/internal/ondisk"
	"relive/tree"
)

// BlockRun is a range of blocks of the file system.
type BlockRun struct {
	Start int64 // first block
	Count int64 // number of blocks
}

// IsFree reports whether the block bitmaps call a block free. A block outside of
// the file system is not.
func (fs *FS) IsFree(block int64) (bool, error) {
	geo := fs.geo
	if block < int64(geo.firstDataBlock) || block >= int64(geo.blocks) || fs.fastUsed(block) {
		return false, nil
	}
	rel := uint64(block) - geo.firstDataBlock
	n := uint32(rel / geo.blocksPerGroup)
	bitmap, err := fs.blockBitmap(n)
	if err != nil {
		return false, err
	}
	bit := rel % geo.blocksPerGroup >> geo.clusterBits
	return bitmap[bit/8]&(1<<(bit%8)) == 0, nil
}

// FreeExtents returns the ranges of free blocks in ascending order, each as long
// as it can be. An error ends the sequence.
func (fs *FS) FreeExtents() iter.Seq2[BlockRun, error] {
	return func(yield func(BlockRun, error) bool) {
		var open BlockRun // not given out yet, it may go on in the next group
		for n := range fs.geo.groups {
			bitmap, err := fs.blockBitmap(n)
			if err != nil {
				yield(BlockRun{}, err)
				return
			}
			for r := range fs.freeInGroup(n, bitmap) {
				if open.Count > 0 && open.Start+open.Count == r.Start {
					open.Count += r.Count
					continue
				}
				if open.Count > 0 && !yield(open, nil) {
					return
				}
				open = r
			}
		}
		if open.Count > 0 {
			yield(open, nil)
		}
	}
}

// freeInGroup returns the free ranges of one group, without those that fast
// commits gave to files.
func (fs *FS) freeInGroup(n uint32, bitmap []byte) iter.Seq[BlockRun] {
	geo := fs.geo
	first, blocks := int64(geo.groupFirstBlock(n)), int64(geo.groupBlocks(n))
	return func(yield func(BlockRun) bool) {
		clusters := (blocks + 1<<geo.clusterBits - 1) >> geo.clusterBits
		for bit := int64(0); bit < clusters; {
			if bit%8 == 0 && bitmap[bit/8] == 0xFF {
				bit += 8
				continue
			}
			if bitmap[bit/8]&(1<<(bit%8)) != 0 {
				bit++
				continue
			}
			start := bit
			for bit < clusters && bitmap[bit/8]&(1<<(bit%8)) == 0 {
				if bit%8 == 0 && bitmap[bit/8] == 0 && clusters-bit >= 8 {
					bit += 8
				} else {
					bit++
				}
			}
			from, to := start<<geo.clusterBits, min(bit<<geo.clusterBits, blocks)
			if !fs.withoutFast(BlockRun{Start: first + from, Count: to - from}, yield) {
				return
			}
		}
	}
}

// withoutFast returns the parts of a free range that no fast commit gave to a
// file; it is false where yield was.
func (fs *FS) withoutFast(r BlockRun, yield func(BlockRun) bool) bool {
	end := r.Start + r.Count
	if fs.fast != nil {
		for _, u := range fs.fast.used {
			if u.Start >= end {
				break
			}
			if u.Start > r.Start && !yield(BlockRun{Start: r.Start, Count: u.Start - r.Start}) {
				return false
			}
			r.Start = max(r.Start, u.Start+u.Count)
		}
	}
	return r.Start >= end || yield(BlockRun{Start: r.Start, Count: end - r.Start})
}

// fastUsed reports whether a fast commit gave a block to a file.
func (fs *FS) fastUsed(block int64) bool {
	if fs.fast == nil {
		return false
	}
	for _, u := range fs.fast.used {
		if block >= u.Start && block < u.Start+u.Count {
			return true
		}
	}
	return false
}

// blockBitmap returns a group's block bitmap, checked; that of a group whose
// bitmap was never written is made up from what must be in use there.
func (fs *FS) blockBitmap(n uint32) ([]byte, error) {
	geo := fs.geo
	g, err := fs.group(n)
	if err != nil {
		return nil, err
	}
	if geo.groupCsum() && g.flags&ondisk.BGBlockUninit != 0 {
		return fs.cache.get(cacheKey{block: uint64(n), kind: kindUninit}, func() ([]byte, error) {
			return geo.uninitBitmap(n, g), nil
		})
	}
	return fs.block(g.blockBitmap, kindBitmap, n, func(p []byte) error {
		if !geo.metadataCsum() {
			return nil
		}
		sum := ondisk.BitmapChecksum(geo.seed, p, uint32(geo.blocksPerGroup>>geo.clusterBits))
		if geo.descSize < ondisk.GDBlockBitmapCsumH+2 {
			sum &= 0xFFFF
		}
		if sum != g.blockBitmapCsum {
			return tree.Corrupt(fs.name, fmt.Sprintf("group %d", n), "block bitmap in block %d: checksum is %#08x, the content gives %#08x",
				g.blockBitmap, g.blockBitmapCsum, sum)
		}
		return nil
	})
}

// uninitBitmap makes the bitmap of a group of which nothing is in use but the
// file system's own: copies of the superblock and descriptors, and the group's
// bitmaps and inode table where they lie in it.
func (g *geometry) uninitBitmap(n uint32, d *group) []byte {
	bitmap := make([]byte, g.blockSize)
	first, blocks := g.groupFirstBlock(n), g.groupBlocks(n)
	use := func(start, count uint64) {
		end := start + count
		start, end = max(start, first), min(end, first+blocks)
		for b := start; b < end; b++ {
			bit := (b - first) >> g.clusterBits
			bitmap[bit/8] |= 1 << (bit % 8)
		}
	}
	use(first, g.superBlocks(n))
	use(d.blockBitmap, 1)
	use(d.inodeBitmap, 1)
	use(d.inodeTable, g.inodeTableBlocks())
	return bitmap
}

// superBlocks is the number of blocks at the start of a group that hold the
// superblock, descriptors and the room for more of them.
func (g *geometry) superBlocks(n uint32) uint64 {
	perBlock := uint64(g.blockSize) / uint64(g.descSize)
	var count uint64
	if g.groupHasSuper(n) {
		count = 1
		if g.blockSize == 1024 && n == 0 && g.firstDataBlock == 0 {
			count++ // the boot block
		}
	}
	meta := uint64(n) / perBlock
	if !g.hasIncompat(ondisk.IncompatMetaBG) || meta < g.firstMetaBG {
		if count == 0 {
			return 0
		}
		tables := (uint64(g.groups) + perBlock - 1) / perBlock
		if g.hasIncompat(ondisk.IncompatMetaBG) {
			tables = g.firstMetaBG
		}
		return count + tables + g.reservedGDT
	}
	// With meta_bg the descriptors of a meta group stand in its first, second
	// and last group.
	if at := uint64(n) % perBlock; at == 0 || at == 1 || at == perBlock-1 {
		count++
	}
	return count
}
