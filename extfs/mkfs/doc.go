// Package mkfs builds fresh ext4 images from a tree, in user space and without
// mounting.
//
// [Build] lays the whole file system out first, which is when a tree that does
// not fit or cannot be stored is refused, and then writes it from start to end;
// it never reads what it wrote. [Measure] tells how much room a tree takes, and
// [Like] what options make an image like another.
//
// Laws:
//   - extfs reads back the tree that was built, and so does the kernel; e2fsck
//     finds nothing to mend.
//   - The same tree and options give the same bytes.
//   - An image whose building was interrupted is not a file system: the
//     superblock is written last.
//   - With the zero value of [Options] layout and counts are those of mke2fs -t
//     ext4 of Debian 12.
//
// Source of the format: as for package extfs.
package mkfs
