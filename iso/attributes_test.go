package iso

import (
	"encoding/binary"
	"testing"
	"testing/fstest"

	"relive/tree"
)

func TestShortDate(t *testing.T) {
	for _, c := range []struct {
		p    [7]byte
		want tree.Time
	}{
		{[7]byte{70, 1, 1, 0, 0, 0, 0}, tree.Time{}},
		{[7]byte{124, 2, 29, 12, 30, 15, 0}, tree.Time{Sec: 1709209815}},
		{[7]byte{124, 2, 29, 12, 30, 15, 4}, tree.Time{Sec: 1709209815 - 3600}},
		{[7]byte{124, 2, 29, 12, 30, 15, 0xF8}, tree.Time{Sec: 1709209815 + 7200}},
		{[7]byte{124, 2, 29, 12, 30, 15, 100}, tree.Time{Sec: 1709209815}}, // no such offset
		{[7]byte{0, 1, 1, 0, 0, 0, 0}, tree.Time{Sec: -2208988800}},
		{[7]byte{255, 12, 31, 23, 59, 59, 0}, tree.Time{Sec: 5869583999}},
		{[7]byte{}, tree.Time{}},
		{[7]byte{124, 13, 1, 0, 0, 0, 0}, tree.Time{}},
		{[7]byte{124, 1, 1, 24, 0, 0, 0}, tree.Time{}},
	} {
		if got := shortDate(c.p[:]); got != c.want {
			t.Errorf("%v: %v, not %v", c.p, got, c.want)
		}
	}
}

func TestLongDate(t *testing.T) {
	for s, want := range map[string]tree.Time{
		"2024022912301599\x04": {Sec: 1709209815 - 3600, Nsec: 990e6},
		"0000000000000000\x00": {},
		"                \x00": {},
		"202402291230159x\x00": {},
		"1969123123595901\x00": {Sec: -1, Nsec: 10e6},
	} {
		if got := longDate([]byte(s)); got != want {
			t.Errorf("%q: %v, not %v", s, got, want)
		}
	}
}

func TestVolumeUUID(t *testing.T) {
	const zero, date = "0000000000000000\x00", "2024022912301599\x04"
	for _, c := range [][3]string{
		{date, zero, "2024-02-29-12-30-15-99"},
		{zero, date, "2024-02-29-12-30-15-99"},
		{zero, zero, ""},
		{"x" + zero[1:], "                 ", ""},
	} {
		if got := volumeUUID([]byte(c[0]), []byte(c[1])); got != c[2] {
			t.Errorf("%q", got)
		}
	}
}

// Times in both forms, with and without a creation time before them.
func TestTimes(t *testing.T) {
	const created, modified = "\x7b\x01\x01\x00\x00\x00\x00", "\x7c\x02\x1d\x0c\x1e\x0f\x00"
	const longCreated, longModified = "2023010100000000\x00", "2024022912301550\x00"
	want := tree.Time{Sec: 1709209815}
	for entry, c := range map[string]struct {
		want  tree.Time
		fault bool
	}{
		"TF\x0c\x01\x02" + modified:                          {want, false},
		"TF\x13\x01\x03" + created + modified:                {want, false},
		"TF\x1a\x01\x0e" + modified + created + created:      {want, false},
		"TF\x16\x01\x82" + longModified:                      {tree.Time{Sec: want.Sec, Nsec: 5e8}, false},
		"TF\x27\x01\x83" + longCreated + longModified:        {tree.Time{Sec: want.Sec, Nsec: 5e8}, false},
		"TF\x0c\x01\x01" + created:                           {tree.Time{}, false},
		"TF\x0b\x01\x02" + modified[:6]:                      {tree.Time{}, true},
		"TF\x0c\x01\x03" + created:                           {tree.Time{}, true},
		"TF\x16\x01\x83" + longCreated:                       {tree.Time{}, true},
		"TF\x04\x01":                                         {tree.Time{}, true},
		"TF\x0e\x01\x03\x00\x00\x00\x00\x00\x00\x00\x00\x00": {tree.Time{}, true},
	} {
		var a attributes
		fault, _ := a.take(sigTF, []byte(entry))
		if (fault != "") != c.fault || a.mtime != c.want {
			t.Errorf("%q: %v, %q", entry, a.mtime, fault)
		}
	}
}

// Targets in one and several entries, as Linux puts their components together.
func TestTargets(t *testing.T) {
	for want, entries := range map[string][]string{
		"a":          {"\x00\x00\x01a"},
		"/":          {"\x00\x08\x00"},
		"/usr/lib":   {"\x00\x08\x00\x00\x03usr\x00\x03lib"},
		"../x/./y":   {"\x00\x04\x00\x00\x01x\x02\x00\x00\x01y"},
		"longname":   {"\x01\x01\x04long", "\x00\x00\x04name"},
		"long/name":  {"\x01\x00\x04long", "\x00\x00\x04name"},
		"/a":         {"\x01\x08\x00", "\x00\x00\x01a"},
		"a//b":       {"\x00\x00\x01a\x00\x00\x00\x01b"},
		"abc/d":      {"\x01\x01\x01a\x01\x01b", "\x01\x01\x00\x00\x01c", "\x00\x00\x01d"},
		"a/..":       {"\x00\x00\x01a\x04\x00"},
		"x/.hidden/": {"\x00\x00\x01x\x00\x07.hidden\x00\x00"},
	} {
		var a attributes
		for _, e := range entries {
			if fault, _ := a.take(sigSL, []byte("SL\x00\x01"+e)); fault != "" {
				t.Error(fault)
			}
		}
		if string(a.target) != want {
			t.Errorf("%q, not %q", a.target, want)
		}
	}
}

// A name in as many continuation areas as Linux follows, and in one more.
func TestContinuations(t *testing.T) {
	for _, areas := range []int{1, 2, maxContinuations, maxContinuations + 1} {
		p := make([]byte, 40*sectorSize)
		img := &Image{name: "image", size: int64(len(p)), r: fsReader(p)}
		img.set.primary = &volume{blockBits: 11}
		ce := func(block, offset int) []byte {
			e := make([]byte, 28)
			copy(e, "CE\x1c\x01")
			both(e[4:], uint32(block))
			both(e[12:], uint32(offset))
			both(e[20:], 100)
			return e
		}
		for i := range areas {
			e := append([]byte("NM\x06\x01\x01"), 'a'+byte(i%26))
			if i == areas-1 {
				e[4] = 0
			} else {
				e = append(e, ce(i+1, 7*(i+1))...)
			}
			copy(p[i*sectorSize+7*i:], e)
		}
		var a attributes
		s := suspReader{img: img, budget: img.size}
		err := s.walk(ce(0, 0), func() string { return "here" }, func(e sig, p []byte) error {
			if fault, _ := a.take(e, p); fault != "" {
				t.Error(fault)
			}
			return nil
		})
		if areas > maxContinuations {
			if err == nil {
				t.Errorf("%d areas", areas)
			}
		} else if err != nil || len(a.name) != areas || a.nameGoesOn {
			t.Errorf("%d areas: %q, %v", areas, a.name, err)
		}
	}
}

func TestDeviceNumbers(t *testing.T) {
	for _, c := range []struct {
		high, low uint32
		want      tree.Rdev
	}{
		{0, 0x803, tree.Rdev{Major: 8, Minor: 3}},
		{8, 3, tree.Rdev{Major: 8, Minor: 3}},
		{0, 5, tree.Rdev{Minor: 5}},
		{259, 70000, tree.Rdev{Major: 259, Minor: 70000}},
		{0, 0x1112c800 | 0x34, tree.RdevFromLinux(0x1112c834)},
	} {
		a := attributes{devHigh: c.high, devLow: c.low}
		if got := a.rdev(); got != c.want {
			t.Errorf("%d, %#x: %v, not %v", c.high, c.low, got, c.want)
		}
	}
}

// Records in one file's sections, and the identity of linked names.
func TestSections(t *testing.T) {
	p := make([]byte, 40*sectorSize)
	img := &Image{name: "image", size: int64(len(p)), r: fsReader(p), vol: &volume{blockBits: 11}, names: Plain}
	d := &dir{img: img, block: 20, length: sectorSize}
	at := 20 * sectorSize
	add := func(id string, block, size uint32, flags byte) {
		n := 33 + len(id) + (len(id)+1)%2
		p[at], p[at+25], p[at+32] = byte(n), flags, byte(len(id))
		binary.LittleEndian.PutUint32(p[at+2:], block)
		binary.LittleEndian.PutUint32(p[at+10:], size)
		copy(p[at+33:], id)
		at += n
	}
	add("\x00", 20, sectorSize, flagDirectory)
	add("\x01", 20, sectorSize, flagDirectory)
	add("B.;1", 30, 2048, flagMore)
	add("B.;1", 35, 2048, flagMore)
	add("B.;1", 32, 0, flagMore)
	add("B.;1", 31, 5, 0)
	add("C.;1", 33, 7, flagAssociated)
	add("C.;1", 33, 3, 0)
	add("A.;1", 34, 4, flagHidden)
	for i := range p[30*sectorSize:] {
		p[30*sectorSize+i] = 'a' + byte(i/sectorSize)
	}
	kids, err := d.Children()
	if err != nil || len(kids) != 3 || kids[0].Name != "a" || kids[1].Name != "b" || kids[2].Name != "c" {
		t.Fatalf("%+v, %v", kids, err)
	}
	b, err := tree.ReadAll(kids[1], 1<<20)
	if err != nil || len(b) != 2*2048+5 || b[0] != 'a' || b[2047] != 'a' || b[2048] != 'f' || b[4095] != 'f' ||
		string(b[4096:]) != "bbbbb" {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	if b, err := tree.ReadAll(kids[2], 10); err != nil || string(b) != "ddd" {
		t.Errorf("%q, %v", b, err)
	}
	if x, _ := Extents(kids[1]); len(x) != 3 || x[1] != (Extent{35 * sectorSize, 2048}) {
		t.Error(x)
	}
}

type fsReader []byte

func (r fsReader) ReadAt(p []byte, off int64) (int, error) { return copy(p, r[off:]), nil }

// Names of one file are of one inode by serial number or, without these, by
// extent; equal contents that share an extent are not.
func TestLinks(t *testing.T) {
	for _, seed := range []string{"rock", "rrip112", "relocated"} {
		root := rootOf(t, memory(t, fixture(t, seed)))
		a, _ := root.Lookup("file")
		b, _ := root.Lookup("few/hard")
		if a == nil || b == nil || a.Inode != b.Inode || a.Inode == (tree.Inode{}) || a.Nlink != 2 {
			t.Errorf("%s: %+v, %+v", seed, a, b)
		}
		c, _ := root.Lookup("boot.img")
		if c == nil || c.Inode != (tree.Inode{}) {
			t.Errorf("%s: %+v", seed, c)
		}
		disk, _ := root.Lookup("few/disk")
		if disk == nil || disk.Type != tree.BlockDevice || disk.Rdev != (tree.Rdev{Major: 259, Minor: 70000}) {
			t.Errorf("%s: %+v", seed, disk)
		}
	}
}

func TestFS(t *testing.T) {
	for seed, path := range map[string]string{"plain": "few/d1/d2", "zisofs-on": "packed"} {
		root := rootOf(t, memory(t, fixture(t, seed)))
		if err := fstest.TestFS(tree.FS(root), "file", path); err != nil {
			t.Error(err)
		}
	}
}
