package dmmerge

import (
	"encoding/binary"
	"errors"
	"fmt"
	"syscall"

	"relive/tree"
)

// BaseVerdict reports whether a COW belongs to an origin, as far as that can be
// seen.
type BaseVerdict uint8

// The verdicts.
const (
	BaseUnknown BaseVerdict = iota // the COW says nothing about its origin
	BaseSame
	BaseDiffers
)

func (v BaseVerdict) String() string { return [...]string{"unknown", "same", "differs"}[v] }

// MarshalText implements encoding.TextMarshaler.
func (v BaseVerdict) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// BaseCheck is a verdict and what it stands on.
type BaseCheck struct {
	Verdict BaseVerdict `json:"verdict"`
	Reason  string      `json:"reason"`
}

// Fields of the superblock of ext2, ext3 and ext4 (Linux
// Documentation/filesystems/ext4/super.rst), as far as they lie in its first
// sector.
const (
	extOffset      = 1024
	extMagic       = 0x38
	extMagicValue  = 0xef53
	extBlocks      = 0x04
	extBlocksHi    = 0x150
	extIncompat    = 0x60
	extIncompat64  = 0x80
	extLogBlock    = 0x18
	extUUID        = 0x68
	extUUIDEnd     = extUUID + 16
	extSectorBytes = sectorSize
)

// CheckBase compares the superblock of an ext file system in the COW's copy of
// its chunk with that of the origin. A COW names no origin, so there is nothing
// better; where the COW has no copy of the superblock, or it is no ext file
// system, the verdict is BaseUnknown. Entries past the end of the origin make it
// BaseDiffers.
func (d *Device) CheckBase() (BaseCheck, error) {
	if out := d.Outside(); len(out) > 0 {
		return BaseCheck{BaseDiffers, fmt.Sprintf("the origin has %d bytes, but %v", d.size, out[0])}, nil
	}
	if d.limit < extOffset+extSectorBytes || !d.ChangedIn(extOffset, extSectorBytes) {
		return BaseCheck{BaseUnknown, "the COW has no copy of the superblock"}, nil
	}
	var merged, base [extSectorBytes]byte
	if _, err := d.ReadAt(merged[:], extOffset); errors.Is(err, syscall.EIO) && errors.Is(err, tree.ErrCorrupt) {
		return BaseCheck{BaseUnknown, "the COW's copy of the superblock lies past the end of the file"}, nil
	} else if err != nil {
		return BaseCheck{}, err
	}
	if err := tree.ReadFull(d.origin, base[:], extOffset); err != nil {
		return BaseCheck{}, fmt.Errorf("origin of %s: superblock: %w", d.cow.name, err)
	}
	a, b := binary.LittleEndian.Uint16(merged[extMagic:]) == extMagicValue, binary.LittleEndian.Uint16(base[extMagic:]) == extMagicValue
	switch {
	case !a && !b:
		return BaseCheck{BaseUnknown, "no ext file system"}, nil
	case !a:
		return BaseCheck{BaseUnknown, "the origin holds an ext file system, the COW something else"}, nil
	case !b:
		return BaseCheck{BaseDiffers, "the COW belongs to an ext file system, the origin holds none"}, nil
	}
	if ua, ub := merged[extUUID:extUUIDEnd], base[extUUID:extUUIDEnd]; string(ua) != string(ub) {
		return BaseCheck{BaseDiffers, fmt.Sprintf("the COW belongs to the file system %s, the origin holds %s", uuid(ua), uuid(ub))}, nil
	}
	if na, nb := extSize(merged[:]), extSize(base[:]); na != nb {
		return BaseCheck{BaseDiffers, fmt.Sprintf("the COW's file system has %s, that of the origin %s", na, nb)}, nil
	}
	return BaseCheck{BaseSame, "both have the file system " + uuid(base[extUUID:extUUIDEnd])}, nil
}

// extSize is the size of a file system in words.
func extSize(sb []byte) string {
	n := uint64(binary.LittleEndian.Uint32(sb[extBlocks:]))
	if binary.LittleEndian.Uint32(sb[extIncompat:])&extIncompat64 != 0 {
		n |= uint64(binary.LittleEndian.Uint32(sb[extBlocksHi:])) << 32
	}
	return fmt.Sprintf("%d blocks of 2^%d KiB", n, binary.LittleEndian.Uint32(sb[extLogBlock:]))
}

func uuid(b []byte) string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:16])
}
