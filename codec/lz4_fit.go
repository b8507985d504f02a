package codec

import (
	"encoding/binary"
	"math"
)

// The rules for the end of a block (lz4's doc/lz4_Block_format.md): the last bytes
// are literals, and the last match begins that much before the end.
const (
	lz4MinMatch     = 4
	lz4LastLiterals = 5
	lz4LastMatch    = 12
	lz4Window       = 65535

	// lz4FitMin is less than any stream that is shorter than what it holds.
	lz4FitMin = 8
)

// lz4Extra is how many bytes a length takes beside its four bits in the token.
func lz4Extra(n int) int {
	if n < 15 {
		return 0
	}
	return 1 + (n-15)/255
}

// lz4Block writes a block until its room is full.
type lz4Block struct {
	dst, src []byte
	n        int  // written
	anchor   int  // the first byte of src that is not in what is written
	full     bool // no match follows
}

func (b *lz4Block) length(n int) {
	if n < 15 {
		return
	}
	for n -= 15; n >= 255; n -= 255 {
		b.dst[b.n] = 255
		b.n++
	}
	b.dst[b.n] = byte(n)
	b.n++
}

// literals writes a token and the literals up to pos.
func (b *lz4Block) literals(pos, matchCode int) {
	n := pos - b.anchor
	b.dst[b.n] = byte(min(n, 15)<<4 | min(matchCode, 15))
	b.n++
	b.length(n)
	b.n += copy(b.dst[b.n:], b.src[b.anchor:pos])
	b.anchor = pos
}

// sequence writes the literals up to pos and a match there, as much of it as
// leaves room for an end that is by the rules. It reports whether more may follow.
func (b *lz4Block) sequence(pos int, m match) bool {
	run := pos - b.anchor
	// At least so many literals follow, whatever becomes of the match.
	tail := min(lz4LastMatch-lz4MinMatch, len(b.src)-pos-m.length)
	room := len(b.dst) - b.n - (1 + lz4Extra(run) + run + 2) - (1 + tail)
	if room < 0 {
		b.full = true
		return false
	}
	length := m.length
	if lz4Extra(length-lz4MinMatch) > room {
		// Matches that take bytes for their length are long enough for every rule.
		length = lz4MinMatch + 14 + 255*room
		b.full = true
	}
	b.literals(pos, length-lz4MinMatch)
	binary.LittleEndian.PutUint16(b.dst[b.n:], uint16(m.dist))
	b.n += 2
	b.length(length - lz4MinMatch)
	b.anchor = pos + length
	return !b.full
}

// end fills what is left with literals. It gives the length of what the block holds.
func (b *lz4Block) end() int {
	room := len(b.dst) - b.n - 1
	n := min(len(b.src)-b.anchor, room)
	for n > 0 && lz4Extra(n)+n > room {
		n--
	}
	if n <= 0 {
		return b.anchor
	}
	b.literals(b.anchor+n, 0)
	return b.anchor
}

// pureLZ4Fitter packs in one pass: at level 0 with the first match that a table
// has, as lz4 does; at others with the cheapest of what hash chains give, as lz4hc
// does at its highest levels.
type pureLZ4Fitter struct {
	block lz4Block

	// Level 0.
	table []uint32
	base  uint32 // of positions in table; what is below is of former calls

	// Others.
	finder *matchFinder
	found  []match
	span   []lz4Step
	path   []lz4Choice
}

// lz4Step is the cheapest way to a position of a span.
type lz4Step struct {
	price int32
	run   int32 // literals before the position since the last match
	last  match // what leads here: a match, or a literal (length 1)
}

// lz4Choice is a match on the way that is taken.
type lz4Choice struct {
	pos int
	m   match
}

const (
	lz4FastTable = 14 // as log2
	lz4Span      = 4096
)

// lz4Nice is the length of matches that are taken without a look at what else there
// may be, by level.
var lz4Nice = [...]int{0, 16, 16, 24, 32, 48, 64, 96, 128, 128, 256, 512, 2048}

func newPureLZ4Fitter(o FitOptions) (Fitter, error) {
	if o.Level == 0 {
		return &pureLZ4Fitter{table: make([]uint32, 1<<lz4FastTable), base: 1}, nil
	}
	return &pureLZ4Fitter{
		finder: newMatchFinder(lz4Window, 1<<min(o.Level, 11), lz4Nice[o.Level], lz4MinMatch),
		span:   make([]lz4Step, lz4Span+1),
	}, nil
}

func (f *pureLZ4Fitter) Fit(dst, src []byte) (used, n int, err error) {
	src = src[:min(len(src), FitMax)]
	if len(src) == 0 || len(dst) < lz4FitMin {
		return 0, 0, nil
	}
	f.block = lz4Block{dst: dst, src: src}
	switch {
	case len(src) <= lz4LastMatch:
	case f.finder == nil:
		f.fast()
	default:
		f.cheapest()
	}
	used = f.block.end()
	n = f.block.n
	f.block = lz4Block{}
	return fitted(RawLZ4, dst, used, n)
}

func (f *pureLZ4Fitter) Close() error { return nil }

// fast is level 0.
func (f *pureLZ4Fitter) fast() {
	b := &f.block
	src := b.src
	if int64(f.base)+int64(len(src)) >= 1<<32 {
		clear(f.table)
		f.base = 1
	}
	base := f.base
	f.base += uint32(len(src))
	hash := func(v uint32) uint32 { return v * 2654435761 >> (32 - lz4FastTable) }
	last := len(src) - lz4LastMatch
	for pos := 0; pos <= last; {
		word := binary.LittleEndian.Uint32(src[pos:])
		slot := &f.table[hash(word)]
		at := *slot
		*slot = base + uint32(pos)
		dist := pos - int(at-base)
		if at < base || dist > lz4Window || binary.LittleEndian.Uint32(src[pos-dist:]) != word {
			// The longer nothing is found, the less is looked for.
			pos += 1 + (pos-b.anchor)>>6
			if len(b.dst)-b.n < pos-b.anchor {
				return
			}
			continue
		}
		from := pos
		for from > b.anchor && from > dist && src[from-1] == src[from-dist-1] {
			from--
		}
		end := pos + lz4MinMatch
		end += matchLength(src, end, dist, len(src)-lz4LastLiterals-end)
		if !b.sequence(from, match{end - from, dist}) {
			return
		}
		pos = end
		if pos-2 <= last {
			f.table[hash(binary.LittleEndian.Uint32(src[pos-2:]))] = base + uint32(pos-2)
		}
	}
}

// longest gives the longest match at pos, or none.
func (f *pureLZ4Fitter) longest(pos int) match {
	f.found = f.finder.find(pos, len(f.block.src)-lz4LastLiterals-pos, f.found)
	if len(f.found) == 0 {
		return match{}
	}
	return f.found[len(f.found)-1]
}

// cheapest is all other levels. Where matches overlap it counts, over a span, what
// each way to go on costs.
func (f *pureLZ4Fitter) cheapest() {
	b := &f.block
	f.finder.reset(b.src)
	nice := f.finder.nice
	last := len(b.src) - lz4LastMatch // where a match may begin
	for pos := 0; pos <= last; {
		m := f.longest(pos)
		switch {
		case m.length == 0:
			if pos++; len(b.dst)-b.n < pos-b.anchor {
				return
			}
			continue
		case m.length >= nice:
			if !b.sequence(pos, m) {
				return
			}
			pos += m.length
			continue
		}
		end := f.spanFrom(pos, m, last)
		for i := len(f.path) - 1; i >= 0; i-- {
			if !b.sequence(f.path[i].pos, f.path[i].m) {
				return
			}
		}
		pos = end
	}
}

// spanFrom sets f.path to the matches of the cheapest way from start, where m is, to
// the first position that no match reaches over, the last of them first. It gives
// that position, which literals may lead to.
func (f *pureLZ4Fitter) spanFrom(start int, m match, last int) int {
	span := f.span
	run := func(n int32) int32 { return n + int32(lz4Extra(int(n))) }
	end := 0 // of what ways lead to
	matches := func(at int, m match) {
		for ; end < at+m.length; end++ {
			span[end+1].price = math.MaxInt32
		}
		price := span[at].price + 3
		for n := lz4MinMatch; n <= m.length; n++ {
			if s, p := &span[at+n], price+int32(lz4Extra(n-lz4MinMatch)); p <= s.price {
				*s = lz4Step{price: p, last: match{n, m.dist}}
			}
		}
	}
	span[0] = lz4Step{run: int32(start - f.block.anchor)}
	matches(0, m)
	tail := match{} // a long one, which ends the span
	at := 0
	for {
		s := span[at]
		if p := s.price + run(s.run+1) - run(s.run); p < span[at+1].price {
			span[at+1] = lz4Step{price: p, run: s.run + 1, last: match{length: 1}}
		}
		if at++; at == end || start+at > last {
			break
		}
		if span[at+1].price <= span[at].price {
			continue // a match that goes on is the better one
		}
		m := f.longest(start + at)
		if m.length == 0 {
			continue
		}
		if m.length >= f.finder.nice || at+m.length > lz4Span {
			tail = m
			break
		}
		matches(at, m)
	}
	f.path = f.path[:0]
	to := start + end
	if tail.length > 0 {
		f.path = append(f.path, lz4Choice{start + at, tail})
		to = start + at + tail.length
	} else {
		at = end
	}
	for at > 0 {
		m := span[at].last
		at -= m.length
		if m.length > 1 {
			f.path = append(f.path, lz4Choice{start + at, m})
		}
	}
	return to
}
