// Package erofs reads and writes EROFS images, as Linux 5.4 and later mount them.
//
// [Open] shows an image as a tree of nodes. Nothing but the superblock is held in
// memory: directories, inodes, attributes, indexes and content are read when asked
// for, through caches of bounded size. A compressed extent is decoded as a whole;
// where less than all of it is wanted, the cache keeps it. [Verify] checks a whole
// image, and reads it in the order of its offsets, which for packed data is many
// times faster than file by file.
//
// A [Plan] writes an image from a tree, with the options that another image shows
// ([WriteOptionsLike]) or any others that mkfs.erofs has. What of the tree comes from
// images that were made with the same options is copied as it is stored.
//
// Laws:
//   - Read(Write(t)) == t, with and without reuse. The bytes depend on the tree and the
//     options alone, not on the number of workers.
//   - An image has no feature that its options do not ask for, and another UUID than
//     those that it was made from.
//   - The tree of an image equals what the kernel shows of it when mounted: every
//     path, type, mode, owner, device number, target, time, extended attribute,
//     hard-link group, and content.
//   - Reading at any offsets, from any number of goroutines, gives the bytes that
//     reading from front to end gives.
//   - No image, however damaged or hostile, makes the reader panic, loop, or
//     allocate more than its caches, an extent of at most 12 MiB for each goroutine,
//     the nodes of one directory, no name of which comes twice, and what attributes
//     are limited to. What breaks the format is an error that names the place and is
//     a tree.ErrCorrupt.
//   - Of an image that is cut anywhere every file shows what it shows of the whole,
//     or an error. The format has a checksum of its first block alone: bytes of
//     content that are changed show where they no longer decode.
//   - Where Verify finds no damage, every read succeeds.
//
// Sources of the format: Linux, fs/erofs (erofs_fs.h, zmap.c, zdata.c, xattr.c,
// decompressor*.c) of 6.12 and 6.18; erofs-utils, lib and mkfs of 1.5 to 1.9.
//
// Left out: the metabox, data on extra devices, and features that Linux 6.18 does not
// know, which are a tree.ErrUnsupported with the name of the feature. Not written are
// 48-bit addresses, blocks of other sizes than 4096 bytes, long prefixes and filters of
// attribute names, and two algorithms in one file.
package erofs
