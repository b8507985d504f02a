package iso

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"unicode/utf16"
)

// Disk makes an image boot when it is written to a disk as well. The first boot
// image for EFI becomes a partition.
type Disk struct {
	// Code is what BIOS firmware starts: up to 440 bytes, such as isohdpfx.bin of
	// SYSLINUX or boot_hybrid.img of GRUB, of which the partition table that
	// follows is not looked at.
	Code []byte
	// Kind tells how the code finds its boot image, which is the default entry of
	// the catalogue: Isohybrid, GRUB2, or NoCode for not at all.
	Kind MBRCode
	// ID is the disk's id in the MBR; 0 stands for one made of the volume's id
	// and time.
	ID uint32
	// Table says which partition tables there are.
	Table DiskTable
	// Mountable gives the partition that is the image itself volume descriptors and
	// directories of its own, so that it can be mounted as well as the disk (xorriso
	// -partition_offset 16). It starts behind the system area then. With TableGPT,
	// in which partitions do not overlap, the EFI image must be appended.
	Mountable bool
	// Type is the type byte of the MBR partition that is all of the image; 0
	// stands for 0x17, which systems that take it for a disk do not touch.
	Type uint8
}

// DiskTable says which partition tables a disk has.
type DiskTable uint8

// Partition tables.
const (
	// TableMBR has an active partition of the whole image and one for EFI.
	TableMBR DiskTable = iota
	// TableGPT has a GPT and a protective MBR.
	TableGPT
	// TableBoth has the MBR partitions of TableMBR and a GPT.
	TableBoth
)

// The places of GPT, in units of 512 bytes (UEFI 2.10, 5.3).
const (
	gptEntries     = 128
	gptEntrySize   = 128
	gptEntryBlocks = gptEntries * gptEntrySize / mbrSize
	gptHeadBlocks  = 2 + gptEntryBlocks // with the MBR
	gptTailBlocks  = 1 + gptEntryBlocks
)

// perSector is how many units of 512 bytes a sector has.
const perSector = sectorSize / mbrSize

func (p *Plan) checkDisk() error {
	d := p.recipe.Disk
	if d.Kind != NoCode && len(p.recipe.Boot) == 0 {
		return fmt.Errorf("there is %s code for the disk, and no boot image for it", d.Kind)
	}
	if d.Kind != NoCode && len(d.Code) < mbrBootImage {
		return fmt.Errorf("the %s code has %d bytes, less than %d", d.Kind, len(d.Code), mbrBootImage)
	}
	if d.Mountable && d.Table == TableGPT && efiInTree(&p.recipe) {
		return fmt.Errorf("a partition that ends where the one for EFI starts cannot be mounted; append the EFI image")
	}
	if d.Kind == OtherCode {
		return fmt.Errorf("code that is neither isohybrid's nor GRUB's finds no boot image")
	}
	return nil
}

// efiPlace gives the partition for EFI in units of 512 bytes, 0 without.
func (p *Plan) efiPlace() (start, blocks int64) {
	for i, b := range p.recipe.Boot {
		if b.Platform == PlatformEFI {
			sector, size := p.place(i)
			return int64(sector) * perSector, sectors64(size) * perSector
		}
	}
	return 0, 0
}

// writeDisk writes the system area and the end of an image of that many
// sectors.
func (p *Plan) writeDisk(out io.WriterAt, total uint32) error {
	d := p.recipe.Disk
	blocks := int64(total) * perSector
	if d.Table != TableGPT && blocks > maxSectors {
		return fmt.Errorf("an image of %d bytes is larger than the 2 TiB that an MBR partition tells of", blocks*mbrSize)
	}
	m := make([]byte, mbrSize)
	copy(m[:mbrDiskID], d.Code)
	le := binary.LittleEndian
	switch d.Kind {
	case Isohybrid:
		sector, _ := p.place(0)
		le.PutUint64(m[mbrBootImage:], uint64(sector)*perSector)
	case GRUB2:
		// boot.img loads what follows the first 512 bytes of the boot image, four of
		// which make a sector.
		sector, _ := p.place(0)
		le.PutUint64(m[mbrBootImage:], uint64(sector)*perSector+perSector)
	}
	id := d.ID
	if id == 0 {
		g := p.guid("disk id")
		id = le.Uint32(g[:])
	}
	le.PutUint32(m[mbrDiskID:], id)
	m[mbrSignature], m[mbrSignature+1] = 0x55, 0xAA
	efi, efiBlocks := p.efiPlace()
	if d.Table == TableGPT {
		putMBRPartition(m, 1, false, 0xEE, 1, uint32(min(blocks-1, maxSectors)))
	} else {
		kind := d.Type
		if kind == 0 {
			kind = 0x17
		}
		start := int64(0)
		if d.Mountable {
			start = systemSectors * perSector
		}
		putMBRPartition(m, 1, true, kind, uint32(start), uint32(blocks-start))
		if efi > 0 {
			putMBRPartition(m, 2, false, 0xEF, uint32(efi), uint32(efiBlocks))
		}
	}
	if _, err := out.WriteAt(m, 0); err != nil {
		return err
	}
	if d.Table == TableMBR {
		return nil
	}
	return p.writeGPT(out, blocks, efi, efiBlocks)
}

// putMBRPartition writes an entry of an MBR. Addresses by cylinder, head and
// sector are those that stand for "use the other ones", but that of the first
// sector.
func putMBRPartition(m []byte, number int, active bool, kind uint8, start, blocks uint32) {
	e := m[mbrPartitions+16*(number-1):][:16]
	if active {
		e[0] = 0x80
	}
	copy(e[1:], "\xFE\xFF\xFF")
	switch start {
	case 0:
		copy(e[1:], "\x00\x01\x00")
	case 1:
		copy(e[1:], "\x00\x02\x00")
	}
	e[4] = kind
	copy(e[5:], "\xFE\xFF\xFF")
	binary.LittleEndian.PutUint32(e[8:], start)
	binary.LittleEndian.PutUint32(e[12:], blocks)
}

// guid makes an identity of the volume's id and time and what it is for, so that
// the same recipe gives the same image: a GUID of version 8.
func (p *Plan) guid(what string) GUID {
	h := sha256.New()
	fmt.Fprintf(h, "%q %d.%09d %s", p.recipe.VolumeID, p.recipe.Time.Sec, p.recipe.Time.Nsec, what)
	var g GUID
	copy(g[:], h.Sum(nil))
	g[7] = g[7]&0x0F | 0x80
	g[8] = g[8]&0x3F | 0x80
	return g
}

// writeGPT writes both copies of the table: the partition for EFI, and what lies
// before and behind it as data.
func (p *Plan) writeGPT(out io.WriterAt, blocks, efi, efiBlocks int64) error {
	entries := make([]byte, gptEntries*gptEntrySize)
	n := 0
	add := func(kind GUID, first, last int64, name string, flags uint64) {
		if first > last {
			return
		}
		e := entries[n*gptEntrySize:]
		g := p.guid(fmt.Sprintf("partition %d", n+1))
		n++
		copy(e, kind[:])
		copy(e[16:], g[:])
		binary.LittleEndian.PutUint64(e[32:], uint64(first))
		binary.LittleEndian.PutUint64(e[40:], uint64(last))
		binary.LittleEndian.PutUint64(e[48:], flags)
		for i, u := range utf16.Encode([]rune(name)) {
			binary.LittleEndian.PutUint16(e[56+2*i:], u)
		}
	}
	// Behind the system area, so that the table itself is in no partition.
	first, last := int64(systemSectors*perSector), blocks-gptTailBlocks-1
	// Read-only, and required by the platform: not to be mounted or changed.
	const readOnly = 1 | 1<<60
	if efi == 0 {
		add(GUIDBasicData, first, last, "ISO9660", readOnly)
	} else {
		add(GUIDBasicData, first, efi-1, "ISO9660", readOnly)
		add(GUIDEFISystem, efi, efi+efiBlocks-1, "EFI boot partition", 0)
		add(GUIDBasicData, efi+efiBlocks, last, "ISO9660 rest", readOnly)
	}
	disk := p.guid("disk")
	header := func(at, other, table int64) []byte {
		le := binary.LittleEndian
		h := make([]byte, mbrSize)
		copy(h, "EFI PART\x00\x00\x01\x00")
		le.PutUint32(h[12:], gptHeaderSize)
		le.PutUint64(h[24:], uint64(at))
		le.PutUint64(h[32:], uint64(other))
		le.PutUint64(h[40:], gptHeadBlocks)
		le.PutUint64(h[48:], uint64(last))
		copy(h[56:], disk[:])
		le.PutUint64(h[72:], uint64(table))
		le.PutUint32(h[80:], gptEntries)
		le.PutUint32(h[84:], gptEntrySize)
		le.PutUint32(h[88:], crc32.ChecksumIEEE(entries))
		le.PutUint32(h[16:], crc32.ChecksumIEEE(h[:gptHeaderSize]))
		return h
	}
	for _, c := range []struct {
		p  []byte
		at int64
	}{
		{header(1, blocks-1, 2), 1},
		{entries, 2},
		{entries, blocks - gptTailBlocks},
		{header(blocks-1, 1, blocks-gptTailBlocks), blocks - 1},
	} {
		if _, err := out.WriteAt(c.p, c.at*mbrSize); err != nil {
			return err
		}
	}
	return nil
}
