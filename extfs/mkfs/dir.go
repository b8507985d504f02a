package mkfs

import (
	"encoding/binary"
	"slices"
	"strings"

	"relive/extfs/internal/ondisk"
)

// direntry is a name to be written into a directory.
type direntry struct {
	name  string
	ino   uint32
	ftype uint8
}

func direntSize(name string) int {
	return (ondisk.DEName + len(name) + ondisk.DEAlign - 1) &^ (ondisk.DEAlign - 1)
}

// dotsSize is what "." and ".." take together.
const dotsSize = 24

// dirWriter lays out and encodes directories. A directory of one block is a
// list of entries; a longer one is a hash tree where the feature dir_index is
// set and the tree's levels suffice, else a longer list. The sizes depend on
// the names only, so a directory is planned the same way whenever it is asked
// for.
type dirWriter struct {
	feat      FeatureSet
	blockSize int
	hash      dirHash
	seed      uint32

	buf    []byte
	hashed []hashedEntry
	leaves []dirLeaf
}

type hashedEntry struct {
	major, minor uint32
	entry        direntry
}

// dirLeaf is a leaf block of a hash tree: entries from first on, and the hash
// that the index has for it.
type dirLeaf struct {
	first, end int
	hash       uint32
}

// dirPlan is the shape of a directory.
type dirPlan struct {
	blocks  int
	indexed bool
	levels  int // index levels below the root: 0 to 2
	nodes   [2]int
	fanout  int // entries that an index node gets
}

func newDirWriter(feat FeatureSet, blockSize int, hash dirHash, seed uint32) *dirWriter {
	return &dirWriter{feat: feat, blockSize: blockSize, hash: hash, seed: seed, buf: make([]byte, blockSize)}
}

// usable is the room for entries in a block.
func (d *dirWriter) usable() int {
	if d.feat.csum() {
		return d.blockSize - ondisk.DETailSize
	}
	return d.blockSize
}

// indexSlots is the number of index entries in the root and in a node.
func (d *dirWriter) indexSlots() (root, node int) {
	tail := 0
	if d.feat.csum() {
		tail = ondisk.DXTailSize
	}
	return (d.blockSize - ondisk.DXRootEntries - tail) / ondisk.DXEntrySize,
		(d.blockSize - ondisk.DXNodeEntries - tail) / ondisk.DXEntrySize
}

// plan returns the shape of a directory with these entries and at least
// minBlocks blocks. Where it is indexed, leaves are left in d.
func (d *dirWriter) plan(entries []direntry, minBlocks int) dirPlan {
	usable := d.usable()
	blocks, at := 1, dotsSize
	for i := range entries {
		n := direntSize(entries[i].name)
		if at+n > usable {
			blocks++
			at = 0
		}
		at += n
	}
	p := dirPlan{blocks: max(blocks, minBlocks)}
	if blocks == 1 || !d.feat.dirIndex() {
		return p
	}
	d.sortByHash(entries)
	d.cutLeaves()
	root, node := d.indexSlots()
	leaves := len(d.leaves)
	// Nodes are left with some room, as leaves are, so that the first names
	// that the kernel adds do not split every level.
	p.fanout = node - node/8
	if leaves > root*p.fanout {
		p.fanout = node
	}
	n := leaves
	for n > root {
		if p.levels == len(p.nodes) || p.levels == 1 && !d.feat.largeDir() {
			return dirPlan{blocks: max(blocks, minBlocks)}
		}
		n = divCeil(n, p.fanout)
		p.nodes[p.levels] = n
		p.levels++
	}
	p.indexed = true
	p.blocks = 1 + p.nodes[0] + p.nodes[1] + leaves
	return p
}

func (d *dirWriter) sortByHash(entries []direntry) {
	d.hashed = slices.Grow(d.hashed[:0], len(entries))
	for _, e := range entries {
		major, minor := d.hash.sum(e.name)
		d.hashed = append(d.hashed, hashedEntry{major, minor, e})
	}
	slices.SortFunc(d.hashed, func(a, b hashedEntry) int {
		switch {
		case a.major != b.major:
			if a.major < b.major {
				return -1
			}
			return 1
		case a.minor != b.minor:
			if a.minor < b.minor {
				return -1
			}
			return 1
		}
		return strings.Compare(a.entry.name, b.entry.name)
	})
}

// cutLeaves fills leaf blocks to seven eighths. A leaf that begins with the
// hash that the one before ends with is marked as its continuation.
func (d *dirWriter) cutLeaves() {
	d.leaves = d.leaves[:0]
	limit := d.usable() - d.blockSize/8
	leaf, at := dirLeaf{}, 0
	for i := range d.hashed {
		n := direntSize(d.hashed[i].entry.name)
		if at > 0 && at+n > limit {
			leaf.end = i
			d.leaves = append(d.leaves, leaf)
			leaf = dirLeaf{first: i, hash: d.hashed[i].major}
			if d.hashed[i-1].major == leaf.hash {
				leaf.hash |= 1
			}
			at = 0
		}
		at += n
	}
	leaf.end = len(d.hashed)
	d.leaves = append(d.leaves, leaf)
}

// write encodes the directory as planned; emit gets its blocks in order.
func (d *dirWriter) write(entries []direntry, minBlocks int, self, parent uint32, emit func([]byte) error) error {
	p := d.plan(entries, minBlocks)
	seed := ondisk.InodeSeed(d.seed, self, 0)
	if p.indexed {
		return d.writeIndexed(p, seed, self, parent, emit)
	}
	block := d.begin()
	block.add(direntry{".", self, ondisk.FTDir})
	block.add(direntry{"..", parent, ondisk.FTDir})
	done := 0
	for _, e := range entries {
		if !block.fits(e.name) {
			if err := block.finish(seed, emit); err != nil {
				return err
			}
			done++
			block = d.begin()
		}
		block.add(e)
	}
	for {
		if err := block.finish(seed, emit); err != nil {
			return err
		}
		if done++; done >= p.blocks {
			return nil
		}
		block = d.begin()
	}
}

// dirBlock is a block of entries that is being filled.
type dirBlock struct {
	d    *dirWriter
	at   int
	last int // where the last entry begins, -1 before the first
}

func (d *dirWriter) begin() dirBlock {
	clear(d.buf)
	return dirBlock{d, 0, -1}
}

func (b *dirBlock) fits(name string) bool { return b.at+direntSize(name) <= b.d.usable() }

func (b *dirBlock) add(e direntry) {
	p := b.d.buf[b.at:]
	n := direntSize(e.name)
	binary.LittleEndian.PutUint32(p[ondisk.DEInode:], e.ino)
	binary.LittleEndian.PutUint16(p[ondisk.DERecLen:], uint16(n))
	p[ondisk.DENameLen] = uint8(len(e.name))
	if b.d.feat.filetype() {
		p[ondisk.DEFileType] = e.ftype
	}
	copy(p[ondisk.DEName:], e.name)
	b.last = b.at
	b.at += n
}

// finish stretches the last entry to the end of the block and closes it with
// its checksum.
func (b *dirBlock) finish(seed uint32, emit func([]byte) error) error {
	d, usable := b.d, b.d.usable()
	start := max(b.last, 0)
	binary.LittleEndian.PutUint16(d.buf[start+ondisk.DERecLen:], uint16(usable-start))
	if d.feat.csum() {
		tail := d.buf[usable:]
		binary.LittleEndian.PutUint16(tail[ondisk.DERecLen:], ondisk.DETailSize)
		tail[ondisk.DEFileType] = ondisk.DETailFileType
		binary.LittleEndian.PutUint32(tail[ondisk.DETailCsum:], ondisk.DirentTailChecksum(seed, d.buf[:usable]))
	}
	return emit(d.buf)
}

// indexEntry is an entry of an index block.
type indexEntry struct {
	hash  uint32
	block uint32
}

// writeIndexed writes the root, then the index nodes from the top down, then
// the leaves.
func (d *dirWriter) writeIndexed(p dirPlan, seed, self, parent uint32, emit func([]byte) error) error {
	// levels[0] points to leaves, the next one to the nodes of levels[0].
	firstLeaf := 1 + p.nodes[0] + p.nodes[1]
	entries := make([]indexEntry, len(d.leaves))
	for i, l := range d.leaves {
		entries[i] = indexEntry{l.hash, uint32(firstLeaf + i)}
	}
	levels := [][]indexEntry{entries}
	next := firstLeaf
	for level := range p.levels {
		below := levels[level]
		next -= p.nodes[level]
		var up []indexEntry
		for i := 0; i < len(below); i += p.fanout {
			up = append(up, indexEntry{below[i].hash, uint32(next + len(up))})
		}
		levels = append(levels, up)
	}
	rootSlots, nodeSlots := d.indexSlots()

	root := d.begin()
	root.add(direntry{".", self, ondisk.FTDir})
	root.add(direntry{"..", parent, ondisk.FTDir})
	binary.LittleEndian.PutUint16(d.buf[12+ondisk.DERecLen:], uint16(d.blockSize-12))
	info := d.buf[ondisk.DXRootInfo:]
	info[ondisk.DXInfoHash] = ondisk.HashHalfMD4
	info[ondisk.DXInfoLen] = ondisk.DXInfoSize
	info[ondisk.DXInfoLevels] = uint8(p.levels)
	if err := d.finishIndex(levels[p.levels], ondisk.DXRootEntries, rootSlots, seed, emit); err != nil {
		return err
	}
	for level := p.levels - 1; level >= 0; level-- {
		for rest := levels[level]; len(rest) > 0; {
			n := min(len(rest), p.fanout)
			clear(d.buf)
			binary.LittleEndian.PutUint16(d.buf[ondisk.DERecLen:], uint16(d.blockSize))
			if err := d.finishIndex(rest[:n], ondisk.DXNodeEntries, nodeSlots, seed, emit); err != nil {
				return err
			}
			rest = rest[n:]
		}
	}
	for _, l := range d.leaves {
		block := d.begin()
		for _, h := range d.hashed[l.first:l.end] {
			block.add(h.entry)
		}
		if err := block.finish(seed, emit); err != nil {
			return err
		}
	}
	return nil
}

// finishIndex puts the entries into the index block in d.buf and closes it.
func (d *dirWriter) finishIndex(entries []indexEntry, at, slots int, seed uint32, emit func([]byte) error) error {
	le := binary.LittleEndian
	for i, e := range entries {
		le.PutUint32(d.buf[at+i*ondisk.DXEntrySize:], e.hash)
		le.PutUint32(d.buf[at+i*ondisk.DXEntrySize+4:], e.block)
	}
	// The first entry has no hash: limit and count stand there.
	le.PutUint16(d.buf[at:], uint16(slots))
	le.PutUint16(d.buf[at+2:], uint16(len(entries)))
	if d.feat.csum() {
		tail := at + slots*ondisk.DXEntrySize
		le.PutUint32(d.buf[tail+4:], ondisk.DXChecksum(seed, d.buf, at, len(entries), tail))
	}
	return emit(d.buf)
}
