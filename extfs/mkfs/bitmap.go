package mkfs

import "math/bits"

// bitmap has one bit for each block of the file system, set where the block is
// in use. Numbers at and past its length count as free.
type bitmap struct {
	words []uint64
	n     uint64
}

func newBitmap(n uint64) *bitmap {
	return &bitmap{words: make([]uint64, (n+63)/64), n: n}
}

func (b *bitmap) set(i uint64)   { b.words[i>>6] |= 1 << (i & 63) }
func (b *bitmap) clear(i uint64) { b.words[i>>6] &^= 1 << (i & 63) }

// setRange sets [start, end).
func (b *bitmap) setRange(start, end uint64) {
	end = min(end, b.n)
	for start < end {
		if start&63 == 0 && end-start >= 64 {
			b.words[start>>6] = ^uint64(0)
			start += 64
			continue
		}
		b.set(start)
		start++
	}
}

// nextUsed returns the first set bit in [from, end), or end.
func (b *bitmap) nextUsed(from, end uint64) uint64 {
	return b.next(from, end, 0)
}

// nextFree returns the first clear bit in [from, end), or end.
func (b *bitmap) nextFree(from, end uint64) uint64 {
	return b.next(from, end, ^uint64(0))
}

func (b *bitmap) next(from, end uint64, flip uint64) uint64 {
	limit := min(end, b.n)
	for from < limit {
		w := (b.words[from>>6] ^ flip) >> (from & 63)
		if w != 0 {
			return min(from+uint64(bits.TrailingZeros64(w)), end)
		}
		from = from&^63 + 64
	}
	return end
}

// countUsed counts set bits in [start, end).
func (b *bitmap) countUsed(start, end uint64) uint64 {
	end = min(end, b.n)
	n := uint64(0)
	for start < end {
		w := b.words[start>>6] >> (start & 63)
		left := end - start
		if span := 64 - start&63; left >= span {
			left = span
		} else {
			w &= 1<<left - 1
		}
		n += uint64(bits.OnesCount64(w))
		start += left
	}
	return n
}

// findRun returns the first run of n free blocks that starts in [start, finish),
// going on from first after the end of the file system where finish is not
// above start. It searches as ext2fs_get_free_blocks2 does, so that the
// metadata comes to lie where mke2fs puts it.
func (b *bitmap) findRun(start, finish, n, first uint64) (uint64, bool) {
	if start == 0 {
		start = first
	}
	wrapped := false
	for at := start; ; {
		if at+n > b.n {
			if finish > start || wrapped {
				return 0, false
			}
			wrapped = true
			at = first
			if at+n > b.n {
				return 0, false
			}
		}
		used := b.nextUsed(at, at+n)
		if used == at+n {
			return at, true
		}
		next := used + 1
		if (!wrapped && finish > start || wrapped) && next >= finish {
			return 0, false
		}
		at = next
	}
}

// blockRun is a range of blocks: n from start on.
type blockRun struct{ start, n uint64 }

// cursor hands out the free blocks of a bitmap in ascending order. It does not
// change the bitmap: what was handed out is everything free between where it
// began and where it is. Past the end of the bitmap it goes on, so that a plan
// can tell how much is missing.
type cursor struct {
	used  *bitmap
	at    uint64
	taken uint64
}

// take appends the next n free blocks to out as maximal runs.
func (c *cursor) take(n uint64, out []blockRun) []blockRun {
	c.taken += n
	for n > 0 {
		start := c.at
		if start < c.used.n {
			start = c.used.nextFree(start, c.used.n)
		}
		end := start + n
		if start < c.used.n {
			end = c.used.nextUsed(start, end)
		}
		if k := len(out); k > 0 && out[k-1].start+out[k-1].n == start {
			out[k-1].n += end - start
		} else {
			out = append(out, blockRun{start, end - start})
		}
		n -= end - start
		c.at = end
	}
	return out
}
