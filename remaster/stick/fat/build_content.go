package fat

import (
	"fmt"
	"io"
	"sync"

	"relive/tree"
)

// image is a file system that is put together where it is read.
type image struct {
	geometry
	size    int64
	media   byte
	head    []segment // what lies before the heap, without gaps
	tail    []segment // what lies behind the volume
	runs    []run     // by cluster
	objects []object
}

// segment is a range of the image.
type segment struct {
	start, length int64
	// One of these, or none for zeros.
	mem   []byte // zeros follow
	table bool
	below tree.Content // the image that is being rewritten, at the same place
	file  *object      // its content from at on
	index int32
	at    int64
}

func (s *segment) end() int64 { return s.start + s.length }

// addHead puts a segment behind those that there are.
func (img *image) addHead(s segment) {
	if n := len(img.head); n > 0 {
		s.start = img.head[n-1].end()
	}
	img.head = append(img.head, s)
}

// Open implements tree.Data.
func (img *image) Open() (tree.Content, error) { return &imageContent{img: img}, nil }

// segment returns what lies at an offset within the image, at most to the end of
// what is alike.
func (img *image) segment(off int64) segment {
	heap := img.heap()
	if off < heap {
		for _, s := range img.head {
			if off < s.end() {
				return s
			}
		}
		return segment{start: off, length: heap - off}
	}
	volume := img.total * img.sector
	if off >= volume {
		for _, s := range img.tail {
			if off < s.end() {
				return s
			}
		}
		return segment{start: off, length: img.size - off}
	}
	size := img.clusterSize()
	i := img.runAt(uint32((off-heap)/size) + firstCluster)
	if i == len(img.runs) {
		return segment{start: off, length: volume - off}
	}
	r := &img.runs[i]
	start := heap + int64(r.first-firstCluster)*size
	if off < start {
		return segment{start: off, length: start - off}
	}
	s := segment{start: start, length: int64(r.count) * size, at: r.at, index: r.object}
	o := &img.objects[r.object]
	if o.data == nil {
		s.mem = o.entries[min(r.at, int64(len(o.entries))):]
		return s
	}
	// What the last cluster has left is zeros.
	if data := min(s.length, o.size-r.at); off < start+data {
		s.length, s.file = data, o
	} else {
		s.start, s.length = start+data, s.length-data
	}
	return s
}

// openFiles is how many files of an image are open at once, as far as no more
// are read at the same time.
const openFiles = 8

// imageContent reads an image.
type imageContent struct {
	img *image

	mu    sync.Mutex
	clock int64
	slots [openFiles]slot
}

// slot is a file that is open.
type slot struct {
	object  int32
	content tree.Content // nil for a free slot
	readers int
	last    int64
}

// Size implements tree.Content.
func (c *imageContent) Size() int64 { return c.img.size }

// Close implements tree.Content.
func (c *imageContent) Close() (err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.slots {
		if s := &c.slots[i]; s.content != nil {
			if e := s.content.Close(); err == nil {
				err = e
			}
			s.content = nil
		}
	}
	return err
}

// with calls fn with the content of a file.
func (c *imageContent) with(s *segment, fn func(tree.Content) error) (err error) {
	c.mu.Lock()
	c.clock++
	var use *slot
	for i := range c.slots {
		k := &c.slots[i]
		if k.content != nil && k.object == s.index {
			use = k
			break
		}
		if k.readers == 0 && (use == nil || k.last < use.last) {
			use = k
		}
	}
	if use == nil || use.content == nil || use.object != s.index {
		content, err := openWhole(s.file)
		if err != nil {
			c.mu.Unlock()
			return err
		}
		if use == nil {
			// All are being read.
			c.mu.Unlock()
			defer content.Close()
			return named(s.file, fn(content))
		}
		if use.content != nil {
			use.content.Close()
		}
		*use = slot{object: s.index, content: content}
	}
	use.readers++
	use.last = c.clock
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		use.readers--
		c.mu.Unlock()
	}()
	return named(s.file, fn(use.content))
}

// named adds a file's path to an error.
func named(o *object, err error) error {
	if err != nil {
		err = fmt.Errorf("%s: %w", tree.Quote(o.path), err)
	}
	return err
}

// openWhole opens a file, which must have the size that the tree said.
func openWhole(o *object) (tree.Content, error) {
	content, err := o.data.Open()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", tree.Quote(o.path), err)
	}
	if n := content.Size(); n != o.size {
		content.Close()
		return nil, fmt.Errorf("%s: has %d bytes, no longer %d", tree.Quote(o.path), n, o.size)
	}
	return content, nil
}

// ReadAt implements io.ReaderAt.
func (c *imageContent) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("read at offset %d", off)
	}
	if off >= c.img.size {
		return 0, io.EOF
	}
	var short error
	if int64(len(p)) > c.img.size-off {
		p, short = p[:c.img.size-off], io.EOF
	}
	for done := 0; done < len(p); {
		s := c.img.segment(off + int64(done))
		in := off + int64(done) - s.start
		n := int(min(int64(len(p)-done), s.length-in))
		if err := c.read(&s, p[done:done+n], in); err != nil {
			return done, err
		}
		done += n
	}
	return len(p), short
}

// read reads from a segment, within it.
func (c *imageContent) read(s *segment, p []byte, in int64) error {
	switch {
	case s.file != nil:
		return c.with(s, func(f tree.Content) error { return tree.ReadFull(f, p, s.at+in) })
	case s.below != nil:
		return tree.ReadFull(s.below, p, s.start+in)
	case s.table:
		c.img.table(p, in)
	default:
		clear(p[copy(p, s.mem[min(in, int64(len(s.mem))):]):])
	}
	return nil
}

// NextData implements tree.Content: free clusters, the rest of last ones and the
// holes of files are holes.
func (c *imageContent) NextData(off int64) (start, end int64, err error) {
	for off = max(off, 0); off < c.img.size; {
		s := c.img.segment(off)
		start, end = off, s.end()
		switch {
		case s.file != nil:
			err = c.with(&s, func(f tree.Content) error {
				start, end, err = dataIn(f, off, s, s.at-s.start)
				return err
			})
		case s.below != nil:
			start, end, err = dataIn(s.below, off, s, 0)
		case s.table:
			end = min(end, s.start+c.img.tableBytes())
		default:
			end = min(end, s.start+int64(len(s.mem)))
		}
		if err != nil {
			return 0, 0, err
		}
		if start < end {
			return start, end, nil
		}
		off = s.end()
	}
	return 0, 0, io.EOF
}

// dataIn is the NextData of a segment whose bytes lie in f, shifted.
func dataIn(f tree.Content, off int64, s segment, shift int64) (start, end int64, err error) {
	start, end, err = f.NextData(off + shift)
	if err == io.EOF {
		return s.end(), s.end(), nil
	}
	return max(start-shift, off), min(end-shift, s.end()), err
}
