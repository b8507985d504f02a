package extfs

// The numbers of the format. Offsets are in bytes from the start of the
// structure that the name begins with. Everything but the journal is
// little-endian. Source: Linux fs/ext4/ext4.h, ext4_extents.h, xattr.h, and
// Documentation/filesystems/ext4.

// Where the superblock is, and how long.
const (
	superblockOffset = 1024
	superblockSize   = 1024
	superblockMagic  = 0xEF53
)

// Superblock fields (struct ext4_super_block).
const (
	sbInodesCount       = 0x000 // u32
	sbBlocksCountLo     = 0x004 // u32
	sbReservedBlocksLo  = 0x008 // u32
	sbFreeBlocksLo      = 0x00C // u32, blocks, also with bigalloc
	sbFreeInodes        = 0x010 // u32
	sbFirstDataBlock    = 0x014 // u32, 1 with 1 KiB blocks, else 0
	sbLogBlockSize      = 0x018 // u32, block size = 1024 << n
	sbLogClusterSize    = 0x01C // u32, cluster size = 1024 << n
	sbBlocksPerGroup    = 0x020 // u32
	sbClustersPerGroup  = 0x024 // u32
	sbInodesPerGroup    = 0x028 // u32
	sbMountTime         = 0x02C // u32, last mount
	sbWriteTime         = 0x030 // u32, last write
	sbMountCount        = 0x034 // u16
	sbMaxMountCount     = 0x036 // u16
	sbMagic             = 0x038 // u16
	sbState             = 0x03A // u16
	sbErrors            = 0x03C // u16, what to do on errors
	sbMinorRevLevel     = 0x03E // u16
	sbLastCheck         = 0x040 // u32
	sbCheckInterval     = 0x044 // u32
	sbCreatorOS         = 0x048 // u32
	sbRevLevel          = 0x04C // u32
	sbDefResUID         = 0x050 // u16
	sbDefResGID         = 0x052 // u16
	sbFirstInode        = 0x054 // u32
	sbInodeSize         = 0x058 // u16
	sbBlockGroupNr      = 0x05A // u16, the group this copy is in
	sbFeatureCompat     = 0x05C // u32
	sbFeatureIncompat   = 0x060 // u32
	sbFeatureROCompat   = 0x064 // u32
	sbUUID              = 0x068 // 16 bytes
	sbVolumeName        = 0x078 // 16 bytes
	sbLastMounted       = 0x088 // 64 bytes
	sbPreallocBlocks    = 0x0CC // u8
	sbPreallocDirBlocks = 0x0CD // u8
	sbReservedGDTBlocks = 0x0CE // u16
	sbJournalUUID       = 0x0D0 // 16 bytes
	sbJournalInode      = 0x0E0 // u32
	sbJournalDevice     = 0x0E4 // u32
	sbLastOrphan        = 0x0E8 // u32
	sbHashSeed          = 0x0EC // 4 u32
	sbDefHashVersion    = 0x0FC // u8
	sbJournalBackupType = 0x0FD // u8
	sbDescSize          = 0x0FE // u16
	sbDefaultMountOpts  = 0x100 // u32
	sbFirstMetaBG       = 0x104 // u32
	sbMkfsTime          = 0x108 // u32
	sbJournalBlocks     = 0x10C // 17 u32: i_block and size of the journal's inode
	sbBlocksCountHi     = 0x150 // u32
	sbReservedBlocksHi  = 0x154 // u32
	sbFreeBlocksHi      = 0x158 // u32
	sbMinExtraIsize     = 0x15C // u16
	sbWantExtraIsize    = 0x15E // u16
	sbFlags             = 0x160 // u32
	sbRAIDStride        = 0x164 // u16
	sbMMPInterval       = 0x166 // u16
	sbMMPBlock          = 0x168 // u64
	sbRAIDStripeWidth   = 0x170 // u32
	sbLogGroupsPerFlex  = 0x174 // u8
	sbChecksumType      = 0x175 // u8, 1 is crc32c
	sbKBytesWritten     = 0x178 // u64
	sbErrorCount        = 0x194 // u32
	sbFirstErrorTime    = 0x198 // u32
	sbFirstErrorInode   = 0x19C // u32
	sbFirstErrorBlock   = 0x1A0 // u64
	sbFirstErrorFunc    = 0x1A8 // 32 bytes
	sbFirstErrorLine    = 0x1C8 // u32
	sbLastErrorTime     = 0x1CC // u32
	sbLastErrorInode    = 0x1D0 // u32
	sbLastErrorLine     = 0x1D4 // u32
	sbLastErrorBlock    = 0x1D8 // u64
	sbLastErrorFunc     = 0x1E0 // 32 bytes
	sbMountOpts         = 0x200 // 64 bytes
	sbUserQuotaInode    = 0x240 // u32
	sbGroupQuotaInode   = 0x244 // u32
	sbOverheadBlocks    = 0x248 // u32
	sbBackupBGs         = 0x24C // 2 u32, sparse_super2
	sbLostFoundInode    = 0x268 // u32
	sbProjQuotaInode    = 0x26C // u32
	sbChecksumSeed      = 0x270 // u32
	sbWriteTimeHi       = 0x274 // u8
	sbMountTimeHi       = 0x275 // u8
	sbMkfsTimeHi        = 0x276 // u8
	sbLastCheckHi       = 0x277 // u8
	sbFirstErrorTimeHi  = 0x278 // u8
	sbLastErrorTimeHi   = 0x279 // u8
	sbEncoding          = 0x27C // u16
	sbEncodingFlags     = 0x27E // u16
	sbOrphanFileInode   = 0x280 // u32
	sbChecksum          = 0x3FC // u32
)

// Revision levels.
const (
	revGood    = 0 // fixed 128-byte inodes, no features
	revDynamic = 1
)

// s_state.
const (
	stateValid  = 0x0001 // cleanly unmounted
	stateErrors = 0x0002 // errors detected
	stateOrphan = 0x0004 // orphans being recovered
)

// s_errors.
const (
	errorsContinue  = 1
	errorsRemountRO = 2
	errorsPanic     = 3
)

// s_flags.
const (
	flagSignedHash   = 0x0001
	flagUnsignedHash = 0x0002
	flagTestFS       = 0x0004
)

// s_checksum_type.
const checksumTypeCRC32C = 1

// Hash versions of s_def_hash_version and of an htree root.
const (
	hashLegacy           = 0
	hashHalfMD4          = 1
	hashTEA              = 2
	hashLegacyUnsigned   = 3
	hashHalfMD4Unsigned  = 4
	hashTEAUnsigned      = 5
	hashSIPHash          = 6
	journalBackupIBlocks = 1 // s_jnl_backup_type: s_jnl_blocks holds i_block and i_size
)

// s_feature_compat: a reader and a writer may ignore what it does not know.
const (
	compatDirPrealloc   = 0x0001
	compatImagicInodes  = 0x0002
	compatHasJournal    = 0x0004
	compatExtAttr       = 0x0008
	compatResizeInode   = 0x0010
	compatDirIndex      = 0x0020
	compatLazyBG        = 0x0040
	compatExcludeInode  = 0x0080
	compatExcludeBitmap = 0x0100
	compatSparseSuper2  = 0x0200
	compatFastCommit    = 0x0400
	compatStableInodes  = 0x0800
	compatOrphanFile    = 0x1000
)

// s_feature_incompat: unknown bits forbid reading.
const (
	incompatCompression = 0x00001
	incompatFiletype    = 0x00002
	incompatRecover     = 0x00004
	incompatJournalDev  = 0x00008
	incompatMetaBG      = 0x00010
	incompatExtents     = 0x00040
	incompat64Bit       = 0x00080
	incompatMMP         = 0x00100
	incompatFlexBG      = 0x00200
	incompatEAInode     = 0x00400
	incompatDirData     = 0x01000
	incompatCsumSeed    = 0x02000
	incompatLargeDir    = 0x04000
	incompatInlineData  = 0x08000
	incompatEncrypt     = 0x10000
	incompatCasefold    = 0x20000

	incompatKnown = incompatFiletype | incompatRecover | incompatMetaBG |
		incompatExtents | incompat64Bit | incompatMMP | incompatFlexBG |
		incompatEAInode | incompatCsumSeed | incompatLargeDir |
		incompatInlineData | incompatEncrypt | incompatCasefold
)

// s_feature_ro_compat: unknown bits forbid writing.
const (
	roSparseSuper   = 0x00001
	roLargeFile     = 0x00002
	roBtreeDir      = 0x00004
	roHugeFile      = 0x00008
	roGDTCsum       = 0x00010 // uninit_bg
	roDirNlink      = 0x00020
	roExtraIsize    = 0x00040
	roHasSnapshot   = 0x00080
	roQuota         = 0x00100
	roBigalloc      = 0x00200
	roMetadataCsum  = 0x00400
	roReplica       = 0x00800
	roReadonly      = 0x01000
	roProject       = 0x02000
	roSharedBlocks  = 0x04000
	roVerity        = 0x08000
	roOrphanPresent = 0x10000
)

// featureName is a feature bit under the name that e2fsprogs gives it.
type featureName struct {
	bit  uint32
	name string
}

// The names are functions and not variables so that nothing can change them.

func compatNames() []featureName {
	return []featureName{
		{compatDirPrealloc, "dir_prealloc"},
		{compatImagicInodes, "imagic_inodes"},
		{compatHasJournal, "has_journal"},
		{compatExtAttr, "ext_attr"},
		{compatResizeInode, "resize_inode"},
		{compatDirIndex, "dir_index"},
		{compatLazyBG, "lazy_bg"},
		{compatExcludeInode, "exclude_inode"},
		{compatExcludeBitmap, "snapshot_bitmap"},
		{compatSparseSuper2, "sparse_super2"},
		{compatFastCommit, "fast_commit"},
		{compatStableInodes, "stable_inodes"},
		{compatOrphanFile, "orphan_file"},
	}
}

func incompatNames() []featureName {
	return []featureName{
		{incompatCompression, "compression"},
		{incompatFiletype, "filetype"},
		{incompatRecover, "needs_recovery"},
		{incompatJournalDev, "journal_dev"},
		{incompatMetaBG, "meta_bg"},
		{incompatExtents, "extent"},
		{incompat64Bit, "64bit"},
		{incompatMMP, "mmp"},
		{incompatFlexBG, "flex_bg"},
		{incompatEAInode, "ea_inode"},
		{incompatDirData, "dirdata"},
		{incompatCsumSeed, "metadata_csum_seed"},
		{incompatLargeDir, "large_dir"},
		{incompatInlineData, "inline_data"},
		{incompatEncrypt, "encrypt"},
		{incompatCasefold, "casefold"},
	}
}

func roCompatNames() []featureName {
	return []featureName{
		{roSparseSuper, "sparse_super"},
		{roLargeFile, "large_file"},
		{roBtreeDir, "btree_dir"},
		{roHugeFile, "huge_file"},
		{roGDTCsum, "uninit_bg"},
		{roDirNlink, "dir_nlink"},
		{roExtraIsize, "extra_isize"},
		{roHasSnapshot, "has_snapshot"},
		{roQuota, "quota"},
		{roBigalloc, "bigalloc"},
		{roMetadataCsum, "metadata_csum"},
		{roReplica, "replica"},
		{roReadonly, "read-only"},
		{roProject, "project"},
		{roSharedBlocks, "shared_blocks"},
		{roVerity, "verity"},
		{roOrphanPresent, "orphan_present"},
	}
}

// Special inode numbers.
const (
	inoBad        = 1
	inoRoot       = 2
	inoUserQuota  = 3
	inoGroupQuota = 4
	inoBootLoader = 5
	inoUndelDir   = 6
	inoResize     = 7
	inoJournal    = 8
	inoExclude    = 9
	inoReplica    = 10
	inoFirstOld   = 11 // the first ordinary inode of revision 0
)

// Group descriptor fields (struct ext4_group_desc).
const (
	gdSizeMin          = 32
	gdSizeMin64        = 64
	gdSizeMax          = 1024
	gdBlockBitmapLo    = 0x00 // u32
	gdInodeBitmapLo    = 0x04 // u32
	gdInodeTableLo     = 0x08 // u32
	gdFreeBlocksLo     = 0x0C // u16, clusters
	gdFreeInodesLo     = 0x0E // u16
	gdUsedDirsLo       = 0x10 // u16
	gdFlags            = 0x12 // u16
	gdBlockBitmapCsum  = 0x18 // u16
	gdInodeBitmapCsum  = 0x1A // u16
	gdItableUnusedLo   = 0x1C // u16
	gdChecksum         = 0x1E // u16
	gdBlockBitmapHi    = 0x20 // u32
	gdInodeBitmapHi    = 0x24 // u32
	gdInodeTableHi     = 0x28 // u32
	gdFreeBlocksHi     = 0x2C // u16
	gdFreeInodesHi     = 0x2E // u16
	gdUsedDirsHi       = 0x30 // u16
	gdItableUnusedHi   = 0x32 // u16
	gdBlockBitmapCsumH = 0x38 // u16
	gdInodeBitmapCsumH = 0x3A // u16
)

// bg_flags.
const (
	bgInodeUninit = 0x1 // inode table and bitmap are not initialised
	bgBlockUninit = 0x2 // block bitmap is not initialised
	bgInodeZeroed = 0x4 // inode table is zeroed
)

// Inode fields (struct ext4_inode).
const (
	inodeSizeOld     = 128
	inMode           = 0x00 // u16
	inUIDLo          = 0x02 // u16
	inSizeLo         = 0x04 // u32
	inAtime          = 0x08 // u32
	inCtime          = 0x0C // u32
	inMtime          = 0x10 // u32
	inDtime          = 0x14 // u32, also the next orphan
	inGIDLo          = 0x18 // u16
	inLinksCount     = 0x1A // u16
	inBlocksLo       = 0x1C // u32
	inFlags          = 0x20 // u32
	inVersion        = 0x24 // u32
	inBlock          = 0x28 // 60 bytes
	inBlockSize      = 60
	inGeneration     = 0x64 // u32
	inFileACLLo      = 0x68 // u32
	inSizeHi         = 0x6C // u32
	inBlocksHi       = 0x74 // u16
	inFileACLHi      = 0x76 // u16
	inUIDHi          = 0x78 // u16
	inGIDHi          = 0x7A // u16
	inChecksumLo     = 0x7C // u16
	inExtraIsize     = 0x80 // u16
	inChecksumHi     = 0x82 // u16
	inCtimeExtra     = 0x84 // u32
	inMtimeExtra     = 0x88 // u32
	inAtimeExtra     = 0x8C // u32
	inCrtime         = 0x90 // u32
	inCrtimeExtra    = 0x94 // u32
	inVersionHi      = 0x98 // u32
	inProjID         = 0x9C // u32
	inExtraEnd       = 0xA0 // the end of the fields known here
	inExtraIsizeFull = inExtraEnd - inodeSizeOld
	directBlocks     = 12
)

// i_flags.
const (
	flSecureRm     = 0x00000001
	flUnrm         = 0x00000002
	flCompr        = 0x00000004
	flSync         = 0x00000008
	flImmutable    = 0x00000010
	flAppend       = 0x00000020
	flNodump       = 0x00000040
	flNoatime      = 0x00000080
	flDirty        = 0x00000100
	flComprBlk     = 0x00000200
	flNoCompr      = 0x00000400
	flEncrypt      = 0x00000800
	flIndex        = 0x00001000 // hash-indexed directory
	flImagic       = 0x00002000
	flJournalData  = 0x00004000
	flNotail       = 0x00008000
	flDirsync      = 0x00010000
	flTopdir       = 0x00020000
	flHugeFile     = 0x00040000 // i_blocks counts blocks, not sectors
	flExtents      = 0x00080000
	flVerity       = 0x00100000
	flEAInode      = 0x00200000
	flSnapfile     = 0x01000000
	flDAX          = 0x02000000
	flInlineData   = 0x10000000
	flProjInherit  = 0x20000000
	flCasefold     = 0x40000000
	maxLinkCount   = 65000 // a directory with more has i_links_count 1 (dir_nlink)
	extraEpochBits = 2
	extraEpochMask = 1<<extraEpochBits - 1
)

// S_IFMT and its values in i_mode.
const (
	modeFmt  = 0xF000
	modeFIFO = 0x1000
	modeChr  = 0x2000
	modeDir  = 0x4000
	modeBlk  = 0x6000
	modeReg  = 0x8000
	modeLnk  = 0xA000
	modeSock = 0xC000
)

// Directory entries (struct ext4_dir_entry_2) and the checksum tail.
const (
	deInode        = 0 // u32
	deRecLen       = 4 // u16
	deNameLen      = 6 // u8 with the filetype feature, else the low byte of a u16
	deFileType     = 7 // u8
	deName         = 8
	deAlign        = 4
	deTailSize     = 12
	deTailFileType = 0xDE
	deTailCsum     = 8 // u32 within the tail
	deMaxRecLen    = 1<<16 - 1
)

// Directory entry file types.
const (
	ftUnknown = 0
	ftReg     = 1
	ftDir     = 2
	ftChr     = 3
	ftBlk     = 4
	ftFIFO    = 5
	ftSock    = 6
	ftSymlink = 7
)

// Hash trees: a root block (dx_root) and index nodes (dx_node).
const (
	dxRootInfo       = 0x18 // in the root: after the entries "." and ".."
	dxInfoHash       = 4    // u8 within the info
	dxInfoLen        = 5    // u8, 8
	dxInfoLevels     = 6    // u8, indirect levels
	dxInfoSize       = 8
	dxRootEntries    = dxRootInfo + dxInfoSize
	dxNodeEntries    = 8 // after the fake dirent that spans the block
	dxEntrySize      = 8 // u32 hash, u32 block; the first is u16 limit, u16 count, u32 block
	dxTailSize       = 8 // u32 reserved, u32 checksum
	dxBlockMask      = 0x0FFFFFFF
	dxMaxLevels      = 2 // with large_dir 3
	dxMaxLevelsLarge = 3
)

// Extents.
const (
	extMagic      = 0xF30A
	extHeaderSize = 12
	extEntrySize  = 12
	extHdrMagic   = 0 // u16
	extHdrEntries = 2 // u16
	extHdrMax     = 4 // u16
	extHdrDepth   = 6 // u16
	extHdrGen     = 8 // u32
	extBlock      = 0 // u32, logical
	extLen        = 4 // u16, above extInitMax unwritten
	extStartHi    = 6 // u16
	extStartLo    = 8 // u32
	extIdxBlock   = 0 // u32, logical
	extIdxLeafLo  = 4 // u32
	extIdxLeafHi  = 8 // u16
	extInitMax    = 1 << 15
	extUnwritMax  = extInitMax - 1
	extMaxDepth   = 5
	extTailSize   = 4 // u32 checksum after the last slot
	extMaxLogical = 1<<32 - 1
)

// Extended attributes.
const (
	xaMagic       = 0xEA020000
	xaBodyHdrSize = 4  // in the inode body: u32 magic
	xaHdrSize     = 32 // struct ext4_xattr_header
	xaHdrMagic    = 0  // u32
	xaHdrRefcount = 4  // u32
	xaHdrBlocks   = 8  // u32, 1
	xaHdrHash     = 12 // u32
	xaHdrCsum     = 16 // u32
	xaEntrySize   = 16 // struct ext4_xattr_entry without the name
	xaNameLen     = 0  // u8
	xaNameIndex   = 1  // u8
	xaValueOffs   = 2  // u16
	xaValueInum   = 4  // u32, ea_inode
	xaValueSize   = 8  // u32
	xaHash        = 12 // u32
	xaName        = 16
	xaAlign       = 4
	xaMaxValue    = 1 << 16 // XATTR_SIZE_MAX, the longest that the kernel gives out
	xaMaxEAInode  = 1 << 24 // EXT4_XATTR_SIZE_MAX

	xaHashNameShift  = 5
	xaHashValueShift = 16
	xaRefcountMax    = 1024 // EXT4_XATTR_REFCOUNT_MAX
)

// Name indexes of extended attributes.
const (
	xaIndexNone       = 0
	xaIndexUser       = 1
	xaIndexACLAccess  = 2
	xaIndexACLDefault = 3
	xaIndexTrusted    = 4
	xaIndexLustre     = 5
	xaIndexSecurity   = 6
	xaIndexSystem     = 7
	xaIndexRichACL    = 8
	xaIndexEncryption = 9
	xaIndexHurd       = 10
)

// POSIX ACLs: ext4's form (fs/ext4/acl.h) and the one that user space sees
// (include/uapi/linux/posix_acl_xattr.h).
const (
	aclVersion      = 1
	aclXattrVersion = 2
	aclHdrSize      = 4
	aclShortSize    = 4 // u16 tag, u16 perm
	aclLongSize     = 8 // and u32 id
	aclXattrSize    = 8 // u16 tag, u16 perm, u32 id
	aclUserObj      = 0x01
	aclUser         = 0x02
	aclGroupObj     = 0x04
	aclGroup        = 0x08
	aclMask         = 0x10
	aclOther        = 0x20
	aclUndefinedID  = 0xFFFFFFFF
)

// Orphan file (orphan_file feature).
const (
	orphanMagic    = 0x0B10CA04
	orphanTailSize = 8       // u32 magic, u32 checksum
	orphanMaxSize  = 8 << 20 // the kernel takes no longer one
)
