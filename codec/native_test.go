//go:build linux && (amd64 || arm64) && !relive_static

package codec

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// TestBCJAgainstLiblzma: a block that one implementation wrote behind a branch
// filter, with no other chain to fall back to, is read by the other.
func TestBCJAgainstLiblzma(t *testing.T) {
	libs := libraries(t)
	if libs["native"] == nil {
		t.Skip("no liblzma")
	}
	const blockSize = 64 << 10
	rnd := rand.New(rand.NewPCG(5, 6))
	for i, id := range bcjIDs {
		if bcjFilter(id) == nil {
			continue
		}
		o := DefaultOptions(XZ, blockSize)
		o.Filters = 1 << i
		nc, err := libs["native"].NewCompressor(o, blockSize)
		if err != nil {
			t.Fatal(err)
		}
		native := nc.(*nativeXZCompressor)
		if len(native.chains) < 2 {
			t.Logf("this liblzma has no filter %#x", id)
			continue
		}
		native.chains = native.chains[1:]
		pc, err := libs["go"].NewCompressor(o, blockSize)
		if err != nil {
			t.Fatal(err)
		}
		pure := pc.(*pureXZCompressor)
		pure.chains = pure.chains[1:]
		out := make([]byte, blockSize)
		for _, size := range []int{100, 4095, 4096, 50001, blockSize} {
			code := machineCode(rnd, size)
			for wrote, c := range map[string]Compressor{"native": native, "go": pure} {
				packed, ok, err := c.Compress(nil, code)
				if err != nil {
					t.Fatal(err)
				}
				if !ok {
					if size > 1000 {
						t.Errorf("filter %#x, %s: %d bytes not packed", id, wrote, size)
					}
					continue
				}
				for read, l := range libs {
					d, err := l.NewDecompressorFor(o, blockSize)
					if err != nil {
						t.Fatal(err)
					}
					n, err := d.Decompress(out, packed)
					if err != nil || !bytes.Equal(out[:n], code) {
						t.Errorf("filter %#x, %s to %s, %d bytes: %v, or content differs", id, wrote, read, size, err)
					}
				}
			}
		}
	}
}
