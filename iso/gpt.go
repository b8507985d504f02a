package iso

import (
	"fmt"
	"hash/crc32"

	"relive/internal/parttable"
)

// GUID is a GUID in the order in which GPT stores it.
type GUID [16]byte

// String is the form with hyphens, whose first three parts are little-endian
// numbers.
func (g GUID) String() string { return parttable.GUID(g).String() }

// Types of GPT partitions.
var (
	GUIDBasicData = GUID{0xa2, 0xa0, 0xd0, 0xeb, 0xe5, 0xb9, 0x33, 0x44, 0x87, 0xc0, 0x68, 0xb6, 0xb7, 0x26, 0x99, 0xc7}
	GUIDEFISystem = GUID{0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11, 0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b}
	GUIDHFSPlus   = GUID{0x00, 0x53, 0x46, 0x48, 0x00, 0x00, 0xaa, 0x11, 0xaa, 0x11, 0x00, 0x30, 0x65, 0x43, 0xec, 0xac}
)

// GPT is a GUID partition table (UEFI 2.10, 5.3). LBAs are in units of 512
// bytes.
type GPT struct {
	LBA         int64 // where this header stands
	BackupLBA   int64 // where it says that the other one stands
	FirstUsable int64
	LastUsable  int64
	DiskGUID    GUID
	EntriesLBA  int64
	EntryCount  int
	EntrySize   int // bytes
	// HeaderValid and EntriesValid tell whether the checksums are right.
	HeaderValid, EntriesValid bool
	Partitions                []GPTPartition
}

// GPTPartition is a used entry.
type GPTPartition struct {
	Number     int // from 1
	Type, GUID GUID
	First      int64
	Last       int64 // part of it
	Flags      uint64
	Name       string
}

// maxGPTEntries bounds the array; isohybrid makes 208.
const maxGPTEntries = 1024

// readGPT reads the table whose header stands at lba, nil where none does.
func (img *Image) readGPT(lba int64) (*GPT, error) {
	place := fmt.Sprintf("GPT header in sector %d of 512 bytes", lba)
	var h [mbrSize]byte
	if err := img.readAt(h[:], lba*mbrSize, place); err != nil {
		return nil, err
	}
	head, ok := parttable.DecodeGPTHeader(h[:])
	if !ok {
		return nil, nil
	}
	g := &GPT{
		LBA:         lba,
		BackupLBA:   int64(head.Other),
		FirstUsable: int64(head.FirstUsable),
		LastUsable:  int64(head.LastUsable),
		DiskGUID:    GUID(head.DiskGUID),
		EntriesLBA:  int64(head.Entries),
		EntryCount:  int(head.EntryCount),
		EntrySize:   int(head.EntrySize),
	}
	g.HeaderValid = head.Size == parttable.GPTHeaderSize && head.CRC == parttable.GPTHeaderCRC(h[:], parttable.GPTHeaderSize) &&
		head.This == uint64(lba)
	// Neither need be positive where int has 32 bits.
	if g.EntryCount < 0 || g.EntryCount > maxGPTEntries || g.EntrySize < parttable.GPTEntrySize || g.EntrySize > 4096 || g.EntriesLBA < 2 ||
		g.EntriesLBA > (img.size-int64(g.EntryCount*g.EntrySize))/mbrSize {
		return g, nil
	}
	entries := make([]byte, g.EntryCount*g.EntrySize)
	if err := img.readAt(entries, g.EntriesLBA*mbrSize, place+": entries"); err != nil {
		return nil, err
	}
	g.EntriesValid = crc32.ChecksumIEEE(entries) == head.EntriesCRC
	for _, e := range parttable.DecodeGPTEntries(entries, g.EntrySize) {
		g.Partitions = append(g.Partitions, GPTPartition{
			Number: e.Number, Type: GUID(e.Type), GUID: GUID(e.GUID), First: int64(e.First), Last: int64(e.Last), Flags: e.Flags,
			Name: e.Name,
		})
	}
	return g, nil
}
