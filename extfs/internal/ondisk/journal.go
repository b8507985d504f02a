package ondisk

// The numbers of the journal, all big-endian, and of the fast commit area in
// it, little-endian. Source: Linux include/linux/jbd2.h, fs/ext4/fast_commit.h.

// Journal block header (journal_header_t).
const (
	JBDMagic      = 0xC03B3998
	JBDHdrMagic   = 0 // u32
	JBDHdrType    = 4 // u32
	JBDHdrSeq     = 8 // u32
	JBDHdrSize    = 12
	JBDMinBlocks  = 1024 // JBD2_MIN_JOURNAL_BLOCKS
	JBDDefFCBlks  = 256  // JBD2_DEFAULT_FAST_COMMIT_BLOCKS
	JBDSBSize     = 1024
	JBDTailSize   = 4 // u32 checksum at the end of descriptor and revoke blocks
	JBDUUIDSize   = 16
	JBDRevokeHdr  = 16 // header and u32 count of bytes
	JBDRevokeLen  = 12 // u32, bytes used, header included
	JBDCommitSize = 60
)

// Journal block types.
const (
	JBDDescriptor   = 1
	JBDCommit       = 2
	JBDSuperblockV1 = 3
	JBDSuperblockV2 = 4
	JBDRevoke       = 5
)

// Journal superblock (journal_superblock_t).
const (
	JSBBlockSize   = 0x0C // u32
	JSBMaxLen      = 0x10 // u32, blocks
	JSBFirst       = 0x14 // u32, first block of the log
	JSBSequence    = 0x18 // u32, first commit expected
	JSBStart       = 0x1C // u32, block where the log starts, 0 where clean
	JSBErrno       = 0x20 // i32
	JSBCompat      = 0x24 // u32, from here version 2 only
	JSBIncompat    = 0x28 // u32
	JSBROCompat    = 0x2C // u32
	JSBUUID        = 0x30 // 16 bytes
	JSBNrUsers     = 0x40 // u32
	JSBChecksumTyp = 0x50 // u8
	JSBNumFCBlocks = 0x54 // u32
	JSBHead        = 0x58 // u32
	JSBChecksum    = 0xFC // u32
	JSBUsers       = 0x100
)

// Journal features.
const (
	JBDCompatChecksum      = 0x01
	JBDIncompatRevoke      = 0x01
	JBDIncompat64Bit       = 0x02
	JBDIncompatAsyncCommit = 0x04
	JBDIncompatCsumV2      = 0x08
	JBDIncompatCsumV3      = 0x10
	JBDIncompatFastCommit  = 0x20
	JBDIncompatKnown       = 0x3F
)

// Tags of a descriptor block. journal_block_tag_t is u32 block, u16 checksum,
// u16 flags, and u32 high block with the 64-bit feature; journal_block_tag3_t
// (checksums v3) is u32 block, u32 flags, u32 high block, u32 checksum.
const (
	TagBlock      = 0
	TagChecksum   = 4  // u16
	TagFlags      = 6  // u16
	TagBlockHi    = 8  // u32
	Tag3Flags     = 4  // u32
	Tag3BlockHi   = 8  // u32
	Tag3Checksum  = 12 // u32
	Tag3Size      = 16
	TagSize32     = 8
	TagSize64     = 12
	TagSizeCsumV2 = 2 // checksums v2 make a tag two bytes longer than it uses
)

// Flags of a tag.
const (
	TagEscape   = 1
	TagSameUUID = 2
	TagDeleted  = 4
	TagLast     = 8
)

// Commit block (struct commit_header).
const (
	JCBChecksumType = 12 // u8
	JCBChecksumSize = 13 // u8
	JCBChecksum     = 16 // u32, of 8
	JCBSec          = 48 // u64
	JCBNsec         = 56 // u32
	JBDCRC32        = 1  // JBD2_CRC32_CHKSUM
	JBDCRC32C       = 4  // JBD2_CRC32C_CHKSUM
	JBDCRC32Size    = 4  // JBD2_CRC32_CHKSUM_SIZE
)

// Fast commit: tag and length, both u16, then the value.
const (
	FCTagSize   = 4
	FCAddRange  = 1 // u32 inode, 12 bytes of extent
	FCDelRange  = 2 // u32 inode, u32 logical block, u32 length
	FCCreat     = 3 // u32 parent, u32 inode, name
	FCLink      = 4 // as FCCreat
	FCUnlink    = 5 // as FCCreat
	FCInode     = 6 // u32 inode, raw inode
	FCPad       = 7
	FCTail      = 8 // u32 transaction, u32 crc
	FCHead      = 9 // u32 features, u32 transaction
	FCFeatures  = 0 // features known
	FCAddSize   = 16
	FCDelSize   = 12
	FCDentryMin = 8
	FCInodeMin  = 4
	FCTailSize  = 8
	FCHeadSize  = 8
)

// JBDCompatNames returns the journal's features that may be ignored.
func JBDCompatNames() []FeatureName {
	return []FeatureName{{JBDCompatChecksum, "journal_checksum"}}
}

// JBDIncompatNames returns the journal's features that must be known.
func JBDIncompatNames() []FeatureName {
	return []FeatureName{
		{JBDIncompatRevoke, "journal_incompat_revoke"},
		{JBDIncompat64Bit, "journal_64bit"},
		{JBDIncompatAsyncCommit, "journal_async_commit"},
		{JBDIncompatCsumV2, "journal_checksum_v2"},
		{JBDIncompatCsumV3, "journal_checksum_v3"},
		{JBDIncompatFastCommit, "fast_commit"},
	}
}
