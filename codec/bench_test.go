package codec

import (
	"fmt"
	"os"
	"testing"
)

// corpus gives the bytes that the benchmarks pack: the file that
// RELIVE_BENCH_CORPUS names, or the running binary; 8 MiB of it at most.
func corpus(b *testing.B) []byte {
	b.Helper()
	name := os.Getenv("RELIVE_BENCH_CORPUS")
	if name == "" {
		name = "/proc/self/exe"
	}
	data, err := os.ReadFile(name)
	if err != nil {
		b.Fatal(err)
	}
	return data[:min(len(data), 8<<20)]
}

// benchCases are what the benchmarks compare: the defaults of mksquashfs, and
// the levels that matter beside them.
func benchCases(blockSize int) []Options {
	var out []Options
	for _, id := range []ID{Gzip, LZO, XZ, LZ4, Zstd} {
		out = append(out, DefaultOptions(id, blockSize))
	}
	x86 := DefaultOptions(XZ, blockSize)
	x86.Filters = FilterX86
	hc := DefaultOptions(LZ4, blockSize)
	hc.HC, hc.Level = true, 12
	return append(out, x86, hc)
}

// eachCase runs a benchmark for each codec, library and block size.
func eachCase(b *testing.B, run func(b *testing.B, l *Library, o Options, blockSize int, blocks [][]byte)) {
	data := corpus(b)
	for _, blockSize := range []int{128 << 10, 1 << 20} {
		var blocks [][]byte
		for off := 0; off+blockSize <= len(data); off += blockSize {
			blocks = append(blocks, data[off:off+blockSize])
		}
		for _, o := range benchCases(blockSize) {
			for lib, l := range libraries(b) {
				name := o.ID.String()
				if o.HC {
					name += "-hc"
				}
				if o.Filters != 0 {
					name += "-x86"
				}
				b.Run(fmt.Sprintf("%s/%dK/%s", name, blockSize>>10, lib), func(b *testing.B) {
					run(b, l, o, blockSize, blocks)
				})
			}
		}
	}
}

// BenchmarkCompress packs the corpus; ratio is packed to unpacked.
func BenchmarkCompress(b *testing.B) {
	eachCase(b, func(b *testing.B, l *Library, o Options, blockSize int, blocks [][]byte) {
		c, err := l.NewCompressor(o, blockSize)
		if err != nil {
			b.Skip(err)
		}
		defer c.Close()
		b.ReportAllocs()
		b.SetBytes(int64(blockSize))
		var in, out int
		var buf []byte
		for i := 0; b.Loop(); i++ {
			block := blocks[i%len(blocks)]
			var ok bool
			if buf, ok, err = c.Compress(buf, block); err != nil {
				b.Fatal(err)
			}
			in += len(block)
			if ok {
				out += len(buf)
			} else {
				out += len(block)
			}
		}
		b.ReportMetric(float64(out)/float64(in), "ratio")
	})
}

// BenchmarkDecompress unpacks what the best library at hand packed.
func BenchmarkDecompress(b *testing.B) {
	auto, err := Open(Auto)
	if err != nil {
		b.Fatal(err)
	}
	eachCase(b, func(b *testing.B, l *Library, o Options, blockSize int, blocks [][]byte) {
		c, err := auto.NewCompressor(o, blockSize)
		if err != nil {
			b.Skip(err)
		}
		defer c.Close()
		var packed [][]byte
		for _, block := range blocks {
			p, ok, err := c.Compress(nil, block)
			if err != nil {
				b.Fatal(err)
			}
			if ok {
				packed = append(packed, p)
			}
		}
		d, err := l.NewDecompressorFor(o, blockSize)
		if err != nil {
			b.Fatal(err)
		}
		defer d.Close()
		dst := make([]byte, blockSize)
		b.ReportAllocs()
		b.SetBytes(int64(blockSize))
		for i := 0; b.Loop(); i++ {
			if _, err := d.Decompress(dst, packed[i%len(packed)]); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// fitBenchOptions are what BenchmarkFit compares: the defaults of mkfs.erofs, and
// what media are made with.
func fitBenchOptions(r Raw) []FitOptions {
	levels := map[Raw][]int{RawLZ4: {0, 9, 12}, MicroLZMA: {3, 6, 109}, RawDeflate: {1, 6, 9}, RawZstd: {3, 8, 15}}
	var out []FitOptions
	for _, n := range levels[r] {
		out = append(out, FitOptions{Level: n})
	}
	return out
}

// BenchmarkFit packs the corpus, as a whole each time, into streams of one length, as
// an image has them; ratio is packed to unpacked.
func BenchmarkFit(b *testing.B) {
	data := corpus(b)
	libs := libraries(b)
	for _, r := range raws() {
		for _, o := range fitBenchOptions(r) {
			for _, room := range []int{4 << 10, 64 << 10, 1 << 20} {
				for _, lib := range []string{"go", "native"} {
					l := libs[lib]
					if l == nil || lib == "native" && r == RawDeflate { // which is Go alone
						continue
					}
					b.Run(fmt.Sprintf("%s-%d/%dK/%s", r, o.Level, room>>10, lib), func(b *testing.B) {
						f, err := l.NewFitter(r, o.WithDefaults(r, room))
						if err != nil {
							b.Fatal(err)
						}
						defer f.Close()
						dst := make([]byte, room)
						b.ReportAllocs()
						b.SetBytes(int64(len(data)))
						in, out := 0, 0
						for b.Loop() {
							for rest := data; len(rest) > 0; {
								used, n, err := f.Fit(dst, rest)
								if err != nil {
									b.Fatal(err)
								}
								if used == 0 {
									used = min(room, len(rest))
									n = used
								}
								if used < len(rest) {
									n = room
								}
								rest, in, out = rest[used:], in+used, out+n
							}
						}
						b.ReportMetric(float64(out)/float64(in), "ratio")
					})
				}
			}
		}
	}
}
