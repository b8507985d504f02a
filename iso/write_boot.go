package iso

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"

	"relive/tree"
)

// BootImage is an entry of the boot catalogue to be written (El Torito 1.0).
type BootImage struct {
	// Path is the boot image, a file of the tree. Where it is empty, Appended is
	// the number, from 1 on, of an appended partition.
	Path     string
	Appended int

	Platform    uint8
	Emulation   uint8  // 0 for none, which is what boot loaders of today want
	LoadSegment uint16 // 0 for the usual one
	SystemType  uint8
	// Sectors is how many sectors of 512 bytes firmware loads. 0 stands for 4 with
	// BIOS and for all of the image with EFI.
	Sectors uint16
	// BootInfo writes the boot information table into the image, which ISOLINUX
	// and GRUB ask for; Grub2Info writes GRUB's address, too. The image's file in
	// the new tree differs in these bytes.
	BootInfo, Grub2Info bool
	// Number, 2 to 4, gives the image that entry of the MBR, of type Type, besides
	// what Disk gives to the first one for EFI: isohybrid does so for Macs. 0 stands
	// for none. There is no such entry with TableGPT.
	Number int
	Type   uint8
}

const (
	catalogEntry = 32
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
		if b.Path == "" && (b.Appended < 1 || b.Appended > len(r.Appended)) {
			return fmt.Errorf("boot image %d: there is no appended partition %d", i+1, b.Appended)
		}
		if b.Path == "" && (b.BootInfo || b.Grub2Info) {
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

// place gives where the boot image i lies, and its size in bytes.
func (p *Plan) place(i int) (sector uint32, size int64) {
	if in := p.boot[i]; in != nil {
		return in.block, in.size
	}
	a := p.recipe.Boot[i].Appended - 1
	return p.appended[a], p.recipe.Appended[a].Size
}

// writeBoot writes catalogue, boot information and system area of an image of
// that many sectors.
func (p *Plan) writeBoot(ctx context.Context, out io.WriterAt, total uint32) error {
	if len(p.recipe.Boot) > 0 {
		if _, err := out.WriteAt(p.bootCatalog(), int64(p.catalog)*sectorSize); err != nil {
			return err
		}
	}
	for i, b := range p.recipe.Boot {
		if !b.BootInfo && !b.Grub2Info {
			continue
		}
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		if err := p.writeBootInfo(out, p.boot[i], b); err != nil {
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
		e[0], e[1], e[4] = 0x88, img.Emulation, img.SystemType
		le.PutUint16(e[2:], img.LoadSegment)
		le.PutUint16(e[6:], img.sectors(size))
		le.PutUint32(e[8:], sector)
	}
	b[0], b[1] = 1, p.recipe.Boot[0].Platform
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
		entry(at+catalogEntry, i)
	}
	return b
}

// sectors is how many sectors firmware is to load of an image of size bytes.
func (b *BootImage) sectors(size int64) uint16 {
	if b.Sectors != 0 {
		return b.Sectors
	}
	if b.Platform != PlatformEFI {
		return 4
	}
	// 0 tells EFI firmware to look up to the end of the medium (UEFI 2.10,
	// 13.3.2.1).
	if n := (size + mbrSize - 1) / mbrSize; n <= 1<<16-1 {
		return uint16(n)
	}
	return 0
}

// writeBootInfo patches a boot image that has been written.
func (p *Plan) writeBootInfo(out io.WriterAt, in *outInode, b BootImage) error {
	c, err := in.data.Open()
	if err != nil {
		return fmt.Errorf("%s: %w", tree.Quote(in.path), err)
	}
	defer c.Close()
	content := make([]byte, (in.size+3)&^3)
	if err := tree.ReadFull(c, content[:in.size], 0); err != nil {
		return fmt.Errorf("%s: %w", tree.Quote(in.path), err)
	}
	le := binary.LittleEndian
	if b.Grub2Info {
		le.PutUint64(content[grub2InfoAt:], uint64(in.block)*4+5)
	}
	if b.BootInfo {
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
	head := content[:min(in.size, grub2InfoAt+8)]
	_, err = out.WriteAt(head, int64(in.block)*sectorSize)
	return err
}
