// Package overlay is the algebra of layers: it gives the union of a stack of
// trees, the upper ones of which are overlayfs or aufs layers, as one tree, and
// the layer that makes one tree of another.
//
// Laws:
//   - Merge(upper, lower) with a clean base equals what Linux's overlayfs shows
//     of the same pair: names, types, permissions, owners, device numbers, link
//     targets, times, extended attributes, hard-link groups and content.
//   - Merging an empty upper over a base gives the base, but for the root's own
//     metadata, which are the upper's. Merging the same upper twice gives what
//     merging it once gives.
//   - A directory that only the base holds is the base's own node, so whoever
//     compares the union with its base may skip it at sight. (An inode index in
//     use, or [CleanBase], gives such directories an identity of their own.)
//   - Content is never copied: a node's Data is that of the layer that holds it.
//   - Nothing is kept between calls: a directory is merged when it is listed.
//   - Merge(Difference(lower, merged), lower) is merged, for the kernel too, and
//     nothing in that layer can be left out.
//
// The overlayfs rules are those of the kernel's fs/overlayfs (namei.c for the
// look-up through layers, util.c for the marks, xattrs.c for what is private,
// readdir.c for what is listed) and of
// Documentation/filesystems/overlayfs.rst, as of Linux 6.7 and later, mounted
// with redirects and metacopy followed. The aufs rules are those of aufs's
// branch format (aufs(5), "whiteout" and "opaque").
//
// Left out: data-only lower layers ("lowerdir+::datadir"), fs-verity checks of
// metacopy digests (the digest's form is checked, the content not), NFS export
// entries of the index (they name directories and change no view), and every kind
// of writing.
package overlay
