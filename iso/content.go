package iso

import (
	"fmt"
	"io"
	"sort"

	"relive/tree"
)

// extent is a run of a file's bytes, from the start of a logical block.
type extent struct {
	block uint32
	bytes uint32
}

// file is the content of a regular file, before it is opened.
type file struct {
	d      *dir
	name   string
	first  extent
	more   []extent // of files in several sections
	stored int64    // bytes in all extents
	zisofs *zisofs  // how they are compressed, nil where they are not
	sparse bool
}

func (f *file) place() string { return "file " + tree.Quote(f.d.join(f.name)) }

// Open implements tree.Data.
func (f *file) Open() (tree.Content, error) {
	img := f.d.img
	if f.sparse {
		return nil, tree.Unsupported(img.name, f.place(), "a sparse file (SF) of Rock Ridge")
	}
	c := &content{img: img, place: f.place, extents: make([]section, 0, 1+len(f.more))}
	// Few files have more than one section.
	for i := -1; i < len(f.more); i++ {
		e := f.first
		if i >= 0 {
			e = f.more[i]
		}
		if e.bytes == 0 {
			continue
		}
		off := img.vol.offset(e.block)
		if off+int64(e.bytes) > img.size {
			return nil, img.pastEnd(f.place(), off, int64(e.bytes))
		}
		c.size += int64(e.bytes)
		c.extents = append(c.extents, section{off, c.size})
	}
	if f.zisofs != nil {
		return openZisofs(img, f, c)
	}
	return c, nil
}

// section is a part of a content: where it starts in the image, and where it
// ends in the content, in bytes.
type section struct{ at, end int64 }

// content is a file's stored bytes.
type content struct {
	img     *Image
	place   func() string
	size    int64
	extents []section
}

// Size implements tree.Content.
func (c *content) Size() int64 { return c.size }

// Close implements tree.Content.
func (c *content) Close() error { return nil }

// NextData implements tree.Content: the format knows of no holes.
func (c *content) NextData(off int64) (start, end int64, err error) {
	return tree.WholeData(max(off, 0), c.size)
}

// ReadAt implements io.ReaderAt.
func (c *content) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("%s: %s: read at offset %d", c.img.name, c.place(), off)
	}
	if off >= c.size {
		return 0, io.EOF
	}
	var eof error
	if int64(len(p)) > c.size-off {
		p, eof = p[:c.size-off], io.EOF
	}
	i := sort.Search(len(c.extents), func(i int) bool { return c.extents[i].end > off })
	done := 0
	for ; done < len(p); i++ {
		start := int64(0)
		if i > 0 {
			start = c.extents[i-1].end
		}
		at := off + int64(done)
		q := p[done:][:min(int64(len(p)-done), c.extents[i].end-at)]
		if err := tree.ReadFull(c.img.r, q, c.extents[i].at+at-start); err != nil {
			return done, fmt.Errorf("%s: %s: read %d bytes at %d: %w", c.img.name, c.place(), len(q), c.extents[i].at+at-start, err)
		}
		done += len(q)
	}
	return done, eof
}
