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
		flags |= BGInodeZeroed
		unused = g.inodesPerGroup - usedInodes
		if usedInodes == 0 {
			flags |= BGInodeUninit
		}
		if group != 0 && group != g.groups-1 && usedBlocks == b.ownBlocks(group) {
			flags |= BGBlockUninit
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
	put(t.blockBitmap, GDBlockBitmapLo, GDBlockBitmapHi)
	put(t.inodeBitmap, GDInodeBitmapLo, GDInodeBitmapHi)
	put(t.inodeTable, GDInodeTableLo, GDInodeTableHi)
	count(uint32(free), GDFreeBlocksLo, GDFreeBlocksHi)
	count(g.inodesPerGroup-usedInodes, GDFreeInodesLo, GDFreeInodesHi)
	count(b.groupDirs[group], GDUsedDirsLo, GDUsedDirsHi)
	count(unused, GDItableUnusedLo, GDItableUnusedHi)
	le.PutUint16(desc[GDFlags:], flags)

	if flags&BGBlockUninit == 0 {
		b.blockBits(start, end)
		if g.feat.csum() {
			count(BitmapChecksum(b.seed, b.block, g.blocksPerGroup), GDBlockBitmapCsum, GDBlockBitmapCsumH)
		}
		if err := b.inodes.write(b.block, b.offset(t.blockBitmap)); err != nil {
			return 0, err
		}
	}
	if flags&BGInodeUninit == 0 {
		clear(b.block)
		setBits(b.block, 0, int(usedInodes))
		setBits(b.block, int(g.inodesPerGroup), g.blockSize*8)
		if g.feat.csum() {
			count(BitmapChecksum(b.seed, b.block, g.inodesPerGroup), GDInodeBitmapCsum, GDInodeBitmapCsumH)
		}
		if err := b.dirData.write(b.block, b.offset(t.inodeBitmap)); err != nil {
			return 0, err
		}
	}
	if g.feat.groupCsum() {
		le.PutUint16(desc[GDChecksum:], GroupDescChecksum(g.feat.csum(), b.seed, b.o.UUID[:], group, desc))
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
	onErrorDefault = ErrorsContinue
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
		le.PutUint16(sb[SBBlockGroupNr:], uint16(group))
		off := b.offset(b.g.groupStart(group))
		state := uint16(0)
		if group == 0 {
			off, state = SuperblockOffset, StateValid
		}
		// mke2fs leaves backups without the mark of a clean unmount.
		le.PutUint16(sb[SBState:], state)
		if b.g.feat.csum() {
			le.PutUint32(sb[SBChecksum:], SuperblockChecksum(sb))
		}
		if err := writeAt(b.w, sb, off); err != nil {
			return err
		}
	}
	return nil
}

func (b *writer) superblock(freeBlocks uint64, freeInodes uint32) []byte {
	g, o, le := b.g, b.o, binary.LittleEndian
	sb := make([]byte, SuperblockSize)
	u16 := func(off int, v uint16) { le.PutUint16(sb[off:], v) }
	u32 := func(off int, v uint32) { le.PutUint32(sb[off:], v) }

	u32(SBInodesCount, g.inodes)
	u32(SBBlocksCountLo, uint32(g.blocks))
	u32(SBReservedBlocksLo, uint32(g.reserved))
	u32(SBFreeBlocksLo, uint32(freeBlocks))
	if g.feat.wide() {
		u32(SBBlocksCountHi, uint32(g.blocks>>32))
		u32(SBReservedBlocksHi, uint32(g.reserved>>32))
		u32(SBFreeBlocksHi, uint32(freeBlocks>>32))
		u16(SBDescSize, uint16(g.descSize))
	}
	u32(SBFreeInodes, freeInodes)
	u32(SBFirstDataBlock, g.firstData)
	u32(SBLogBlockSize, g.logBlockSize())
	u32(SBLogClusterSize, g.logBlockSize())
	u32(SBBlocksPerGroup, g.blocksPerGroup)
	u32(SBClustersPerGroup, g.blocksPerGroup)
	u32(SBInodesPerGroup, g.inodesPerGroup)
	// Times of the last write and check stay zero, which is never. e2fsck asks
	// about ones in the future, and the tree's times may be of a clock that was
	// wrong.
	made, madeHi := superTime(o.Time)
	u32(SBMkfsTime, made)
	sb[SBMkfsTimeHi] = madeHi
	u16(SBMaxMountCount, noMountLimit)
	u16(SBMagic, SuperblockMagic)
	onErrors := uint16(onErrorDefault)
	if o.OnErrors != 0 {
		onErrors = uint16(o.OnErrors)
	}
	u16(SBErrors, onErrors)
	u32(SBRevLevel, RevDynamic)
	u32(SBFirstInode, firstInode)
	u16(SBInodeSize, uint16(g.inodeSize))
	u32(SBFeatureCompat, g.feat.Compat)
	u32(SBFeatureIncompat, g.feat.Incompat)
	u32(SBFeatureROCompat, g.feat.ROCompat)
	copy(sb[SBUUID:], o.UUID[:])
	copy(sb[SBVolumeName:SBVolumeName+16], o.Label)
	u16(SBReservedGDTBlocks, uint16(g.reservedGDT))
	copy(sb[SBHashSeed:], o.HashSeed[:])
	sb[SBDefHashVersion] = HashHalfMD4
	mountOptions := uint32(mountXattrACL)
	if o.MountOptions != nil {
		mountOptions = *o.MountOptions
	}
	u32(SBDefaultMountOpts, mountOptions)
	if g.inodeSize > InodeSizeOld {
		u16(SBMinExtraIsize, InExtraIsizeFull)
		u16(SBWantExtraIsize, InExtraIsizeFull)
	}
	if o.UnsignedHash {
		u32(SBFlags, FlagUnsignedHash)
	} else {
		u32(SBFlags, FlagSignedHash)
	}
	if g.feat.flexBG() {
		sb[SBLogGroupsPerFlex] = flexLog
	}
	if g.feat.csum() {
		sb[SBChecksumType] = ChecksumTypeCRC32C
	}
	if g.feat.Incompat&IncompatCsumSeed != 0 {
		u32(SBChecksumSeed, b.seed)
	}
	// Features that came with ext4 make the kernel count what it writes.
	if g.feat.flexBG() || g.feat.ROCompat&(ROHugeFile|ROGDTCsum|RODirNlink|ROMetadataCsum|ROExtraIsize) != 0 {
		le.PutUint64(sb[SBKBytesWritten:], 1)
	}
	u32(SBOverheadBlocks, uint32(g.overhead))
	if g.feat.journal() {
		u32(SBJournalInode, InoJournal)
		sb[SBJournalBackupType] = JournalBackupIBlocks
		copy(sb[SBJournalBlocks:], b.jnl.iblock[:])
		u32(SBJournalBlocks+InBlockSize, uint32(b.jnl.size>>32))
		u32(SBJournalBlocks+InBlockSize+4, uint32(b.jnl.size))
	}
	if b.orphanIno != 0 {
		u32(SBOrphanFileInode, b.orphanIno)
	}
	return sb
}
