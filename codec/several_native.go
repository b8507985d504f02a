//go:build linux && (amd64 || arm64) && !relive_static

package codec

// several packs blocks in several ways, of which the smallest result counts, and
// the first among equals, as in mksquashfs.
type several struct {
	id        ID
	blockSize int
	other     []byte // a result to compare with, where there is more than one way
}

func newSeveral(id ID, blockSize, ways int) several {
	s := several{id: id, blockSize: blockSize}
	if ways > 1 {
		s.other = make([]byte, blockSize)
	}
	return s
}

// compress is Compressor.Compress. pack packs src in one of that many ways; it
// gives the length of the result, or -1 where out is too small for it.
func (s *several) compress(dst, src []byte, ways int, pack func(way int, out, src []byte) (int, error)) ([]byte, bool, error) {
	if err := checkBlock(s.id, src, s.blockSize); err != nil {
		return dst[:0], false, err
	}
	dst = room(dst, s.blockSize)
	if len(src) == 0 {
		return dst, false, nil
	}
	best := -1
	out := dst[:s.blockSize]
	for way := range ways {
		n, err := pack(way, out, src)
		if err != nil {
			return dst, false, err
		}
		if n < 0 || best >= 0 && n >= best {
			continue
		}
		best = n
		if ways > 1 {
			copy(dst[:n], out[:n])
			out = s.other
		}
	}
	if best < 0 || best >= len(src) {
		return dst, false, nil
	}
	return dst[:best], true, nil
}
