package iso

import (
	"bytes"
	"encoding/binary"

	"relive/internal/parttable"
)

// SystemArea is what the first 16 sectors of an image hold for firmware that
// takes it for a disk (ECMA-119 6.2.1 leaves them free; libisofs
// doc/boot_sectors.txt). Numbers of sectors are in units of 512 bytes.
type SystemArea struct {
	MBR *MBR // nil without
	// GPT and BackupGPT are the partition tables of UEFI at the start and at the
	// end; nil without.
	GPT, BackupGPT *GPT
	APM            *APM // Apple partition map, nil without
}

// MBR is a master boot record.
type MBR struct {
	Code MBRCode
	// BootImage is the sector, of 2048 bytes, of the boot image that isohybrid's
	// or GRUB's code loads; 0 with other code.
	BootImage  uint32
	DiskID     uint32
	Partitions []MBRPartition
}

// MBRCode tells what starts from an MBR.
type MBRCode uint8

// Kinds of code in an MBR.
const (
	NoCode    MBRCode = iota // zeros
	OtherCode                // not known
	Isohybrid                // ISOLINUX's isohdpfx and its kin
	GRUB2                    // GRUB's boot.img, set to load from the image
)

func (c MBRCode) String() string {
	return [...]string{"none", "unknown", "isohybrid", "GRUB 2"}[c]
}

// MBRPartition is a used entry of an MBR.
type MBRPartition struct {
	Number  int // 1 to 4
	Active  bool
	Type    uint8 // 0x17 hidden NTFS as isohybrid takes it, 0xEF EFI, 0xEE GPT, 0xCD ISO; isohybrid may leave 0
	Start   uint32
	Sectors uint32
}

// Places in an MBR.
const (
	mbrBootImage  = 432 // eight bytes: address of the boot image in units of 512 bytes
	mbrDiskID     = 440
	mbrPartitions = 446
	mbrSignature  = 510
	mbrSize       = 512
)

// SystemArea reads the system area and the backup of its GPT.
func (img *Image) SystemArea() (*SystemArea, error) {
	p := make([]byte, systemSectors*sectorSize)
	if err := img.readAt(p, 0, "system area"); err != nil {
		return nil, err
	}
	a := &SystemArea{MBR: decodeMBR(p), APM: decodeAPM(p)}
	var err error
	if a.GPT, err = img.readGPT(1); err != nil || a.GPT == nil {
		return a, err
	}
	if at := a.GPT.BackupLBA; at > 1 && at < img.size/mbrSize {
		a.BackupGPT, err = img.readGPT(at)
	}
	return a, err
}

func decodeMBR(p []byte) *MBR {
	table := parttable.DecodeMBR(p)
	if !table.Signed {
		return nil
	}
	m := &MBR{Code: OtherCode, DiskID: table.DiskID}
	code := p[:parttable.MBRDiskID]
	at := binary.LittleEndian.Uint64(p[mbrBootImage:])
	switch {
	case len(bytes.Trim(code, "\x00")) == 0:
		m.Code = NoCode
	case bytes.Contains(code, []byte("isolinux.bin missing or corrupt")):
		m.Code = Isohybrid
		if at/4 <= 1<<32-1 {
			m.BootImage = uint32(at / 4)
		}
	case bytes.Contains(code, []byte("GRUB ")) && at > 4 && at%4 == 0 && at/4 <= 1<<32:
		// boot.img loads what follows the first sector of the boot image.
		m.Code, m.BootImage = GRUB2, uint32(at/4-1)
	}
	for i, e := range table.Entries {
		if !e.Zero {
			m.Partitions = append(m.Partitions, MBRPartition{
				Number: i + 1, Active: e.Boot == parttable.MBRActive, Type: e.Type, Start: e.Start, Sectors: e.Count,
			})
		}
	}
	return m
}

// APM is an Apple partition map (Inside Macintosh: Devices, chapter 3).
type APM struct {
	BlockSize  int // bytes
	Partitions []APMPartition
}

// APMPartition is an entry of an Apple partition map; it is in blocks of the map.
type APMPartition struct {
	Name, Type    string
	Start, Blocks uint32
}

// decodeAPM decodes the map that starts with "ER", which stands in an MBR's
// code where it does no harm.
func decodeAPM(p []byte) *APM {
	be := binary.BigEndian
	if string(p[:2]) != "ER" {
		return nil
	}
	a := &APM{BlockSize: int(be.Uint16(p[2:]))}
	if a.BlockSize < 512 || a.BlockSize%512 != 0 {
		return nil
	}
	for at, n := a.BlockSize, 1; n > 0 && at+a.BlockSize <= len(p) && string(p[at:at+2]) == "PM"; at += a.BlockSize {
		if len(a.Partitions) == 0 {
			n = int(min(be.Uint32(p[at+4:]), uint32(len(p)/512)))
		}
		n--
		a.Partitions = append(a.Partitions, APMPartition{
			Name: cstring(p[at+16 : at+48]), Type: cstring(p[at+48 : at+80]), Start: be.Uint32(p[at+8:]), Blocks: be.Uint32(p[at+12:]),
		})
	}
	if len(a.Partitions) == 0 {
		return nil
	}
	return a
}

// cstring is a field that a NUL ends.
func cstring(p []byte) string {
	if i := bytes.IndexByte(p, 0); i >= 0 {
		p = p[:i]
	}
	return string(p)
}
