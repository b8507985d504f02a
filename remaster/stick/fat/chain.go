package fat

import (
	"fmt"
	"sync"

	"relive/tree"
)

// firstCluster is the number of the first cluster of the heap.
const firstCluster = 2

const (
	pageBits  = 12 // log2 of the bytes of the table that are read at once
	pageCount = 64
	// markBits is log2 of how many clusters of a file share a mark.
	markBits = 10
)

// table is the file allocation table, of which some pages are in memory.
type table struct {
	mu     sync.Mutex
	entry  uint // bytes of an entry, 0 for FAT12
	length int64
	eoc    uint32 // this and all above end a chain
	mask   uint32
	whole  []byte // all of a FAT12
	pages  [pageCount][]byte
	held   [pageCount]int64 // which page of the table, plus one
}

// openTable makes the table ready.
func (fs *FS) openTable() error {
	n := int64(fs.vol.clusters) + firstCluster
	switch t := &fs.fat; fs.vol.kind {
	case FAT12:
		// At most six kilobytes, and entries that share bytes.
		t.whole, t.eoc, t.mask = make([]byte, (n*3+1)/2), 0xFF8, 0xFFF
		return fs.read(t.whole, fs.vol.fat)
	case FAT16:
		t.entry, t.length, t.eoc, t.mask = 2, n*2, 0xFFF8, 0xFFFF
	case FAT32:
		t.entry, t.length, t.eoc, t.mask = 4, n*4, 0xFFFFFF8, 0xFFFFFFF
	case ExFAT:
		t.entry, t.length, t.eoc, t.mask = 4, n*4, 0xFFFFFFFF, 0xFFFFFFFF
	}
	return nil
}

// value reads the entry of a valid cluster. The table is locked.
func (fs *FS) value(cluster uint32) (uint32, error) {
	t := &fs.fat
	if t.entry == 0 {
		at := cluster + cluster/2
		return uint32(le.Uint16(t.whole[at:])) >> (cluster & 1 * 4) & t.mask, nil
	}
	at := int64(cluster) * int64(t.entry)
	number := at >> pageBits
	slot := number % pageCount
	if t.held[slot] != number+1 {
		if t.pages[slot] == nil {
			t.pages[slot] = make([]byte, 1<<pageBits)
		}
		start := number << pageBits
		t.held[slot] = 0
		if err := fs.read(t.pages[slot][:min(1<<pageBits, t.length-start)], fs.vol.fat+start); err != nil {
			return 0, err
		}
		t.held[slot] = number + 1
	}
	p := t.pages[slot][at&(1<<pageBits-1):]
	if t.entry == 2 {
		return uint32(le.Uint16(p)), nil
	}
	return le.Uint32(p) & t.mask, nil
}

// next returns the cluster that follows in a chain; end is true where none does.
// The table is locked.
func (fs *FS) next(cluster uint32) (next uint32, end bool, err error) {
	v, err := fs.value(cluster)
	switch {
	case err != nil:
		return 0, false, err
	case v >= fs.fat.eoc:
		return 0, true, nil
	case !fs.vol.valid(v):
		return 0, false, tree.Corrupt(fs.name, fmt.Sprintf("cluster %d", cluster), "followed by cluster %d of %d", v, fs.vol.clusters)
	}
	return v, false, nil
}

// loopGuard notices that a chain loops, within three times the number of its
// different clusters and in no memory (Brent's algorithm): a small image must not
// cost what the largest could.
type loopGuard struct {
	at          uint32 // a cluster that the chain came by
	steps, next int64  // since then; until it is replaced
}

// loops takes the next cluster.
func (g *loopGuard) loops(cluster uint32) bool {
	if cluster == g.at {
		return true
	}
	if g.steps++; g.steps > g.next {
		g.at, g.steps, g.next = cluster, 0, 2*g.next+1
	}
	return false
}

// chain is the clusters of a file, in order.
type chain struct {
	fs    *FS
	first uint32
	count int64
	// straight: the clusters follow one another, as most do, and those of exFAT
	// that the table knows nothing of.
	straight bool
	marks    []uint32 // every 1<<markBits-th cluster, where it is not straight

	mu   sync.Mutex
	at   int64 // index of the cluster that was found last
	here uint32
}

// openChain follows a chain of count clusters to its end. More clusters may
// follow, which a file system sets aside for a file that grows.
func (fs *FS) openChain(what string, first uint32, count int64) (*chain, error) {
	c := &chain{fs: fs, first: first, count: count, straight: true, here: first}
	if count == 0 {
		return c, nil
	}
	bad := func(fact string, args ...any) (*chain, error) { return nil, tree.Corrupt(fs.name, what, fact, args...) }
	if !fs.vol.valid(first) {
		return bad("begins in cluster %d of %d", first, fs.vol.clusters)
	}
	if count > int64(fs.vol.clusters) {
		return bad("%d clusters of the %d that there are", count, fs.vol.clusters)
	}
	fs.fat.mu.Lock()
	defer fs.fat.mu.Unlock()
	cluster, guard := first, loopGuard{at: first}
	for i := int64(0); ; i++ {
		if i < count && i&(1<<markBits-1) == 0 {
			c.marks = append(c.marks, cluster)
		}
		next, end, err := fs.next(cluster)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", what, err)
		}
		if end {
			if i+1 < count {
				return bad("ends after %d of %d clusters", i+1, count)
			}
			break
		}
		if i+1 < count && next != cluster+1 {
			c.straight = false
		}
		if guard.loops(next) {
			return bad("its chain of clusters loops")
		}
		cluster = next
	}
	if c.straight {
		c.marks = nil
	}
	return c, nil
}

// straightChain is a chain of which the table knows nothing.
func (fs *FS) straightChain(what string, first uint32, count int64) (*chain, error) {
	if count > 0 && (!fs.vol.valid(first) || count > int64(fs.vol.clusters)-int64(first-firstCluster)) {
		return nil, tree.Corrupt(fs.name, what, "%d clusters from cluster %d of %d", count, first, fs.vol.clusters)
	}
	return &chain{fs: fs, first: first, count: count, straight: true}, nil
}

// run returns the cluster at an index, and how many follow one another from it,
// itself included, of the want that are asked for.
func (c *chain) run(index, want int64) (cluster uint32, n int64, err error) {
	want = min(want, c.count-index)
	if c.straight {
		return c.first + uint32(index), want, nil
	}
	c.mu.Lock()
	at, cluster := c.at, c.here
	c.mu.Unlock()
	if mark := index >> markBits; at > index || at < mark<<markBits {
		at, cluster = mark<<markBits, c.marks[mark]
	}
	fat := &c.fs.fat
	fat.mu.Lock()
	defer fat.mu.Unlock()
	for ; at < index; at++ {
		if cluster, err = c.step(cluster); err != nil {
			return 0, 0, err
		}
	}
	last := cluster
	for n = 1; n < want; n++ {
		next, err := c.step(last)
		if err != nil {
			return 0, 0, err
		}
		if next != last+1 {
			break
		}
		last = next
	}
	c.mu.Lock()
	c.at, c.here = index+n-1, last
	c.mu.Unlock()
	return cluster, n, nil
}

// step goes on in a chain that was followed to its end before.
func (c *chain) step(cluster uint32) (uint32, error) {
	next, end, err := c.fs.next(cluster)
	if err == nil && end {
		err = tree.Corrupt(c.fs.name, fmt.Sprintf("cluster %d", cluster), "ends its chain, which it did not before")
	}
	return next, err
}
