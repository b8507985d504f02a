package parttable

import "encoding/binary"

// MBRSize is the length of an MBR, in bytes.
const MBRSize = 512

// TypeProtective is the type of the partition that stands for a GPT.
const TypeProtective = 0xEE

// MBRActive is the flag of an active partition; all other bits are to be clear.
const MBRActive = 0x80

// Places in an MBR.
const (
	MBRDiskID    = 440 // and the end of the code
	mbrEntries   = 446
	mbrEntrySize = 16
	mbrSignature = 510
)

// MBR is a master boot record, or a boot record of logical partitions.
type MBR struct {
	Signed  bool // it ends in the mark 55 AA
	DiskID  uint32
	Entries [4]MBREntry
}

// MBREntry is an entry; places are in sectors.
type MBREntry struct {
	Boot, Type   byte
	Start, Count uint32
	Zero         bool // all bytes of it are
}

// DecodeMBR decodes MBRSize bytes.
func DecodeMBR(b []byte) MBR {
	le := binary.LittleEndian
	m := MBR{Signed: b[mbrSignature] == 0x55 && b[mbrSignature+1] == 0xAA, DiskID: le.Uint32(b[MBRDiskID:])}
	for i := range m.Entries {
		p := b[mbrEntries+i*mbrEntrySize:][:mbrEntrySize]
		m.Entries[i] = MBREntry{
			Boot: p[0], Type: p[4], Start: le.Uint32(p[8:]), Count: le.Uint32(p[12:]),
			Zero: [mbrEntrySize]byte(p) == [mbrEntrySize]byte{},
		}
	}
	return m
}

// Extended reports whether the entry is of a partition that holds logical ones.
func (e MBREntry) Extended() bool {
	return e.Count != 0 && (e.Type == 0x05 || e.Type == 0x0F || e.Type == 0x85)
}
