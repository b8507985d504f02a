package erofs

import (
	"encoding/binary"

	"relive/erofs/internal/ondisk"
	"relive/tree"
)

// chunks is content in chunks, each of which is somewhere or a hole. Entries behind
// the inode say where.
type chunks struct {
	d     *fileData
	bits  uint  // log2 of a chunk
	table int64 // absolute offset of the entries
	unit  int64 // length of one
}

func (d *fileData) chunks() (*chunks, error) {
	f := &chunks{d: d, bits: d.r.blockBits + uint(d.chunk&ondisk.ChunkBitsMask), unit: ondisk.ChunkEntrySize}
	if d.chunk&ondisk.ChunkIndexes != 0 {
		f.unit = ondisk.ChunkIndexSize
	}
	f.table = up(d.tail, f.unit)
	if n := (d.size-1)>>f.bits + 1; n > max(d.r.size-f.table, 0)/f.unit {
		return nil, d.corrupt("a table of %d chunks reaches past the end of the image at %d", n, d.r.size)
	}
	return f, nil
}

// chunk gives the place of a chunk, or tells that it is a hole.
func (f *chunks) chunk(i int64) (at int64, hole bool, err error) {
	var b [ondisk.ChunkIndexSize]byte
	r := f.d.r
	if err := r.readMeta(b[:f.unit], f.table+i*f.unit); err != nil {
		return 0, false, tree.Within(err, "chunk %d", i)
	}
	if f.unit == ondisk.ChunkEntrySize {
		block := binary.LittleEndian.Uint32(b[:])
		return r.blockAt(uint64(block)), block == ondisk.NoBlock, nil
	}
	block, mask := uint64(binary.LittleEndian.Uint32(b[4:])), uint64(ondisk.NoBlock)
	if f.d.chunk&ondisk.Chunk48Bit != 0 {
		block |= uint64(binary.LittleEndian.Uint16(b[:])) << 32
		mask = 1<<48 - 1
	}
	return r.blockAt(block), block == mask, nil
}

func (f *chunks) readPiece(p []byte, off int64) (int, error) {
	i, skip := off>>f.bits, off&(1<<f.bits-1)
	at, hole, err := f.chunk(i)
	if err != nil {
		return 0, err
	}
	p = p[:min(int64(len(p)), 1<<f.bits-skip)]
	if hole {
		clear(p)
		return len(p), nil
	}
	if err := f.d.r.read(p, at+skip); err != nil {
		return 0, tree.Within(err, "chunk %d", i)
	}
	return len(p), nil
}

func (f *chunks) piece(off int64) (end int64, hole bool, err error) {
	i := off >> f.bits
	if _, hole, err = f.chunk(i); err != nil {
		return 0, false, err
	}
	// In terms of chunks: the end of the last one may be beyond all numbers.
	last := (f.d.size - 1) >> f.bits
	for i < last {
		_, next, err := f.chunk(i + 1)
		if err != nil {
			return 0, false, err
		}
		if next != hole {
			return (i + 1) << f.bits, hole, nil
		}
		i++
	}
	return f.d.size, hole, nil
}
