package mkfs

import (
	"math/bits"

	"relive/extfs/internal/ondisk"
	"relive/tree"
)

// The sizes that mke2fs.conf knows apart, and the block size and bytes per
// inode that Debian's gives for each.
const (
	floppySize = 3 << 20
	smallSize  = 512 << 20
	bigSize    = 4 << 40
	hugeSize   = 16 << 40

	flexLog           = 4  // 16 groups share their metadata's place
	lastGroupSlack    = 50 // mke2fs drops a last group that has not that many blocks to spare
	maxJournalBlocks  = 10240000
	lostFoundSize     = 16 << 10
	maxOrphanBlocks   = 512
	defaultReserved   = 5.0
	defaultInodeRatio = 16384
)

// defaultBlockSize is the block size that mke2fs takes for an image of size
// bytes.
func defaultBlockSize(size int64) int {
	if size > 0 && size < smallSize {
		return 1024
	}
	return 4096
}

// inodeRatio is the bytes per inode that mke2fs takes for an image of size
// bytes.
func inodeRatio(size int64) int64 {
	switch {
	case size < floppySize:
		return 8192
	case size < smallSize:
		return 4096
	case size < bigSize:
		return defaultInodeRatio
	case size < hugeSize:
		return 32768
	}
	return 65536
}

// defaultJournalBlocks is mke2fs's rule (ext2fs_default_journal_size), 0 where
// the file system is too small for a journal.
func defaultJournalBlocks(blocks uint64) uint32 {
	switch {
	case blocks < 2048:
		return 0
	case blocks < 32768:
		return 1024
	case blocks < 256<<10:
		return 4096
	case blocks < 512<<10:
		return 8192
	case blocks < 4096<<10:
		return 16384
	case blocks < 8192<<10:
		return 32768
	case blocks < 16384<<10:
		return 65536
	case blocks < 32768<<10:
		return 131072
	}
	return 262144
}

// defaultOrphanBlocks is mke2fs's rule (ext2fs_default_orphan_file_blocks).
func defaultOrphanBlocks(blocks uint64) uint32 {
	switch {
	case blocks < 128<<10:
		return 32
	case blocks < 2<<20:
		return uint32(blocks / 4096)
	}
	return maxOrphanBlocks
}

// groupTables is where the bitmaps and the inode table of a group lie.
type groupTables struct {
	blockBitmap, inodeBitmap, inodeTable uint64
}

// layout is the fixed part of a file system: sizes, and the place of
// everything that does not depend on the tree. It follows ext2fs_initialize,
// ext2fs_allocate_tables and write_journal_inode of e2fsprogs.
type layout struct {
	feat      FeatureSet
	size      int64
	blockSize int
	inodeSize int

	blocks         uint64
	firstData      uint32
	blocksPerGroup uint32
	groups         uint32
	inodesPerGroup uint32
	itableBlocks   uint32
	inodes         uint32
	descSize       int
	descBlocks     uint32
	reservedGDT    uint32
	reserved       uint64
	overhead       uint64

	tables       []groupTables
	used         *bitmap
	resizeBlock  uint64 // the double indirect block of the resize inode
	journal      []blockRun
	journalTree  []blockRun // blocks of its extent tree or indirect blocks
	journalLen   uint32
	orphan       []blockRun
	orphanTree   []blockRun
	orphanBlocks uint32
}

// newLayout lays out an image of size bytes that has room for at least
// wantInodes inodes, where the caller did not fix their number.
func newLayout(o *resolved, size int64, wantInodes uint64) (*layout, error) {
	g := &layout{
		feat: o.feat, size: size, blockSize: o.blockSize, inodeSize: o.inodeSize,
		descSize: ondisk.GDSizeMin,
	}
	if o.feat.wide() {
		g.descSize = ondisk.GDSizeMin64
	}
	if o.blockSize == 1024 {
		g.firstData = 1
	}
	param := uint64(size) / uint64(o.blockSize)
	if param >= 1<<32 && !o.feat.wide() {
		return nil, tree.Unsupported(o.Name, "size", "%d bytes are more than 2^32 blocks, which needs the feature 64bit", size)
	}
	inodes, err := o.inodeCount(size, param, wantInodes)
	if err != nil {
		return nil, err
	}
	if err := g.sizeGroups(o, param, inodes); err != nil {
		return nil, err
	}
	if err := g.placeTables(o); err != nil {
		return nil, err
	}
	if err := g.placeSpecial(o); err != nil {
		return nil, err
	}
	return g, nil
}

// inodeCount is the number of inodes to ask for, before it is rounded up to
// fill the inode tables.
func (o *resolved) inodeCount(size int64, blocks, want uint64) (uint64, error) {
	if o.Inodes > 0 {
		return uint64(o.Inodes), nil
	}
	ratio := o.BytesPerInode
	if ratio == 0 {
		ratio = inodeRatio(size)
	}
	n := blocks * uint64(o.blockSize) / uint64(ratio)
	if o.BytesPerInode == 0 && n < want {
		// Every group may lose some when its number is rounded.
		groups := blocks/uint64(o.blockSize*8) + 1
		n = want + want/16 + 8*groups
	}
	if n > 1<<32-1 {
		if !o.feat.wide() {
			return 0, tree.Unsupported(o.Name, "inodes", "%d are more than 2^32", n)
		}
		n = 1<<32 - 1
	}
	return n, nil
}

func divCeil[T uint32 | uint64 | int | int64](a, b T) T { return (a + b - 1) / b }

// tooSmall is the error of a size that holds no file system at all.
func (g *layout) tooSmall(o *resolved) error {
	have := uint64(g.size) / uint64(g.blockSize)
	return &NoSpaceError{Image: o.Name, What: "blocks", Needed: max(g.minimumBlocks(), have+1), Available: have, BlockSize: g.blockSize}
}

// minimumBlocks is about what a file system with nothing in it takes.
func (g *layout) minimumBlocks() uint64 {
	return uint64(g.firstData) + 1 + uint64(g.descBlocks+g.reservedGDT) + 2 + uint64(g.itableBlocks) + lastGroupSlack
}

// sizeGroups chooses the number and size of groups and inode tables.
func (g *layout) sizeGroups(o *resolved, param, wantInodes uint64) error {
	bs := uint64(g.blockSize)
	reserved := uint64(o.reservedPercent * float64(param) / 100.0)
	g.reserved = reserved
	g.blocks = param
	bpg := min(uint32(bs*8), 65528)
	for {
		if g.blocks <= uint64(g.firstData) {
			return g.tooSmall(o)
		}
		g.blocksPerGroup = bpg
		groups := divCeil(g.blocks-uint64(g.firstData), uint64(bpg))
		if groups > 1<<31 {
			return tree.Unsupported(o.Name, "size", "gives %d block groups", groups)
		}
		g.groups = uint32(groups)
		descPerBlock := uint32(g.blockSize / g.descSize)
		g.descBlocks = divCeil(g.groups, descPerBlock)

		ipg := divCeil(wantInodes, groups)
		maxIPG := uint64(min(bs*8, 65536-bs/uint64(g.inodeSize)))
		if ipg > bs*8 {
			if bpg >= 256 {
				// Shorter groups are more groups.
				bpg -= 8
				g.blocks = param
				continue
			}
			return &NoSpaceError{Image: o.Name, What: "inodes", Needed: wantInodes, Available: bs * 8 * groups}
		}
		ipg = min(ipg, maxIPG)
		for {
			perTable := divCeil(ipg*uint64(g.inodeSize), bs)
			n := perTable * bs / uint64(g.inodeSize)
			n = max(n, 8) &^ 7
			g.inodesPerGroup = uint32(n)
			g.itableBlocks = uint32(divCeil(n*uint64(g.inodeSize), bs))
			if n*groups > 1<<32-1 {
				ipg--
				continue
			}
			if n*groups < ondisk.InoFirstOld+1 {
				ipg += 8
				continue
			}
			g.inodes = uint32(n * groups)
			break
		}
		g.reservedGDT = 0
		if g.feat.resize() {
			g.reservedGDT = g.reservedDescBlocks()
		}
		if g.reservedGDT+g.descBlocks > bpg*3/4 {
			if bpg < uint32(bs*8)/2 {
				return &NoSpaceError{Image: o.Name, What: "inodes", Needed: wantInodes, Available: divCeil(param, bs*8) * bs * 8}
			}
			return tree.Unsupported(o.Name, "size", "%d bytes need the feature meta_bg with %d-byte blocks", g.size, g.blockSize)
		}
		if uint64(3+g.itableBlocks+g.reservedGDT+g.descBlocks) > uint64(bpg) {
			return &NoSpaceError{Image: o.Name, What: "inodes", Needed: wantInodes,
				Available: uint64(bpg-g.reservedGDT-g.descBlocks) * bs / uint64(g.inodeSize) * groups}
		}
		overhead := uint64(2 + g.itableBlocks)
		if g.hasSuper(g.groups - 1) {
			overhead += uint64(1 + g.descBlocks + g.reservedGDT)
		}
		rem := (g.blocks - uint64(g.firstData)) % uint64(bpg)
		if g.groups == 1 && rem != 0 && rem < overhead {
			return g.tooSmall(o)
		}
		if rem != 0 && rem < overhead+lastGroupSlack {
			if g.groups == 1 {
				return g.tooSmall(o)
			}
			g.blocks -= rem
			ratio := 100.0 * float64(reserved) / float64(param)
			g.reserved = uint64(ratio * float64(g.blocks) / 100.0)
			continue
		}
		if o.ReservedBlocks != 0 {
			// Half at most, as mke2fs has it.
			g.reserved = min(o.ReservedBlocks, g.blocks/2)
		}
		return nil
	}
}

// reservedDescBlocks is calc_reserved_gdt_blocks: room for growing to 1024
// times the size.
func (g *layout) reservedDescBlocks() uint32 {
	maxBlocks := uint64(1<<32 - 1)
	if g.blocks < maxBlocks/1024 {
		maxBlocks = g.blocks * 1024
	}
	groups := divCeil(maxBlocks-uint64(g.firstData), uint64(g.blocksPerGroup))
	n := divCeil(groups, uint64(g.blockSize/g.descSize))
	if n <= uint64(g.descBlocks) {
		return 0
	}
	return uint32(min(n-uint64(g.descBlocks), uint64(g.blockSize/4)))
}

// hasSuper reports whether a group begins with a copy of the superblock and the
// group descriptors.
func (g *layout) hasSuper(group uint32) bool {
	return group <= 1 || g.feat.ROCompat&ondisk.ROSparseSuper == 0 || ondisk.SparseSuperGroup(group)
}

// groupStart is the first block of a group.
func (g *layout) groupStart(group uint32) uint64 {
	return uint64(g.firstData) + uint64(group)*uint64(g.blocksPerGroup)
}

// groupEnd is the block after the last one of a group.
func (g *layout) groupEnd(group uint32) uint64 {
	return min(g.groupStart(group)+uint64(g.blocksPerGroup), g.blocks)
}

// placeTables marks superblocks and descriptors and finds places for bitmaps
// and inode tables.
func (g *layout) placeTables(o *resolved) error {
	g.used = newBitmap(g.blocks)
	g.used.setRange(0, uint64(g.firstData))
	for group := range g.groups {
		if g.hasSuper(group) {
			start := g.groupStart(group)
			g.used.setRange(start, start+1+uint64(g.descBlocks+g.reservedGDT))
		}
	}
	g.tables = make([]groupTables, g.groups)
	for group := range g.groups {
		if !g.placeGroup(group) {
			return g.tooSmall(o)
		}
	}
	g.overhead = g.used.countUsed(0, g.blocks)
	return nil
}

func (g *layout) placeGroup(group uint32) bool {
	flex := uint32(0)
	lastGroup := group
	if g.feat.flexBG() {
		flex = 1 << flexLog
		lastGroup = min(group|(flex-1), g.groups-1)
	}
	remaining := uint64(lastGroup - group + 1)
	last := g.groupEnd(group) - 1
	flexLast := g.groupEnd(lastGroup) - 1
	t := &g.tables[group]
	find := func(start, n uint64) (uint64, bool) {
		if flex == 0 {
			return g.used.findRun(g.groupStart(group), last, n, uint64(g.firstData))
		}
		start = g.flexStart(group, lastGroup, start, remaining, n)
		at, ok := g.used.findRun(start, flexLast, n, uint64(g.firstData))
		if !ok && n == 1 {
			at, ok = g.used.findRun(g.groupStart(group), flexLast, n, uint64(g.firstData))
		}
		return at, ok
	}

	tableOffset := uint64(flex)
	var prev groupTables
	follows := flex != 0 && group%flex != 0
	if follows {
		prev = g.tables[group-1]
	} else if flex != 0 && lastGroup == g.groups-1 {
		if n := lastGroup & (flex - 1); n != 0 {
			tableOffset = uint64(n) + 1
		}
	}

	start := uint64(0)
	if follows {
		start = prev.blockBitmap + 1
	}
	var ok bool
	if t.blockBitmap, ok = find(start, 1); !ok {
		return false
	}
	g.used.set(t.blockBitmap)

	start = t.blockBitmap + tableOffset
	if follows {
		start = prev.inodeBitmap + 1
	}
	if t.inodeBitmap, ok = find(start, 1); !ok {
		return false
	}
	g.used.set(t.inodeBitmap)

	start = t.inodeBitmap + tableOffset
	if follows {
		start = prev.inodeTable + uint64(g.itableBlocks)
	}
	if t.inodeTable, ok = find(start, uint64(g.itableBlocks)); !ok {
		return false
	}
	g.used.setRange(t.inodeTable, t.inodeTable+uint64(g.itableBlocks))
	return true
}

// flexStart is flexbg_offset: where in a flex group to look for an element.
func (g *layout) flexStart(group, lastGroup uint32, start, remaining, elem uint64) uint64 {
	first := uint64(g.firstData)
	size := min(remaining*elem, uint64(g.blocksPerGroup)/4)
	if start != 0 && start < g.blocks {
		if at, ok := g.used.findRun(start, start+size, elem, first); ok {
			return at
		}
	}
	begin := g.groupStart(group &^ (1<<flexLog - 1))
	last := g.groupEnd(lastGroup) - 1
	if at, ok := g.used.findRun(begin, last, size, first); ok {
		return at
	}
	if at, ok := g.used.findRun(begin, last, elem, first); ok {
		return at
	}
	at, _ := g.used.findRun(0, last, elem, first)
	return at
}

// placeSpecial returns the resize inode, the journal and the orphan file their
// blocks.
func (g *layout) placeSpecial(o *resolved) error {
	if g.feat.resize() {
		c := cursor{used: g.used}
		r := c.take(1, nil)
		if c.at > g.blocks {
			return g.tooSmall(o)
		}
		g.resizeBlock = r[0].start
		g.used.set(g.resizeBlock)
	}
	if g.feat.journal() {
		n, err := g.journalBlocks(o)
		if err != nil {
			return err
		}
		if n == 0 {
			g.feat.Compat &^= ondisk.CompatHasJournal | ondisk.CompatOrphanFile
		} else if g.journal, g.journalTree, err = g.placeFile(o, g.journalGoal(), n); err != nil {
			return err
		}
		g.journalLen = n
		g.overhead += uint64(n)
	}
	if g.feat.orphanFile() {
		var err error
		g.orphanBlocks = defaultOrphanBlocks(g.blocks)
		if g.orphan, g.orphanTree, err = g.placeFile(o, 0, g.orphanBlocks); err != nil {
			return err
		}
	}
	return nil
}

// journalBlocks is the length of the journal; 0 is none, as mke2fs does where
// the file system is too small for one.
func (g *layout) journalBlocks(o *resolved) (uint32, error) {
	n := o.JournalBlocks
	if n == 0 {
		return defaultJournalBlocks(g.blocks), nil
	}
	if n < ondisk.JBDMinBlocks || n > maxJournalBlocks {
		return 0, tree.Unsupported(o.Name, "journal", "of %d blocks, must be %d to %d", n, ondisk.JBDMinBlocks, maxJournalBlocks)
	}
	free := g.blocks - g.used.countUsed(0, g.blocks)
	if uint64(n) > free/2 {
		return 0, &NoSpaceError{Image: o.Name, What: "blocks for the journal", Needed: uint64(n), Available: free / 2,
			BlockSize: g.blockSize}
	}
	return n, nil
}

// journalGoal is get_midpoint_journal_block: the middle of the file system.
func (g *layout) journalGoal() uint64 {
	mid := uint32((g.blocks - uint64(g.firstData)) / 2 / uint64(g.blocksPerGroup))
	free := func(group uint32) uint64 {
		return g.groupEnd(group) - g.groupStart(group) - g.used.countUsed(g.groupStart(group), g.groupEnd(group))
	}
	start := mid
	if g.feat.flexBG() && mid > 1<<flexLog {
		mid &^= 1<<flexLog - 1
		for mid < g.groups && free(mid) == 0 {
			mid++
		}
		if mid == g.groups {
			mid = 0
		}
		start = mid
	} else if mid > 0 {
		start = mid - 1
	}
	best := start
	for group := start + 1; group <= min(mid+1, g.groups-1); group++ {
		if free(group) > free(best) {
			best = group
		}
	}
	return g.groupStart(best)
}

// placeFile takes n blocks and the blocks that map them, from goal on and from
// the beginning where there is not room enough after goal.
func (g *layout) placeFile(o *resolved, goal uint64, n uint32) (data, meta []blockRun, err error) {
	whole := []logicalRun{{0, n}}
	for _, from := range [...]uint64{goal, 0} {
		c := cursor{used: g.used, at: from}
		data = c.take(uint64(n), nil)
		count, err := g.mapBlocks(o, whole, data)
		if err != nil {
			return nil, nil, err
		}
		meta = c.take(uint64(count), nil)
		if c.at <= g.blocks {
			for _, r := range append(data, meta...) {
				g.used.setRange(r.start, r.start+r.n)
			}
			return data, meta, nil
		}
	}
	free := g.blocks - g.used.countUsed(0, g.blocks)
	return nil, nil, &NoSpaceError{Image: o.Name, What: "blocks for the journal", Needed: uint64(n), Available: free,
		BlockSize: g.blockSize}
}

// inodeOffset returns the byte offset of an inode in the image.
func (g *layout) inodeOffset(ino uint32) int64 {
	group := (ino - 1) / g.inodesPerGroup
	index := (ino - 1) % g.inodesPerGroup
	return int64(g.tables[group].inodeTable)*int64(g.blockSize) + int64(index)*int64(g.inodeSize)
}

// logBlockSize is s_log_block_size.
func (g *layout) logBlockSize() uint32 {
	return uint32(bits.TrailingZeros32(uint32(g.blockSize))) - 10
}
