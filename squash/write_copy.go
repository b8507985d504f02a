package squash

import (
	"fmt"
	"sync"

	"relive/internal/hostcopy"
)

func (w *dataWriter) copier() hostcopy.Copier {
	return hostcopy.Copier{Ctx: w.ctx, Out: w.out, Base: w.base, Done: w.progress.copied}
}

// copySources copies the ranges of files and fragment blocks that are copied as
// a whole.
func (w *dataWriter) copySources() error {
	c := w.copier()
	for _, s := range w.plan.sources {
		for _, e := range s.extents {
			if err := c.Copy(&s.img.stored, e.copied()); err != nil {
				return err
			}
		}
	}
	c.Finish()
	return nil
}

// keptRun is a range of stored blocks of a mixed file, and where it goes.
type keptRun struct {
	file *file
	extent
}

// copyRuns copies the runs of mixed files, whose places the collector finds one
// by one.
func (w *dataWriter) copyRuns() error {
	c := w.copier()
	for r := range w.runs {
		if err := c.Copy(&r.file.more.stored.Image.stored, r.copied()); err != nil {
			return fmt.Errorf("%s: %w", r.file.describe(), err)
		}
	}
	c.Finish()
	return nil
}

// progressMeter adds up what the copier and the collector have done and tells
// the plan's Progress.
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
	m.now.Copied += copied
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
