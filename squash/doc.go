// Package squash reads and writes SquashFS 4.0 images, little-endian, as
// Linux 2.6.29 and later mount them.
//
// [Open] shows an image as a tree of nodes. Nothing but the superblock and the
// small index arrays is held in memory: directories, inodes, attributes and
// content are read when asked for, through caches of bounded size. The content
// of a file also has its stored form, block words and fragment, so that [Plan]
// copies blocks as they are, still compressed. Of content that is another with
// changes ([tree.Patched]), such as a huge file system image
// below a snapshot, [Plan] copies the blocks that did not change, and
// [ComparePatched] compares them, without decoding. [Verify] checks a whole
// image: all tables, all inodes, all directory entries, all blocks.
//
// Laws:
//   - The tree of an image equals what the kernel shows of it when mounted:
//     every path, type, mode, owner, device number, target, mtime, extended
//     attribute, hard-link group, content and hole.
//   - Reading at any offsets, from any number of goroutines, gives the bytes
//     that reading from front to end gives.
//   - No image, however damaged or hostile, makes the reader panic, loop, or
//     allocate more than its caches, the nodes of one directory, no name of
//     which comes twice, and what attributes and block lists are limited to.
//     What breaks the format is an error that names the place and is a
//     tree.ErrCorrupt.
//   - Where Verify finds no damage, every read succeeds.
//
// Sources of the format: Linux Documentation/filesystems/squashfs.rst and
// fs/squashfs/squashfs_fs.h; squashfs-tools-ng doc/format.adoc, whose section
// names the comments here use.
//
// Left out: SquashFS 1 to 3 and big-endian images, which are a
// tree.ErrUnsupported.
package squash
