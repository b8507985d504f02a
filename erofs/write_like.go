package erofs

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"strings"

	"relive/codec"
	"relive/erofs/internal/ondisk"
	"relive/tree"
)

// WriteOptionsLike gives the options that make an image like r, as far as it tells:
// levels of compression are the defaults, which no image tells of. An image that has
// what is not written is a tree.ErrUnsupported that names it: 48-bit addresses and
// what comes with them, blocks of another size than BlockSize.
func WriteOptionsLike(r *Reader) (WriteOptions, error) {
	o, err := inspect(r)
	if err != nil {
		return WriteOptions{}, err
	}
	if o == nil {
		var names []string
		if r.super.Incompat&ondisk.Incompat48Bit != 0 {
			names = append(names, fmt.Sprintf("48-bit addresses (feature 48BIT, 0x%x)", ondisk.Incompat48Bit))
		}
		if r.blockBits != writeBits {
			names = append(names, fmt.Sprintf("blocks of %d bytes, not %d", r.blockSize, BlockSize))
		}
		return WriteOptions{}, tree.Unsupported(r.name, "superblock", "the image has %s, which are read and not written",
			strings.Join(names, " and "))
	}
	return *o, nil
}

// inspected bounds how much of an image is looked at to find its options.
const (
	inspectedNodes   = 20000
	inspectedExtents = 20000
)

// inspector looks at an image for how it was made.
type inspector struct {
	r       *Reader
	o       *WriteOptions
	extents int
	most    int // stored bytes of an extent
	own     bool
	packed  int64 // the longest file that is a fragment as a whole
	full    bool
	nodes   int
	// compact and extended count inodes; beside counts ends beside inodes, and apart
	// those that could be.
	compact, extended int
	beside, apart     int
}

// inspect finds the options that make an image like r, or nil where it has what is not
// written.
func inspect(r *Reader) (*WriteOptions, error) {
	s := &r.super
	if s.Incompat&ondisk.Incompat48Bit != 0 || r.blockBits != writeBits {
		return nil, nil
	}
	o := &WriteOptions{Configs: s.Incompat&ondisk.IncompatConfigs != 0, Tails: s.Incompat&ondisk.IncompatTails != 0,
		Epoch: tree.Time{Sec: s.Epoch, Nsec: s.FixedNsec}, NullUUID: s.UUID == [16]byte{},
		Label: strings.TrimRight(string(s.Label[:]), "\x00"), UnsharedXattrs: 2}
	for i, a := range r.algos {
		if !a.used || !o.Configs && s.Incompat&ondisk.IncompatZeroPadding == 0 {
			continue
		}
		o.Compressions = append(o.Compressions, r.compression(codec.Raw(i)))
	}
	n := &inspector{r: r, o: o}
	if err := n.look(); err != nil {
		return nil, err
	}
	if len(o.Compressions) == 0 && n.own {
		// LZ4 as of old: nothing but a compressed file tells of it.
		o.Compressions, o.Legacy = []Compression{r.compression(codec.RawLZ4)}, true
	}
	if a := r.algos[codec.RawLZ4]; a.used && a.blocks > 0 {
		n.most = max(n.most, a.blocks<<writeBits)
	}
	// Few extents are as long as they may be; sizes are powers of two by custom.
	o.PclusterSize = 1 << bits.Len(uint(max(n.most, BlockSize)-1))
	if !o.Configs {
		o.PclusterSize = BlockSize
	}
	if s.Incompat&ondisk.IncompatFragments != 0 {
		o.Fragments = s.PackedNID != 0
		o.Dedupe = n.full || !o.Fragments
		o.AllFragments = o.Fragments && !n.own && n.packed > 8*int64(o.PclusterSize)
	}
	if s.Incompat&ondisk.IncompatChunks != 0 && o.ChunkSize == 0 {
		o.ChunkSize = BlockSize
	}
	o.Compact = n.compact > n.extended
	o.NoInline = n.beside == 0 && n.apart > 0
	return o, nil
}

// compression gives what the image says of an algorithm.
func (r *Reader) compression(algo codec.Raw) Compression {
	a := &r.algos[algo]
	c := Compression{Algorithm: algo}
	switch algo {
	case codec.RawLZ4:
		c.Distance = a.distance
		c.Options.Level = 12
	case codec.MicroLZMA:
		c.Options.Dictionary = uint32(a.window)
	case codec.RawDeflate:
		c.Options.WindowBits = a.bits
	case codec.RawZstd:
		c.Options.WindowLog = uint8(bits.Len(uint(a.window)) - 1)
	}
	return c
}

var errEnough = errors.New("enough was seen")

func (n *inspector) look() error {
	if c, ok := n.r.packed.(*content); ok {
		if err := n.content(c, true); err != nil && err != errEnough {
			return err
		}
	}
	n.own = false
	n.extents = 0
	root, err := n.r.Root()
	if err != nil {
		return err
	}
	err = tree.WalkReadable(context.Background(), root, n.node, func(string, error) error { return nil })
	if err == errEnough {
		err = nil
	}
	return err
}

func (n *inspector) node(_ string, node *tree.Node) error {
	if n.nodes++; n.nodes > inspectedNodes {
		return errEnough
	}
	in, err := n.r.readInode(node.Inode.Number)
	if err != nil {
		return nil //nolint:nilerr // whoever reads it will tell
	}
	if in.Extended() {
		n.extended++
	} else {
		n.compact++
	}
	d, ok := node.Data.(*fileData)
	if !ok || d.size == 0 {
		return nil
	}
	switch d.layout {
	case ondisk.FlatInline:
		n.beside++
	case ondisk.FlatPlain:
		if tail := d.size % BlockSize; tail > 0 && d.tail%BlockSize+tail <= BlockSize {
			n.apart++
		}
	case ondisk.ChunkBased:
		if size := int64(BlockSize) << (d.chunk & ondisk.ChunkBitsMask); size <= chunkSizeMax {
			n.o.ChunkSize = max(n.o.ChunkSize, size)
		}
	default:
		c, err := d.Open()
		if err != nil {
			return nil //nolint:nilerr // as above
		}
		return n.content(c.(*content), false)
	}
	return nil
}

// content looks at the extents of a file.
func (n *inspector) content(c *content, packed bool) error {
	f, ok := c.pieces.(*compressed)
	if !ok {
		return nil
	}
	return f.each(func(i int, e *extent) error {
		switch {
		case e.form == formFragment && e.start == 0:
			n.packed = max(n.packed, e.len())
			return nil
		case e.form == formFragment || e.inline:
		default:
			n.most = max(n.most, e.stored)
		}
		if i == 0 {
			n.own = n.own || !packed
			n.full = n.full || c.d.layout == ondisk.CompressedFull
		}
		n.full = n.full || e.partial
		if n.extents++; n.extents > inspectedExtents {
			return errEnough
		}
		return nil
	})
}
