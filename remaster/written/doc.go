// Package written finds out whether a new file holds what was written to it.
//
// A File notes a sum of every range that goes through it. Once the file is on
// the disk, Check reads all of it: every range has its sum, and all between
// them is zero. So a byte that a disk, a cable, a file system or a stick changes
// is found wherever it lies, in padding too, before a new image takes the place
// of an old one; that the bytes mean the right thing is for the reader of the
// format to say.
//
// The sums are of 64 bits with a seed of the process: they tell of accidents, and
// are kept no longer than the process.
package written
