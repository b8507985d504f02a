package iso

import (
	"encoding/binary"
	"fmt"
	"io"

	"relive/tree"
)

// BootImage is an entry of the boot catalogue to be written (El Torito 1.0).
type BootImage struct {
	// Path is the boot image, a file of the tree. Where it is empty, Hidden is its
	// content, of Size bytes, which lies among the files and has no name; where that
	// is nil, Appended is the number, from 1 on, of an appended partition.
	Path     string
	Hidden   tree.Data
	Size     int64
	Appended int

	Platform uint8
	// Section is the identifier of the entry's section, up to 28 bytes. The default
	// entry has none.
	Section string
	// NotBootable marks the entry so; firmware shows it at most.
	NotBootable bool
	Emulation   uint8  // 0 for none, which is what boot loaders of today want
	MediaFlags  uint8  // as BootEntry has them
	LoadSegment uint16 // 0 for the usual one
	SystemType  uint8
	// Sectors is how many sectors of 512 bytes firmware loads. 0 stands for 4 with
	// BIOS and for all of the image with EFI, but where SectorsNone says that the
	// entry is to have 0; SectorsAll stands for all of the image.
	Sectors                 uint16
	SectorsNone, SectorsAll bool
	// BootInfo writes the boot information table into the image, which ISOLINUX
	// and GRUB ask for; Grub2Info writes GRUB's address, too. The image's file in
	// the new tree differs in these bytes.
	BootInfo, Grub2Info bool
	// Number, 2 to 4, gives the image that entry of the MBR, of type Type, besides
	// what Disk gives to the first one for EFI: isohybrid does so for Macs. 0 stands
	// for none. There is no such entry with TableGPT.
	Number int
	Type   uint8
	// GPT is its entry in a GPT. Nil stands for one of the usual kind for the first
	// image for EFI, and for none else.
	GPT *GPTEntry
}

// InImage reports whether the boot image lies among the files, with a name or
// without.
func (b *BootImage) InImage() bool { return b.Path != "" || b.Hidden != nil }

const (
	catalogEntry = 32
	sectionChars = 28 // of a section's identifier
	// padSectors follow the files, as with mkisofs -pad: drives read ahead.
	padSectors = 150
	// mibSectors is how many sectors are 1 MiB, to which partitions and the size
	// of images that boot as a disk are aligned: a cylinder of 64 heads and 32
	// sectors, for old BIOSes.
	mibSectors = 512
)

// checkBoot checks what the recipe says of booting, as far as it can be told
// before content is written.
func (p *Plan) checkBoot() error {
	r := &p.recipe
	if most := sectorSize/catalogEntry/2 - 1; len(r.Boot) > most {
		return fmt.Errorf("%d boot images, of which a catalogue has %d at most", len(r.Boot), most)
	}
	for i, b := range r.Boot {
		if !b.InImage() && (b.Appended < 1 || b.Appended > len(r.Appended)) {
			return fmt.Errorf("boot image %d: there is no appended partition %d", i+1, b.Appended)
		}
		if len(b.Section) > sectionChars {
			return fmt.Errorf("boot image %d: the section's name %q has %d bytes, and there is room for %d", i+1, b.Section, len(b.Section),
				sectionChars)
		}
		if !b.InImage() && (b.BootInfo || b.Grub2Info) {
			return fmt.Errorf("boot image %d: an appended partition has no boot information table", i+1)
		}
		if in := p.boot[i]; in != nil && b.BootInfo && (in.size <= bootInfoEnd || in.size > maxBootInfo) ||
			in != nil && b.Grub2Info && (in.size < grub2InfoAt+8 || in.size > maxBootInfo) {
			return fmt.Errorf("%s: a boot image of %d bytes cannot hold its boot information", tree.Quote(in.path), in.size)
		}
	}
	for i, a := range r.Appended {
		if a.Size <= 0 {
			return fmt.Errorf("appended partition %d is empty", i+1)
		}
	}
	if r.Disk != nil {
		return p.checkDisk()
	}
	return nil
}

// writeAppended writes the appended partitions behind the sector end, and gives
// the sector after the last.
func (p *Plan) writeAppended(w *contentWriter, end uint32) (uint32, error) {
	p.appended = p.appended[:0]
	for i, a := range p.recipe.Appended {
		at := alignMiB(int64(end))
		if at+sectors64(a.Size) > maxSectors {
			return 0, errTooLarge
		}
		if err := w.file(fmt.Sprintf("appended partition %d", i+1), a.Data, a.Size, at*sectorSize); err != nil {
			return 0, err
		}
		p.appended = append(p.appended, uint32(at))
		end = uint32(at + sectors64(a.Size))
	}
	return end, nil
}

// imageSectors is the size of an image whose content ends before the sector
// end.
func (p *Plan) imageSectors(end int64) (uint32, error) {
	total := end + padSectors
	if p.recipe.Disk != nil {
		total = alignMiB(total)
	}
	if total > maxSectors {
		return 0, errTooLarge
	}
	return uint32(total), nil
}

// alignMiB is the next sector at a multiple of 1 MiB.
func alignMiB(sector int64) int64 { return (sector + mibSectors - 1) / mibSectors * mibSectors }

// place returns where the boot image i lies, and its size in bytes.
func (p *Plan) place(i int) (sector uint32, size int64) {
	if in := p.boot[i]; in != nil {
		return in.block, in.size
	}
	a := p.recipe.Boot[i].Appended - 1
	return p.appended[a], p.recipe.Appended[a].Size
}

// writeBoot writes catalogue and system area of an image of that many sectors.
func (p *Plan) writeBoot(out io.WriterAt, total uint32) error {
	if len(p.recipe.Boot) > 0 {
		if _, err := out.WriteAt(p.bootCatalog(), int64(p.catalog)*sectorSize); err != nil {
			return err
		}
	}
	if p.recipe.Disk == nil {
		return nil
	}
	return p.writeDisk(out, total)
}

// bootCatalog makes the catalogue (El Torito 1.0, 2.1 to 2.4): the first entry
// as the default, each of the others in a section of its own.
func (p *Plan) bootCatalog() []byte {
	le := binary.LittleEndian
	b := make([]byte, sectorSize)
	entry := func(at, i int) {
		e, img := b[at:at+catalogEntry], &p.recipe.Boot[i]
		sector, size := p.place(i)
		e[0], e[1], e[4] = 0x88, img.Emulation|img.MediaFlags, img.SystemType
		if img.NotBootable {
			e[0] = 0
		}
		le.PutUint16(e[2:], img.LoadSegment)
		le.PutUint16(e[6:], img.sectors(size))
		le.PutUint32(e[8:], sector)
	}
	b[0], b[1] = 1, p.recipe.Boot[0].Platform
	copy(b[4:28], p.recipe.CatalogID)
	b[30], b[31] = 0x55, 0xAA
	var sum uint16
	for i := 0; i < catalogEntry; i += 2 {
		sum += le.Uint16(b[i:])
	}
	le.PutUint16(b[28:], -sum)
	entry(catalogEntry, 0)
	for i := 1; i < len(p.recipe.Boot); i++ {
		at := catalogEntry * 2 * i
		b[at], b[at+1] = 0x90, p.recipe.Boot[i].Platform
		if i == len(p.recipe.Boot)-1 {
			b[at] = 0x91
		}
		le.PutUint16(b[at+2:], 1)
		copy(b[at+4:][:sectionChars], p.recipe.Boot[i].Section)
		entry(at+catalogEntry, i)
	}
	return b
}

// sectors is how many sectors firmware is to load of an image of size bytes.
func (b *BootImage) sectors(size int64) uint16 {
	if b.Sectors != 0 || b.SectorsNone {
		return b.Sectors
	}
	if b.Platform != PlatformEFI && !b.SectorsAll {
		return 4
	}
	// 0 tells EFI firmware to look up to the end of the medium (UEFI 2.10,
	// 13.3.2.1).
	if n := (size + mbrSize - 1) / mbrSize; n <= 1<<16-1 {
		return uint16(n)
	}
	return 0
}

// patched returns the content of a file as it is to lie in the image: a boot image
// that holds its address differs in that.
func (p *Plan) patched(in *outInode) (tree.Data, error) {
	info, grub2 := false, false
	for i, b := range p.recipe.Boot {
		if p.boot[i] == in {
			info, grub2 = info || b.BootInfo, grub2 || b.Grub2Info
		}
	}
	if !info && !grub2 {
		return in.data, nil
	}
	c, err := in.data.Open()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", tree.Quote(in.path), err)
	}
	defer c.Close()
	if c.Size() != in.size {
		return nil, fmt.Errorf("%s: holds %d bytes, and its directory says %d", tree.Quote(in.path), c.Size(), in.size)
	}
	content := make([]byte, (in.size+3)&^3)
	if err := tree.ReadFull(c, content[:in.size], 0); err != nil {
		return nil, fmt.Errorf("%s: %w", tree.Quote(in.path), err)
	}
	le := binary.LittleEndian
	if grub2 {
		le.PutUint64(content[grub2InfoAt:], uint64(in.block)*4+5)
	}
	if info {
		var sum uint32
		for i := bootInfoEnd; i < len(content); i += 4 {
			sum += le.Uint32(content[i:])
		}
		t := content[bootInfoAt:bootInfoEnd]
		clear(t)
		le.PutUint32(t, systemSectors)
		le.PutUint32(t[4:], in.block)
		le.PutUint32(t[8:], uint32(in.size))
		le.PutUint32(t[12:], sum)
	}
	return tree.Bytes(content[:in.size]), nil
}
