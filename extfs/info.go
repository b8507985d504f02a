package extfs

import (
	"bytes"

	"relive/extfs/internal/ondisk"
	"relive/tree"
)

// Info is what the superblock tells of a file system, as it is after recovery.
// Counts of blocks are in blocks of BlockSize.
type Info struct {
	// Kind is "ext2", "ext3" or "ext4": the oldest driver that knows all of the
	// features.
	Kind string

	Size           int64 // of the image in bytes; it may be longer than the file system
	BlockSize      int64 // bytes
	ClusterSize    int64 // bytes; BlockSize where blocks are allocated alone
	Blocks         int64
	FreeBlocks     int64 // as the group descriptors count them
	ReservedBlocks int64 // for the superuser
	Inodes         int64
	FreeInodes     int64 // as the group descriptors count them
	InodeSize      int   // bytes
	BlocksPerGroup int64
	InodesPerGroup int64
	Groups         int64
	FirstInode     uint32 // the first that is not reserved

	Label       string
	UUID        [16]byte
	LastMounted string // directory that it was last mounted on
	CreatorOS   uint32 // 0 is Linux
	// Features are the names of all features, as e2fsprogs gives them; the
	// words below are the same as bits.
	Features                                        []string
	FeatureCompat, FeatureIncompat, FeatureROCompat uint32

	Created   tree.Time
	LastMount tree.Time // zero where it was never mounted
	LastWrite tree.Time
	LastCheck tree.Time

	MountCount    int
	MaxMountCount int // -1 for no limit
	// CheckInterval is the longest time between checks in seconds, 0 for none.
	CheckInterval int64

	// Clean: it was unmounted, or has a journal that makes up for it.
	Clean bool
	// NeedsRecovery: the journal was to be replayed. What this package shows is
	// the state after that.
	NeedsRecovery bool
	// HasErrors: the kernel met errors in it, of which FirstError and LastError
	// tell when the superblock has a record.
	HasErrors  bool
	ErrorCount int64
	FirstError ErrorRecord
	LastError  ErrorRecord
	// OnErrors is what the kernel does when it meets an error: 1 continue,
	// 2 remount read-only, 3 panic.
	OnErrors int

	Journal JournalInfo

	HashSeed        [16]byte
	UnsignedHash    bool  // of names: characters count as unsigned
	HashVersion     uint8 // of new directory indexes: 0 legacy, 1 half MD4, 2 TEA
	DefaultMount    uint32
	MountOptions    string
	ReservedUID     uint32
	ReservedGID     uint32
	FlexGroupSize   int64 // groups whose metadata lies together, 0 without flex_bg
	MinExtraIsize   int
	WantExtraIsize  int
	RAIDStride      int
	RAIDStripeWidth int64
	KBytesWritten   int64
}

// ErrorRecord is where the kernel met an error.
type ErrorRecord struct {
	Time     tree.Time
	Inode    uint32
	Block    uint64
	Function string
	Line     uint32
}

// Info returns the superblock's facts. The free counts are sums over all group
// descriptors, because the superblock's own are only written on unmount; where
// a descriptor cannot be read they are the superblock's.
func (fs *FS) Info() Info {
	g, sb := fs.geo, fs.sb
	wide := func(lo, hi int) int64 {
		n := uint64(ondisk.LE32(sb, lo))
		if g.hasIncompat(ondisk.Incompat64Bit) {
			n |= uint64(ondisk.LE32(sb, hi)) << 32
		}
		return int64(n)
	}
	info := Info{
		Kind:           g.kind(),
		Size:           fs.dev.size,
		BlockSize:      g.blockSize,
		ClusterSize:    g.blockSize << g.clusterBits,
		Blocks:         int64(g.blocks),
		FreeBlocks:     wide(ondisk.SBFreeBlocksLo, ondisk.SBFreeBlocksHi),
		ReservedBlocks: wide(ondisk.SBReservedBlocksLo, ondisk.SBReservedBlocksHi),
		Inodes:         int64(g.inodes),
		FreeInodes:     int64(ondisk.LE32(sb, ondisk.SBFreeInodes)),
		InodeSize:      g.inodeSize,
		BlocksPerGroup: int64(g.blocksPerGroup),
		InodesPerGroup: int64(g.inodesPerGroup),
		Groups:         int64(g.groups),
		FirstInode:     g.firstInode,

		Label:       cString(sb[ondisk.SBVolumeName:][:16]),
		UUID:        g.uuid,
		LastMounted: cString(sb[ondisk.SBLastMounted:][:64]),
		CreatorOS:   ondisk.LE32(sb, ondisk.SBCreatorOS),
		Features:    g.features(),

		FeatureCompat:   g.compat,
		FeatureIncompat: g.incompat,
		FeatureROCompat: g.roCompat,

		Created:   sbTime(sb, ondisk.SBMkfsTime, ondisk.SBMkfsTimeHi),
		LastMount: sbTime(sb, ondisk.SBMountTime, ondisk.SBMountTimeHi),
		LastWrite: sbTime(sb, ondisk.SBWriteTime, ondisk.SBWriteTimeHi),
		LastCheck: sbTime(sb, ondisk.SBLastCheck, ondisk.SBLastCheckHi),

		MountCount:    int(ondisk.LE16(sb, ondisk.SBMountCount)),
		MaxMountCount: int(int16(ondisk.LE16(sb, ondisk.SBMaxMountCount))),
		CheckInterval: int64(ondisk.LE32(sb, ondisk.SBCheckInterval)),

		NeedsRecovery: fs.needsRecovery,
		HasErrors:     ondisk.LE16(sb, ondisk.SBState)&ondisk.StateErrors != 0,
		ErrorCount:    int64(ondisk.LE32(sb, ondisk.SBErrorCount)),
		OnErrors:      int(ondisk.LE16(sb, ondisk.SBErrors)),
		Journal:       fs.journal,

		UnsignedHash:    ondisk.LE32(sb, ondisk.SBFlags)&ondisk.FlagUnsignedHash != 0,
		HashVersion:     sb[ondisk.SBDefHashVersion],
		DefaultMount:    ondisk.LE32(sb, ondisk.SBDefaultMountOpts),
		MountOptions:    cString(sb[ondisk.SBMountOpts:][:64]),
		ReservedUID:     uint32(ondisk.LE16(sb, ondisk.SBDefResUID)),
		ReservedGID:     uint32(ondisk.LE16(sb, ondisk.SBDefResGID)),
		MinExtraIsize:   int(ondisk.LE16(sb, ondisk.SBMinExtraIsize)),
		WantExtraIsize:  int(ondisk.LE16(sb, ondisk.SBWantExtraIsize)),
		RAIDStride:      int(ondisk.LE16(sb, ondisk.SBRAIDStride)),
		RAIDStripeWidth: int64(ondisk.LE32(sb, ondisk.SBRAIDStripeWidth)),
		KBytesWritten:   int64(ondisk.LE64(sb, ondisk.SBKBytesWritten)),
	}
	copy(info.HashSeed[:], sb[ondisk.SBHashSeed:])
	info.Clean = ondisk.LE16(sb, ondisk.SBState)&ondisk.StateValid != 0 && !info.HasErrors
	if g.hasIncompat(ondisk.IncompatFlexBG) {
		info.FlexGroupSize = 1 << min(sb[ondisk.SBLogGroupsPerFlex], 31)
	}
	if info.ErrorCount > 0 {
		info.FirstError = errorRecord(sb, ondisk.SBFirstErrorTime, ondisk.SBFirstErrorTimeHi, ondisk.SBFirstErrorInode,
			ondisk.SBFirstErrorBlock, ondisk.SBFirstErrorFunc, ondisk.SBFirstErrorLine)
		info.LastError = errorRecord(sb, ondisk.SBLastErrorTime, ondisk.SBLastErrorTimeHi, ondisk.SBLastErrorInode,
			ondisk.SBLastErrorBlock, ondisk.SBLastErrorFunc, ondisk.SBLastErrorLine)
	}
	if blocks, inodes, err := fs.countFree(); err == nil {
		info.FreeBlocks, info.FreeInodes = blocks, inodes
	}
	return info
}

// countFree sums the free blocks and inodes of all groups.
func (fs *FS) countFree() (blocks, inodes int64, err error) {
	for i := range fs.geo.groups {
		g, err := fs.group(i)
		if err != nil {
			return 0, 0, err
		}
		blocks += int64(g.freeClusters) << fs.geo.clusterBits
		inodes += int64(g.freeInodes)
	}
	return blocks, inodes, nil
}

// features lists all features under their e2fsprogs names, in the order of the
// superblock's fields.
func (g *geometry) features() []string {
	out := featureNames(g.compat, ondisk.CompatNames(), "compat")
	out = append(out, featureNames(g.incompat, ondisk.IncompatNames(), "incompat")...)
	return append(out, featureNames(g.roCompat, ondisk.ROCompatNames(), "ro_compat")...)
}

// kind tells which driver was meant, by the features that ext2 and ext3 have.
func (g *geometry) kind() string {
	const (
		compat3 = ondisk.CompatDirPrealloc | ondisk.CompatImagicInodes | ondisk.CompatHasJournal |
			ondisk.CompatExtAttr | ondisk.CompatResizeInode | ondisk.CompatDirIndex
		incompat3 = ondisk.IncompatFiletype | ondisk.IncompatRecover | ondisk.IncompatMetaBG
		ro3       = ondisk.ROSparseSuper | ondisk.ROLargeFile | ondisk.ROBtreeDir
	)
	switch {
	case g.compat&^compat3 != 0, g.incompat&^incompat3 != 0, g.roCompat&^ro3 != 0:
		return "ext4"
	case g.hasCompat(ondisk.CompatHasJournal):
		return "ext3"
	}
	return "ext2"
}

// sbTime decodes a time of the superblock, unsigned seconds of forty bits.
func sbTime(sb []byte, lo, hi int) tree.Time {
	return tree.Time{Sec: int64(ondisk.LE32(sb, lo)) | int64(sb[hi])<<32}
}

func errorRecord(sb []byte, time, timeHi, inode, block, function, line int) ErrorRecord {
	return ErrorRecord{
		Time:     sbTime(sb, time, timeHi),
		Inode:    ondisk.LE32(sb, inode),
		Block:    ondisk.LE64(sb, block),
		Function: cString(sb[function:][:32]),
		Line:     ondisk.LE32(sb, line),
	}
}

// cString is what stands before the first NUL.
func cString(p []byte) string {
	if i := bytes.IndexByte(p, 0); i >= 0 {
		p = p[:i]
	}
	return string(p)
}
