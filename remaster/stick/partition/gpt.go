package partition

import (
	"errors"
	"fmt"
	"hash/crc32"
	"unicode/utf16"

	"relive/tree"
)

// Fields of the header (UEFI 2.10, table 5-5).
const (
	ghSize       = 12
	ghCRC        = 16
	ghThis       = 24
	ghOther      = 32
	ghFirst      = 40
	ghLast       = 48
	ghDiskID     = 56
	ghEntries    = 72
	ghCount      = 80
	ghEntrySize  = 84
	ghEntriesCRC = 88
	ghLen        = 92

	gptMagic = "EFI PART"
)

// Fields of an entry (table 5-6).
const (
	geType       = 0
	geID         = 16
	geFirst      = 32
	geLast       = 40
	geAttributes = 48
	geName       = 56
	geNameUnits  = 36
	geLen        = 128

	// geLegacyBoot is the attribute that stands for the active flag.
	geLegacyBoot = 1 << 2
)

// maxEntries bounds the bytes of all entries, as in Linux.
const maxEntries = 4 << 20

// readGPT reads a GPT: the primary one, or the backup where that is damaged.
func (d *disk) readGPT(boot []byte) (*Table, error) {
	sectors := []int64{d.sector}
	if d.sector == 0 {
		sectors = []int64{512, 4096}
	}
	var first error
	// A damaged primary table of one sector size must not hide a whole one of
	// another, so all primary ones come first.
	for _, sector := range sectors {
		d.sector = sector
		t, err := d.gptAt(1, true)
		if err == nil {
			d.checkEnds(t)
			return t, nil
		}
		if !isFormat(err) {
			return nil, err
		}
		if first == nil {
			first = err
		}
	}
	for _, sector := range sectors {
		d.sector = sector
		t, err := d.gptAt(d.size/sector-1, false)
		if err != nil && !isFormat(err) {
			return nil, err
		}
		if err == nil {
			t.Backup = true
			t.Problems = append(t.Problems, first)
			d.checkEnds(t)
			return t, nil
		}
	}
	// What stands in the MBR beside the protective entry is better than nothing.
	d.sector = sectors[0]
	primary, _ := decodeMBR(boot)
	t, err := d.readMBR(boot, primary)
	if err != nil {
		return nil, err
	}
	var rest []Partition
	for _, p := range t.Partitions {
		if p.Type != "0xee" {
			rest = append(rest, p)
		}
	}
	if len(rest) == 0 {
		return nil, first
	}
	t.Partitions = rest
	t.Problems = append(t.Problems, first)
	return t, nil
}

// gptAt reads the table whose header stands in a sector.
func (d *disk) gptAt(at int64, primary bool) (*Table, error) {
	place := "primary GPT"
	if !primary {
		place = "backup GPT"
	}
	bad := func(fact string, args ...any) (*Table, error) {
		return nil, tree.Corrupt(d.name, place, fact, args...)
	}
	if at < 1 || at >= d.size/d.sector {
		return bad("the disk has only %d bytes", d.size)
	}
	h := make([]byte, d.sector)
	if err := d.read(h, at*d.sector); err != nil {
		return nil, err
	}
	if string(h[:len(gptMagic)]) != gptMagic {
		return bad("there is none in sector %d", at)
	}
	size := int64(le.Uint32(h[ghSize:]))
	if size < ghLen || size > d.sector {
		return bad("a header of %d bytes", size)
	}
	sum := le.Uint32(h[ghCRC:])
	clear(h[ghCRC : ghCRC+4])
	if have := crc32.ChecksumIEEE(h[:size]); have != sum {
		return bad("checksum of the header is %#08x, that of the content %#08x", sum, have)
	}
	if this := le.Uint64(h[ghThis:]); this != uint64(at) {
		return bad("the header in sector %d is made for sector %d", at, this)
	}
	count, entry := uint64(le.Uint32(h[ghCount:])), uint64(le.Uint32(h[ghEntrySize:]))
	if entry < geLen || entry&(entry-1) != 0 || entry > 4096 || count > maxEntries/entry {
		return bad("%d entries of %d bytes", count, entry)
	}
	start := le.Uint64(h[ghEntries:])
	if start < 2 && primary || start > uint64(d.size/d.sector) || count*entry > uint64(d.size)-start*uint64(d.sector) {
		return bad("%d entries of %d bytes from sector %d", count, entry, start)
	}
	entries := make([]byte, count*entry)
	if err := d.read(entries, int64(start)*d.sector); err != nil {
		return nil, err
	}
	if have, sum := crc32.ChecksumIEEE(entries), le.Uint32(h[ghEntriesCRC:]); have != sum {
		return bad("checksum of the entries is %#08x, that of the content %#08x", sum, have)
	}
	t := &Table{Kind: GPT, ID: guid(h[ghDiskID:]), SectorSize: d.sector}
	for i := range count {
		if e := entries[i*entry:][:geLen]; !tree.IsZero(e[geType:][:16]) {
			t.Partitions = append(t.Partitions, d.gptPartition(int(i)+1, e))
		}
	}
	return t, nil
}

// gptPartition decodes an entry that is in use.
func (d *disk) gptPartition(number int, e []byte) Partition {
	p := Partition{
		Number: number,
		Type:   guid(e[geType:]),
		UUID:   guid(e[geID:]),
		Boot:   le.Uint64(e[geAttributes:])&geLegacyBoot != 0,
		Name:   entryName(e[geName:]),
	}
	first, last := le.Uint64(e[geFirst:]), le.Uint64(e[geLast:])
	if last < first || last == 1<<64-1 {
		p.Err = tree.Corrupt(d.name, fmt.Sprintf("partition %d", number), "from sector %d to sector %d", first, last)
		return p
	}
	d.set(&p, first, last-first+1)
	return p
}

// entryName decodes a partition's name.
func entryName(p []byte) string {
	units := make([]uint16, 0, geNameUnits)
	for i := range geNameUnits {
		u := le.Uint16(p[2*i:])
		if u == 0 {
			break
		}
		units = append(units, u)
	}
	return string(utf16.Decode(units))
}

// guid gives the text form of a GUID, whose first three fields are little-endian.
func guid(p []byte) string {
	return fmt.Sprintf("%08x-%04x-%04x-%x-%x", le.Uint32(p), le.Uint16(p[4:]), le.Uint16(p[6:]), p[8:10], p[10:16])
}

// isFormat tells what is wrong with a table from what is wrong with the disk.
func isFormat(err error) bool { return errors.Is(err, tree.ErrCorrupt) }
