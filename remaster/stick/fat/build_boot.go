package fat

// Fields of the sector that counts free clusters (FAT: General Overview, "FAT32
// FSInfo Sector Structure").
const (
	fiLead      = 0
	fiStructure = 484
	fiFree      = 488
	fiNext      = 492
	fiTrail     = 508

	fiLeadMagic      = 0x41615252
	fiStructureMagic = 0x61417272
	fiTrailMagic     = 0xAA550000
)

// Places in the reserved sectors of a new FAT32.
const (
	newInfoSector   = 1
	newBackupSector = 6
)

// newMedia is the media type of a new file system: a disk.
const newMedia = 0xF8

// noBoot is the code of a volume that does not boot: it tells BIOS to try the
// next device.
var noBoot = [...]byte{0xCD, 0x18, 0xF4, 0xEB, 0xFD} // int 18h; hlt; jmp to it

// freshHead makes the reserved sectors of a new file system.
func (img *image) freshHead(o BuildOptions, label shortForm, root, free uint32) {
	g := &img.geometry
	img.media = newMedia
	boot := make([]byte, g.sector)
	copy(boot[3:], "MSWIN4.1") // which the specification recommends
	le.PutUint16(boot[bsBytesPerSector:], uint16(g.sector))
	le.PutUint16(boot[bsReserved:], uint16(g.reserved))
	boot[bsFATs], boot[bsMedia] = byte(g.fats), newMedia
	perTrack, heads := cylinders(g.total)
	le.PutUint16(boot[bsPerTrack:], perTrack)
	le.PutUint16(boot[bsHeads:], heads)
	le.PutUint32(boot[bsHidden:], o.Hidden)
	le.PutUint16(boot[bsMagic:], bootMagic)
	if o.Label == "" {
		copy(label[:], "NO NAME    ")
	}
	if g.kind == FAT32 {
		boot[0], boot[1], boot[2] = 0xEB, 0x58, 0x90
		le.PutUint16(boot[bsInfoSector:], newInfoSector)
		le.PutUint16(boot[bsBackup:], newBackupSector)
		boot[bsDrive32], boot[bsSignature32] = 0x80, extSignature
		le.PutUint32(boot[bsSerial32:], o.Serial)
		copy(boot[bsLabel32:], label[:])
		copy(boot[bsKind32:], "FAT32   ")
		copy(boot[bsKind32+8:], noBoot[:])
	} else {
		boot[0], boot[1], boot[2] = 0xEB, 0x3C, 0x90
		boot[bsDrive], boot[bsSignature] = 0x80, extSignature
		le.PutUint32(boot[bsSerial:], o.Serial)
		copy(boot[bsLabel:], label[:])
		copy(boot[bsKind:], g.kind+"   ")
		copy(boot[bsKind+8:], noBoot[:])
	}
	g.put(boot, root)
	if g.kind != FAT32 {
		img.addHead(segment{mem: boot, length: g.sector})
	} else {
		info := make([]byte, g.sector)
		le.PutUint32(info[fiLead:], fiLeadMagic)
		le.PutUint32(info[fiStructure:], fiStructureMagic)
		le.PutUint32(info[fiTrail:], fiTrailMagic)
		img.putCount(info, free)
		third := make([]byte, g.sector) // of the boot record, which has three
		le.PutUint16(third[bsMagic:], bootMagic)
		record := append(append(boot, info...), third...)
		img.addHead(segment{mem: record, length: newBackupSector * g.sector})
		img.addHead(segment{mem: record, length: (g.reserved - newBackupSector) * g.sector})
	}
	img.addTables()
}

// addTables puts the allocation tables behind the reserved sectors.
func (img *image) addTables() {
	for range img.fats {
		img.addHead(segment{table: true, length: img.fatSectors * img.sector})
	}
}

// put notes the geometry, as far as rewriting may change it.
func (g *geometry) put(boot []byte, root uint32) {
	boot[bsSectorsPerCluster] = byte(g.perCluster)
	le.PutUint16(boot[bsRootEntries:], uint16(g.rootEntries))
	le.PutUint16(boot[bsSectors16:], 0)
	le.PutUint32(boot[bsSectors32:], 0)
	if g.kind != FAT32 && g.total < 1<<16 {
		le.PutUint16(boot[bsSectors16:], uint16(g.total))
	} else {
		le.PutUint32(boot[bsSectors32:], uint32(g.total))
	}
	if g.kind == FAT32 {
		le.PutUint16(boot[bsFATSectors16:], 0)
		le.PutUint32(boot[bsFATSectors32:], uint32(g.fatSectors))
		le.PutUint32(boot[bsRootCluster:], root)
	} else {
		le.PutUint16(boot[bsFATSectors16:], uint16(g.fatSectors))
	}
}

// putCount notes how many clusters are free, and where to look for one.
func (img *image) putCount(info []byte, free uint32) {
	left := img.clusters - img.used()
	if left == 0 {
		free = endOfChain
	}
	le.PutUint32(info[fiFree:], uint32(left))
	le.PutUint32(info[fiNext:], free)
}

// cylinders returns the sectors of a track and the heads that go with a size, as the
// table of SD cards has them; nothing but old BIOSes looks at them.
func cylinders(sectors int64) (perTrack, heads uint16) {
	const mib = 1 << 20 / buildSector
	switch {
	case sectors <= 2*mib:
		return 16, 2
	case sectors <= 16*mib:
		return 32, 2
	case sectors <= 32*mib:
		return 32, 4
	case sectors <= 128*mib:
		return 32, 8
	case sectors <= 256*mib:
		return 32, 16
	case sectors <= 504*mib:
		return 63, 16
	case sectors <= 1008*mib:
		return 63, 32
	case sectors <= 2016*mib:
		return 63, 64
	case sectors <= 4032*mib:
		return 63, 128
	}
	return 63, 255
}
