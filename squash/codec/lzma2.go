package codec

import "errors"

var errLZMA2Control = errors.New("LZMA2 chunk of an unknown kind")

// decodeLZMA2 decodes chunks of LZMA2 to the end marker, as the control bytes
// of lzma2_decoder in XZ Utils have them:
//
//	0x00       end
//	0x01       stored bytes, with a new dictionary
//	0x02       stored bytes
//	0x80-0x9f  LZMA
//	0xa0-0xbf  LZMA with a reset state
//	0xc0-0xdf  LZMA with a reset state and new properties
//	0xe0-0xff  LZMA with a reset state, new properties and a new dictionary
//
// The dictionary begins with begin. It gives what follows the marker in in.
func (d *lzmaDecoder) decodeLZMA2(in []byte) (rest []byte, err error) {
	needDict, needProps := true, true
	for {
		if len(in) < 1 {
			return nil, errLZMACut
		}
		control := in[0]
		if control == 0 {
			return in[1:], nil
		}
		if control >= 0xe0 || control == 1 {
			needDict, needProps = false, true
			d.start = d.pos
		}
		if needDict || control > 2 && control < 0x80 {
			return nil, errLZMA2Control
		}
		if control < 0x80 {
			if len(in) < 3 {
				return nil, errLZMACut
			}
			n := int(in[1])<<8 + int(in[2]) + 1
			in = in[3:]
			if n > len(in) {
				return nil, errLZMACut
			}
			if n > len(d.out)-d.pos {
				return nil, errLZMALength
			}
			d.pos += copy(d.out[d.pos:], in[:n])
			in = in[n:]
			continue
		}
		if len(in) < 6 {
			return nil, errLZMACut
		}
		limit := d.pos + int(control&0x1f)<<16 + int(in[1])<<8 + int(in[2]) + 1
		packed := int(in[3])<<8 + int(in[4]) + 1
		switch {
		case control >= 0xc0:
			if err := d.setProps(in[5]); err != nil {
				return nil, err
			}
			needProps = false
			in = in[6:]
		case needProps:
			return nil, errLZMA2Control
		default:
			if control >= 0xa0 {
				d.reset()
			}
			in = in[5:]
		}
		if packed > len(in) {
			return nil, errLZMACut
		}
		rest, err := d.decode(in[:packed], limit, false)
		if err != nil {
			return nil, err
		}
		if len(rest) > 0 {
			return nil, errLZMARange
		}
		in = in[packed:]
	}
}
