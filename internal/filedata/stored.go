package filedata

import "bytes"

// Stored compares bytes of images as they are stored. It is not for use by several
// goroutines.
type Stored struct{ bufs [2][]byte }

// Same reports whether the n bytes that a reads at posA are those that b reads at posB.
func (s *Stored) Same(a, b func(p []byte, off int64) error, posA, posB, n int64) (bool, error) {
	if s.bufs[0] == nil {
		s.bufs[0], s.bufs[1] = make([]byte, 1<<20), make([]byte, 1<<20)
	}
	for n > 0 {
		k := min(n, int64(len(s.bufs[0])))
		p, q := s.bufs[0][:k], s.bufs[1][:k]
		if err := a(p, posA); err != nil {
			return false, err
		}
		if err := b(q, posB); err != nil {
			return false, err
		}
		if !bytes.Equal(p, q) {
			return false, nil
		}
		posA, posB, n = posA+k, posB+k, n-k
	}
	return true, nil
}
