package erofs

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"

	"relive/erofs/internal/ondisk"
	"relive/internal/filedata"
	"relive/internal/hostcopy"
	"relive/tree"
)

// origin is an image that is copied from.
type origin struct {
	img     *Reader
	mu      sync.Mutex       // of what follows, while files are compared
	usable  bool             // its options are those of the new image
	extents []hostcopy.Range // in its order; those that several files have are there once
	bytes   int64            // of all extents together
	members []member         // of packed data, until that is planned
	packed  *packedSource    // nil where nothing of it is live
	// whole are the places of streams that a live file has all of, of images in which
	// others have parts.
	whole map[int64]bool
}

// sourceOf gives the source of an image, which may turn out not to be usable.
func (p *Plan) sourceOf(img *Reader) (*origin, error) {
	for _, s := range p.sources {
		if s.img == img {
			return s, nil
		}
	}
	s := &origin{img: img}
	like, err := inspect(img)
	if err != nil {
		return nil, err
	}
	s.usable = like != nil && p.o.alike(like)
	if s.usable && p.o.NoDead && img.super.Incompat&ondisk.IncompatFragments != 0 {
		s.whole = map[int64]bool{}
	}
	p.sources = append(p.sources, s)
	return s, nil
}

// alike tells whether what an image with the other options stores is what these would
// have it be.
func (o *WriteOptions) alike(other *WriteOptions) bool {
	if len(o.Compressions) != len(other.Compressions) || o.Legacy != other.Legacy || o.PclusterSize != other.PclusterSize ||
		other.Fragments && !o.Fragments || other.Tails && !o.Tails || o.AllFragments != other.AllFragments {
		return false
	}
	for i := range other.Compressions {
		c := &other.Compressions[i]
		k := slices.IndexFunc(o.Compressions, func(d Compression) bool { return d.Algorithm == c.Algorithm })
		if k < 0 || !o.Compressions[k].decodes(c) {
			return false
		}
	}
	return true
}

// decodes tells whether a decoder for c is one for d.
func (c *Compression) decodes(d *Compression) bool {
	a, b := &c.Options, &d.Options
	return a.Dictionary >= b.Dictionary && a.WindowLog >= b.WindowLog && a.WindowBits >= b.WindowBits && c.Distance >= d.Distance
}

// holds tells whether an extent as it is stored can be in an image with the options.
func (o *WriteOptions) holds(e *extent) bool {
	switch {
	case e.form == formFragment:
		return o.packs()
	case e.form == formHole, e.stored > o.PclusterSize, e.partial && !o.packs() && !o.Dedupe:
		return false
	case e.inline:
		return o.Tails
	}
	return e.pos%BlockSize == 0 && e.stored%BlockSize == 0
}

// reuse finds what of a fresh file's content is stored: all of it, or, of content that
// is another with changes, what is unchanged.
func (p *Plan) reuse(f *file, d tree.Data) error {
	if stored, ok := d.(*fileData); ok {
		src, err := p.sourceOf(stored.r)
		if err != nil || !src.usable || stored.size != f.size {
			return err
		}
		taken, err := p.copyAll(f, stored, src)
		if taken && src.whole == nil {
			f.more = nil // the tree has it all
		}
		return err
	}
	patched, ok := d.(tree.Patched)
	if !ok {
		return nil
	}
	stored, ok := patched.Below().(*fileData)
	if !ok {
		return nil
	}
	src, err := p.sourceOf(stored.r)
	if err != nil || !src.usable {
		return err
	}
	// What a lower layer had would be looked for in vain, extent by extent.
	f.more.was = nil
	if stored.size == f.size && !patched.ChangedIn(0, f.size) {
		f.more.stored = stored
		_, err := p.copyAll(f, stored, src)
		return err
	}
	return p.keepEqual(f, stored, src, func(e *extent) (bool, error) {
		return e.end <= f.size && (e.end == stored.size) == (e.end == f.size) && !patched.ChangedIn(e.start, e.len()), nil
	})
}

// copyAll makes f a file of which all is copied, where that can be.
func (p *Plan) copyAll(f *file, stored *fileData, src *origin) (bool, error) {
	t := taker{o: &p.o, src: src}
	_, ok, err := t.layout(stored)
	if err != nil || !ok {
		return false, err
	}
	t.commit()
	f.kind, f.source, f.nid = storedFile, src, stored.nid
	return true, nil
}

// taker makes the layout of a file that is copied, and gathers what that takes of the
// source. Before the plan is made it has no places.
type taker struct {
	o       *WriteOptions
	src     *origin
	ranges  []hostcopy.Range
	members []member
	whole   []int64
	placed  bool // the places are known
}

// at gives the block of stored bytes in the new image.
func (t *taker) at(pos, n int64) uint32 {
	if t.placed {
		return uint32(t.src.moved(pos) >> writeBits)
	}
	if n > 0 {
		if k := len(t.ranges) - 1; k >= 0 && t.ranges[k].Src+t.ranges[k].Len == pos {
			t.ranges[k].Len += n
		} else {
			t.ranges = append(t.ranges, hostcopy.Range{Src: pos, Len: n})
		}
	}
	return 0
}

// commit has the source be copied from.
func (t *taker) commit() {
	s := t.src
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range t.ranges {
		if k := len(s.extents) - 1; k >= 0 && s.extents[k].Src+s.extents[k].Len == r.Src {
			s.extents[k].Len += r.Len
		} else {
			s.extents = append(s.extents, r)
		}
	}
	s.members = append(s.members, t.members...)
	for _, pos := range t.whole {
		s.whole[pos] = true
	}
}

// layout gives the layout of a stored file in the new image; all of it is checked.
func (s *origin) layout(o *WriteOptions, d *fileData) (*fileLayout, bool, error) {
	t := taker{o: o, src: s, placed: true}
	return t.layout(d)
}

func (t *taker) layout(d *fileData) (l *fileLayout, ok bool, err error) {
	l = &fileLayout{size: d.size}
	switch d.layout {
	case ondisk.FlatPlain, ondisk.FlatInline:
		f, err := d.flat()
		if err != nil || d.hole {
			return nil, false, err
		}
		whole := up(f.blocks, BlockSize)
		if whole > 0 && (f.start < 0 || whole > d.r.size-f.start) {
			return nil, false, d.corrupt("its data of %d bytes at offset %d reaches past the end of the image at %d", whole, f.start,
				d.r.size)
		}
		if whole > 0 {
			l.block = t.at(f.start, whole)
		}
		if n := d.size - f.blocks; n > 0 {
			if n > inlineMax {
				return nil, false, nil
			}
			l.tail = make([]byte, n)
			err = d.r.readMeta(l.tail, d.tail)
		}
		return l, true, err
	case ondisk.ChunkBased:
		return t.chunks(d)
	}
	c, err := d.compressed(false)
	if err != nil {
		return nil, false, tree.Within(err, "%s", d.place())
	}
	ok = true
	err = c.each(func(i int, e *extent) error {
		if ok = t.extent(l, e); !ok {
			return errStop
		}
		if e.inline {
			l.end, l.tail = inlineTail, make([]byte, e.stored)
			return d.r.readMeta(l.tail, e.pos)
		}
		return nil
	})
	if err == errStop {
		err = nil
	}
	return l, ok, err
}

// errStop ends a walk through extents.
var errStop = errors.New("stop")

// each calls fn with the extents of a file, in order, with their numbers.
func (f *compressed) each(fn func(i int, e *extent) error) error {
	for i, off := 0, int64(0); off < f.d.size; i++ {
		e, err := f.at(off)
		if err == nil {
			err = fn(i, e)
		}
		if err != nil {
			return tree.Within(err, "%s", f.d.place())
		}
		off = e.end
	}
	return nil
}

// extent adds an extent to a layout; it tells whether that can be.
func (t *taker) extent(l *fileLayout, e *extent) bool {
	if !t.o.holds(e) || e.inline && e.stored > inlineMax {
		return false
	}
	l.kind = extentLayout
	x := placed{start: e.start, typ: ondisk.Head1, partial: e.partial, blocks: uint16(e.stored >> writeBits)}
	switch e.form {
	case formFragment:
		l.end = fragmentTail
		if l.fragment = e.pos; t.placed {
			l.fragment = t.src.packed.moved(e.pos)
		} else {
			t.members = append(t.members, member{e.pos, e.len()})
		}
		if e.start == 0 {
			l.kind = packedLayout
			return true
		}
		x.blocks = 0
		l.exts = append(l.exts, x)
		return true
	case formPlain, formInterlaced:
		x.typ = ondisk.Plain
		if !e.inline {
			l.interlaced = e.form == formInterlaced
		}
	case formStream:
		if len(l.exts) > 0 && l.algo != e.algo && t.streams(l) {
			return false // two algorithms in a file
		}
		l.algo = e.algo
	}
	if e.inline {
		x.blocks = 0
	} else {
		x.block = t.at(e.pos, int64(e.stored))
		if t.src.whole != nil && !e.partial && !t.placed {
			t.whole = append(t.whole, e.pos)
		}
	}
	l.exts = append(l.exts, x)
	return true
}

// streams tells whether any extent is compressed.
func (t *taker) streams(l *fileLayout) bool {
	return slices.ContainsFunc(l.exts, func(e placed) bool { return e.typ == ondisk.Head1 })
}

// chunks is layout for files of chunks.
func (t *taker) chunks(d *fileData) (*fileLayout, bool, error) {
	f, err := d.chunks()
	if err != nil || t.o.ChunkSize == 0 || (d.size-1)>>f.bits >= 4*chunksMax {
		return nil, false, err
	}
	l := &fileLayout{size: d.size, kind: chunkLayout, chunkBits: f.bits}
	for i := range (d.size-1)>>f.bits + 1 {
		at, hole, err := f.chunk(i)
		if err != nil {
			return nil, false, err
		}
		if hole {
			l.chunks = append(l.chunks, ondisk.NoBlock)
			continue
		}
		n := up(min(int64(1)<<f.bits, d.size-i<<f.bits), BlockSize)
		if at < 0 || n > d.r.size-at {
			return nil, false, d.corrupt("chunk %d at offset %d reaches past the end of the image at %d", i, at, d.r.size)
		}
		l.chunks = append(l.chunks, t.at(at, n))
	}
	return l, true, nil
}

// relocate decides which ranges of each source are copied and where they lie in the
// new image.
func (p *Plan) relocate(ctx context.Context) error {
	if p.o.NoDead {
		p.dropPartial()
	}
	pos := int64(BlockSize)
	var packed int64
	for _, s := range p.sources {
		slices.SortFunc(s.extents, func(a, b hostcopy.Range) int { return cmp.Compare(a.Src, b.Src) })
		out := s.extents[:0]
		for _, e := range s.extents {
			if k := len(out) - 1; k >= 0 && e.Src <= out[k].Src+out[k].Len {
				out[k].Len = max(out[k].Len, e.Src+e.Len-out[k].Src)
				continue
			}
			out = append(out, e)
		}
		s.extents = slices.Clip(out)
		for i := range s.extents {
			s.extents[i].Dst = pos
			pos += s.extents[i].Len
			s.bytes += s.extents[i].Len
		}
		var err error
		if packed, err = p.planPacked(s, packed); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	return nil
}

// dropPartial has files be compressed anew that have a part of a stream of which no
// live file has all: the rest of it is dead.
func (p *Plan) dropPartial() {
	gathered := false
	for {
		again := false
		for _, f := range p.files.all() {
			if f.source == nil || f.source.whole == nil || f.kind != storedFile || f.more == nil {
				continue
			}
			if f.more.partials(f.source) {
				f.kind, f.source, f.more.stored = freshFile, nil, nil
				again, gathered = true, true
			}
		}
		if !again {
			break
		}
		// Those that were dropped may have had all of what others have parts of.
		p.gather()
	}
	if gathered {
		p.gather()
	}
}

// gather finds anew what is copied of sources in which files have parts of streams.
func (p *Plan) gather() {
	for _, s := range p.sources {
		if s.whole != nil {
			s.extents, s.members, s.whole = nil, nil, map[int64]bool{}
		}
	}
	for _, f := range p.files.all() {
		if f.source == nil || f.source.whole == nil || f.more == nil {
			continue
		}
		t := taker{o: &p.o, src: f.source}
		switch f.kind {
		case storedFile:
			_, _, _ = t.layout(f.more.form()) // it was made before
		case mixedFile:
			_ = f.more.kept(func(_ int, e *extent) error {
				t.extent(&fileLayout{}, e)
				return nil
			})
		}
		t.commit()
	}
}

// form is what of a stored file is copied.
func (m *reading) form() *fileData {
	if m.stored != nil {
		return m.stored
	}
	d, _ := m.data.(*fileData)
	return d
}

// kept calls fn with the extents of a mixed file that are copied.
func (m *reading) kept(fn func(i int, e *extent) error) error {
	c, err := m.stored.compressed(false)
	if err != nil {
		return tree.Within(err, "%s", m.stored.place())
	}
	return c.each(func(i int, e *extent) error {
		if !m.keep.has(i) {
			return nil
		}
		return fn(i, e)
	})
}

// partials tells whether a stored file has a part of a stream that no one has all of.
func (m *reading) partials(s *origin) bool {
	d := m.form()
	if d.layout != ondisk.CompressedFull {
		return false
	}
	c, err := d.compressed(false)
	if err != nil {
		return true
	}
	err = c.each(func(_ int, e *extent) error {
		if e.partial && !s.whole[e.pos] {
			return errStop
		}
		return nil
	})
	return err != nil
}

// moved gives the place in the new image of what is copied.
func (s *origin) moved(pos int64) int64 {
	i, found := slices.BinarySearchFunc(s.extents, pos, func(e hostcopy.Range, at int64) int { return cmp.Compare(e.Src, at) })
	if !found {
		i--
	}
	e := s.extents[i]
	return e.Dst + pos - e.Src
}

// keepEqual makes f a file of which those extents are copied for which same holds,
// where there are any, and between which the rest can be written.
func (p *Plan) keepEqual(f *file, stored *fileData, src *origin, same func(e *extent) (bool, error)) error {
	if stored.layout != ondisk.CompressedCompact && stored.layout != ondisk.CompressedFull {
		return nil
	}
	c, err := stored.compressed(false)
	if err != nil {
		return tree.Within(err, "%s", stored.place())
	}
	t := taker{o: &p.o, src: src}
	var keep keepBits
	var plain form
	var open *stretch
	err = c.each(func(i int, e *extent) error {
		ok := p.o.holds(e) && !e.inline && e.form != formFragment && (e.form != formStream || e.algo == p.o.Compressions[0].Algorithm)
		if e.partial && src.whole != nil {
			ok = false // the rest of the stream may be dead
		}
		if ok && e.form != formStream {
			if plain == formStream {
				plain = e.form
			}
			ok = plain == e.form
		}
		if ok {
			if ok, err = same(e); err != nil {
				return err
			}
		}
		if ok && open != nil {
			if ok, err = p.bridges.fits(&p.o, open, f.more.data, e.start); err != nil {
				return err
			}
		}
		if !ok {
			if open == nil {
				open = &stretch{from: e.start}
			}
			return nil
		}
		open = nil
		keep.set(i)
		t.extent(&fileLayout{}, e)
		return nil
	})
	if err != nil || keep.count() == 0 {
		return err
	}
	t.commit()
	f.kind, f.source = mixedFile, src
	f.more.stored, f.more.keep = stored, keep
	return nil
}

// mixed makes the tasks of a file some extents of which are copied.
func (f *feeder) mixed(of *writtenFile) error {
	file, o, l := of.file, &f.w.plan.o, of.layout
	l.kind, l.algo, l.interlaced = extentLayout, o.Compressions[0].Algorithm, o.interlaced()
	t := taker{o: o, src: file.source, placed: true}
	err := file.more.kept(func(_ int, e *extent) error {
		if e.form == formPlain || e.form == formInterlaced {
			l.interlaced = e.form == formInterlaced
			return errStop
		}
		return nil
	})
	if err != nil && err != errStop {
		return err
	}
	data := filedata.Ranges{Content: of.content}
	at := int64(0)
	var kept *task
	err = file.more.kept(func(_ int, e *extent) error {
		if e.start > at {
			if kept != nil {
				if err := f.push(kept); err != nil {
					return err
				}
				kept = nil
			}
			if err := f.pieces(of, compressTask, at, e.start, false, &data); err != nil {
				return err
			}
		}
		if kept == nil {
			kept = &task{kind: keptTask, file: of}
		}
		var one fileLayout
		t.extent(&one, e)
		kept.run.exts = append(kept.run.exts, one.exts...)
		at = e.end
		return nil
	})
	if err != nil {
		return err
	}
	if kept != nil {
		if err := f.push(kept); err != nil {
			return err
		}
	}
	return f.pieces(of, compressTask, at, file.size, true, &data)
}
