//go:build linux && (amd64 || arm64) && !relive_static

package codec

type nativeRawLZ4 struct{ z *liblz4 }

func (z *liblz4) newRaw(int) (RawDecompressor, error) { return nativeRawLZ4{z}, nil }

func (d nativeRawLZ4) Decompress(dst, src []byte) error {
	if err := checkRaw(RawLZ4, dst, src); err != nil {
		return err
	}
	clear(dst) // a match of offset 0, which is not refused, would show what was there
	n := int32(call(d.z.decompressSafe, uintptr(addr(src)), uintptr(addr(dst)), uintptr(len(src)), uintptr(len(dst))))
	if n < 0 {
		return rawCorruptf(RawLZ4, "is damaged or unpacks to more than %d bytes (liblz4 %d)", len(dst), n)
	}
	return checkGiven(RawLZ4, dst, int(n))
}

func (nativeRawLZ4) Prefix(dst, src []byte) error { return rawLZ4Prefix(dst, src) }

func (nativeRawLZ4) Close() error { return nil }
