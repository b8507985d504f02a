package erofs

import (
	"relive/codec"
	"relive/erofs/internal/ondisk"
	"relive/tree"
)

// extentBytesMax is the most that an extent of new data holds: as many lclusters as
// an index can count in one step.
const extentBytesMax = (int64(ondisk.BlockCount) - 2) * BlockSize

// run is a range of a file that is compressed as one: all of a short file, part of a
// long one, or what lies between extents that are copied. Where such an extent
// follows, at end, no other one may begin in its lcluster.
type run struct {
	start, end int64
	last       bool // nothing follows
	packs      bool // what does not fill a pcluster in the end is a fragment
	inline     int  // how many bytes may be beside the inode in the end; 0 are none
	interlaced bool

	exts []placed // blocks count from the beginning of out
	out  []byte
	ends tailKind
	tail []byte // of a fragment its content, else what is beside the inode
}

// encoder compresses runs. It is not for use by several goroutines.
type encoder struct {
	f     codec.Fitter
	o     *WriteOptions
	dst   []byte
	zeros map[int][]byte // streams of zeros, by their length
}

func newEncoder(o *WriteOptions) (*encoder, error) {
	f, err := o.newFitter()
	if err != nil {
		return nil, err
	}
	return &encoder{f: f, o: o, dst: make([]byte, o.PclusterSize), zeros: map[int][]byte{}}, nil
}

// lclusters is the number of entries of an extent in the index. In the lcluster in which
// it ends begins the next one, or nothing but the head that tells of the file's end.
func lclusters(start, end int64, eof bool) int64 {
	n := end>>writeBits - start>>writeBits
	if eof {
		n = max(n, 1)
	}
	return n
}

// compress compresses raw, which is the run's content.
func (e *encoder) compress(r *run, raw []byte) error {
	offset := int64(0) // that extents must not begin before, in their lcluster, but for a bridge
	if !r.last {
		offset = r.end & (BlockSize - 1)
	}
	for p := r.start; p < r.end; {
		rest := raw[p-r.start:]
		if r.last && r.packs && len(rest) <= e.o.PclusterSize {
			r.fragment(p, rest)
			return nil
		}
		used, stream, err := e.fit(rest, e.o.PclusterSize)
		if err != nil {
			return err
		}
		if q := p + int64(used); q < r.end && q&(BlockSize-1) < offset {
			// From where this one ends all can be stored as it is, if it comes to that.
			want := int(q&^(BlockSize-1) - 1 - p)
			if used = 0; want > 0 {
				if used, stream, err = e.fit(rest[:want], e.o.PclusterSize); err != nil {
					return err
				}
				if used != want {
					used = 0
				}
			}
		}
		q := p + int64(used)
		eof := q == r.end && r.last
		blocks := (len(stream) + BlockSize - 1) >> writeBits
		n := lclusters(p, q, eof)
		gains := used > 0 && n > 0 && blocks<<writeBits < used && (blocks == 1 || int64(blocks) < n)
		switch {
		case eof && r.packs && used > 0 && blocks < e.o.pclusterBlocks():
			r.fragment(p, rest)
			return nil
		case eof && used > 0 && len(stream) <= r.inline && len(stream) < used:
			r.exts = append(r.exts, placed{start: p, typ: ondisk.Head1})
			r.ends, r.tail = inlineTail, append([]byte(nil), stream...)
			return nil
		case gains:
			r.put(p, ondisk.Head1, blocks)
			e.pad(r, stream, blocks)
			p = q
		case p&(BlockSize-1) < offset:
			used, stream, err := e.bridge(rest, p&(BlockSize-1), offset)
			if err != nil {
				return err
			}
			if used == 0 {
				return errDense
			}
			r.put(p, ondisk.Head1, 1)
			e.pad(r, stream, 1)
			p += int64(used)
		default:
			if p = r.plain(p, max(used, e.o.PclusterSize), raw); r.ends != noTail {
				return nil
			}
		}
	}
	return nil
}

// fragment has the end of the run be packed.
func (r *run) fragment(p int64, rest []byte) {
	r.exts = append(r.exts, placed{start: p, typ: ondisk.Head1})
	r.ends, r.tail = fragmentTail, rest
}

func (r *run) put(start int64, typ ondisk.ClusterType, blocks int) {
	r.exts = append(r.exts, placed{start: start, block: uint32(len(r.out) >> writeBits), blocks: uint16(blocks), typ: typ})
}

// pad adds a stream to the output, with zeros in the rest of its blocks.
func (e *encoder) pad(r *run, stream []byte, blocks int) {
	zeros := make([]byte, blocks<<writeBits-len(stream))
	if e.o.Legacy {
		r.out = append(append(r.out, stream...), zeros...)
		return
	}
	r.out = append(append(r.out, zeros...), stream...)
}

// plain stores about n bytes from p as they are, a block each, and gives where it
// ends.
func (r *run) plain(p int64, n int, raw []byte) int64 {
	for k := max(n>>writeBits, 1); k > 0 && p < r.end; k-- {
		b := raw[p-r.start:]
		b = b[:min(len(b), BlockSize)]
		q := p + int64(len(b))
		eof := q == r.end && r.last
		if eof && len(b) <= r.inline && len(b) < BlockSize {
			r.exts = append(r.exts, placed{start: p, typ: ondisk.Plain})
			r.ends, r.tail = inlineTail, append([]byte(nil), b...)
			return q
		}
		r.put(p, ondisk.Plain, 1)
		at := len(r.out)
		r.out = append(r.out, make([]byte, BlockSize)...)
		block := r.out[at:]
		if r.interlaced {
			k := copy(block[p&(BlockSize-1):], b)
			b = b[k:]
		}
		copy(block, b)
		p = q
	}
	return p
}

// fit compresses the beginning of src into at most room bytes. The stream is valid
// until the next call.
func (e *encoder) fit(src []byte, room int) (used int, stream []byte, err error) {
	src = src[:min(int64(len(src)), extentBytesMax)]
	zero := len(src) >= 64<<10 && tree.IsZero(src)
	if zero {
		if s := e.zeros[len(src)]; s != nil {
			return len(src), s, nil
		}
	}
	used, n, err := e.f.Fit(e.dst[:room], src)
	if err != nil {
		return 0, nil, err
	}
	if zero && used == len(src) && len(e.zeros) < 16 {
		e.zeros[len(src)] = append([]byte(nil), e.dst[:n]...)
	}
	return used, e.dst[:n], nil
}
