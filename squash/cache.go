package squash

import "sync"

// cache is an LRU of decoded blocks, bounded by the bytes that it holds.
// Goroutines that ask for the same missing block wait for one of them to decode
// it. Errors are not kept. What get gives is shared: nobody modifies it, and it
// stays valid after eviction.
type cache[K comparable, V any] struct {
	mu   sync.Mutex
	load func(K) (V, int64, error) // makes a value and tells how many bytes it holds
	max  int64
	used int64
	m    map[K]*cacheEntry[K, V]
	// The entries that are decoded, as a ring from the newest to the oldest.
	ring cacheEntry[K, V]
}

type cacheEntry[K comparable, V any] struct {
	key        K
	value      V
	err        error
	size       int64
	done       chan struct{} // closed when value or err is set
	next, prev *cacheEntry[K, V]
}

func newCache[K comparable, V any](max int64, load func(K) (V, int64, error)) *cache[K, V] {
	c := &cache[K, V]{load: load, max: max, m: make(map[K]*cacheEntry[K, V])}
	c.ring.next, c.ring.prev = &c.ring, &c.ring
	return c
}

// get gives the value of a key, which it loads where it is missing.
func (c *cache[K, V]) get(key K) (V, error) {
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
	e := &cacheEntry[K, V]{key: key, done: make(chan struct{})}
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
				e.err = errDecoderPanic
			}
		}
		c.mu.Unlock()
		close(e.done)
	}()
	e.value, e.size, e.err = c.load(key)
	loaded = true
	return e.value, e.err
}

func (c *cache[K, V]) link(e *cacheEntry[K, V]) {
	e.next, e.prev = c.ring.next, &c.ring
	e.next.prev, c.ring.next = e, e
}

func (c *cache[K, V]) unlink(e *cacheEntry[K, V]) {
	e.prev.next, e.next.prev = e.next, e.prev
	e.next, e.prev = nil, nil
}
