package codec

import "encoding/binary"

// bcj turns the branch targets in machine code from absolute to relative
// (decoding) or back (encoding), as the .xz format 1.2.1 section 5.3.2 and
// simple/*.c of XZ Utils have it, in place. start is the address of b[0].
type bcj func(b []byte, start uint32, encode bool)

// bcjFilter gives the filter, or nil where it is not known.
func bcjFilter(id uint64) bcj {
	switch id {
	case bcjX86:
		return bcjCodeX86
	case bcjPowerPC:
		return bcjCodePowerPC
	case bcjIA64:
		return bcjCodeIA64
	case bcjARM:
		return bcjCodeARM
	case bcjARMThumb:
		return bcjCodeARMThumb
	case bcjSPARC:
		return bcjCodeSPARC
	case bcjARM64:
		return bcjCodeARM64
	}
	return nil
}

// bcjDecode undoes a filter.
func bcjDecode(id uint64, start uint32, b []byte) error {
	f := bcjFilter(id)
	if f == nil {
		return unsupportedf(XZ, "the branch filter %#x (RISC-V is read with liblzma 5.6 or later)", id)
	}
	f(b, start, false)
	return nil
}

// shift adds an instruction's address to its target, or takes it away.
func shift(target, address uint32, encode bool) uint32 {
	if encode {
		return target + address
	}
	return target - address
}

func bcjCodePowerPC(b []byte, start uint32, encode bool) {
	for i := 0; i+4 <= len(b); i += 4 {
		// bl: opcode 18, absolute bit clear, link bit set.
		if op := binary.BigEndian.Uint32(b[i:]); op&0xfc000003 == 0x48000001 {
			target := shift(op&0x03fffffc, start+uint32(i), encode)
			binary.BigEndian.PutUint32(b[i:], 0x48000001|target&0x03fffffc)
		}
	}
}

func bcjCodeARM(b []byte, start uint32, encode bool) {
	for i := 0; i+4 <= len(b); i += 4 {
		if b[i+3] != 0xeb { // bl, always
			continue
		}
		op := binary.LittleEndian.Uint32(b[i:])
		target := shift(op<<2, start+uint32(i)+8, encode)
		binary.LittleEndian.PutUint32(b[i:], op&0xff000000|target>>2&0x00ffffff)
	}
}

func bcjCodeARMThumb(b []byte, start uint32, encode bool) {
	for i := 0; i+4 <= len(b); i += 2 {
		if b[i+1]&0xf8 != 0xf0 || b[i+3]&0xf8 != 0xf8 { // the two halves of bl
			continue
		}
		high, low := uint32(binary.LittleEndian.Uint16(b[i:])), uint32(binary.LittleEndian.Uint16(b[i+2:]))
		target := shift((high&0x7ff<<11|low&0x7ff)<<1, start+uint32(i)+4, encode) >> 1
		binary.LittleEndian.PutUint16(b[i:], uint16(0xf000|target>>11&0x7ff))
		binary.LittleEndian.PutUint16(b[i+2:], uint16(0xf800|target&0x7ff))
		i += 2
	}
}

func bcjCodeSPARC(b []byte, start uint32, encode bool) {
	for i := 0; i+4 <= len(b); i += 4 {
		op := binary.BigEndian.Uint32(b[i:])
		if top := op >> 22; top != 0x100 && top != 0x1ff { // call within 22 bits
			continue
		}
		target := shift(op<<2, start+uint32(i), encode) >> 2
		binary.BigEndian.PutUint32(b[i:], (0x40000000-target&0x00400000)|0x40000000|target&0x003fffff)
	}
}

func bcjCodeARM64(b []byte, start uint32, encode bool) {
	for i := 0; i+4 <= len(b); i += 4 {
		op := binary.LittleEndian.Uint32(b[i:])
		at := start + uint32(i)
		switch {
		case op>>26 == 0x25: // bl
			op = 0x94000000 | shift(op, at>>2, encode)&0x03ffffff
		case op&0x9f000000 == 0x90000000: // adrp, within 512 MiB either way
			target := op>>29&3 | op>>3&0x001ffffc
			if (target+0x00020000)&0x001c0000 != 0 {
				continue
			}
			target = shift(target, at>>12, encode)
			op = op&0x9000001f | target&3<<29 | target&0x0003fffc<<3 | -(target&0x00020000)&0x00e00000
		default:
			continue
		}
		binary.LittleEndian.PutUint32(b[i:], op)
	}
}

// ia64Branches tells by a bundle's template which of its three slots may hold
// a branch.
const ia64Branches = "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00" +
	"\x04\x04\x06\x06\x00\x00\x07\x07\x04\x04\x00\x00\x04\x04\x00\x00"

func bcjCodeIA64(b []byte, start uint32, encode bool) {
	for i := 0; i+16 <= len(b); i += 16 {
		slots := ia64Branches[b[i]&0x1f]
		for slot := range 3 {
			if slots>>slot&1 == 0 {
				continue
			}
			bit := 5 + 41*slot
			window := b[i+bit/8 : i+bit/8+6]
			var raw uint64
			for j, c := range window {
				raw |= uint64(c) << (8 * j)
			}
			op := raw >> (bit % 8)
			if op>>37&0xf != 5 || op>>9&7 != 0 { // br.call
				continue
			}
			target := uint32(op>>13&0xfffff | op>>36&1<<20)
			target = shift(target<<4, start+uint32(i), encode) >> 4
			op &^= 0x8fffff << 13
			op |= uint64(target&0xfffff)<<13 | uint64(target&0x100000)<<(36-20)
			raw = raw&(1<<(bit%8)-1) | op<<(bit%8)
			for j := range window {
				window[j] = byte(raw >> (8 * j))
			}
		}
	}
}

// bcjCodeX86 handles call and jmp with 32-bit displacements. Opcodes that come
// close behind another may be part of its displacement; mask remembers in its
// bits where within the last bytes such opcodes were, so that encoder and
// decoder judge alike.
func bcjCodeX86(b []byte, start uint32, encode bool) {
	// signByte tells whether a displacement's top byte is that of a short reach.
	signByte := func(c byte) bool { return c == 0 || c == 0xff }
	last, mask := -4, uint32(0)
	for i := 0; i+5 <= len(b); i++ {
		if b[i]&0xfe != 0xe8 {
			continue
		}
		back := i - last
		last = i
		if back > 3 {
			mask = 0
		} else {
			mask = mask << (back - 1) & 7
		}
		// Where the mask's highest set bit stands, in bytes.
		near := 0
		if mask != 0 {
			near = [8]int{0, 1, 2, 2, 3, 3, 3, 3}[mask]
			if mask == 3 || mask >= 5 || signByte(b[i+4-near]) {
				mask = mask<<1 | 1
				continue
			}
		}
		if !signByte(b[i+4]) {
			mask = mask<<1 | 1
			continue
		}
		target := binary.LittleEndian.Uint32(b[i+1:])
		for {
			moved := shift(target, start+uint32(i)+5, encode)
			if mask == 0 || !signByte(byte(moved>>(24-8*near))) {
				target = moved
				break
			}
			target = moved ^ (1<<(32-8*near) - 1)
		}
		binary.LittleEndian.PutUint32(b[i+1:], target&0x01ffffff|-(target&0x01000000))
		i += 4
	}
}
