// Package extfs reads ext2, ext3 and ext4 images as a tree and builds fresh
// ext4 images from one, in user space and without mounting.
//
// The reader never writes: a journal that is to be replayed is replayed in
// memory, as a map from blocks of the file system to blocks of the journal.
//
// Laws:
//   - What [FS.Root] shows equals what the kernel shows of the same image after
//     its own recovery: every path, type, mode, owner, time with nanoseconds,
//     device number, link target, extended attribute and byte of content.
//   - Every checksum that the image carries on what is read is checked; a wrong
//     one is an error and never a silently different tree.
//   - Memory does not depend on the size of the image, but for the map of
//     blocks in the journal and the group descriptors in use.
//
// Source of the format: Linux fs/ext4, fs/jbd2 and
// Documentation/filesystems/ext4; e2fsprogs for the names of features.
//
// Left out: encrypted files and directories, case-insensitive directories,
// compression, external journals that need recovery, and Hurd's and Lustre's
// extensions. They are refused by name where they are met.
package extfs
