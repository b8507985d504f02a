package dmmerge

import (
	"bytes"
	"context"
	"fmt"
	"iter"

	"relive/tree"
)

// RepackOptions change how a COW is repacked.
type RepackOptions struct {
	// Chunk is the chunk size of the new COW in sectors; 0 means that of the old
	// one.
	Chunk uint32
	// Size of the new COW in bytes; 0 means that of the old one, or what the
	// chunks need. A size at which the kernel invalidates it becomes larger.
	Size int64
	// Free gives the ranges of the device that hold nothing, in ascending order,
	// such as the free blocks of its file system; it may be nil. A chunk that
	// lies within one of them is left out, and shows the origin from then on.
	Free iter.Seq2[Extent, error]
	// Progress is told how many bytes are done of how many, which are counted
	// once to compare and once to copy; it may be nil.
	Progress func(done, total int64)
}

// RepackResult tells what became of the chunks. Counts are in chunks of the new
// size.
type RepackResult struct {
	Before     uint64 `json:"before_chunks"` // of the old COW, in its own chunks
	Equal      uint64 `json:"equal_chunks"`  // left out because the origin has the same
	Free       uint64 `json:"free_chunks"`   // left out because they hold nothing
	Kept       uint64 `json:"kept_chunks"`
	ChunkBytes int64  `json:"chunk_bytes"`
	Size       int64  `json:"size"` // bytes
}

// Repack writes a new COW that shows the same over the same origin, without the
// chunks that equal the origin's and those that are free. out is a new file;
// the device is only read. A COW with chunks past its end is an error.
func Repack(ctx context.Context, d *Device, out Resizable, o RepackOptions) (RepackResult, error) {
	chunk := o.Chunk
	if chunk == 0 {
		chunk = uint32(d.cow.geo.sectors)
	}
	if err := checkChunk(chunk); err != nil {
		return RepackResult{}, fmt.Errorf("%d sectors: %w", chunk, err)
	}
	p := repacker{ctx: ctx, d: d, o: o, geo: newGeometry(chunk), a: make([]byte, copyBytes), b: make([]byte, copyBytes)}
	p.res = RepackResult{Before: d.cow.Chunks(), ChunkBytes: p.geo.bytes}
	for e := range d.Changed() {
		p.total += e.End - e.Start
	}
	p.most, p.total = p.total, p.total*2
	if err := p.choose(); err != nil {
		return p.res, err
	}
	size, err := p.size()
	if err != nil {
		return p.res, err
	}
	p.res.Size = size
	if err := out.Truncate(0); err != nil {
		return p.res, err
	}
	if err := out.Truncate(size); err != nil {
		return p.res, err
	}
	w := newWriter(out, p.geo)
	if err := p.write(w); err != nil {
		return p.res, err
	}
	return p.res, w.finish(out)
}

type repacker struct {
	ctx         context.Context
	d           *Device
	o           RepackOptions
	geo         geometry // of the new COW
	a, b        []byte
	kept        []run // old and n only
	res         RepackResult
	done, total int64
	most        int64 // of done in this pass: larger chunks read more than changed
}

// size chooses the size of the new COW.
func (p *repacker) size() (int64, error) {
	need, err := p.geo.sizeFor(p.res.Kept)
	if err != nil {
		return 0, err
	}
	size := p.o.Size
	if size == 0 {
		size = max(p.d.cow.size, need)
	}
	if size, err = GoodSize(size, uint32(p.geo.sectors)); err != nil {
		return 0, err
	}
	if p.res.Kept > p.geo.capacity(p.geo.chunks(size)) {
		return 0, &SizeError{size, need, fmt.Sprintf("too small for the %d chunks that differ from the origin", p.res.Kept)}
	}
	return size, nil
}

// choose goes over the chunks that the old COW touches and notes which to keep.
func (p *repacker) choose() error {
	free := newRanges(p.o.Free)
	defer free.stop()
	next := uint64(0) // the first chunk not looked at
	cb := uint64(p.geo.bytes)
	for e := range p.d.Changed() {
		first, end := max(uint64(e.Start)/cb, next), (uint64(e.End)+cb-1)/cb
		for chunk := first; chunk < end; {
			// As many chunks as one read takes.
			n := min(end-chunk, max(uint64(copyBytes)/cb, 1))
			if err := p.look(chunk, n, free); err != nil {
				return err
			}
			chunk += n
		}
		next = max(next, end)
	}
	return nil
}

// span returns the bytes of chunks of the new COW within the device.
func (p *repacker) span(chunk, n uint64) Extent {
	start := int64(chunk) * p.geo.bytes
	return Extent{start, min(p.d.limit-start, int64(n)*p.geo.bytes) + start}
}

// look chooses among n chunks that fit one read, or a single larger one.
func (p *repacker) look(chunk, n uint64, free *ranges) error {
	if p.ctx.Err() != nil {
		return context.Cause(p.ctx)
	}
	e := p.span(chunk, n)
	if n > 1 || e.End-e.Start <= copyBytes {
		a, b := p.a[:e.End-e.Start], p.b[:e.End-e.Start]
		if err := p.pair(a, b, e.Start); err != nil {
			return err
		}
		for i := range n {
			s := p.span(chunk+i, 1)
			equal := bytes.Equal(a[s.Start-e.Start:s.End-e.Start], b[s.Start-e.Start:s.End-e.Start])
			if err := p.take(chunk+i, s, equal, free); err != nil {
				return err
			}
		}
	} else {
		equal := true
		for off := e.Start; off < e.End && equal; off += copyBytes {
			m := min(copyBytes, e.End-off)
			if err := p.pair(p.a[:m], p.b[:m], off); err != nil {
				return err
			}
			equal = bytes.Equal(p.a[:m], p.b[:m])
		}
		if err := p.take(chunk, e, equal, free); err != nil {
			return err
		}
	}
	p.progress(e.End - e.Start)
	return nil
}

func (p *repacker) progress(n int64) {
	p.done = min(p.done+n, p.most)
	if p.o.Progress != nil {
		p.o.Progress(p.done, p.total)
	}
}

// pair reads the same bytes of the device and the origin.
func (p *repacker) pair(a, b []byte, off int64) error {
	if err := tree.ReadFull(p.d, a, off); err != nil {
		return err
	}
	if err := tree.ReadFull(p.d.origin, b, off); err != nil {
		return fmt.Errorf("origin of %s: %w", p.d.cow.name, err)
	}
	return nil
}

// take keeps a chunk or leaves it out.
func (p *repacker) take(chunk uint64, s Extent, equal bool, free *ranges) error {
	if equal {
		p.res.Equal++
		return nil
	}
	within, err := free.holds(s)
	if err != nil {
		return err
	}
	if within {
		p.res.Free++
		return nil
	}
	p.res.Kept++
	if n := len(p.kept); n > 0 && p.kept[n-1].end() == chunk && p.kept[n-1].n < 1<<32-1 {
		p.kept[n-1].n++
	} else {
		p.kept = append(p.kept, run{old: chunk, n: 1})
	}
	return nil
}

// write copies what is kept.
func (p *repacker) write(w *writer) error {
	p.done, p.most = p.most, p.total
	for _, r := range p.kept {
		for i := range uint64(r.n) {
			if err := w.begin(r.old + i); err != nil {
				return err
			}
			s := p.span(r.old+i, 1)
			for off := s.Start; off < s.End; {
				if p.ctx.Err() != nil {
					return context.Cause(p.ctx)
				}
				m := min(copyBytes, s.End-off)
				if err := tree.ReadFull(p.d, p.a[:m], off); err != nil {
					return err
				}
				if err := w.write(p.a[:m]); err != nil {
					return err
				}
				off += m
			}
			p.progress(s.End - s.Start)
			if short := p.geo.bytes - (s.End - s.Start); short > 0 {
				// The last chunk of an odd origin; the file is zero there.
				if err := w.flushData(); err != nil {
					return err
				}
				w.dataAt += short
			}
		}
	}
	return nil
}

// ranges asks an ascending sequence of extents for ascending ranges.
type ranges struct {
	next func() (Extent, error, bool)
	stop func()
	cur  Extent
	err  error
	more bool
}

func newRanges(seq iter.Seq2[Extent, error]) *ranges {
	if seq == nil {
		return &ranges{stop: func() {}}
	}
	r := &ranges{more: true}
	r.next, r.stop = iter.Pull2(seq)
	return r
}

// holds reports whether a range lies within one of the extents. Ranges are asked
// for in ascending order.
func (r *ranges) holds(e Extent) (bool, error) {
	for r.more && r.cur.End < e.End {
		var next Extent
		if next, r.err, r.more = r.next(); !r.more || r.err != nil {
			r.more = false
			break
		}
		if next.Start == r.cur.End {
			next.Start = r.cur.Start
		}
		r.cur = next
	}
	return r.cur.Start <= e.Start && e.End <= r.cur.End && e.Start < e.End, r.err
}
