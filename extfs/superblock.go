package extfs

import (
	"math/bits"
	"strings"

	"relive/extfs/internal/ondisk"
	"relive/tree"
)

// geometry is what reading needs of the superblock, decoded and checked.
type geometry struct {
	name string // of the image, for errors

	compat, incompat, roCompat uint32

	blockSize      int64
	blockBits      uint   // log2 of blockSize
	blocks         uint64 // s_blocks_count
	firstDataBlock uint64
	blocksPerGroup uint64
	clusterBits    uint // log2 of blocks in a cluster
	groups         uint32
	inodes         uint32
	inodesPerGroup uint32
	inodeSize      int
	firstInode     uint32
	descSize       int
	firstMetaBG    uint64
	reservedGDT    uint64
	backupBGs      [2]uint32
	uuid           [16]byte
	seed           uint32 // of metadata checksums
	journalInode   uint32
	journalDevice  uint32
}

func (g *geometry) hasCompat(f uint32) bool   { return g.compat&f != 0 }
func (g *geometry) hasIncompat(f uint32) bool { return g.incompat&f != 0 }
func (g *geometry) hasRO(f uint32) bool       { return g.roCompat&f != 0 }
func (g *geometry) metadataCsum() bool        { return g.hasRO(ondisk.ROMetadataCsum) }

// groupCsum reports whether group descriptors carry checksums and flags of
// uninitialised parts.
func (g *geometry) groupCsum() bool { return g.hasRO(ondisk.ROMetadataCsum | ondisk.ROGDTCsum) }

// decodeSuperblock checks the superblock of 1024 bytes as the kernel does
// before it mounts one, for an image of size bytes.
func decodeSuperblock(name string, sb []byte, size int64) (*geometry, error) {
	const place = "superblock"
	bad := func(fact string, args ...any) error { return tree.Corrupt(name, place, fact, args...) }

	if m := ondisk.LE16(sb, ondisk.SBMagic); m != ondisk.SuperblockMagic {
		return nil, bad("no ext2, ext3 or ext4 file system here (magic number %#04x)", m)
	}
	g := &geometry{name: name, firstInode: ondisk.InoFirstOld, inodeSize: ondisk.InodeSizeOld}
	switch rev := ondisk.LE32(sb, ondisk.SBRevLevel); rev {
	case ondisk.RevGood:
	case ondisk.RevDynamic:
		g.compat = ondisk.LE32(sb, ondisk.SBFeatureCompat)
		g.incompat = ondisk.LE32(sb, ondisk.SBFeatureIncompat)
		g.roCompat = ondisk.LE32(sb, ondisk.SBFeatureROCompat)
		g.firstInode = ondisk.LE32(sb, ondisk.SBFirstInode)
		g.inodeSize = int(ondisk.LE16(sb, ondisk.SBInodeSize))
	default:
		return nil, tree.Unsupported(name, place, "revision %d", rev)
	}
	if refused := g.incompat &^ ondisk.IncompatKnown; refused != 0 {
		return nil, tree.Unsupported(name, place, "feature %s is not supported",
			strings.Join(featureNames(refused, ondisk.IncompatNames(), "incompat"), ", "))
	}
	if g.metadataCsum() {
		if t := sb[ondisk.SBChecksumType]; t != ondisk.ChecksumTypeCRC32C {
			return nil, tree.Unsupported(name, place, "checksums of type %d", t)
		}
		if want, got := ondisk.LE32(sb, ondisk.SBChecksum), ondisk.SuperblockChecksum(sb); want != got {
			return nil, bad("checksum is %#08x, the content gives %#08x", want, got)
		}
	}
	copy(g.uuid[:], sb[ondisk.SBUUID:])
	g.seed = ondisk.ChecksumSeed(sb)

	logBlock := ondisk.LE32(sb, ondisk.SBLogBlockSize)
	if logBlock > 6 {
		return nil, bad("block size of 2^%d KiB", logBlock)
	}
	g.blockBits = 10 + uint(logBlock)
	g.blockSize = 1 << g.blockBits
	if g.inodeSize < ondisk.InodeSizeOld || int64(g.inodeSize) > g.blockSize || bits.OnesCount(uint(g.inodeSize)) != 1 {
		return nil, bad("inode size of %d bytes", g.inodeSize)
	}
	if g.firstInode < ondisk.InoFirstOld {
		return nil, bad("first inode is %d", g.firstInode)
	}
	g.descSize = ondisk.GDSizeMin
	if g.hasIncompat(ondisk.Incompat64Bit) {
		g.descSize = int(ondisk.LE16(sb, ondisk.SBDescSize))
		if g.descSize < ondisk.GDSizeMin64 || g.descSize > ondisk.GDSizeMax || bits.OnesCount(uint(g.descSize)) != 1 {
			return nil, bad("group descriptors of %d bytes", g.descSize)
		}
	}

	g.blocks = uint64(ondisk.LE32(sb, ondisk.SBBlocksCountLo))
	if g.hasIncompat(ondisk.Incompat64Bit) {
		g.blocks |= uint64(ondisk.LE32(sb, ondisk.SBBlocksCountHi)) << 32
	}
	if g.blocks > uint64(size)>>g.blockBits {
		return nil, bad("%d blocks of %d bytes, but the image has only %d bytes", g.blocks, g.blockSize, size)
	}
	g.firstDataBlock = uint64(ondisk.LE32(sb, ondisk.SBFirstDataBlock))
	if g.firstDataBlock >= g.blocks || g.firstDataBlock > 1 {
		return nil, bad("first data block is %d of %d", g.firstDataBlock, g.blocks)
	}
	if g.blockSize == 1024 && g.firstDataBlock == 0 && !g.hasRO(ondisk.ROBigalloc) {
		return nil, bad("first data block is 0 with blocks of 1024 bytes")
	}
	g.blocksPerGroup = uint64(ondisk.LE32(sb, ondisk.SBBlocksPerGroup))
	perGroup := g.blocksPerGroup
	if g.hasRO(ondisk.ROBigalloc) {
		logCluster := ondisk.LE32(sb, ondisk.SBLogClusterSize)
		if logCluster < logBlock || logCluster > 20 {
			return nil, bad("cluster size of 2^%d KiB", logCluster)
		}
		g.clusterBits = uint(logCluster - logBlock)
		perGroup = uint64(ondisk.LE32(sb, ondisk.SBClustersPerGroup))
		if perGroup<<g.clusterBits != g.blocksPerGroup {
			return nil, bad("%d clusters and %d blocks per group", perGroup, g.blocksPerGroup)
		}
	}
	if perGroup == 0 || perGroup > uint64(g.blockSize)*8 || perGroup%8 != 0 {
		return nil, bad("%d blocks per group", g.blocksPerGroup)
	}
	groups := (g.blocks - g.firstDataBlock + g.blocksPerGroup - 1) / g.blocksPerGroup
	if groups > 1<<32-1 {
		return nil, bad("%d groups", groups)
	}
	g.groups = uint32(groups)
	g.inodes = ondisk.LE32(sb, ondisk.SBInodesCount)
	g.inodesPerGroup = ondisk.LE32(sb, ondisk.SBInodesPerGroup)
	if p := g.inodesPerGroup; p < uint32(g.blockSize)/uint32(g.inodeSize) || p > uint32(g.blockSize)*8 {
		return nil, bad("%d inodes per group", p)
	}
	if want := uint64(g.inodesPerGroup) * groups; want != uint64(g.inodes) {
		return nil, bad("%d inodes, but %d groups of %d", g.inodes, groups, g.inodesPerGroup)
	}
	g.firstMetaBG = uint64(ondisk.LE32(sb, ondisk.SBFirstMetaBG))
	perBlock := uint64(g.blockSize) / uint64(g.descSize)
	if g.hasIncompat(ondisk.IncompatMetaBG) && g.firstMetaBG > (groups+perBlock-1)/perBlock {
		return nil, bad("first meta block group is %d", g.firstMetaBG)
	}
	g.reservedGDT = uint64(ondisk.LE16(sb, ondisk.SBReservedGDTBlocks))
	g.backupBGs = [2]uint32{ondisk.LE32(sb, ondisk.SBBackupBGs), ondisk.LE32(sb, ondisk.SBBackupBGs+4)}
	if g.hasCompat(ondisk.CompatHasJournal) {
		g.journalInode = ondisk.LE32(sb, ondisk.SBJournalInode)
		g.journalDevice = ondisk.LE32(sb, ondisk.SBJournalDevice)
	}
	return g, nil
}

// checkBlocks reports whether count blocks from start are blocks of the file
// system.
func (g *geometry) checkBlocks(start, count uint64) bool {
	return start >= g.firstDataBlock && start != 0 && start < g.blocks && count <= g.blocks-start
}

// groupFirstBlock is the first block of a group.
func (g *geometry) groupFirstBlock(group uint32) uint64 {
	return g.firstDataBlock + uint64(group)*g.blocksPerGroup
}

// groupBlocks is the number of blocks in a group; the last may have fewer.
func (g *geometry) groupBlocks(group uint32) uint64 {
	return min(g.blocksPerGroup, g.blocks-g.groupFirstBlock(group))
}

// groupHasSuper reports whether a group holds a copy of the superblock.
func (g *geometry) groupHasSuper(group uint32) bool {
	switch {
	case group == 0:
		return true
	case g.hasCompat(ondisk.CompatSparseSuper2):
		return group == g.backupBGs[0] || group == g.backupBGs[1]
	}
	return group == 1 || !g.hasRO(ondisk.ROSparseSuper) || ondisk.SparseSuperGroup(group)
}

// featureNames lists the names of bits; one without a name is given as its set
// and value.
func featureNames(set uint32, names []ondisk.FeatureName, kind string) []string {
	var out []string
	for i := range 32 {
		bit := uint32(1) << i
		if set&bit == 0 {
			continue
		}
		out = append(out, featureNameOf(bit, names, kind))
	}
	return out
}
