package squash

import (
	"encoding/binary"
	"fmt"
	"slices"

	"relive/squash/internal/ondisk"
	"relive/tree"
)

// checkMount checks what Linux checks when it mounts an image (fs/squashfs:
// super.c, id.c, export.c, fragment.c, xattr_id.c), and the padding.
func (v *verifier) checkMount() {
	r, s := v.r, &v.r.super
	next, nextName := int64(s.BytesUsed), "end of the image"
	if s.XattrTableStart != ondisk.NoTable {
		start := int64(s.XattrTableStart) + ondisk.XattrTableHeaderSize
		if r.xattrCount == 0 {
			v.fault("xattr table", "has no entries; an image without xattrs has no table")
		}
		if end := start + int64(len(r.xattrIDs))*ondisk.IndexSize; end != next {
			v.fault("xattr table", "its index ends at %d, not at the %s at %d", end, nextName, next)
		}
		v.checkIndex("xattr table", r.xattrIDs, int64(s.XattrTableStart))
		if len(r.xattrIDs) > 0 && r.pairs.start >= r.xattrIDs[0] {
			v.fault("xattr table", "pairs start at %d, not before the first block of ids at %d", r.pairs.start, r.xattrIDs[0])
		}
		next, nextName = r.pairs.start, "xattr pairs"
	}
	if end := int64(s.IDTableStart) + int64(len(r.idIndex))*ondisk.IndexSize; end != next {
		v.fault("id table", "its index ends at %d, not at the %s at %d", end, nextName, next)
	}
	v.checkIndex("id table", r.idIndex, int64(s.IDTableStart))
	next, nextName = r.idIndex[0], "id table"
	if len(r.exports) > 0 {
		if end := int64(s.ExportTableStart) + int64(len(r.exports))*ondisk.IndexSize; end != next {
			v.fault("export table", "its index ends at %d, not at the %s at %d", end, nextName, next)
		}
		v.checkIndex("export table", r.exports, int64(s.ExportTableStart))
		next, nextName = r.exports[0], "export table"
	}
	if (s.Flags&FlagExportable != 0) != (s.ExportTableStart != ondisk.NoTable) {
		v.warn("superblock", "the exportable flag and the export table's start do not agree")
	}
	if len(r.fragments) > 0 {
		if end := int64(s.FragmentTableStart) + int64(len(r.fragments))*ondisk.IndexSize; end > next {
			v.fault("fragment table", "its index ends at %d, behind the %s at %d", end, nextName, next)
		}
		v.checkIndex("fragment table", r.fragments, int64(s.FragmentTableStart))
		next, nextName = r.fragments[0], "fragment table"
	}
	if r.dirs.start > next {
		v.fault("directory table", "starts at %d, behind the %s at %d", r.dirs.start, nextName, next)
	}
	if r.inodes.start >= r.dirs.start {
		v.fault("inode table", "starts at %d, not before the directory table at %d", r.inodes.start, r.dirs.start)
	}
	if s.Root.Offset() > ondisk.MetadataSize {
		v.fault("superblock", "root inode at byte %d of a metadata block", s.Root.Offset())
	}
	v.checkPadding()
}

// checkPadding looks behind the used bytes: a loop device drops what is left
// of the last 512 bytes, and mksquashfs pads with zeros to 4 KiB.
func (v *verifier) checkPadding() {
	r := v.r
	if whole := r.size &^ 511; whole < r.used {
		v.warn("padding", "the file of %d bytes is not padded; a loop device shows %d of the %d that the image uses", r.size, whole, r.used)
	}
	pad := make([]byte, min((r.used+4095)&^4095, r.size)-r.used)
	if _, err := r.image.ReadAt(pad, r.used); err == nil && !tree.IsZero(pad) {
		v.warn("padding", "the %d bytes behind the image are not zero", len(pad))
	}
}

// checkIndex checks that an index array's blocks lie one behind the other and
// close to each other before the array, as the kernel does.
func (v *verifier) checkIndex(table string, index []int64, start int64) {
	for i, at := range index {
		next := start
		if i+1 < len(index) {
			next = index[i+1]
		}
		if at >= next || next-at > ondisk.MetadataSize+2 {
			v.fault(fmt.Sprintf("%s: index entry %d", table, i), "block at %d does not come right before %d", at, next)
		}
		if v.stop() {
			return
		}
	}
}

// checkTables decodes every metadata block.
func (v *verifier) checkTables() {
	r, s := v.r, &v.r.super
	v.walkBlocks(&r.inodes)
	v.dirChain = v.walkBlocks(&r.dirs)
	if s.XattrTableStart != ondisk.NoTable {
		v.pairs = v.walkBlocks(&r.pairs)
	}
	v.checkEntries("id table", r.idIndex, uint64(s.IDCount), ondisk.IDSize)
	v.checkEntries("fragment table", r.fragments, uint64(s.FragmentCount), ondisk.FragmentEntrySize)
	v.checkEntries("xattr table", r.xattrIDs, uint64(r.xattrCount), ondisk.XattrIDSize)
	if r.exports != nil {
		v.checkEntries("export table", r.exports, uint64(s.InodeCount), ondisk.ExportSize)
	}
}

// blockChain is the metadata blocks of a region.
type blockChain struct {
	starts  []int64 // absolute offsets
	decoded int64   // bytes that they decode to
}

// has reports whether a reference into the region names one of the blocks.
func (c *blockChain) has(g *region, ref ondisk.Ref) bool {
	_, ok := slices.BinarySearch(c.starts, g.start+ref.Block())
	return ok
}

// walkBlocks decodes the metadata blocks of a region one after another.
func (v *verifier) walkBlocks(g *region) (chain blockChain) {
	pos := g.start
	for pos < g.end {
		if v.stop() {
			return chain
		}
		b, err := v.r.meta(pos)
		if err != nil {
			v.err(tree.Within(err, "%s", g.name))
			b.data = make([]byte, ondisk.MetadataSize) // what may be in it
			// The header tells where the next one is, unless it is the damage.
			if b.next = v.behind(pos); b.next == 0 {
				return chain
			}
		} else if len(b.data) != ondisk.MetadataSize && b.next < g.end {
			v.fault(g.name, "metadata block at offset %d decodes to %d bytes, but only the last may be shorter than %d", pos, len(b.data),
				ondisk.MetadataSize)
		}
		chain.starts = append(chain.starts, pos)
		chain.decoded += int64(len(b.data))
		pos = b.next
	}
	if pos > g.end {
		v.fault(g.name, "its last metadata block ends at %d, %d bytes behind the table", pos, pos-g.end)
	}
	return chain
}

// behind returns the offset behind a metadata block that does not decode, or 0
// where its header makes no sense.
func (v *verifier) behind(pos int64) int64 {
	var b [2]byte
	if v.r.readStored(b[:], pos) != nil {
		return 0
	}
	n, _ := ondisk.MetadataStored(binary.LittleEndian.Uint16(b[:]))
	if n > ondisk.MetadataSize {
		return 0
	}
	return pos + 2 + int64(n)
}

// checkEntries decodes the metadata blocks of a table of count entries.
func (v *verifier) checkEntries(table string, index []int64, count uint64, entrySize int) {
	left := count * uint64(entrySize)
	for i, at := range index {
		if v.stop() {
			return
		}
		want := min(left, ondisk.MetadataSize)
		left -= want
		b, err := v.r.meta(at)
		if err != nil {
			v.err(tree.Within(err, "%s: index entry %d", table, i))
		} else if uint64(len(b.data)) != want {
			v.fault(fmt.Sprintf("%s: index entry %d", table, i), "metadata block at offset %d decodes to %d bytes where %d belong", at,
				len(b.data), want)
		}
	}
}

// checkExports checks that the export table names every inode by its number, and
// nothing by a number that no inode has: Linux would take what is there for the
// inode.
func (v *verifier) checkExports() {
	r := v.r
	if r.exports == nil {
		return
	}
	for i := range r.super.InodeCount {
		if i%4096 == 0 && v.stop() {
			return
		}
		b, err := r.indexed(r.exports, i, ondisk.ExportSize)
		if err != nil {
			// checkTables has told of the block; pass it.
			if i%(ondisk.MetadataSize/ondisk.ExportSize) == 0 && v.full() {
				return
			}
			continue
		}
		ref := ondisk.Ref(binary.LittleEndian.Uint64(b))
		n := v.find(ref)
		switch {
		case n == nil && v.numbers[(i+1)/64]>>((i+1)%64)&1 == 0:
		case n == nil && v.complete:
			v.fault(fmt.Sprintf("export table: entry %d", i), "names no inode: %#x", uint64(ref))
		case n != nil && n.number != i+1:
			v.fault(fmt.Sprintf("export table: entry %d", i), "is for inode %d but names inode %d", i+1, n.number)
		}
	}
}
