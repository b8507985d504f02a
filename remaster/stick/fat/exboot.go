package fat

import (
	"relive/tree"
)

// Fields of the main boot sector (exFAT specification, section 3.1).
const (
	xbName             = 3
	xbZero             = 11
	xbVolumeLength     = 72
	xbFATOffset        = 80
	xbFATLength        = 84
	xbHeapOffset       = 88
	xbClusterCount     = 92
	xbRootCluster      = 96
	xbSerial           = 100
	xbRevision         = 104
	xbFlags            = 106
	xbSectorShift      = 108
	xbClusterShift     = 109
	xbFATs             = 110
	xbPercentInUse     = 112
	exName             = "EXFAT   "
	exFlagActiveFAT    = 1
	exFlagDirty        = 2
	exFlagMediaFailure = 4
	// exChecksumSector holds the checksum of all sectors before it.
	exChecksumSector = 11
	// exMaxClusters: numbers beyond mark bad clusters and the end.
	exMaxClusters = 1<<32 - 11
	exMaxCluster  = 25 // log2 of the largest cluster, 32 MiB
)

// IsExFAT reports whether the first 512 bytes of a volume are the boot sector of
// an exFAT file system.
func IsExFAT(boot []byte) bool {
	return len(boot) >= bootSize && string(boot[xbName:][:len(exName)]) == exName &&
		le.Uint16(boot[bsMagic:]) == bootMagic
}

// decodeExBoot reads the geometry of an exFAT file system in size bytes.
func (fs *FS) decodeExBoot(boot []byte, size int64) (volume, error) {
	bad := func(fact string, args ...any) (volume, error) {
		return volume{}, tree.Corrupt(fs.name, "boot sector", fact, args...)
	}
	shift, clusterShift := uint(boot[xbSectorShift]), uint(boot[xbClusterShift])
	if shift < 9 || shift > 12 || clusterShift > exMaxCluster-shift {
		return bad("sectors of 2^%d bytes, clusters of 2^%d sectors", shift, clusterShift)
	}
	if !tree.IsZero(boot[xbZero:][:53]) {
		return bad("parameters of FAT where exFAT has zeros")
	}
	if rev := le.Uint16(boot[xbRevision:]); rev>>8 != 1 {
		return volume{}, tree.Unsupported(fs.name, "boot sector", "exFAT of revision %d.%02d", rev>>8, rev&0xFF)
	}
	if err := fs.checkExBoot(shift, size); err != nil {
		return volume{}, err
	}
	sectors := le.Uint64(boot[xbVolumeLength:])
	if sectors > uint64(size)>>shift {
		return bad("%d sectors of %d bytes, but the volume has only %d bytes", sectors, 1<<shift, size)
	}
	fatStart, fatLength := uint64(le.Uint32(boot[xbFATOffset:])), uint64(le.Uint32(boot[xbFATLength:]))
	heap, clusters := uint64(le.Uint32(boot[xbHeapOffset:])), uint64(le.Uint32(boot[xbClusterCount:]))
	fats := uint64(boot[xbFATs])
	if fats != 1 && fats != 2 {
		return bad("%d tables", fats)
	}
	if fatStart <= exChecksumSector || fatStart+fatLength*fats > heap {
		return bad("tables at sector %d, %d sectors each, and clusters from %d", fatStart, fatLength, heap)
	}
	if clusters == 0 || clusters > exMaxClusters || heap > sectors || clusters > (sectors-heap)>>clusterShift {
		return bad("%d clusters of 2^%d sectors from sector %d in %d sectors", clusters, clusterShift, heap, sectors)
	}
	if fatLength<<shift/4 < clusters+firstCluster {
		return bad("tables of %d sectors for %d clusters", fatLength, clusters)
	}
	flags := le.Uint16(boot[xbFlags:])
	if flags&exFlagActiveFAT != 0 {
		if fats == 1 {
			return bad("the second table is the active one, but there is only one")
		}
		fatStart += fatLength
	}
	v := volume{
		kind:        ExFAT,
		size:        int64(sectors << shift),
		clusterBits: shift + clusterShift,
		clusters:    uint32(clusters),
		heap:        int64(heap << shift),
		fat:         int64(fatStart << shift),
		rootCluster: le.Uint32(boot[xbRootCluster:]),
		serial:      le.Uint32(boot[xbSerial:]),
		dirty:       flags&(exFlagDirty|exFlagMediaFailure) != 0,
	}
	if !v.valid(v.rootCluster) {
		return bad("the root begins in cluster %d of %d", v.rootCluster, clusters)
	}
	return v, nil
}

// checkExBoot verifies the checksum of the boot region (section 3.4): over all
// of its sectors but the flags and the percentage, which change.
func (fs *FS) checkExBoot(shift uint, size int64) error {
	if size < (exChecksumSector+1)<<shift {
		return tree.Corrupt(fs.name, "boot sector", "the volume has only %d bytes", size)
	}
	region := make([]byte, (exChecksumSector+1)<<shift)
	if err := fs.read(region, 0); err != nil {
		return err
	}
	var sum uint32
	for i, b := range region[:exChecksumSector<<shift] {
		if i != xbFlags && i != xbFlags+1 && i != xbPercentInUse {
			sum = sum>>1 | sum<<31
			sum += uint32(b)
		}
	}
	if have := le.Uint32(region[exChecksumSector<<shift:]); have != sum {
		return tree.Corrupt(fs.name, "boot region", "checksum is %#08x, that of the content %#08x", have, sum)
	}
	return nil
}
