// Package ondisk has what the reader and the builder of ext file systems share:
// the numbers of the format, its checksums and the two forms of a POSIX ACL.
//
// Offsets are constants and not structs: fields are read and written where they
// are, in buffers whose length the caller has checked. Source: Linux fs/ext4,
// fs/jbd2 and Documentation/filesystems/ext4.
package ondisk
