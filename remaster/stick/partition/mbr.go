package partition

import (
	"fmt"

	"relive/tree"
)

// Fields of an MBR and of the boot records of logical partitions.
const (
	mbrDiskID   = 440
	mbrEntries  = 446
	mbrMagic    = 510
	mbrEntryLen = 16

	meBoot  = 0
	meType  = 4
	meStart = 8
	meCount = 12

	bootMagic = 0xAA55
	bootFlag  = 0x80

	typeProtective = 0xEE
)

// maxLogical bounds the chain of logical partitions, as in Linux.
const maxLogical = 100

// entry is an entry of an MBR, counted in sectors.
type entry struct {
	boot, kind   byte
	start, count uint32
}

// extended tells the types of partitions that hold logical ones.
func (e entry) extended() bool {
	return e.count != 0 && (e.kind == 0x05 || e.kind == 0x0F || e.kind == 0x85)
}

// decodeMBR decodes an MBR; ok is false where it holds no table: without its
// mark, where a flag is neither set nor clear, as in a boot sector, or where there
// is no partition.
func decodeMBR(b []byte) (out [4]entry, ok bool) {
	out, used := decodeEntries(b)
	for _, e := range out {
		if e.boot&^bootFlag != 0 {
			return out, false
		}
	}
	return out, used && le.Uint16(b[mbrMagic:]) == bootMagic
}

// decodeEntries decodes the four entries of a boot record; used tells whether
// any of them is.
func decodeEntries(b []byte) (out [4]entry, used bool) {
	for i := range out {
		p := b[mbrEntries+i*mbrEntryLen:]
		out[i] = entry{p[meBoot], p[meType], le.Uint32(p[meStart:]), le.Uint32(p[meCount:])}
		used = used || out[i].count != 0
	}
	return out, used
}

// readMBR reads the table that the MBR holds, and the logical partitions.
func (d *disk) readMBR(boot []byte, primary [4]entry) (*Table, error) {
	t := &Table{Kind: MBR, ID: fmt.Sprintf("%08x", le.Uint32(boot[mbrDiskID:])), SectorSize: d.sector}
	for i, e := range primary {
		if e.count != 0 {
			d.add(t, i+1, e, uint64(e.start))
		}
	}
	// The kernel follows every extended partition; there should be one at most.
	number := 5
	for _, e := range primary {
		if !e.extended() {
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
func (d *disk) add(t *Table, number int, e entry, start uint64) {
	p := Partition{
		Number:   number,
		Type:     fmt.Sprintf("0x%x", e.kind),
		UUID:     fmt.Sprintf("%s-%02x", t.ID, number),
		Boot:     e.boot == bootFlag,
		Extended: e.extended(),
	}
	d.set(&p, start, uint64(e.count))
	t.Partitions = append(t.Partitions, p)
}

// readLogical follows the chain of boot records in an extended partition. Each
// has an entry for a logical partition, relative to the record itself, and one
// for the next record, relative to the extended partition.
func (d *disk) readLogical(t *Table, ext entry, number *int) error {
	first, size := uint64(ext.start), uint64(ext.count)
	problem := func(at uint64, fact string, args ...any) {
		t.Problems = append(t.Problems, tree.Corrupt(d.name, fmt.Sprintf("boot record of logical partitions at sector %d", at), fact, args...))
	}
	buf := make([]byte, mbrSize)
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
		if le.Uint16(buf[mbrMagic:]) != bootMagic {
			problem(this, "it is none")
			return nil
		}
		entries, _ := decodeEntries(buf)
		var next *entry
		for i, e := range entries {
			if e.extended() {
				if next == nil {
					next = &entries[i]
				}
				continue
			}
			if e.count == 0 {
				continue
			}
			start := this + uint64(e.start)
			if i >= 2 && (uint64(e.start)+uint64(e.count) > thisSize || start+uint64(e.count) > first+size) {
				continue // DR-DOS and others leave garbage there; Linux looks away too
			}
			d.add(t, *number, e, start)
			*number++
		}
		if next == nil {
			return nil
		}
		if uint64(next.start) >= size {
			problem(this, "the next would lie %d sectors into an extended partition of %d", next.start, size)
			return nil
		}
		this, thisSize = first+uint64(next.start), uint64(next.count)
	}
}
