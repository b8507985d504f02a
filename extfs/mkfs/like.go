package mkfs

import (
	"relive/extfs"
	"relive/extfs/internal/ondisk"
)

// Like returns the options with which Build makes an empty file system like
// one that info is of: size of the image, label, UUID, hash seed, sizes of
// blocks and inodes, number of inodes, reserved blocks, features, journal,
// mount options and what is done on errors. Name and Time are left zero.
// Features that Build cannot make are among them, so that Build refuses them
// by name, unless the caller takes them out; an image of revision 0, which has
// none, gets filetype.
func Like(info extfs.Info) Options {
	o := Options{
		Size:      info.Size,
		Label:     info.Label,
		UUID:      info.UUID,
		HashSeed:  info.HashSeed,
		BlockSize: int(info.BlockSize),
		InodeSize: info.InodeSize,
		Inodes:    uint32(info.Inodes),
		Features: FeatureSet{
			Compat:   info.FeatureCompat,
			Incompat: info.FeatureIncompat &^ stateIncompat,
			ROCompat: info.FeatureROCompat &^ stateROCompat,
		},
		ReservedBlocks:  uint64(info.ReservedBlocks),
		ReservedPercent: -1,
		MountOptions:    &info.DefaultMount,
		UnsignedHash:    info.UnsignedHash,
	}
	if info.OnErrors >= 1 && info.OnErrors <= 3 {
		o.OnErrors = info.OnErrors
	}
	if o.Features.journal() && !info.Journal.External {
		o.JournalBlocks = uint32(info.Journal.Blocks)
		if o.JournalBlocks == defaultJournalBlocks(uint64(info.Blocks)) {
			// What mke2fs chooses may be more than it lets one ask for.
			o.JournalBlocks = 0
		}
	}
	if o.Features == (FeatureSet{}) {
		o.Features.Incompat = ondisk.IncompatFiletype
	}
	return o
}
