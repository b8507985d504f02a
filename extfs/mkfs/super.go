package mkfs

import (
	"encoding/binary"

	"relive/extfs/internal/ondisk"
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
		flags |= ondisk.BGInodeZeroed
		unused = g.inodesPerGroup - usedInodes
		if usedInodes == 0 {
			flags |= ondisk.BGInodeUninit
		}
		if group != 0 && group != g.groups-1 && usedBlocks == b.ownBlocks(group) {
			flags |= ondisk.BGBlockUninit
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
	put(t.blockBitmap, ondisk.GDBlockBitmapLo, ondisk.GDBlockBitmapHi)
	put(t.inodeBitmap, ondisk.GDInodeBitmapLo, ondisk.GDInodeBitmapHi)
	put(t.inodeTable, ondisk.GDInodeTableLo, ondisk.GDInodeTableHi)
	count(uint32(free), ondisk.GDFreeBlocksLo, ondisk.GDFreeBlocksHi)
	count(g.inodesPerGroup-usedInodes, ondisk.GDFreeInodesLo, ondisk.GDFreeInodesHi)
	count(b.groupDirs[group], ondisk.GDUsedDirsLo, ondisk.GDUsedDirsHi)
	count(unused, ondisk.GDItableUnusedLo, ondisk.GDItableUnusedHi)
	le.PutUint16(desc[ondisk.GDFlags:], flags)

	if flags&ondisk.BGBlockUninit == 0 {
		b.blockBits(start, end)
		if g.feat.csum() {
			count(ondisk.BitmapChecksum(b.seed, b.block, g.blocksPerGroup), ondisk.GDBlockBitmapCsum, ondisk.GDBlockBitmapCsumH)
		}
		if err := b.inodes.write(b.block, b.offset(t.blockBitmap)); err != nil {
			return 0, err
		}
	}
	if flags&ondisk.BGInodeUninit == 0 {
		clear(b.block)
		setBits(b.block, 0, int(usedInodes))
		setBits(b.block, int(g.inodesPerGroup), g.blockSize*8)
		if g.feat.csum() {
			count(ondisk.BitmapChecksum(b.seed, b.block, g.inodesPerGroup), ondisk.GDInodeBitmapCsum, ondisk.GDInodeBitmapCsumH)
		}
		if err := b.dirData.write(b.block, b.offset(t.inodeBitmap)); err != nil {
			return 0, err
		}
	}
	if g.feat.groupCsum() {
		le.PutUint16(desc[ondisk.GDChecksum:], ondisk.GroupDescChecksum(g.feat.csum(), b.seed, b.o.UUID[:], group, desc))
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
	onErrorDefault = ondisk.ErrorsContinue
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
		le.PutUint16(sb[ondisk.SBBlockGroupNr:], uint16(group))
		off := b.offset(b.g.groupStart(group))
		state := uint16(0)
		if group == 0 {
			off, state = ondisk.SuperblockOffset, ondisk.StateValid
		}
		// mke2fs leaves backups without the mark of a clean unmount.
		le.PutUint16(sb[ondisk.SBState:], state)
		if b.g.feat.csum() {
			le.PutUint32(sb[ondisk.SBChecksum:], ondisk.SuperblockChecksum(sb))
		}
		if err := writeAt(b.w, sb, off); err != nil {
			return err
		}
	}
	return nil
}

func (b *writer) superblock(freeBlocks uint64, freeInodes uint32) []byte {
	g, o, le := b.g, b.o, binary.LittleEndian
	sb := make([]byte, ondisk.SuperblockSize)
	u16 := func(off int, v uint16) { le.PutUint16(sb[off:], v) }
	u32 := func(off int, v uint32) { le.PutUint32(sb[off:], v) }

	u32(ondisk.SBInodesCount, g.inodes)
	u32(ondisk.SBBlocksCountLo, uint32(g.blocks))
	u32(ondisk.SBReservedBlocksLo, uint32(g.reserved))
	u32(ondisk.SBFreeBlocksLo, uint32(freeBlocks))
	if g.feat.wide() {
		u32(ondisk.SBBlocksCountHi, uint32(g.blocks>>32))
		u32(ondisk.SBReservedBlocksHi, uint32(g.reserved>>32))
		u32(ondisk.SBFreeBlocksHi, uint32(freeBlocks>>32))
		u16(ondisk.SBDescSize, uint16(g.descSize))
	}
	u32(ondisk.SBFreeInodes, freeInodes)
	u32(ondisk.SBFirstDataBlock, g.firstData)
	u32(ondisk.SBLogBlockSize, g.logBlockSize())
	u32(ondisk.SBLogClusterSize, g.logBlockSize())
	u32(ondisk.SBBlocksPerGroup, g.blocksPerGroup)
	u32(ondisk.SBClustersPerGroup, g.blocksPerGroup)
	u32(ondisk.SBInodesPerGroup, g.inodesPerGroup)
	// Times of the last write and check stay zero, which is never. e2fsck asks
	// about ones in the future, and the tree's times may be of a clock that was
	// wrong.
	made, madeHi := superTime(o.Time)
	u32(ondisk.SBMkfsTime, made)
	sb[ondisk.SBMkfsTimeHi] = madeHi
	u16(ondisk.SBMaxMountCount, noMountLimit)
	u16(ondisk.SBMagic, ondisk.SuperblockMagic)
	onErrors := uint16(onErrorDefault)
	if o.OnErrors != 0 {
		onErrors = uint16(o.OnErrors)
	}
	u16(ondisk.SBErrors, onErrors)
	u32(ondisk.SBRevLevel, ondisk.RevDynamic)
	u32(ondisk.SBFirstInode, firstInode)
	u16(ondisk.SBInodeSize, uint16(g.inodeSize))
	u32(ondisk.SBFeatureCompat, g.feat.Compat)
	u32(ondisk.SBFeatureIncompat, g.feat.Incompat)
	u32(ondisk.SBFeatureROCompat, g.feat.ROCompat)
	copy(sb[ondisk.SBUUID:], o.UUID[:])
	copy(sb[ondisk.SBVolumeName:ondisk.SBVolumeName+16], o.Label)
	u16(ondisk.SBReservedGDTBlocks, uint16(g.reservedGDT))
	copy(sb[ondisk.SBHashSeed:], o.HashSeed[:])
	sb[ondisk.SBDefHashVersion] = ondisk.HashHalfMD4
	mountOptions := uint32(mountXattrACL)
	if o.MountOptions != nil {
		mountOptions = *o.MountOptions
	}
	u32(ondisk.SBDefaultMountOpts, mountOptions)
	if g.inodeSize > ondisk.InodeSizeOld {
		u16(ondisk.SBMinExtraIsize, ondisk.InExtraIsizeFull)
		u16(ondisk.SBWantExtraIsize, ondisk.InExtraIsizeFull)
	}
	if o.UnsignedHash {
		u32(ondisk.SBFlags, ondisk.FlagUnsignedHash)
	} else {
		u32(ondisk.SBFlags, ondisk.FlagSignedHash)
	}
	if g.feat.flexBG() {
		sb[ondisk.SBLogGroupsPerFlex] = flexLog
	}
	if g.feat.csum() {
		sb[ondisk.SBChecksumType] = ondisk.ChecksumTypeCRC32C
	}
	if g.feat.Incompat&ondisk.IncompatCsumSeed != 0 {
		u32(ondisk.SBChecksumSeed, b.seed)
	}
	// Features that came with ext4 make the kernel count what it writes.
	const counted = ondisk.ROHugeFile | ondisk.ROGDTCsum | ondisk.RODirNlink | ondisk.ROMetadataCsum | ondisk.ROExtraIsize
	if g.feat.flexBG() || g.feat.ROCompat&counted != 0 {
		le.PutUint64(sb[ondisk.SBKBytesWritten:], 1)
	}
	u32(ondisk.SBOverheadBlocks, uint32(g.overhead))
	if g.feat.journal() {
		u32(ondisk.SBJournalInode, ondisk.InoJournal)
		sb[ondisk.SBJournalBackupType] = ondisk.JournalBackupIBlocks
		copy(sb[ondisk.SBJournalBlocks:], b.jnl.iblock[:])
		u32(ondisk.SBJournalBlocks+ondisk.InBlockSize, uint32(b.jnl.size>>32))
		u32(ondisk.SBJournalBlocks+ondisk.InBlockSize+4, uint32(b.jnl.size))
	}
	if b.orphanIno != 0 {
		u32(ondisk.SBOrphanFileInode, b.orphanIno)
	}
	return sb
}
