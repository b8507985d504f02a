package squash

// Sizes of data blocks.
const (
	// MinBlockSize is the least size of data blocks, in bytes. Sizes are powers
	// of two.
	MinBlockSize = 4096
	// MaxBlockSize is the greatest size of data blocks, in bytes.
	MaxBlockSize = 1 << 20
)

// Flags of the superblock (format.adoc, "The Superblock").
const (
	FlagUncompressedInodes    uint16 = 1 << 0  // -noI
	FlagUncompressedData      uint16 = 1 << 1  // -noD
	FlagCheck                 uint16 = 1 << 2  // unused since 3.0
	FlagUncompressedFragments uint16 = 1 << 3  // -noF
	FlagNoFragments           uint16 = 1 << 4  // -no-fragments
	FlagAlwaysFragments       uint16 = 1 << 5  // -tailends
	FlagDuplicates            uint16 = 1 << 6  // duplicates are stored once
	FlagExportable            uint16 = 1 << 7  // there is an export table
	FlagUncompressedXattrs    uint16 = 1 << 8  // -noX
	FlagNoXattrs              uint16 = 1 << 9  // -no-xattrs
	FlagCompressorOptions     uint16 = 1 << 10 // options follow the superblock
	FlagUncompressedIDs       uint16 = 1 << 11 // -noId
)
