package partition

import (
	"errors"
	"fmt"
	"hash/crc32"

	"relive/internal/parttable"
	"relive/tree"
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
	head, ok := parttable.DecodeGPTHeader(h)
	if !ok {
		return bad("there is none in sector %d", at)
	}
	size := int64(head.Size)
	if size < parttable.GPTHeaderSize || size > d.sector {
		return bad("a header of %d bytes", size)
	}
	if have := parttable.GPTHeaderCRC(h, int(size)); have != head.CRC {
		return bad("checksum of the header is %#08x, that of the content %#08x", head.CRC, have)
	}
	if head.This != uint64(at) {
		return bad("the header in sector %d is made for sector %d", at, head.This)
	}
	count, entry := uint64(head.EntryCount), uint64(head.EntrySize)
	if entry < parttable.GPTEntrySize || entry&(entry-1) != 0 || entry > 4096 || count > maxEntries/entry {
		return bad("%d entries of %d bytes", count, entry)
	}
	start := head.Entries
	if start < 2 && primary || start > uint64(d.size/d.sector) || count*entry > uint64(d.size)-start*uint64(d.sector) {
		return bad("%d entries of %d bytes from sector %d", count, entry, start)
	}
	entries := make([]byte, count*entry)
	if err := d.read(entries, int64(start)*d.sector); err != nil {
		return nil, err
	}
	if have := crc32.ChecksumIEEE(entries); have != head.EntriesCRC {
		return bad("checksum of the entries is %#08x, that of the content %#08x", head.EntriesCRC, have)
	}
	t := &Table{Kind: GPT, ID: head.DiskGUID.String(), SectorSize: d.sector}
	for _, e := range parttable.DecodeGPTEntries(entries, int(entry)) {
		t.Partitions = append(t.Partitions, d.gptPartition(e))
	}
	return t, nil
}

// gptPartition is the partition of an entry.
func (d *disk) gptPartition(e parttable.GPTEntry) Partition {
	p := Partition{
		Number: e.Number,
		Type:   e.Type.String(),
		UUID:   e.GUID.String(),
		Boot:   e.Flags&parttable.GPTLegacyBoot != 0,
		Name:   e.Name,
	}
	if e.Last < e.First || e.Last == 1<<64-1 {
		p.Err = tree.Corrupt(d.name, fmt.Sprintf("partition %d", e.Number), "from sector %d to sector %d", e.First, e.Last)
		return p
	}
	d.set(&p, e.First, e.Last-e.First+1)
	return p
}

// isFormat tells what is wrong with a table from what is wrong with the disk.
func isFormat(err error) bool { return errors.Is(err, tree.ErrCorrupt) }
