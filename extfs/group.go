package extfs

import (
	"fmt"

	"relive/extfs/internal/ondisk"
	"relive/tree"
)

// group is a group descriptor.
type group struct {
	blockBitmap, inodeBitmap, inodeTable uint64
	freeClusters, freeInodes, usedDirs   uint32
	itableUnused                         uint32
	flags                                uint16
	blockBitmapCsum, inodeBitmapCsum     uint32
}

// groupCacheLimit bounds the decoded descriptors that are kept.
const groupCacheLimit = 1 << 16

// group returns the descriptor of a group, checked.
func (fs *FS) group(n uint32) (*group, error) {
	fs.groupMu.Lock()
	g := fs.groupCache[n]
	fs.groupMu.Unlock()
	if g != nil {
		return g, nil
	}
	g, err := fs.readGroup(n)
	if err != nil {
		return nil, err
	}
	fs.groupMu.Lock()
	defer fs.groupMu.Unlock()
	if len(fs.groupCache) >= groupCacheLimit {
		clear(fs.groupCache)
	}
	fs.groupCache[n] = g
	return g, nil
}

func (fs *FS) readGroup(n uint32) (*group, error) {
	geo := fs.geo
	place := fmt.Sprintf("group %d", n)
	if n >= geo.groups {
		return nil, tree.Corrupt(fs.name, place, "the file system has %d groups", geo.groups)
	}
	perBlock := uint32(geo.blockSize) / uint32(geo.descSize)
	block := geo.descBlock(uint64(n / perBlock))
	if block >= geo.blocks {
		return nil, tree.Corrupt(fs.name, place, "descriptor in block %d, past the end", block)
	}
	data, err := fs.block(block, kindPlain, 0, nil)
	if err != nil {
		return nil, err
	}
	d := data[int(n%perBlock)*geo.descSize:][:geo.descSize]
	if geo.groupCsum() {
		want := ondisk.LE16(d, ondisk.GDChecksum)
		if got := ondisk.GroupDescChecksum(geo.metadataCsum(), geo.seed, geo.uuid[:], n, d); got != want {
			return nil, tree.Corrupt(fs.name, place, "descriptor checksum is %#04x, the content gives %#04x", want, got)
		}
	}
	g := decodeGroup(d)
	if !geo.checkBlocks(g.blockBitmap, 1) || !geo.checkBlocks(g.inodeBitmap, 1) ||
		!geo.checkBlocks(g.inodeTable, geo.inodeTableBlocks()) {
		return nil, tree.Corrupt(fs.name, place, "bitmaps in blocks %d and %d, inode table from block %d: outside of the file system",
			g.blockBitmap, g.inodeBitmap, g.inodeTable)
	}
	return g, nil
}

// decodeGroup decodes a descriptor of 32 bytes, or of 64 and more.
func decodeGroup(d []byte) *group {
	g := &group{
		blockBitmap:     uint64(ondisk.LE32(d, ondisk.GDBlockBitmapLo)),
		inodeBitmap:     uint64(ondisk.LE32(d, ondisk.GDInodeBitmapLo)),
		inodeTable:      uint64(ondisk.LE32(d, ondisk.GDInodeTableLo)),
		freeClusters:    uint32(ondisk.LE16(d, ondisk.GDFreeBlocksLo)),
		freeInodes:      uint32(ondisk.LE16(d, ondisk.GDFreeInodesLo)),
		usedDirs:        uint32(ondisk.LE16(d, ondisk.GDUsedDirsLo)),
		itableUnused:    uint32(ondisk.LE16(d, ondisk.GDItableUnusedLo)),
		flags:           ondisk.LE16(d, ondisk.GDFlags),
		blockBitmapCsum: uint32(ondisk.LE16(d, ondisk.GDBlockBitmapCsum)),
		inodeBitmapCsum: uint32(ondisk.LE16(d, ondisk.GDInodeBitmapCsum)),
	}
	if len(d) >= ondisk.GDSizeMin64 {
		g.blockBitmap |= uint64(ondisk.LE32(d, ondisk.GDBlockBitmapHi)) << 32
		g.inodeBitmap |= uint64(ondisk.LE32(d, ondisk.GDInodeBitmapHi)) << 32
		g.inodeTable |= uint64(ondisk.LE32(d, ondisk.GDInodeTableHi)) << 32
		g.freeClusters |= uint32(ondisk.LE16(d, ondisk.GDFreeBlocksHi)) << 16
		g.freeInodes |= uint32(ondisk.LE16(d, ondisk.GDFreeInodesHi)) << 16
		g.usedDirs |= uint32(ondisk.LE16(d, ondisk.GDUsedDirsHi)) << 16
		g.itableUnused |= uint32(ondisk.LE16(d, ondisk.GDItableUnusedHi)) << 16
		g.blockBitmapCsum |= uint32(ondisk.LE16(d, ondisk.GDBlockBitmapCsumH)) << 16
		g.inodeBitmapCsum |= uint32(ondisk.LE16(d, ondisk.GDInodeBitmapCsumH)) << 16
	}
	return g
}

// descBlock is the block that holds the nth block of group descriptors: after
// the superblock, or with meta_bg in the first group that it describes.
func (g *geometry) descBlock(n uint64) uint64 {
	if !g.hasIncompat(ondisk.IncompatMetaBG) || n < g.firstMetaBG {
		return ondisk.SuperblockOffset/uint64(g.blockSize) + 1 + n
	}
	first := n * (uint64(g.blockSize) / uint64(g.descSize))
	block := g.groupFirstBlock(uint32(first))
	if g.groupHasSuper(uint32(first)) {
		block++
	}
	if g.blockSize == 1024 && n == 0 && g.firstDataBlock == 0 {
		block++ // block 0 is the boot block, the superblock is in block 1
	}
	return block
}

// inodeTableBlocks is the length of each group's inode table.
func (g *geometry) inodeTableBlocks() uint64 {
	bytes := uint64(g.inodesPerGroup) * uint64(g.inodeSize)
	return (bytes + uint64(g.blockSize) - 1) / uint64(g.blockSize)
}
