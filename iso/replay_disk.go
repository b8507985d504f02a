package iso

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"relive/tree"
)

// disk finds the disk's code and tables.
func (p *replayer) disk() error {
	img, a := p.img, p.a
	area := make([]byte, systemSectors*sectorSize)
	if err := img.readAt(area, 0, "system area"); err != nil {
		return err
	}
	p.leaveMac(area)
	if a.MBR == nil {
		if what := foreignLabel(area); what != "" {
			p.leave("%s, with which it boots there", what)
		} else if len(bytes.Trim(area, "\x00")) > 0 && a.APM == nil {
			p.leave("the system area, which holds no MBR")
		}
		return p.gptAlone()
	}
	if what := foreignLabel(area); what != "" {
		p.leave("%s, with which it boots there", what)
	}
	d := &Disk{Code: bytes.Clone(area[:mbrDiskID]), Kind: a.MBR.Code, ID: a.MBR.DiskID}
	p.r.Disk = d
	if err := p.code(d, area); err != nil {
		return err
	}
	p.area(d, area)
	if err := p.mbr(d); err != nil {
		return err
	}
	if a.GPT == nil {
		return nil
	}
	return p.gpt(d)
}

// gptAlone refuses a GPT without an MBR, which no firmware takes.
func (p *replayer) gptAlone() error {
	if p.a.GPT == nil {
		return nil
	}
	return tree.Unsupported(p.img.name, "system area", "a GPT without an MBR")
}

// leaveMac tells of what Macs alone read.
func (p *replayer) leaveMac(area []byte) {
	if p.a.APM != nil {
		p.leave("the Apple partition map")
	}
	// Volume headers stand 1024 bytes behind the start (Apple TN1150; Inside
	// Macintosh: Files, "Master Directory Blocks").
	switch string(area[1024:1026]) {
	case "H+", "HX":
		p.leave("the HFS+ file system that shares the image")
	case "BD":
		p.leave("the HFS file system that shares the image")
	}
}

// foreignLabel names what the system area holds for machines whose firmware finds
// its boot program by addresses in it (libisofs doc/boot_sectors.txt), "" for
// nothing of the kind.
func foreignLabel(area []byte) string {
	be, le := binary.BigEndian, binary.LittleEndian
	switch {
	case be.Uint32(area) == 0x0BE5A941:
		return "the volume header of MIPS machines"
	case le.Uint32(area[8:]) == 0x0002757A:
		return "the boot block of DECstations (MIPS, little-endian)"
	case be.Uint16(area[508:]) == 0xDABE:
		return "the disk label of Suns (SPARC)"
	case string(area[:4]) == "\x80\x00PA" || string(area[2:6]) == "PALO" || string(area[:4]) == "PALO":
		return "the boot block of HP PA-RISC machines (PALO)"
	case isAlphaBlock(area[:mbrSize]):
		return "the boot block of DEC Alpha machines"
	}
	return ""
}

// isAlphaBlock tells of a boot block for the SRM console: its last number is the
// sum of the others.
func isAlphaBlock(b []byte) bool {
	var sum uint64
	for i := 0; i < mbrSize-8; i += 8 {
		sum += binary.LittleEndian.Uint64(b[i:])
	}
	return sum != 0 && sum == binary.LittleEndian.Uint64(b[mbrSize-8:]) && binary.LittleEndian.Uint64(b[480:]) != 0
}

// code finds what the MBR's code loads.
func (p *replayer) code(d *Disk, area []byte) error {
	at := []int{mbrBootImage}
	if bytes.Contains(d.Code, []byte("GRUB ")) {
		at = append(at, grubKernelSector)
	}
	found := map[int]bool{}
	for _, i := range at {
		if a, ok := p.address(i, binary.LittleEndian.Uint64(area[i:])); ok {
			d.Loads, found[i] = append(d.Loads, a), true
		}
	}
	switch d.Kind {
	case Isohybrid, GRUB2:
		if !found[mbrBootImage] {
			return tree.Unsupported(p.img.name, "system area: MBR",
				"its boot code loads sector %d, which is neither a boot image nor a file", p.a.MBR.BootImage)
		}
		if usual := (&Disk{Kind: d.Kind}).addresses(); slices.Equal(usual, d.Loads) {
			d.Loads = nil
		}
	case OtherCode:
		if len(d.Loads) == 0 {
			p.leave("the certainty that a BIOS boots it from a disk: the MBR's code is neither isohybrid's nor GRUB's, " +
				"and is kept as it is")
		}
	case NoCode:
		d.Loads = nil
	}
	// With an Apple partition map the code starts with the map's mark, which does no
	// harm when it runs; it stays, since what stood there before is not known.
	return nil
}

// grubKernelSector is where GRUB's boot.img holds the address of its core image
// (grub-core/boot/i386/pc/boot.S; include/grub/i386/pc/boot.h,
// GRUB_BOOT_MACHINE_KERNEL_SECTOR).
const grubKernelSector = 0x5C

// address finds what a number in the MBR's code is the address of: a boot image
// or a file of the tree, or the part of it that follows its first sectors.
func (p *replayer) address(at int, v uint64) (Address, bool) {
	if v < 2*systemSectors || v > uint64(p.img.size/mbrSize) {
		return Address{}, false
	}
	for _, sector := range []int64{int64(v) / perSector, int64(v)/perSector - 1} {
		a := Address{At: at, Plus: int64(v) - sector*perSector}
		if p.c != nil {
			for i := range p.c.Entries {
				if int64(p.c.Entries[i].Block) == sector {
					a.Boot = i + 1
					return a, true
				}
			}
		}
		if f, ok := p.s.files[sector*sectorSize]; ok && f.size > a.Plus*mbrSize {
			a.Path = f.path
			return a, true
		}
	}
	return Address{}, false
}

// area keeps what else the system area holds, but for the tables, which are made
// anew or told of.
func (p *replayer) area(d *Disk, area []byte) {
	rest := bytes.Clone(area)
	blank := func(from, to int64) {
		if from = max(from, 0); from < int64(len(rest)) && from < to {
			clear(rest[from:min(to, int64(len(rest)))])
		}
	}
	blank(0, mbrSize)
	if g := p.a.GPT; g != nil {
		blank(mbrSize, 2*mbrSize)
		blank(g.EntriesLBA*mbrSize, g.EntriesLBA*mbrSize+int64(g.EntryCount)*int64(g.EntrySize))
	}
	if m := p.a.APM; m != nil {
		blank(int64(m.BlockSize), int64(m.BlockSize)*int64(1+len(m.Partitions)))
		for at := int64(mbrSize); at+2 <= int64(len(rest)); at += mbrSize {
			// A second map, in blocks of the other size.
			if string(rest[at:at+2]) == "PM" {
				blank(at, at+mbrSize)
			}
		}
	}
	switch string(rest[1024:1026]) {
	case "H+", "HX", "BD":
		blank(1024, 1536)
	}
	rest = rest[mbrSize:]
	if p.a.GPT != nil && len(bytes.Trim(rest[:gptHeadBlocks*mbrSize-mbrSize], "\x00")) > 0 {
		p.leave("what the system area holds beside the GPT, where the new one has its entries")
		clear(rest[:gptHeadBlocks*mbrSize-mbrSize])
	}
	if len(bytes.Trim(rest, "\x00")) > 0 {
		d.Area = bytes.TrimRight(rest, "\x00")
	}
}

// mbr finds what each partition of the MBR is.
func (p *replayer) mbr(d *Disk) error {
	d.Table, d.EFI, d.Inactive = TableMBR, -1, true
	protective, image := false, false
	for i := range p.a.MBR.Partitions {
		m := &p.a.MBR.Partitions[i]
		switch {
		case m.Type == 0xEE:
			protective = true
		case m.Type == 0 && m.Sectors <= 1:
			d.Active = m.Active
		case p.bootAt(d, m):
		case !image && p.imageAt(d, m):
			image = true
			d.Entry, d.Type, d.ZeroType, d.Inactive = m.Number, m.Type, m.Type == 0, !m.Active
			if d.Entry == 1 {
				d.Entry = 0
			}
		case image && m.Type == 0xCD && int64(m.Start)*mbrSize < p.s.end:
			// What lies between others, as xorriso has it beside a PReP partition.
		default:
			if err := p.appended(m); err != nil {
				return err
			}
		}
	}
	others := 0
	for _, m := range p.a.MBR.Partitions {
		if m.Type != 0xEE && (m.Type != 0 || m.Sectors > 1) {
			others++
		}
	}
	switch {
	case p.a.GPT != nil && protective && others == 0:
		d.Table = TableGPT
	case p.a.GPT != nil:
		d.Table = TableBoth
	}
	if d.Table == TableGPT || !image {
		d.Inactive = false
	}
	if d.Table == TableGPT {
		d.EFI = 0
	} else if others == 0 {
		d.Entry = -1
	} else if !image && others > 0 {
		return tree.Unsupported(p.img.name, "system area: MBR", "none of its %d partitions is the image", others)
	}
	if p.a.GPT != nil {
		d.GUID = p.a.GPT.DiskGUID
	}
	d.Active = d.Active && d.Table == TableGPT
	if d.Table == TableGPT && p.img.isVolume(2*systemSectors) {
		d.Mountable = true
	}
	if d.Mountable && d.Table == TableGPT && efiInTree(p.r) {
		d.Mountable = false
		p.leave("the second set of volume descriptors: the partition of the image itself ends where the one for EFI starts")
	}
	return nil
}

// bootAt reports whether a partition of the MBR is a boot image, and gives that the
// entry.
func (p *replayer) bootAt(d *Disk, m *MBRPartition) bool {
	first := true // for EFI
	for i := range p.r.Boot {
		b := &p.r.Boot[i]
		efi := b.Platform == PlatformEFI && first
		first = first && b.Platform != PlatformEFI
		if int64(p.c.Entries[i].Block)*perSector != int64(m.Start) {
			continue
		}
		switch {
		case efi && d.EFI < 0:
			if d.EFI = m.Number; d.EFI == 2 {
				d.EFI = 0
			}
			if d.EFIType = m.Type; d.EFIType == 0xEF {
				d.EFIType = 0
			}
			return true
		case !efi && b.InImage() && b.Number == 0:
			b.Number, b.Type = m.Number, m.Type
			return true
		}
	}
	return false
}

// imageAt reports whether a partition of the MBR is the image itself: it begins in
// the system area, or is one that can be mounted, and reaches over the files.
func (p *replayer) imageAt(d *Disk, m *MBRPartition) bool {
	start, end := int64(m.Start), int64(m.Start)+int64(m.Sectors)
	mountable := start > 0 && start%perSector == 0 && p.img.isVolume(start/perSector+systemSectors)
	switch {
	case mountable && end*mbrSize >= p.s.end:
		if start > systemSectors*perSector {
			p.leave("the place of partition %d, which is the image: it starts at block %d now, before the EFI image, and not at %d",
				m.Number, systemSectors*perSector, start)
		}
		d.Mountable = true
	case start <= systemSectors*perSector && (end*mbrSize >= p.s.end || end >= p.img.volumeBlocks()-1 || start == 0):
		d.Start = start
		if start == systemSectors*perSector && p.img.isVolume(2*systemSectors) {
			d.Mountable, d.Start = true, 0
		}
	default:
		return false
	}
	return true
}

// appended takes a partition of the MBR that is neither the image nor a boot
// image: one that was appended, often a copy of the EFI image that is a file.
func (p *replayer) appended(m *MBRPartition) error {
	data, size, ok, err := p.content(int64(m.Start), int64(m.Sectors), fmt.Sprintf("system area: MBR: partition %d", m.Number))
	if err != nil {
		return err
	}
	if !ok {
		return tree.Unsupported(p.img.name, "system area: MBR",
			"partition %d of type 0x%02x from sector %d on is neither the image, nor its EFI image, nor appended", m.Number, m.Type,
			m.Start)
	}
	p.r.Appended = append(p.r.Appended, Partition{Data: data, Size: size, Number: m.Number, Type: m.Type})
	return nil
}

// content returns what a partition of so many units of 512 bytes holds that can be
// appended to the new image: it lies behind all files, or is one of them, or in a
// place that nothing else uses. Of others the files would move away.
func (p *replayer) content(start, blocks int64, place string) (data imageRange, size int64, ok bool, err error) {
	at, size := start*mbrSize, blocks*mbrSize
	if start%perSector != 0 || start < systemSectors*perSector || blocks <= 0 {
		return data, 0, false, nil
	}
	if size > p.img.size-at {
		return data, 0, false, p.img.pastEnd(place, at, size)
	}
	i, _ := slices.BinarySearch(p.s.starts, at+1)
	if at < p.s.end && i < len(p.s.starts) && p.s.starts[i] < at+size {
		return data, 0, false, nil
	}
	if f := p.s.files[at]; at < p.s.end && f.path == "" && p.s.within(at) {
		return data, 0, false, nil
	}
	p.s.holds(at, size)
	return imageRange{p.img, at, size}, size, true, nil
}

// gpt finds what each partition of the GPT is.
func (p *replayer) gpt(d *Disk) error {
	img := p.img
	image := false
	parts := slices.Clone(p.a.GPT.Partitions)
	slices.SortStableFunc(parts, func(a, b GPTPartition) int { return cmp.Compare(a.First, b.First) })
	for i := range parts {
		g := &parts[i]
		e := &GPTEntry{Number: g.Number, Type: g.Type, GUID: g.GUID, Flags: g.Flags, Name: g.Name}
		at, size := g.First*mbrSize, (g.Last-g.First+1)*mbrSize
		switch {
		case g.First > g.Last || size > img.size-at:
			return img.pastEnd(fmt.Sprintf("system area: GPT: partition %d", g.Number), at, max(size, 1))
		case p.gptBoot(g, e):
		case g.Type == GUIDHFSPlus:
			p.leave("the HFS+ partition")
		case g.First <= systemSectors*perSector && !image:
			image = true
			d.Image = e
		case isGap(g):
			// What lies between others is in partitions again.
		default:
			data, size, ok, err := p.content(g.First, g.Last-g.First+1, fmt.Sprintf("system area: GPT: partition %d", g.Number))
			if err != nil {
				return err
			}
			if ok {
				p.r.Appended = append(p.r.Appended, Partition{Data: data, Size: size, GPT: e})
				continue
			}
			if g.Type == GUIDBasicData && !strings.HasPrefix(g.Name, "Appended") {
				continue // what lies between others is in partitions again
			}
			return tree.Unsupported(img.name, "system area: GPT",
				"partition %d of type %s is neither the image, nor its EFI image, nor appended", g.Number, g.Type)
		}
	}
	return nil
}

// isGap tells of the partitions that xorriso and this package fill gaps with.
func isGap(g *GPTPartition) bool {
	digits, ok := strings.CutPrefix(g.Name, "Gap")
	return g.Type == GUIDBasicData && (ok && strings.Trim(digits, "0123456789") == "" || g.Name == "ISO9660" || g.Name == "ISOHybrid ISO")
}

// gptBoot reports whether a partition of the GPT is a boot image, or one that is
// appended already, and gives that the entry.
func (p *replayer) gptBoot(g *GPTPartition, e *GPTEntry) bool {
	for i := range p.r.Boot {
		b := &p.r.Boot[i]
		if int64(p.c.Entries[i].Block)*perSector == g.First && b.GPT == nil {
			b.GPT = e
			return true
		}
	}
	for i := range p.r.Appended {
		a := &p.r.Appended[i]
		if r, ok := a.Data.(imageRange); ok && r.at == g.First*mbrSize && a.GPT == nil {
			a.GPT = e
			return true
		}
	}
	return false
}
