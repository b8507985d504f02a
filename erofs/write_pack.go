package erofs

import (
	"cmp"
	"fmt"
	"slices"

	"relive/erofs/internal/ondisk"
	"relive/internal/hostcopy"
	"relive/tree"
)

// packer gathers what files have in packed data and compresses it by runs. It belongs
// to the collector.
type packer struct {
	w     *writer
	size  int64 // of packed data so far
	start int64 // of what is in buf
	buf   []byte
	exts  []placed
	tasks []*packedRun // that are being compressed
}

// packedRun is a run of packed data on its way to be written.
type packedRun struct {
	run
	fill func(raw []byte) error // makes the content
	err  error
	done chan struct{}
}

// packPhase is where in packed data the index has the first of its packs of 16
// entries, which hold what lies together: runs begin at one.
const (
	packPhase = 6 * BlockSize
	packSpan  = 16 * BlockSize
)

// inFlight is how many runs may wait for their turn to be written. It decides where
// they lie, and so does not depend on the number of workers.
func (p *packer) inFlight() int {
	return int(min(max((32<<20)/p.w.plan.o.runBytes(), 3), 16))
}

// runEnd is where a run that begins at start is to end.
func (p *packer) runEnd(start int64) int64 {
	return (start+p.w.plan.o.runBytes())/packSpan*packSpan + packPhase
}

// add puts content into packed data, and gives where it begins.
func (p *packer) add(b []byte) (int64, error) {
	at := p.size
	p.size += int64(len(b))
	for {
		room := p.runEnd(p.start) - p.start - int64(len(p.buf))
		if int64(len(b)) < room {
			p.buf = append(p.buf, b...)
			return at, p.w.ctx.Err()
		}
		p.buf = append(p.buf, b[:room]...)
		b = b[room:]
		p.close(false)
	}
}

// close has what is there be compressed.
func (p *packer) close(last bool) {
	if len(p.buf) == 0 {
		return
	}
	raw := p.buf
	j := &packedRun{done: make(chan struct{})}
	j.run = run{start: p.start, end: p.start + int64(len(raw)), last: last, interlaced: p.w.plan.o.interlaced()}
	p.start, p.buf = j.end, nil
	p.tasks = append(p.tasks, j)
	go j.compress(p.w, raw)
}

// launch compresses a range in the background, after what makes its content.
func (p *packer) launch(start, end int64, fill func(raw []byte) error) *packedRun {
	j := &packedRun{fill: fill, done: make(chan struct{})}
	j.run = run{start: start, end: end, interlaced: p.w.plan.o.interlaced()}
	go func() {
		raw := make([]byte, end-start)
		if err := fill(raw); err != nil {
			j.err = err
			close(j.done)
			return
		}
		j.compress(p.w, raw)
	}()
	return j
}

func (j *packedRun) compress(w *writer, raw []byte) {
	j.err = w.compress(&j.run, raw)
	close(j.done)
}

// join has two runs that follow each other be compressed as one.
func (p *packer) join(a, b *packedRun) *packedRun {
	return p.launch(a.start, b.end, func(raw []byte) error {
		if err := a.fill(raw[:b.start-a.start]); err != nil {
			return err
		}
		return b.fill(raw[b.start-a.start:])
	})
}

// write writes runs, the oldest first, until no more than leave are on their way. One
// that has no place for itself is joined with the next one; where that is yet to come,
// the error is errDense.
func (p *packer) write(leave int) error {
	for len(p.tasks) > leave {
		j := p.tasks[0]
		<-j.done
		if j.err == errDense {
			if len(p.tasks) == 1 {
				return errDense
			}
			next := p.tasks[1]
			<-next.done
			p.tasks = p.tasks[1:]
			p.tasks[0] = p.join(j, next)
			continue
		}
		if j.err != nil {
			return fmt.Errorf("packed data: %w", j.err)
		}
		block, err := p.w.append(j.out)
		if err != nil {
			return err
		}
		for _, e := range j.exts {
			e.block += block
			p.exts = append(p.exts, e)
		}
		p.tasks = p.tasks[1:]
	}
	return nil
}

// wait waits for all that is under way.
func (p *packer) wait() {
	for _, j := range p.tasks {
		<-j.done
	}
}

// finish writes the rest, and gives the layout of packed data, or nil where there is
// none.
func (p *packer) finish() (*fileLayout, error) {
	p.close(true)
	if err := p.write(0); err != nil || p.size == 0 {
		return nil, err
	}
	o := &p.w.plan.o
	return &fileLayout{size: p.size, kind: extentLayout, exts: p.exts, algo: o.Compressions[0].Algorithm, interlaced: o.interlaced()}, nil
}

// begin brings over the packed data of images that are copied from, extent by extent:
// as it is stored, or with what is dead in it made zeros.
func (p *packer) begin() error {
	for _, s := range p.w.plan.sources {
		if s.packed == nil {
			continue
		}
		for i := range s.packed.exts {
			e := &s.packed.exts[i]
			if e.action == dropExtent {
				continue
			}
			p.zeros(e.to)
			kept := e.action == keepExtent
			if kept {
				// All before it lies before it.
				if err := p.write(0); err == errDense {
					kept = false
				} else if err != nil {
					return err
				}
			}
			if kept {
				if err := p.keep(s, e); err != nil {
					return err
				}
			} else {
				p.tasks = append(p.tasks, p.launch(e.to, e.upto, func(raw []byte) error { return s.packed.live(raw, e) }))
				p.w.progress.Compressed(e.len())
				if err := p.write(p.inFlight()); err != nil {
					return err
				}
			}
			p.size = e.upto
		}
	}
	if p.size > 0 {
		p.zeros((p.size-packPhase+packSpan-1)/packSpan*packSpan + packPhase)
	}
	p.start = p.size
	return p.write(0)
}

// zeros puts zeros where there is a gap up to a place.
func (p *packer) zeros(to int64) {
	if to <= p.size {
		return
	}
	p.tasks = append(p.tasks, p.launch(p.size, to, func([]byte) error { return nil }))
	p.size = to
}

// keep copies an extent of another image.
func (p *packer) keep(s *origin, e *packedExtent) error {
	typ := ondisk.Head1
	if e.form != formStream {
		typ = ondisk.Plain
	}
	p.exts = append(p.exts, placed{start: e.to, block: uint32(p.w.pos >> writeBits), blocks: uint16(e.stored >> writeBits), typ: typ})
	r := copied{s, hostcopy.Range{Src: e.pos, Len: int64(e.stored), Dst: p.w.pos}}
	fmt.Fprintln(p.w.sum, r.Src, r.Len, r.Dst)
	select {
	case p.w.copies <- r:
	case <-p.w.ctx.Done():
		return p.w.ctx.Err()
	}
	p.w.advance(int64(e.stored))
	return nil
}

// live reads an extent that is packed anew, without what is dead in it.
func (s *packedSource) live(raw []byte, e *packedExtent) error {
	b := make([]byte, e.len())
	if err := s.img.readPacked(b, e.start); err != nil {
		return err
	}
	for i := e.member; i < len(s.members) && s.members[i].off < e.start+e.len(); i++ {
		m := &s.members[i]
		from, to := max(m.off, e.start)-e.start, min(m.off+m.len, e.start+e.len())-e.start
		if from < to {
			copy(raw[from:to], b[from:to])
		}
	}
	return nil
}

// packedSource is the packed data of an image that is copied from.
type packedSource struct {
	img     *Reader
	members []member // live ones, by offset, joined
	exts    []packedExtent
}

// member is a part of packed data that files have.
type member struct{ off, len int64 }

// packedExtent is an extent of packed data and what becomes of it.
type packedExtent struct {
	extent
	action   extentAction
	live     int64
	member   int   // the first that may be in it
	to, upto int64 // where it begins and ends in the new packed data
}

type extentAction uint8

const (
	dropExtent  extentAction = iota
	keepExtent               // copied
	renewExtent              // made anew, with zeros for what is dead
)

// planPacked decides what becomes of the extents of packed data, and where they are in
// the new one, which is size bytes long before them; it gives the size with them.
// Each stays where it is in its lcluster, so that no two begin in one: where extents
// are left out before it, zeros take their place.
func (p *Plan) planPacked(s *origin, size int64) (int64, error) {
	ps := &packedSource{img: s.img, members: joinMembers(s.members)}
	s.members = nil
	if len(ps.members) == 0 {
		return size, nil
	}
	c := s.img.packed.(*content)
	f, ok := c.pieces.(*compressed)
	if !ok {
		return 0, tree.Unsupported(s.img.name, "packed inode", "is not compressed")
	}
	for off := int64(0); off < c.d.size; {
		e, err := f.at(off)
		if err != nil {
			return 0, err
		}
		ps.exts = append(ps.exts, packedExtent{extent: *e})
		off = e.end
	}
	ps.findLive()
	p.choosePacked(ps)
	size = up(size, BlockSize)
	var head int64 = -1 // lcluster of the last head
	for i := range ps.exts {
		e := &ps.exts[i]
		if e.action == dropExtent {
			p.Stats.DroppedExtents++
			continue
		}
		to := size&^(BlockSize-1) | e.start&(BlockSize-1)
		if to < size || to > size && to>>writeBits == size>>writeBits {
			to += BlockSize
		}
		if to == size && to>>writeBits == head {
			to += BlockSize
		}
		e.to, e.upto = to, to+e.len()
		head, size = to>>writeBits, e.upto
	}
	// More follows, and begins in an lcluster of its own.
	for i := len(ps.exts) - 1; i >= 0; i-- {
		e := &ps.exts[i]
		if e.action == dropExtent {
			continue
		}
		if e.upto>>writeBits == e.to>>writeBits {
			e.action, e.upto = renewExtent, up(e.upto, BlockSize)
			size = e.upto
		}
		break
	}
	s.packed = ps
	return size, nil
}

// joinMembers sorts members and joins those that touch.
func joinMembers(all []member) []member {
	slices.SortFunc(all, func(a, b member) int { return cmp.Compare(a.off, b.off) })
	out := all[:0]
	for _, m := range all {
		if k := len(out) - 1; k >= 0 && m.off <= out[k].off+out[k].len {
			out[k].len = max(out[k].len, m.off+m.len-out[k].off)
			continue
		}
		out = append(out, m)
	}
	return slices.Clip(out)
}

// findLive counts the bytes of each extent that files have.
func (s *packedSource) findLive() {
	k := 0
	for i := range s.exts {
		e := &s.exts[i]
		for k < len(s.members) && s.members[k].off+s.members[k].len <= e.start {
			k++
		}
		e.member = k
		for j := k; j < len(s.members) && s.members[j].off < e.end; j++ {
			m := &s.members[j]
			e.live += min(m.off+m.len, e.end) - max(m.off, e.start)
		}
	}
}

// choosePacked decides which extents are copied: those of which more than half is live,
// but the emptiest of them until what is dead in the others is within MaxDead.
func (p *Plan) choosePacked(s *packedSource) {
	var kept []*packedExtent
	var dead, all int64
	for i := range s.exts {
		e := &s.exts[i]
		switch {
		case e.live == 0:
			continue
		case !p.copyable(e), 2*e.live < e.len(), p.o.NoDead && e.live < e.len():
			e.action = renewExtent
		default:
			e.action = keepExtent
			dead, all = dead+e.len()-e.live, all+e.len()
			kept = append(kept, e)
		}
	}
	share := func(e *packedExtent) float64 { return float64(e.len()-e.live) / float64(e.len()) }
	slices.SortStableFunc(kept, func(a, b *packedExtent) int { return cmp.Compare(share(b), share(a)) })
	for _, e := range kept {
		if float64(dead) <= p.o.MaxDead*float64(all) || e.live == e.len() {
			break
		}
		e.action = renewExtent
		dead, all = dead-e.len()+e.live, all-e.len()
	}
	p.Stats.DeadBytes += dead
	for i := range s.exts {
		if s.exts[i].action == renewExtent {
			p.Stats.RepackedExtents++
			p.Stats.CompressBytes += s.exts[i].len()
		}
	}
}

// copyable tells whether an extent of packed data can be copied as it is.
func (p *Plan) copyable(e *packedExtent) bool {
	if e.partial || !p.o.holds(&e.extent) {
		return false
	}
	switch e.form {
	case formPlain:
		return !p.o.interlaced()
	case formInterlaced:
		return p.o.interlaced()
	}
	return e.algo == p.o.Compressions[0].Algorithm
}

// moved gives where a place in the packed data of the source is in the new one.
func (s *packedSource) moved(off int64) int64 {
	i, found := slices.BinarySearchFunc(s.exts, off, func(e packedExtent, at int64) int { return cmp.Compare(e.start, at) })
	if !found {
		i--
	}
	return s.exts[i].to + off - s.exts[i].start
}
