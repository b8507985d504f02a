package extfs

// The numbers of the journal, all big-endian, and of the fast commit area in
// it, little-endian. Source: Linux include/linux/jbd2.h, fs/ext4/fast_commit.h.

// Journal block header (journal_header_t).
const (
	jbdMagic      = 0xC03B3998
	jbdHdrMagic   = 0 // u32
	jbdHdrType    = 4 // u32
	jbdHdrSeq     = 8 // u32
	jbdHdrSize    = 12
	jbdMinBlocks  = 1024 // JBD2_MIN_JOURNAL_BLOCKS
	jbdDefFCBlks  = 256  // JBD2_DEFAULT_FAST_COMMIT_BLOCKS
	jbdSBSize     = 1024
	jbdTailSize   = 4 // u32 checksum at the end of descriptor and revoke blocks
	jbdUUIDSize   = 16
	jbdRevokeHdr  = 16 // header and u32 count of bytes
	jbdRevokeLen  = 12 // u32, bytes used, header included
	jbdCommitSize = 60
)

// Journal block types.
const (
	jbdDescriptor   = 1
	jbdCommit       = 2
	jbdSuperblockV1 = 3
	jbdSuperblockV2 = 4
	jbdRevoke       = 5
)

// Journal superblock (journal_superblock_t).
const (
	jsbBlockSize   = 0x0C // u32
	jsbMaxLen      = 0x10 // u32, blocks
	jsbFirst       = 0x14 // u32, first block of the log
	jsbSequence    = 0x18 // u32, first commit expected
	jsbStart       = 0x1C // u32, block where the log starts, 0 where clean
	jsbErrno       = 0x20 // i32
	jsbCompat      = 0x24 // u32, from here version 2 only
	jsbIncompat    = 0x28 // u32
	jsbROCompat    = 0x2C // u32
	jsbUUID        = 0x30 // 16 bytes
	jsbNrUsers     = 0x40 // u32
	jsbChecksumTyp = 0x50 // u8
	jsbNumFCBlocks = 0x54 // u32
	jsbHead        = 0x58 // u32
	jsbChecksum    = 0xFC // u32
	jsbUsers       = 0x100
)

// Journal features.
const (
	jbdCompatChecksum      = 0x01
	jbdIncompatRevoke      = 0x01
	jbdIncompat64Bit       = 0x02
	jbdIncompatAsyncCommit = 0x04
	jbdIncompatCsumV2      = 0x08
	jbdIncompatCsumV3      = 0x10
	jbdIncompatFastCommit  = 0x20
	jbdIncompatKnown       = 0x3F
)

// Tags of a descriptor block. journal_block_tag_t is u32 block, u16 checksum,
// u16 flags, and u32 high block with the 64-bit feature; journal_block_tag3_t
// (checksums v3) is u32 block, u32 flags, u32 high block, u32 checksum.
const (
	tagBlock      = 0
	tagChecksum   = 4  // u16
	tagFlags      = 6  // u16
	tagBlockHi    = 8  // u32
	tag3Flags     = 4  // u32
	tag3BlockHi   = 8  // u32
	tag3Checksum  = 12 // u32
	tag3Size      = 16
	tagSize32     = 8
	tagSize64     = 12
	tagSizeCsumV2 = 2 // checksums v2 make a tag two bytes longer than it uses
)

// Flags of a tag.
const (
	tagEscape   = 1
	tagSameUUID = 2
	tagDeleted  = 4
	tagLast     = 8
)

// Commit block (struct commit_header).
const (
	jcbChecksumType = 12 // u8
	jcbChecksumSize = 13 // u8
	jcbChecksum     = 16 // u32, of 8
	jcbSec          = 48 // u64
	jcbNsec         = 56 // u32
	jbdCRC32        = 1  // JBD2_CRC32_CHKSUM
	jbdCRC32C       = 4  // JBD2_CRC32C_CHKSUM
	jbdCRC32Size    = 4  // JBD2_CRC32_CHKSUM_SIZE
)

// Fast commit: tag and length, both u16, then the value.
const (
	fcTagSize   = 4
	fcAddRange  = 1 // u32 inode, 12 bytes of extent
	fcDelRange  = 2 // u32 inode, u32 logical block, u32 length
	fcCreat     = 3 // u32 parent, u32 inode, name
	fcLink      = 4 // as fcCreat
	fcUnlink    = 5 // as fcCreat
	fcInode     = 6 // u32 inode, raw inode
	fcPad       = 7
	fcTail      = 8 // u32 transaction, u32 crc
	fcHead      = 9 // u32 features, u32 transaction
	fcFeatures  = 0 // features known
	fcAddSize   = 16
	fcDelSize   = 12
	fcDentryMin = 8
	fcInodeMin  = 4
	fcTailSize  = 8
	fcHeadSize  = 8
)
