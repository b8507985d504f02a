package codec

import (
	"encoding/binary"
	"math"
	"math/bits"
)

// Alphabets and limits of RFC 1951.
const (
	deflateLiterals  = 286
	deflateDistances = 30
	deflateEnd       = 256
	deflateMinMatch  = 3
	deflateMaxMatch  = 258
	deflateMaxCode   = 15
	deflateMaxLevel  = 7 // of codes of code lengths

	// deflateTooFar is where a match of three bytes costs more than its literals.
	deflateTooFar = 4096

	// deflateBlock is how many symbols a block has, as with zlib and mkfs.erofs.
	deflateBlock = 16384
	// deflateLook is after how many symbols the room is looked at.
	deflateLook = 512
)

// deflateOrder is the order of code length codes in a block's header.
var deflateOrder = [19]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

// deflateLevel is how hard a level searches; the figures are mkfs.erofs's.
type deflateLevel struct {
	good  int // a match of this length is improved with a quarter of the effort
	lazy  int // one of this length is taken without a look at the next position; 0: any
	nice  int // one of this length ends the search
	depth int
}

var deflateLevels = [...]deflateLevel{
	1: {4, 0, 8, 4}, 2: {4, 0, 16, 8}, 3: {4, 0, 32, 32}, 4: {4, 4, 16, 16}, 5: {8, 16, 32, 32},
	6: {8, 16, 128, 128}, 7: {8, 32, 128, 256}, 8: {32, 128, 258, 1024}, 9: {32, 258, 258, 4096},
}

// deflateSymbol is a literal, or a match: deflateMatch, length - 3 and distance - 1.
type deflateSymbol uint32

const deflateMatch = 1 << 31

// lengthSlot gives a match length's symbol above 257, and its extra bits.
func lengthSlot(n int) (slot, extra int) {
	n -= deflateMinMatch
	if n == deflateMaxMatch-deflateMinMatch {
		return 28, 0
	}
	return extraSlot(n, 2)
}

// distanceSlot gives a distance's symbol, and its extra bits.
func distanceSlot(d int) (slot, extra int) { return extraSlot(d-1, 1) }

// extraSlot counts slots that go in groups of 1<<log, each group after the second
// with a bit more to tell apart what a slot stands for.
func extraSlot(n, log int) (slot, extra int) {
	if n < 2<<log {
		return n, 0
	}
	extra = bits.Len(uint(n)) - 1 - log
	return extra<<log + n>>extra, extra
}

// deflateFitter packs in one pass: symbols are collected until they do not fit for
// certain, then the number of those that do is searched for, which takes counting
// alone. It never writes a stored block, and so no byte 0 first.
type deflateFitter struct {
	level  deflateLevel
	finder *matchFinder
	found  []match

	pos    int   // how far the symbols reach
	ahead  match // what is at pos, where looked says so
	looked bool

	symbols   []deflateSymbol
	lits      [deflateLiterals]uint32 // how often what occurs
	dists     [deflateDistances]uint32
	extra     int // bits
	code      deflateCode
	out       deflateWriter
	lastBlock int // where its header is, in bits
}

func newDeflateFitter(o FitOptions) (Fitter, error) {
	level := deflateLevels[o.Level]
	return &deflateFitter{
		level:   level,
		finder:  newMatchFinder(1<<o.WindowBits, level.depth, level.nice, deflateMinMatch),
		symbols: make([]deflateSymbol, 0, deflateBlock+1),
	}, nil
}

func (f *deflateFitter) Close() error { return nil }

func (f *deflateFitter) Fit(dst, src []byte) (used, n int, err error) {
	src = src[:min(len(src), FitMax)]
	f.finder.reset(src)
	f.out.begin(dst)
	f.pos, f.looked, f.lastBlock = 0, false, -1
	f.clear()
	for look := deflateLook; f.pos < len(src); {
		f.step(src)
		if len(f.symbols) < look {
			continue
		}
		look += deflateLook
		if f.entropy() > f.out.room() {
			break
		}
		if len(f.symbols) >= deflateBlock {
			f.count(len(f.symbols))
			if f.code.bits > f.out.room() {
				break
			}
			used += f.write(len(f.symbols))
			f.clear()
			look = deflateLook
		}
	}
	if k := f.longest(); k > 0 {
		used += f.write(k)
	}
	if f.lastBlock < 0 {
		return 0, 0, nil
	}
	n = f.out.end()
	dst[f.lastBlock>>3] |= 1 << (f.lastBlock & 7)
	return fitted(RawDeflate, dst, used, n)
}

func (f *deflateFitter) clear() {
	f.symbols = f.symbols[:0]
	clear(f.lits[:])
	clear(f.dists[:])
	f.extra = 0
}

// best gives the match at pos that is worth most, or none. effort is what the depth
// of the search is divided by, as log2.
func (f *deflateFitter) best(pos, effort int) match {
	f.finder.depth = max(f.level.depth>>effort, 1)
	f.found = f.finder.find(pos, deflateMaxMatch, f.found)
	if len(f.found) == 0 {
		return match{}
	}
	m := f.found[len(f.found)-1]
	if m.length == deflateMinMatch && m.dist > deflateTooFar {
		return match{}
	}
	return m
}

// step goes on by a symbol.
func (f *deflateFitter) step(src []byte) {
	m := f.ahead
	if !f.looked {
		m = f.best(f.pos, 0)
	}
	f.looked = false
	if m.length < deflateMinMatch {
		f.add(deflateSymbol(src[f.pos]), 1)
		return
	}
	if m.length < f.level.lazy && f.pos+1 < len(src) {
		effort := 0
		if m.length >= f.level.good {
			effort = 2
		}
		f.looked = true
		if f.ahead = f.best(f.pos+1, effort); f.ahead.length > m.length {
			f.add(deflateSymbol(src[f.pos]), 1)
			return
		}
		f.looked = false
	}
	f.add(deflateMatch|deflateSymbol(m.length-deflateMinMatch)<<16|deflateSymbol(m.dist-1), m.length)
}

// add takes a symbol that stands for n bytes.
func (f *deflateFitter) add(s deflateSymbol, n int) {
	f.symbols = append(f.symbols, s)
	f.extra += s.count(&f.lits, &f.dists)
	f.pos += n
}

// count counts a symbol. It gives the number of its extra bits.
func (s deflateSymbol) count(lits *[deflateLiterals]uint32, dists *[deflateDistances]uint32) (extra int) {
	if s&deflateMatch == 0 {
		lits[s&0xff]++
		return 0
	}
	l, d := s.match()
	slot, a := lengthSlot(l)
	lits[deflateEnd+1+slot]++
	slot, b := distanceSlot(d)
	dists[slot]++
	return a + b
}

func (s deflateSymbol) match() (length, dist int) {
	return int(s>>16&0xff) + deflateMinMatch, int(s&0x7fff) + 1
}

// entropy is less than the bits that the symbols take, whatever their codes.
func (f *deflateFitter) entropy() int {
	sum := float64(f.extra)
	for _, freqs := range [][]uint32{f.lits[:], f.dists[:]} {
		total := uint32(0)
		for _, n := range freqs {
			if n > 0 {
				total += n
				sum -= float64(n) * math.Log2(float64(n))
			}
		}
		if total > 0 {
			sum += float64(total) * math.Log2(float64(total))
		}
	}
	return int(sum)
}

// count makes the code for the first k symbols.
func (f *deflateFitter) count(k int) {
	c := &f.code
	if k == len(f.symbols) {
		c.lits, c.dists = f.lits, f.dists
		c.make(f.extra)
		return
	}
	clear(c.lits[:])
	clear(c.dists[:])
	extra := 0
	for _, s := range f.symbols[:k] {
		extra += s.count(&c.lits, &c.dists)
	}
	c.make(extra)
}

// longest gives how many of the symbols fit, with their code made.
func (f *deflateFitter) longest() int {
	room := f.out.room()
	if len(f.symbols) == 0 {
		return 0
	}
	f.count(len(f.symbols))
	if f.code.bits <= room {
		return len(f.symbols)
	}
	fits, fitsTo := 0, 0
	over, overTo := len(f.symbols), f.code.bits
	for try := 0; over > fits+1; try++ {
		k := fits + int(int64(over-fits)*int64(room-4-fitsTo)/int64(overTo-fitsTo))
		if try > 8 {
			k = fits + (over-fits)/2
		}
		k = min(max(k, fits+1), over-1)
		f.count(k)
		if f.code.bits > room {
			over, overTo = k, f.code.bits
			continue
		}
		fits, fitsTo = k, f.code.bits
		if room-fitsTo < 8 {
			break
		}
	}
	if fits > 0 {
		f.count(fits)
	}
	return fits
}

// write writes the first k symbols as a block, with the code that is made. It gives
// how many bytes they stand for.
func (f *deflateFitter) write(k int) (used int) {
	w, c := &f.out, &f.code
	f.lastBlock = w.bits()
	c.header(w)
	for _, s := range f.symbols[:k] {
		if s&deflateMatch == 0 {
			w.put(uint32(c.litCodes[s]), uint(c.litLens[s]))
			used++
			continue
		}
		l, d := s.match()
		used += l
		slot, extra := lengthSlot(l)
		slot += deflateEnd + 1
		w.put(uint32(c.litCodes[slot])|uint32(l-deflateMinMatch)&(1<<extra-1)<<c.litLens[slot], uint(c.litLens[slot])+uint(extra))
		slot, extra = distanceSlot(d)
		w.put(uint32(c.distCodes[slot])|uint32(d-1)&(1<<extra-1)<<c.distLens[slot], uint(c.distLens[slot])+uint(extra))
	}
	w.put(uint32(c.litCodes[deflateEnd]), uint(c.litLens[deflateEnd]))
	return used
}

// deflateCode is the code of a block.
type deflateCode struct {
	bits  int // of the block as a whole
	fixed bool

	lits      [deflateLiterals]uint32
	dists     [deflateDistances]uint32
	litLens   [deflateLiterals + 2]uint8 // two more have a code in fixed blocks
	distLens  [deflateDistances]uint8
	litCodes  [deflateLiterals + 2]uint16
	distCodes [deflateDistances]uint16

	// The header: the lengths of both as runs, and the code of those.
	nLits, nDists, nLevels int
	runs                   []deflateRun
	levels                 [19]uint32
	levelLens              [19]uint8
	levelCodes             [19]uint16
	huffman                huffman
}

// deflateRun is a code length, or a repetition of one, with its extra bits.
type deflateRun struct {
	symbol, value, extra uint8
}

// make makes the code for what lits and dists count, beside so many extra bits, and
// sets bits.
func (c *deflateCode) make(extra int) {
	c.lits[deflateEnd] = 1
	c.huffman.lengths(c.litLens[:deflateLiterals], c.lits[:], deflateMaxCode)
	c.huffman.lengths(c.distLens[:], c.dists[:], deflateMaxCode)
	c.runLengths()
	c.bits = 3 + 5 + 5 + 4 + 3*c.nLevels + extra
	for _, r := range c.runs {
		c.bits += int(c.levelLens[r.symbol]) + int(r.extra)
	}
	fixed := 3 + extra
	for s, n := range c.lits {
		c.bits += int(n) * int(c.litLens[s])
		fixed += int(n) * fixedLength(s)
	}
	for s, n := range c.dists {
		c.bits += int(n) * int(c.distLens[s])
		fixed += int(n) * 5
	}
	if c.fixed = fixed <= c.bits; c.fixed {
		c.bits = fixed
	}
}

// fixedLength is the length of a symbol's code in fixed blocks.
func fixedLength(s int) int {
	switch {
	case s < 144:
		return 8
	case s < 256:
		return 9
	case s < 280:
		return 7
	}
	return 8
}

// runLengths sets the header.
func (c *deflateCode) runLengths() {
	c.nLits, c.nDists = deflateLiterals, deflateDistances
	for c.litLens[c.nLits-1] == 0 {
		c.nLits--
	}
	for c.nDists > 1 && c.distLens[c.nDists-1] == 0 {
		c.nDists--
	}
	var all [deflateLiterals + deflateDistances]uint8
	lens := append(append(all[:0], c.litLens[:c.nLits]...), c.distLens[:c.nDists]...)
	clear(c.levels[:])
	c.runs = c.runs[:0]
	add := func(symbol, value, extra uint8) {
		c.runs = append(c.runs, deflateRun{symbol, value, extra})
		c.levels[symbol]++
	}
	for i := 0; i < len(lens); {
		n := 1
		for i+n < len(lens) && lens[i+n] == lens[i] {
			n++
		}
		v := lens[i]
		i += n
		if v != 0 {
			add(v, 0, 0)
			n--
		}
		for n > 0 {
			switch {
			case v == 0 && n >= 11:
				k := min(n, 138)
				add(18, uint8(k-11), 7)
				n -= k
			case v == 0 && n >= 3:
				add(17, uint8(n-3), 3)
				n = 0
			case v != 0 && n >= 3:
				k := min(n, 6)
				add(16, uint8(k-3), 2)
				n -= k
			default:
				add(v, 0, 0)
				n--
			}
		}
	}
	c.huffman.lengths(c.levelLens[:], c.levels[:], deflateMaxLevel)
	c.nLevels = len(deflateOrder)
	for c.nLevels > 4 && c.levelLens[deflateOrder[c.nLevels-1]] == 0 {
		c.nLevels--
	}
}

// header writes a block's header, not marked as the last, and makes the codes.
func (c *deflateCode) header(w *deflateWriter) {
	if c.fixed {
		for s := range c.litLens {
			c.litLens[s] = uint8(fixedLength(s))
		}
		for s := range c.distLens {
			c.distLens[s] = 5
		}
		w.put(1<<1, 3)
	} else {
		w.put(2<<1, 3)
		w.put(uint32(c.nLits-257), 5)
		w.put(uint32(c.nDists-1), 5)
		w.put(uint32(c.nLevels-4), 4)
		for _, s := range deflateOrder[:c.nLevels] {
			w.put(uint32(c.levelLens[s]), 3)
		}
		huffmanCodes(c.levelCodes[:], c.levelLens[:])
		for _, r := range c.runs {
			w.put(uint32(c.levelCodes[r.symbol]), uint(c.levelLens[r.symbol]))
			w.put(uint32(r.value), uint(r.extra))
		}
		c.litLens[deflateLiterals], c.litLens[deflateLiterals+1] = 0, 0
	}
	huffmanCodes(c.litCodes[:], c.litLens[:])
	huffmanCodes(c.distCodes[:], c.distLens[:])
}

// deflateWriter writes bits, the lowest first.
type deflateWriter struct {
	dst  []byte
	n    int // bytes written
	acc  uint64
	held uint // bits in acc
}

func (w *deflateWriter) begin(dst []byte) { *w = deflateWriter{dst: dst} }

// bits is how many are written.
func (w *deflateWriter) bits() int { return 8*w.n + int(w.held) }

// room is how many more fit.
func (w *deflateWriter) room() int { return 8*len(w.dst) - w.bits() }

// put writes n bits, 32 at most. That they fit is the caller's to know.
func (w *deflateWriter) put(v uint32, n uint) {
	w.acc |= uint64(v) << w.held
	if w.held += n; w.held >= 32 {
		binary.LittleEndian.PutUint32(w.dst[w.n:], uint32(w.acc))
		w.n += 4
		w.acc >>= 32
		w.held -= 32
	}
}

// end writes what is left. It gives the stream's length.
func (w *deflateWriter) end() int {
	for w.held > 0 {
		w.dst[w.n] = byte(w.acc)
		w.n++
		w.acc >>= 8
		w.held -= min(w.held, 8)
	}
	return w.n
}
