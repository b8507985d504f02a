package fat

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sort"

	"relive/tree"
)

// run is clusters that follow one another and belong to one object.
type run struct {
	first, count uint32
	next         uint32 // what the table says of the last
	object       int32
	at           int64 // of the first, in the object, in bytes
}

func (r *run) end() uint32 { return r.first + r.count }

// endOfChain is what the table says of a file's last cluster.
const endOfChain = 0xFFFFFFFF

// allocate returns clusters to all objects, in their order, around those that are
// pinned, and gives the first cluster that stays free.
func (b *builder) allocate(img *image) (free uint32, err error) {
	g := &img.geometry
	var pinned []run
	for i := range b.objects {
		for _, r := range b.objects[i].pinned {
			if int64(r.end()) > g.clusters+firstCluster {
				return 0, fmt.Errorf("%s: lies behind the end of the volume", tree.Quote(b.objects[i].path))
			}
			pinned = append(pinned, r)
		}
	}
	slices.SortFunc(pinned, func(a, b run) int { return cmp.Compare(a.first, b.first) })
	at, limit := uint32(firstCluster), uint32(g.clusters+firstCluster)
	for i := range b.objects {
		if i&0xFFF == 0 && b.ctx.Err() != nil {
			return 0, context.Cause(b.ctx)
		}
		o := &b.objects[i]
		if o.pinned != nil {
			o.first = o.pinned[0].first
			b.place(img, i, o.pinned)
			continue
		}
		n := g.clustersOf(o.size)
		if o.data == nil {
			if n = max(1, g.clustersOf(b.dirSize(i))); o.parent < 0 && g.kind != FAT32 {
				continue
			}
		}
		var runs []run
		for n > 0 {
			for len(pinned) > 0 && at == pinned[0].first {
				at, pinned = pinned[0].end(), pinned[1:]
			}
			room := int64(limit) - int64(at)
			if len(pinned) > 0 {
				room = int64(pinned[0].first) - int64(at)
			}
			if room <= 0 {
				return 0, fmt.Errorf("%s: no room is left on a file system of %d bytes", tree.Quote(o.path), g.total*g.sector)
			}
			take := min(n, room)
			runs = append(runs, run{first: at, count: uint32(take)})
			at, n = at+uint32(take), n-take
		}
		o.first = runs[0].first
		b.place(img, i, runs)
	}
	slices.SortFunc(img.runs, func(a, b run) int { return cmp.Compare(a.first, b.first) })
	for len(pinned) > 0 && at == pinned[0].first {
		at, pinned = pinned[0].end(), pinned[1:]
	}
	return at, nil
}

// place notes the runs of an object.
func (b *builder) place(img *image, object int, runs []run) {
	at := int64(0)
	for i, r := range runs {
		r.object, r.at, r.next = int32(object), at, endOfChain
		if i+1 < len(runs) {
			r.next = runs[i+1].first
		}
		at += int64(r.count) * img.clusterSize()
		img.runs = append(img.runs, r)
	}
}

// finish notes the first clusters in the directories, and hands the objects over.
func (b *builder) finish(img *image) {
	for i := range b.objects {
		o := &b.objects[i]
		if o.data != nil {
			continue
		}
		for _, r := range o.refs {
			putCluster(o.entries[r.at:], b.objects[r.child].first)
		}
		if o.parent >= 0 {
			putCluster(o.entries, o.first)
			// The root is 0 there, also where it has a cluster.
			if o.parent > 0 {
				putCluster(o.entries[entrySize:], b.objects[o.parent].first)
			}
		}
		o.refs, o.pinned = nil, nil
	}
	root := &b.objects[0]
	root.entries = append(slices.Clip(b.label), root.entries...)
	if img.kind != FAT32 {
		img.addHead(segment{mem: root.entries, length: img.rootEntries * entrySize})
		root.entries = nil
	}
	img.objects = b.objects
}

// rootCluster is where the root begins, 0 where it has no cluster.
func (b *builder) rootCluster() uint32 { return b.objects[0].first }

// used is how many clusters are taken.
func (img *image) used() (n int64) {
	for i := range img.runs {
		n += int64(img.runs[i].count)
	}
	return n
}

// runAt is the index of the first run that ends behind a cluster.
func (img *image) runAt(cluster uint32) int {
	return sort.Search(len(img.runs), func(i int) bool { return img.runs[i].end() > cluster })
}

// tableBytes is how many bytes of a table are not zero.
func (img *image) tableBytes() int64 {
	n := int64(firstCluster)
	if len(img.runs) > 0 {
		n = int64(img.runs[len(img.runs)-1].end())
	}
	return (n*img.entryBits() + 7) / 8
}

// table fills p with the bytes of a table from off on.
func (img *image) table(p []byte, off int64) {
	clear(p)
	bits := img.entryBits()
	mask := uint32(1)<<min(bits, 28) - 1
	cluster := uint32(off * 8 / bits)
	at := img.runAt(cluster)
	for ; int64(cluster)*bits < (off+int64(len(p)))*8; cluster++ {
		var v uint32
		switch cluster {
		case 0:
			v = 0xFFFFFF00 | uint32(img.media)
		case 1:
			v = endOfChain
		default:
			for at < len(img.runs) && img.runs[at].end() <= cluster {
				at++
			}
			if at == len(img.runs) {
				return
			}
			r := &img.runs[at]
			if cluster < r.first {
				continue
			}
			if v = cluster + 1; v == r.end() {
				v = r.next
			}
		}
		v &= mask
		// The entry's bytes, of which the first may belong to the one before.
		where, n := int64(cluster)*bits/8-off, int64(2)
		switch {
		case bits == 32:
			n = 4
		case bits == 12 && cluster&1 != 0:
			v <<= 4
		}
		for i := range n {
			if k := where + i; k >= 0 && k < int64(len(p)) {
				p[k] |= byte(v >> (8 * i))
			}
		}
	}
}
