package iso

import (
	"encoding/binary"
	"fmt"

	"relive/tree"
)

// elToritoID is the boot system identifier of a boot record that names a boot
// catalogue (El Torito 1.0, figure 7).
const elToritoID = "EL TORITO SPECIFICATION"

// Platforms of boot entries (El Torito 1.0, figure 2; UEFI 2.10, 13.3.2.1).
const (
	PlatformBIOS    = 0x00
	PlatformPowerPC = 0x01
	PlatformMac     = 0x02
	PlatformEFI     = 0xEF
)

// ElTorito is the boot catalogue of an image (El Torito 1.0).
type ElTorito struct {
	Record  int64  // sector of the boot record; firmware expects 17
	Catalog uint32 // sector of the catalogue
	ID      string // who made it, of the validation entry
	Entries []BootEntry
}

// BootEntry is one boot image of a catalogue.
type BootEntry struct {
	Platform    uint8
	Section     string // of its section's header, empty for the default entry
	Bootable    bool
	Emulation   uint8  // 0 none, 1 to 3 diskettes of 1.2, 1.44 and 2.88 MB, 4 hard disk
	MediaFlags  uint8  // the high bits of that byte: drivers that the image holds
	LoadSegment uint16 // 0 is 0x7C0
	SystemType  uint8  // copy of the partition's type byte, for hard disks
	Sectors     uint16 // how many sectors of 512 bytes firmware loads
	Block       uint32 // first sector of the image, of 2048 bytes
	Criteria    []byte // selection criteria, of their type and up to 19 bytes; nil without

	// BootInfo is the table that mkisofs -boot-info-table leaves in the image;
	// nil where there is none.
	BootInfo *BootInfo
	// Grub2Info: the image holds its own address for GRUB (xorriso
	// --grub2-boot-info).
	Grub2Info bool
	// Isohybrid: the image is an ISOLINUX that isohybrid's MBR can start.
	Isohybrid bool
}

// BootInfo is the boot information table at byte 8 of a boot image (mkisofs(8),
// "EL TORITO BOOT INFORMATION TABLE").
type BootInfo struct {
	Volume   uint32 // sector of the primary volume descriptor
	Length   uint32 // of the boot image in bytes
	Checksum uint32 // sum of its 32-bit words from byte 64 on
	Valid    bool   // the checksum is right
}

const (
	bootInfoAt   = 8
	bootInfoEnd  = 64   // of the table; the checksum starts here
	grub2InfoAt  = 2548 // eight bytes: the image's address in units of 512 bytes, plus 5
	isohybridAt  = 64
	isohybridTag = "\xFB\xC0\x78\x70"

	// maxCatalog bounds the catalogue; the usual one fits a sector.
	maxCatalog = 32 << 10
	// maxBootInfo bounds what is read to verify a checksum.
	maxBootInfo = 64 << 20
)

// ElTorito reads the boot catalogue. It is nil where the image has none.
func (img *Image) ElTorito() (*ElTorito, error) {
	if img.set.boot == nil {
		return nil, nil
	}
	c := &ElTorito{Record: img.set.bootAt, Catalog: binary.LittleEndian.Uint32(img.set.boot[0x47:])}
	off := int64(c.Catalog) * sectorSize
	place := fmt.Sprintf("boot catalogue in sector %d", c.Catalog)
	p := make([]byte, min(maxCatalog, max(0, img.size-off)))
	if len(p) < sectorSize {
		return nil, img.pastEnd(place, off, sectorSize)
	}
	if err := img.readAt(p, off, place); err != nil {
		return nil, err
	}
	if err := img.decodeCatalog(c, p, place); err != nil {
		return nil, err
	}
	for i := range c.Entries {
		if err := img.inspectBoot(&c.Entries[i]); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// decodeCatalog decodes validation entry, default entry and sections (El Torito
// 1.0, 2.1 to 2.4), each of 32 bytes.
func (img *Image) decodeCatalog(c *ElTorito, p []byte, place string) error {
	const size = 32
	const (
		headerMore  = 0x90
		headerFinal = 0x91
		extension   = 0x44
	)
	v := p[:size]
	var sum uint16
	for i := 0; i < size; i += 2 {
		sum += binary.LittleEndian.Uint16(v[i:])
	}
	if v[0] != 1 || v[30] != 0x55 || v[31] != 0xAA || sum != 0 {
		return tree.Corrupt(img.name, place, "the validation entry is wrong")
	}
	c.ID = trimmed(v[4:28])
	c.Entries = append(c.Entries, decodeBootEntry(p[size:2*size], v[1]))
	at := 2 * size
	next := func() []byte {
		e := p[at : at+size]
		at += size
		return e
	}
	for more := true; more; {
		if at+size > len(p) {
			return tree.Corrupt(img.name, place, "a section header is expected past the end")
		}
		h := next()
		if h[0] != headerMore && h[0] != headerFinal {
			// A catalogue of the default entry alone ends without a header.
			return nil
		}
		more = h[0] == headerMore
		for range binary.LittleEndian.Uint16(h[2:]) {
			if at+size > len(p) {
				return tree.Corrupt(img.name, place, "a section of %d entries reaches past the end", binary.LittleEndian.Uint16(h[2:]))
			}
			e := decodeBootEntry(next(), h[1])
			e.Section = trimmed(h[4:])
			for e.Criteria != nil && at+size <= len(p) && p[at] == extension {
				if x := next(); x[1]&0x20 == 0 {
					break
				}
			}
			c.Entries = append(c.Entries, e)
		}
	}
	return nil
}

// decodeBootEntry decodes a default or section entry (El Torito 1.0, figures 3
// and 5).
func decodeBootEntry(p []byte, platform uint8) BootEntry {
	e := BootEntry{
		Platform:    platform,
		Bootable:    p[0] == 0x88,
		Emulation:   p[1] & 0x0F,
		MediaFlags:  p[1] & 0xF0,
		LoadSegment: binary.LittleEndian.Uint16(p[2:]),
		SystemType:  p[4],
		Sectors:     binary.LittleEndian.Uint16(p[6:]),
		Block:       binary.LittleEndian.Uint32(p[8:]),
	}
	if p[12] != 0 {
		e.Criteria = append([]byte(nil), p[12:32]...)
	}
	return e
}

// inspectBoot looks at what boot loaders left in their image.
func (img *Image) inspectBoot(e *BootEntry) error {
	off := int64(e.Block) * sectorSize
	place := fmt.Sprintf("boot image in sector %d", e.Block)
	if off >= img.size {
		return img.pastEnd(place, off, sectorSize)
	}
	var p [grub2InfoAt + 8]byte
	head := p[:min(int64(len(p)), img.size-off)]
	if err := img.readAt(head, off, place); err != nil {
		return err
	}
	le := binary.LittleEndian
	e.Grub2Info = len(head) == len(p) && le.Uint64(p[grub2InfoAt:]) == uint64(e.Block)*4+5
	e.Isohybrid = string(p[isohybridAt:isohybridAt+4]) == isohybridTag
	volume := le.Uint32(p[bootInfoAt:])
	if le.Uint32(p[bootInfoAt+4:]) != e.Block || !img.isVolume(int64(volume)) {
		return nil
	}
	e.BootInfo = &BootInfo{Volume: volume, Length: le.Uint32(p[bootInfoAt+8:]), Checksum: le.Uint32(p[bootInfoAt+12:])}
	length := int64(e.BootInfo.Length)
	if length <= bootInfoEnd || length > maxBootInfo || off+length > img.size {
		return nil
	}
	sum, err := img.sumWords(off+bootInfoEnd, length-bootInfoEnd, place)
	e.BootInfo.Valid = sum == e.BootInfo.Checksum
	return err
}

// isVolume reports whether a primary volume descriptor stands at a sector. Besides
// the one in sector 16 an image may have others: xorriso's native mode puts a
// session's own at sector 48, or 64 behind a partition offset, and boot
// information tables name that one.
func (img *Image) isVolume(sector int64) bool {
	if sector == img.set.primary.sector {
		return true
	}
	var p [7]byte
	if sector < systemSectors || sector >= img.size/sectorSize || tree.ReadFull(img.r, p[:], sector*sectorSize) != nil {
		return false
	}
	return p[0] == typePrimary && string(p[1:6]) == standardID
}

// sumWords adds up little-endian 32-bit words; the last is filled with zeros.
func (img *Image) sumWords(off, length int64, place string) (sum uint32, err error) {
	buf := make([]byte, min(length+3, 64<<10)&^3)
	for length > 0 {
		n := min(length, int64(len(buf)))
		if err := img.readAt(buf[:n], off, place); err != nil {
			return 0, err
		}
		off, length = off+n, length-n
		for ; n%4 != 0; n++ {
			buf[n] = 0
		}
		for i := 0; i < int(n); i += 4 {
			sum += binary.LittleEndian.Uint32(buf[i:])
		}
	}
	return sum, nil
}
