package codec

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// machineCode is noise in which the instructions that the filters look for are
// frequent, in all their alignments and overlaps.
func machineCode(rnd *rand.Rand, size int) []byte {
	ops := [][]byte{
		{0xe8, 0, 0, 0, 0}, {0xe9, 1, 2, 3, 0xff}, {0xe8, 0xe8, 0, 0xff, 0}, {0xe9, 0xff, 0xff, 0xff, 0xff}, {0xe8}, {0xff}, {0},
		{0x48, 1, 2, 1}, {0x4b, 0xff, 0xff, 0xfd},
		{1, 2, 3, 0xeb}, {0xff, 0xff, 0xff, 0xeb},
		{0x12, 0xf0, 0x34, 0xf8}, {0xff, 0xf7, 0xff, 0xff},
		{0x40, 0, 1, 2}, {0x7f, 0xff, 1, 2},
		{1, 0, 0, 0x94}, {0xff, 0xff, 0xff, 0x97}, {1, 0, 0, 0x90}, {0xe1, 0xff, 0xff, 0xf0}, {0x12, 0, 0x10, 0xb0},
	}
	var b []byte
	for len(b) < size {
		switch rnd.IntN(4) {
		case 0:
			b = append(b, byte(rnd.Uint32()))
		case 1: // an IA-64 bundle of branches
			for len(b)%16 != 0 {
				b = append(b, byte(rnd.Uint32()))
			}
			bundle := make([]byte, 16)
			for i := range bundle {
				bundle[i] = byte(rnd.Uint32())
			}
			bundle[0] = bundle[0]&^0x1f | []byte{0x10, 0x12, 0x16, 0x1c}[rnd.IntN(4)]
			for slot := range 3 { // opcode 5, btype 0
				at := 5 + 41*slot
				for i, v := range map[int]byte{37: 1, 38: 0, 39: 1, 40: 0, 9: 0, 10: 0, 11: 0} {
					bundle[(at+i)/8] = bundle[(at+i)/8]&^(1<<((at+i)%8)) | v<<((at+i)%8)
				}
			}
			b = append(b, bundle...)
		case 2:
			for len(b)%4 != 0 {
				b = append(b, 0)
			}
			fallthrough
		default:
			b = append(b, ops[rnd.IntN(len(ops))]...)
		}
	}
	return b[:size]
}

// TestBCJInverse: decoding undoes encoding, for any length and start.
func TestBCJInverse(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	for _, id := range bcjIDs {
		f := bcjFilter(id)
		if f == nil {
			continue
		}
		changed := false
		for size := range 300 {
			want := machineCode(rnd, size)
			got := bytes.Clone(want)
			start := rnd.Uint32() &^ 15
			f(got, start, true)
			changed = changed || !bytes.Equal(got, want)
			f(got, start, false)
			if !bytes.Equal(got, want) {
				t.Fatalf("filter %#x of %d bytes at %#x: %x became %x", id, size, start, want, got)
			}
		}
		if !changed {
			t.Errorf("filter %#x never changed anything", id)
		}
	}
}
