package codec

import (
	"fmt"

	"github.com/anchore/go-lzo"
)

type pureLZODecompressor struct{}

func newPureLZODecompressor(int, int) (Decompressor, error) { return pureLZODecompressor{}, nil }

func (pureLZODecompressor) Decompress(dst, src []byte) (n int, err error) {
	if err := checkPacked(LZO, dst, src); err != nil {
		return 0, err
	}
	defer func() {
		if p := recover(); p != nil {
			n, err = 0, corrupt(LZO, fmt.Errorf("%v", p))
		}
	}()
	n, err = lzo.Decompress(src, dst)
	if err != nil {
		return 0, corrupt(LZO, err)
	}
	return n, nil
}

func (pureLZODecompressor) Close() error { return nil }
