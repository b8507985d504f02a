package extfs

import "relive/extfs/internal/ondisk"

// mapIndirect looks a logical block up in the block map of ext2 and ext3:
// twelve direct pointers in the inode, then one block of pointers, a block of
// blocks, and a block of those.
func (fs *FS) mapIndirect(in *inode, logical uint64) (run, error) {
	if logical < ondisk.DirectBlocks {
		return fs.pointerRun(in, in.block[:ondisk.DirectBlocks*4], int(logical), logical)
	}
	perBits := fs.geo.blockBits - 2 // log2 of pointers in a block
	rel := logical - ondisk.DirectBlocks
	for level := uint(1); level <= 3; level++ {
		if span := uint64(1) << (perBits * level); rel >= span {
			rel -= span
			continue
		}
		return fs.mapIndirectTree(in, ondisk.LE32(in.block[:], (ondisk.DirectBlocks+int(level)-1)*4), level, rel, logical)
	}
	// No pointer can reach further.
	return run{logical: logical, length: 1<<63 - logical}, nil
}

// mapIndirectTree goes down a tree of pointer blocks of that many levels to the
// block rel of those it maps.
func (fs *FS) mapIndirectTree(in *inode, block uint32, level uint, rel, logical uint64) (run, error) {
	perBits := fs.geo.blockBits - 2
	if block == 0 {
		return run{logical: logical, length: 1<<(perBits*level) - rel}, nil
	}
	for ; ; level-- {
		if !fs.geo.checkBlocks(uint64(block), 1) {
			return run{}, fs.corrupt(in, "indirect block %d is outside of the file system", block)
		}
		p, err := fs.block(uint64(block), kindIndirect, 0, nil)
		if err != nil {
			return run{}, err
		}
		if level == 1 {
			return fs.pointerRun(in, p, int(rel), logical)
		}
		shift := perBits * (level - 1)
		i := int(rel >> shift)
		rel &= 1<<shift - 1
		if block = ondisk.LE32(p, i*4); block == 0 {
			// All of the pointers that are missing here are one hole.
			next := i + 1
			for next < len(p)/4 && ondisk.LE32(p, next*4) == 0 {
				next++
			}
			return run{logical: logical, length: uint64(next-i)<<shift - rel}, nil
		}
	}
}

// pointerRun returns the run that starts at the ith of an array of pointers.
func (fs *FS) pointerRun(in *inode, pointers []byte, i int, logical uint64) (run, error) {
	first := ondisk.LE32(pointers, i*4)
	r := run{logical: logical, physical: uint64(first), length: 1}
	for j := i + 1; j < len(pointers)/4; j++ {
		next := ondisk.LE32(pointers, j*4)
		if first == 0 && next != 0 || first != 0 && uint64(next) != uint64(first)+r.length {
			break
		}
		r.length++
	}
	if first != 0 && !fs.geo.checkBlocks(r.physical, r.length) {
		return run{}, fs.corrupt(in, "logical block %d: %d blocks from block %d, outside of the file system", logical, r.length, first)
	}
	return r, nil
}
