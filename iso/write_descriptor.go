package iso

import (
	"encoding/binary"
	"fmt"
	"io"
	"unicode/utf8"

	"relive/tree"
)

// fields are the texts of a volume descriptor.
func (p *Plan) fields() []struct {
	name, text string
	at, size   int
} {
	r := &p.recipe
	return []struct {
		name, text string
		at, size   int
	}{
		{"system id", r.SystemID, vdSystemID, 32},
		{"volume id", r.VolumeID, vdVolumeID, 32},
		{"volume set id", r.VolumeSetID, vdVolumeSetID, 128},
		{"publisher", r.Publisher, vdPublisherID, 128},
		{"preparer", r.Preparer, vdPreparerID, 128},
		{"application", r.Application, vdApplicationID, 128},
		{"copyright file", r.Copyright, vdCopyright, 37},
		{"abstract file", r.Abstract, vdAbstract, 37},
		{"bibliographic file", r.Bibliographic, vdBibliographic, 37},
	}
}

func (p *Plan) checkTexts() error {
	for _, f := range p.fields() {
		if len(f.text) > f.size {
			return fmt.Errorf("the %s %q has %d bytes, and there is room for %d", f.name, f.text, len(f.text), f.size)
		}
	}
	if len(p.recipe.CatalogID) > 24 {
		return fmt.Errorf("the boot catalogue's id %q has %d bytes, and there is room for 24", p.recipe.CatalogID, len(p.recipe.CatalogID))
	}
	return nil
}

// writeDescriptors writes the volume descriptors of an image of that many
// sectors, from sector 16 on.
func (p *Plan) writeDescriptors(out io.WriterAt, total uint32) error {
	if p.mountable() {
		set := [][]byte{p.volumeDescriptor(primaryShifted, total)}
		if !p.recipe.NoJoliet {
			set = append(set, p.volumeDescriptor(jolietShifted, total))
		}
		if err := writeSectors(out, 2*systemSectors, append(set, terminator())); err != nil {
			return err
		}
	}
	set := [][]byte{p.volumeDescriptor(primarySpace, total)}
	if len(p.recipe.Boot) > 0 {
		// Firmware looks for the boot record in sector 17 (El Torito 1.0, 2.0).
		b := make([]byte, sectorSize)
		copy(b[1:], standardID+"\x01"+elToritoID)
		binary.LittleEndian.PutUint32(b[0x47:], p.catalog)
		set = append(set, b)
	}
	if !p.recipe.NoJoliet {
		set = append(set, p.volumeDescriptor(jolietSpace, total))
	}
	return writeSectors(out, systemSectors, append(set, terminator()))
}

// terminator is the last descriptor of a set (ECMA-119 8.3).
func terminator() []byte {
	b := make([]byte, sectorSize)
	b[0] = typeTerminator
	copy(b[1:], standardID+"\x01")
	return b
}

func writeSectors(out io.WriterAt, at int, set [][]byte) error {
	for i, b := range set {
		if _, err := out.WriteAt(b, int64(at+i)*sectorSize); err != nil {
			return err
		}
	}
	return nil
}

// volumeDescriptor makes a primary or Joliet's descriptor (ECMA-119 8.4, 8.5).
func (p *Plan) volumeDescriptor(h hierarchy, total uint32) []byte {
	s, shift := h.names(), h.shift()
	b := make([]byte, sectorSize)
	b[0] = typePrimary
	copy(b[1:], standardID+"\x01")
	for _, f := range p.fields() {
		field := b[f.at:][:f.size]
		if s == primarySpace {
			for i := copy(field, f.text); i < len(field); i++ {
				field[i] = ' '
			}
			continue
		}
		// What Joliet has no room for, half the characters, is cut.
		runes := []rune(f.text)
		for i := 0; i+1 < len(field); i += 2 {
			r := ' '
			if i/2 < len(runes) {
				if r = runes[i/2]; r > 0xFFFF || r == utf8.RuneError {
					r = '_'
				}
			}
			field[i], field[i+1] = byte(r>>8), byte(r)
		}
	}
	if s == jolietSpace {
		b[0] = typeSupplementary
		copy(b[vdEscapes:], "%/E")
	}
	putBoth(b[vdVolumeSpace:], total-shift)
	putBoth16(b[120:], 1) // volume set size
	putBoth16(b[124:], 1) // volume sequence number
	putBoth16(b[vdBlockSize:], sectorSize)
	sp := &p.spaces[h]
	putBoth(b[vdPathTableSize:], uint32(sp.tableBytes))
	binary.LittleEndian.PutUint32(b[vdPathTableL:], sp.tableL-shift)
	binary.BigEndian.PutUint32(b[vdPathTableL+8:], sp.tableM-shift)
	root := b[vdRoot:]
	e := &p.root.extents[h]
	root[0] = 34
	putBoth(root[2:], e.block-shift)
	putBoth(root[10:], e.length)
	putShortDate(root[18:], p.root.n.Mtime)
	root[25] = flagDirectory
	putBoth16(root[28:], 1)
	root[32] = 1
	created := p.recipe.Created
	if created == (tree.Time{}) {
		created = p.recipe.Time
	}
	putLongDate(b[vdCreated:], created, p.recipe.Zone)
	putLongDate(b[vdModified:], p.recipe.Time, p.recipe.Zone)
	for _, d := range []struct {
		at int
		t  tree.Time
	}{{vdExpires, p.recipe.Expires}, {vdEffective, p.recipe.Effective}} {
		if d.t == (tree.Time{}) {
			copy(b[d.at:], unsetDate)
			continue
		}
		putLongDate(b[d.at:], d.t, p.recipe.Zone)
	}
	b[881] = 1 // file structure version
	if s == primarySpace {
		// implantisomd5 asks for spaces.
		area := b[vdAppUse:][:vdAppUseSize]
		for i := range area {
			area[i] = ' '
		}
	}
	return b
}

// unsetDate is a date that is not given (ECMA-119 8.4.26.1).
const unsetDate = "0000000000000000\x00"
