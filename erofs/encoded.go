package erofs

import (
	"encoding/binary"
	"fmt"
	"sync"

	"relive/codec"
	"relive/erofs/internal/ondisk"
	"relive/tree"
)

// encoded is an extentMap of records, of four lengths: for each lcluster where it is
// stored, at the end of the former one (4 bytes) or anywhere (8), or for extents of
// any length (16, 32). Places are in bytes.
type encoded struct {
	d      *fileData
	bits   uint
	advise uint16
	table  int64 // absolute offset of the first record
	size   int64 // of a record
	count  int64

	// Of records of 4 bytes: where the data of every markEvery-th begins, as far as
	// they were read.
	mu    sync.Mutex
	marks []uint64
}

const markEvery = 1024

func (d *fileData) encoded(h *header) (*encoded, error) {
	r := d.r
	if r.super.Incompat&ondisk.Incompat48Bit == 0 {
		return nil, tree.Unsupported(r.name, "", "encoded extents belong to images with the feature 48BIT")
	}
	x := &encoded{d: d, bits: h.bits, advise: h.Advise, size: 4 << (h.Advise >> 1 & 3)}
	x.table = up(h.pos, x.size)
	if x.size > 8 {
		x.count = int64(uint64(h.Fragment) | (uint64(h.Algorithms)|uint64(h.Bits)<<8)<<32)
	} else {
		x.count = (d.size-1)>>x.bits + 1
	}
	if x.size == 4 {
		var b [8]byte
		if err := r.readMeta(b[:], x.table); err != nil {
			return nil, err
		}
		x.marks = []uint64{binary.LittleEndian.Uint64(b[:])}
		x.table += 8
	}
	if x.count > max(r.size-x.table, 0)/x.size {
		return nil, r.corrupt("", "a table of %d extents reaches past the end of the image at %d", x.count, r.size)
	}
	return x, nil
}

// record is a record of an extent.
type record struct {
	length uint32 // with its flags
	pos    uint64
	start  int64 // in the file
}

func (x *encoded) record(i int64) (rec record, err error) {
	var b [32]byte
	if err := x.d.r.readMeta(b[:x.size], x.table+i*x.size); err != nil {
		return rec, tree.Within(err, "extent %d", i)
	}
	le := binary.LittleEndian
	rec = record{length: le.Uint32(b[:]), pos: uint64(le.Uint32(b[4:])), start: i << x.bits}
	if x.size > 8 {
		rec.pos |= uint64(le.Uint32(b[8:])) << 32
		start := uint64(le.Uint32(b[12:]))
		if x.size > 16 {
			start |= uint64(le.Uint32(b[16:])) << 32
		}
		if start > uint64(x.d.size) {
			return rec, x.d.r.corrupt(fmt.Sprintf("extent %d", i), "begins at %d of %d", start, x.d.size)
		}
		rec.start = int64(start)
	}
	return rec, nil
}

// find implements extentMap.
func (x *encoded) find(off int64) (extent, error) {
	if x.size > 8 {
		return x.search(off)
	}
	i := off >> x.bits
	rec, err := x.record(i)
	if err == nil && x.size == 4 {
		rec.pos, err = x.sum(i)
	}
	if err != nil {
		return extent{}, err
	}
	end := x.d.size
	if i+1 < x.count {
		end = (i + 1) << x.bits
	}
	return x.extent(rec, end, i+1 == x.count), nil
}

// sum gives where the data of a record of 4 bytes is: behind that of all before it.
func (x *encoded) sum(i int64) (uint64, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	k := min(i/markEvery, int64(len(x.marks))-1)
	pos := x.marks[k]
	var b [4 * markEvery]byte
	for {
		n := min(i-k*markEvery, markEvery)
		if err := x.d.r.readMeta(b[:4*n], x.table+4*k*markEvery); err != nil {
			return 0, err
		}
		for j := range n {
			pos += uint64(binary.LittleEndian.Uint32(b[4*j:]) & ondisk.ExtentLenMask)
		}
		if n < markEvery {
			return pos, nil
		}
		if k++; k == int64(len(x.marks)) {
			x.marks = append(x.marks, pos)
		}
	}
}

// search finds the last record that does not begin behind off. What no record covers
// is a hole.
func (x *encoded) search(off int64) (extent, error) {
	found, end, low := record{}, x.d.size, int64(0)
	for high := x.count; low < high; {
		mid := low + (high-low)/2
		rec, err := x.record(mid)
		if err != nil {
			return extent{}, err
		}
		if rec.start > off {
			if rec.start > end {
				return extent{}, x.d.r.corrupt(fmt.Sprintf("extent %d", mid), "begins behind the next one")
			}
			high, end = mid, rec.start
		} else {
			if rec.start < found.start {
				return extent{}, x.d.r.corrupt(fmt.Sprintf("extent %d", mid), "begins before the one that it follows")
			}
			low, found = mid+1, rec
		}
	}
	if low == 0 {
		return extent{end: end, form: formHole}, nil
	}
	return x.extent(found, end, low == x.count), nil
}

// extent makes the extent of a record.
func (x *encoded) extent(rec record, end int64, last bool) extent {
	e := extent{start: rec.start, end: end, pos: int64(rec.pos), stored: int(rec.length & ondisk.ExtentLenMask)}
	switch algo := rec.length >> ondisk.ExtentAlgoShift; {
	case last && x.advise&ondisk.AdviseFragment != 0:
		e.form, e.pos = formFragment, int64(rec.length)
		if x.size > 4 {
			e.pos |= int64(rec.pos << 32)
		}
	case e.stored == 0:
		e.form = formHole
	case algo != 0:
		e.algo, e.partial = codec.Raw(algo-1), rec.length&ondisk.ExtentPartial != 0
	case x.advise&ondisk.AdviseInterlaced != 0 && (e.pos|int64(e.stored))%x.d.r.blockSize == 0:
		e.form = formInterlaced
	default:
		e.form = formPlain
	}
	return e
}
