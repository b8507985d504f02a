// Package probe finds out what a file or device holds: which file system,
// container, archive or partition table, and its label and UUID.
//
// It is what everything in relive asks that must tell one thing from another,
// above all before it writes: what is not recognised here may be taken for empty
// and overwritten.
//
// Laws:
//   - Kind, Label and UUID are what blkid -p prints, where blkid knows the kind.
//     The exceptions are in the doc comments: an ISO 9660 file system with UDF
//     beside it (a bridge disc) is ISO 9660 here, and a damaged superblock is
//     still of its kind, since to call it empty would be worse.
//   - Nothing is written, and at most a few hundred KiB are read, whatever the
//     size.
//   - The answer depends on the bytes and the size alone.
//   - Content that decides nothing is [Unknown]; only errors of the reader itself
//     are errors.
//
// The places and values of the magic numbers are those of libblkid
// (util-linux, libblkid/src/superblocks and src/partitions), and for archives
// and images of disks those of file(1).
package probe
