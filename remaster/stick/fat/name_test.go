package fat

import (
	"bytes"
	"io"
	"testing"
	"time"
	"unicode/utf16"

	"relive/tree"
)

// short makes an 8.3 entry.
func short(name string, attr, nt byte) []byte {
	e := make([]byte, entrySize)
	copy(e, name)
	e[deAttr], e[deCase] = attr, nt
	return e
}

// long makes the entries of a long name, tied to a short entry.
func long(name []uint16, e []byte) []byte {
	units := append([]uint16{}, name...)
	if len(units)%lnUnits != 0 {
		units = append(units, 0)
		for len(units)%lnUnits != 0 {
			units = append(units, 0xFFFF)
		}
	}
	var out []byte
	for n := len(units) / lnUnits; n > 0; n-- {
		p := make([]byte, entrySize)
		p[0], p[deAttr], p[lnChecksum] = byte(n), attrLongName, shortChecksum(e)
		if n == len(units)/lnUnits {
			p[0] |= lnLast
		}
		for i := range lnUnits {
			le.PutUint16(p[longUnit(i):], units[(n-1)*lnUnits+i])
		}
		out = append(out, p...)
	}
	return append(out, e...)
}

// TestNames lists directories that hold one name each.
func TestNames(t *testing.T) {
	u := func(s string) []uint16 { return utf16.Encode([]rune(s)) }
	e := short("SHORT   TXT", 0x20, 0)
	other := short("OTHER   TXT", 0x20, 0)
	cut := long(u("a name of two entries"), e)
	longest := bytes.Repeat([]byte("0123456789abcdef"), 16)[:255]
	for _, c := range []struct {
		what    string
		entries []byte
		want    string
	}{
		{"short", e, "SHORT.TXT"},
		{"no extension", short("LINUXFS    ", 0x20, 0), "LINUXFS"},
		{"lower base", short("SHORT   TXT", 0x20, caseBase), "short.TXT"},
		{"lower extension", short("SHORT   TXT", 0x20, caseExt), "SHORT.txt"},
		{"lower both", short("SHORT   TXT", 0x20, caseBase|caseExt), "short.txt"},
		{"code page 437", short("\x8E\x99\x9A     \xE1  ", 0x20, 0), "ÄÖÜ.ß"},
		{"code page 437, lower", short("\x8E\x99\x9A     TXT", 0x20, caseBase), "äöü.TXT"},
		{"first byte of Kanji", short("\x05BC     TXT", 0x20, 0), "σBC.TXT"},
		{"blank inside", short("A B     TXT", 0x20, 0), "A B.TXT"},
		{"long", long(u("a name.txt"), e), "a name.txt"},
		{"long of 13 units", long(u("thirteen unit"), e), "thirteen unit"},
		{"long of 26 units", long(u("twenty-six units and a bit"), e), "twenty-six units and a bit"},
		{"longest", long(u(string(longest)), e), string(longest)},
		{"surrogates", long(u("😀 twelve u😀"), e), "😀 twelve u😀"},
		{"lone surrogates", long([]uint16{'a', 0xD83D, 'b', 0xDE00}, e), "a\xED\xA0\xBDb\xED\xB8\x80"},
		{"checksum of another", append(long(u("a name"), other)[:entrySize:entrySize], e...), "SHORT.TXT"},
		{"first part missing", append(append([]byte{}, cut[entrySize:]...), cut[2*entrySize:][:0]...), "SHORT.TXT"},
		{"last part missing", append(append([]byte{}, cut[:entrySize]...), e...), "SHORT.TXT"},
		{"deleted between", append(append(append([]byte{}, cut[:2*entrySize]...), short("\xE5ONE", 0x20, 0)...), e...), "SHORT.TXT"},
		{"label between", append(append(append([]byte{}, cut[:2*entrySize]...), short("LABEL      ", attrLabel, 0)...), e...), "SHORT.TXT"},
	} {
		t.Run(c.what, func(t *testing.T) {
			f := newForge(t, "fat16")
			root := f.img[f.vol.rootOffset:][:f.vol.rootEntries*entrySize]
			clear(root)
			copy(root, c.entries)
			fs, err := Open(bytes.NewReader(f.img), int64(len(f.img)), "image")
			if err != nil {
				t.Fatal(err)
			}
			kids, err := rootOf(t, fs).Children()
			if err != nil || len(kids) != 1 || kids[0].Name != c.want {
				for _, k := range kids {
					t.Errorf("%q", k.Name)
				}
				t.Errorf("want %q, %v", c.want, err)
			}
		})
	}
}

// TestCodePage: all of the upper half is there, in its order.
func TestCodePage(t *testing.T) {
	if n := len([]rune(cp437)); n != 128 {
		t.Fatal(n)
	}
	for b, want := range map[byte]string{0x80: "Ç", 0x9F: "ƒ", 0xB0: "░", 0xC4: "─", 0xDB: "█", 0xE0: "α", 0xFE: "■", 0xFF: "\u00a0"} {
		if got := dosName([]byte{b}, false); got != want {
			t.Errorf("%#x: %q, want %q", b, got, want)
		}
	}
}

func TestTimes(t *testing.T) {
	at := func(y, m, d, h, min, s, ns int) tree.Time {
		return tree.TimeOf(time.Date(y, time.Month(m), d, h, min, s, ns, time.UTC))
	}
	date := func(y, m, d uint16) uint16 { return (y-1980)<<9 | m<<5 | d }
	clock := func(h, m, s uint16) uint16 { return h<<11 | m<<5 | s/2 }
	for _, c := range []struct{ got, want tree.Time }{
		{dosTime(0, 0), at(1980, 1, 1, 0, 0, 0, 0)},
		{dosTime(date(2000, 2, 29), clock(23, 59, 58)), at(2000, 2, 29, 23, 59, 58, 0)},
		{dosTime(date(2107, 12, 31), clock(12, 0, 0)), at(2107, 12, 31, 12, 0, 0, 0)},
		{exTime(uint32(date(2020, 6, 1))<<16|uint32(clock(12, 30, 10)), 0, 0), at(2020, 6, 1, 12, 30, 10, 0)},
		{exTime(uint32(date(2020, 6, 1))<<16|uint32(clock(12, 30, 10)), 123, 0), at(2020, 6, 1, 12, 30, 11, 230000000)},
		// UTC+2 is eight quarters, UTC-3:30 minus fourteen.
		{exTime(uint32(date(2020, 6, 1))<<16|uint32(clock(12, 30, 10)), 0, 0x80|8), at(2020, 6, 1, 10, 30, 10, 0)},
		{exTime(uint32(date(2020, 6, 1))<<16|uint32(clock(12, 30, 10)), 0, 0x80|(0x7F&^13)), at(2020, 6, 1, 16, 0, 10, 0)},
		{exTime(uint32(date(2020, 6, 1))<<16|uint32(clock(12, 30, 10)), 0, 8), at(2020, 6, 1, 12, 30, 10, 0)},
	} {
		if c.got != c.want {
			t.Errorf("%v, want %v", c.got.Time(), c.want.Time())
		}
	}
}

// TestAttributes: what FAT has instead of modes.
func TestAttributes(t *testing.T) {
	for _, name := range []string{"fat12", "fat16", "fat32"} {
		f := newForge(t, name)
		fs, err := Open(bytes.NewReader(f.img), int64(len(f.img)), "image")
		if err != nil {
			t.Fatal(err)
		}
		root := rootOf(t, fs)
		for path, want := range map[string]uint16{"": 0o755, "SHORT.TXT": 0o555, "LiveOS": 0o755, "LiveOS/numbers": 0o755} {
			if n := lookup(t, root, path); n.Perm != want || n.UID != 0 || n.GID != 0 {
				t.Errorf("%s: %q: mode %o, owner %d:%d", name, path, n.Perm, n.UID, n.GID)
			}
		}
		if fs.UUID() != "1234-ABCD" {
			t.Error(fs.UUID())
		}
		if label, err := fs.Label(); label != "SEED" || err != nil {
			t.Error(label, err)
		}
		if n := lookup(t, root, "LiveOS/empty"); n.Size != 0 {
			t.Error(n.Size)
		}
		dirty, flag := f.img, bsState
		if name == "fat32" {
			flag = bsState32
		}
		dirty[flag] |= 1
		if fs, err := Open(bytes.NewReader(dirty), int64(len(dirty)), "image"); err != nil || !fs.Dirty() {
			t.Error(name, "is not dirty", err)
		}
	}
}

// TestActiveTable: where FAT32 says that the second table is the active one, the
// first is not read.
func TestActiveTable(t *testing.T) {
	f := newForge(t, "fat32")
	want, err := readAll(t, f.img)
	if err != nil {
		t.Fatal(err)
	}
	f.img[bsExtFlags] = 0x81
	clear(f.img[f.vol.fat:][:int64(le.Uint32(f.img[bsFATSectors32:]))*512])
	got, err := readAll(t, f.img)
	if err != nil || got != want {
		t.Error(err)
	}
}

// TestValidLength: what exFAT has set aside and not written reads as zeros and
// is a hole, whatever stands there.
func TestValidLength(t *testing.T) {
	f := newForge(t, "exfat")
	s := f.set("pieces")
	size := int64(le.Uint64(s[entrySize+xsLength:]))
	const valid = 100001
	le.PutUint64(s[entrySize+xsValid:], valid)
	sum(s)
	fs, err := Open(bytes.NewReader(f.img), int64(len(f.img)), "image")
	if err != nil {
		t.Fatal(err)
	}
	n := lookup(t, rootOf(t, fs), "pieces")
	p, err := tree.ReadAll(n, 1<<20)
	if err != nil || int64(len(p)) != size || n.Size != size {
		t.Fatal(len(p), err)
	}
	if !tree.IsZero(p[valid:]) || p[valid-1] == 0 {
		t.Error("other bytes about the end of what is valid")
	}
	c, err := n.Open()
	if err != nil {
		t.Fatal(err)
	}
	if start, end, err := c.NextData(7); start != 7 || end != valid || err != nil {
		t.Error(start, end, err)
	}
	if _, _, err := c.NextData(valid); err != io.EOF {
		t.Error(err)
	}
	if _, _, err := c.(Mapped).Extent(valid); err != io.EOF {
		t.Error(err)
	}
}

// TestZeroSizeDirectory: Linux can be told to make them.
func TestZeroSizeDirectory(t *testing.T) {
	f := newForge(t, "exfat")
	s := f.set("smile")
	stream := s[entrySize:]
	stream[xsFlags] = 1
	clear(stream[xsValid:][:8])
	clear(stream[xsFirst:][:12])
	sum(s)
	fs, err := Open(bytes.NewReader(f.img), int64(len(f.img)), "image")
	if err != nil {
		t.Fatal(err)
	}
	kids, err := lookup(t, rootOf(t, fs), "smile 😀").Children()
	if err != nil || len(kids) != 0 {
		t.Error(kids, err)
	}
}
