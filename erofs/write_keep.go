package erofs

import "math/bits"

// keepBits marks the extents of a file that are copied, by a bit each: a file may have
// millions. There may be fewer bits than extents; none is set beyond.
type keepBits []uint64

func (k *keepBits) set(i int) {
	for len(*k) <= i/64 {
		*k = append(*k, 0)
	}
	(*k)[i/64] |= 1 << (i % 64)
}

func (k keepBits) has(i int) bool { return i/64 < len(k) && k[i/64]>>(i%64)&1 != 0 }

// count is how many are set.
func (k keepBits) count() (n int) {
	for _, w := range k {
		n += bits.OnesCount64(w)
	}
	return n
}
