package fat

import (
	"bytes"

	"relive/tree"
)

// Fields of a directory entry (FAT: General Overview, "Directory Structure").
const (
	deAttr        = 11
	deCase        = 12 // as Windows NT has it
	deCreatedRest = 13 // hundredths of a second, up to 199
	deCreatedTime = 14
	deCreatedDate = 16
	deAccessDate  = 18
	deClusterHi   = 20
	deTime        = 22
	deDate        = 24
	deClusterLo   = 26
	deSize        = 28

	deFree    = 0xE5
	deKanji   = 0x05 // stands for 0xE5 as a name's first byte
	caseBase  = 0x08
	caseExt   = 0x10
	shortBase = 8
	shortName = 11
)

// Fields of an entry that holds a part of a long name.
const (
	lnOrder    = 0
	lnChecksum = 13
	lnLast     = 0x40
	lnUnits    = 13
	lnMaxParts = 20
)

// longName gathers the parts of a long name, which stand before the entry they
// belong to, the last first.
type longName struct {
	units    [lnMaxParts * lnUnits]uint16
	parts    int // that belong together, 0 where there is no name
	missing  int // that are still to come
	checksum byte
}

// add takes one more part.
func (l *longName) add(e []byte) {
	order := int(e[lnOrder])
	if order&lnLast != 0 {
		order &^= lnLast
		l.parts, l.missing, l.checksum = order, order, e[lnChecksum]
	}
	if order == 0 || order > lnMaxParts || order != l.missing || e[lnChecksum] != l.checksum {
		l.parts = 0
		l.missing = 0
		return
	}
	l.missing--
	for i := range lnUnits {
		l.units[l.missing*lnUnits+i] = le.Uint16(e[longUnit(i):])
	}
}

// longUnit is the place of a unit in its entry.
func longUnit(i int) int {
	switch {
	case i < 5:
		return 1 + 2*i
	case i < 11:
		return 14 + 2*(i-5)
	}
	return 28 + 2*(i-11)
}

// name returns the long name of the short entry e, or "" where there is none, and
// begins anew.
func (l *longName) name(e []byte) string {
	parts, missing := l.parts, l.missing
	l.parts, l.missing = 0, 0
	if parts == 0 || missing != 0 || shortChecksum(e) != l.checksum {
		return ""
	}
	units := l.units[:parts*lnUnits]
	for i, u := range units {
		if u == 0 {
			units = units[:i]
			break
		}
	}
	if len(units) > 255 {
		return ""
	}
	return utf16Name(units)
}

// shortChecksum is what ties a long name to its short one.
func shortChecksum(e []byte) (sum byte) {
	for _, c := range e[:shortName] {
		sum = sum>>1 | sum<<7
		sum += c
	}
	return sum
}

// nameOf returns an entry's short name, with the case that Windows NT notes.
func nameOf(e []byte) string {
	var p [shortName]byte
	copy(p[:], e)
	if p[0] == deKanji {
		p[0] = deFree
	}
	base := dosName(bytes.TrimRight(p[:shortBase], " "), e[deCase]&caseBase != 0)
	if ext := bytes.TrimRight(p[shortBase:], " "); len(ext) > 0 {
		return base + "." + dosName(ext, e[deCase]&caseExt != 0)
	}
	return base
}

// eachFAT calls fn with every name of a directory of FAT12, FAT16 or FAT32, and
// its short entry.
func (fs *FS) eachFAT(d *dir, fn func(index int, name string, e []byte) error) error {
	var long longName
	return d.entries(func(index int, e []byte) (bool, error) {
		switch {
		case e[0] == 0:
			return true, nil
		case e[0] == deFree:
			long.parts = 0
			return false, nil
		case e[deAttr]&attrMask == attrLongName:
			long.add(e)
			return false, nil
		case e[deAttr]&attrLabel != 0, isDot(e):
			long.parts = 0
			return false, nil
		}
		name := long.name(e)
		if name == "" {
			name = nameOf(e)
		}
		if err := d.checkName(name); err != nil {
			return false, err
		}
		return false, fn(index, name, e)
	})
}

// listFAT lists a directory of FAT12, FAT16 or FAT32.
func (fs *FS) listFAT(d *dir, add func(*tree.Node)) error {
	return fs.eachFAT(d, func(index int, name string, e []byte) error {
		n := &tree.Node{Name: name, Nlink: 1}
		n.Mtime = dosTime(le.Uint16(e[deDate:]), le.Uint16(e[deTime:]))
		var err error
		if e[deAttr]&attrDirectory != 0 {
			err = d.newDir(n, index, fs.firstOf(e), -1, false)
		} else {
			size := int64(le.Uint32(e[deSize:]))
			err = d.newFile(n, uint16(e[deAttr]), fileData{first: fs.firstOf(e), size: size, valid: size})
		}
		if err == nil {
			add(n)
		}
		return err
	})
}

// firstOf is the first cluster that an entry names.
func (fs *FS) firstOf(e []byte) uint32 {
	first := uint32(le.Uint16(e[deClusterLo:]))
	if fs.vol.kind == FAT32 {
		first |= uint32(le.Uint16(e[deClusterHi:])) << 16
	}
	return first
}

// isDot tells the entries by which a directory names itself and its parent.
func isDot(e []byte) bool {
	name := string(e[:shortName])
	return name == ".          " || name == "..         "
}

// Label returns the volume's label as it is stored, without the blanks at its end,
// or "" where it has none. blkid reads it from the same place: the root, not the
// boot sector. The label of exFAT is UTF-8, that of the others is of an unknown
// code page.
func (fs *FS) Label() (string, error) {
	if fs.vol.kind == ExFAT {
		return fs.exLabel()
	}
	e, err := fs.labelEntry()
	if e == nil || err != nil {
		return "", err
	}
	p := e[:shortName]
	if p[0] == deKanji {
		p[0] = deFree
	}
	label := string(bytes.TrimRight(p, " \t\x00"))
	if label == "NO NAME" {
		label = ""
	}
	return label, nil
}

// labelEntry returns the root's entry of the label, nil without.
func (fs *FS) labelEntry() (label []byte, err error) {
	err = fs.rootDir().entries(func(_ int, e []byte) (bool, error) {
		switch {
		case e[0] == 0:
			return true, nil
		case e[0] == deFree, e[deAttr]&attrMask == attrLongName,
			e[deAttr]&(attrLabel|attrDirectory) != attrLabel,
			le.Uint16(e[deClusterHi:]) != 0, le.Uint16(e[deClusterLo:]) != 0:
			return false, nil
		}
		label = bytes.Clone(e)
		return true, nil
	})
	return label, err
}
