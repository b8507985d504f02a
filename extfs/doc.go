// Package extfs reads ext2, ext3 and ext4 images as a tree, in user space and
// without mounting. Package mkfs beside it builds images.
//
// The reader never writes: a journal that is to be replayed is replayed in
// memory, as a map from blocks of the file system to blocks of the journal; fast
// commits are kept beside it as changed inodes, ranges and names.
//
// Laws:
//   - What [FS.Root] shows equals what the kernel shows of the same image after
//     its own recovery: every path, type, mode, owner, time with nanoseconds,
//     device number, link target, extended attribute and byte of content. (The
//     kernel's replay of fast commits gives directories the time of the replay;
//     here they keep theirs.)
//   - An image that the kernel refuses to recover is an error here too.
//   - [FS.FreeExtents] never names a block that a file or directory uses, and
//     [FS.FreeRanges] none that the file system uses itself: whatever is written
//     there, the tree and e2fsck's findings are the same.
//   - [FS.Recovered] is what the kernel leaves on the device after the recovery
//     of the journal and before it clears orphans away.
//   - [SameBlocks] implies equal bytes.
//   - Every checksum that the image carries on what is read is checked; a wrong
//     one is an error and never a silently different tree.
//   - Memory is the cache of metadata blocks (WithCache), the map of blocks in
//     the journal, and the list of the directory that is being read.
//
// Source of the format: Linux fs/ext4, fs/jbd2 and
// Documentation/filesystems/ext4; e2fsprogs for the names of features.
//
// Left out: encrypted files and directories, case-insensitive directories,
// compression, external journals that need recovery, and Hurd's and Lustre's
// extensions. They are refused by name where they are met.
package extfs
