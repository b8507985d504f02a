package dmmerge

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
)

// kernel is a naive model of the kernel's persistent snapshot target, written
// from its description in docs/dm.md and nothing of this package. It works
// sector by sector on whole images in memory.
type kernel struct {
	cow, origin []byte
	cs          int // sectors of a chunk
	table       map[uint64]uint64
	nextFree    uint64
	area, used  int // where the next entry goes
	valid       bool
	pending     [][2]uint64 // entries in flight: data is copied, the entry not yet in an area
	rnd         *rand.Rand  // entries become final out of order where it is not nil
}

var (
	errENXIO    = errors.New("-ENXIO")
	errEINVAL   = errors.New("-EINVAL")
	errEIO      = errors.New("-EIO")
	errOverflow = errors.New("overflow")
)

func (k *kernel) epa() int         { return k.cs * 512 / 16 }
func (k *kernel) areaAt(a int) int { return (1 + a*(k.epa()+1)) * k.cs * 512 }
func (k *kernel) sectors() int     { return len(k.cow) / 512 }

// load is what happens when a table is loaded: the header, then all areas. A new
// COW is set up with chunk sectors.
func load(cow, origin []byte, chunk int) (*kernel, error) {
	k := &kernel{cow: cow, origin: origin, cs: chunk, table: map[uint64]uint64{}, nextFree: 2, valid: true}
	if len(cow) < 512 {
		return nil, errEIO
	}
	le := binary.LittleEndian
	switch le.Uint32(cow) {
	case 0:
		if len(cow) < 2*k.cs*512 {
			return nil, errEIO
		}
		clear(cow[:k.cs*512])
		k.header(1)
		clear(cow[k.cs*512:][:k.cs*512])
		return k, nil
	case 0x70416e53:
	default:
		return nil, errENXIO
	}
	k.cs = int(le.Uint32(cow[12:]))
	if k.cs <= 0 || k.cs&(k.cs-1) != 0 || k.cs > 1<<21 {
		return nil, errEINVAL
	}
	if le.Uint32(cow[8:]) != 1 {
		return nil, errEINVAL
	}
	if le.Uint32(cow[4:]) == 0 {
		k.valid = false
		return k, nil
	}
	for ; ; k.area++ {
		// A forged size of chunks overflows areaAt on machines of 32 bits.
		if int64(1+k.area*(k.epa()+1))*int64(k.cs)*512+int64(k.cs)*512 > int64(k.sectors())*512 {
			return nil, errEIO
		}
		at := k.areaAt(k.area)
		for i := range k.epa() {
			e := cow[at+i*16:]
			old, nc := le.Uint64(e), le.Uint64(e[8:])
			if nc == 0 {
				k.used = i
				if k.nextFree%uint64(k.epa()+1) == 1 {
					k.nextFree++
				}
				return k, nil
			}
			if nc >= k.nextFree {
				k.nextFree = nc + 1
			}
			if _, ok := k.table[old]; !ok {
				k.table[old] = nc
			}
		}
	}
}

func (k *kernel) header(valid uint32) {
	clear(k.cow[:min(k.cs*512, len(k.cow))])
	for i, v := range []uint32{0x70416e53, valid, 1, uint32(k.cs)} {
		binary.LittleEndian.PutUint32(k.cow[4*i:], v)
	}
}

func (k *kernel) status() string {
	if !k.valid {
		return "Invalid"
	}
	return fmt.Sprintf("%d/%d %d", k.nextFree*uint64(k.cs), k.sectors(), (k.area+2)*k.cs)
}

// sector reads a sector of the device.
func (k *kernel) sector(n int) ([]byte, error) {
	if !k.valid {
		return nil, errEIO
	}
	nc, ok := k.table[uint64(n/k.cs)]
	if !ok {
		return k.origin[n*512:][:512], nil
	}
	if nc > uint64(k.sectors()) {
		return nil, errEIO
	}
	at := int(nc)*k.cs + n%k.cs
	if at >= k.sectors() {
		return nil, errEIO
	}
	return k.cow[at*512:][:512], nil
}

// view reads the whole device; what lies behind its last whole sector is the
// origin's.
func (k *kernel) view() ([]byte, error) {
	out := bytes.Clone(k.origin)
	for n := range len(k.origin) / 512 {
		b, err := k.sector(n)
		if err != nil {
			return nil, err
		}
		copy(out[n*512:], b)
	}
	return out, nil
}

// write writes one sector of the device. An error of errOverflow leaves the
// header alone, as for a snapshot loaded with PO.
func (k *kernel) write(n int, b []byte) error {
	old := uint64(n / k.cs)
	nc, ok := k.table[old]
	if !ok {
		if k.sectors() < int(k.nextFree+1)*k.cs {
			return errOverflow
		}
		nc = k.nextFree
		k.nextFree++
		if k.nextFree%uint64(k.epa()+1) == 1 {
			k.nextFree++
		}
		from := int(old) * k.cs * 512
		copy(k.cow[int(nc)*k.cs*512:][:k.cs*512], k.origin[from:min(from+k.cs*512, len(k.origin)/512*512)])
		k.table[old] = nc
		k.pending = append(k.pending, [2]uint64{old, nc})
		if k.rnd == nil || k.rnd.IntN(3) == 0 {
			if err := k.flush(); err != nil {
				return err
			}
		}
	}
	copy(k.cow[(int(nc)*k.cs+n%k.cs)*512:][:512], b)
	return nil
}

// flush returns the entries in flight their places in the areas.
func (k *kernel) flush() error {
	if k.rnd != nil {
		k.rnd.Shuffle(len(k.pending), func(i, j int) { k.pending[i], k.pending[j] = k.pending[j], k.pending[i] })
	}
	for _, p := range k.pending {
		if !k.valid {
			break
		}
		// The area is written whole from memory, with what stood behind its end.
		e := k.cow[k.areaAt(k.area)+k.used*16:]
		binary.LittleEndian.PutUint64(e, p[0])
		binary.LittleEndian.PutUint64(e[8:], p[1])
		k.used++
		if k.used < k.epa() {
			continue
		}
		k.area, k.used = k.area+1, 0
		next := k.areaAt(k.area)
		if next+k.cs*512 > k.sectors()*512 {
			k.valid = false
			clear(e[:16]) // this flush is lost
			k.header(0)
			return errEIO
		}
		clear(k.cow[next:][:k.cs*512])
	}
	k.pending = k.pending[:0]
	return nil
}

// forge writes a COW from nothing: the entries in the order given, in the areas
// where they belong, whatever they say. The file has size bytes; what does not
// fit is left out.
func forge(cs, size int, entries [][2]uint64) []byte {
	b := make([]byte, size)
	put := func(at int, p []byte) {
		if at < len(b) {
			copy(b[at:], p)
		}
	}
	le := binary.LittleEndian
	h := le.AppendUint32(le.AppendUint32(le.AppendUint32(le.AppendUint32(nil, 0x70416e53), 1), 1), uint32(cs))
	put(0, h)
	perArea := cs * 32
	for i, e := range entries {
		area, index := i/perArea, i%perArea
		put((1+area*(perArea+1))*cs*512+index*16, le.AppendUint64(le.AppendUint64(nil, e[0]), e[1]))
	}
	return b
}

// fill returns every sector from one chunk on content of its own.
func fill(b []byte, from int, rnd *rand.Rand) {
	for ; from < len(b); from += 512 {
		x := binary.LittleEndian.AppendUint64(nil, rnd.Uint64())
		for i := from; i < min(from+512, len(b)); i += 8 {
			copy(b[i:], x)
		}
	}
}

// history makes an origin of size bytes and a COW of chunks chunks that the
// model has written n sectors to.
func history(rnd *rand.Rand, cs, originSize, chunks, n int) (cow, origin []byte) {
	origin = make([]byte, originSize)
	fill(origin, 0, rnd)
	cow = make([]byte, chunks*cs*512+rnd.IntN(3)*200)
	k, err := load(cow, origin, cs)
	if err != nil {
		panic(err)
	}
	k.rnd = rnd
	at := 0
	for range n {
		if at++; rnd.IntN(3) == 0 {
			at = rnd.IntN(max(originSize/512, 1))
		}
		b := make([]byte, 512)
		if rnd.IntN(4) > 0 {
			fill(b, 0, rnd)
		}
		if originSize < 512 || k.write(at%(originSize/512), b) != nil {
			break
		}
	}
	if rnd.IntN(2) == 0 {
		_ = k.flush() // else what is in flight is lost in a power cut
	}
	return cow, origin
}
