package iso

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"strings"

	"relive/tree"
)

// Replay returns the recipe by which an image like img is written: its texts and
// times, the identifiers of its plain name space, and all that makes it boot. The
// boot images that are files of the tree are taken from there, by path, so that
// they may be others or lie elsewhere in the new image; those that are not lie
// hidden among the files again, or become appended partitions where they lie
// behind them. The time is kept because GRUB and kernel arguments may find the
// volume by the identity that is made of it.
//
// left tells of what the new image will lack, in words for a person: partition
// tables of Apple, parts of the system area that are not known, files that the
// tree does not show. What cannot be left out without a loss that nobody could
// judge, such as further partitions, is tree.ErrUnsupported.
func (img *Image) Replay(ctx context.Context) (r Recipe, left []string, err error) {
	info := img.Info()
	r = Recipe{
		VolumeID: info.VolumeID, SystemID: info.SystemID, VolumeSetID: info.VolumeSetID, Publisher: info.Publisher, Preparer: info.Preparer,
		Application: info.Application, Copyright: info.Copyright, Abstract: info.Abstract, Bibliographic: info.Bibliographic,
		Time: info.Modified, Expires: info.Expires, Effective: info.Effective, NoJoliet: info.JolietLevel == 0,
	}
	r.Zone = zoneOf(img.set.primary.raw[vdModified:])
	switch {
	case r.Time == (tree.Time{}):
		r.Time, r.Zone = info.Created, zoneOf(img.set.primary.raw[vdCreated:])
	case info.Created != r.Time:
		r.Created = info.Created
	}
	s, err := img.survey(ctx)
	if err != nil {
		return r, nil, err
	}
	r.Plain, r.Untranslated, r.LongJoliet = s.plain, s.untranslated, s.longJoliet
	c, err := img.ElTorito()
	if err != nil {
		return r, nil, err
	}
	a, err := img.SystemArea()
	if err != nil {
		return r, nil, err
	}
	p := &replayer{img: img, r: &r, c: c, a: a, s: s}
	if c != nil {
		s.add(int64(c.Catalog)*sectorSize, sectorSize)
		if err := p.boot(); err != nil {
			return r, nil, err
		}
	}
	if err := p.disk(); err != nil {
		return r, nil, err
	}
	for _, g := range []*GPT{a.GPT, a.BackupGPT} {
		if g != nil {
			s.holds(g.LBA*mbrSize, mbrSize)
			s.holds(g.EntriesLBA*mbrSize, int64(g.EntryCount)*int64(g.EntrySize))
		}
	}
	left = append(p.left, img.unseen(s)...)
	n, tags, err := img.unnamed(ctx, s)
	if err != nil {
		return r, nil, err
	}
	if tags {
		left = append(left, "the MD5 sums that xorriso keeps of files and sessions")
	}
	if n > 0 {
		left = append(left, fmt.Sprintf("%d bytes that no file, table or catalogue names, as former sessions and hidden parts are", n))
	}
	return r, left, nil
}

// unseen tells of what an image holds that its tree does not show.
func (img *Image) unseen(s *survey) (left []string) {
	tell := func(n int, what string) {
		if n > 0 {
			left = append(left, fmt.Sprintf(what, n))
		}
	}
	if len(s.others) > 0 {
		other := Joliet
		if img.names == Joliet {
			other = Plain
		}
		left = append(left, fmt.Sprintf("%d files that the names of %s alone show: %s", len(s.others), other, examples(s.others)))
	}
	if s.joliet != nil {
		left = append(left, fmt.Sprintf("what Joliet's names alone may show, which cannot be read (%v)", s.joliet))
	}
	tell(s.associated, "%d associated files, such as Apple's resource forks")
	tell(s.hidden, "the mark that hides %d files from old systems")
	tell(s.attributes, "the extended attribute records of %d files (ECMA-119 9.5)")
	left = append(left, img.set.unknown...)
	area := img.set.primary.raw[vdAppUse:][:vdAppUseSize]
	if text := strings.Trim(string(area), " \x00"); text != "" && !strings.Contains(text, "ISO MD5SUM") {
		what := "the application's part of the volume descriptor"
		if strings.Contains(strings.ToUpper(text), "SUM=") || strings.Contains(strings.ToUpper(text), "SUM =") {
			what = "the checksum that openSUSE's checkmedia verifies, in the volume descriptor"
		}
		left = append(left, what)
	}
	if n := binary.LittleEndian.Uint16(img.set.primary.raw[120:]); n > 1 {
		left = append(left, fmt.Sprintf("the set of %d volumes that it belongs to", n))
	}
	return left
}

// replayer makes the part of a recipe that is about booting.
type replayer struct {
	img  *Image
	r    *Recipe
	c    *ElTorito // nil without
	a    *SystemArea
	s    *survey
	left []string
}

func (p *replayer) leave(what string, args ...any) {
	p.left = append(p.left, fmt.Sprintf(what, args...))
}

// boot finds the boot images of the catalogue.
func (p *replayer) boot() error {
	img, r := p.img, p.r
	r.Catalog, r.CatalogID = p.s.files[int64(p.c.Catalog)*sectorSize].path, p.c.ID
	if p.c.Record != systemSectors+1 {
		p.leave("the place of the boot record in sector %d: it is in sector 17 now, where firmware looks for it", p.c.Record)
	}
	for i := range p.c.Entries {
		// Each ends where the next begins at the latest.
		p.s.starts = append(p.s.starts, int64(p.c.Entries[i].Block)*sectorSize)
	}
	p.s.sort()
	hidden := map[uint32]int{}
	for i := range p.c.Entries {
		e := &p.c.Entries[i]
		place := fmt.Sprintf("boot catalogue: entry %d", i+1)
		if e.Criteria != nil {
			return tree.Unsupported(img.name, place, "it has selection criteria")
		}
		f := p.s.files[int64(e.Block)*sectorSize]
		b := BootImage{
			Path: f.path, Platform: e.Platform, Section: e.Section, NotBootable: !e.Bootable, Emulation: e.Emulation,
			MediaFlags:  e.MediaFlags,
			LoadSegment: e.LoadSegment, SystemType: e.SystemType, BootInfo: e.BootInfo != nil, Grub2Info: e.Grub2Info,
		}
		size := f.size
		if b.Path == "" {
			at, length, err := p.hidden(e, place)
			if err != nil {
				return err
			}
			size = length
			p.s.holds(at, length)
			data := imageRange{img, at, length}
			if n, twice := hidden[e.Block]; twice {
				b.Appended = n
			}
			if at < p.s.end || b.BootInfo || b.Grub2Info {
				b.Hidden, b.Size = data, length
			} else if b.Appended == 0 {
				r.Appended = append(r.Appended, Partition{Data: data, Size: length})
				b.Appended = len(r.Appended)
				hidden[e.Block] = b.Appended
			}
		}
		b.load(e.Sectors, size)
		r.Boot = append(r.Boot, b)
	}
	return nil
}

// load keeps how many sectors firmware loads of an image of size bytes. What is
// its whole size follows it when it changes.
func (b *BootImage) load(sectors uint16, size int64) {
	all := (size + mbrSize - 1) / mbrSize
	switch {
	case b.Platform == PlatformEFI:
		// The size of an EFI image is that of its file, which may change.
	case sectors == 0:
		b.SectorsNone = true
	case int64(sectors) == all && all != 4:
		b.SectorsAll = true
	default:
		b.Sectors = sectors
	}
}

// hidden finds a boot image that is no file: its size is that of the partition
// that starts there, or what its boot information table, its file system or its
// emulation says. Where nothing tells, all goes along up to what comes next, since
// a loader may read more of itself than firmware loads.
func (p *replayer) hidden(e *BootEntry, place string) (at, size int64, err error) {
	img := p.img
	at = int64(e.Block) * sectorSize
	room := p.s.next(img, at) - at
	if room <= 0 {
		return 0, 0, img.pastEnd(place, at, sectorSize)
	}
	start := at / mbrSize
	blocks := int64(0)
	if p.a.GPT != nil {
		for _, g := range p.a.GPT.Partitions {
			if g.First == start {
				blocks = g.Last - g.First + 1
			}
		}
	}
	if p.a.MBR != nil {
		for _, m := range p.a.MBR.Partitions {
			if int64(m.Start) == start && start > 0 {
				blocks = max(blocks, int64(m.Sectors))
			}
		}
	}
	if size = blocks * mbrSize; size > 0 {
		if size > img.size-at {
			return 0, 0, img.pastEnd(place, at, size)
		}
		return at, size, nil
	}
	if b := e.BootInfo; b != nil && int64(b.Length) <= room {
		return at, max(int64(b.Length), 1), nil
	}
	head := make([]byte, min(mbrSize, room))
	if err := img.readAt(head, at, place); err != nil {
		return 0, 0, err
	}
	diskettes := []int64{0, 1200 << 10, 1440 << 10, 2880 << 10}
	if int(e.Emulation) < len(diskettes) {
		size = diskettes[e.Emulation]
	}
	if fat := fatSize(head); size == 0 && fat > 0 {
		size = fat
	}
	if size > 0 && size <= room {
		return at, size, nil
	}
	size, err = img.contentEnd(at, room, place)
	if err != nil {
		return 0, 0, err
	}
	size = min(max(size, int64(e.Sectors)*mbrSize), room)
	if size == 0 {
		return 0, 0, tree.Unsupported(img.name, place, "the boot image in sector %d is no file and holds zeros alone", e.Block)
	}
	return at, size, nil
}

// fatSize is the size in bytes that the boot sector of a FAT file system tells
// of, 0 for what is none (Microsoft's FAT specification, section 3.1).
func fatSize(b []byte) int64 {
	le := binary.LittleEndian
	if len(b) < mbrSize || b[mbrSignature] != 0x55 || b[mbrSignature+1] != 0xAA || b[0] != 0xEB && b[0] != 0xE9 {
		return 0
	}
	sector, clusters := int64(le.Uint16(b[11:])), b[13]
	if sector < 512 || sector > 4096 || sector&(sector-1) != 0 || clusters == 0 || clusters&(clusters-1) != 0 || b[16] == 0 || b[16] > 2 {
		return 0
	}
	if n := int64(le.Uint16(b[19:])); n > 0 {
		return n * sector
	}
	return int64(le.Uint32(b[32:])) * sector
}

// contentEnd returns how many of the bytes from an offset on are to be kept so that
// nothing but zeros is left out.
func (img *Image) contentEnd(at, length int64, place string) (int64, error) {
	buf := make([]byte, 64<<10)
	end := int64(0)
	for off := int64(0); off < length; off += int64(len(buf)) {
		b := buf[:min(int64(len(buf)), length-off)]
		if err := img.readAt(b, at+off, place); err != nil {
			return 0, err
		}
		if n := len(bytes.TrimRight(b, "\x00")); n > 0 {
			end = off + int64(n)
		}
	}
	return min(length, (end+mbrSize-1)/mbrSize*mbrSize), nil
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

// volumeBlocks is the size of the volume in units of 512 bytes.
func (img *Image) volumeBlocks() int64 { return img.Info().VolumeSize / mbrSize }

// efiInTree reports whether the partition for EFI lies among the files.
func efiInTree(r *Recipe) bool {
	for i := range r.Boot {
		if r.Boot[i].Platform == PlatformEFI {
			return r.Boot[i].InImage()
		}
	}
	return false
}
