package fat

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"relive/tree"
)

// Rewrite returns an image of a FAT file system with an edited tree. edit gets the
// tree of c and gives another, or the same. Where names, types, times and content
// are as before, changed is false and data is c itself.
//
// What is kept: boot sector with its code, label, serial number and hidden
// sectors, everything else in the reserved sectors, kind, size of clusters; of
// names that stay, their order, short names, attributes and times of creation and
// access; what lies behind the volume. Files are laid out anew, one after the
// other. The volume keeps its size where the tree fits; else it grows to what is
// needed, first by clusters, then in the size of clusters where its kind has no
// more.
//
// A boot sector of SYSLINUX finds ldlinux.sys by its place: the file stays there.
// Where it cannot, or where it is edited, the error is tree.ErrUnsupported, as it
// is for exFAT. A file system whose files share clusters is tree.ErrCorrupt.
//
// name is what errors call the image. c must stay readable as long as data is in
// use, which reads from it; closing data does not close c.
func Rewrite(ctx context.Context, c tree.Content, name string, edit func(root *tree.Node) (*tree.Node, error)) (data tree.Data, size int64,
	changed bool, err error) {
	fs, err := Open(c, c.Size(), name)
	if err != nil {
		return nil, 0, false, err
	}
	if fs.vol.kind == ExFAT {
		return nil, 0, false, tree.Unsupported(name, "", "rewriting of exFAT")
	}
	r := rewriter{fs: fs, below: c}
	if data, err = r.rewrite(ctx, edit); err != nil {
		return nil, 0, false, err
	}
	if data == nil {
		return borrowed{c}, c.Size(), false, nil
	}
	return data, r.img.size, true, nil
}

// borrowed is the content of an image that others close.
type borrowed struct{ tree.Content }

func (b borrowed) Open() (tree.Content, error) { return b, nil }
func (borrowed) Close() error                  { return nil }

// rewriter makes an image from another.
type rewriter struct {
	fs    *FS
	below tree.Content
	img   image
}

// rewrite returns the new image, or nil where nothing changes.
func (r *rewriter) rewrite(ctx context.Context, edit func(*tree.Node) (*tree.Node, error)) (tree.Data, error) {
	fs := r.fs
	root, err := fs.Root()
	if err != nil {
		return nil, err
	}
	boot, err := r.sector(0)
	if err != nil {
		return nil, err
	}
	b := builder{ctx: ctx, from: fs}
	if string(boot[3:11]) == "SYSLINUX" {
		b.pin = "ldlinux.sys"
	}
	pins, err := fs.survey(ctx, root, b.pin)
	if err != nil {
		return nil, err
	}
	edited, err := edit(root)
	if err != nil || edited == root {
		return nil, err
	}
	if edited.Type != tree.Directory {
		return nil, fmt.Errorf("%s: the root became a %s", fs.name, edited.Type)
	}
	if same, err := fs.unchanged(ctx, root, edited); same || err != nil {
		return nil, err
	}
	if b.label, err = fs.labelEntry(); err != nil {
		return nil, err
	}
	if err := b.plan(edited, fs.rootDir()); err != nil {
		return nil, fmt.Errorf("%s: %w", fs.name, err)
	}
	was := geometryIn(boot, fs.vol.kind)
	g, err := was.grown(&b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", fs.name, err)
	}
	if pins > 0 {
		pinned := 0
		for i := range b.objects {
			if b.objects[i].pinned != nil {
				pinned++
			}
		}
		if pinned != pins || g.heap() != was.heap() || g.perCluster != was.perCluster {
			return nil, tree.Unsupported(fs.name, "boot sector", "it finds ldlinux.sys by its place, which would change")
		}
	}
	r.img = image{geometry: g, media: boot[bsMedia]}
	free, err := b.allocate(&r.img)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", fs.name, err)
	}
	if err := r.head(boot, b.rootCluster(), free); err != nil {
		return nil, err
	}
	b.finish(&r.img)
	volume := g.total * g.sector
	r.img.size = max(volume, r.below.Size())
	r.img.tail = []segment{{start: volume, length: r.img.size - volume, below: r.below}}
	return &r.img, nil
}

// sector reads a sector of the image.
func (r *rewriter) sector(n int64) ([]byte, error) {
	p := make([]byte, bootSize)
	if err := r.fs.read(p, 0); err != nil {
		return nil, err
	}
	p = make([]byte, le.Uint16(p[bsBytesPerSector:]))
	return p, r.fs.read(p, n*int64(len(p)))
}

// head puts the reserved sectors together: those of the image, with what changes
// in them.
func (r *rewriter) head(boot []byte, root, free uint32) error {
	g := &r.img.geometry
	changes := map[int64][]byte{0: boot}
	if g.kind == FAT32 {
		info, backup := int64(le.Uint16(boot[bsInfoSector:])), int64(le.Uint16(boot[bsBackup:]))
		for _, at := range []int64{info, backup, backup + info} {
			if at < 1 || at >= g.reserved || changes[at] != nil {
				continue
			}
			p, err := r.sector(at)
			if err != nil {
				return err
			}
			switch {
			case at == backup && bytes.Equal(p[bsBytesPerSector:bsReserved+2], boot[bsBytesPerSector:bsReserved+2]),
				at != backup && le.Uint32(p[fiLead:]) == fiLeadMagic && le.Uint32(p[fiStructure:]) == fiStructureMagic:
				changes[at] = p
			}
		}
		for at, p := range changes {
			if at != 0 && at != backup {
				r.img.putCount(p, free)
			}
		}
		if p := changes[backup]; backup > 0 && p != nil {
			p[bsState32] &^= stateDirty
			g.put(p, root)
		}
		boot[bsState32] &^= stateDirty
	} else {
		boot[bsState] &^= stateDirty
	}
	if was := geometryIn(boot, g.kind); was != *g || g.kind == FAT32 {
		g.put(boot, root)
	}
	kept := segment{below: r.below}
	for at := range g.reserved {
		p := changes[at]
		if p == nil {
			kept.length += g.sector
			continue
		}
		if kept.length > 0 {
			r.img.addHead(kept)
			kept.length = 0
		}
		r.img.addHead(segment{mem: p, length: g.sector})
	}
	if kept.length > 0 {
		r.img.addHead(kept)
	}
	r.img.addTables()
	return nil
}

// geometryIn is the geometry that a boot sector tells of, which was checked when
// it was opened.
func geometryIn(boot []byte, kind Kind) geometry {
	g := geometry{
		kind:        kind,
		sector:      int64(le.Uint16(boot[bsBytesPerSector:])),
		perCluster:  int64(boot[bsSectorsPerCluster]),
		reserved:    int64(le.Uint16(boot[bsReserved:])),
		fats:        int64(boot[bsFATs]),
		fatSectors:  int64(le.Uint16(boot[bsFATSectors16:])),
		rootEntries: int64(le.Uint16(boot[bsRootEntries:])),
		total:       int64(le.Uint16(boot[bsSectors16:])),
	}
	if g.total == 0 {
		g.total = int64(le.Uint32(boot[bsSectors32:]))
	}
	if kind == FAT32 {
		g.fatSectors = int64(le.Uint32(boot[bsFATSectors32:]))
	}
	g.count()
	return g
}

// count finds how many clusters there are, as geometryOf does.
func (g *geometry) count() {
	inTable := g.fatSectors*g.sector*8/g.entryBits() - firstCluster
	g.clusters = min((g.total-g.reserved-g.rootSectors()-g.fats*g.fatSectors)/g.perCluster, inTable)
}

// grown returns the geometry in which the objects have room: g itself, or one that
// is larger.
func (g geometry) grown(b *builder) (geometry, error) {
	if g.kind != FAT32 {
		if need := b.rootEntriesFor(g.sector, g.rootEntries); need > g.rootEntries {
			if need > maxRootEntries {
				return g, fmt.Errorf("a root directory of %d entries is more than %s holds", b.dirSize(0)/entrySize, g.kind)
			}
			// What follows moves, and the volume becomes larger by it.
			g.total += (need - g.rootEntries) * entrySize / g.sector
			g.rootEntries = need
		}
	}
	for {
		need := b.clustersFor(&g)
		if need <= g.clusters {
			return g, nil
		}
		// Rounding up to sectors of a CD may add some.
		const round = 2048 / 512
		most := int64(maxClusters12)
		switch g.kind {
		case FAT16:
			most = maxClusters16
		case FAT32:
			most = maxClusters32
		}
		if need > most-round {
			if g.clusterSize() >= 32<<10 {
				return g, fmt.Errorf("the files take more than a %s file system holds", g.kind)
			}
			g.perCluster *= 2
			g.count()
			continue
		}
		perSector := g.sector * 8
		g.fatSectors = max(g.fatSectors, ((need+round+firstCluster)*g.entryBits()+perSector-1)/perSector)
		total := g.reserved + g.fats*g.fatSectors + g.rootSectors() + need*g.perCluster
		if per := max(1, 2048/g.sector); total%per != 0 {
			total += per - total%per
		}
		if g.total = max(g.total, total); g.total > maxSectors {
			return g, fmt.Errorf("the files take more than a %s file system holds", g.kind)
		}
		g.count()
	}
}

// survey walks the tree of an image, so that all of it is known to be sound, and
// counts the files of a name in lower case. Files that share clusters would make
// an image larger than the one that they come from, without end.
func (fs *FS) survey(ctx context.Context, root *tree.Node, name string) (count int, err error) {
	clusters, nodes := int64(0), int64(0)
	err = tree.Walk(ctx, root, func(path string, n *tree.Node) error {
		if name != "" && n.Type == tree.Regular && n.Size > 0 && strings.ToLower(n.Name) == name {
			count++
		}
		clusters += fs.vol.clustersOf(n.Size)
		if nodes++; clusters > int64(fs.vol.clusters) || nodes > fs.vol.size/entrySize {
			return tree.Corrupt(fs.name, tree.Quote(path), "files up to here take more clusters than the %d that there are",
				fs.vol.clusters)
		}
		return nil
	})
	return count, err
}

var errDiffers = errors.New("the trees differ")

// unchanged reports whether two trees have the same names, types, times and
// content.
func (fs *FS) unchanged(ctx context.Context, a, b *tree.Node) (bool, error) {
	same := true
	o := tree.CompareOptions{
		WholeSeconds: true,
		ShallowDirs:  true,
		SameContent:  func(_ string, a, b *tree.Node) (bool, error) { return fs.sameData(a.Data, b.Data), nil },
	}
	err := tree.Compare(ctx, a, b, o, func(c tree.Change) error {
		if c.Diff&^(tree.Mode|tree.Owner|tree.XattrSet) != 0 {
			same = false
			return errDiffers
		}
		return nil
	})
	if err == errDiffers {
		err = nil
	}
	return same, err
}

// sameData reports whether two files are the same one of this file system.
func (fs *FS) sameData(a, b tree.Data) bool {
	x, ok := a.(*fileData)
	y, ok2 := b.(*fileData)
	return ok && ok2 && x.fs == fs && y.fs == fs && x.first == y.first && x.size == y.size
}

// oldEntry is a name of a directory as it stands there.
type oldEntry struct {
	name string
	raw  [entrySize]byte
	dir  *dir      // where it is a directory
	data *fileData // where it is a file
}

// oldEntries lists a directory with its entries.
func (fs *FS) oldEntries(d *dir) ([]oldEntry, error) {
	var out []oldEntry
	err := fs.eachFAT(d, func(_ int, name string, e []byte) error {
		o := oldEntry{name: name, raw: [entrySize]byte(e)}
		if e[deAttr]&attrDirectory != 0 {
			o.dir = &dir{fs: fs, what: d.path(name), first: fs.firstOf(e), count: -1}
		} else {
			size := int64(le.Uint32(e[deSize:]))
			o.data = &fileData{fs: fs, name: name, first: fs.firstOf(e), size: size, valid: size}
		}
		out = append(out, o)
		return nil
	})
	return out, err
}

// runs returns the clusters of a file.
func (fs *FS) runs(d *fileData) ([]run, error) {
	n := fs.vol.clustersOf(d.size)
	c, err := fs.openChain("file "+tree.Quote(d.name), d.first, n)
	if err != nil {
		return nil, err
	}
	var out []run
	for at := int64(0); at < n; {
		first, count, err := c.run(at, n-at)
		if err != nil {
			return nil, err
		}
		out = append(out, run{first: first, count: uint32(count)})
		at += count
	}
	return out, nil
}
