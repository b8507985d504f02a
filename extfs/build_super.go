package extfs

import (
	"encoding/binary"
)

// writeGroups writes bitmaps and makes the group descriptors, which it leaves
// in every group with a superblock. It gives the number of free blocks.
func (b *writer) writeGroups() (free uint64, err error) {
	g := b.g
	table := make([]byte, int(g.descBlocks)*g.blockSize)
	for group := range g.groups {
		n, err := b.writeGroup(group, table[int(group)*g.descSize:][:g.descSize])
		if err != nil {
			return 0, err
		}
		free += n
	}
	for _, s := range [...]*stream{b.inodes, b.dirData} {
		if err := s.flush(); err != nil {
			return 0, err
		}
	}
	for group := range g.groups {
		if !g.hasSuper(group) {
			continue
		}
		if err := writeAt(b.w, table, b.offset(g.groupStart(group)+1)); err != nil {
			return 0, err
		}
	}
	return free, nil
}

// writeGroup writes a group's bitmaps, where they cannot be left
// uninitialised, and fills its descriptor.
func (b *writer) writeGroup(group uint32, desc []byte) (free uint64, err error) {
	g, le := b.g, binary.LittleEndian
	t := g.tables[group]
	start, end := g.groupStart(group), g.groupEnd(group)
	usedBlocks := b.inUse.countUsed(start, end)
	free = end - start - usedBlocks
	firstIno := group * g.inodesPerGroup
	usedInodes := uint32(0)
	if b.last > firstIno {
		usedInodes = min(b.last-firstIno, g.inodesPerGroup)
	}
	flags := uint16(0)
	unused := uint32(0)
	if g.feat.groupCsum() {
		// The image was made of zeros, so every inode table is zeroed.
		flags |= bgInodeZeroed
		unused = g.inodesPerGroup - usedInodes
		if usedInodes == 0 {
			flags |= bgInodeUninit
		}
		if group != 0 && group != g.groups-1 && usedBlocks == b.ownBlocks(group) {
			flags |= bgBlockUninit
		}
	}
	put := func(block uint64, lo, hi int) {
		le.PutUint32(desc[lo:], uint32(block))
		if g.feat.wide() {
			le.PutUint32(desc[hi:], uint32(block>>32))
		}
	}
	count := func(n uint32, lo, hi int) {
		le.PutUint16(desc[lo:], uint16(n))
		if g.feat.wide() {
			le.PutUint16(desc[hi:], uint16(n>>16))
		}
	}
	put(t.blockBitmap, gdBlockBitmapLo, gdBlockBitmapHi)
	put(t.inodeBitmap, gdInodeBitmapLo, gdInodeBitmapHi)
	put(t.inodeTable, gdInodeTableLo, gdInodeTableHi)
	count(uint32(free), gdFreeBlocksLo, gdFreeBlocksHi)
	count(g.inodesPerGroup-usedInodes, gdFreeInodesLo, gdFreeInodesHi)
	count(b.groupDirs[group], gdUsedDirsLo, gdUsedDirsHi)
	count(unused, gdItableUnusedLo, gdItableUnusedHi)
	le.PutUint16(desc[gdFlags:], flags)

	if flags&bgBlockUninit == 0 {
		b.blockBits(start, end)
		if g.feat.csum() {
			count(bitmapChecksum(b.seed, b.block, g.blocksPerGroup), gdBlockBitmapCsum, gdBlockBitmapCsumH)
		}
		if err := b.inodes.write(b.block, b.offset(t.blockBitmap)); err != nil {
			return 0, err
		}
	}
	if flags&bgInodeUninit == 0 {
		clear(b.block)
		setBits(b.block, 0, int(usedInodes))
		setBits(b.block, int(g.inodesPerGroup), g.blockSize*8)
		if g.feat.csum() {
			count(bitmapChecksum(b.seed, b.block, g.inodesPerGroup), gdInodeBitmapCsum, gdInodeBitmapCsumH)
		}
		if err := b.dirData.write(b.block, b.offset(t.inodeBitmap)); err != nil {
			return 0, err
		}
	}
	if g.feat.groupCsum() {
		le.PutUint16(desc[gdChecksum:], groupDescChecksum(g.feat.csum(), b.seed, b.o.UUID[:], group, desc))
	}
	return free, nil
}

// ownBlocks counts the blocks of a group that the kernel finds in use by
// itself when it meets an uninitialised block bitmap: superblock, descriptors,
// and those of its own bitmaps and inode table that lie in it.
func (b *writer) ownBlocks(group uint32) (n uint64) {
	g := b.g
	if g.hasSuper(group) {
		n = 1 + uint64(g.descBlocks+g.reservedGDT)
	}
	start, end := g.groupStart(group), g.groupEnd(group)
	inside := func(first, count uint64) uint64 {
		from, to := max(first, start), min(first+count, end)
		if from >= to {
			return 0
		}
		return to - from
	}
	t := g.tables[group]
	return n + inside(t.blockBitmap, 1) + inside(t.inodeBitmap, 1) + inside(t.inodeTable, uint64(g.itableBlocks))
}

// blockBits fills b.block with the block bitmap of [start, end); what is past
// it counts as in use.
func (b *writer) blockBits(start, end uint64) {
	words := b.inUse.words
	for i := 0; i < b.g.blockSize/8; i++ {
		bit := start + uint64(i)*64
		w := uint64(0)
		if k := bit >> 6; k < uint64(len(words)) {
			w = words[k] >> (bit & 63)
			if bit&63 != 0 && k+1 < uint64(len(words)) {
				w |= words[k+1] << (64 - bit&63)
			}
		}
		binary.LittleEndian.PutUint64(b.block[i*8:], w)
	}
	// Beyond the group there are bits of the next one; the padding is ones.
	setBits(b.block, int(end-start), b.g.blockSize*8)
}

// setBits sets [from, to) in a bitmap as it is on disk.
func setBits(p []byte, from, to int) {
	for from < to {
		if from&7 == 0 && to-from >= 8 {
			p[from>>3] = 0xff
			from += 8
			continue
		}
		p[from>>3] |= 1 << (from & 7)
		from++
	}
}

// Values of superblock fields that are the same in every image.
const (
	mountXattrACL  = 0x4 | 0x8 // s_default_mount_opts: user_xattr, acl
	noMountLimit   = 0xffff
	onErrorDefault = errorsContinue
)

// writeSuperblocks writes the backups and then the superblock.
func (b *writer) writeSuperblocks(freeBlocks uint64, freeInodes uint32) error {
	sb := b.superblock(freeBlocks, freeInodes)
	le := binary.LittleEndian
	for group := b.g.groups; group > 0; {
		group--
		if !b.g.hasSuper(group) {
			continue
		}
		le.PutUint16(sb[sbBlockGroupNr:], uint16(group))
		off := b.offset(b.g.groupStart(group))
		state := uint16(0)
		if group == 0 {
			off, state = superblockOffset, stateValid
		}
		// mke2fs leaves backups without the mark of a clean unmount.
		le.PutUint16(sb[sbState:], state)
		if b.g.feat.csum() {
			le.PutUint32(sb[sbChecksum:], superblockChecksum(sb))
		}
		if err := writeAt(b.w, sb, off); err != nil {
			return err
		}
	}
	return nil
}

func (b *writer) superblock(freeBlocks uint64, freeInodes uint32) []byte {
	g, o, le := b.g, b.o, binary.LittleEndian
	sb := make([]byte, superblockSize)
	u16 := func(off int, v uint16) { le.PutUint16(sb[off:], v) }
	u32 := func(off int, v uint32) { le.PutUint32(sb[off:], v) }

	u32(sbInodesCount, g.inodes)
	u32(sbBlocksCountLo, uint32(g.blocks))
	u32(sbReservedBlocksLo, uint32(g.reserved))
	u32(sbFreeBlocksLo, uint32(freeBlocks))
	if g.feat.wide() {
		u32(sbBlocksCountHi, uint32(g.blocks>>32))
		u32(sbReservedBlocksHi, uint32(g.reserved>>32))
		u32(sbFreeBlocksHi, uint32(freeBlocks>>32))
		u16(sbDescSize, uint16(g.descSize))
	}
	u32(sbFreeInodes, freeInodes)
	u32(sbFirstDataBlock, g.firstData)
	u32(sbLogBlockSize, g.logBlockSize())
	u32(sbLogClusterSize, g.logBlockSize())
	u32(sbBlocksPerGroup, g.blocksPerGroup)
	u32(sbClustersPerGroup, g.blocksPerGroup)
	u32(sbInodesPerGroup, g.inodesPerGroup)
	// Times of the last write and check stay zero, which is never. e2fsck asks
	// about ones in the future, and the tree's times may be of a clock that was
	// wrong.
	made, madeHi := superTime(o.Time)
	u32(sbMkfsTime, made)
	sb[sbMkfsTimeHi] = madeHi
	u16(sbMaxMountCount, noMountLimit)
	u16(sbMagic, superblockMagic)
	onErrors := uint16(onErrorDefault)
	if o.OnErrors != 0 {
		onErrors = uint16(o.OnErrors)
	}
	u16(sbErrors, onErrors)
	u32(sbRevLevel, revDynamic)
	u32(sbFirstInode, firstInode)
	u16(sbInodeSize, uint16(g.inodeSize))
	u32(sbFeatureCompat, g.feat.Compat)
	u32(sbFeatureIncompat, g.feat.Incompat)
	u32(sbFeatureROCompat, g.feat.ROCompat)
	copy(sb[sbUUID:], o.UUID[:])
	copy(sb[sbVolumeName:sbVolumeName+16], o.Label)
	u16(sbReservedGDTBlocks, uint16(g.reservedGDT))
	copy(sb[sbHashSeed:], o.HashSeed[:])
	sb[sbDefHashVersion] = hashHalfMD4
	mountOptions := uint32(mountXattrACL)
	if o.MountOptions != nil {
		mountOptions = *o.MountOptions
	}
	u32(sbDefaultMountOpts, mountOptions)
	if g.inodeSize > inodeSizeOld {
		u16(sbMinExtraIsize, inExtraIsizeFull)
		u16(sbWantExtraIsize, inExtraIsizeFull)
	}
	if o.UnsignedHash {
		u32(sbFlags, flagUnsignedHash)
	} else {
		u32(sbFlags, flagSignedHash)
	}
	if g.feat.flexBG() {
		sb[sbLogGroupsPerFlex] = flexLog
	}
	if g.feat.csum() {
		sb[sbChecksumType] = checksumTypeCRC32C
	}
	if g.feat.Incompat&incompatCsumSeed != 0 {
		u32(sbChecksumSeed, b.seed)
	}
	// Features that came with ext4 make the kernel count what it writes.
	if g.feat.flexBG() || g.feat.ROCompat&(roHugeFile|roGDTCsum|roDirNlink|roMetadataCsum|roExtraIsize) != 0 {
		le.PutUint64(sb[sbKBytesWritten:], 1)
	}
	u32(sbOverheadBlocks, uint32(g.overhead))
	if g.feat.journal() {
		u32(sbJournalInode, inoJournal)
		sb[sbJournalBackupType] = journalBackupIBlocks
		copy(sb[sbJournalBlocks:], b.jnl.iblock[:])
		u32(sbJournalBlocks+inBlockSize, uint32(b.jnl.size>>32))
		u32(sbJournalBlocks+inBlockSize+4, uint32(b.jnl.size))
	}
	if b.orphanIno != 0 {
		u32(sbOrphanFileInode, b.orphanIno)
	}
	return sb
}
