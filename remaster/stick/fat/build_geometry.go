package fat

import (
	"fmt"

	"relive/tree"
)

// buildSector is the size of a sector of a new file system.
const buildSector = 512

// maxSectors is how many sectors the boot sector can tell of.
const maxSectors = 1<<32 - 1

// newRootEntries is how many entries the root of a new FAT12 or FAT16 has.
const newRootEntries = 512

// maxRootEntries is what the field has room for, in whole sectors of up to 4 KiB.
const maxRootEntries = 65536 - 4096/entrySize

// Clusters of a new file system: the specification asks to keep sixteen away
// from the counts at which the kinds part ("FAT Type Determination").
const (
	newMax12 = maxClusters12 - 16
	newMin16 = maxClusters12 + 1 + 16
	newMax16 = maxClusters16 - 16
	newMin32 = maxClusters16 + 1 + 16
)

// geometry is how a volume is divided, in sectors where nothing else is said.
type geometry struct {
	kind        Kind
	sector      int64 // bytes
	perCluster  int64
	reserved    int64
	fats        int64
	fatSectors  int64
	rootEntries int64 // 0 with FAT32
	total       int64
	clusters    int64
}

func (g *geometry) clusterSize() int64 { return g.sector * g.perCluster }
func (g *geometry) rootSectors() int64 { return g.rootEntries * entrySize / g.sector }
func (g *geometry) heap() int64 {
	return (g.reserved+g.fats*g.fatSectors)*g.sector + g.rootEntries*entrySize
}
func (g *geometry) clustersOf(n int64) int64 { return (n + g.clusterSize() - 1) / g.clusterSize() }

// entryBits is how many bits of the table a cluster takes.
func (g *geometry) entryBits() int64 {
	switch g.kind {
	case FAT12:
		return 12
	case FAT16:
		return 16
	}
	return 32
}

// divide finds how large the tables must be, at least least sectors, and how many
// clusters are left; 0 where there is no room for any.
func (g *geometry) divide(least int64) {
	rest := g.total - g.reserved - g.rootSectors()
	bits := g.entryBits()
	per := 8*g.sector*g.perCluster + g.fats*bits
	g.fatSectors = max(least, ((rest+firstCluster*g.perCluster)*bits+per-1)/per)
	g.clusters = max(0, (rest-g.fats*g.fatSectors)/g.perCluster)
}

// limits are the numbers of clusters that make a new file system of its kind.
func (g *geometry) limits() (least, most int64) {
	switch g.kind {
	case FAT12:
		return 1, newMax12
	case FAT16:
		return newMin16, newMax16
	}
	return newMin32, maxClusters32 - 16
}

// divided returns the geometry of a new volume of a kind; ok is false where it
// would have too few or too many clusters.
func divided(kind Kind, total, perCluster, rootEntries int64) (g geometry, ok bool) {
	g = geometry{kind: kind, sector: buildSector, perCluster: perCluster, reserved: 1, fats: 2, rootEntries: rootEntries, total: total}
	if kind == FAT32 {
		g.reserved, g.rootEntries = 32, 0
	}
	g.divide(1)
	least, most := g.limits()
	return g, g.clusters >= least && g.clusters <= most
}

// clusterSteps are the sectors of a cluster that are tried, least first.
func clusterSteps(kind Kind, total int64) []int64 {
	const gib = 1 << 30 / buildSector
	switch {
	case kind != FAT32:
		return []int64{4, 8, 16, 32, 64}
	case total < gib/2:
		return []int64{1} // asked for by name only
	case total <= 8*gib:
		return []int64{8}
	case total <= 16*gib:
		return []int64{16}
	case total <= 32*gib:
		return []int64{32}
	}
	return []int64{64, 128}
}

// geometryFor divides a new volume as mkfs.fat does: FAT32 from 512 MiB on, below
// it what has the smallest clusters of 2 KiB and more, FAT12 rather than FAT16.
func geometryFor(kind Kind, total, rootEntries int64) (geometry, bool) {
	kinds := []Kind{kind}
	if kind == "" {
		if kinds = []Kind{FAT12, FAT16}; total >= 512<<20/buildSector {
			kinds = []Kind{FAT32}
		}
	}
	for _, per := range clusterSteps(kinds[0], total) {
		for _, k := range kinds {
			if g, ok := divided(k, total, per, rootEntries); ok {
				return g, true
			}
		}
	}
	return geometry{}, false
}

// clustersFor is how many clusters the objects take.
func (b *builder) clustersFor(g *geometry) (n int64) {
	for i := range b.objects {
		o := &b.objects[i]
		switch {
		case o.parent < 0 && o.data == nil && g.kind != FAT32:
		case o.data == nil:
			n += max(1, g.clustersOf(b.dirSize(i)))
		default:
			n += g.clustersOf(o.size)
		}
	}
	return n
}

// dirSize is how many bytes a directory's entries take.
func (b *builder) dirSize(i int) int64 {
	size := int64(len(b.objects[i].entries))
	if i == 0 {
		size += int64(len(b.label))
	}
	return size
}

// rootEntriesFor is how many entries a root of FAT12 or FAT16 has: at least
// least, and as many more as the tree needs.
func (b *builder) rootEntriesFor(sector, least int64) int64 {
	per := sector / entrySize
	return max(least, (b.dirSize(0)/entrySize+per-1)/per*per)
}

// fit finds the geometry of a new file system.
func fit(b *builder, o BuildOptions) (geometry, error) {
	switch o.Kind {
	case "", FAT12, FAT16, FAT32:
	default:
		return geometry{}, tree.Unsupported("", "", "a new file system of kind %s", o.Kind)
	}
	rootEntries := b.rootEntriesFor(buildSector, newRootEntries)
	if rootEntries > maxRootEntries {
		if o.Kind == "" {
			o.Kind = FAT32
		}
		if o.Kind != FAT32 {
			return geometry{}, fmt.Errorf("a root directory of %d entries is more than %s holds", b.dirSize(0)/entrySize, o.Kind)
		}
	}
	if o.Size > maxSectors*buildSector {
		return geometry{}, fmt.Errorf("no FAT file system has %d bytes", o.Size)
	}
	if o.Size > 0 {
		g, ok := geometryFor(o.Kind, o.Size/buildSector, rootEntries)
		if !ok {
			return g, fmt.Errorf("no %s file system has %d bytes", kindName(o.Kind), o.Size)
		}
		if need := b.clustersFor(&g); need > g.clusters {
			return g, fmt.Errorf("a file system of %d bytes has %d clusters of %d bytes, the files take %d", o.Size, g.clusters,
				g.clusterSize(), need)
		}
		return g, nil
	}
	// Each step adds what the last one lacked, so that none is too large by more
	// than what tables and clusters of another kind take.
	total := int64(64)
	for {
		if total > maxSectors {
			return geometry{}, fmt.Errorf("the files take more than a %s file system holds", kindName(o.Kind))
		}
		g, ok := geometryFor(o.Kind, total, rootEntries)
		if !ok {
			total += max(4, total/64)
			continue
		}
		need := b.clustersFor(&g) + g.clustersOf(o.Free)
		if need <= g.clusters {
			return g, nil
		}
		// Whole sectors of a CD.
		total = (total + (need-g.clusters)*g.perCluster + 3) &^ 3
	}
}

func kindName(k Kind) string {
	if k == "" {
		return "FAT"
	}
	return string(k)
}
