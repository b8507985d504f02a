package squash

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"

	"relive/squash/internal/ondisk"
	"relive/tree"
)

// blockRun is a row of stored blocks: those of a file, or one fragment block.
type blockRun struct {
	start    int64
	list     ondisk.Ref // of the file's block words
	size     int64      // of the file; -1 is a fragment block
	fragment uint32     // of the file; the block word of a fragment block
	number   uint32     // of the inode, or of the fragment
	stored   int64      // bytes of the blocks, never 0
	words    uint64     // a hash of the block words
}

// decodeJob is a block to decode.
type decodeJob struct {
	start  int64
	word   uint32
	want   uint32 // decoded length; in a fragment block the least
	run    *blockRun
	number int64 // of the block in the file
	seq    int64 // order of findings
}

const batchBlocks = 64

// batch is what one worker takes at a time.
type batch struct {
	jobs   []decodeJob
	stored int64
}

// checkBlocks decodes every block once, in the order in which they are stored.
func (v *verifier) checkBlocks() {
	v.addFragments()
	slices.SortFunc(v.runs, func(a, b blockRun) int {
		return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(b.stored, a.stored), cmp.Compare(a.words, b.words),
			cmp.Compare(a.size, b.size),
			cmp.Compare(a.fragment, b.fragment), cmp.Compare(a.number, b.number))
	})
	if v.o.Progress != nil {
		v.o.Progress(0, v.total)
	}
	batches := make(chan *batch)
	free := make(chan *batch, 2*v.o.Workers)
	var workers sync.WaitGroup
	for range v.o.Workers {
		workers.Go(func() {
			dst := make([]byte, v.r.blockSize)
			for b := range batches {
				v.decodeBatch(dst, b)
				select {
				case free <- b:
				default:
				}
			}
		})
	}
	v.feed(batches, free)
	close(batches)
	workers.Wait()
}

// addFragments notes the fragment blocks. An image has no more of them than
// files, so that a forged count does not count.
func (v *verifier) addFragments() {
	n := v.r.super.FragmentCount
	if files := uint64(v.report.Files); uint64(n) > files && v.complete {
		v.warn("fragment table", "has %d entries for %d files", n, files)
		n = uint32(min(uint64(n), files+1<<16))
	}
	for i := range n {
		if i%4096 == 0 && v.stop() {
			return
		}
		f, err := v.r.fragment(i)
		if err != nil {
			v.err(err)
			continue
		}
		if end := f.Start + int64(ondisk.BlockStored(f.Word)); end > v.r.inodes.start {
			v.fault(fmt.Sprintf("fragment %d", i), "reaches to %d, into the inode table at %d", end, v.r.inodes.start)
		}
		if _, ok := v.needs[i]; !ok && v.complete {
			v.warn(fmt.Sprintf("fragment %d", i), "holds the tail of no file")
		}
		v.runs = append(v.runs, blockRun{start: f.Start, size: -1, fragment: f.Word, number: i, stored: int64(ondisk.BlockStored(f.Word))})
		v.total += int64(ondisk.BlockStored(f.Word))
	}
}

// feed lists the blocks of all runs for the workers.
func (v *verifier) feed(batches chan<- *batch, free <-chan *batch) {
	var (
		b     *batch
		cover = -1 // the run that reaches farthest
		end   int64
		seq   = v.seq
	)
	flush := func() bool {
		if b == nil {
			return true
		}
		select {
		case batches <- b:
			b = nil
			return true
		case <-v.ctx.Done():
			return false
		}
	}
	c := v.r.cursor(&v.r.inodes)
	for i := range v.runs {
		run := &v.runs[i]
		if v.ctx.Err() != nil {
			return
		}
		// Files with the same content share their blocks.
		if i > 0 && sameBlocks(&v.runs[i-1], run) {
			v.progress(run.stored)
			continue
		}
		if run.start < end && !v.aligned(c, &v.runs[cover], run.start) {
			seq++
			v.add(seq, Finding{Place: run.place(), Fact: fmt.Sprintf("starts at %d, in the middle of a block of %s", run.start,
				v.runs[cover].place())})
		}
		at := run.start
		err := v.eachBlock(c, run, func(j decodeJob) bool {
			if b == nil {
				select {
				case b = <-free:
					b.jobs, b.stored = b.jobs[:0], 0
				default:
					b = &batch{jobs: make([]decodeJob, 0, batchBlocks)}
				}
			}
			seq++
			j.seq = seq
			b.jobs = append(b.jobs, j)
			b.stored += int64(ondisk.BlockStored(j.word))
			at = j.start + int64(ondisk.BlockStored(j.word))
			return len(b.jobs) < batchBlocks && b.stored < 1<<20 || flush()
		})
		if err != nil {
			seq++
			v.add(seq, findingOf(err))
		}
		if at > end {
			cover, end = i, at
		}
	}
	flush()
}

// place names a run in findings.
func (run *blockRun) place() string {
	if run.size < 0 {
		return fmt.Sprintf("fragment %d", run.number)
	}
	return inodePlace(run.number)
}

// sameBlocks reports whether a run is the same row of blocks as the one before
// it.
func sameBlocks(a, b *blockRun) bool {
	return a.start == b.start && a.stored == b.stored && a.words == b.words && a.size == b.size &&
		(a.size < 0 || (a.fragment == ondisk.NoFragment) == (b.fragment == ondisk.NoFragment))
}

// eachBlock calls fn for the stored blocks of a run until it says no.
func (v *verifier) eachBlock(c *cursor, run *blockRun, fn func(decodeJob) bool) error {
	if run.size < 0 {
		fn(decodeJob{start: run.start, word: run.fragment, want: v.needs[run.number].end, run: run})
		return nil
	}
	if err := c.seek(run.list); err != nil {
		return tree.Within(err, "%s: block list", run.place())
	}
	at, bs := run.start, int64(v.r.blockSize)
	for i := range int64(ondisk.BlockCount(uint64(run.size), v.r.super.BlockSize, run.fragment)) {
		b, err := c.bytes(4)
		if err != nil {
			return tree.Within(err, "%s: block list", run.place())
		}
		word := binary.LittleEndian.Uint32(b)
		if word == 0 {
			continue
		}
		if !fn(decodeJob{start: at, word: word, want: uint32(min(bs, run.size-i*bs)), run: run, number: i}) {
			return nil
		}
		at += int64(ondisk.BlockStored(word))
	}
	return nil
}

// aligned reports whether a block of a run starts at an offset.
func (v *verifier) aligned(c *cursor, run *blockRun, start int64) (ok bool) {
	err := v.eachBlock(c, run, func(j decodeJob) bool {
		ok = j.start == start
		return j.start < start
	})
	return ok || err != nil
}

// decodeBatch decodes blocks into dst, which holds one.
func (v *verifier) decodeBatch(dst []byte, b *batch) {
	var decoded, blocks, fragments int64
	for i := range b.jobs {
		if v.ctx.Err() != nil {
			return
		}
		j := &b.jobs[i]
		place := func() string { return fmt.Sprintf("%s: block %d", j.run.place(), j.number) }
		if j.run.size < 0 {
			place = j.run.place
			fragments++
		} else {
			blocks++
		}
		n, err := v.r.readBlock(dst, j.start, j.word)
		decoded += int64(n)
		switch {
		case err != nil:
			v.add(j.seq, findingOf(tree.Within(err, "%s", place())))
		case j.run.size < 0 && n < int(j.want):
			v.add(j.seq, Finding{Place: place(), Fact: fmt.Sprintf("decodes to %d bytes, where the tail of inode %d reaches to %d", n,
				v.needs[j.run.number].number, j.want)})
		case j.run.size >= 0 && n != int(j.want):
			v.add(j.seq, Finding{Place: place(), Fact: fmt.Sprintf("decodes to %d bytes where %d belong", n, j.want)})
		}
	}
	v.mu.Lock()
	v.report.Blocks += blocks
	v.report.Fragments += fragments
	v.report.Stored += b.stored
	v.report.DecodedBytes += decoded
	v.mu.Unlock()
	v.progress(b.stored)
}

// progress notes that stored bytes are done.
func (v *verifier) progress(stored int64) {
	v.progressMu.Lock()
	defer v.progressMu.Unlock()
	v.done += stored
	if v.o.Progress != nil {
		v.o.Progress(v.done, v.total)
	}
}
