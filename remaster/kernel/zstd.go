package kernel

import (
	"encoding/binary"
	"io"
)

// zstdEnd finds where the Zstandard frames at an offset end, by the sizes of
// their blocks (RFC 8878, section 3.1.1). Skippable frames go with them.
func zstdEnd(u *unpacker, at int64) (int64, error) {
	var b [8]byte
	read := func(off int64, n int) ([]byte, error) {
		if off+int64(n) > u.end {
			return nil, io.ErrUnexpectedEOF
		}
		_, err := u.c.ReadAt(b[:n], off)
		if err == io.EOF {
			err = nil
		}
		return b[:n], err
	}
	for pos := at; ; {
		if err := u.ctx.Err(); err != nil {
			return 0, err
		}
		m, err := read(pos, 4)
		if err != nil {
			return pos, nil // nothing more, or padding that is cut
		}
		switch magic := binary.LittleEndian.Uint32(m); {
		case magic == 0xfd2fb528:
		case magic&^0xf == 0x184d2a50 && pos > at:
			s, err := read(pos+4, 4)
			if err != nil {
				return 0, err
			}
			pos += 8 + int64(binary.LittleEndian.Uint32(s))
			if pos > u.end {
				return 0, io.ErrUnexpectedEOF
			}
			continue
		default:
			return pos, nil
		}
		d, err := read(pos+4, 1)
		if err != nil {
			return 0, err
		}
		desc := d[0]
		head := 1 + []int64{0, 1, 2, 4}[desc&3] + []int64{0, 2, 4, 8}[desc>>6]
		if desc&0x20 == 0 { // no single segment: a window descriptor
			head++
		} else if desc>>6 == 0 {
			head++
		}
		pos += 4 + head
		for last := false; !last; {
			h, err := read(pos, 3)
			if err != nil {
				return 0, err
			}
			v := uint32(h[0]) | uint32(h[1])<<8 | uint32(h[2])<<16
			last = v&1 != 0
			size := int64(v >> 3)
			if v>>1&3 == 1 { // one byte, repeated
				size = 1
			}
			pos += 3 + size
		}
		if desc&4 != 0 {
			pos += 4
		}
		if pos > u.end {
			return 0, io.ErrUnexpectedEOF
		}
	}
}
