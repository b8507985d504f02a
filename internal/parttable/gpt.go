package parttable

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"unicode/utf16"
)

// Lengths in bytes.
const (
	GPTHeaderSize = 92  // of a header's fields; it may be longer
	GPTEntrySize  = 128 // of an entry's fields; entries may be longer
)

// GPTLegacyBoot is the flag of an entry that stands for the MBR's active flag.
const GPTLegacyBoot = 1 << 2

// gptNameUnits is the length of an entry's name in units of UTF-16.
const gptNameUnits = 36

// GUID is a GUID in the order in which GPT stores it.
type GUID [16]byte

// String is the form with hyphens, whose first three parts are little-endian
// numbers.
func (g GUID) String() string {
	le := binary.LittleEndian
	return fmt.Sprintf("%08x-%04x-%04x-%x-%x", le.Uint32(g[0:]), le.Uint16(g[4:]), le.Uint16(g[6:]), g[8:10], g[10:])
}

// GPTHeader is a header (table 5-5). Places are in sectors.
type GPTHeader struct {
	Size        uint32 // bytes that CRC is of
	CRC         uint32
	This        uint64 // where the header says that it stands
	Other       uint64 // where the other header stands
	FirstUsable uint64
	LastUsable  uint64
	DiskGUID    GUID
	Entries     uint64
	EntryCount  uint32
	EntrySize   uint32
	EntriesCRC  uint32
}

// DecodeGPTHeader decodes the sector b, of 512 bytes at least; ok is false where
// no header stands there.
func DecodeGPTHeader(b []byte) (h GPTHeader, ok bool) {
	if string(b[:8]) != "EFI PART" {
		return h, false
	}
	le := binary.LittleEndian
	return GPTHeader{
		Size:        le.Uint32(b[12:]),
		CRC:         le.Uint32(b[16:]),
		This:        le.Uint64(b[24:]),
		Other:       le.Uint64(b[32:]),
		FirstUsable: le.Uint64(b[40:]),
		LastUsable:  le.Uint64(b[48:]),
		DiskGUID:    GUID(b[56:72]),
		Entries:     le.Uint64(b[72:]),
		EntryCount:  le.Uint32(b[80:]),
		EntrySize:   le.Uint32(b[84:]),
		EntriesCRC:  le.Uint32(b[88:]),
	}, true
}

// GPTHeaderCRC is the checksum of the first n bytes of a header, n at least 20
// and at most len(b), in which the checksum's own field counts as zero.
func GPTHeaderCRC(b []byte, n int) uint32 {
	c := crc32.ChecksumIEEE(b[:16])
	c = crc32.Update(c, crc32.IEEETable, make([]byte, 4))
	return crc32.Update(c, crc32.IEEETable, b[20:n])
}

// GPTEntry is an entry in use (table 5-6). Last is part of the partition.
type GPTEntry struct {
	Number      int // from 1
	Type, GUID  GUID
	First, Last uint64
	Flags       uint64
	Name        string
}

// DecodeGPTEntries decodes the entries in use of an array of entries of size
// bytes each, GPTEntrySize at least.
func DecodeGPTEntries(b []byte, size int) []GPTEntry {
	var out []GPTEntry
	le := binary.LittleEndian
	for i := 0; (i+1)*size <= len(b); i++ {
		e := b[i*size:][:GPTEntrySize]
		if GUID(e[:16]) == (GUID{}) {
			continue
		}
		out = append(out, GPTEntry{
			Number: i + 1, Type: GUID(e[:16]), GUID: GUID(e[16:32]),
			First: le.Uint64(e[32:]), Last: le.Uint64(e[40:]), Flags: le.Uint64(e[48:]), Name: gptName(e[56:]),
		})
	}
	return out
}

func gptName(p []byte) string {
	units := make([]uint16, 0, gptNameUnits)
	for i := range gptNameUnits {
		u := binary.LittleEndian.Uint16(p[2*i:])
		if u == 0 {
			break
		}
		units = append(units, u)
	}
	return string(utf16.Decode(units))
}
