package iso

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"unicode/utf16"
)

// GUID is a GUID in the order in which GPT stores it.
type GUID [16]byte

// String is the form with hyphens, whose first three parts are little-endian
// numbers.
func (g GUID) String() string {
	le := binary.LittleEndian
	return fmt.Sprintf("%08x-%04x-%04x-%x-%x", le.Uint32(g[0:]), le.Uint16(g[4:]), le.Uint16(g[6:]), g[8:10], g[10:])
}

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

const (
	gptHeaderSize = 92
	// maxGPTEntries bounds the array; isohybrid makes 208.
	maxGPTEntries = 1024
)

// readGPT reads the table whose header stands at lba, nil where none does.
func (img *Image) readGPT(lba int64) (*GPT, error) {
	place := fmt.Sprintf("GPT header in sector %d of 512 bytes", lba)
	var h [mbrSize]byte
	if err := img.readAt(h[:], lba*mbrSize, place); err != nil {
		return nil, err
	}
	if string(h[:8]) != "EFI PART" {
		return nil, nil
	}
	le := binary.LittleEndian
	g := &GPT{
		LBA:         lba,
		BackupLBA:   int64(le.Uint64(h[32:])),
		FirstUsable: int64(le.Uint64(h[40:])),
		LastUsable:  int64(le.Uint64(h[48:])),
		DiskGUID:    GUID(h[56:72]),
		EntriesLBA:  int64(le.Uint64(h[72:])),
		EntryCount:  int(le.Uint32(h[80:])),
		EntrySize:   int(le.Uint32(h[84:])),
	}
	sum := le.Uint32(h[16:])
	clear(h[16:20])
	g.HeaderValid = le.Uint32(h[12:]) == gptHeaderSize && crc32.ChecksumIEEE(h[:gptHeaderSize]) == sum && le.Uint64(h[24:]) == uint64(lba)
	// Neither need be positive where int has 32 bits.
	if g.EntryCount < 0 || g.EntryCount > maxGPTEntries || g.EntrySize < 128 || g.EntrySize > 4096 || g.EntriesLBA < 2 ||
		g.EntriesLBA > (img.size-int64(g.EntryCount*g.EntrySize))/mbrSize {
		return g, nil
	}
	entries := make([]byte, g.EntryCount*g.EntrySize)
	if err := img.readAt(entries, g.EntriesLBA*mbrSize, place+": entries"); err != nil {
		return nil, err
	}
	g.EntriesValid = crc32.ChecksumIEEE(entries) == le.Uint32(h[88:])
	for i := range g.EntryCount {
		e := entries[i*g.EntrySize:][:128]
		if GUID(e[:16]) == (GUID{}) {
			continue
		}
		g.Partitions = append(g.Partitions, GPTPartition{
			Number: i + 1, Type: GUID(e[:16]), GUID: GUID(e[16:32]), First: int64(le.Uint64(e[32:])), Last: int64(le.Uint64(e[40:])),
			Flags: le.Uint64(e[48:]), Name: gptName(e[56:128]),
		})
	}
	return g, nil
}

func gptName(p []byte) string {
	var u []uint16
	for i := 0; i < len(p); i += 2 {
		c := binary.LittleEndian.Uint16(p[i:])
		if c == 0 {
			break
		}
		u = append(u, c)
	}
	return string(utf16.Decode(u))
}
