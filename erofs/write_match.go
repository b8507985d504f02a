package erofs

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"

	"relive/internal/filedata"
	"relive/tree"
)

// match looks for content of fresh files that is stored already.
func (p *Plan) match(ctx context.Context) error {
	if err := p.matchPrior(ctx); err != nil {
		return err
	}
	return p.matchDuplicates(ctx)
}

// comparePiece is how much is compared, or hashed, at once.
const comparePiece = 256 << 10

// each runs fn for the files of that index, in as many goroutines as there are workers.
func (p *Plan) each(ctx context.Context, index []int, fn func(i int, bufs *[2][]byte) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	next := make(chan int)
	for range min(p.o.Workers, len(index)) {
		wg.Go(func() {
			var bufs [2][]byte
			for i := range bufs {
				bufs[i] = make([]byte, comparePiece)
			}
			for i := range next {
				if err := fn(i, &bufs); err != nil {
					cancel(fmt.Errorf("%s: %w", p.files.at(i).describe(), err))
				}
			}
		})
	}
feed:
	for _, i := range index {
		select {
		case next <- i:
		case <-ctx.Done():
			break feed
		}
	}
	close(next)
	wg.Wait()
	return context.Cause(ctx)
}

// matchPrior compares files with the content that their nodes say they had before, for
// a layer that changed a file's owner holds a copy of its content, and a log that grew
// begins as it did.
func (p *Plan) matchPrior(ctx context.Context) error {
	var index []int
	for i, f := range p.files.all() {
		if f.kind != freshFile {
			continue
		}
		was, ok := f.more.was.(*fileData)
		f.more.was = nil
		if !ok || p.o.NoReuse || was.size == 0 {
			continue
		}
		src, err := p.sourceOf(was.r)
		if err != nil {
			return fmt.Errorf("%s: in the layer below: %w", f.describe(), err)
		}
		if src.usable {
			f.more.stored, f.source = was, src
			index = append(index, i)
		}
	}
	return p.each(ctx, index, func(i int, bufs *[2][]byte) error {
		f := p.files.at(i)
		was, src := f.more.stored, f.source
		f.source = nil
		now, err := f.more.data.Open()
		if err != nil {
			return err
		}
		defer now.Close()
		before, err := was.Open()
		if err != nil {
			return err
		}
		defer before.Close()
		equal := func(off, end int64) (bool, error) { return equalBytes(now, before, off, end, bufs) }
		same := was.size == f.size
		if same {
			if same, err = equal(0, f.size); err != nil {
				return err
			}
		}
		if same {
			taken, err := p.copyAll(f, was, src)
			if err != nil || taken {
				return err
			}
		}
		err = p.keepEqual(f, was, src, func(e *extent) (bool, error) {
			if e.end > f.size || (e.end == was.size) != (e.end == f.size) {
				return false, nil
			}
			return equal(e.start, e.end)
		})
		if f.kind == freshFile {
			f.more.stored = nil
		}
		return err
	})
}

// equalBytes compares a range of two contents.
func equalBytes(a, b tree.Content, off, end int64, bufs *[2][]byte) (bool, error) {
	for off < end {
		n := min(end-off, comparePiece)
		x, y := bufs[0][:n], bufs[1][:n]
		if err := tree.ReadFull(a, x, off); err != nil {
			return false, err
		}
		if err := tree.ReadFull(b, y, off); err != nil {
			return false, err
		}
		if !bytes.Equal(x, y) {
			return false, nil
		}
		off += n
	}
	return true, nil
}

// matchDuplicates finds fresh files that equal another file. Only files of equal size
// can, so only these are read; and not those that are beside their inodes.
func (p *Plan) matchDuplicates(ctx context.Context) error {
	bySize := map[int64][]int{}
	for i, f := range p.files.all() {
		if f.kind == freshFile && (f.size > BlockSize || p.o.packs()) {
			bySize[f.size] = append(bySize[f.size], i)
		}
	}
	if len(bySize) == 0 {
		return nil
	}
	stored := p.duplicateCandidates(bySize)
	var index []int
	for size, fresh := range bySize {
		if len(fresh) > 1 || len(stored[size]) > 0 {
			index = append(append(index, fresh...), stored[size]...)
		}
	}
	slices.Sort(index)
	var mu sync.Mutex
	sums := make(map[int]filedata.Digest, len(index))
	err := p.each(ctx, index, func(i int, bufs *[2][]byte) error {
		f := p.files.at(i)
		var d tree.Data
		var err error
		if f.kind == storedFile {
			d, err = f.source.file(f.nid)
		} else {
			d = f.more.data
		}
		if err != nil {
			return err
		}
		sum, err := filedata.DigestOf(d, f.size, bufs[0])
		mu.Lock()
		sums[i] = sum
		mu.Unlock()
		return err
	})
	if err != nil {
		return err
	}
	// What is stored already comes first, then the first in the tree's order.
	first := make(map[filedata.Digest]int, len(index))
	for _, i := range index {
		if _, ok := first[sums[i]]; !ok && p.files.at(i).kind == storedFile {
			first[sums[i]] = i
		}
	}
	for _, i := range index {
		f := p.files.at(i)
		if f.kind != freshFile {
			continue
		}
		j, ok := first[sums[i]]
		if !ok {
			first[sums[i]] = i
			continue
		}
		twin := p.files.at(j)
		if twin.kind != storedFile {
			f.kind, f.more.same, twin.more.shared = sameFile, j, true
			continue
		}
		if f.more.stored, err = twin.source.file(twin.nid); err != nil {
			return err
		}
		if _, err := p.copyAll(f, f.more.stored, twin.source); err != nil {
			return err
		}
		p.Stats.DuplicateFiles++
	}
	return nil
}

// file gives the content of a file of the image by its inode.
func (s *origin) file(nid uint64) (*fileData, error) {
	n, err := s.img.readInode(nid)
	if err != nil {
		return nil, err
	}
	return s.img.fileData(&n), nil
}

// duplicateCandidates gives the files that are copied and have the size of a fresh
// one. To compare means to decode, so they are taken from the largest down until they
// come to half the fresh bytes and a little more: a search that costs more than
// compressing would is no gain.
func (p *Plan) duplicateCandidates(fresh map[int64][]int) map[int64][]int {
	budget := int64(8 << 20)
	for size, files := range fresh {
		budget += size * int64(len(files)) / 2
	}
	var index []int
	for i, f := range p.files.all() {
		if f.kind == storedFile && len(fresh[f.size]) > 0 {
			index = append(index, i)
		}
	}
	slices.SortStableFunc(index, func(a, b int) int { return cmp.Compare(p.files.at(b).size, p.files.at(a).size) })
	out := map[int64][]int{}
	for _, i := range index {
		f := p.files.at(i)
		// A small file's extent of packed data is a large one.
		if budget -= max(f.size, 64<<10); budget < 0 {
			break
		}
		out[f.size] = append(out[f.size], i)
	}
	return out
}

// sum fills in the figures that follow from the decisions.
func (p *Plan) sum() error {
	st := &p.Stats
	for _, s := range p.sources {
		st.CopyBytes += s.bytes
		st.CopyRanges += len(s.extents)
		if s.packed == nil {
			continue
		}
		for i := range s.packed.exts {
			if e := &s.packed.exts[i]; e.action == keepExtent {
				st.CopyBytes += int64(e.stored)
			}
		}
	}
	for _, f := range p.files.all() {
		var err error
		n := int64(0)
		switch f.kind {
		case storedFile:
			st.ReusedFiles++
		case sameFile:
			st.DuplicateFiles++
		case freshFile:
			n, err = filedata.Bytes(f.more.data, f.size)
		case mixedFile:
			st.MixedFiles++
			n = f.size
			err = f.more.kept(func(_ int, e *extent) error {
				n -= e.len()
				return nil
			})
		}
		if err != nil {
			return fmt.Errorf("%s: %w", f.describe(), err)
		}
		st.CompressBytes += n
	}
	return nil
}
