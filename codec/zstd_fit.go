package codec

import "github.com/klauspost/compress/zstd"

// pureZstdFitter gives frames as libzstd does: with the content's size, in a single
// segment only within the window.
type pureZstdFitter struct {
	fitSearch
	enc *zstd.Encoder
}

func newPureZstdFitter(o FitOptions) (Fitter, error) {
	enc, err := zstd.NewWriter(nil,
		zstd.WithEncoderLevel(zstd.EncoderLevelFromZstd(o.Level)),
		zstd.WithEncoderConcurrency(1),
		zstd.WithWindowSize(1<<o.WindowLog),
		zstd.WithEncoderCRC(false),
		zstd.WithLowerEncoderMem(true))
	if err != nil {
		return nil, failed("zstd", err)
	}
	return &pureZstdFitter{enc: enc}, nil
}

func (f *pureZstdFitter) Fit(dst, src []byte) (used, n int, err error) {
	return f.fit(RawZstd, dst, src, func(out, src []byte) (int, error) {
		return len(f.enc.EncodeAll(src, out[:0])), nil
	})
}

func (f *pureZstdFitter) Close() error { return f.enc.Close() }
