// Package independent holds what relive writes against readers that others
// wrote: squashfs and FAT images and partition tables against
// diskfs/go-diskfs, ISO images against that and kdomanski/iso9660.
//
// A test here demands that such a reader shows what was written. Where one is
// wrong by the format's own documents, the test says so and demands the wrong
// answer, so that a version that answers otherwise is noticed; each of these is
// told in docs/dependencies.md. There is nothing but tests: relive itself
// imports none of these modules.
package independent
