package iso

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"

	"relive/tree"
)

// Replay gives the recipe by which an image like img is written: its texts and
// time, and all that makes it boot. The boot images that are files of the tree
// are taken from there, by path, so that they may be others or lie elsewhere in
// the new image; those that are not become appended partitions. The time is kept
// because GRUB and kernel arguments may find the volume by the identity that is
// made of it.
//
// left tells of what the new image will lack, in words for a person: partition
// tables of Apple, parts of the system area that are not known. What cannot be
// left out without a loss of content, such as further partitions, is
// tree.ErrUnsupported.
func (img *Image) Replay(ctx context.Context) (r Recipe, left []string, err error) {
	info := img.Info()
	r = Recipe{
		VolumeID: info.VolumeID, SystemID: info.SystemID, VolumeSetID: info.VolumeSetID, Publisher: info.Publisher, Preparer: info.Preparer,
		Application: info.Application, Time: info.Modified, NoJoliet: info.JolietLevel == 0,
	}
	if r.Time == (tree.Time{}) {
		r.Time = info.Created
	}
	c, err := img.ElTorito()
	if err != nil {
		return r, nil, err
	}
	a, err := img.SystemArea()
	if err != nil {
		return r, nil, err
	}
	if c != nil {
		if err := img.replayBoot(ctx, &r, c, a); err != nil {
			return r, nil, err
		}
	}
	if left, err = img.replayDisk(ctx, &r, c, a); err != nil {
		return r, nil, err
	}
	if info.Copyright != "" || info.Abstract != "" || info.Bibliographic != "" {
		left = append(left, "the names of copyright, abstract and bibliographic files in the volume descriptor")
	}
	return r, left, nil
}

// replayBoot finds the boot images of the catalogue.
func (img *Image) replayBoot(ctx context.Context, r *Recipe, c *ElTorito, a *SystemArea) error {
	sectors := []uint32{c.Catalog}
	for _, e := range c.Entries {
		sectors = append(sectors, e.Block)
	}
	paths, err := img.PathsAt(ctx, sectors...)
	if err != nil {
		return err
	}
	r.Catalog = paths[c.Catalog]
	for i, e := range c.Entries {
		if !e.Bootable {
			return tree.Unsupported(img.name, fmt.Sprintf("boot catalogue: entry %d", i+1), "it is marked as not bootable")
		}
		if e.Criteria != nil {
			return tree.Unsupported(img.name, fmt.Sprintf("boot catalogue: entry %d", i+1), "it has selection criteria")
		}
		b := BootImage{
			Path: paths[e.Block], Platform: e.Platform, Emulation: e.Emulation, LoadSegment: e.LoadSegment, SystemType: e.SystemType,
			BootInfo: e.BootInfo != nil, Grub2Info: e.Grub2Info,
		}
		// The size of an EFI image is that of its file, which may change.
		if e.Platform != PlatformEFI {
			b.Sectors = e.Sectors
		}
		if b.Path == "" {
			p, err := img.hiddenBoot(&e, i, a)
			if err != nil {
				return err
			}
			r.Appended = append(r.Appended, p)
			b.Appended, b.BootInfo, b.Grub2Info = len(r.Appended), false, false
			if e.BootInfo != nil || e.Grub2Info {
				return tree.Unsupported(img.name, fmt.Sprintf("boot catalogue: entry %d", i+1), "the boot image in sector %d holds its address, and is no file of the tree", e.Block)
			}
		}
		r.Boot = append(r.Boot, b)
	}
	return nil
}

// hiddenBoot finds a boot image that is no file: its size is that of the
// partition that starts there, or of what firmware loads.
func (img *Image) hiddenBoot(e *BootEntry, i int, a *SystemArea) (Partition, error) {
	start := int64(e.Block) * perSector
	blocks := int64(0)
	if a.GPT != nil {
		for _, p := range a.GPT.Partitions {
			if p.First == start {
				blocks = p.Last - p.First + 1
			}
		}
	}
	if a.MBR != nil {
		for _, p := range a.MBR.Partitions {
			if int64(p.Start) == start {
				blocks = max(blocks, int64(p.Sectors))
			}
		}
	}
	if blocks <= 0 {
		blocks = int64(e.Sectors)
	}
	place := fmt.Sprintf("boot catalogue: entry %d", i+1)
	if blocks <= 0 {
		return Partition{}, tree.Unsupported(img.name, place, "nothing tells how large the boot image in sector %d is", e.Block)
	}
	if blocks > (img.size-start*mbrSize)/mbrSize {
		return Partition{}, img.pastEnd(place, start*mbrSize, blocks*mbrSize)
	}
	return Partition{Data: imageRange{img, start * mbrSize, blocks * mbrSize}, Size: blocks * mbrSize}, nil
}

// imageRange is a part of an image as content.
type imageRange struct {
	img      *Image
	at, size int64
}

// Open implements tree.Data.
func (r imageRange) Open() (tree.Content, error) { return r, nil }

// Size implements tree.Content.
func (r imageRange) Size() int64 { return r.size }

// Close implements tree.Content.
func (r imageRange) Close() error { return nil }

// NextData implements tree.Content.
func (r imageRange) NextData(off int64) (start, end int64, err error) {
	return tree.WholeData(max(off, 0), r.size)
}

// ReadAt implements io.ReaderAt.
func (r imageRange) ReadAt(p []byte, off int64) (int, error) {
	return io.NewSectionReader(r.img.r, r.at, r.size).ReadAt(p, off)
}

// replayDisk finds the disk's code and tables.
func (img *Image) replayDisk(ctx context.Context, r *Recipe, c *ElTorito, a *SystemArea) (left []string, err error) {
	p := make([]byte, systemSectors*sectorSize)
	if err := img.readAt(p, 0, "system area"); err != nil {
		return nil, err
	}
	if a.APM != nil {
		left = append(left, "the Apple partition map")
	}
	if a.MBR == nil {
		if len(bytes.Trim(p, "\x00")) > 0 {
			left = append(left, "the system area, which holds no MBR")
		}
		return left, nil
	}
	d := &Disk{Code: bytes.Clone(p[:mbrDiskID]), Kind: a.MBR.Code, ID: a.MBR.DiskID}
	r.Disk = d
	switch d.Kind {
	case OtherCode:
		left = append(left, "the certainty that a BIOS boots it from a disk: the MBR's code is neither isohybrid's nor GRUB's, and is kept as it is")
	case Isohybrid, GRUB2:
		if c == nil || a.MBR.BootImage != c.Entries[0].Block {
			return nil, tree.Unsupported(img.name, "system area: MBR", "its boot code loads sector %d, which is not the default boot image", a.MBR.BootImage)
		}
	}
	// With an Apple partition map the code starts with the map's mark, which does no
	// harm when it runs; it stays, since what stood there before is not known.
	efi := int64(-1)
	for i := range r.Boot {
		if r.Boot[i].Platform == PlatformEFI {
			efi = int64(c.Entries[i].Block) * perSector
			break
		}
	}
	d.Table = TableMBR
	protective, other := false, false
	for _, m := range a.MBR.Partitions {
		switch {
		case m.Type == 0xEE:
			protective = true
		case m.Type == 0 && m.Sectors <= 1:
			d.Active = m.Active
		case m.Start == 0 || int64(m.Start) == img.partitionOffset():
			other, d.Type, d.ZeroType = true, m.Type, m.Type == 0
		case m.Start == 1 && m.Number == 1 && int64(m.Sectors) >= img.volumeBlocks()-1:
			other, d.Type, d.Behind = true, m.Type, true
		case int64(m.Start) == efi:
			other = true
		case bootAt(r, c, &m):
			other = true
		default:
			other = true
			q, err := img.appendedPartition(ctx, &m)
			if err != nil {
				return nil, err
			}
			r.Appended = append(r.Appended, q)
		}
	}
	switch {
	case a.GPT != nil && protective && !other:
		d.Table = TableGPT
	case a.GPT != nil:
		d.Table = TableBoth
	}
	if a.GPT != nil {
		d.GUID = a.GPT.DiskGUID
	}
	d.Active = d.Active && d.Table == TableGPT
	d.Mountable = img.partitionOffset() > 0
	if d.Mountable && d.Table == TableGPT && efiInTree(r) {
		d.Mountable = false
		left = append(left, "the second set of volume descriptors: the partition of the image itself ends where the one for EFI starts")
	}
	if a.GPT != nil {
		appended := map[int64]bool{efi: true}
		for _, m := range a.MBR.Partitions {
			appended[int64(m.Start)] = m.Start > 0 && int64(m.Start) != img.partitionOffset()
		}
		for _, g := range a.GPT.Partitions {
			// xorriso names partitions that it appended so, whatever their type.
			if !appended[g.First] && (g.Type != GUIDBasicData && g.Type != GUIDHFSPlus || strings.HasPrefix(g.Name, "Appended")) {
				return nil, tree.Unsupported(img.name, "system area: GPT", "partition %d of type %s is neither the image nor its EFI image", g.Number, g.Type)
			}
			if g.Type == GUIDHFSPlus {
				left = append(left, "the HFS+ partition")
			}
		}
	}
	return left, nil
}

// bootAt tells whether a partition of the MBR is a boot image that is a file, and
// gives that the entry.
func bootAt(r *Recipe, c *ElTorito, m *MBRPartition) bool {
	for i := range r.Boot {
		if b := &r.Boot[i]; b.Path != "" && b.Number == 0 && m.Number > 1 && int64(c.Entries[i].Block)*perSector == int64(m.Start) {
			b.Number, b.Type = m.Number, m.Type
			return true
		}
	}
	return false
}

// appendedPartition gives the content of a partition of the MBR that is neither
// the image nor its EFI image: one that was appended, often a copy of the EFI
// image that is a file.
func (img *Image) appendedPartition(ctx context.Context, m *MBRPartition) (Partition, error) {
	place := "system area: MBR"
	refused := tree.Unsupported(img.name, place, "partition %d of type 0x%02x from sector %d on is neither the image, nor its EFI image, nor appended", m.Number, m.Type, m.Start)
	if m.Number == 1 || m.Start%perSector != 0 || m.Sectors == 0 {
		return Partition{}, refused
	}
	at, size := int64(m.Start)*mbrSize, int64(m.Sectors)*mbrSize
	if size > img.size-at {
		return Partition{}, img.pastEnd(place, at, size)
	}
	// It lies behind all files; else it is a part of the image, and moves with it.
	root, err := img.Root()
	if err != nil {
		return Partition{}, err
	}
	err = tree.Walk(ctx, root, func(_ string, n *tree.Node) error {
		extents, _ := Extents(n)
		for _, e := range extents {
			if at < e.Offset+e.Length {
				return refused
			}
		}
		return nil
	})
	return Partition{Data: imageRange{img, at, size}, Size: size, Number: m.Number, Type: m.Type}, err
}

// volumeBlocks is the size of the volume in units of 512 bytes.
func (img *Image) volumeBlocks() int64 { return img.Info().VolumeSize / mbrSize }

// efiInTree tells whether the partition for EFI is a file of the tree.
func efiInTree(r *Recipe) bool {
	for _, b := range r.Boot {
		if b.Platform == PlatformEFI {
			return b.Path != ""
		}
	}
	return false
}

// partitionOffset is where the partition of the image itself starts, in units of
// 512 bytes, if it has volume descriptors of its own (xorriso
// -partition_offset); else 0.
func (img *Image) partitionOffset() int64 {
	var p [8]byte
	const at = 2 * systemSectors * sectorSize
	if img.size < at+sectorSize || tree.ReadFull(img.r, p[:6], at) != nil || p[0] != typePrimary || string(p[1:6]) != standardID {
		return 0
	}
	return systemSectors * perSector
}
