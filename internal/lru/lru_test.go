package lru

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
)

// However many ask, a value is loaded once while it stays, errors are not
// kept, and the bytes stay within the bound.
func TestCache(t *testing.T) {
	var loads atomic.Int64
	release := make(chan struct{})
	c := New(100, func(k int) (int, int64, error) {
		loads.Add(1)
		if k == 0 {
			<-release
		}
		if k < 0 {
			return 0, 0, errors.New("negative")
		}
		return k * k, 30, nil
	})
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if v, err := c.Get(0); v != 0 || err != nil {
				t.Error(v, err)
			}
		})
	}
	close(release)
	wg.Wait()
	if n := loads.Load(); n != 1 {
		t.Errorf("%d loads of one key", n)
	}
	for range 2 {
		if _, err := c.Get(-1); err == nil {
			t.Error("no error")
		}
	}
	if n := loads.Load(); n != 3 {
		t.Errorf("%d loads, an error was kept", n)
	}
	for k := range 3 { // 0 is used last but for 2, so that 1 goes first
		c.Get(k)
	}
	c.Get(0)
	c.Get(3)
	before := loads.Load()
	if c.Get(0); loads.Load() != before {
		t.Error("what was used last was dropped")
	}
	if v, _ := c.Get(1); v != 1 || loads.Load() != before+1 {
		t.Error("what was used longest ago was kept")
	}
	if c.used > c.max || len(c.m) != 3 {
		t.Errorf("%d bytes in %d entries", c.used, len(c.m))
	}
}

// A load that panics does not leave those that wait for it hanging.
func TestCachePanic(t *testing.T) {
	inside, release := make(chan struct{}), make(chan struct{})
	c := New(100, func(int) (int, int64, error) {
		inside <- struct{}{}
		<-release
		panic("load")
	})
	go func() {
		defer func() { recover() }()
		c.Get(1)
	}()
	<-inside
	c.mu.Lock()
	e := c.m[1]
	c.mu.Unlock()
	close(release)
	if <-e.done; e.err == nil {
		t.Error("no error")
	}
	if c.mu.Lock(); len(c.m) != 0 {
		t.Error("the entry was kept")
	}
	c.mu.Unlock()
}
