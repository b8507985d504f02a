package kernel

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"

	"relive/tree"
)

// Segment returns a compressed archive that, put behind an initrd, makes a file
// there, or puts another in its place: the kernel unpacks what lies in an initrd
// one after the other. The directory that the path is in must be in the initrd.
// The same file gives the same bytes.
func Segment(path string, content []byte) []byte {
	var b bytes.Buffer
	put := func(name string, mode int, content []byte) {
		// Inode, mode, owner, group, links, time, size, four numbers of devices, the
		// length of the name with its NUL, a sum that is not used.
		fmt.Fprintf(&b, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%s\x00", 1, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0,
			len(name)+1, 0, name)
		b.Write(make([]byte, -b.Len()&3))
		b.Write(content)
		b.Write(make([]byte, -b.Len()&3))
	}
	put(path, regular|0o644, content)
	put("TRAILER!!!", 0, nil)
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, _ = z.Write(b.Bytes()) // a buffer has no errors
	_ = z.Close()
	return out.Bytes()
}

// Behind is an initrd of that many bytes with a segment behind it.
func Behind(initrd tree.Data, size int64, segment []byte) tree.Data {
	return extended{initrd, size, segment}
}

type extended struct {
	tree.Data
	size    int64
	segment []byte
}

// Open implements tree.Data.
func (e extended) Open() (tree.Content, error) {
	c, err := e.Data.Open()
	if err != nil {
		return nil, err
	}
	if c.Size() != e.size {
		return nil, errors.Join(fmt.Errorf("the initrd has %d bytes, not %d", c.Size(), e.size), c.Close())
	}
	return extendedContent{c, e}, nil
}

type extendedContent struct {
	tree.Content
	of extended
}

// Size implements tree.Content.
func (c extendedContent) Size() int64 { return c.of.size + int64(len(c.of.segment)) }

// ReadAt implements tree.Content.
func (c extendedContent) ReadAt(p []byte, off int64) (n int, err error) {
	if off < c.of.size {
		k := min(int64(len(p)), c.of.size-off)
		if n, err = c.Content.ReadAt(p[:k], off); int64(n) < k {
			return n, err
		}
	}
	if n == len(p) {
		return n, nil
	}
	at := off + int64(n) - c.of.size
	if at < 0 || at >= int64(len(c.of.segment)) {
		return n, io.EOF
	}
	k := copy(p[n:], c.of.segment[at:])
	if n += k; n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// NextData implements tree.Content.
func (c extendedContent) NextData(off int64) (start, end int64, err error) {
	if off < c.of.size {
		start, end, err = c.Content.NextData(off)
		if err != io.EOF {
			return start, end, err
		}
		off = c.of.size
	}
	if off >= c.Size() {
		return 0, 0, io.EOF
	}
	return off, c.Size(), nil
}
