// Package dmmerge reads and writes the copy-on-write store of a persistent
// device-mapper snapshot (the "COW", the overlay file of a Fedora LiveOS stick)
// and merges it with its origin, in user space and without device-mapper.
//
// [Open] reads header and metadata; [COW.Status] tells what dmsetup status
// would, and what is left before the store overflows; [COW.Over] lays the COW
// over its origin and gives the device that the kernel would show. [MergeTo]
// writes that device to a file, [MergeInPlace] folds the COW into its origin.
// [Reset], [Grow], [Create], [Recover], [Activate] and [Repack] make sound
// COWs of what there is.
//
// Laws:
//   - The [Device] equals, byte for byte, what the kernel's snapshot target
//     reads of the same pair; where the kernel fails with EIO, so does it, by
//     the name of the entry.
//   - [Status.String] equals the status of a freshly loaded snapshot.
//   - [MergeInPlace] and [Reset] may be ended by a power cut at any write or
//     sync: what origin and COW show together is the same at every point of a
//     merge, and the old or the new state at every point of a reset. A merge
//     that is run again is finished; one that the kernel began is, too.
//   - At no point do entries stand behind a terminator in an area that is in
//     use, where the kernel's next write would bring them back to life.
//   - [Recover] and [Repack] never write to what they read.
//   - Memory is some 24 bytes for each run of exceptions that are consecutive
//     on both sides, and a few buffers; it never depends on a size that the
//     file only claims.
//
// Source of the format: Linux drivers/md/dm-snap-persistent.c, dm-snap.c and
// dm-exception-store.c. docs/dm.md describes it, with the rule for each edge
// case.
//
// Left out: transient snapshots, which store nothing, and thin provisioning.
package dmmerge
