package iso

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"sort"
	"unicode/utf16"

	"relive/internal/parttable"
	"relive/tree"
)

// Disk makes an image boot when it is written to a disk as well. The first boot
// image for EFI becomes a partition.
type Disk struct {
	// Code is what BIOS firmware starts: up to 440 bytes, such as isohdpfx.bin of
	// SYSLINUX or boot_hybrid.img of GRUB, of which the partition table that
	// follows is not looked at.
	Code []byte
	// Kind tells how the code finds its boot image, which is the default entry of
	// the catalogue: Isohybrid or GRUB2. Code of another Kind is written as it is.
	Kind MBRCode
	// Loads are the addresses that the code holds, where they are others than
	// those of its Kind.
	Loads []Address
	// Area is what follows the MBR in the system area, from byte 512 on: further
	// code, such as GRUB's core image. Where a GPT stands, it is left out.
	Area []byte
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
	// Type is the type byte of the MBR partition that is the image; 0
	// stands for 0x17, which systems that take it for a disk do not touch. ZeroType
	// makes it 0, as isohybrid does beside a GPT.
	Type     uint8
	ZeroType bool
	// Entry is the entry of the MBR that is the image, 1 to 4; 0 stands for 1, -1 for
	// none. EFI is
	// that of the first boot image for EFI, of type EFIType; 0 stands for 2 and
	// 0xEF, -1 for none.
	Entry, EFI int
	EFIType    uint8
	// Inactive leaves the mark of the active partition away from the image.
	Inactive bool
	// Start is where the partition of the image starts, in units of 512 bytes, within
	// the system area: GRUB's media begin behind the MBR, with 1 (xorriso
	// --protective-msdos-label, with Type 0xCD). Mountable has its own start.
	Start int64
	// Image is what a GPT says of the partition that begins with the image; nil
	// stands for read-only data.
	Image *GPTEntry
	// Active gives the protective MBR of TableGPT an entry that is active and of no
	// type (xorriso --mbr-force-bootable): some BIOSes start no disk without one.
	Active bool
	// GUID is the disk's id in the GPT; the zero GUID stands for one made of the
	// volume's id and time.
	GUID GUID
}

// Address is a place in the disk's code that holds the address of a boot image or
// of a file, as a number of 8 bytes in units of 512 bytes.
type Address struct {
	At int // byte of the code
	// Boot is the number of the boot image, from 1 on; where it is 0, Path names a
	// file of the tree.
	Boot int
	Path string
	// Plus is added to the address: GRUB's code loads what follows the first part of
	// its image.
	Plus int64
}

// DiskTable says which partition tables a disk has.
type DiskTable uint8

// Partition tables.
const (
	// TableMBR has an active partition of the whole image, up to what is appended,
	// and one for EFI.
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
	gptNameUnits   = 36 // of UTF-16
)

// perSector is how many units of 512 bytes a sector has.
const perSector = sectorSize / mbrSize

func (p *Plan) checkDisk() error {
	d := p.recipe.Disk
	loads := d.Kind == Isohybrid || d.Kind == GRUB2
	if loads && len(p.recipe.Boot) == 0 {
		return fmt.Errorf("there is %s code for the disk, and no boot image for it", d.Kind)
	}
	if loads && len(d.Code) < mbrBootImage {
		return fmt.Errorf("the %s code has %d bytes, less than %d", d.Kind, len(d.Code), mbrBootImage)
	}
	if len(d.Code) > mbrDiskID || len(d.Area) > systemSectors*sectorSize-mbrSize {
		return fmt.Errorf("the disk's code has %d and %d bytes, and there is room for %d and %d", len(d.Code), len(d.Area), mbrDiskID,
			systemSectors*sectorSize-mbrSize)
	}
	for _, a := range d.Loads {
		if a.At < 0 || a.At+8 > mbrDiskID || a.Boot > len(p.recipe.Boot) || a.Boot < 1 && a.Path == "" {
			return fmt.Errorf("the disk's code cannot hold an address of %s at byte %d", tree.Quote(a.Path), a.At)
		}
	}
	if d.Mountable && d.Table == TableGPT && efiInTree(&p.recipe) {
		return fmt.Errorf("a partition that ends where the one for EFI starts cannot be mounted; append the EFI image")
	}
	used := map[int]bool{}
	number := func(what string, n int) error {
		if n == 0 {
			return nil
		}
		if d.Table == TableGPT || n < 1 || n > 4 || used[n] {
			return fmt.Errorf("%s cannot be entry %d of the MBR", what, n)
		}
		used[n] = true
		return nil
	}
	if d.Table != TableGPT {
		if err := number("the image", d.entry()); err != nil {
			return err
		}
	}
	for i, a := range p.recipe.Appended {
		if err := number(fmt.Sprintf("appended partition %d", i+1), a.Number); err != nil {
			return err
		}
	}
	for i, b := range p.recipe.Boot {
		if err := number(fmt.Sprintf("boot image %d", i+1), b.Number); err != nil {
			return err
		}
	}
	if d.Start < 0 || d.Start > systemSectors*perSector || d.Start > 0 && d.Mountable {
		return fmt.Errorf("the partition of the image cannot start at block %d", d.Start)
	}
	return nil
}

// entry is the entry of the MBR that is the image.
func (d *Disk) entry() int {
	if d.Entry == 0 {
		return 1
	}
	return max(0, d.Entry)
}

// efiPlace returns the partition for EFI in units of 512 bytes, 0 without.
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
	if area := p.systemRest(); len(area) > 0 {
		if _, err := out.WriteAt(area, int64(systemSectors*sectorSize-len(area))); err != nil {
			return err
		}
	}
	m := make([]byte, mbrSize)
	copy(m[:mbrDiskID], d.Code)
	le := binary.LittleEndian
	for _, a := range d.addresses() {
		var sector uint32
		if a.Boot > 0 {
			sector, _ = p.place(a.Boot - 1)
		} else {
			sector = p.loaded[a.Path].block
		}
		le.PutUint64(m[a.At:], uint64(int64(sector)*perSector+a.Plus))
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
		if d.Active {
			putMBRPartition(m, 2, true, 0, 0, 1)
		}
	} else {
		kind := d.Type
		if kind == 0 && !d.ZeroType {
			kind = 0x17
		}
		start := d.Start
		if d.Mountable {
			start = systemSectors * perSector
		}
		// What is appended is no part of it.
		end := blocks
		if len(p.appended) > 0 {
			end = int64(p.appended[0]) * perSector
		}
		if efi > 0 && d.EFI >= 0 {
			number, kind := d.EFI, d.EFIType
			if number == 0 {
				number = 2
			}
			if kind == 0 {
				kind = 0xEF
			}
			putMBRPartition(m, number, false, kind, uint32(efi), uint32(efiBlocks))
		}
		if d.entry() > 0 {
			putMBRPartition(m, d.entry(), !d.Inactive, kind, uint32(start), uint32(end-start))
		}
		// An entry that is asked for takes the place of the EFI image's.
		for i, b := range p.recipe.Boot {
			if sector, size := p.place(i); b.Number > 0 {
				putMBRPartition(m, b.Number, false, b.Type, sector*perSector, sectors(size)*perSector)
			}
		}
		for i, a := range p.recipe.Appended {
			if a.Number > 0 {
				putMBRPartition(m, a.Number, false, a.Type, p.appended[i]*perSector, sectors(a.Size)*perSector)
			}
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

// addresses are those that the code is to hold.
func (d *Disk) addresses() []Address {
	if len(d.Loads) > 0 {
		return d.Loads
	}
	switch d.Kind {
	case Isohybrid:
		return []Address{{At: mbrBootImage, Boot: 1}}
	case GRUB2:
		// boot.img loads what follows the first 512 bytes of the boot image, and
		// counts them by four.
		return []Address{{At: mbrBootImage, Boot: 1, Plus: perSector}}
	}
	return nil
}

// systemRest is the end of the system area as it is to be, behind the MBR or
// behind the GPT.
func (p *Plan) systemRest() []byte {
	d := p.recipe.Disk
	rest := make([]byte, systemSectors*sectorSize-mbrSize)
	copy(rest, d.Area)
	if d.Table != TableMBR {
		return rest[gptHeadBlocks*mbrSize-mbrSize:]
	}
	return rest
}

// putMBRPartition writes an entry of an MBR. Addresses by cylinder, head and
// sector are those that stand for "use the other ones", but that of the first
// sector.
func putMBRPartition(m []byte, number int, active bool, kind uint8, start, blocks uint32) {
	e := m[mbrPartitions+16*(number-1):][:16]
	clear(e)
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

// writeGPT writes both copies of the table: the partitions for EFI and those that
// have a number, and what lies between them as data.
func (p *Plan) writeGPT(out io.WriterAt, blocks, efi, efiBlocks int64) error {
	entries := make([]byte, gptEntries*gptEntrySize)
	// Entries that are to have a number have it; the others fill the rest up.
	taken := map[int]bool{}
	var free func() int
	add := func(entry GPTEntry, first, last int64) {
		if first > last {
			return
		}
		number := entry.Number
		if number == 0 || entry.Type == (GUID{}) {
			number = free()
		}
		if number > gptEntries {
			return
		}
		taken[number] = true
		e := entries[(number-1)*gptEntrySize:]
		if entry.GUID == (GUID{}) {
			entry.GUID = p.guid(fmt.Sprintf("partition %d", number))
		}
		copy(e, entry.Type[:])
		copy(e[16:], entry.GUID[:])
		binary.LittleEndian.PutUint64(e[32:], uint64(first))
		binary.LittleEndian.PutUint64(e[40:], uint64(last))
		binary.LittleEndian.PutUint64(e[48:], entry.Flags)
		units := utf16.Encode([]rune(entry.Name))
		for i, u := range units[:min(len(units), gptNameUnits)] {
			binary.LittleEndian.PutUint16(e[56+2*i:], u)
		}
	}
	reserved := map[int]bool{}
	free = func() int {
		n := 1
		for taken[n] || reserved[n] {
			n++
		}
		return n
	}
	// Behind the system area, so that the table itself is in no partition.
	first, last := int64(systemSectors*perSector), blocks-gptTailBlocks-1
	// Read-only, and required by the platform: not to be mounted or changed.
	const readOnly = 1 | 1<<60
	type part struct {
		GPTEntry
		first, size int64
		inImage     bool
	}
	var parts []part
	put := func(q part) {
		for _, other := range parts {
			if other.first == q.first {
				return // two boot entries of one image
			}
		}
		parts = append(parts, q)
	}
	for i, b := range p.recipe.Boot {
		sector, size := p.place(i)
		q := part{GPTEntry{Type: GUIDEFISystem, Name: "EFI boot partition"}, int64(sector) * perSector, sectors64(size) * perSector,
			b.InImage()}
		if b.GPT != nil {
			q.GPTEntry = *b.GPT
		} else if q.first != efi {
			continue
		}
		put(q)
	}
	for i, a := range p.recipe.Appended {
		if a.Number == 0 && a.GPT == nil {
			continue
		}
		q := part{GPTEntry{Type: GUIDBasicData}, int64(p.appended[i]) * perSector, sectors64(a.Size) * perSector, false}
		if a.Type == 0xEF {
			q.Type = GUIDEFISystem
		}
		// The name that xorriso gives to such partitions and knows them by.
		q.Name = fmt.Sprintf("Appended%d", a.Number)
		if a.GPT != nil {
			q.GPTEntry = *a.GPT
		}
		put(q)
	}
	for i := range parts {
		n := &parts[i].Number
		if *n < 0 || *n > gptEntries || reserved[*n] {
			*n = 0
		}
		reserved[*n] = *n > 0
	}
	image := p.recipe.Disk.Image
	if image != nil && image.Number > 0 {
		e := *image
		if reserved[e.Number] {
			e.Number = 0
		}
		image, reserved[image.Number] = &e, true
	}
	sort.Slice(parts, func(i, j int) bool { return parts[i].first < parts[j].first })
	// What lies between is in partitions too; xorriso would take one that has
	// another name for appended.
	at, gap := first, 0
	fill := func(end int64) {
		e := GPTEntry{Type: GUIDBasicData, Name: fmt.Sprintf("Gap%d", gap), Flags: readOnly}
		if gap == 0 && (p.mountable() || len(parts) == 0) {
			e.Name = "ISO9660"
		}
		if gap == 0 && image != nil {
			e = *image
		}
		gap++
		add(e, at, end)
	}
	for i, q := range parts {
		if i == 0 || q.inImage || parts[i-1].inImage {
			fill(q.first - 1) // what parts appended ones is to align them alone
		}
		add(q.GPTEntry, q.first, q.first+q.size-1)
		at = q.first + q.size
		if q.inImage {
			// Not where the next file starts, which xorriso would take for a partition
			// that is that file.
			at++
		}
	}
	fill(last)
	disk := p.recipe.Disk.GUID
	if disk == (GUID{}) {
		disk = p.guid("disk")
	}
	header := func(at, other, table int64) []byte {
		le := binary.LittleEndian
		h := make([]byte, mbrSize)
		copy(h, "EFI PART\x00\x00\x01\x00")
		le.PutUint32(h[12:], parttable.GPTHeaderSize)
		le.PutUint64(h[24:], uint64(at))
		le.PutUint64(h[32:], uint64(other))
		le.PutUint64(h[40:], gptHeadBlocks)
		le.PutUint64(h[48:], uint64(last))
		copy(h[56:], disk[:])
		le.PutUint64(h[72:], uint64(table))
		le.PutUint32(h[80:], gptEntries)
		le.PutUint32(h[84:], gptEntrySize)
		le.PutUint32(h[88:], crc32.ChecksumIEEE(entries))
		le.PutUint32(h[16:], crc32.ChecksumIEEE(h[:parttable.GPTHeaderSize]))
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
