package squash

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"

	"relive/internal/filedata"
	"relive/squash/internal/ondisk"
	"relive/tree"
)

// match looks for content of fresh files that is stored already.
func (p *Plan) match(ctx context.Context) error {
	if err := p.matchPrior(ctx); err != nil {
		return err
	}
	if p.o.Flags&FlagDuplicates == 0 {
		return nil
	}
	return p.matchDuplicates(ctx)
}

// each runs fn for the files of that index, in as many goroutines as there are
// workers.
func (p *Plan) each(ctx context.Context, index []int, fn func(i int, bufs *[2][]byte) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	next := make(chan int)
	for range min(p.o.Workers, len(index)) {
		wg.Go(func() {
			var bufs [2][]byte
			for i := range bufs {
				bufs[i] = make([]byte, p.o.BlockSize)
			}
			for i := range next {
				if err := fn(i, &bufs); err != nil {
					cancel(err)
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

// matchPrior compares files with the content that their nodes say they had
// before, block by block, for a layer that changed a file's owner holds a copy
// of its content, and a log that grew begins as it did.
func (p *Plan) matchPrior(ctx context.Context) error {
	var index []int
	for i, f := range p.files.all() {
		if f.kind != freshFile {
			continue
		}
		s, ok := f.more.was.(storer)
		if !ok || p.o.NoReuse {
			f.more.was = nil
			continue
		}
		stored, err := s.storedForm()
		if err != nil {
			return fmt.Errorf("%s: in the layer below: %w", f.describe(), err)
		}
		if src := p.sourceOf(stored.Image); src.usable && stored.Size > 0 {
			f.more.stored, f.source = stored, src
			index = append(index, i)
		} else {
			f.more.was = nil
		}
	}
	return p.each(ctx, index, func(i int, bufs *[2][]byte) error {
		f := p.files.at(i)
		if err := p.comparePrior(f, bufs); err != nil {
			return fmt.Errorf("%s: %w", f.describe(), err)
		}
		if f.more != nil {
			f.more.was = nil
		}
		return nil
	})
}

// comparePrior decides whether f is fresh, mixed or stored.
func (p *Plan) comparePrior(f *file, bufs *[2][]byte) error {
	bs, stored := int64(p.o.BlockSize), &f.more.stored
	now, err := f.more.data.Open()
	if err != nil {
		return err
	}
	defer now.Close()
	was, err := f.more.was.Open()
	if err != nil {
		return err
	}
	defer was.Close()

	equal := func(off, n int64) (bool, error) {
		if err := tree.ReadFull(now, bufs[0][:n], off); err != nil {
			return false, err
		}
		if err := tree.ReadFull(was, bufs[1][:n], off); err != nil {
			return false, err
		}
		return bytes.Equal(bufs[0][:n], bufs[1][:n]), nil
	}
	blocks := p.blockCount(f.size)
	keep := newKeepBits(blocks)
	kept := 0
	data := filedata.Ranges{Content: now}
	for i := range min(blocks, len(stored.Blocks)) {
		off := int64(i) * bs
		n := min(bs, f.size-off)
		if n != min(bs, stored.Size-off) {
			break // a last block of another length
		}
		same := false
		if stored.Blocks[i] == 0 {
			has, err := data.Has(off, off+n)
			if err != nil {
				return err
			}
			same = !has // a hole in both
		}
		if !same {
			if same, err = equal(off, n); err != nil {
				return err
			}
		}
		if same {
			keep.set(i)
			kept++
		}
	}
	tail := f.size % bs
	hasTail := p.tailInFragment(f.size)
	keepTail := false
	if hasTail && stored.Fragment != ondisk.NoFragment && stored.Size == f.size {
		if keepTail, err = equal(f.size-tail, tail); err != nil {
			return err
		}
	}
	switch {
	case kept == blocks && (keepTail || !hasTail) && stored.Size == f.size && len(stored.Blocks) == blocks:
		f.copyAll(stored, f.source)
	case kept > 0 || keepTail:
		f.kind, f.more.keep, f.keepTail = mixedFile, keep, keepTail
	default:
		f.more.stored, f.source = storedContent{}, nil
	}
	return nil
}

// hashFile makes the digest of a file, in pieces as long as buf, which is as long as a
// block.
func hashFile(f *file, buf []byte) (filedata.Digest, error) {
	if f.kind == storedFile {
		return hashStored(f, buf)
	}
	return filedata.DigestOf(f.more.data, f.size, buf)
}

// hashStored is hashFile for a file of which all is copied, before it is
// relocated. buf is as long as a block.
func hashStored(f *file, buf []byte) (filedata.Digest, error) {
	h, img := filedata.NewHash(f.size), f.source.img
	at, off := f.start, int64(0)
	for _, word := range f.words {
		n := min(int64(len(buf)), f.size-off)
		if word != 0 {
			got, err := img.readBlock(buf[:n], at, word)
			if err != nil {
				return filedata.Digest{}, err
			}
			if int64(got) != n {
				return filedata.Digest{}, tree.Corrupt(img.Name(), blockPlace(at), "decodes to %d bytes, not %d", got, n)
			}
			h.Piece(off, buf[:n])
		}
		at += int64(ondisk.BlockStored(word))
		off += n
	}
	if off < f.size {
		p := buf[:f.size-off]
		if err := readTail(img, f.fragment, f.fragOff, p); err != nil {
			return filedata.Digest{}, err
		}
		h.Piece(off, p)
	}
	return h.Sum(), nil
}

// readTail reads a tail out of its fragment block.
func readTail(img *Reader, fragment, offset uint32, p []byte) error {
	b, err := img.fragmentBlock(fragment)
	if err != nil {
		return err
	}
	if int64(offset)+int64(len(p)) > int64(len(b)) {
		return tree.Corrupt(img.Name(), fmt.Sprintf("fragment %d", fragment), "has %d bytes, and a tail of %d at %d", len(b), len(p),
			offset)
	}
	copy(p, b[offset:])
	return nil
}

// matchDuplicates finds fresh files that equal another file. Only files of
// equal size can, so only these are read.
func (p *Plan) matchDuplicates(ctx context.Context) error {
	bySize := map[int64][]int{}
	for i, f := range p.files.all() {
		if f.kind == freshFile {
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
		sum, err := hashFile(f, bufs[0])
		if err != nil {
			return fmt.Errorf("%s: %w", f.describe(), err)
		}
		mu.Lock()
		sums[i] = sum
		mu.Unlock()
		return nil
	})
	if err != nil {
		return err
	}
	// What is stored already comes first, then the first in the tree's order.
	first := make(map[filedata.Digest]int, len(index))
	for _, kind := range []fileKind{storedFile, freshFile} {
		for _, i := range index {
			f := p.files.at(i)
			if f.kind != kind {
				continue
			}
			if j, ok := first[sums[i]]; !ok {
				first[sums[i]] = i
			} else if kind == freshFile {
				f.kind, f.more.same = sameFile, j
			}
		}
	}
	return nil
}

// duplicateCandidates returns the files that are copied and have the size of a
// fresh one. To compare means to decode, so they are taken from the largest
// down until they come to half the fresh bytes and a little more: a search
// that costs more than compressing would is no gain.
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
	type block struct {
		img *Reader
		n   uint32
	}
	decoded := map[block]bool{}
	out := map[int64][]int{}
	for _, i := range index {
		f := p.files.at(i)
		budget -= int64(len(f.words)) * int64(p.o.BlockSize)
		if b := (block{f.source.img, f.fragment}); b.n != ondisk.NoFragment && !decoded[b] {
			decoded[b] = true
			budget -= int64(p.o.BlockSize)
		}
		if budget < 0 {
			break
		}
		out[f.size] = append(out[f.size], i)
	}
	return out
}

// describe names the file for errors.
func (f *file) describe() string {
	if f.more != nil {
		return tree.Quote(f.more.path)
	}
	return fmt.Sprintf("stored file of %d bytes at offset %d", f.size, f.start)
}
