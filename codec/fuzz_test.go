package codec

import (
	"bytes"
	"errors"
	"testing"

	"relive/tree"
)

// fuzzDecompressor holds a codec to its promises on any input, with both
// libraries, and the libraries to each other: where both accept a block they
// give the same content.
func fuzzDecompressor(f *testing.F, id ID) {
	const size = 16 << 10
	o := DefaultOptions(id, size)
	for _, b := range packedSamples(f, o, size) {
		f.Add(b)
	}
	readers := map[string]Decompressor{}
	for name, l := range libraries(f) {
		d, err := l.NewDecompressorFor(o, size)
		if err != nil {
			f.Fatal(err)
		}
		f.Cleanup(func() { d.Close() })
		readers[name] = d
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var first []byte
		var from string
		for name, d := range readers {
			dst := make([]byte, size+64)
			for i := range dst[size:] {
				dst[size+i] = 0xa5
			}
			n, err := d.Decompress(dst[:size], b)
			if n < 0 || n > size {
				t.Fatalf("%s: %d bytes", name, n)
			}
			if bytes.Count(dst[size:], []byte{0xa5}) != 64 {
				t.Fatalf("%s wrote past the end", name)
			}
			if err != nil {
				if !errors.Is(err, tree.ErrCorrupt) && !errors.Is(err, tree.ErrUnsupported) {
					t.Fatalf("%s: error of an unknown kind: %v", name, err)
				}
				continue
			}
			if first == nil {
				first, from = dst[:n], name
			} else if !bytes.Equal(first, dst[:n]) {
				t.Fatalf("%s gives %d bytes, %s %d others", from, len(first), name, n)
			}
		}
	})
}

func FuzzGzip(f *testing.F) { fuzzDecompressor(f, Gzip) }
func FuzzLZMA(f *testing.F) { fuzzDecompressor(f, LZMA) }
func FuzzLZO(f *testing.F)  { fuzzDecompressor(f, LZO) }
func FuzzXZ(f *testing.F)   { fuzzDecompressor(f, XZ) }
func FuzzLZ4(f *testing.F)  { fuzzDecompressor(f, LZ4) }
func FuzzZstd(f *testing.F) { fuzzDecompressor(f, Zstd) }

// FuzzLZMA2 reaches what the checksums of xz hide from FuzzXZ: chunks within a
// stream whose header and checks are right, or no check at all.
func FuzzLZMA2(f *testing.F) {
	const size = 16 << 10
	o := DefaultOptions(XZ, size)
	for _, b := range packedSamples(f, o, size) {
		h, err := parseXZBlockHeader(b[xzHeaderSize:])
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b[xzHeaderSize+h.size : len(b)-36])
	}
	f.Fuzz(func(t *testing.T, chunks []byte) {
		d := new(lzmaDecoder)
		dst := make([]byte, size)
		d.begin(dst, 0, size)
		rest, err := d.decodeLZMA2(chunks)
		if err == nil && len(rest) > len(chunks) {
			t.Fatal("more is left than there was")
		}
		if d.pos < 0 || d.pos > size {
			t.Fatalf("position %d", d.pos)
		}
	})
}

// FuzzRoundTrip: what any library packs, every library unpacks to the same.
func FuzzRoundTrip(f *testing.F) {
	const size = 16 << 10
	for _, b := range samples(size) {
		f.Add(b, uint8(0))
	}
	libs := libraries(f)
	readers := map[ID]map[string]Decompressor{}
	writers := map[Options]map[string]Compressor{}
	for _, id := range IDs() {
		readers[id] = map[string]Decompressor{}
		for name, l := range libs {
			d, err := l.NewDecompressor(id, size)
			if err != nil {
				f.Fatal(err)
			}
			f.Cleanup(func() { d.Close() })
			readers[id][name] = d
			for _, o := range variants(id, size) {
				c, err := l.NewCompressor(o, size)
				if errors.Is(err, tree.ErrUnsupported) {
					continue
				}
				if err != nil {
					f.Fatal(err)
				}
				f.Cleanup(func() { c.Close() })
				if writers[o] == nil {
					writers[o] = map[string]Compressor{}
				}
				writers[o][name] = c
			}
		}
	}
	f.Fuzz(func(t *testing.T, b []byte, variant uint8) {
		b = b[:min(len(b), size)]
		out := make([]byte, size)
		for _, id := range IDs() {
			options := variants(id, size)
			o := options[int(variant)%len(options)]
			for writer, c := range writers[o] {
				p, ok, err := c.Compress(nil, b)
				if err != nil {
					t.Fatalf("%s %+v: %v", writer, o, err)
				}
				if !ok {
					continue
				}
				for reader, d := range readers[id] {
					if n, err := d.Decompress(out, p); err != nil || !bytes.Equal(out[:n], b) {
						t.Fatalf("%s to %s %+v: %v, or content differs", writer, reader, o, err)
					}
				}
			}
		}
	})
}

// FuzzOptions: what parses, marshals to something that parses to the same.
func FuzzOptions(f *testing.F) {
	for _, id := range IDs() {
		for _, o := range variants(id, 131072) {
			f.Add(uint16(id), o.Marshal(131072), uint8(17))
		}
	}
	f.Fuzz(func(t *testing.T, id uint16, raw []byte, log uint8) {
		blockSize := 1 << (12 + log%9)
		o, err := ParseOptions(ID(id), raw, blockSize)
		if err != nil {
			if !errors.Is(err, tree.ErrCorrupt) && !errors.Is(err, tree.ErrUnsupported) {
				t.Fatalf("error of an unknown kind: %v", err)
			}
			return
		}
		again, err := ParseOptions(ID(id), o.Marshal(blockSize), blockSize)
		if o.Strategies == StrategyDefault {
			o.Strategies = 0
		}
		if err != nil || again != o {
			t.Fatalf("%+v became %+v, %v", o, again, err)
		}
	})
}
