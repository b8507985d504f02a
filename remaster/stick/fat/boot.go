package fat

import (
	"encoding/binary"
	"fmt"
	"math/bits"

	"relive/tree"
)

// Fields of the boot sector (FAT: General Overview, "Boot Sector and BPB").
const (
	bsBytesPerSector    = 11
	bsSectorsPerCluster = 13
	bsReserved          = 14
	bsFATs              = 16
	bsRootEntries       = 17
	bsSectors16         = 19
	bsMedia             = 21
	bsFATSectors16      = 22
	bsPerTrack          = 24
	bsHeads             = 26
	bsHidden            = 28
	bsSectors32         = 32
	bsDrive             = 36
	bsState             = 37 // as Linux and Windows use the reserved byte
	bsSignature         = 38
	bsSerial            = 39
	bsLabel             = 43
	bsKind              = 54
	bsMagic             = 510
)

// Fields that FAT32 has from 36 on, where the others have theirs.
const (
	bsFATSectors32 = 36
	bsExtFlags     = 40
	bsVersion      = 42
	bsRootCluster  = 44
	bsInfoSector   = 48
	bsBackup       = 50
	bsDrive32      = 64
	bsState32      = 65
	bsSignature32  = 66
	bsSerial32     = 67
	bsLabel32      = 71
	bsKind32       = 82
)

const (
	bootMagic       = 0xAA55
	extSignature    = 0x29
	extSignatureOld = 0x28 // only the serial number follows
	stateDirty      = 3    // not unmounted, or errors met

	// The highest numbers of clusters, which tell the formats apart: the last
	// values mark bad clusters and the end.
	maxClusters12 = 0xFF4
	maxClusters16 = 0xFFF4
	maxClusters32 = 0xFFFFFF6

	entrySize = 32
)

var le = binary.LittleEndian

// IsFAT reports whether the first 512 bytes of a volume are the boot sector of a
// FAT file system: the parameters must make sense, so that neither a partition
// table nor another system's boot sector is taken for one.
func IsFAT(boot []byte) bool {
	if len(boot) < bootSize {
		return false
	}
	kind, kind32 := string(boot[bsKind:][:8]), string(boot[bsKind32:][:8])
	named := kind[:3] == "FAT" || kind32 == "FAT32   " || kind[:5] == "MSDOS" || kind32[:5] == "MSWIN"
	jumps := boot[0] == 0xEB || boot[0] == 0xE9
	switch {
	case kind == "JFS     ", kind == "HPFS    ", string(boot[3:7]) == "NTFS", IsExFAT(boot):
		return false
	case !named && !(jumps && le.Uint16(boot[bsMagic:]) == bootMagic):
		return false
	}
	_, fact := geometryOf(boot)
	return fact == ""
}

// decodeBoot reads the geometry of a FAT file system in size bytes.
func decodeBoot(name string, boot []byte, size int64) (volume, error) {
	v, fact := geometryOf(boot)
	if fact != "" {
		return v, tree.Corrupt(name, "boot sector", "%s", fact)
	}
	if v.size > size {
		return v, tree.Corrupt(name, "boot sector", "%d bytes, but the volume has only %d", v.size, size)
	}
	if v.kind == FAT32 && le.Uint16(boot[bsVersion:]) != 0 {
		return v, tree.Unsupported(name, "boot sector", "FAT32 of version %#x", le.Uint16(boot[bsVersion:]))
	}
	return v, nil
}

// geometryOf decodes a boot sector; fact is what makes no sense in it, or empty.
func geometryOf(boot []byte) (v volume, fact string) {
	bad := func(format string, args ...any) (volume, string) { return volume{}, fmt.Sprintf(format, args...) }
	sector := int64(le.Uint16(boot[bsBytesPerSector:]))
	if sector < 512 || sector > 4096 || bits.OnesCount64(uint64(sector)) != 1 {
		return bad("sectors of %d bytes", sector)
	}
	perCluster := int64(boot[bsSectorsPerCluster])
	if bits.OnesCount64(uint64(perCluster)) != 1 {
		return bad("%d sectors in a cluster", perCluster)
	}
	if m := boot[bsMedia]; m != 0xF0 && m < 0xF8 {
		return bad("media type %#x", m)
	}
	reserved, fats := int64(le.Uint16(boot[bsReserved:])), int64(boot[bsFATs])
	if reserved == 0 || fats == 0 {
		return bad("%d reserved sectors, %d tables", reserved, fats)
	}
	sectors := int64(le.Uint16(boot[bsSectors16:]))
	if sectors == 0 {
		sectors = int64(le.Uint32(boot[bsSectors32:]))
	}
	fatSectors, wide := int64(le.Uint16(boot[bsFATSectors16:])), false
	if fatSectors == 0 {
		fatSectors, wide = int64(le.Uint32(boot[bsFATSectors32:])), true
	}
	entries := int64(le.Uint16(boot[bsRootEntries:]))
	if entries*entrySize%sector != 0 {
		return bad("a root of %d entries, which is no number of whole sectors", entries)
	}
	if wide == (entries != 0) {
		return bad("a root of %d entries and tables of %d sectors do not go together", entries, fatSectors)
	}
	meta := reserved + fats*fatSectors + entries*entrySize/sector
	if fatSectors == 0 || meta >= sectors {
		return bad("%d sectors, of which tables and root take %d", sectors, meta)
	}
	v = volume{
		size:        sectors * sector,
		clusterBits: uint(bits.TrailingZeros64(uint64(sector * perCluster))),
		heap:        meta * sector,
		fat:         reserved * sector,
	}
	clusters := (sectors - meta) / perCluster
	var limit, inTable int64
	switch {
	case wide:
		v.kind, limit, inTable = FAT32, maxClusters32, fatSectors*sector/4
	case clusters <= maxClusters12:
		v.kind, limit, inTable = FAT12, maxClusters12, fatSectors*sector*2/3
	default:
		v.kind, limit, inTable = FAT16, maxClusters16, fatSectors*sector/2
	}
	// Linux lets the table bound the heap, and so it is here.
	clusters = min(clusters, inTable-firstCluster)
	if clusters < 1 || clusters > limit {
		return bad("%d clusters in %s", clusters, v.kind)
	}
	v.clusters = uint32(clusters)
	if !wide {
		v.rootOffset, v.rootEntries = v.heap-entries*entrySize, int(entries)
		if s := boot[bsSignature]; s == extSignature || s == extSignatureOld {
			v.serial = le.Uint32(boot[bsSerial:])
		}
		v.dirty = boot[bsState]&stateDirty != 0
		return v, ""
	}
	v.rootCluster = le.Uint32(boot[bsRootCluster:])
	if !v.valid(v.rootCluster) {
		return bad("the root begins in cluster %d of %d", v.rootCluster, clusters)
	}
	if s := boot[bsSignature32]; s == extSignature || s == extSignatureOld {
		v.serial = le.Uint32(boot[bsSerial32:])
	}
	v.dirty = boot[bsState32]&stateDirty != 0
	// Where the tables do not mirror each other, one of them is the active one.
	if flags := le.Uint16(boot[bsExtFlags:]); flags&0x80 != 0 {
		active := int64(flags & 0xF)
		if active >= fats {
			return bad("table %d of %d is the active one", active, fats)
		}
		v.fat += active * fatSectors * sector
	}
	return v, ""
}
