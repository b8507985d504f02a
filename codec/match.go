package codec

import (
	"encoding/binary"
	"math/bits"
)

// match is a repetition: length bytes as they are dist bytes before.
type match struct{ length, dist int }

// matchFinder finds repetitions in one buffer after another, by hash chains. Its
// tables are not cleared between buffers: positions in them go on counting.
type matchFinder struct {
	window int // the largest distance
	depth  int // how many candidates are looked at
	nice   int // a match of this length ends the search

	src   []byte
	base  uint32 // what position 0 of src is in the tables; what is below is of former buffers
	next  int    // the first position that is not in the tables
	head2 []uint32
	head3 []uint32
	head4 []uint32
	chain []uint32
	mask  uint32
	shift uint8 // of head4's hash
}

// matchTable2 and matchTable3 are the sizes, as log2, of the tables of matches of
// two and of three bytes.
const (
	matchTable2 = 16
	matchTable3 = 15
)

// newMatchFinder makes a finder of matches of shortest bytes, 2 to 4, or more.
func newMatchFinder(window, depth, nice, shortest int) *matchFinder {
	log := uint8(min(max(bits.Len(uint(window)), 12), 20))
	size := 1 << bits.Len(uint(window))
	m := &matchFinder{window: window, depth: depth, nice: nice, base: 1, shift: 32 - log,
		head4: make([]uint32, 1<<log), chain: make([]uint32, size), mask: uint32(size - 1)}
	if shortest <= 3 {
		m.head3 = make([]uint32, 1<<matchTable3)
	}
	if shortest <= 2 {
		m.head2 = make([]uint32, 1<<matchTable2)
	}
	return m
}

// reset begins another buffer.
func (m *matchFinder) reset(src []byte) {
	base := int64(m.base) + int64(len(m.src))
	if base+int64(len(src)) >= 1<<32 {
		clear(m.head2)
		clear(m.head3)
		clear(m.head4)
		base = 1
	}
	m.src, m.base, m.next = src, uint32(base), 0
}

// find gives the matches at pos, each longer than the one before and the nearest
// of its length, at most limit bytes long, in out[:0]. Positions must rise from
// call to call; those between are passed over.
func (m *matchFinder) find(pos, limit int, out []match) []match {
	out = out[:0]
	if m.next < pos {
		m.skip(pos)
	}
	src := m.src
	limit = min(limit, len(src)-pos)
	if limit < 4 || len(src)-pos < 4 {
		m.next = max(m.next, pos+1)
		return out
	}
	word := binary.LittleEndian.Uint32(src[pos:])
	here := m.base + uint32(pos)
	floor := max(m.base, here-min(uint32(m.window), here)) // of positions that may be reached
	best := 0
	nice := min(m.nice, limit)
	if m.head2 != nil {
		h := word & 0xffff
		at := m.head2[h]
		m.head2[h] = here
		if at >= floor {
			dist := int(here - at)
			best = matchLength(src, pos, dist, limit)
			out = append(out, match{best, dist})
		}
	}
	if m.head3 != nil {
		h := (word << 8) * 506832829 >> (32 - matchTable3)
		at := m.head3[h]
		m.head3[h] = here
		if at >= floor {
			dist := int(here - at)
			if n := matchLength(src, pos, dist, limit); n > max(best, 2) {
				best = n
				out = append(out, match{best, dist})
			}
		}
	}
	h := word * 2654435761 >> m.shift
	at := m.head4[h]
	m.head4[h] = here
	m.chain[here&m.mask] = at
	m.next = pos + 1
	best = max(best, 3)
	for n := m.depth; n > 0 && at >= floor && best < nice; n-- {
		dist := int(here - at)
		from := pos - dist
		if src[from+best] == src[pos+best] && binary.LittleEndian.Uint32(src[from:]) == word {
			if n := matchLength(src, pos, dist, limit); n > best {
				best = n
				out = append(out, match{best, dist})
			}
		}
		at = m.chain[at&m.mask]
	}
	return out
}

// skip takes the positions before pos into the tables without a search.
func (m *matchFinder) skip(pos int) {
	end := min(pos, len(m.src)-3)
	// What lies further back than the window is found by nobody.
	m.next = max(m.next, pos-m.window)
	for ; m.next < end; m.next++ {
		word := binary.LittleEndian.Uint32(m.src[m.next:min(m.next+4, len(m.src))])
		here := m.base + uint32(m.next)
		if m.head2 != nil {
			m.head2[word&0xffff] = here
		}
		if m.head3 != nil {
			m.head3[(word<<8)*506832829>>(32-matchTable3)] = here
		}
		h := word * 2654435761 >> m.shift
		m.chain[here&m.mask] = m.head4[h]
		m.head4[h] = here
	}
	m.next = max(m.next, pos)
}

// matchLength counts the bytes, up to limit, in which src[pos:] and src[pos-dist:]
// agree.
func matchLength(src []byte, pos, dist, limit int) int {
	n := 0
	a, b := src[pos:pos+limit], src[pos-dist:pos-dist+limit]
	for ; n+8 <= len(a) && n+8 <= len(b); n += 8 {
		if x := binary.LittleEndian.Uint64(a[n:]) ^ binary.LittleEndian.Uint64(b[n:]); x != 0 {
			return n + bits.TrailingZeros64(x)/8
		}
	}
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}
