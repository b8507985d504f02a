package codec

import (
	"io"
	"runtime"
	"sync"
)

// Pool holds decompressors, or what they are a part of, that nobody uses. It is no
// sync.Pool, which would drop those of native libraries without closing them.
type Pool[D io.Closer] struct {
	make func() (D, error)

	mu     sync.Mutex
	idle   []D
	closed bool
}

// NewPool makes a pool of what fn makes.
func NewPool[D io.Closer](fn func() (D, error)) *Pool[D] { return &Pool[D]{make: fn} }

// Take gives one that is idle, or a new one.
func (p *Pool[D]) Take() (D, error) {
	p.mu.Lock()
	if n := len(p.idle); n > 0 {
		d := p.idle[n-1]
		p.idle = p.idle[:n-1]
		p.mu.Unlock()
		return d, nil
	}
	p.mu.Unlock()
	return p.make()
}

// Give takes back what Take gave.
func (p *Pool[D]) Give(d D) {
	p.mu.Lock()
	if !p.closed && len(p.idle) < 2*runtime.GOMAXPROCS(0) {
		p.idle = append(p.idle, d)
		p.mu.Unlock()
		return
	}
	p.mu.Unlock()
	d.Close()
}

// Close closes those that are idle, and others when they are given back.
func (p *Pool[D]) Close() {
	p.mu.Lock()
	idle := p.idle
	p.idle, p.closed = nil, true
	p.mu.Unlock()
	for _, d := range idle {
		d.Close()
	}
}
