// Package fat reads FAT12, FAT16, FAT32 and exFAT file systems, which sticks are
// formatted with, as a tree, and makes images of the first three: those that UEFI
// firmware boots from.
//
// [Open] reads. [NewPlan] lays out a new file system of a tree, [Rewrite] gives an
// image with an edited tree, which keeps what the edit is not about. Neither
// writes: the result is content that is put together where it is read.
//
// Laws:
//   - What [FS.Root] shows are the names and the content that Linux's vfat and
//     exfat show; a long name whose checksum does not fit its short name is passed
//     over as there, and the short name stands.
//   - Content is read where it is asked for: memory is a cache of 256 KiB of the
//     allocation table, one mark for 1024 clusters of an opened file, the list of the
//     directory that is being read, and some bytes for each directory that was seen.
//   - A chain of clusters that loops, leaves the volume or ends early, and a
//     directory that stands in two places, are errors: a walk ends.
//   - What is built is read as the tree that was given: every name, type, size and
//     byte, and times in steps of two seconds. fsck.fat finds nothing in it. The same
//     tree and options give the same bytes. In memory are directories as FAT has
//     them and some hundred bytes for each file; allocation tables and content are
//     not, whatever the size.
//   - Rewriting where nothing changes gives the image itself.
//
// What the format has no place for is as a mount as root with default options
// has it: owner 0:0, mode 0755, for read-only files 0555. Times of FAT are local
// times of an unknown place; they are taken for UTC, as a kernel whose clock is
// set to UTC does, and so do not depend on where relive runs. Times of exFAT carry
// their offset where the writer knew it.
//
// Lookups ignore case by Unicode's simple folding (the up-case table of exFAT is
// not read), an exact match comes first. Short names are read as code page 437.
// UTF-16 that is not well formed is kept apart as what UTF-8 would make of the
// lone surrogate. Names may be longer than the 255 bytes that other file systems
// allow: the limit is 255 UTF-16 units.
//
// Sources of the formats: Microsoft, "FAT: General Overview of On-Disk Format",
// version 1.03; Microsoft, "exFAT file system specification", revision 1.00; Linux
// Documentation/filesystems/vfat.rst for names.
//
// Left out: writing in place; building exFAT; the second FAT, unless a FAT32 volume or exFAT says that it
// is the active one; TexFAT; vendor extensions of exFAT, which are passed over as
// the specification asks.
package fat
