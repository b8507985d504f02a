package partition

import (
	"fmt"
	"io"

	"relive/internal/parttable"
	"relive/tree"
)

// Kind is the kind of a table, in libblkid's words.
type Kind string

// The kinds of tables. None is that of a disk without one.
const (
	None Kind = ""
	GPT  Kind = "gpt"
	MBR  Kind = "dos"
)

// Table is a disk's partition table.
type Table struct {
	Kind Kind
	// ID is the disk's identifier: a GUID, or eight hexadecimal digits.
	ID         string
	SectorSize int64 // bytes of a logical sector, in which the table counts
	Partitions []Partition
	// Backup: the primary GPT is damaged, and this is the backup.
	Backup bool
	// Problems are what is wrong with the table without making it unreadable.
	Problems []error
}

// Partition is one entry of a table.
type Partition struct {
	// Number is the partition's, as in the name of its device: from 1, logical
	// ones from 5.
	Number int
	// Start and Size are in bytes. Where Err is nil, Start lies on the disk.
	Start, Size int64
	// Type is a GUID, or "0x" and the type's number in hexadecimal, in lower case.
	Type string
	Name string // of a GPT's entry
	// UUID is the PARTUUID: a GUID, or the disk's ID and the number.
	UUID string
	// Boot: the active flag of an MBR, the legacy boot attribute of a GPT.
	Boot bool
	// Extended: it holds the logical partitions, and nothing else.
	Extended bool
	// Err is why the partition cannot be read, or nil.
	Err error
}

// Read reads the table of a disk of size bytes. sector is the size of a logical
// sector in bytes, 0 where it is not known, as with an image: 512 is taken then,
// or 4096 where a GPT says so. name is what errors call the disk.
//
// A disk without a table gives one of the Kind None. A GPT whose both copies
// are damaged is tree.ErrCorrupt; errors of r are handed on.
func Read(r io.ReaderAt, size int64, sector int, name string) (*Table, error) {
	d := &disk{r: r, size: size, sector: int64(sector), name: name}
	if size < parttable.MBRSize {
		return &Table{SectorSize: max(d.sector, 512)}, nil
	}
	boot := make([]byte, parttable.MBRSize)
	if err := d.read(boot, 0); err != nil {
		return nil, err
	}
	primary, isMBR := decodeMBR(boot)
	if !isMBR {
		return &Table{SectorSize: max(d.sector, 512)}, nil
	}
	for _, e := range primary {
		if e.Type == parttable.TypeProtective {
			return d.readGPT(boot)
		}
	}
	if d.sector == 0 {
		d.sector = 512
	}
	return d.readMBR(boot, primary)
}

// disk is what a table is read from.
type disk struct {
	r      io.ReaderAt
	size   int64
	sector int64
	name   string
}

func (d *disk) read(p []byte, off int64) error {
	if err := tree.ReadFull(d.r, p, off); err != nil {
		return fmt.Errorf("%s: read %d bytes at %d: %w", d.name, len(p), off, err)
	}
	return nil
}

// set returns a partition its place, from sectors.
func (d *disk) set(p *Partition, start, sectors uint64) {
	place := fmt.Sprintf("partition %d", p.Number)
	limit := uint64(1<<63-1) / uint64(d.sector)
	if start > limit || sectors > limit-start {
		p.Err = tree.Corrupt(d.name, place, "%d sectors from sector %d", sectors, start)
		return
	}
	p.Start, p.Size = int64(start)*d.sector, int64(sectors)*d.sector
	if p.Start >= d.size {
		p.Err = tree.Corrupt(d.name, place, "begins at %d, but the disk has only %d bytes", p.Start, d.size)
	}
}

// checkEnds reports partitions that begin on the disk and end past it: of an
// image that was cut short, say. Their file systems tell whether they are whole.
func (d *disk) checkEnds(t *Table) {
	for _, p := range t.Partitions {
		if p.Err == nil && p.Size > d.size-p.Start {
			t.Problems = append(t.Problems, tree.Corrupt(d.name, fmt.Sprintf("partition %d", p.Number),
				"ends at %d, but the disk has only %d bytes", p.Start+p.Size, d.size))
		}
	}
}
