package filedata

import (
	"io"

	"relive/tree"
)

// Ranges remembers the last range of data that a content told of, so that a walk
// through it asks only once a range.
type Ranges struct {
	Content    tree.Content
	start, end int64
	known, eof bool
}

// Has reports whether [from, to) may hold data; from never decreases.
func (r *Ranges) Has(from, to int64) (bool, error) {
	for !r.eof && (!r.known || r.end <= from) {
		start, end, err := r.Content.NextData(from)
		if err == io.EOF {
			r.eof = true
			break
		}
		if err != nil {
			return false, err
		}
		r.start, r.end, r.known = start, end, true
		if end <= from {
			return true, nil // a source that cannot tell
		}
	}
	return !r.eof && r.start < to, nil
}

// Holed reports whether there is a hole in the content, which has that size.
func (r *Ranges) Holed(size int64) (bool, error) {
	start, end, err := r.Content.NextData(0)
	if err == io.EOF {
		return true, nil
	}
	return start > 0 || end < size, err
}

// Whole is the size from which a file's holes are looked at, in bytes.
const Whole = 1 << 20

// Bytes returns how much of a file's content is not in holes. Small files count whole.
func Bytes(d tree.Data, size int64) (n int64, err error) {
	if size < Whole {
		return size, nil
	}
	c, err := d.Open()
	if err != nil {
		return 0, err
	}
	defer c.Close()
	for off := int64(0); off < size; {
		start, end, err := c.NextData(off)
		if err == io.EOF {
			break
		}
		if err != nil {
			return 0, err
		}
		n += end - max(start, off)
		off = max(end, off+1)
	}
	return n, nil
}
