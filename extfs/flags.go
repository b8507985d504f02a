package extfs

import (
	"relive/extfs/internal/ondisk"
	"relive/tree"
)

// KeptFlags are the flags of an inode that chattr(1) sets and that mean the same
// in any ext file system: those that the kernel lets a user set
// (EXT4_FL_USER_MODIFIABLE), without the ones that say how content is stored.
// Build writes those of regular files and directories; nodes of an image have
// these and more (tree.FlagsTold).
const KeptFlags tree.Flags = ondisk.FlSecureRm | ondisk.FlUnrm | ondisk.FlSync | ondisk.FlImmutable | ondisk.FlAppend |
	ondisk.FlNodump | ondisk.FlNoatime |
	ondisk.FlJournalData | ondisk.FlNotail | ondisk.FlDirsync | ondisk.FlTopdir
