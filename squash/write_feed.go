package squash

import (
	"context"
	"fmt"

	"relive/internal/filedata"
	"relive/tree"
)

// feed makes the jobs.
func (w *dataWriter) feed(order chan<- *job) error {
	p := w.plan
	for i, f := range p.files.all() {
		var err error
		switch {
		case f.kind == freshFile || f.kind == mixedFile:
			err = w.feedFile(f, order)
		case f.repacked() && p.tails[f.packedTail(p.o.BlockSize)] == i:
			j := &job{file: f, kind: tailJob, len: int(f.size % int64(p.o.BlockSize)), done: make(chan struct{})}
			err = w.start(j, nil, order)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// feedFile makes the jobs of one file.
func (w *dataWriter) feedFile(f *file, order chan<- *job) error {
	p := w.plan
	bs := int64(p.o.BlockSize)
	c, err := f.more.data.Open()
	if err != nil {
		return fmt.Errorf("%s: %w", f.describe(), err)
	}
	if c.Size() != f.size {
		c.Close()
		return fmt.Errorf("%s: content of %d bytes where the file has %d", f.describe(), c.Size(), f.size)
	}
	// Jobs that are under way still read the content where the feeder gives up,
	// so the collector closes it in any case; it takes jobs until there are none.
	defer func() { order <- &job{file: f, kind: endJob, content: c} }()
	tail := f.size % bs
	hasTail := p.tailInFragment(f.size) && !f.keepTail
	f.start = 0
	if blocks := p.blockCount(f.size); f.words == nil {
		f.words = p.words.make(blocks)
	}
	if err := w.feedBlocks(f, c, order); err != nil {
		return err
	}
	if hasTail {
		j := &job{file: f, kind: tailJob, len: int(tail), done: make(chan struct{})}
		if err := w.start(j, c, order); err != nil {
			return err
		}
	}
	return nil
}

// feedBlocks makes the jobs of a file's blocks: one for each that is read, one
// for each run of those that are copied, and one for each run of holes.
func (w *dataWriter) feedBlocks(f *file, c tree.Content, order chan<- *job) error {
	bs, blocks := int64(w.plan.o.BlockSize), len(f.words)
	keep, stored := f.more.keep, f.more.stored.Blocks
	at := f.more.stored.Start // where block n is stored
	data := filedata.Ranges{Content: c}
	hole := func(n int) (bool, error) {
		off := int64(n) * bs
		has, err := data.Has(off, min(off+bs, f.size))
		if err != nil {
			err = fmt.Errorf("%s: %w", f.describe(), err)
		}
		return !has, err
	}
	for n := 0; n < blocks; {
		kept, end := keep.run(n, blocks)
		if kept {
			j := &job{file: f, kind: runJob, n: n, blocks: end - n, src: at, bytes: storedLen(stored[n:end])}
			if err := w.start(j, c, order); err != nil {
				return err
			}
			at += j.bytes
			n = end
			continue
		}
		at += storedLen(stored[min(n, len(stored)):min(end, len(stored))])
		for n < end {
			j := &job{file: f, n: n}
			for n+j.blocks < end {
				if empty, err := hole(n + j.blocks); err != nil {
					return err
				} else if !empty {
					break
				}
				j.blocks++
			}
			if j.kind = holeJob; j.blocks == 0 {
				j.kind, j.blocks = blockJob, 1
				j.len, j.done = int(min(bs, f.size-int64(n)*bs)), make(chan struct{})
			}
			if err := w.start(j, c, order); err != nil {
				return err
			}
			n += j.blocks
		}
	}
	return nil
}

// start hands a job to the collector and, where there is something to read, to
// a goroutine.
func (w *dataWriter) start(j *job, c tree.Content, order chan<- *job) error {
	reads := j.kind == blockJob || j.kind == tailJob
	if reads {
		select {
		case j.slot = <-w.slots:
		case <-w.ctx.Done():
			return context.Cause(w.ctx)
		}
	}
	select {
	case order <- j:
	case <-w.ctx.Done():
		if j.slot != nil {
			w.slots <- j.slot
		}
		return context.Cause(w.ctx)
	}
	if reads {
		go func() {
			defer close(j.done)
			if err := w.work(j, c); err != nil {
				j.err = fmt.Errorf("%s: %w", j.file.describe(), err)
			}
		}()
	}
	return nil
}
