package squash

import (
	"math/bits"

	"relive/internal/filedata"
	"relive/squash/internal/ondisk"
	"relive/tree"
)

// keepBits marks the blocks of a file that are copied, by a bit each: a file may
// have millions. There may be fewer bits than blocks; none is set beyond.
type keepBits []uint64

func newKeepBits(n int) keepBits { return make(keepBits, (n+63)/64) }

func (k keepBits) set(i int) { k[i/64] |= 1 << (i % 64) }

func (k keepBits) has(i int) bool { return i/64 < len(k) && k[i/64]>>(i%64)&1 != 0 }

// run reports whether block i of n is kept, and the first behind it that is
// otherwise, or n.
func (k keepBits) run(i, n int) (kept bool, end int) {
	kept = k.has(i)
	for i < n && i/64 < len(k) {
		word, shift := k[i/64], i%64
		if kept {
			word = ^word
		}
		if word >>= shift; word != 0 {
			return kept, i + bits.TrailingZeros64(word)
		}
		i += 64 - shift
	}
	if kept {
		return kept, i
	}
	return kept, n
}

// keepUnchanged decides whether f, whose content is that of stored with changes,
// is fresh, mixed or stored. It reads nothing: what did not change is told by
// the content itself.
func (p *Plan) keepUnchanged(f *file, content tree.Patched, stored *storedContent, src *source) {
	// What a lower layer had would be looked for in vain, block by block.
	f.more.was = nil
	if stored.Size == f.size && !content.ChangedIn(0, f.size) {
		f.copyAll(stored, src)
		return
	}
	bs := int64(p.o.BlockSize)
	blocks := min(p.blockCount(f.size), len(stored.Blocks))
	if last := int64(blocks-1) * bs; blocks > 0 && min(bs, f.size-last) != min(bs, stored.Size-last) {
		blocks-- // a last block of another length
	}
	keep, some := newKeepBits(blocks), false
	for i := 0; i < blocks; {
		// Where much is unchanged, one question answers for many blocks.
		end := min(i+64, blocks)
		if off := int64(i) * bs; !content.ChangedIn(off, min(int64(end)*bs, f.size)-off) {
			keep[i/64], some = 1<<(end-i)-1, true
			i = end
			continue
		}
		for ; i < end; i++ {
			if off := int64(i) * bs; !content.ChangedIn(off, min(bs, f.size-off)) {
				keep.set(i)
				some = true
			}
		}
	}
	tail := f.size % bs
	keepTail := p.tailInFragment(f.size) && stored.Fragment != ondisk.NoFragment && stored.Size == f.size &&
		!content.ChangedIn(f.size-tail, tail)
	if some || keepTail {
		f.kind, f.source, f.keepTail = mixedFile, src, keepTail
		f.more.stored, f.more.keep = *stored, keep
	}
}

// keptBytes is the number of stored bytes that a mixed file copies, and the
// number of runs of blocks that hold them.
func (p *Plan) keptBytes(f *file) (n int64, runs int) {
	blocks := p.blockCount(f.size)
	for i := 0; i < blocks; {
		kept, end := f.more.keep.run(i, blocks)
		if kept {
			if k := storedLen(f.more.stored.Blocks[i:end]); k > 0 {
				n += k
				runs++
			}
		}
		i = end
	}
	return n, runs
}

// mixedBytes is how much of a mixed file is read and compressed: what is neither
// kept nor, in large files, a hole.
func (p *Plan) mixedBytes(f *file) (n int64, err error) {
	bs, blocks := int64(p.o.BlockSize), p.blockCount(f.size)
	if p.tailInFragment(f.size) && !f.keepTail {
		n = f.size % bs
	}
	c, err := f.more.data.Open()
	if err != nil {
		return 0, err
	}
	defer c.Close()
	data := filedata.Ranges{Content: c}
	for i := 0; i < blocks; {
		kept, end := f.more.keep.run(i, blocks)
		if kept {
			i = end
			continue
		}
		for ; i < end; i++ {
			off := int64(i) * bs
			to := min(off+bs, f.size)
			has := f.size < filedata.Whole
			if !has {
				if has, err = data.Has(off, to); err != nil {
					return 0, err
				}
			}
			if has {
				n += to - off
			}
		}
	}
	return n, nil
}
