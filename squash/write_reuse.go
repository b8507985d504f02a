package squash

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"

	"relive/internal/filedata"
	"relive/internal/hostcopy"
	"relive/squash/internal/ondisk"
)

// extent is a range of stored bytes that is copied from one image to another.
type extent struct {
	src, len int64
	dst      int64 // relative to the start of the image that is written
}

func (e *extent) copied() hostcopy.Range { return hostcopy.Range{Src: e.src, Len: e.len, Dst: e.dst} }

// fragmentUse is what the plan does with one fragment block of a source.
type fragmentUse struct {
	entry ondisk.FragmentEntry
	used  uint32 // bytes that members of the source take
	live  uint32 // bytes of members that the new image holds
	drop  bool   // not copied: nothing is live, or its live members are packed anew
	index uint32 // in the new image, where it is copied
}

// member is a tail within a fragment block.
type member struct{ fragment, offset, size uint32 }

// relocate decides which ranges of each source are copied, where they lie in
// the new image, and gives the files that they belong to their layouts.
func (p *Plan) relocate(ctx context.Context) error {
	for _, s := range p.sources {
		if err := p.useFragments(ctx, s); err != nil {
			return err
		}
	}
	fragments, pos := uint32(0), p.dataStart()
	for _, s := range p.sources {
		p.gatherExtents(s)
		for i := range s.extents {
			s.extents[i].dst = pos
			pos += s.extents[i].len
			s.bytes += s.extents[i].len
		}
		for i := range s.frags {
			if f := &s.frags[i]; !f.drop {
				f.index = fragments
				fragments++
			}
		}
	}
	for i, f := range p.files.all() {
		if f.kind == storedFile {
			f.start = f.source.moved(f.start, f.words)
		}
		fragment, offset := f.tail()
		if fragment == ondisk.NoFragment {
			continue
		}
		if u := &f.source.frags[fragment]; !u.drop {
			f.fragment, f.fragOff = u.index, offset
			continue
		}
		f.keepTail = false // it is packed anew
		if f.kind == storedFile {
			if key := f.packedTail(p.o.BlockSize); !p.hasTail(key) {
				p.tails[key] = i
			}
		}
	}
	return nil
}

// tail returns the place in the source of a tail that is stored there and is to be
// copied, NoFragment where there is none.
func (f *file) tail() (fragment, offset uint32) {
	switch {
	case !f.keepTail:
	case f.kind == storedFile:
		return f.fragment, f.fragOff
	case f.kind == mixedFile:
		return f.more.stored.Fragment, f.more.stored.FragmentOffset
	}
	return ondisk.NoFragment, 0
}

// packedTail names a member of a fragment block of a source that is packed
// anew. Members may overlap, so its size belongs to it.
type packedTail struct {
	img                    *Reader
	fragment, offset, size uint32
}

func (f *file) packedTail(blockSize int) packedTail {
	return packedTail{f.source.img, f.fragment, f.fragOff, uint32(f.size % int64(blockSize))}
}

func (p *Plan) hasTail(key packedTail) bool {
	_, ok := p.tails[key]
	return ok
}

// sparseBytes counts the bytes of a file that lie in holes.
func sparseBytes(words []uint32, size, blockSize int64) (n int64) {
	for i, w := range words {
		if w == 0 {
			n += min(blockSize, size-int64(i)*blockSize)
		}
	}
	return n
}

// storedLen is the number of bytes that blocks take in an image.
func storedLen(words []uint32) (n int64) {
	for _, w := range words {
		n += int64(ondisk.BlockStored(w))
	}
	return n
}

// useFragments finds how much of each fragment block is live and decides which
// are copied: all, except those where more than half is dead, and except the
// emptiest of the others until the dead bytes that come along are within
// MaxDead of all that is copied.
func (p *Plan) useFragments(ctx context.Context, s *source) error {
	if !s.usable {
		return nil
	}
	var members []member
	var copied int64
	for _, f := range p.files.all() {
		if f.source != s {
			continue
		}
		switch f.kind {
		case storedFile:
			copied += storedLen(f.words)
		case mixedFile:
			n, _ := p.keptBytes(f)
			copied += n
		}
		if fragment, offset := f.tail(); fragment != ondisk.NoFragment {
			members = append(members, member{fragment, offset, uint32(f.size % int64(p.o.BlockSize))})
		}
	}
	s.frags = make([]fragmentUse, s.img.fragmentCount())
	for i := range s.frags {
		entry, err := s.img.fragment(uint32(i))
		if err != nil {
			return err
		}
		s.frags[i] = fragmentUse{entry: entry, drop: true}
	}
	for _, m := range members {
		if int64(m.fragment) >= int64(len(s.frags)) {
			return fmt.Errorf("fragment %d of %d", m.fragment, len(s.frags))
		}
	}
	if len(members) == 0 {
		return nil
	}
	err := s.img.scanInodes(func(n inodeInfo) error {
		if n.Fragment != ondisk.NoFragment && int64(n.Fragment) < int64(len(s.frags)) {
			u := &s.frags[n.Fragment]
			u.used = max(u.used, n.FragmentOffset+uint32(n.Size%int64(p.o.BlockSize)))
		}
		return ctx.Err()
	})
	if err != nil {
		return err
	}
	// Equal files share a member.
	slices.SortFunc(members, func(a, b member) int {
		return cmp.Or(cmp.Compare(a.fragment, b.fragment), cmp.Compare(a.offset, b.offset), cmp.Compare(a.size, b.size))
	})
	members = slices.Compact(members)
	for _, m := range members {
		s.frags[m.fragment].live += m.size
	}
	var whole []bool
	if p.o.NoDead {
		if whole, err = s.wholeFragments(ctx, members, p.o.Workers); err != nil {
			return err
		}
	}
	var kept []int
	var dead float64
	for i := range s.frags {
		u := &s.frags[i]
		if u.live == 0 {
			continue
		}
		if 2*u.live < u.used || p.o.NoDead && !whole[i] {
			p.Stats.RepackedBlocks++
			continue
		}
		u.drop = false
		copied += int64(ondisk.BlockStored(u.entry.Word))
		dead += u.deadStored()
		kept = append(kept, i)
	}
	slices.SortStableFunc(kept, func(a, b int) int { return cmp.Compare(s.frags[b].deadShare(), s.frags[a].deadShare()) })
	for _, i := range kept {
		u := &s.frags[i]
		if dead <= p.o.MaxDead*float64(copied) || u.deadShare() == 0 {
			break
		}
		u.drop = true
		dead -= u.deadStored()
		copied -= int64(ondisk.BlockStored(u.entry.Word))
		p.Stats.RepackedBlocks++
	}
	p.Stats.DeadBytes += int64(dead)
	return nil
}

// wholeFragments tells of which fragment blocks the members, sorted by place,
// cover every byte.
func (s *source) wholeFragments(ctx context.Context, members []member, workers int) ([]bool, error) {
	covered := make([]uint32, len(s.frags)) // how far without a gap
	for _, m := range members {
		if c := &covered[m.fragment]; m.offset <= *c {
			*c = max(*c, m.offset+m.size)
		}
	}
	whole := make([]bool, len(s.frags))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(max(1, workers))
	for i, c := range covered {
		if c == 0 || c < s.frags[i].used {
			continue
		}
		g.Go(func() error {
			if err := ctx.Err(); err != nil {
				return context.Cause(ctx)
			}
			// Members that an earlier writing left behind are known by the block's
			// length alone.
			block, err := s.img.fragmentBlock(uint32(i))
			whole[i] = int(c) == len(block)
			return err
		})
	}
	return whole, g.Wait()
}

// deadShare is the share of the block's members that is dead.
func (u *fragmentUse) deadShare() float64 {
	if u.used <= u.live {
		return 0
	}
	return float64(u.used-u.live) / float64(u.used)
}

// deadStored estimates the stored bytes that dead members take.
func (u *fragmentUse) deadStored() float64 {
	return u.deadShare() * float64(ondisk.BlockStored(u.entry.Word))
}

// gatherExtents lists what is copied from a source, in its order, with
// neighbours joined and what several files share listed once.
func (p *Plan) gatherExtents(s *source) {
	var all []extent
	for _, f := range p.files.all() {
		if f.source == s && f.kind == storedFile {
			if n := storedLen(f.words); n > 0 {
				all = append(all, extent{src: f.start, len: n})
			}
		}
	}
	for i := range s.frags {
		if u := &s.frags[i]; !u.drop {
			all = append(all, extent{src: u.entry.Start, len: int64(ondisk.BlockStored(u.entry.Word))})
		}
	}
	slices.SortFunc(all, func(a, b extent) int { return cmp.Compare(a.src, b.src) })
	out := all[:0]
	for _, e := range all {
		if k := len(out) - 1; k >= 0 && e.src <= out[k].src+out[k].len {
			out[k].len = max(out[k].len, e.src+e.len-out[k].src)
			continue
		}
		out = append(out, e)
	}
	s.extents = slices.Clip(out)
}

// moved returns the place in the new image of blocks that are copied; a file of
// holes has none and is given 0.
func (s *source) moved(start int64, words []uint32) int64 {
	if storedLen(words) == 0 {
		return 0
	}
	i, found := slices.BinarySearchFunc(s.extents, start, func(e extent, at int64) int { return cmp.Compare(e.src, at) })
	if !found {
		i--
	}
	e := s.extents[i]
	return e.dst + start - e.src
}

// sum fills in the figures that follow from the decisions.
func (p *Plan) sum() error {
	st := &p.Stats
	bs := int64(p.o.BlockSize)
	for _, s := range p.sources {
		st.CopyBytes += s.bytes
		st.CopyRanges += len(s.extents)
	}
	for i, f := range p.files.all() {
		switch f.kind {
		case storedFile:
			if f.repacked() {
				// Equal files share a tail.
				if p.tails[f.packedTail(p.o.BlockSize)] == i {
					st.CompressBytes += f.size % bs
				}
			} else {
				st.ReusedFiles++
			}
		case sameFile:
			st.DuplicateFiles++
		case freshFile:
			n, err := filedata.Bytes(f.more.data, f.size)
			if err != nil {
				return fmt.Errorf("%s: %w", f.describe(), err)
			}
			st.CompressBytes += n
		case mixedFile:
			st.MixedFiles++
			n, err := p.mixedBytes(f)
			if err != nil {
				return fmt.Errorf("%s: %w", f.describe(), err)
			}
			st.CompressBytes += n
			n, runs := p.keptBytes(f)
			st.CopyBytes += n
			st.CopyRanges += runs
		}
	}
	return nil
}

// repacked reports whether the file's blocks are copied, but its tail is not.
func (f *file) repacked() bool {
	return f.kind == storedFile && f.fragment != ondisk.NoFragment && !f.keepTail
}
