package dmmerge

import (
	"context"
	"fmt"
	"io"

	"relive/tree"
)

// Condition is something that Recover found a COW in.
type Condition string

// The conditions.
const (
	Invalidated  Condition = "marked invalid"
	Overflowed   Condition = "full"
	HeaderLost   Condition = "header lost"
	Truncated    Condition = "metadata past the end of the file"
	HasPastEnd   Condition = "entries past the end of the file"
	HasStale     Condition = "entries behind the end of the list"
	HasDuplicate Condition = "duplicate entries"
	HasShared    Condition = "entries that share a chunk"
	HasMetadata  Condition = "entries at the place of metadata"
	HasOutside   Condition = "entries for no possible origin"
	Unreadable   Condition = "chunks that cannot be read"
	TrapSize     Condition = "a size that is invalidated when the last area fills"
)

// Lost is a range of the device whose newest content is gone: the merged device
// shows the origin there.
type Lost struct {
	Extent
	Entry uint64 `json:"entry"` // index of the first entry over all areas
	Place string `json:"place"` // the same in words
	Why   string `json:"why"`
}

// Report is what Recover found and did.
type Report struct {
	State      State       `json:"state"`
	Conditions []Condition `json:"conditions"`
	Findings   []Finding   `json:"findings"`
	// Saved chunks are whole.
	Saved uint64 `json:"saved_chunks"`
	Lost  []Lost `json:"lost"`
	// LostChunks is how many chunks the ranges of Lost have together.
	LostChunks uint64 `json:"lost_chunks"`
	ChunkBytes int64  `json:"chunk_bytes"`
	Size       int64  `json:"size"` // of the new COW, in bytes
}

// Sound tells that nothing is wrong.
func (r *Report) Sound() bool { return len(r.Conditions) == 0 }

// RecoverOptions change how a COW is recovered.
type RecoverOptions struct {
	// Chunk is the chunk size in sectors where the header is lost; 0 makes a lost
	// header an error, or a new COW one without entries.
	Chunk uint32
	// Size of the new COW in bytes; 0 means that of the old one, or what the
	// chunks need.
	Size int64
	// Progress is told how many chunks were looked at; it may be nil.
	Progress func(chunks uint64)
}

// Diagnose tells what Recover would do, but for chunks that turn out unreadable.
func Diagnose(in io.ReaderAt, size int64, name string, o RecoverOptions) (*Report, error) {
	_, rep, err := diagnose(in, size, name, o)
	return rep, err
}

func diagnose(in io.ReaderAt, size int64, name string, o RecoverOptions) (*COW, *Report, error) {
	if o.Chunk != 0 {
		if err := checkChunk(o.Chunk); err != nil {
			return nil, nil, fmt.Errorf("%d sectors: %w", o.Chunk, err)
		}
	}
	c, err := open(in, size, name, o.Chunk)
	if err != nil {
		return nil, nil, err
	}
	rep := &Report{State: c.state, Findings: c.findings, ChunkBytes: c.geo.bytes}
	s := c.Status()
	note := func(holds bool, what Condition) {
		if holds {
			rep.Conditions = append(rep.Conditions, what)
		}
	}
	note(c.headerLost, HeaderLost)
	note(!c.headerLost && c.state == Invalid, Invalidated)
	note(c.state != New && c.nextFree >= c.geo.chunks(size), Overflowed)
	has := map[What]bool{}
	for _, f := range c.findings {
		has[f.What] = true
	}
	note(has[MissingArea], Truncated)
	note(has[PastEnd], HasPastEnd)
	note(has[StaleTail], HasStale)
	note(has[Duplicate], HasDuplicate)
	note(has[Shared], HasShared)
	note(has[AtMetadata], HasMetadata)
	note(has[Outside], HasOutside)
	note(s.Trap, TrapSize)
	for _, r := range c.runs {
		c.sort(r, func(part run, why string) {
			if why == "" {
				rep.Saved += uint64(part.n)
			} else {
				rep.lose(c, part, why)
			}
		})
	}
	if rep.Size = o.Size; rep.Size == 0 {
		need, err := c.geo.sizeFor(rep.Saved)
		if err != nil {
			return nil, nil, err
		}
		rep.Size = max(size, need)
	}
	rep.Size, err = GoodSize(rep.Size, uint32(c.geo.sectors))
	if err == nil && rep.Saved > c.geo.capacity(c.geo.chunks(rep.Size)) {
		need, _ := c.geo.sizeFor(rep.Saved)
		err = &SizeError{rep.Size, need, fmt.Sprintf("too small for the %d chunks that are whole", rep.Saved)}
	}
	return c, rep, err
}

// sort splits a run into what is whole, for which why is "", and what is not.
func (c *COW) sort(r run, fn func(part run, why string)) {
	whole := c.geo.chunks(c.size)
	for r.n > 0 {
		n, why := uint64(r.n), ""
		switch {
		case r.new >= whole:
			why = "past the end of the file"
		case c.geo.isMetadata(r.new) && r.new <= c.geo.areaChunk(c.area):
			n, why = 1, "overwritten by metadata"
		default:
			next := r.new + c.geo.stride - (r.new+c.geo.stride-1)%c.geo.stride
			n = min(n, next-r.new, whole-r.new)
		}
		fn(r.part(r.old, r.old+n), why)
		r = r.part(r.old+n, r.end())
	}
}

// lose notes chunks that are gone.
func (r *Report) lose(c *COW, part run, why string) {
	cb := uint64(c.geo.bytes)
	r.LostChunks += uint64(part.n)
	limit := uint64(1<<63-1) / cb
	e := Extent{Start: int64(min(part.old, limit) * cb), End: int64(min(part.end(), limit) * cb)}
	if n := len(r.Lost); n > 0 && r.Lost[n-1].End == e.Start && r.Lost[n-1].Why == why {
		r.Lost[n-1].End = e.End
		return
	}
	r.Lost = append(r.Lost, Lost{e, uint64(part.entry), c.geo.place(uint64(part.entry)), why})
}

// Recover reads a COW in whatever state and writes a new one that holds all of
// it that is whole: valid, of a good size, without gaps. in is only read; out is
// a new file. The report lists what was wrong and what is lost.
//
// The earliest of several entries for a chunk is kept, as the kernel reads it.
// Entries behind the end of the list are left out, since the kernel does not
// show them.
func Recover(ctx context.Context, in io.ReaderAt, size int64, name string, out Resizable, o RecoverOptions) (*Report, error) {
	c, rep, err := diagnose(in, size, name, o)
	if err != nil {
		return nil, err
	}
	if c.state == New {
		return rep, Create(out, rep.Size, 0)
	}
	if err := out.Truncate(0); err != nil {
		return nil, err
	}
	if err := out.Truncate(rep.Size); err != nil {
		return nil, err
	}
	s := salvage{ctx: ctx, c: c, rep: rep, w: newWriter(out, c.geo),
		buf: make([]byte, max(copyBytes/c.geo.bytes, 1)*min(c.geo.bytes, copyBytes)), o: o}
	for _, r := range c.runs {
		c.sort(r, func(part run, why string) {
			if why == "" && err == nil {
				err = s.run(part)
			}
		})
		if err != nil {
			return nil, err
		}
	}
	if s.bad {
		rep.Conditions = append(rep.Conditions, Unreadable)
	}
	return rep, s.w.finish(out)
}

// salvage copies whole chunks.
type salvage struct {
	ctx  context.Context
	c    *COW
	rep  *Report
	w    *writer
	buf  []byte
	o    RecoverOptions
	done uint64
	bad  bool
}

// run copies a run, and loses those of its chunks that cannot be read.
func (s *salvage) run(r run) error {
	cb := s.c.geo.bytes
	per := uint64(max(int64(len(s.buf))/cb, 1))
	for r.n > 0 {
		if s.ctx.Err() != nil {
			return context.Cause(s.ctx)
		}
		n := min(per, uint64(r.n))
		part := r.part(r.old, r.old+n)
		whole, err := s.copy(part)
		if err == nil && !whole {
			for i := uint64(0); i < n && err == nil; i++ {
				one := part.part(part.old+i, part.old+i+1)
				if whole, err = s.copy(one); err == nil && !whole {
					s.bad = true
					s.rep.Saved--
					s.rep.lose(s.c, one, "cannot be read")
				}
			}
		}
		if err != nil {
			return err
		}
		s.done += n
		if s.o.Progress != nil {
			s.o.Progress(s.done)
		}
		r = r.part(r.old+n, r.end())
	}
	return nil
}

// copy copies chunks that fit the buffer, or a single larger one, unless they
// cannot be read.
func (s *salvage) copy(r run) (whole bool, err error) {
	cb := s.c.geo.bytes
	off, size := int64(r.new)*cb, int64(r.n)*cb
	if size <= int64(len(s.buf)) {
		if tree.ReadFull(s.c.r, s.buf[:size], off) != nil {
			return false, nil
		}
		for i := int64(0); i < int64(r.n) && err == nil; i++ {
			if err = s.w.begin(r.old + uint64(i)); err == nil {
				err = s.w.write(s.buf[i*cb : (i+1)*cb])
			}
		}
		return true, err
	}
	// The whole chunk must be readable before it gets an entry.
	for at := int64(0); at < size; at += int64(len(s.buf)) {
		if s.ctx.Err() != nil {
			return false, context.Cause(s.ctx)
		}
		if tree.ReadFull(s.c.r, s.buf[:min(int64(len(s.buf)), size-at)], off+at) != nil {
			return false, nil
		}
	}
	if err := s.w.begin(r.old); err != nil {
		return false, err
	}
	for at := int64(0); at < size; {
		p := s.buf[:min(int64(len(s.buf)), size-at)]
		if err := tree.ReadFull(s.c.r, p, off+at); err != nil {
			return false, fmt.Errorf("%s: chunk %d: %w", s.c.name, r.new, err)
		}
		if err := s.w.write(p); err != nil {
			return false, err
		}
		at += int64(len(p))
	}
	return true, nil
}

// Activate makes a COW valid where it stands. It does so only where nothing
// else is wrong with it: see Grow, which it is without growing.
func Activate(s Resizable, size int64, name string) (GrowResult, error) {
	c, err := Open(s, size, name)
	if err != nil {
		return GrowResult{}, err
	}
	for _, f := range c.findings {
		if f.What != StaleTail {
			return GrowResult{}, tree.Corrupt(name, "metadata", "%v", f)
		}
	}
	if st := c.Status(); st.Full && c.state == Invalid {
		return GrowResult{}, tree.Corrupt(name, "header",
			"it is marked invalid and full (%d of %d sectors): its next write would invalidate it again", st.Allocated, st.Total)
	}
	return grow(c, s, size)
}
