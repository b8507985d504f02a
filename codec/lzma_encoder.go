package codec

import (
	"math"
	"math/bits"
)

// The LZMA that is written: liblzma's default of three literal context bits, none of
// the position for literals, and two of it elsewhere.
const (
	lzmaLC       = 3
	lzmaPB       = 2
	lzmaPosMask  = 1<<lzmaPB - 1
	lzmaProps    = (lzmaPB*5+0)*9 + lzmaLC
	lzmaMinMatch = 2
	lzmaMaxMatch = 273
)

// Distances from lzmaFullDistances on have a slot, direct bits and four more that
// are modelled; those below a slot and modelled bits alone.
const (
	lzmaFullDistances = 128
	lzmaAlignBits     = 4
	lzmaLenStates     = 4 // lengths from 5 on share their slots' probabilities
)

// lzmaEncoder encodes LZMA until its room is full. What is written beyond counts,
// but is dropped.
type lzmaEncoder struct {
	lzmaRange
	state uint32
	rep   [4]uint32 // the last four distances, less one
	probs [probLiteral + 0x300<<lzmaLC]uint16
}

// lzmaRange is the range coder. Its flush takes the bytes that are held back and
// four more.
type lzmaRange struct {
	dst   []byte
	n     int // bytes written
	low   uint64
	rng   uint32
	cache byte
	held  int // cache, and bytes 0xff behind it, which a carry may change
}

func (e *lzmaEncoder) begin(dst []byte) {
	e.lzmaRange = lzmaRange{dst: dst, rng: math.MaxUint32, held: 1}
	e.state, e.rep = 0, [4]uint32{}
	for i := range e.probs {
		e.probs[i] = probInit
	}
}

// size is how long the stream is if it ends here.
func (r *lzmaRange) size() int { return r.n + r.held + 4 }

func (r *lzmaRange) put(b byte) {
	if r.n < len(r.dst) {
		r.dst[r.n] = b
	}
	r.n++
}

func (r *lzmaRange) shift() {
	if r.low < 0xff000000 || r.low > math.MaxUint32 {
		carry := byte(r.low >> 32)
		r.put(r.cache + carry)
		for ; r.held > 1; r.held-- {
			r.put(0xff + carry)
		}
		r.held = 0
		r.cache = byte(r.low >> 24)
	}
	r.held++
	r.low = r.low & 0x00ffffff << 8
}

// flush ends the stream.
func (r *lzmaRange) flush() {
	for range 5 {
		r.shift()
	}
}

func (e *lzmaEncoder) bit(at uint32, bit uint32) {
	p := e.probs[at]
	bound := e.rng >> 11 * uint32(p)
	if bit == 0 {
		e.rng = bound
		e.probs[at] = p + (2048-p)>>5
	} else {
		e.low += uint64(bound)
		e.rng -= bound
		e.probs[at] = p - p>>5
	}
	if e.rng < 1<<24 {
		e.rng <<= 8
		e.shift()
	}
}

// tree codes n bits of v, the highest first.
func (e *lzmaEncoder) tree(at, v uint32, n int) {
	symbol := uint32(1)
	for n > 0 {
		n--
		b := v >> n & 1
		e.bit(at+symbol, b)
		symbol = symbol<<1 | b
	}
}

// reverse codes n bits of v, the lowest first.
func (e *lzmaEncoder) reverse(at, v uint32, n int) {
	symbol := uint32(1)
	for range n {
		b := v & 1
		v >>= 1
		e.bit(at+symbol, b)
		symbol = symbol<<1 | b
	}
}

// direct codes n bits of v that are not modelled.
func (e *lzmaEncoder) direct(v uint32, n int) {
	for n > 0 {
		n--
		e.rng >>= 1
		if v>>n&1 != 0 {
			e.low += uint64(e.rng)
		}
		if e.rng < 1<<24 {
			e.rng <<= 8
			e.shift()
		}
	}
}

// lzmaLiteralProbs is where the probabilities of a literal behind prev begin.
func lzmaLiteralProbs(prev byte) uint32 { return probLiteral + 0x300*uint32(prev>>(8-lzmaLC)) }

// literal codes a byte behind prev; match is the byte at the last distance.
func (e *lzmaEncoder) literal(pos int, b, prev, match byte) {
	e.bit(probIsMatch+e.state<<4+uint32(pos)&lzmaPosMask, 0)
	at := lzmaLiteralProbs(prev)
	if e.state < 7 {
		e.tree(at, uint32(b), 8)
	} else {
		offset, symbol, m := uint32(0x100), uint32(1), uint32(match)
		for n := 7; n >= 0; n-- {
			m <<= 1
			v := uint32(b) >> n & 1
			e.bit(at+offset+m&offset+symbol, v)
			symbol = symbol<<1 | v
			offset &= ^(m ^ v<<8)
		}
	}
	e.state = lzmaAfterLiteral[e.state]
}

// lzmaAfterLiteral is the state behind a literal, by the one before.
var lzmaAfterLiteral = [lzmaStates]uint32{0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 4, 5}

// What the state becomes behind others, where it was below 7 and where not.
var (
	lzmaAfterMatch    = [2]uint32{7, 10}
	lzmaAfterRep      = [2]uint32{8, 11}
	lzmaAfterShortRep = [2]uint32{9, 11}
)

// lzmaChoice is a symbol: a literal (length 1, how lzmaLiteral), a repetition at one
// of the last distances (how 0 to 3; of a single byte at the last one), or one at
// distance how - 3.
type lzmaChoice struct {
	length, how int32
}

const (
	lzmaLiteral = -1
	lzmaNew     = 4 // the first how that is a distance, less one, of its own
)

// next gives state and distances behind a choice.
func (c lzmaChoice) next(state uint32, rep [4]uint32) (uint32, [4]uint32) {
	late := 0
	if state >= 7 {
		late = 1
	}
	switch {
	case c.how == lzmaLiteral:
		return lzmaAfterLiteral[state], rep
	case c.how >= lzmaNew:
		return lzmaAfterMatch[late], [4]uint32{uint32(c.how - lzmaNew), rep[0], rep[1], rep[2]}
	case c.length == 1:
		return lzmaAfterShortRep[late], rep
	}
	d := rep[c.how]
	copy(rep[1:c.how+1], rep[:c.how])
	rep[0] = d
	return lzmaAfterRep[late], rep
}

// match codes a choice that is no literal.
func (e *lzmaEncoder) match(pos int, c lzmaChoice) {
	posState := uint32(pos) & lzmaPosMask
	e.bit(probIsMatch+e.state<<4+posState, 1)
	if c.how >= lzmaNew {
		e.bit(probIsRep+e.state, 0)
		e.length(probLen, posState, c.length)
		e.distance(uint32(c.how-lzmaNew), c.length)
	} else {
		e.bit(probIsRep+e.state, 1)
		if c.how == 0 {
			e.bit(probIsRepG0+e.state, 0)
			e.bit(probIsRep0Long+e.state<<4+posState, b32(c.length > 1))
		} else {
			e.bit(probIsRepG0+e.state, 1)
			e.bit(probIsRepG1+e.state, b32(c.how > 1))
			if c.how > 1 {
				e.bit(probIsRepG2+e.state, b32(c.how > 2))
			}
		}
		if c.length > 1 {
			e.length(probRepLen, posState, c.length)
		}
	}
	e.state, e.rep = c.next(e.state, e.rep)
}

func b32(b bool) uint32 {
	if b {
		return 1
	}
	return 0
}

func (e *lzmaEncoder) length(at, posState uint32, length int32) {
	n := uint32(length - lzmaMinMatch)
	switch {
	case n < 8:
		e.bit(at+lenChoice, 0)
		e.tree(at+lenLow+posState<<3, n, 3)
	case n < 16:
		e.bit(at+lenChoice, 1)
		e.bit(at+lenChoice2, 0)
		e.tree(at+lenMid+posState<<3, n-8, 3)
	default:
		e.bit(at+lenChoice, 1)
		e.bit(at+lenChoice2, 1)
		e.tree(at+lenHigh, n-16, 8)
	}
}

// lzmaSlot gives the slot of a distance, less one, and how many bits are below it.
func lzmaSlot(dist uint32) (slot uint32, low int) {
	if dist < 4 {
		return dist, 0
	}
	n := bits.Len32(dist) - 1
	return uint32(2*n) | dist>>(n-1)&1, n - 1
}

// lzmaLenState tells lengths apart for the slots of their distances.
func lzmaLenState(length int32) uint32 { return uint32(min(length-lzmaMinMatch, lzmaLenStates-1)) }

func (e *lzmaEncoder) distance(dist uint32, length int32) {
	slot, low := lzmaSlot(dist)
	e.tree(probSlot+lzmaLenState(length)<<6, slot, 6)
	if low == 0 {
		return
	}
	below := dist & (1<<low - 1)
	if dist < lzmaFullDistances {
		e.reverse(probSpecial+dist-below-slot, below, low)
		return
	}
	e.direct(below>>lzmaAlignBits, low-lzmaAlignBits)
	e.reverse(probAlign, below&(1<<lzmaAlignBits-1), lzmaAlignBits)
}

// Prices are in sixteenths of a bit.
const (
	lzmaPriceBits  = 4
	lzmaPriceShift = 4 // of probabilities, to the index of a price
	lzmaInfinite   = 1 << 30
)

// lzmaBitPrices are the prices of a bit 0 by its probability.
var lzmaBitPrices = func() (t [2048 >> lzmaPriceShift]uint32) {
	for i := range t {
		p := (float64(i) + 0.5) * (1 << lzmaPriceShift) / 2048
		t[i] = uint32(math.Round(-math.Log2(p) * (1 << lzmaPriceBits)))
	}
	return t
}()

// price is what a bit costs.
func (e *lzmaEncoder) price(at, bit uint32) uint32 {
	return lzmaBitPrices[(uint32(e.probs[at])^-bit&2047)>>lzmaPriceShift]
}

func (e *lzmaEncoder) treePrice(at, v uint32, n int) (sum uint32) {
	for v |= 1 << n; v > 1; v >>= 1 {
		sum += e.price(at+v>>1, v&1)
	}
	return sum
}

func (e *lzmaEncoder) reversePrice(at, v uint32, n int) (sum uint32) {
	symbol := uint32(1)
	for range n {
		sum += e.price(at+symbol, v&1)
		symbol = symbol<<1 | v&1
		v >>= 1
	}
	return sum
}

// literalPrice is without the bit that tells a literal.
func (e *lzmaEncoder) literalPrice(state uint32, b, prev, match byte) (sum uint32) {
	at := lzmaLiteralProbs(prev)
	if state < 7 {
		return e.treePrice(at, uint32(b), 8)
	}
	offset, m := uint32(0x100), uint32(match)
	for symbol := uint32(b) | 0x100; symbol < 0x10000; symbol <<= 1 {
		m <<= 1
		sum += e.price(at+offset+m&offset+symbol>>8, symbol>>7&1)
		offset &= ^(m ^ symbol<<1)
	}
	return sum
}

// lzmaPrices are prices that are looked up often, and made anew now and then.
type lzmaPrices struct {
	lens, repLens [1 << lzmaPB][lzmaMaxMatch + 1]uint32
	slots         [lzmaLenStates][64]uint32
	dists         [lzmaLenStates][lzmaFullDistances]uint32
	align         [1 << lzmaAlignBits]uint32
}

func (p *lzmaPrices) update(e *lzmaEncoder, longest int, slots uint32) {
	for posState := range uint32(1 << lzmaPB) {
		e.lengthPrices(&p.lens[posState], probLen, posState, longest)
		e.lengthPrices(&p.repLens[posState], probRepLen, posState, longest)
	}
	for s := range uint32(lzmaLenStates) {
		for slot := range slots {
			p.slots[s][slot] = e.treePrice(probSlot+s<<6, slot, 6)
		}
		for slot := uint32(14); slot < slots; slot++ {
			p.slots[s][slot] += (slot>>1 - 1 - lzmaAlignBits) << lzmaPriceBits
		}
	}
	for dist := range uint32(lzmaFullDistances) {
		slot, low := lzmaSlot(dist)
		below := dist & (1<<low - 1)
		price := e.reversePrice(probSpecial+dist-below-slot, below, low)
		for s := range p.dists {
			p.dists[s][dist] = p.slots[s][slot] + price
		}
	}
	for i := range p.align {
		p.align[i] = e.reversePrice(probAlign, uint32(i), lzmaAlignBits)
	}
}

func (e *lzmaEncoder) lengthPrices(t *[lzmaMaxMatch + 1]uint32, at, posState uint32, longest int) {
	low := e.price(at+lenChoice, 0)
	mid := e.price(at+lenChoice, 1) + e.price(at+lenChoice2, 0)
	high := e.price(at+lenChoice, 1) + e.price(at+lenChoice2, 1)
	for n := range uint32(longest - lzmaMinMatch + 1) {
		switch {
		case n < 8:
			t[n+lzmaMinMatch] = low + e.treePrice(at+lenLow+posState<<3, n, 3)
		case n < 16:
			t[n+lzmaMinMatch] = mid + e.treePrice(at+lenMid+posState<<3, n-8, 3)
		default:
			t[n+lzmaMinMatch] = high + e.treePrice(at+lenHigh, n-16, 8)
		}
	}
}

// distance is the price of a distance, less one.
func (p *lzmaPrices) distance(dist uint32, length int32) uint32 {
	s := lzmaLenState(length)
	if dist < lzmaFullDistances {
		return p.dists[s][dist]
	}
	slot, _ := lzmaSlot(dist)
	return p.slots[s][slot] + p.align[dist&(1<<lzmaAlignBits-1)]
}
