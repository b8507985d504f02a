package erofs

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"relive/codec"
	"relive/erofs/internal/ondisk"
	"relive/internal/lru"
	"relive/tree"
	"relive/tree/systest"
)

// encodedMap makes a map of a file of that size from the bytes of a table.
func encodedMap(t testing.TB, size int64, advise uint16, count int, table []byte) (*encoded, error) {
	t.Helper()
	b := append(make([]byte, 4096), table...)
	b = append(b, make([]byte, 4096)...)
	r := &Reader{image: bytes.NewReader(b), size: int64(len(b)), name: "image", blockBits: 12, blockSize: 4096}
	r.super.Incompat = ondisk.Incompat48Bit
	r.metas = lru.New(1<<20, r.loadMeta)
	h := header{MapHeader: ondisk.MapHeader{Advise: advise, Fragment: uint32(count)}, pos: 4096, bits: 12}
	return (&fileData{r: r, nid: 7, size: size, layout: ondisk.CompressedFull}).encoded(&h)
}

// Records of each length tell extents as the kernel reads them.
func TestEncoded(t *testing.T) {
	le := binary.LittleEndian
	lz4 := uint32(1) << ondisk.ExtentAlgoShift
	zstd := uint32(4) << ondisk.ExtentAlgoShift
	const records = 2500 // of 4 bytes: more than are summed at once
	var four []byte
	four = le.AppendUint64(four, 1<<33)
	for i := range records {
		four = le.AppendUint32(four, lz4|uint32(100+i%7))
	}
	var eight []byte
	for _, v := range []uint32{zstd | 500, 8192, 0, 0, 4096, 12288, 77, 3} {
		eight = le.AppendUint32(eight, v)
	}
	record := func(dst []byte, length uint32, pos, start uint64, size int) []byte {
		at := len(dst)
		dst = le.AppendUint32(dst, length)
		dst = le.AppendUint64(dst, pos)
		dst = le.AppendUint32(dst, uint32(start))
		return append(le.AppendUint32(dst, uint32(start>>32)), make([]byte, 32)...)[:at+size]
	}
	var long, longer []byte
	for _, x := range []struct {
		length     uint32
		pos, start uint64
	}{{lz4 | 300, 1 << 40, 100}, {0, 0, 5000}, {zstd | ondisk.ExtentPartial | 900, 77, 70000}, {4096, 4096, 80000}} {
		long = record(long, x.length, x.pos, x.start, 16)
		longer = record(longer, x.length, x.pos, x.start, 32)
	}
	sum := int64(0)
	for i := range 2100 {
		sum += int64(100 + i%7)
	}
	want := []extent{ // of records of 16 and 32 bytes
		{end: 100, form: formHole}, {start: 100, end: 5000, algo: codec.RawLZ4, pos: 1 << 40, stored: 300},
		{start: 5000, end: 70000, form: formHole},
		{start: 70000, end: 80000, algo: codec.RawZstd, partial: true, pos: 77, stored: 900},
		{start: 80000, end: 84000, form: formInterlaced, pos: 4096, stored: 4096},
	}
	for _, c := range []struct {
		name   string
		size   int64
		advise uint16
		count  int
		table  []byte
		want   []extent
	}{
		{"4", records * 4096, 1, 0, four, []extent{
			{end: 4096, algo: codec.RawLZ4, pos: 1 << 33, stored: 100},
			{start: 2100 << 12, end: 2101 << 12, algo: codec.RawLZ4, pos: 1<<33 + sum, stored: 100},
			{start: 4096, end: 8192, algo: codec.RawLZ4, pos: 1<<33 + 100, stored: 101},
		}},
		{"8", 3*4096 + 10, 3 | ondisk.AdviseFragment, 0, eight, []extent{
			{end: 4096, algo: codec.RawZstd, pos: 8192, stored: 500},
			{start: 4096, end: 8192, form: formHole},
			{start: 8192, end: 12288, form: formPlain, pos: 12288, stored: 4096},
			{start: 12288, end: 12298, form: formFragment, pos: 3<<32 | 77, stored: 77},
		}},
		{"16", 84000, 5 | ondisk.AdviseInterlaced, 4, long, want},
		{"32", 84000, 7 | ondisk.AdviseInterlaced, 4, longer, want},
	} {
		x, err := encodedMap(t, c.size, c.advise, c.count, c.table)
		systest.Must(t, err)
		for _, w := range c.want {
			for _, off := range []int64{w.start, (w.start + w.end) / 2, w.end - 1} {
				got, err := x.find(off)
				if w.form == formHole {
					got.pos, got.stored = 0, 0
				}
				if err != nil || got != w {
					t.Errorf("records of %s bytes, at %d: %+v, %v, not %+v", c.name, off, got, err, w)
				}
			}
		}
	}
	// Tables that are longer than the image, and records out of order.
	for _, c := range []struct {
		advise uint16
		count  int
		table  []byte
	}{{1, 0, four[:800]}, {5, 1 << 30, long}} {
		if _, err := encodedMap(t, 1<<40, c.advise, c.count, c.table); !errors.Is(err, tree.ErrCorrupt) {
			t.Errorf("a table of %d: %v", c.count, err)
		}
	}
	x, err := encodedMap(t, 84000, 5, 4, append(record(nil, lz4|1, 0, 90000, 16), long[16:]...))
	systest.Must(t, err)
	if _, err := x.find(0); !errors.Is(err, tree.ErrCorrupt) {
		t.Errorf("a record behind the end: %v", err)
	}
}
