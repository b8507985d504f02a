package stick

import (
	"fmt"
	"io"
	"sync"

	"relive/remaster/probe"
	"relive/remaster/stick/partition"
	"relive/tree"
)

// Partition is a partition, or a whole disk that holds a file system itself.
type Partition struct {
	// Number is the partition's number in its table, 0 for the whole disk.
	Number int
	// Start and Size are in bytes; the size is the table's, even where the disk
	// ends before.
	Start, Size int64
	Type        string // as in partition.Partition, empty for the whole disk
	Name        string // of a GPT's entry
	PartUUID    string
	Boot        bool
	Extended    bool // holds logical partitions only

	// FileSystem is the kind of what is inside, as blkid calls it ("vfat", "ext4",
	// "iso9660", "crypto_LUKS"), or empty where nothing is known.
	FileSystem string
	// Label and UUID are the file system's, as blkid prints them; FAT's label is
	// of an unknown code page. Empty where there is none.
	Label, UUID string
	// Dirty: a FAT or exFAT that was not unmounted cleanly. (A journal of ext is
	// replayed as it is read.)
	Dirty bool
	// SameAs is the whole disk where this partition shows the same ISO 9660 file
	// system, and nil otherwise.
	SameAs *Partition
	// Err is why Root will fail, where that is known already. Nil does not mean
	// that the file system is whole.
	Err error

	disk    io.ReaderAt
	name    string // of the disk
	content probe.Kind

	mu sync.Mutex
	fs opened
}

func newPartition(r io.ReaderAt, name string, p partition.Partition) *Partition {
	return &Partition{
		Number: p.Number, Start: p.Start, Size: p.Size, Type: p.Type, Name: p.Name, PartUUID: p.UUID,
		Boot: p.Boot, Extended: p.Extended, Err: p.Err,
		disk: r, name: fmt.Sprintf("%s: partition %d", name, p.Number),
	}
}

// shows reports whether the partition shows the ISO 9660 file system of the whole
// disk: from the same first byte, or by descriptors for an offset.
func (p *Partition) shows(whole *Partition) bool {
	return p.content == probe.ISO9660 && (p.Start == 0 || p.UUID == whole.UUID && p.Label == whole.Label && p.UUID != "")
}

// Section returns the bytes of the partition.
func (p *Partition) Section() *io.SectionReader {
	return io.NewSectionReader(p.disk, p.Start, p.Size)
}

// Root opens the file system and gives its root; further calls give the same.
func (p *Partition) Root() (*tree.Node, error) {
	fs, err := p.open()
	return fs.root, err
}

func (p *Partition) open() (opened, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fs.root != nil {
		return p.fs, nil
	}
	if p.Err != nil {
		return opened{}, p.Err
	}
	fs, err := openFileSystem(p.content, p.Section(), p.name)
	if err != nil {
		return opened{}, err
	}
	p.fs = fs
	return fs, nil
}
