package progress

import "sync"

// Write tells how far the writing of an image has come.
type Write struct {
	Copied, CopyTotal         int64 // stored bytes copied from other images
	Compressed, CompressTotal int64 // bytes of content read and compressed
}

// Step is how many bytes pass between two calls.
const Step = 1 << 20

// Meter adds up what goroutines have done and calls a function with it, one call at a
// time.
type Meter struct {
	mu   sync.Mutex
	now  Write
	last int64
	fn   func(Write)
}

// NewMeter makes a meter; fn may be nil.
func NewMeter(copyTotal, compressTotal int64, fn func(Write)) *Meter {
	return &Meter{now: Write{CopyTotal: copyTotal, CompressTotal: compressTotal}, fn: fn}
}

func (m *Meter) add(copied, compressed int64) {
	if m.fn == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now.Copied = min(m.now.Copied+copied, m.now.CopyTotal)
	m.now.Compressed = min(m.now.Compressed+compressed, m.now.CompressTotal)
	if m.last += copied + compressed; m.last >= Step {
		m.last = 0
		m.fn(m.now)
	}
}

// Copied takes in that n bytes more were copied.
func (m *Meter) Copied(n int64) { m.add(n, 0) }

// Compressed takes in that n bytes more were compressed.
func (m *Meter) Compressed(n int64) { m.add(0, n) }

// Finish tells that all is done.
func (m *Meter) Finish() {
	if m.fn == nil {
		return
	}
	m.now.Copied, m.now.Compressed = m.now.CopyTotal, m.now.CompressTotal
	m.fn(m.now)
}
