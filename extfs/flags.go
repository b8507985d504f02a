package extfs

import (
	"errors"

	"relive/tree"
)

// keptFlags are the flags of an inode that chattr(1) sets and that mean the same
// in any file system: those that the kernel lets a user set
// (EXT4_FL_USER_MODIFIABLE), without the ones that say how content is stored.
const keptFlags = flSecureRm | flUnrm | flSync | flImmutable | flAppend | flNodump | flNoatime |
	flJournalData | flNotail | flDirsync | flTopdir

// ErrNotOurs is the error of a node that is of another source.
var ErrNotOurs = errors.New("not of this file system")

// InodeFlags gives the flags of a node of this file system that chattr sets, as
// the inode holds them (i_flags): immutable, append only, no dump and their
// like, and none that say how content is stored. A node of another source, and
// one that was made by changing a directory of this one, is ErrNotOurs.
//
// It is what [BuildOptions] Flags asks for to make an image that has them too.
func (fs *FS) InodeFlags(n *tree.Node) (uint32, error) {
	if n.Inode.Source != fs {
		return 0, ErrNotOurs
	}
	in, err := fs.inode(uint32(n.Inode.Number))
	if err != nil {
		return 0, err
	}
	return in.flags & keptFlags, nil
}
