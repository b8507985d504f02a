package lru

import (
	"errors"
	"sync"
)

// errPanic reaches those that waited for a value whose loading never came back.
var errPanic = errors.New("decoding was cut short")

// Cache holds what was used last, up to a number of bytes. Goroutines that ask
// for the same missing value wait for one of them to load it. Errors are not kept.
// What Get gives is shared: nobody modifies it, and it stays valid after eviction.
type Cache[K comparable, V any] struct {
	mu   sync.Mutex
	load func(K) (V, int64, error) // makes a value and tells how many bytes it holds
	max  int64
	used int64
	m    map[K]*entry[K, V]
	// The entries that are decoded, as a ring from the newest to the oldest.
	ring entry[K, V]
}

type entry[K comparable, V any] struct {
	key        K
	value      V
	err        error
	size       int64
	done       chan struct{} // closed when value or err is set
	next, prev *entry[K, V]
}

// New makes a cache of at most max bytes; a single value may be larger. load makes
// a value, and tells how many bytes it holds.
func New[K comparable, V any](max int64, load func(K) (V, int64, error)) *Cache[K, V] {
	c := &Cache[K, V]{load: load, max: max, m: make(map[K]*entry[K, V])}
	c.ring.next, c.ring.prev = &c.ring, &c.ring
	return c
}

// Get returns the value of a key, which it loads where it is missing.
func (c *Cache[K, V]) Get(key K) (V, error) {
	c.mu.Lock()
	if e := c.m[key]; e != nil {
		if e.next != nil {
			c.unlink(e)
			c.link(e)
			c.mu.Unlock()
			return e.value, nil
		}
		c.mu.Unlock()
		<-e.done
		return e.value, e.err
	}
	e := &entry[K, V]{key: key, done: make(chan struct{})}
	c.m[key] = e
	c.mu.Unlock()

	loaded := false
	defer func() {
		c.mu.Lock()
		if loaded && e.err == nil {
			c.link(e)
			c.used += e.size
			for c.used > c.max && c.ring.prev != e {
				old := c.ring.prev
				c.unlink(old)
				delete(c.m, old.key)
				c.used -= old.size
			}
		} else {
			delete(c.m, key)
			if !loaded {
				e.err = errPanic
			}
		}
		c.mu.Unlock()
		close(e.done)
	}()
	e.value, e.size, e.err = c.load(key)
	loaded = true
	return e.value, e.err
}

func (c *Cache[K, V]) link(e *entry[K, V]) {
	e.next, e.prev = c.ring.next, &c.ring
	e.next.prev, c.ring.next = e, e
}

func (c *Cache[K, V]) unlink(e *entry[K, V]) {
	e.prev.next, e.next.prev = e.next, e.prev
	e.next, e.prev = nil, nil
}
