package mkfs

import (
	"encoding/binary"

	"relive/extfs/internal/ondisk"
	"relive/tree"
)

// logicalRun is a range of blocks of a file: n from block start on.
type logicalRun struct{ start, n uint32 }

// extent maps n blocks of a file from logical on to blocks of the image from
// phys on; n is at most ExtInitMax.
type extent struct {
	logical uint32
	n       uint32
	phys    uint64
}

// appendExtents maps the logical runs onto the physical ones, in order, as few
// extents as that takes. Both have equally many blocks.
func appendExtents(out []extent, logical []logicalRun, phys []blockRun) []extent {
	i, used := 0, uint64(0)
	for _, l := range logical {
		at, left := l.start, l.n
		for left > 0 {
			n := min(uint64(left), phys[i].n-used, ondisk.ExtInitMax)
			out = addExtent(out, extent{at, uint32(n), phys[i].start + used})
			at += uint32(n)
			left -= uint32(n)
			if used += n; used == phys[i].n {
				i, used = i+1, 0
			}
		}
	}
	return out
}

// addExtent appends e, or lengthens the last extent by it where they touch.
func addExtent(out []extent, e extent) []extent {
	if k := len(out); k > 0 {
		last := &out[k-1]
		if last.logical+last.n == e.logical && last.phys+uint64(last.n) == e.phys && last.n < ondisk.ExtInitMax {
			n := min(e.n, ondisk.ExtInitMax-last.n)
			last.n += n
			e.logical, e.n, e.phys = e.logical+n, e.n-n, e.phys+uint64(n)
			if e.n == 0 {
				return out
			}
		}
	}
	return append(out, e)
}

// The most entries that the inode's i_block holds.
const extRootMax = (ondisk.InBlockSize - ondisk.ExtHeaderSize) / ondisk.ExtEntrySize

// extentSlots is the number of entries in a block of an extent tree.
func extentSlots(blockSize int) int { return (blockSize - ondisk.ExtHeaderSize) / ondisk.ExtEntrySize }

// extentBlocks is the number of blocks that the tree above n extents takes
// beside the inode.
func extentBlocks(n, blockSize int) int {
	total := 0
	for n > extRootMax {
		n = divCeil(n, extentSlots(blockSize))
		total += n
	}
	return total
}

// indirectBlocks is the number of indirect blocks, of all levels, that map the
// logical runs; ok is false where a block is past what three levels reach.
func indirectBlocks(logical []logicalRun, blockSize int) (count uint64, ok bool) {
	perBlock := uint64(blockSize / 4)
	reach := [...]uint64{ondisk.DirectBlocks, perBlock, perBlock * perBlock, perBlock * perBlock * perBlock}
	// Indirect blocks that neighbouring runs share count once: seen[t][h] is
	// how many of tree t at height h, in order of their place, were reached.
	var seen [4][4]uint64
	for _, r := range logical {
		start, end := uint64(r.start), uint64(r.start)+uint64(r.n)
		base := uint64(ondisk.DirectBlocks)
		for t := 1; t <= 3; t++ {
			from, to := max(start, base), min(end, base+reach[t])
			span := uint64(1)
			for h := 1; h <= t && from < to; h++ {
				span *= perBlock
				first := max((from-base)/span, seen[t][h])
				if past := (to-1-base)/span + 1; past > first {
					count += past - first
					seen[t][h] = past
				}
			}
			base += reach[t]
		}
		if end > base {
			return 0, false
		}
	}
	return count, true
}

// mapBlocks is the number of blocks that map a file with these runs.
func (g *layout) mapBlocks(o *resolved, logical []logicalRun, phys []blockRun) (uint32, error) {
	if g.feat.extents() {
		n := 0
		g.eachExtent(logical, phys, func() { n++ })
		return uint32(extentBlocks(n, g.blockSize)), nil
	}
	n, ok := indirectBlocks(logical, g.blockSize)
	if !ok {
		return 0, tree.Unsupported(o.Name, "content", "is longer than indirect blocks of %d bytes reach", g.blockSize)
	}
	return uint32(n), nil
}

// eachExtent calls f for every extent that appendExtents gives.
func (g *layout) eachExtent(logical []logicalRun, phys []blockRun, f func()) {
	i, used := 0, uint64(0)
	var end extent // the extent that is growing
	for _, l := range logical {
		at, left := l.start, l.n
		for left > 0 {
			n := uint32(min(uint64(left), phys[i].n-used, ondisk.ExtInitMax))
			start := phys[i].start + used
			grow := uint32(0)
			if end.n > 0 && end.logical+end.n == at && end.phys+uint64(end.n) == start && end.n < ondisk.ExtInitMax {
				grow = min(n, ondisk.ExtInitMax-end.n)
				end.n += grow
			}
			if grow < n {
				f()
				end = extent{at + grow, n - grow, start + uint64(grow)}
			}
			at += n
			left -= n
			if used += uint64(n); used == phys[i].n {
				i, used = i+1, 0
			}
		}
	}
}

// blockList gives block numbers out of runs, one after the other.
type blockList struct {
	runs []blockRun
	used uint64
}

func (l *blockList) next() (uint64, bool) {
	if len(l.runs) == 0 {
		return 0, false
	}
	b := l.runs[0].start + l.used
	if l.used++; l.used == l.runs[0].n {
		l.runs, l.used = l.runs[1:], 0
	}
	return b, true
}

// mapWriter makes an inode's i_block from its extents and writes the blocks of
// the extent tree or the indirect blocks.
type mapWriter struct {
	feat      FeatureSet
	blockSize int
	seed      uint32 // of the file system's checksums
	write     func(block uint64, p []byte) error

	buf    []byte
	level  []treeEntry
	parent []treeEntry
	ind    [3]indirectBuf
}

// treeEntry is an index entry of an extent tree: the first logical block below
// it, and the block it points to.
type treeEntry struct {
	logical uint32
	block   uint64
}

// indirectBuf is the indirect block of one level that is being filled.
type indirectBuf struct {
	block  uint64
	number uint64
	data   []byte
}

func newMapWriter(feat FeatureSet, blockSize int, seed uint32, write func(uint64, []byte) error) *mapWriter {
	m := &mapWriter{feat: feat, blockSize: blockSize, seed: seed, write: write, buf: make([]byte, blockSize)}
	if !feat.extents() {
		for i := range m.ind {
			m.ind[i].data = make([]byte, blockSize)
		}
	}
	return m
}

// put fills iblock (60 bytes). It takes the blocks it needs from meta and
// tells how many those were.
func (m *mapWriter) put(iblock []byte, ino uint32, extents []extent, meta *blockList) (uint32, error) {
	clear(iblock)
	if m.feat.extents() {
		return m.putExtents(iblock, ino, extents, meta)
	}
	return m.putIndirect(iblock, extents, meta)
}

func putExtentHeader(p []byte, entries, limit, depth int) {
	le := binary.LittleEndian
	le.PutUint16(p[ondisk.ExtHdrMagic:], ondisk.ExtMagic)
	le.PutUint16(p[ondisk.ExtHdrEntries:], uint16(entries))
	le.PutUint16(p[ondisk.ExtHdrMax:], uint16(limit))
	le.PutUint16(p[ondisk.ExtHdrDepth:], uint16(depth))
	le.PutUint32(p[ondisk.ExtHdrGen:], 0)
}

func putExtentLeaves(p []byte, extents []extent) {
	le := binary.LittleEndian
	for i, e := range extents {
		q := p[ondisk.ExtHeaderSize+i*ondisk.ExtEntrySize:]
		le.PutUint32(q[ondisk.ExtBlock:], e.logical)
		le.PutUint16(q[ondisk.ExtLen:], uint16(e.n))
		le.PutUint16(q[ondisk.ExtStartHi:], uint16(e.phys>>32))
		le.PutUint32(q[ondisk.ExtStartLo:], uint32(e.phys))
	}
}

func putExtentIndexes(p []byte, entries []treeEntry) {
	le := binary.LittleEndian
	for i, e := range entries {
		q := p[ondisk.ExtHeaderSize+i*ondisk.ExtEntrySize:]
		le.PutUint32(q[ondisk.ExtIdxBlock:], e.logical)
		le.PutUint32(q[ondisk.ExtIdxLeafLo:], uint32(e.block))
		le.PutUint16(q[ondisk.ExtIdxLeafHi:], uint16(e.block>>32))
		le.PutUint16(q[ondisk.ExtIdxLeafHi+2:], 0)
	}
}

func (m *mapWriter) putExtents(iblock []byte, ino uint32, extents []extent, meta *blockList) (uint32, error) {
	if len(extents) <= extRootMax {
		putExtentHeader(iblock, len(extents), extRootMax, 0)
		putExtentLeaves(iblock, extents)
		return 0, nil
	}
	used := uint32(0)
	slots := extentSlots(m.blockSize)
	seed := ondisk.InodeSeed(m.seed, ino, 0)
	emit := func() (uint64, error) {
		block, ok := meta.next()
		if !ok {
			return 0, tree.Corrupt("", "extent tree", "outgrew its plan")
		}
		used++
		if m.feat.csum() {
			end := ondisk.ExtHeaderSize + slots*ondisk.ExtEntrySize
			binary.LittleEndian.PutUint32(m.buf[end:], ondisk.ExtentChecksum(seed, m.buf[:end]))
		}
		return block, m.write(block, m.buf)
	}
	m.level = m.level[:0]
	for len(extents) > 0 {
		n := min(len(extents), slots)
		clear(m.buf)
		putExtentHeader(m.buf, n, slots, 0)
		putExtentLeaves(m.buf, extents[:n])
		block, err := emit()
		if err != nil {
			return used, err
		}
		m.level = append(m.level, treeEntry{extents[0].logical, block})
		extents = extents[n:]
	}
	depth := 1
	for ; len(m.level) > extRootMax; depth++ {
		m.parent = m.parent[:0]
		for rest := m.level; len(rest) > 0; {
			n := min(len(rest), slots)
			clear(m.buf)
			putExtentHeader(m.buf, n, slots, depth)
			putExtentIndexes(m.buf, rest[:n])
			block, err := emit()
			if err != nil {
				return used, err
			}
			m.parent = append(m.parent, treeEntry{rest[0].logical, block})
			rest = rest[n:]
		}
		m.level, m.parent = m.parent, m.level
	}
	putExtentHeader(iblock, len(m.level), extRootMax, depth)
	putExtentIndexes(iblock, m.level)
	return used, nil
}

func (m *mapWriter) putIndirect(iblock []byte, extents []extent, meta *blockList) (uint32, error) {
	le := binary.LittleEndian
	perBlock := uint64(m.blockSize / 4)
	used := uint32(0)
	for i := range m.ind {
		m.ind[i].block = 0
	}
	flush := func(level int) error {
		b := &m.ind[level]
		if b.block == 0 {
			return nil
		}
		err := m.write(b.block, b.data)
		b.block = 0
		return err
	}
	// open makes the indirect block with that number the current one of its
	// level (0 is next to the data); fresh tells that it is new.
	open := func(level int, number uint64) (fresh bool, err error) {
		b := &m.ind[level]
		if b.block != 0 && b.number == number {
			return false, nil
		}
		if err := flush(level); err != nil {
			return false, err
		}
		block, ok := meta.next()
		if !ok {
			return false, tree.Corrupt("", "indirect blocks", "outgrew their plan")
		}
		used++
		b.block, b.number = block, number
		clear(b.data)
		return true, nil
	}
	place := func(logical, phys uint64) error {
		if logical < ondisk.DirectBlocks {
			le.PutUint32(iblock[logical*4:], uint32(phys))
			return nil
		}
		at := logical - ondisk.DirectBlocks
		top := 0
		span := perBlock
		for at >= span {
			at -= span
			span *= perBlock
			top++
		}
		// The number of a block in its level is unique across the trees: it
		// counts from the tree that it belongs to.
		below := span
		for level := top; level >= 0; level-- {
			fresh, err := open(level, uint64(top)<<48|at/below)
			if err != nil {
				return err
			}
			if fresh {
				if level == top {
					le.PutUint32(iblock[(ondisk.DirectBlocks+top)*4:], uint32(m.ind[level].block))
				} else {
					slot := at / below % perBlock
					le.PutUint32(m.ind[level+1].data[slot*4:], uint32(m.ind[level].block))
				}
			}
			below /= perBlock
		}
		le.PutUint32(m.ind[0].data[at%perBlock*4:], uint32(phys))
		return nil
	}
	for _, e := range extents {
		for i := range uint64(e.n) {
			if err := place(uint64(e.logical)+i, e.phys+i); err != nil {
				return used, err
			}
		}
	}
	for level := range m.ind {
		if err := flush(level); err != nil {
			return used, err
		}
	}
	return used, nil
}
