package extfs

import "sync"

// cacheKey names a checked metadata block: what it is and for which inode its
// checksum was verified, so that a block is checked again when it turns up in
// another role.
type cacheKey struct {
	block uint64
	owner uint32
	kind  blockKind
}

type blockKind uint8

const (
	kindPlain blockKind = iota // no checksum of its own
	kindExtents
	kindIndirect
	kindXattr
	kindBitmap
	kindUninit // made up, of a group and not a block
)

// blockCache keeps the metadata blocks that were read last, up to a number of
// bytes. The blocks are never modified.
type blockCache struct {
	mu         sync.Mutex
	limit      int
	used       int
	entries    map[cacheKey]*cacheEntry
	head, tail *cacheEntry // head is the most recent
}

type cacheEntry struct {
	key        cacheKey
	data       []byte
	prev, next *cacheEntry
}

func newBlockCache(limit int) *blockCache {
	return &blockCache{limit: limit, entries: make(map[cacheKey]*cacheEntry)}
}

// peek returns the block of that key if it is kept, else nil.
func (c *blockCache) peek(key cacheKey) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entries[key]
	if e == nil {
		return nil
	}
	if e != c.head {
		c.unlink(e)
		c.pushFront(e)
	}
	return e.data
}

// get returns the block of that key, from load where it is not kept. Two callers
// that miss the same block at the same time may both load it.
func (c *blockCache) get(key cacheKey, load func() ([]byte, error)) ([]byte, error) {
	if p := c.peek(key); p != nil {
		return p, nil
	}
	data, err := load()
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.entries[key]; e != nil {
		return e.data, nil
	}
	e := &cacheEntry{key: key, data: data}
	c.entries[key] = e
	c.pushFront(e)
	c.used += len(data)
	for c.used > c.limit && c.tail != e {
		old := c.tail
		c.unlink(old)
		delete(c.entries, old.key)
		c.used -= len(old.data)
	}
	return data, nil
}

func (c *blockCache) pushFront(e *cacheEntry) {
	e.prev, e.next = nil, c.head
	if c.head != nil {
		c.head.prev = e
	} else {
		c.tail = e
	}
	c.head = e
}

func (c *blockCache) unlink(e *cacheEntry) {
	if e.prev != nil {
		e.prev.next = e.next
	} else {
		c.head = e.next
	}
	if e.next != nil {
		e.next.prev = e.prev
	} else {
		c.tail = e.prev
	}
}
