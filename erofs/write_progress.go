package erofs

import "sync"

// progressMeter adds up what was done and tells the plan's Progress.
type progressMeter struct {
	mu   *sync.Mutex
	now  *WriteProgress
	last *int64
	fn   func(WriteProgress)
}

func newProgressMeter(p *Plan) progressMeter {
	return progressMeter{&sync.Mutex{}, &WriteProgress{CopyTotal: p.Stats.CopyBytes, CompressTotal: p.Stats.CompressBytes}, new(int64),
		p.o.Progress}
}

// progressStep is how many bytes pass between two calls of Progress.
const progressStep = 1 << 20

func (m progressMeter) add(copied, compressed int64) {
	if m.fn == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now.Copied = min(m.now.Copied+copied, m.now.CopyTotal)
	m.now.Compressed = min(m.now.Compressed+compressed, m.now.CompressTotal)
	if *m.last += copied + compressed; *m.last >= progressStep {
		*m.last = 0
		m.fn(*m.now)
	}
}

func (m progressMeter) copied(n int64)     { m.add(n, 0) }
func (m progressMeter) compressed(n int64) { m.add(0, n) }

func (m progressMeter) finish() {
	if m.fn == nil {
		return
	}
	m.now.Copied, m.now.Compressed = m.now.CopyTotal, m.now.CompressTotal
	m.fn(*m.now)
}
