package codec

import "errors"

// lzmaDecoder decodes LZMA, the coding below LZMA2 and the .lzma format, as the
// "LZMA specification" of the LZMA SDK has it. It writes straight into the
// caller's block, which is its dictionary as well, so that its memory does not
// depend on what the stream asks for.
type lzmaDecoder struct {
	lc         uint32 // literal context bits
	lpMask     uint32 // of the position, for literals
	pbMask     uint32 // of the position, elsewhere
	state      uint32
	rep        [4]uint32 // the last four distances, less one
	probs      [probCount]uint16
	tail       [2 * maxSymbolBytes]byte
	out        []byte
	pos        int // in out
	start      int // where the dictionary begins
	dictSize   int
	markerSeen bool
}

// Where each group of probabilities begins in lzmaDecoder.probs.
const (
	lzmaStates = 12

	probIsMatch    = 0
	probIsRep      = probIsMatch + lzmaStates<<4
	probIsRepG0    = probIsRep + lzmaStates
	probIsRepG1    = probIsRepG0 + lzmaStates
	probIsRepG2    = probIsRepG1 + lzmaStates
	probIsRep0Long = probIsRepG2 + lzmaStates
	probSlot       = probIsRep0Long + lzmaStates<<4
	probSpecial    = probSlot + 4<<6
	probAlign      = probSpecial + 115
	probLen        = probAlign + 16
	probRepLen     = probLen + probLenCount
	probLiteral    = probRepLen + probLenCount
	probCount      = probLiteral + 0x300<<4

	// Within probLen and probRepLen.
	lenChoice    = 0
	lenChoice2   = 1
	lenLow       = 2
	lenMid       = lenLow + 16<<3
	lenHigh      = lenMid + 16<<3
	probLenCount = lenHigh + 256

	probInit = 1 << 10 // one half, of 1 << 11

	// maxSymbolBytes is more than one symbol reads: each of its bits (at most
	// 1 + 1 + 10 for the length + 6 for the slot + 26 direct + 4) shifts in a
	// byte at most.
	maxSymbolBytes = 64
)

var (
	errLZMACut      = errors.New("LZMA data is cut short")
	errLZMADistance = errors.New("LZMA match reaches back past the dictionary")
	errLZMALength   = errors.New("LZMA data unpacks to more than it should")
	errLZMAProps    = errors.New("LZMA properties are out of range")
	errLZMARange    = errors.New("LZMA data is damaged")
)

// begin starts a new dictionary at out[pos:].
func (d *lzmaDecoder) begin(out []byte, pos, dictSize int) {
	d.out, d.pos, d.start, d.dictSize = out, pos, pos, dictSize
}

// setProps takes the properties byte (pb*5 + lp)*9 + lc and resets the state.
// As in LZMA2, lc + lp may be 4 at most; no other encoder of SquashFS had more.
func (d *lzmaDecoder) setProps(b byte) error {
	lc, lp, pb := uint32(b%9), uint32(b/9%5), uint32(b/45)
	if pb > 4 || lc+lp > 4 {
		return errLZMAProps
	}
	d.lc, d.lpMask, d.pbMask = lc, 1<<lp-1, 1<<pb-1
	d.reset()
	return nil
}

// reset sets state, distances and probabilities as at the start of a stream.
func (d *lzmaDecoder) reset() {
	d.state = 0
	d.rep = [4]uint32{}
	n := probLiteral + 0x300*int(d.lpMask+1)<<d.lc
	for i := range d.probs[:n] {
		d.probs[i] = probInit
	}
}

// lzmaStop says how a run of the range coder ends.
type lzmaStop uint8

const (
	lzmaExact  lzmaStop = iota // with the last byte that is wanted
	lzmaMarker                 // there too, or with an end marker that follows it
	lzmaPrefix                 // anywhere behind it
)

// decode decodes the bytes of in, a range coder's whole run, until d.pos is
// limit; where marker is set, an end marker is read there if it follows. It
// gives what in has left.
func (d *lzmaDecoder) decode(in []byte, limit int, marker bool) (rest []byte, err error) {
	if len(in) < 5 || in[0] != 0 {
		return in, errLZMARange
	}
	if marker {
		return d.run(in, limit, lzmaMarker)
	}
	return d.run(in, limit, lzmaExact)
}

// run is decode without a look at the first byte; in has at least five.
//
// The bits are decoded in place rather than by a function: this loop is all of
// the time that reading xz takes, and calls that pass range and code through
// memory halve its speed.
func (d *lzmaDecoder) run(in []byte, limit int, ends lzmaStop) (rest []byte, err error) {
	marker := ends == lzmaMarker
	d.markerSeen = false
	out, pos := d.out, d.pos
	if limit > len(out) {
		return in, errLZMALength
	}
	rng, code := uint32(0xffffffff), uint32(in[1])<<24|uint32(in[2])<<16|uint32(in[3])<<8|uint32(in[4])
	buf, at := in, 5 // what is read, and where
	base := 0        // where buf begins in in
	probs := &d.probs
	state := d.state
	rep0, rep1, rep2, rep3 := d.rep[0], d.rep[1], d.rep[2], d.rep[3]
	lc, lpMask, pbMask := d.lc, d.lpMask, d.pbMask

loop:
	for {
		// Near its end the input goes on in a copy that zeros follow, so that a
		// symbol need not check for the end at every byte.
		if len(buf)-at < maxSymbolBytes {
			if base > 0 {
				// More than all of the copy's real bytes are read.
				err = errLZMACut
				break
			}
			clear(d.tail[copy(d.tail[:], in[at:]):])
			base, buf, at = at, d.tail[:], 0
		}
		// A stream that is to have a marker may still lack it; then nothing is
		// left but a byte that the range coder has not shifted in.
		if pos >= limit && (!marker || base+at >= len(in)-1) {
			break
		}
		posState := uint32(pos-d.start) & pbMask
		var p uint16
		var bound uint32

		// A literal?
		i := probIsMatch + state<<4 + posState
		if rng < 1<<24 {
			rng, code = rng<<8, code<<8|uint32(buf[at])
			at++
		}
		p = probs[i]
		bound = rng >> 11 * uint32(p)
		if code < bound {
			rng = bound
			probs[i] = p + (2048-p)>>5
			if pos >= limit {
				err = errLZMALength
				break
			}
			var prev uint32
			if pos > d.start {
				prev = uint32(out[pos-1])
			}
			lit := probs[probLiteral+0x300*((uint32(pos-d.start)&lpMask)<<lc+prev>>(8-lc)):]
			if len(lit) < 0x300 {
				err = errLZMARange
				break
			}
			lit = lit[:0x300]
			symbol := uint32(1)
			if state >= 7 {
				// After a match its next byte steers the probabilities.
				match := uint32(out[pos-int(rep0)-1])
				offset := uint32(0x100)
				for symbol < 0x100 {
					match <<= 1
					matchBit := match & offset
					j := offset + matchBit + symbol
					if rng < 1<<24 {
						rng, code = rng<<8, code<<8|uint32(buf[at])
						at++
					}
					p = lit[j]
					bound = rng >> 11 * uint32(p)
					if code < bound {
						rng = bound
						lit[j] = p + (2048-p)>>5
						symbol <<= 1
						offset &^= matchBit
					} else {
						rng -= bound
						code -= bound
						lit[j] = p - p>>5
						symbol = symbol<<1 | 1
						offset &= matchBit
					}
				}
			} else {
				for symbol < 0x100 {
					if rng < 1<<24 {
						rng, code = rng<<8, code<<8|uint32(buf[at])
						at++
					}
					p = lit[symbol]
					bound = rng >> 11 * uint32(p)
					if code < bound {
						rng = bound
						lit[symbol] = p + (2048-p)>>5
						symbol <<= 1
					} else {
						rng -= bound
						code -= bound
						lit[symbol] = p - p>>5
						symbol = symbol<<1 | 1
					}
				}
			}
			out[pos] = byte(symbol)
			pos++
			switch {
			case state < 4:
				state = 0
			case state < 10:
				state -= 3
			default:
				state -= 6
			}
			continue
		}
		rng -= bound
		code -= bound
		probs[i] = p - p>>5

		// A new distance, or one of the last four?
		length := uint32(probLen) // until decoded, the group of its probabilities
		i = probIsRep + state
		if rng < 1<<24 {
			rng, code = rng<<8, code<<8|uint32(buf[at])
			at++
		}
		p = probs[i]
		bound = rng >> 11 * uint32(p)
		isNew := code < bound
		if isNew {
			rng = bound
			probs[i] = p + (2048-p)>>5
			rep3, rep2, rep1 = rep2, rep1, rep0
		} else {
			rng -= bound
			code -= bound
			probs[i] = p - p>>5
			length = probRepLen
			i = probIsRepG0 + state
			if rng < 1<<24 {
				rng, code = rng<<8, code<<8|uint32(buf[at])
				at++
			}
			p = probs[i]
			bound = rng >> 11 * uint32(p)
			if code < bound {
				rng = bound
				probs[i] = p + (2048-p)>>5
				i = probIsRep0Long + state<<4 + posState
				if rng < 1<<24 {
					rng, code = rng<<8, code<<8|uint32(buf[at])
					at++
				}
				p = probs[i]
				bound = rng >> 11 * uint32(p)
				if code < bound {
					// A single byte from the last distance.
					rng = bound
					probs[i] = p + (2048-p)>>5
					if pos >= limit {
						err = errLZMALength
						break
					}
					if rep0 >= uint32(pos-d.start) {
						err = errLZMADistance
						break
					}
					out[pos] = out[pos-int(rep0)-1]
					pos++
					if state < 7 {
						state = 9
					} else {
						state = 11
					}
					continue
				}
				rng -= bound
				code -= bound
				probs[i] = p - p>>5
			} else {
				rng -= bound
				code -= bound
				probs[i] = p - p>>5
				i = probIsRepG1 + state
				if rng < 1<<24 {
					rng, code = rng<<8, code<<8|uint32(buf[at])
					at++
				}
				p = probs[i]
				bound = rng >> 11 * uint32(p)
				if code < bound {
					rng = bound
					probs[i] = p + (2048-p)>>5
					rep0, rep1 = rep1, rep0
				} else {
					rng -= bound
					code -= bound
					probs[i] = p - p>>5
					i = probIsRepG2 + state
					if rng < 1<<24 {
						rng, code = rng<<8, code<<8|uint32(buf[at])
						at++
					}
					p = probs[i]
					bound = rng >> 11 * uint32(p)
					if code < bound {
						rng = bound
						probs[i] = p + (2048-p)>>5
						rep0, rep1, rep2 = rep2, rep0, rep1
					} else {
						rng -= bound
						code -= bound
						probs[i] = p - p>>5
						rep0, rep1, rep2, rep3 = rep3, rep0, rep1, rep2
					}
				}
			}
		}

		// The length: which of three trees, then the tree.
		i = length + lenChoice
		tree, size, add := length+lenLow+posState<<3, uint32(8), uint32(2)
		if rng < 1<<24 {
			rng, code = rng<<8, code<<8|uint32(buf[at])
			at++
		}
		p = probs[i]
		bound = rng >> 11 * uint32(p)
		if code < bound {
			rng = bound
			probs[i] = p + (2048-p)>>5
		} else {
			rng -= bound
			code -= bound
			probs[i] = p - p>>5
			i = length + lenChoice2
			if rng < 1<<24 {
				rng, code = rng<<8, code<<8|uint32(buf[at])
				at++
			}
			p = probs[i]
			bound = rng >> 11 * uint32(p)
			if code < bound {
				rng = bound
				probs[i] = p + (2048-p)>>5
				tree, add = length+lenMid+posState<<3, 2+8
			} else {
				rng -= bound
				code -= bound
				probs[i] = p - p>>5
				tree, size, add = length+lenHigh, 256, 2+16
			}
		}
		symbol := uint32(1)
		for symbol < size {
			i = tree + symbol
			if rng < 1<<24 {
				rng, code = rng<<8, code<<8|uint32(buf[at])
				at++
			}
			p = probs[i]
			bound = rng >> 11 * uint32(p)
			if code < bound {
				rng = bound
				probs[i] = p + (2048-p)>>5
				symbol <<= 1
			} else {
				rng -= bound
				code -= bound
				probs[i] = p - p>>5
				symbol = symbol<<1 | 1
			}
		}
		length = symbol - size + add

		if !isNew {
			if state < 7 {
				state = 8
			} else {
				state = 11
			}
		} else {
			if state < 7 {
				state = 7
			} else {
				state = 10
			}
			// The distance: its slot, then bits below.
			tree = probSlot + min(length-2, 3)<<6
			symbol = 1
			for symbol < 64 {
				i = tree + symbol
				if rng < 1<<24 {
					rng, code = rng<<8, code<<8|uint32(buf[at])
					at++
				}
				p = probs[i]
				bound = rng >> 11 * uint32(p)
				if code < bound {
					rng = bound
					probs[i] = p + (2048-p)>>5
					symbol <<= 1
				} else {
					rng -= bound
					code -= bound
					probs[i] = p - p>>5
					symbol = symbol<<1 | 1
				}
			}
			slot := symbol - 64
			rep0 = slot
			if slot >= 4 {
				low := slot>>1 - 1 // the number of bits below
				rep0 = (2 | slot&1) << low
				if slot < 14 {
					tree = probSpecial + rep0 - slot
				} else {
					for range low - 4 {
						if rng < 1<<24 {
							rng, code = rng<<8, code<<8|uint32(buf[at])
							at++
						}
						rng >>= 1
						low--
						if code >= rng {
							code -= rng
							rep0 |= 1 << low
						}
					}
					tree = probAlign
				}
				symbol = 1
				for bit := range low {
					i = tree + symbol
					if rng < 1<<24 {
						rng, code = rng<<8, code<<8|uint32(buf[at])
						at++
					}
					p = probs[i]
					bound = rng >> 11 * uint32(p)
					if code < bound {
						rng = bound
						probs[i] = p + (2048-p)>>5
						symbol <<= 1
					} else {
						rng -= bound
						code -= bound
						probs[i] = p - p>>5
						symbol = symbol<<1 | 1
						rep0 |= 1 << bit
					}
				}
				if rep0 == 0xffffffff {
					if !marker {
						err = errLZMARange
						break loop
					}
					d.markerSeen = true
					break loop
				}
			}
		}

		if rep0 >= uint32(pos-d.start) || rep0 >= uint32(d.dictSize) {
			err = errLZMADistance
			break
		}
		distance := int(rep0) + 1
		if int(length) > limit-pos {
			if ends != lzmaPrefix {
				err = errLZMALength
				break
			}
			length = uint32(limit - pos)
		}
		end := pos + int(length)
		if distance >= int(length) {
			copy(out[pos:end], out[pos-distance:])
		} else {
			for j := pos; j < end; j++ {
				out[j] = out[j-distance]
			}
		}
		pos = end
	}
	// The encoder flushes so that one more byte is wanted at the end.
	if err == nil && rng < 1<<24 && ends != lzmaPrefix {
		if at >= len(buf) {
			err = errLZMACut
		} else {
			code = code<<8 | uint32(buf[at])
			at++
		}
	}
	if err == nil && base+at > len(in) {
		err = errLZMACut
	}
	d.pos, d.state = pos, state
	d.rep = [4]uint32{rep0, rep1, rep2, rep3}
	if err != nil {
		return in, err
	}
	if code != 0 && (d.markerSeen || ends == lzmaExact) {
		return in, errLZMARange
	}
	return in[base+at:], nil
}
