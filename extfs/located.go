package extfs

import (
	"bytes"
	"errors"
	"iter"

	"relive/extfs/internal/ondisk"
	"relive/tree"
)

// Range is a part of a file that lies in one piece on the device. All numbers
// are bytes.
type Range struct {
	Logical  int64 // offset in the file
	Physical int64 // offset on the device
	Length   int64
	// Unwritten: allocated, but never written. It reads as zeros, whatever
	// stands on the device.
	Unwritten bool
}

// Located is what the tree.Data of a regular file of an image is as well: it
// tells where the content lies, without reading it.
type Located interface {
	tree.Data
	// Ranges returns what is allocated for the file, in ascending order of
	// Logical, each range as long as it can be; the last ends with the file.
	// What no range covers is a hole. An error ends the sequence: ErrInline
	// where the content stands in the inode.
	//
	// The offsets are those of the device after recovery. Where the journal
	// holds newer content of a range, the device on which the image was opened
	// still has the old one; see [FS.Recovered].
	Ranges() iter.Seq2[Range, error]
}

// ErrInline says that a file has no blocks because its content stands in the
// inode.
var ErrInline = errors.New("the content stands in the inode")

var _ Located = fileData{}

// Ranges implements Located.
func (d fileData) Ranges() iter.Seq2[Range, error] {
	return func(yield func(Range, error) bool) {
		if d.in.has(ondisk.FlInlineData) {
			yield(Range{}, ErrInline)
			return
		}
		f := d.fs.ranges(d.in)
		for {
			r, err := f.next()
			if err != nil {
				yield(Range{}, err)
				return
			}
			if r.Length == 0 || !yield(r, nil) {
				return
			}
		}
	}
}

// rangeReader goes over the ranges of a file.
type rangeReader struct {
	fs    *FS
	in    *inode
	at    uint64 // the next logical block
	end   uint64 // of the file, in blocks
	runs  int    // looked up so far
	limit int    // of runs, 0 for none
}

var errTooManyRuns = errors.New("the file lies in too many pieces")

func (fs *FS) ranges(in *inode) rangeReader {
	return rangeReader{fs: fs, in: in, end: uint64(in.size+fs.geo.blockSize-1) >> fs.geo.blockBits}
}

// next returns the next range, one of no length after the last.
func (f *rangeReader) next() (Range, error) {
	var r run
	for f.at < f.end {
		n, err := f.fs.mapBlock(f.in, f.at)
		if err != nil {
			return Range{}, err
		}
		if f.runs++; f.limit > 0 && f.runs > f.limit {
			return Range{}, errTooManyRuns
		}
		switch {
		case r.length > 0 && !r.continues(n):
			return f.bytes(r), nil
		case r.length > 0:
			r.length += n.length
		case n.physical != 0:
			r = n
		}
		f.at = n.end()
	}
	return f.bytes(r), nil
}

// bytes returns a run in bytes, as far as the file reaches.
func (f *rangeReader) bytes(r run) Range {
	if r.length == 0 {
		return Range{}
	}
	bits := f.fs.geo.blockBits
	start := int64(r.logical << bits)
	end := int64(min(r.end(), f.end) << bits)
	return Range{
		Logical:   start,
		Physical:  int64(r.physical << bits),
		Length:    min(end, f.in.size) - start,
		Unwritten: r.unwritten,
	}
}

// sameBlocksRuns bounds what SameBlocks looks up for one file: more runs than
// this are not compared any faster than bytes.
const sameBlocksRuns = 1 << 20

// SameBlocks reports whether two files, of images on devices of which most is
// alike, hold the same bytes because the same blocks hold them: their sizes and
// ranges are equal, and no byte of these differs between the devices, nor is
// replaced by the replay of either image's journal. changed tells whether any
// of n bytes from off on may differ between the devices on which the images
// were opened. Content that stands in the inodes is compared itself.
//
// True implies equal bytes. False says nothing: the bytes have to be read. It is
// also the answer for data that is not of this package. Work and metadata read
// grow with the number of extents, in files with block maps with that of the
// blocks that hold pointers; content is not read.
func SameBlocks(a, b tree.Data, changed func(off, n int64) bool) (same bool, err error) {
	da, oka := a.(fileData)
	db, okb := b.(fileData)
	if !oka || !okb || da.in.size != db.in.size || da.in.has(ondisk.FlEncrypt) || db.in.has(ondisk.FlEncrypt) {
		return false, nil
	}
	if inline := da.in.has(ondisk.FlInlineData); inline || db.in.has(ondisk.FlInlineData) {
		if !inline || !db.in.has(ondisk.FlInlineData) {
			return false, nil
		}
		return sameInline(da, db)
	}
	fa, fb := da.fs.ranges(da.in), db.fs.ranges(db.in)
	fa.limit, fb.limit = sameBlocksRuns, sameBlocksRuns
	for {
		ra, err := fa.next()
		if err == nil {
			var rb Range
			if rb, err = fb.next(); err == nil && ra != rb {
				return false, nil
			}
		}
		switch {
		case errors.Is(err, errTooManyRuns):
			return false, nil
		case err != nil:
			return false, err
		case ra.Length == 0:
			return true, nil
		case ra.Unwritten:
			continue
		case da.fs.dev.replaced(ra.Physical, ra.Length), db.fs.dev.replaced(ra.Physical, ra.Length), changed(ra.Physical, ra.Length):
			return false, nil
		}
	}
}

// sameInline compares files of one size whose content stands in their inodes.
func sameInline(a, b fileData) (bool, error) {
	pa, err := a.fs.inlineData(a.in)
	if err != nil {
		return false, err
	}
	pb, err := b.fs.inlineData(b.in)
	if err != nil {
		return false, err
	}
	// What the size says beyond the data reads as zeros.
	cut := func(p []byte) []byte { return p[:min(int64(len(p)), a.in.size)] }
	pa, pb = cut(pa), cut(pb)
	n := min(len(pa), len(pb))
	return bytes.Equal(pa[:n], pb[:n]) && tree.IsZero(pa[n:]) && tree.IsZero(pb[n:]), nil
}
