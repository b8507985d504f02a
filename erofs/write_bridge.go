package erofs

import (
	"errors"
	"sync"

	"relive/tree"
)

// No two extents begin in one lcluster. What lies between two extents that are copied
// has as many lclusters as it has blocks, where it begins no earlier in its lcluster
// than the second one in its: then it can be stored as it is, a block for each lcluster,
// if it does not shrink. Where it begins earlier it is too long for that by less than a
// block, and needs an extent that shrinks: if no other does, a bridge in front, which is
// a stream of one block that has more than one of content.

// errDense is the error of a run that has none.
var errDense = errors.New("data that does not shrink has no place between extents that are copied")

// bridge compresses the beginning of raw, which lies at off in its lcluster, into one
// block. used is 0 where it does not shrink so far that it is a bridge to what begins at
// behind in a later lcluster.
func (e *encoder) bridge(raw []byte, off, behind int64) (used int, stream []byte, err error) {
	src := raw[:min(int64(len(raw)), bridgeBytes(off))]
	used, stream, err = e.fit(src, BlockSize)
	if used <= BlockSize || off+int64(used)-BlockSize < behind {
		used = 0
	}
	return used, stream, err
}

// bridgeBytes is the most that a bridge holds, so that it ends in the next lcluster.
func bridgeBytes(off int64) int64 { return 2*BlockSize - 1 - off }

// bridges finds out where there can be bridges, while a plan is made.
type bridges struct {
	mu sync.Mutex
	e  *encoder
}

// stretch is what lies behind an extent that is copied, or where the file begins, until the
// next one that is.
type stretch struct {
	from int64
	// behind is the farthest in its lcluster that the next extent may begin, where that
	// is known: of those of more than one lcluster it does not depend on their end.
	behind int64
	known  bool
}

// fits tells whether what lies in the stretch can be written where it ends at to.
func (b *bridges) fits(o *WriteOptions, s *stretch, d tree.Data, to int64) (bool, error) {
	off, behind := s.from&(BlockSize-1), to&(BlockSize-1)
	if behind <= off {
		return true, nil
	}
	if s.known {
		return behind <= s.behind, nil
	}
	c, err := d.Open()
	if err != nil {
		return false, err
	}
	defer c.Close()
	raw := make([]byte, min(to-s.from, bridgeBytes(off)))
	if err := tree.ReadFull(c, raw, s.from); err != nil {
		return false, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.e == nil {
		if b.e, err = newEncoder(o); err != nil {
			return false, err
		}
	}
	used, _, err := b.e.bridge(raw, off, 0)
	if s.known = int64(len(raw)) == bridgeBytes(off); used == 0 {
		return false, err
	}
	s.behind = off + int64(used) - BlockSize
	return behind <= s.behind, err
}

func (b *bridges) close() {
	if b.e != nil {
		b.e.f.Close()
	}
}
