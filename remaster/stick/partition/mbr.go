package partition

import (
	"fmt"

	"relive/internal/parttable"
	"relive/tree"
)

// maxLogical bounds the chain of logical partitions, as in Linux.
const maxLogical = 100

// decodeMBR decodes an MBR; ok is false where it holds no table: without its
// mark, where a flag is neither set nor clear, as in a boot sector, or where there
// is no partition.
func decodeMBR(b []byte) (out [4]parttable.MBREntry, ok bool) {
	m := parttable.DecodeMBR(b)
	used := false
	for _, e := range m.Entries {
		if e.Boot&^parttable.MBRActive != 0 {
			return m.Entries, false
		}
		used = used || e.Count != 0
	}
	return m.Entries, used && m.Signed
}

// readMBR reads the table that the MBR holds, and the logical partitions.
func (d *disk) readMBR(boot []byte, primary [4]parttable.MBREntry) (*Table, error) {
	t := &Table{Kind: MBR, ID: fmt.Sprintf("%08x", parttable.DecodeMBR(boot).DiskID), SectorSize: d.sector}
	for i, e := range primary {
		if e.Count != 0 {
			d.add(t, i+1, e, uint64(e.Start))
		}
	}
	// The kernel follows every extended partition; there should be one at most.
	number := 5
	for _, e := range primary {
		if !e.Extended() {
			continue
		}
		if err := d.readLogical(t, e, &number); err != nil {
			return nil, err
		}
	}
	d.checkEnds(t)
	return t, nil
}

// add adds an entry whose partition begins at a sector of the disk.
func (d *disk) add(t *Table, number int, e parttable.MBREntry, start uint64) {
	p := Partition{
		Number:   number,
		Type:     fmt.Sprintf("0x%x", e.Type),
		UUID:     fmt.Sprintf("%s-%02x", t.ID, number),
		Boot:     e.Boot == parttable.MBRActive,
		Extended: e.Extended(),
	}
	d.set(&p, start, uint64(e.Count))
	t.Partitions = append(t.Partitions, p)
}

// readLogical follows the chain of boot records in an extended partition. Each
// has an entry for a logical partition, relative to the record itself, and one
// for the next record, relative to the extended partition.
func (d *disk) readLogical(t *Table, ext parttable.MBREntry, number *int) error {
	first, size := uint64(ext.Start), uint64(ext.Count)
	problem := func(at uint64, fact string, args ...any) {
		t.Problems = append(t.Problems, tree.Corrupt(d.name, fmt.Sprintf("boot record of logical partitions at sector %d", at), fact,
			args...))
	}
	buf := make([]byte, parttable.MBRSize)
	seen := map[uint64]bool{}
	for this, thisSize := first, size; ; {
		switch {
		case seen[this]:
			problem(this, "the chain comes back to it")
			return nil
		case len(seen) == maxLogical:
			problem(this, "the chain is longer than %d", maxLogical)
			return nil
		case int64(this) >= d.size/d.sector:
			problem(this, "the disk has only %d sectors", d.size/d.sector)
			return nil
		}
		seen[this] = true
		if err := d.read(buf, int64(this)*d.sector); err != nil {
			return err
		}
		record := parttable.DecodeMBR(buf)
		if !record.Signed {
			problem(this, "it is none")
			return nil
		}
		var next *parttable.MBREntry
		for i, e := range record.Entries {
			if e.Extended() {
				if next == nil {
					next = &record.Entries[i]
				}
				continue
			}
			if e.Count == 0 {
				continue
			}
			start := this + uint64(e.Start)
			if i >= 2 && (uint64(e.Start)+uint64(e.Count) > thisSize || start+uint64(e.Count) > first+size) {
				continue // DR-DOS and others leave garbage there; Linux looks away too
			}
			d.add(t, *number, e, start)
			*number++
		}
		if next == nil {
			return nil
		}
		if uint64(next.Start) >= size {
			problem(this, "the next would lie %d sectors into an extended partition of %d", next.Start, size)
			return nil
		}
		this, thisSize = first+uint64(next.Start), uint64(next.Count)
	}
}
