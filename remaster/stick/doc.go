// Package stick opens block devices and images of sticks: it finds what is on
// them and shows the file systems inside as trees, without mounting.
//
// A disk with a partition table gives its partitions; one without gives the file
// system that fills it, as partition 0. A hybrid image, an ISO 9660 file system
// with a table in its first sector, gives both: the whole first, because live
// systems find themselves by its label, then the partitions; those that show the
// whole's file system once more say so ([Partition.SameAs]).
//
// A boot sector of FAT, exFAT or NTFS wins over a partition table in the same
// sector: mkfs.fat writes one there that covers the whole disk. Any other file
// system that is found beside a table is a leftover, and the table wins.
//
// Laws:
//   - File systems are never changed. The bytes of a file can be overwritten where
//     they lie ([Stick.InPlace]): no name, size, time or table changes by it, so
//     that a crash leaves what a crash of any write leaves, old or new sectors of
//     that file, and a file system as whole as before.
//   - Kinds, labels and UUIDs are what blkid prints.
//   - One unreadable partition does not hide the others: its error is in its Err,
//     and names what was found there and what to do.
//
// Read are FAT and exFAT (package fat), ext2, ext3 and ext4 (package extfs) and
// ISO 9660 (package iso). Others are known by their magic numbers, and named.
package stick
