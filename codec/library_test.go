package codec

import (
	"bytes"
	"errors"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"relive/tree"
)

func TestOpen(t *testing.T) {
	auto, err := Open(Auto)
	if err != nil {
		t.Fatal(err)
	}
	for name, l := range libraries(t) {
		for i, d := range l.Describe() {
			wantNative := name == "native" && (d.ID != LZO || auto.Describe()[i].Native)
			wantWrite := d.ID != LZMA && (d.ID != LZO || d.Native)
			if d.ID != IDs()[i] || !d.Decompress || d.Compress != wantWrite || d.Native != wantNative {
				t.Errorf("%s: %+v", name, d)
			}
			if d.Native != strings.Contains(d.Name, ".so.") || d.Native == strings.Contains(d.Name, "(Go)") {
				t.Errorf("%s: %+v", name, d)
			}
			t.Logf("%s: %+v", name, d)
		}
	}
	var missing *NativeError
	if _, err := Open(Native); !nativeBuild && (!errors.As(err, &missing) || len(missing.Missing) > 0) {
		t.Errorf("a build without native codecs: %v", err)
	}
	for word, want := range map[string]Mode{"": Auto, "auto": Auto, "go": Go, "native": Native} {
		if m, err := ParseMode(word); m != want || err != nil {
			t.Errorf("%q: %v, %v", word, m, err)
		}
	}
	if _, err := ParseMode("no"); err == nil {
		t.Error("mode no")
	}
}

// TestUnsupported: what cannot be written says so, and what to do.
func TestUnsupported(t *testing.T) {
	l, err := Open(Go)
	if err != nil {
		t.Fatal(err)
	}
	_, err = l.NewCompressor(DefaultOptions(LZO, 131072), 131072)
	if !errors.Is(err, tree.ErrUnsupported) || !strings.Contains(err.Error(), "liblzo2") {
		t.Errorf("lzo: %v", err)
	}
	if _, err = l.NewCompressor(DefaultOptions(LZMA, 131072), 131072); !errors.Is(err, tree.ErrUnsupported) {
		t.Errorf("lzma: %v", err)
	}
	if _, err = l.NewCompressor(DefaultOptions(Gzip, 131072), 1000); !errors.Is(err, ErrOptions) {
		t.Errorf("block of 1000 bytes: %v", err)
	}
	if _, err = l.NewDecompressor(9, 131072); !errors.Is(err, tree.ErrUnsupported) {
		t.Errorf("compressor 9: %v", err)
	}
	c, err := l.NewCompressor(DefaultOptions(Gzip, 4096), 4096)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok, err := c.Compress(nil, make([]byte, 4097)); ok || err == nil {
		t.Error("packed more than a block")
	}
}

// TestReusesBuffer: where dst has room for a block, no other is taken.
func TestReusesBuffer(t *testing.T) {
	const blockSize = 8192
	text := samples(blockSize)["text"]
	for name, l := range libraries(t) {
		for _, id := range IDs() {
			c, err := l.NewCompressor(DefaultOptions(id, blockSize), blockSize)
			if err != nil {
				continue
			}
			defer c.Close()
			dst := make([]byte, 3, 2*blockSize)
			out, ok, err := c.Compress(dst, text)
			if err != nil || !ok || &out[0] != &dst[0] {
				t.Errorf("%s %v: %v, %v, or another buffer", name, id, ok, err)
			}
			if out, ok, _ = c.Compress(dst, samples(blockSize)["noise"]); ok || len(out) != 0 {
				t.Errorf("%s %v: noise gives %d bytes, %v", name, id, len(out), ok)
			}
			if out, ok, err = c.Compress(dst, nil); ok || err != nil || len(out) != 0 {
				t.Errorf("%s %v: nothing gives %d bytes, %v, %v", name, id, len(out), ok, err)
			}
		}
	}
}

// TestDictionaryBound: an xz block whose dictionary is larger than the image's
// is refused, as the kernel refuses it, and read where the image says so.
func TestDictionaryBound(t *testing.T) {
	libs := libraries(t)
	text := samples(64 << 10)["text"]
	for writer, lw := range libs {
		c, err := lw.NewCompressor(DefaultOptions(XZ, 64<<10), 64<<10)
		if err != nil {
			t.Fatal(err)
		}
		p, ok, err := c.Compress(nil, text)
		if !ok || err != nil {
			t.Fatal(ok, err)
		}
		for reader, lr := range libs {
			out := make([]byte, 64<<10)
			small, err := lr.NewDecompressor(XZ, 32<<10)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := small.Decompress(out, p); !errors.Is(err, tree.ErrCorrupt) || !strings.Contains(err.Error(), "dictionary") {
				t.Errorf("%s to %s: %v", writer, reader, err)
			}
			o := DefaultOptions(XZ, 32<<10)
			o.DictSize = 64 << 10
			large, err := lr.NewDecompressorFor(o, 32<<10)
			if err != nil {
				t.Fatal(err)
			}
			if n, err := large.Decompress(out, p); err != nil || !bytes.Equal(out[:n], text) {
				t.Errorf("%s to %s: %v", writer, reader, err)
			}
		}
	}
}

// TestZstdFrames: frames of other writers, without a content size and with a
// checksum, are read; two frames in a row too, as both decoders do.
func TestZstdFrames(t *testing.T) {
	text := samples(64 << 10)["text"]
	var b bytes.Buffer
	w, err := zstd.NewWriter(&b)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(text); i += 1000 { // streamed, so that the size is not known
		if _, err := w.Write(text[i:min(i+1000, len(text))]); err != nil {
			t.Fatal(err)
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	var h zstd.Header
	if err := h.Decode(b.Bytes()); err != nil || h.HasFCS || !h.HasCheckSum {
		t.Fatalf("not the frame that this test is for: %+v, %v", h, err)
	}
	for name, l := range libraries(t) {
		d, err := l.NewDecompressor(Zstd, 64<<10)
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		out := make([]byte, 64<<10)
		if n, err := d.Decompress(out, b.Bytes()); err != nil || !bytes.Equal(out[:n], text) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := d.Decompress(out[:len(text)-1], b.Bytes()); !errors.Is(err, tree.ErrCorrupt) {
			t.Errorf("%s: too much: %v", name, err)
		}
	}
}

// TestZstdWindow: a frame never names a window that the kernel has no room for.
func TestZstdWindow(t *testing.T) {
	for name, l := range libraries(t) {
		for _, blockSize := range []int{4096, 131072} {
			for _, level := range []int{-5, 15, 22} {
				c, err := l.NewCompressor(Options{ID: Zstd, Level: level}, blockSize)
				if err != nil {
					t.Fatal(err)
				}
				for what, b := range samples(blockSize) {
					p, ok, err := c.Compress(nil, b)
					if err != nil {
						t.Fatal(err)
					}
					if !ok {
						continue
					}
					var h zstd.Header
					if err := h.Decode(p); err != nil {
						t.Fatal(err)
					}
					// A single segment has the window of its content.
					if window := max(h.WindowSize, h.FrameContentSize); window > uint64(max(blockSize, MetadataSize)) {
						t.Errorf("%s, block %d, level %d, %s: window of %d bytes", name, blockSize, level, what, window)
					}
				}
				c.Close()
			}
		}
	}
}

// TestWorkers: a Library serves many goroutines at once, while the collector
// runs, with source and destination wherever they happen to be.
func TestWorkers(t *testing.T) {
	const blockSize = 8192
	text := samples(blockSize)["text"]
	for name, l := range libraries(t) {
		t.Run(name, func(t *testing.T) {
			stop := make(chan struct{})
			var collector, workers sync.WaitGroup
			collector.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
						runtime.GC()
						time.Sleep(time.Millisecond)
					}
				}
			})
			for range 4 {
				workers.Go(func() {
					for _, id := range IDs() {
						c, err := l.NewCompressor(DefaultOptions(id, blockSize), blockSize)
						if err != nil {
							continue
						}
						d, err := l.NewDecompressor(id, blockSize)
						if err != nil {
							t.Error(err)
							return
						}
						for i := range 40 {
							var onStack [blockSize]byte
							want := text[:blockSize/2+97*i]
							p, ok, err := c.Compress(make([]byte, 0, 10*i), want)
							if err != nil || !ok {
								t.Errorf("%v: %v, %v", id, ok, err)
								return
							}
							if n, err := d.Decompress(onStack[:], p); err != nil || !bytes.Equal(onStack[:n], want) {
								t.Errorf("%v: %v, or content differs", id, err)
								return
							}
						}
						c.Close()
						d.Close()
					}
				})
			}
			workers.Wait()
			close(stop)
			collector.Wait()
		})
	}
}

// TestNoLeak: native state goes with Close, and with the collector where Close
// was forgotten.
func TestNoLeak(t *testing.T) {
	resident := func() int {
		// Go's own heap is no part of the question.
		debug.FreeOSMemory()
		b, err := os.ReadFile("/proc/self/statm")
		if err != nil {
			t.Skip(err)
		}
		return int(parseUint(strings.Fields(string(b))[1])) * os.Getpagesize()
	}
	const blockSize = 131072
	text := samples(blockSize)["text"]
	libs := libraries(t)
	delete(libs, "go") // has none
	for name, l := range libs {
		for _, closing := range []bool{true, false} {
			round := func() {
				for _, id := range []ID{Gzip, LZMA, LZ4, Zstd} {
					o := DefaultOptions(id, blockSize)
					if id == Zstd {
						o.Level = 9 // with much state, but not slow
					}
					d, err := l.NewDecompressor(id, blockSize)
					if err != nil {
						t.Fatal(err)
					}
					if closing {
						defer d.Close()
					}
					if id == LZMA {
						if _, err := d.Decompress(make([]byte, 16<<10), storedSamples(t, LZMA)[0]); err != nil {
							t.Fatal(err)
						}
						continue
					}
					c, err := l.NewCompressor(o, blockSize)
					if err != nil {
						t.Fatal(err)
					}
					if _, _, err := c.Compress(nil, text); err != nil {
						t.Fatal(err)
					}
					if closing {
						defer c.Close()
					}
				}
			}
			settle := func(n int) int {
				for i := range n {
					round()
					if i%10 == 9 {
						runtime.GC()
					}
				}
				return resident()
			}
			before := settle(10)
			after := settle(60)
			// Cleanups run some time after the collector found what is dead.
			for i := 0; i < 20 && after-before > 6<<20; i++ {
				time.Sleep(100 * time.Millisecond)
				after = resident()
			}
			// What the C library's allocator holds back for its threads comes and
			// goes; 60 rounds that leak come to more than 50 MiB.
			if grown := after - before; grown > 40<<20 {
				t.Errorf("%s, closing %v: grew by %d KiB", name, closing, grown>>10)
			} else {
				t.Logf("%s, closing %v: %d KiB, grew by %d", name, closing, after>>10, grown>>10)
			}
		}
	}
}

// parseUint reads a decimal number.
func parseUint(s string) (n uint64) {
	for _, c := range s {
		n = n*10 + uint64(c-'0')
	}
	return n
}
