package codec

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"

	"relive/tree"
)

func TestIDs(t *testing.T) {
	for _, id := range IDs() {
		got, err := ParseID(id.String())
		if err != nil || got != id || id.Check() != nil {
			t.Errorf("%v: %v, %v", id, got, err)
		}
	}
	for _, name := range []string{"", "zlib", "compressor 7", "XZ"} {
		if _, err := ParseID(name); !errors.Is(err, tree.ErrUnsupported) {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, id := range []ID{0, 7, 65535} {
		if err := id.Check(); !errors.Is(err, tree.ErrUnsupported) {
			t.Errorf("%v: %v", id, err)
		}
	}
}

func TestParseOptions(t *testing.T) {
	const blockSize = 131072
	for _, c := range []struct {
		id   ID
		raw  string // in hex; "-" is none at all
		want Options
		err  error
	}{
		{Gzip, "-", Options{ID: Gzip, Level: 9, WindowBits: 15}, nil},
		{Gzip, "03000000 0a00 1300", Options{ID: Gzip, Level: 3, WindowBits: 10,
			Strategies: StrategyDefault | StrategyFiltered | StrategyFixed}, nil},
		{Gzip, "00000000 0f00 0000", Options{}, tree.ErrCorrupt},
		{Gzip, "0a000000 0f00 0000", Options{}, tree.ErrCorrupt},
		{Gzip, "09000000 0700 0000", Options{}, tree.ErrCorrupt},
		{Gzip, "09000000 1000 0000", Options{}, tree.ErrCorrupt},
		{Gzip, "09000000 0f00", Options{}, tree.ErrCorrupt},
		{Gzip, "", Options{}, tree.ErrCorrupt},
		{LZMA, "-", Options{ID: LZMA}, nil},
		{LZO, "-", Options{ID: LZO, Level: 8, Algorithm: LZO1X999}, nil},
		{LZO, "04000000 09000000", Options{ID: LZO, Level: 9, Algorithm: LZO1X999}, nil},
		{LZO, "02000000 00000000", Options{ID: LZO, Algorithm: LZO1X112}, nil},
		{LZO, "02000000 01000000", Options{}, tree.ErrCorrupt},
		{LZO, "04000000 00000000", Options{}, tree.ErrCorrupt},
		{LZO, "05000000 00000000", Options{}, tree.ErrCorrupt},
		{XZ, "-", Options{ID: XZ, DictSize: blockSize}, nil},
		{XZ, "00800100 01000000", Options{ID: XZ, DictSize: 98304, Filters: FilterX86}, nil},
		{XZ, "00000001 c0000000", Options{ID: XZ, DictSize: 1 << 24, Filters: FilterARM64 | FilterRISCV}, nil},
		{XZ, "00000000 00000000", Options{}, tree.ErrCorrupt},
		{XZ, "00a00000 00000000", Options{}, tree.ErrCorrupt}, // 2^13+2^15
		{XZ, "00000080 00000000", Options{}, tree.ErrCorrupt},
		{XZ, "00800000", Options{}, tree.ErrCorrupt},
		{LZ4, "-", Options{}, tree.ErrCorrupt},
		{LZ4, "01000000 00000000", Options{ID: LZ4, Level: 1}, nil},
		{LZ4, "01000000 01000000", Options{ID: LZ4, Level: 12, HC: true}, nil},
		{LZ4, "01000000 03000000 09000000", Options{ID: LZ4, Level: 9, HC: true}, nil},
		{LZ4, "01000000 02000000 01000100", Options{ID: LZ4, Level: 65537}, nil},
		{LZ4, "01000000 02000000 02000100", Options{}, tree.ErrCorrupt},
		{LZ4, "01000000 03000000 0d000000", Options{}, tree.ErrCorrupt},
		{LZ4, "01000000 02000000", Options{}, tree.ErrUnsupported},
		{LZ4, "01000000 04000000", Options{}, tree.ErrUnsupported},
		{LZ4, "02000000 00000000", Options{}, tree.ErrUnsupported},
		{Zstd, "-", Options{ID: Zstd, Level: 15}, nil},
		{Zstd, "16000000", Options{ID: Zstd, Level: 22}, nil},
		{Zstd, "fbffffff", Options{ID: Zstd, Level: -5}, nil},
		{Zstd, "17000000", Options{}, tree.ErrCorrupt},
		{Zstd, "00000000", Options{}, tree.ErrCorrupt},
		{Zstd, "fffffdff", Options{}, tree.ErrCorrupt}, // -131073
		{Zstd, "0f0000", Options{}, tree.ErrCorrupt},
		{0, "-", Options{}, tree.ErrUnsupported},
		{7, "00000000", Options{}, tree.ErrUnsupported},
	} {
		var raw []byte
		if c.raw != "-" {
			var err error
			if raw, err = hex.DecodeString(string(bytes.ReplaceAll([]byte(c.raw), []byte(" "), nil))); err != nil {
				t.Fatal(err)
			}
			if raw == nil {
				raw = []byte{}
			}
		}
		got, err := ParseOptions(c.id, raw, blockSize)
		if got != c.want || !errors.Is(err, c.err) {
			t.Errorf("%v %s: %+v, %v", c.id, c.raw, got, err)
		}
		if err == nil && !bytes.Equal(got.Marshal(blockSize), raw) {
			t.Errorf("%v %s: marshals to %x", c.id, c.raw, got.Marshal(blockSize))
		}
	}
}

func TestValidate(t *testing.T) {
	for _, c := range []struct {
		o         Options
		blockSize int
		ok        bool
	}{
		{DefaultOptions(XZ, 4096), 4096, true},
		{DefaultOptions(XZ, 1<<20), 1 << 20, true},
		{DefaultOptions(XZ, 1<<20), 1 << 19, false}, // a dictionary larger than the block
		{Options{ID: XZ, DictSize: 8192}, 1 << 20, true},
		{Options{ID: XZ, DictSize: 4096}, 1 << 20, false},
		{Options{ID: XZ, DictSize: 100000}, 1 << 20, false},
		{Options{ID: XZ, DictSize: 8192, Filters: 1 << 8}, 1 << 20, false},
		{DefaultOptions(Zstd, 1<<20), 1 << 21, false},
		{DefaultOptions(Zstd, 1<<20), 2048, false},
		{DefaultOptions(Zstd, 1<<20), 5000, false},
		{Options{ID: Zstd}, 4096, false},
		{Options{ID: Gzip, Level: 9, WindowBits: 15, Strategies: 32}, 4096, false},
	} {
		err := c.o.Validate(c.blockSize)
		if (err == nil) != c.ok || err != nil && !errors.Is(err, ErrOptions) {
			t.Errorf("%+v with blocks of %d: %v", c.o, c.blockSize, err)
		}
	}
	for _, id := range IDs() {
		for blockSize := MinBlockSize; blockSize <= MaxBlockSize; blockSize *= 2 {
			o := DefaultOptions(id, blockSize)
			if err := o.Validate(blockSize); err != nil {
				t.Error(err)
			}
			if err := o.Metadata().Validate(MetadataSize); err != nil {
				t.Error(err)
			}
			if m := o.Marshal(blockSize); (m == nil) == (id == LZ4) {
				t.Errorf("%v: defaults marshal to %x", id, m)
			}
		}
	}
}
