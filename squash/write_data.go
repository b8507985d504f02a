package squash

import (
	"context"
	"errors"
	"fmt"
	"io"

	"golang.org/x/sync/errgroup"

	"relive/codec"
	"relive/internal/hostcopy"
	"relive/internal/progress"
	"relive/squash/internal/ondisk"
	"relive/tree"
)

// dataWriter writes all data and fragment blocks: what is copied first, what is
// compressed behind it.
//
// Three parties work on the latter. The feeder goes through the files in the
// tree's order and makes a job of each block and tail. Each job runs in a
// goroutine of its own, which borrows one of as many compressors as there are
// workers. The collector takes the jobs in their order, writes blocks, and
// packs tails into fragment blocks. Blocks of a file that are copied as they are
// stored, while others of it are compressed, are one job a run of them: the
// collector leaves room for it, and a goroutine beside it copies. What is written depends on the order of
// jobs alone, not on which is done first.
type dataWriter struct {
	plan   *Plan
	ctx    context.Context
	cancel context.CancelCauseFunc
	out    io.WriterAt
	base   int64
	pos    int64 // where the next block goes, from base
	// started is up to where the kernel was asked to begin writing to the disk.
	started int64

	compressors chan codec.Compressor
	slots       chan *slot
	runs        chan keptRun // to be copied; their places were found
	fragments   []ondisk.FragmentEntry

	packed  map[packedTail]fragmentRef // where tails are that were packed anew
	current *slot                      // fragment block that is being filled
	closed  []*job                     // fragment blocks that are being compressed
	idle    []*slot                    // memory of fragment blocks that were written

	progress *progress.Meter
}

// fragmentsInFlight is how many full fragment blocks may wait for their turn to
// be written. It is a constant because it decides where they lie.
const fragmentsInFlight = 4

// runsInFlight is how many runs may wait to be copied.
const runsInFlight = 256

// fragmentRef is where a tail is in the new image.
type fragmentRef struct{ fragment, offset uint32 }

// slot is the memory of a job.
type slot struct {
	raw []byte // content, or the bytes of a fragment block so far
	out []byte // room for the compressed form
}

// job is a block or tail of a file, or a fragment block.
type job struct {
	file *file
	kind jobKind
	n    int // number of the block, or of the first of several
	len  int // its decoded length
	slot *slot
	data []byte // what is to be written, or the tail
	word uint32
	err  error
	done chan struct{}
	// blocks, of jobs of several, is how many there are; those of a run lie at
	// the offset src of their source and take so many bytes there.
	blocks     int
	src, bytes int64
	// content is closed by the collector behind the file's last job.
	content tree.Content
}

type jobKind uint8

const (
	blockJob jobKind = iota // read and compress a block
	runJob                  // blocks that are copied as they are stored
	holeJob                 // blocks that are holes
	tailJob                 // read a tail
	endJob                  // the file is complete
)

func (w *dataWriter) run() error {
	p := w.plan
	workers := p.o.Workers
	w.compressors = make(chan codec.Compressor, workers)
	w.slots = make(chan *slot, workers+fragmentsInFlight+4)
	w.packed = map[packedTail]fragmentRef{}
	w.progress = progress.NewMeter(p.Stats.CopyBytes, p.Stats.CompressBytes, p.o.Progress)

	w.startFragments()
	for range workers {
		c, err := p.o.Library.NewCompressor(p.o.Codec, p.o.BlockSize)
		if err != nil {
			return err
		}
		defer c.Close()
		w.compressors <- c
	}
	for range cap(w.slots) {
		w.slots <- &slot{}
	}

	// The collector cancels at its first error and then takes the remaining
	// jobs, so that none is left running.
	g, ctx := errgroup.WithContext(w.ctx)
	w.ctx, w.cancel = context.WithCancelCause(ctx)
	defer w.cancel(nil)
	order := make(chan *job, cap(w.slots))
	w.runs = make(chan keptRun, runsInFlight)
	g.Go(w.copySources)
	g.Go(w.copyRuns)
	g.Go(func() error {
		defer close(order)
		return w.feed(order)
	})
	g.Go(func() error {
		defer close(w.runs)
		return w.collect(order)
	})
	if err := g.Wait(); err != nil {
		return err
	}
	w.progress.Finish()
	return nil
}

// startFragments enters the copied fragment blocks into the new table.
func (w *dataWriter) startFragments() {
	for _, s := range w.plan.sources {
		for i := range s.frags {
			if u := &s.frags[i]; !u.drop {
				w.fragments = append(w.fragments, ondisk.FragmentEntry{
					Start: s.moved(u.entry.Start, []uint32{u.entry.Word}), Word: u.entry.Word})
			}
		}
	}
}

// work reads a block and compresses it.
func (w *dataWriter) work(j *job, c tree.Content) error {
	bs := int64(w.plan.o.BlockSize)
	s := j.slot
	if cap(s.raw) < int(bs) {
		s.raw = make([]byte, bs)
	}
	if j.kind == tailJob {
		j.data = s.raw[:j.len]
		if f := j.file; f.kind == storedFile {
			return readTail(f.source.img, f.fragment, f.fragOff, j.data)
		}
		return tree.ReadFull(c, j.data, j.file.size-int64(j.len))
	}
	s.raw = s.raw[:j.len]
	if err := tree.ReadFull(c, s.raw, int64(j.n)*bs); err != nil {
		return err
	}
	if tree.IsZero(s.raw) {
		return nil // a hole: word 0, no data
	}
	return w.compress(j, FlagUncompressedData)
}

// compress sets the job's data and word from slot.raw.
func (w *dataWriter) compress(j *job, raw uint16) error {
	s := j.slot
	j.data, j.word = s.raw, uint32(len(s.raw))|ondisk.BlockUncompressed
	if w.plan.o.Flags&raw != 0 {
		return nil
	}
	c := <-w.compressors
	defer func() { w.compressors <- c }()
	if s.out == nil {
		s.out = make([]byte, 0, w.plan.o.BlockSize)
	}
	out, ok, err := c.Compress(s.out[:0], s.raw)
	if err != nil {
		return err
	}
	if ok && len(out) < len(s.raw) {
		s.out = out
		j.data, j.word = out, uint32(len(out))
	}
	return nil
}

// collect writes what the jobs give, in their order.
func (w *dataWriter) collect(order <-chan *job) error {
	var err error
	for j := range order {
		if j.done != nil {
			<-j.done
		}
		if err == nil {
			err = j.err
		}
		if err == nil {
			err = w.take(j)
		}
		if err != nil {
			w.cancel(err)
		}
		if j.content != nil {
			if cerr := j.content.Close(); err == nil && cerr != nil {
				err = fmt.Errorf("%s: %w", j.file.describe(), cerr)
			}
		}
		if j.slot != nil {
			w.slots <- j.slot
		}
	}
	if err == nil {
		err = context.Cause(w.ctx)
	}
	if err == nil {
		if err = w.closeFragment(); err == nil {
			err = w.writeFragments(0)
		}
	}
	for _, j := range w.closed {
		<-j.done
	}
	return err
}

// take writes one job's block, packs its tail, or finds the place of its run.
func (w *dataWriter) take(j *job) error {
	f := j.file
	switch j.kind {
	case holeJob:
		clear(f.words[j.n : j.n+j.blocks])
	case runJob:
		copy(f.words[j.n:j.n+j.blocks], f.more.stored.Blocks[j.n:])
		return w.takeRun(j)
	case tailJob:
		if err := w.pack(j); err != nil {
			return err
		}
		// A tail is a file's last job, so that its blocks stay together.
		if err := w.writeFragments(fragmentsInFlight); err != nil {
			return err
		}
		w.progress.Compressed(int64(j.len))
	case blockJob:
		f.words[j.n] = j.word
		if len(j.data) > 0 {
			if f.start == 0 {
				f.start = w.pos
			}
			if err := w.write(j.data); err != nil {
				return err
			}
		}
		w.progress.Compressed(int64(j.len))
	}
	return nil
}

// takeRun leaves room for a run and has it copied. Its length is known, so that
// what follows need not wait for it.
func (w *dataWriter) takeRun(j *job) error {
	if j.bytes == 0 {
		return nil // holes
	}
	if j.file.start == 0 {
		j.file.start = w.pos
	}
	select {
	case w.runs <- keptRun{j.file, extent{src: j.src, dst: w.pos, len: j.bytes}}:
	case <-w.ctx.Done():
		return context.Cause(w.ctx)
	}
	w.pos += j.bytes
	return nil
}

func (w *dataWriter) write(p []byte) error {
	if _, err := w.out.WriteAt(p, w.base+w.pos); err != nil {
		return err
	}
	w.pos += int64(len(p))
	if w.pos-w.started >= hostcopy.WritebackStep {
		hostcopy.StartWriteback(w.out, w.base+w.started, w.pos-w.started)
		w.started = w.pos
	}
	return nil
}

// pack adds a tail to the fragment block that is being filled.
func (w *dataWriter) pack(j *job) error {
	bs := w.plan.o.BlockSize
	if w.current != nil && len(w.current.raw)+len(j.data) > bs {
		if err := w.closeFragment(); err != nil {
			return err
		}
	}
	if w.current == nil {
		if n := len(w.idle); n > 0 {
			w.current, w.idle = w.idle[n-1], w.idle[:n-1]
		} else {
			w.current = &slot{raw: make([]byte, 0, bs)}
		}
	}
	at := fragmentRef{uint32(len(w.fragments) + len(w.closed)), uint32(len(w.current.raw))}
	if f := j.file; f.kind == storedFile {
		w.packed[f.packedTail(bs)] = at
	} else {
		f.fragment, f.fragOff = at.fragment, at.offset
	}
	w.current.raw = append(w.current.raw, j.data...)
	return nil
}

// closeFragment has the fragment block compressed.
func (w *dataWriter) closeFragment() error {
	if w.current == nil {
		return nil
	}
	j := &job{slot: w.current, done: make(chan struct{})}
	w.current = nil
	w.closed = append(w.closed, j)
	go func() {
		defer close(j.done)
		j.err = w.compress(j, FlagUncompressedFragments)
	}()
	return nil
}

// writeFragments writes closed fragment blocks, the oldest first, until no more
// than leave are waiting. It runs only between files, whose blocks lie
// together.
func (w *dataWriter) writeFragments(leave int) error {
	for len(w.closed) > leave {
		j := w.closed[0]
		<-j.done
		if j.err != nil {
			return j.err
		}
		w.fragments = append(w.fragments, ondisk.FragmentEntry{Start: w.pos, Word: j.word})
		w.closed = w.closed[1:]
		if err := w.write(j.data); err != nil {
			return err
		}
		j.slot.raw = j.slot.raw[:0]
		w.idle = append(w.idle, j.slot)
	}
	if uint64(len(w.fragments)) >= 1<<32-1 {
		return errors.New("more fragments than SquashFS can hold")
	}
	return nil
}
