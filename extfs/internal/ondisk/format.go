package ondisk

// The numbers of the format. Offsets are in bytes from the start of the
// structure that the name begins with. Everything but the journal is
// little-endian. Source: Linux fs/ext4/ext4.h, ext4_extents.h, xattr.h, and
// Documentation/filesystems/ext4.

// Where the superblock is, and how long.
const (
	SuperblockOffset = 1024
	SuperblockSize   = 1024
	SuperblockMagic  = 0xEF53
)

// Superblock fields (struct ext4_super_block).
const (
	SBInodesCount       = 0x000 // u32
	SBBlocksCountLo     = 0x004 // u32
	SBReservedBlocksLo  = 0x008 // u32
	SBFreeBlocksLo      = 0x00C // u32, blocks, also with bigalloc
	SBFreeInodes        = 0x010 // u32
	SBFirstDataBlock    = 0x014 // u32, 1 with 1 KiB blocks, else 0
	SBLogBlockSize      = 0x018 // u32, block size = 1024 << n
	SBLogClusterSize    = 0x01C // u32, cluster size = 1024 << n
	SBBlocksPerGroup    = 0x020 // u32
	SBClustersPerGroup  = 0x024 // u32
	SBInodesPerGroup    = 0x028 // u32
	SBMountTime         = 0x02C // u32, last mount
	SBWriteTime         = 0x030 // u32, last write
	SBMountCount        = 0x034 // u16
	SBMaxMountCount     = 0x036 // u16
	SBMagic             = 0x038 // u16
	SBState             = 0x03A // u16
	SBErrors            = 0x03C // u16, what to do on errors
	SBMinorRevLevel     = 0x03E // u16
	SBLastCheck         = 0x040 // u32
	SBCheckInterval     = 0x044 // u32
	SBCreatorOS         = 0x048 // u32
	SBRevLevel          = 0x04C // u32
	SBDefResUID         = 0x050 // u16
	SBDefResGID         = 0x052 // u16
	SBFirstInode        = 0x054 // u32
	SBInodeSize         = 0x058 // u16
	SBBlockGroupNr      = 0x05A // u16, the group this copy is in
	SBFeatureCompat     = 0x05C // u32
	SBFeatureIncompat   = 0x060 // u32
	SBFeatureROCompat   = 0x064 // u32
	SBUUID              = 0x068 // 16 bytes
	SBVolumeName        = 0x078 // 16 bytes
	SBLastMounted       = 0x088 // 64 bytes
	SBPreallocBlocks    = 0x0CC // u8
	SBPreallocDirBlocks = 0x0CD // u8
	SBReservedGDTBlocks = 0x0CE // u16
	SBJournalUUID       = 0x0D0 // 16 bytes
	SBJournalInode      = 0x0E0 // u32
	SBJournalDevice     = 0x0E4 // u32
	SBLastOrphan        = 0x0E8 // u32
	SBHashSeed          = 0x0EC // 4 u32
	SBDefHashVersion    = 0x0FC // u8
	SBJournalBackupType = 0x0FD // u8
	SBDescSize          = 0x0FE // u16
	SBDefaultMountOpts  = 0x100 // u32
	SBFirstMetaBG       = 0x104 // u32
	SBMkfsTime          = 0x108 // u32
	SBJournalBlocks     = 0x10C // 17 u32: i_block and size of the journal's inode
	SBBlocksCountHi     = 0x150 // u32
	SBReservedBlocksHi  = 0x154 // u32
	SBFreeBlocksHi      = 0x158 // u32
	SBMinExtraIsize     = 0x15C // u16
	SBWantExtraIsize    = 0x15E // u16
	SBFlags             = 0x160 // u32
	SBRAIDStride        = 0x164 // u16
	SBMMPInterval       = 0x166 // u16
	SBMMPBlock          = 0x168 // u64
	SBRAIDStripeWidth   = 0x170 // u32
	SBLogGroupsPerFlex  = 0x174 // u8
	SBChecksumType      = 0x175 // u8, 1 is CRC32C
	SBKBytesWritten     = 0x178 // u64
	SBErrorCount        = 0x194 // u32
	SBFirstErrorTime    = 0x198 // u32
	SBFirstErrorInode   = 0x19C // u32
	SBFirstErrorBlock   = 0x1A0 // u64
	SBFirstErrorFunc    = 0x1A8 // 32 bytes
	SBFirstErrorLine    = 0x1C8 // u32
	SBLastErrorTime     = 0x1CC // u32
	SBLastErrorInode    = 0x1D0 // u32
	SBLastErrorLine     = 0x1D4 // u32
	SBLastErrorBlock    = 0x1D8 // u64
	SBLastErrorFunc     = 0x1E0 // 32 bytes
	SBMountOpts         = 0x200 // 64 bytes
	SBUserQuotaInode    = 0x240 // u32
	SBGroupQuotaInode   = 0x244 // u32
	SBOverheadBlocks    = 0x248 // u32
	SBBackupBGs         = 0x24C // 2 u32, sparse_super2
	SBLostFoundInode    = 0x268 // u32
	SBProjQuotaInode    = 0x26C // u32
	SBChecksumSeed      = 0x270 // u32
	SBWriteTimeHi       = 0x274 // u8
	SBMountTimeHi       = 0x275 // u8
	SBMkfsTimeHi        = 0x276 // u8
	SBLastCheckHi       = 0x277 // u8
	SBFirstErrorTimeHi  = 0x278 // u8
	SBLastErrorTimeHi   = 0x279 // u8
	SBEncoding          = 0x27C // u16
	SBEncodingFlags     = 0x27E // u16
	SBOrphanFileInode   = 0x280 // u32
	SBChecksum          = 0x3FC // u32
)

// Revision levels.
const (
	RevGood    = 0 // fixed 128-byte inodes, no features
	RevDynamic = 1
)

// s_state.
const (
	StateValid  = 0x0001 // cleanly unmounted
	StateErrors = 0x0002 // errors detected
	StateOrphan = 0x0004 // orphans being recovered
)

// s_errors.
const (
	ErrorsContinue  = 1
	ErrorsRemountRO = 2
	ErrorsPanic     = 3
)

// s_flags.
const (
	FlagSignedHash   = 0x0001
	FlagUnsignedHash = 0x0002
	FlagTestFS       = 0x0004
)

// ChecksumTypeCRC32C is the only s_checksum_type.
const ChecksumTypeCRC32C = 1

// Hash versions of s_def_hash_version and of an htree root.
const (
	HashLegacy           = 0
	HashHalfMD4          = 1
	HashTEA              = 2
	HashLegacyUnsigned   = 3
	HashHalfMD4Unsigned  = 4
	HashTEAUnsigned      = 5
	HashSIPHash          = 6
	JournalBackupIBlocks = 1 // s_jnl_backup_type: s_jnl_blocks holds i_block and i_size
)

// s_feature_compat: a reader and a writer may ignore what it does not know.
const (
	CompatDirPrealloc   = 0x0001
	CompatImagicInodes  = 0x0002
	CompatHasJournal    = 0x0004
	CompatExtAttr       = 0x0008
	CompatResizeInode   = 0x0010
	CompatDirIndex      = 0x0020
	CompatLazyBG        = 0x0040
	CompatExcludeInode  = 0x0080
	CompatExcludeBitmap = 0x0100
	CompatSparseSuper2  = 0x0200
	CompatFastCommit    = 0x0400
	CompatStableInodes  = 0x0800
	CompatOrphanFile    = 0x1000
)

// s_feature_incompat: unknown bits forbid reading.
const (
	IncompatCompression = 0x00001
	IncompatFiletype    = 0x00002
	IncompatRecover     = 0x00004
	IncompatJournalDev  = 0x00008
	IncompatMetaBG      = 0x00010
	IncompatExtents     = 0x00040
	Incompat64Bit       = 0x00080
	IncompatMMP         = 0x00100
	IncompatFlexBG      = 0x00200
	IncompatEAInode     = 0x00400
	IncompatDirData     = 0x01000
	IncompatCsumSeed    = 0x02000
	IncompatLargeDir    = 0x04000
	IncompatInlineData  = 0x08000
	IncompatEncrypt     = 0x10000
	IncompatCasefold    = 0x20000

	IncompatKnown = IncompatFiletype | IncompatRecover | IncompatMetaBG |
		IncompatExtents | Incompat64Bit | IncompatMMP | IncompatFlexBG |
		IncompatEAInode | IncompatCsumSeed | IncompatLargeDir |
		IncompatInlineData | IncompatEncrypt | IncompatCasefold
)

// s_feature_ro_compat: unknown bits forbid writing.
const (
	ROSparseSuper   = 0x00001
	ROLargeFile     = 0x00002
	ROBtreeDir      = 0x00004
	ROHugeFile      = 0x00008
	ROGDTCsum       = 0x00010 // uninit_bg
	RODirNlink      = 0x00020
	ROExtraIsize    = 0x00040
	ROHasSnapshot   = 0x00080
	ROQuota         = 0x00100
	ROBigalloc      = 0x00200
	ROMetadataCsum  = 0x00400
	ROReplica       = 0x00800
	ROReadonly      = 0x01000
	ROProject       = 0x02000
	ROSharedBlocks  = 0x04000
	ROVerity        = 0x08000
	ROOrphanPresent = 0x10000
)

// FeatureName is a feature bit under the name that e2fsprogs gives it.
type FeatureName struct {
	Bit  uint32
	Name string
}

// The names are functions and not variables so that nothing can change them.

// CompatNames returns the features of s_feature_compat.
func CompatNames() []FeatureName {
	return []FeatureName{
		{CompatDirPrealloc, "dir_prealloc"},
		{CompatImagicInodes, "imagic_inodes"},
		{CompatHasJournal, "has_journal"},
		{CompatExtAttr, "ext_attr"},
		{CompatResizeInode, "resize_inode"},
		{CompatDirIndex, "dir_index"},
		{CompatLazyBG, "lazy_bg"},
		{CompatExcludeInode, "exclude_inode"},
		{CompatExcludeBitmap, "snapshot_bitmap"},
		{CompatSparseSuper2, "sparse_super2"},
		{CompatFastCommit, "fast_commit"},
		{CompatStableInodes, "stable_inodes"},
		{CompatOrphanFile, "orphan_file"},
	}
}

// IncompatNames returns the features of s_feature_incompat.
func IncompatNames() []FeatureName {
	return []FeatureName{
		{IncompatCompression, "compression"},
		{IncompatFiletype, "filetype"},
		{IncompatRecover, "needs_recovery"},
		{IncompatJournalDev, "journal_dev"},
		{IncompatMetaBG, "meta_bg"},
		{IncompatExtents, "extent"},
		{Incompat64Bit, "64bit"},
		{IncompatMMP, "mmp"},
		{IncompatFlexBG, "flex_bg"},
		{IncompatEAInode, "ea_inode"},
		{IncompatDirData, "dirdata"},
		{IncompatCsumSeed, "metadata_csum_seed"},
		{IncompatLargeDir, "large_dir"},
		{IncompatInlineData, "inline_data"},
		{IncompatEncrypt, "encrypt"},
		{IncompatCasefold, "casefold"},
	}
}

// ROCompatNames returns the features of s_feature_ro_compat.
func ROCompatNames() []FeatureName {
	return []FeatureName{
		{ROSparseSuper, "sparse_super"},
		{ROLargeFile, "large_file"},
		{ROBtreeDir, "btree_dir"},
		{ROHugeFile, "huge_file"},
		{ROGDTCsum, "uninit_bg"},
		{RODirNlink, "dir_nlink"},
		{ROExtraIsize, "extra_isize"},
		{ROHasSnapshot, "has_snapshot"},
		{ROQuota, "quota"},
		{ROBigalloc, "bigalloc"},
		{ROMetadataCsum, "metadata_csum"},
		{ROReplica, "replica"},
		{ROReadonly, "read-only"},
		{ROProject, "project"},
		{ROSharedBlocks, "shared_blocks"},
		{ROVerity, "verity"},
		{ROOrphanPresent, "orphan_present"},
	}
}

// Special inode numbers.
const (
	InoBad        = 1
	InoRoot       = 2
	InoUserQuota  = 3
	InoGroupQuota = 4
	InoBootLoader = 5
	InoUndelDir   = 6
	InoResize     = 7
	InoJournal    = 8
	InoExclude    = 9
	InoReplica    = 10
	InoFirstOld   = 11 // the first ordinary inode of revision 0
)

// Group descriptor fields (struct ext4_group_desc).
const (
	GDSizeMin          = 32
	GDSizeMin64        = 64
	GDSizeMax          = 1024
	GDBlockBitmapLo    = 0x00 // u32
	GDInodeBitmapLo    = 0x04 // u32
	GDInodeTableLo     = 0x08 // u32
	GDFreeBlocksLo     = 0x0C // u16, clusters
	GDFreeInodesLo     = 0x0E // u16
	GDUsedDirsLo       = 0x10 // u16
	GDFlags            = 0x12 // u16
	GDBlockBitmapCsum  = 0x18 // u16
	GDInodeBitmapCsum  = 0x1A // u16
	GDItableUnusedLo   = 0x1C // u16
	GDChecksum         = 0x1E // u16
	GDBlockBitmapHi    = 0x20 // u32
	GDInodeBitmapHi    = 0x24 // u32
	GDInodeTableHi     = 0x28 // u32
	GDFreeBlocksHi     = 0x2C // u16
	GDFreeInodesHi     = 0x2E // u16
	GDUsedDirsHi       = 0x30 // u16
	GDItableUnusedHi   = 0x32 // u16
	GDBlockBitmapCsumH = 0x38 // u16
	GDInodeBitmapCsumH = 0x3A // u16
)

// bg_flags.
const (
	BGInodeUninit = 0x1 // inode table and bitmap are not initialised
	BGBlockUninit = 0x2 // block bitmap is not initialised
	BGInodeZeroed = 0x4 // inode table is zeroed
)

// Inode fields (struct ext4_inode).
const (
	InodeSizeOld     = 128
	InMode           = 0x00 // u16
	InUIDLo          = 0x02 // u16
	InSizeLo         = 0x04 // u32
	InAtime          = 0x08 // u32
	InCtime          = 0x0C // u32
	InMtime          = 0x10 // u32
	InDtime          = 0x14 // u32, also the next orphan
	InGIDLo          = 0x18 // u16
	InLinksCount     = 0x1A // u16
	InBlocksLo       = 0x1C // u32
	InFlags          = 0x20 // u32
	InVersion        = 0x24 // u32
	InBlock          = 0x28 // 60 bytes
	InBlockSize      = 60
	InGeneration     = 0x64 // u32
	InFileACLLo      = 0x68 // u32
	InSizeHi         = 0x6C // u32
	InBlocksHi       = 0x74 // u16
	InFileACLHi      = 0x76 // u16
	InUIDHi          = 0x78 // u16
	InGIDHi          = 0x7A // u16
	InChecksumLo     = 0x7C // u16
	InExtraIsize     = 0x80 // u16
	InChecksumHi     = 0x82 // u16
	InCtimeExtra     = 0x84 // u32
	InMtimeExtra     = 0x88 // u32
	InAtimeExtra     = 0x8C // u32
	InCrtime         = 0x90 // u32
	InCrtimeExtra    = 0x94 // u32
	InVersionHi      = 0x98 // u32
	InProjID         = 0x9C // u32
	InExtraEnd       = 0xA0 // the end of the fields known here
	InExtraIsizeFull = InExtraEnd - InodeSizeOld
	DirectBlocks     = 12
)

// i_flags.
const (
	FlSecureRm     = 0x00000001
	FlUnrm         = 0x00000002
	FlCompr        = 0x00000004
	FlSync         = 0x00000008
	FlImmutable    = 0x00000010
	FlAppend       = 0x00000020
	FlNodump       = 0x00000040
	FlNoatime      = 0x00000080
	FlDirty        = 0x00000100
	FlComprBlk     = 0x00000200
	FlNoCompr      = 0x00000400
	FlEncrypt      = 0x00000800
	FlIndex        = 0x00001000 // hash-indexed directory
	FlImagic       = 0x00002000
	FlJournalData  = 0x00004000
	FlNotail       = 0x00008000
	FlDirsync      = 0x00010000
	FlTopdir       = 0x00020000
	FlHugeFile     = 0x00040000 // i_blocks counts blocks, not sectors
	FlExtents      = 0x00080000
	FlVerity       = 0x00100000
	FlEAInode      = 0x00200000
	FlSnapfile     = 0x01000000
	FlDAX          = 0x02000000
	FlInlineData   = 0x10000000
	FlProjInherit  = 0x20000000
	FlCasefold     = 0x40000000
	MaxLinkCount   = 65000 // a directory with more has i_links_count 1 (dir_nlink)
	ExtraEpochBits = 2
	ExtraEpochMask = 1<<ExtraEpochBits - 1
)

// S_IFMT and its values in i_mode.
const (
	ModeFmt  = 0xF000
	ModeFIFO = 0x1000
	ModeChr  = 0x2000
	ModeDir  = 0x4000
	ModeBlk  = 0x6000
	ModeReg  = 0x8000
	ModeLnk  = 0xA000
	ModeSock = 0xC000
)

// Directory entries (struct ext4_dir_entry_2) and the checksum tail.
const (
	DEInode        = 0 // u32
	DERecLen       = 4 // u16
	DENameLen      = 6 // u8 with the filetype feature, else the low byte of a u16
	DEFileType     = 7 // u8
	DEName         = 8
	DEAlign        = 4
	DETailSize     = 12
	DETailFileType = 0xDE
	DETailCsum     = 8 // u32 within the tail
	DEMaxRecLen    = 1<<16 - 1
)

// Directory entry file types.
const (
	FTUnknown = 0
	FTReg     = 1
	FTDir     = 2
	FTChr     = 3
	FTBlk     = 4
	FTFIFO    = 5
	FTSock    = 6
	FTSymlink = 7
)

// Hash trees: a root block (dx_root) and index nodes (dx_node).
const (
	DXRootInfo       = 0x18 // in the root: after the entries "." and ".."
	DXInfoHash       = 4    // u8 within the info
	DXInfoLen        = 5    // u8, 8
	DXInfoLevels     = 6    // u8, indirect levels
	DXInfoSize       = 8
	DXRootEntries    = DXRootInfo + DXInfoSize
	DXNodeEntries    = 8 // after the fake dirent that spans the block
	DXEntrySize      = 8 // u32 hash, u32 block; the first is u16 limit, u16 count, u32 block
	DXTailSize       = 8 // u32 reserved, u32 checksum
	DXBlockMask      = 0x0FFFFFFF
	DXMaxLevels      = 2 // with large_dir 3
	DXMaxLevelsLarge = 3
)

// Extents.
const (
	ExtMagic      = 0xF30A
	ExtHeaderSize = 12
	ExtEntrySize  = 12
	ExtHdrMagic   = 0 // u16
	ExtHdrEntries = 2 // u16
	ExtHdrMax     = 4 // u16
	ExtHdrDepth   = 6 // u16
	ExtHdrGen     = 8 // u32
	ExtBlock      = 0 // u32, logical
	ExtLen        = 4 // u16, above ExtInitMax unwritten
	ExtStartHi    = 6 // u16
	ExtStartLo    = 8 // u32
	ExtIdxBlock   = 0 // u32, logical
	ExtIdxLeafLo  = 4 // u32
	ExtIdxLeafHi  = 8 // u16
	ExtInitMax    = 1 << 15
	ExtUnwritMax  = ExtInitMax - 1
	ExtMaxDepth   = 5
	ExtTailSize   = 4 // u32 checksum after the last slot
	ExtMaxLogical = 1<<32 - 1
)

// Extended attributes.
const (
	XAMagic       = 0xEA020000
	XABodyHdrSize = 4  // in the inode body: u32 magic
	XAHdrSize     = 32 // struct ext4_xattr_header
	XAHdrMagic    = 0  // u32
	XAHdrRefcount = 4  // u32
	XAHdrBlocks   = 8  // u32, 1
	XAHdrHash     = 12 // u32
	XAHdrCsum     = 16 // u32
	XAEntrySize   = 16 // struct ext4_xattr_entry without the name
	XANameLen     = 0  // u8
	XANameIndex   = 1  // u8
	XAValueOffs   = 2  // u16
	XAValueInum   = 4  // u32, ea_inode
	XAValueSize   = 8  // u32
	XAHash        = 12 // u32
	XAName        = 16
	XAAlign       = 4
	XAMaxValue    = 1 << 16 // XATTR_SIZE_MAX, the longest that the kernel gives out
	XAMaxEAInode  = 1 << 24 // EXT4_XATTR_SIZE_MAX

	XAHashNameShift  = 5
	XAHashValueShift = 16
	XARefcountMax    = 1024 // EXT4_XATTR_REFCOUNT_MAX
)

// Name indexes of extended attributes.
const (
	XAIndexNone       = 0
	XAIndexUser       = 1
	XAIndexACLAccess  = 2
	XAIndexACLDefault = 3
	XAIndexTrusted    = 4
	XAIndexLustre     = 5
	XAIndexSecurity   = 6
	XAIndexSystem     = 7
	XAIndexRichACL    = 8
	XAIndexEncryption = 9
	XAIndexHurd       = 10
)

// POSIX ACLs: ext4's form (fs/ext4/acl.h) and the one that user space sees
// (include/uapi/linux/posix_acl_xattr.h).
const (
	ACLVersion      = 1
	ACLXattrVersion = 2
	ACLHdrSize      = 4
	ACLShortSize    = 4 // u16 tag, u16 perm
	ACLLongSize     = 8 // and u32 id
	ACLXattrSize    = 8 // u16 tag, u16 perm, u32 id
	ACLUserObj      = 0x01
	ACLUser         = 0x02
	ACLGroupObj     = 0x04
	ACLGroup        = 0x08
	ACLMask         = 0x10
	ACLOther        = 0x20
	ACLUndefinedID  = 0xFFFFFFFF
)

// Orphan file (orphan_file feature).
const (
	OrphanMagic    = 0x0B10CA04
	OrphanTailSize = 8       // u32 magic, u32 checksum
	OrphanMaxSize  = 8 << 20 // the kernel takes no longer one
)

// SparseSuperGroup tells of a group from 2 on whether sparse_super puts a copy
// of the superblock there: where its number is a power of 3, 5 or 7.
func SparseSuperGroup(group uint32) bool {
	if group&1 == 0 {
		return false
	}
	for _, base := range [...]uint32{3, 5, 7} {
		n := group
		for n%base == 0 {
			n /= base
		}
		if n == 1 {
			return true
		}
	}
	return false
}
