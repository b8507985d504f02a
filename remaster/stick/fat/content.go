package fat

import (
	"fmt"
	"io"

	"relive/tree"
)

// fileData is a file that is not open.
type fileData struct {
	fs       *FS
	name     string
	first    uint32
	size     int64
	valid    int64 // of size, what holds data; zeros follow
	straight bool
}

// Open implements tree.Data. It follows the file's chain of clusters to its end.
func (d *fileData) Open() (tree.Content, error) {
	open := d.fs.openChain
	if d.straight {
		open = d.fs.straightChain
	}
	c, err := open("file "+tree.Quote(d.name), d.first, d.fs.vol.clustersOf(d.size))
	if err != nil {
		return nil, err
	}
	return &content{d, c}, nil
}

// Mapped is content of which it is known where it lies. The Content of every
// file of this package is one.
type Mapped interface {
	tree.Content
	// Extent returns the place of the byte at off in the volume, and how many
	// bytes, at least one, follow it there. Past the last byte that is stored it
	// gives io.EOF: the rest of the file reads as zeros.
	Extent(off int64) (at, length int64, err error)
}

type content struct {
	d     *fileData
	chain *chain
}

// Size implements tree.Content.
func (c *content) Size() int64 { return c.d.size }

// Close implements tree.Content.
func (c *content) Close() error { return nil }

// Extent implements Mapped.
func (c *content) Extent(off int64) (at, length int64, err error) {
	return c.extent(off, c.d.valid)
}

// extent is Extent, looking no further than until.
func (c *content) extent(off, until int64) (at, length int64, err error) {
	if off < 0 {
		return 0, 0, fmt.Errorf("%s: offset %d", c.d.fs.name, off)
	}
	if until = min(until, c.d.valid); off >= until {
		return 0, 0, io.EOF
	}
	v := &c.d.fs.vol
	index := off >> v.clusterBits
	cluster, n, err := c.chain.run(index, v.clustersOf(until)-index)
	if err != nil {
		return 0, 0, err
	}
	in := off - index<<v.clusterBits
	return v.offset(cluster) + in, min(n<<v.clusterBits-in, until-off), nil
}

// ReadAt implements io.ReaderAt. Clusters that lie one after another are read at
// once.
func (c *content) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("%s: read at offset %d", c.d.fs.name, off)
	}
	if off >= c.d.size {
		return 0, io.EOF
	}
	var short error
	if int64(len(p)) > c.d.size-off {
		p, short = p[:c.d.size-off], io.EOF
	}
	for done := 0; done < len(p); {
		at, n, err := c.extent(off+int64(done), off+int64(len(p)))
		if err == io.EOF {
			clear(p[done:])
			break
		}
		if err != nil {
			return done, err
		}
		if err := c.d.fs.read(p[done:done+int(n)], at); err != nil {
			return done, err
		}
		done += int(n)
	}
	return len(p), short
}

// NextData implements tree.Content. Neither format has holes; what exFAT has
// set aside and not written yet is one.
func (c *content) NextData(off int64) (start, end int64, err error) {
	return tree.WholeData(max(off, 0), c.d.valid)
}
