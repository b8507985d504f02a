package extfs

import (
	"fmt"
	"sort"

	"relive/extfs/internal/ondisk"
)

// extentNode is one node of an extent tree: a header and its entries.
type extentNode []byte

func (n extentNode) entries() int { return int(ondisk.LE16(n, ondisk.ExtHdrEntries)) }
func (n extentNode) depth() int   { return int(ondisk.LE16(n, ondisk.ExtHdrDepth)) }

// logical is the first logical block of an entry, in leaves and index nodes.
func (n extentNode) logical(i int) uint64 {
	return uint64(ondisk.LE32(n, ondisk.ExtHeaderSize+i*ondisk.ExtEntrySize+ondisk.ExtBlock))
}

// leaf decodes an extent; unwritten ones are longer than ExtInitMax on disk.
func (n extentNode) leaf(i int) (physical, length uint64, unwritten bool) {
	e := n[ondisk.ExtHeaderSize+i*ondisk.ExtEntrySize:]
	physical = uint64(ondisk.LE32(e, ondisk.ExtStartLo)) | uint64(ondisk.LE16(e, ondisk.ExtStartHi))<<32
	length = uint64(ondisk.LE16(e, ondisk.ExtLen))
	if length > ondisk.ExtInitMax {
		return physical, length - ondisk.ExtInitMax, true
	}
	return physical, length, false
}

// child is the block of the node below an index entry.
func (n extentNode) child(i int) uint64 {
	e := n[ondisk.ExtHeaderSize+i*ondisk.ExtEntrySize:]
	return uint64(ondisk.LE32(e, ondisk.ExtIdxLeafLo)) | uint64(ondisk.LE16(e, ondisk.ExtIdxLeafHi))<<32
}

// find returns the last entry that starts at or before a logical block, -1 where
// all start after it.
func (n extentNode) find(logical uint64) int {
	return sort.Search(n.entries(), func(i int) bool { return n.logical(i) > logical }) - 1
}

// mapExtent looks a logical block up in the extent tree.
func (fs *FS) mapExtent(in *inode, logical uint64) (run, error) {
	if logical > ondisk.ExtMaxLogical {
		return run{logical: logical, length: 1<<63 - logical}, nil
	}
	node := extentNode(in.block[:])
	if err := fs.checkExtentNode(in, node, -1, "root of the extent tree"); err != nil {
		return run{}, err
	}
	low, limit := uint64(0), uint64(ondisk.ExtMaxLogical)+1 // what the node covers
	for {
		n := node.entries()
		i := node.find(logical)
		if i+1 < n {
			limit = min(limit, node.logical(i+1))
		}
		if n > 0 && node.logical(0) < low {
			return run{}, fs.corrupt(in, "extent tree: node for logical blocks from %d holds block %d", low, node.logical(0))
		}
		if i < 0 {
			return fs.hole(logical, limit), nil
		}
		if node.depth() == 0 {
			return fs.leafRun(node, i, logical, limit), nil
		}
		low = node.logical(i)
		var err error
		if node, err = fs.extentBlock(in, node.child(i), node.depth()-1); err != nil {
			return run{}, err
		}
	}
}

// hole returns the hole from a logical block up to limit; one that reaches the
// end of what extents can map has no end.
func (fs *FS) hole(logical, limit uint64) run {
	if limit > ondisk.ExtMaxLogical {
		limit = 1 << 63
	}
	return run{logical: logical, length: limit - logical}
}

// leafRun returns what follows from a logical block that the ith extent starts
// at or before: the rest of the extent, or the hole after it.
func (fs *FS) leafRun(node extentNode, i int, logical, limit uint64) run {
	physical, length, unwritten := node.leaf(i)
	start := node.logical(i)
	if logical >= start+length {
		return fs.hole(logical, limit)
	}
	r := run{logical: start, physical: physical, length: min(start+length, limit) - start, unwritten: unwritten}
	return r.from(logical)
}

// extentBlock returns a node that stands in a block of its own.
func (fs *FS) extentBlock(in *inode, block uint64, depth int) (extentNode, error) {
	if !fs.geo.checkBlocks(block, 1) {
		return nil, fs.corrupt(in, "extent tree: node in block %d, outside of the file system", block)
	}
	p, err := fs.block(block, kindExtents, in.number, func(p []byte) error {
		place := fmt.Sprintf("extent block %d", block)
		if err := fs.checkExtentNode(in, p, depth, place); err != nil {
			return err
		}
		if !fs.geo.metadataCsum() {
			return nil
		}
		end := ondisk.ExtHeaderSize + int(ondisk.LE16(p, ondisk.ExtHdrMax))*ondisk.ExtEntrySize
		want, got := ondisk.LE32(p, end), ondisk.ExtentChecksum(fs.inodeSeed(in), p[:end])
		if want != got {
			return fs.corrupt(in, "%s: checksum is %#08x, the content gives %#08x", place, want, got)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	node := extentNode(p)
	if node.depth() != depth { // the cached block was met at another depth
		return nil, fs.corrupt(in, "extent block %d: depth %d where %d belongs", block, node.depth(), depth)
	}
	return node, nil
}

// checkExtentNode checks a node's header, the order of its entries and that
// they point into the file system; depth -1 takes any. A node in a block ends
// with a checksum, which the root in the inode has not.
func (fs *FS) checkExtentNode(in *inode, p []byte, depth int, place string) error {
	bad := func(fact string, args ...any) error {
		return fs.corrupt(in, "%s: %s", place, fmt.Sprintf(fact, args...))
	}
	if m := ondisk.LE16(p, ondisk.ExtHdrMagic); m != ondisk.ExtMagic {
		return bad("magic number %#04x", m)
	}
	node := extentNode(p)
	slots := (len(p) - ondisk.ExtHeaderSize) / ondisk.ExtEntrySize
	if len(p) > ondisk.InBlockSize && fs.geo.metadataCsum() {
		slots = (len(p) - ondisk.ExtHeaderSize - ondisk.ExtTailSize) / ondisk.ExtEntrySize
	}
	n, most := node.entries(), int(ondisk.LE16(p, ondisk.ExtHdrMax))
	if most == 0 || most > slots || n > most {
		return bad("%d of %d entries in use, room for %d", n, most, slots)
	}
	if d := node.depth(); d > ondisk.ExtMaxDepth || depth >= 0 && d != depth {
		return bad("depth %d", d)
	}
	if n == 0 && node.depth() > 0 {
		return bad("an index node without entries")
	}
	next := uint64(0) // first logical block that the next entry may have
	for i := range n {
		logical := node.logical(i)
		if logical < next {
			return bad("entry %d starts at logical block %d, before %d", i, logical, next)
		}
		if node.depth() > 0 {
			if b := node.child(i); !fs.geo.checkBlocks(b, 1) {
				return bad("entry %d points to block %d, outside of the file system", i, b)
			}
			next = logical + 1
			continue
		}
		physical, length, _ := node.leaf(i)
		next = logical + length
		if length == 0 || next > ondisk.ExtMaxLogical+1 {
			return bad("entry %d: %d blocks from logical block %d", i, length, logical)
		}
		if !fs.geo.checkBlocks(physical, length) {
			return bad("entry %d: %d blocks from block %d, outside of the file system", i, length, physical)
		}
	}
	return nil
}
