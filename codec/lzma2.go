package codec

import "errors"

var errLZMA2Control = errors.New("LZMA2 chunk of an unknown kind")

// lzma2HeadMax is the longest head of a chunk, in bytes, and lzma2ChunkMax the
// most that one unpacks to.
const (
	lzma2HeadMax  = 6
	lzma2ChunkMax = 2 << 20
)

// lzma2Chunk is the head of a chunk, as the control bytes of lzma2_decoder in
// XZ Utils have them:
//
//	0x00       end
//	0x01       stored bytes, with a new dictionary
//	0x02       stored bytes
//	0x80-0x9f  LZMA
//	0xa0-0xbf  LZMA with a reset state
//	0xc0-0xdf  LZMA with a reset state and new properties
//	0xe0-0xff  LZMA with a reset state, new properties and a new dictionary
type lzma2Chunk struct {
	control  byte
	head     int // bytes of the head itself
	packed   int // bytes that follow it
	unpacked int // bytes that they give
	props    byte
}

// lzma2HeadSize is the length of the head of a chunk with that control byte.
func lzma2HeadSize(control byte) int {
	switch {
	case control == 0:
		return 1
	case control < 0x80:
		return 3
	case control < 0xc0:
		return 5
	}
	return lzma2HeadMax
}

// parseLZMA2Chunk reads the head at the start of in.
func parseLZMA2Chunk(in []byte) (c lzma2Chunk, err error) {
	if len(in) < 1 {
		return c, errLZMACut
	}
	c.control = in[0]
	c.head = lzma2HeadSize(c.control)
	if c.control > 2 && c.control < 0x80 {
		return c, errLZMA2Control
	}
	if len(in) < c.head {
		return c, errLZMACut
	}
	switch {
	case c.control == 0:
	case c.control < 0x80:
		c.packed = int(in[1])<<8 + int(in[2]) + 1
		c.unpacked = c.packed
	default:
		c.unpacked = int(c.control&0x1f)<<16 + int(in[1])<<8 + int(in[2]) + 1
		c.packed = int(in[3])<<8 + int(in[4]) + 1
		if c.head == lzma2HeadMax {
			c.props = in[5]
		}
	}
	return c, nil
}

// lzma2State is what chunks must begin with, given those before them.
type lzma2State struct{ hasDict, hasProps bool }

// decodeChunk decodes the packed bytes of a chunk to d.out.
func (d *lzmaDecoder) decodeChunk(s *lzma2State, c lzma2Chunk, packed []byte) error {
	if c.control >= 0xe0 || c.control == 1 {
		*s = lzma2State{hasDict: true}
		d.start = d.pos
	}
	if !s.hasDict {
		return errLZMA2Control
	}
	if c.unpacked > len(d.out)-d.pos {
		return errLZMALength
	}
	switch {
	case c.control < 0x80:
		d.pos += copy(d.out[d.pos:], packed)
		return nil
	case c.control >= 0xc0:
		if err := d.setProps(c.props); err != nil {
			return err
		}
		s.hasProps = true
	case !s.hasProps:
		return errLZMA2Control
	case c.control >= 0xa0:
		d.reset()
	}
	rest, err := d.decode(packed, d.pos+c.unpacked, false)
	if err == nil && len(rest) > 0 {
		err = errLZMARange
	}
	return err
}

// decodeLZMA2 decodes chunks of LZMA2 to the end marker. The dictionary begins
// with begin. It gives what follows the marker in in.
func (d *lzmaDecoder) decodeLZMA2(in []byte) (rest []byte, err error) {
	var s lzma2State
	for {
		c, err := parseLZMA2Chunk(in)
		if err != nil {
			return nil, err
		}
		in = in[c.head:]
		if c.control == 0 {
			return in, nil
		}
		if c.packed > len(in) {
			return nil, errLZMACut
		}
		if err := d.decodeChunk(&s, c, in[:c.packed]); err != nil {
			return nil, err
		}
		in = in[c.packed:]
	}
}
