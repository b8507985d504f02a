package iso

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"sort"

	"relive/tree"
)

// sectionBytes is the most that one section of a file holds: what 32 bits
// count, in whole sectors.
const sectionBytes = 1<<32 - sectorSize

// dirWriter makes the records of a directory, and their continuation areas.
type dirWriter struct {
	plan         *Plan
	space        hierarchy
	sizing       bool // only the sizes count; places are not known yet
	buf          []byte
	continuation []byte
	base         uint32 // sector of the continuation areas
	entries      suspEntries
}

// directory makes all records of d.
func (w *dirWriter) directory(d *outNode) error {
	w.buf, w.continuation = w.buf[:0], w.continuation[:0]
	e := &d.extents[w.space]
	w.base = e.block + e.reserved
	w.dirRecord("\x00", d, d, true)
	w.dirRecord("\x01", d.parent, d, true)
	names := w.space.names()
	for _, k := range d.kids[names] {
		if k.n.Type == tree.Directory {
			w.dirRecord(k.names[names], k, d, false)
		} else {
			w.fileRecords(k)
		}
	}
	for len(w.buf)%sectorSize != 0 {
		w.buf = append(w.buf, 0)
	}
	if int64(len(w.buf)) > maxSectors {
		return fmt.Errorf("a directory of %d bytes", len(w.buf))
	}
	e.length = uint32(len(w.buf))
	return nil
}

// dirRecord makes a record of directory d. own tells of the two that name the
// directory in, and its parent.
func (w *dirWriter) dirRecord(id string, d, in *outNode, own bool) {
	e := &d.extents[w.space]
	length := e.length
	if length == 0 {
		length = e.reserved * sectorSize
	}
	w.entries.reset()
	if w.space.names() == primarySpace {
		root := own && in == w.plan.root && id == "\x00"
		if root {
			w.entries.sharingProtocol()
		}
		w.entries.attributes(d)
		if root {
			w.entries.extensions()
		}
		if !own {
			w.entries.name(d.n.Name)
		}
	}
	w.record(id, e.block, length, flagDirectory, d.n.Mtime)
}

// fileRecords makes the record of anything else, or one for each section of a
// large file.
func (w *dirWriter) fileRecords(k *outNode) {
	size, block := k.inode.size, k.inode.block
	for {
		w.entries.reset()
		if w.space.names() == primarySpace {
			w.entries.attributes(k)
			w.entries.name(k.n.Name)
		}
		part := min(size, sectionBytes)
		flags := byte(0)
		if size > part {
			flags = flagMore
		}
		w.record(k.names[w.space.names()], block, uint32(part), flags, k.n.Mtime)
		if size -= part; size == 0 {
			return
		}
		block += uint32(part / sectorSize)
	}
}

// ceLength is the length of a CE entry.
const ceLength = 28

// maxRecord is the length that a record may have: a byte, and even.
const maxRecord = 254

// record appends a directory record with w.entries as its system use area; what
// it has no room for goes to continuation areas.
func (w *dirWriter) record(id string, block, size uint32, flags byte, mtime tree.Time) {
	head := recordHead + len(id) + (len(id)+1)%2
	fit := w.fit(0, maxRecord-head)
	var ce [ceLength]byte
	length := head
	if fit > 0 {
		length += w.entries.ends[fit-1]
	}
	if fit < len(w.entries.ends) {
		w.putContinuation(fit, ce[:])
		length += ceLength
	}
	length += length % 2
	// No record crosses the end of a sector (ECMA-119 6.8.1.1).
	if left := sectorSize - len(w.buf)%sectorSize; length > left {
		w.buf = append(w.buf, make([]byte, left)...)
	}
	at := len(w.buf)
	w.buf = append(w.buf, make([]byte, length)...)
	p := w.buf[at:]
	p[0] = byte(length)
	if block > w.space.shift() { // an empty file has no place
		putBoth(p[2:], block-w.space.shift())
	}
	putBoth(p[10:], size)
	putShortDate(p[18:], mtime)
	p[25] = flags
	putBoth16(p[28:], 1)
	p[32] = byte(len(id))
	copy(p[recordHead:], id)
	n := head
	if fit > 0 {
		n += copy(p[head:], w.entries.buf[:w.entries.ends[fit-1]])
	}
	if fit < len(w.entries.ends) {
		copy(p[n:], ce[:])
	}
}

// fit returns the number of the first entry, from one on, that does not fit into
// room bytes together with a CE entry for it.
func (w *dirWriter) fit(from, room int) int {
	ends := w.entries.ends
	start := 0
	if from > 0 {
		start = ends[from-1]
	}
	if len(ends) == 0 || ends[len(ends)-1]-start <= room {
		return len(ends)
	}
	i := from
	for ends[i]-start <= room-ceLength {
		i++
	}
	return i
}

// putContinuation puts the entries from one on into a continuation area, and
// writes the CE entry that names it. No area crosses the end of a sector, which
// Linux would not read.
func (w *dirWriter) putContinuation(from int, ce []byte) {
	ends := w.entries.ends
	start := 0
	if from > 0 {
		start = ends[from-1]
	}
	left := sectorSize - len(w.continuation)%sectorSize
	if ends[len(ends)-1]-start > left && left < sectorSize {
		w.continuation = append(w.continuation, make([]byte, left)...)
	}
	at := len(w.continuation)
	to := w.fit(from, sectorSize-at%sectorSize)
	w.continuation = append(w.continuation, w.entries.buf[start:ends[to-1]]...)
	if to < len(ends) {
		w.continuation = append(w.continuation, make([]byte, ceLength)...)
	}
	length := len(w.continuation) - at
	copy(ce, "CE\x1c\x01")
	putBoth(ce[4:], w.base-w.space.shift()+uint32(at/sectorSize))
	putBoth(ce[12:], uint32(at%sectorSize))
	putBoth(ce[20:], uint32(length))
	if to < len(ends) {
		var next [ceLength]byte
		w.putContinuation(to, next[:])
		copy(w.continuation[at+length-ceLength:], next[:])
	}
}

// putBoth16 writes a number in both orders (ECMA-119 7.2.3).
func putBoth16(p []byte, v uint16) {
	binary.LittleEndian.PutUint16(p, v)
	binary.BigEndian.PutUint16(p[2:], v)
}

// writeDirectories writes the directories and path tables of all hierarchies.
func (p *Plan) writeDirectories(ctx context.Context, out io.WriterAt) error {
	for _, s := range p.active() {
		w := dirWriter{plan: p, space: s}
		// A late file may have come to fewer sections than there was room for, so
		// lengths are known only after a first round.
		for _, d := range p.dirs {
			if err := w.directory(d); err != nil {
				return err
			}
		}
		for _, d := range p.dirs {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if err := w.directory(d); err != nil {
				return err
			}
			e := &d.extents[s]
			if sectors(int64(len(w.buf))) > e.reserved || sectors(int64(len(w.continuation))) > e.continuation {
				return fmt.Errorf("a directory outgrew its place")
			}
			if _, err := out.WriteAt(w.buf, int64(e.block)*sectorSize); err != nil {
				return err
			}
			if len(w.continuation) > 0 {
				if _, err := out.WriteAt(w.continuation, int64(w.base)*sectorSize); err != nil {
					return err
				}
			}
		}
		for _, table := range []struct {
			at    uint32
			order binary.ByteOrder
		}{{p.spaces[s].tableL, binary.LittleEndian}, {p.spaces[s].tableM, binary.BigEndian}} {
			if _, err := out.WriteAt(p.pathTable(s, table.order), int64(table.at)*sectorSize); err != nil {
				return err
			}
		}
	}
	return nil
}

// maxTableDirs is what the 16 bits of a parent's number in a path table hold.
const maxTableDirs = 1<<16 - 1

// layoutTables orders the directories as path tables want them: by level, then
// by parent, then by identifier (ECMA-119 6.9.1), and gives the tables their
// place.
func (p *Plan) layoutTables(h hierarchy, at *uint32) error {
	if len(p.dirs) > maxTableDirs {
		return fmt.Errorf("%d directories, of which an image has %d at most", len(p.dirs), maxTableDirs)
	}
	sp, s := &p.spaces[h], h.names()
	sp.order = append(sp.order[:0], p.root)
	p.root.number[s] = 1
	for i := 0; i < len(sp.order); i++ {
		d := sp.order[i]
		sp.tableBytes += 8 + len(d.names[s]) + len(d.names[s])%2
		first := len(sp.order)
		for _, k := range d.kids[s] {
			if k.n.Type == tree.Directory {
				sp.order = append(sp.order, k)
			}
		}
		kids := sp.order[first:]
		sort.SliceStable(kids, func(i, j int) bool { return comparePadded(kids[i].names[s], kids[j].names[s]) < 0 })
		for j, k := range kids {
			k.number[s] = first + j + 1
		}
	}
	n := sectors(int64(sp.tableBytes))
	sp.tableL, sp.tableM = *at, *at+n
	*at += 2 * n
	return nil
}

// pathTable makes a path table (ECMA-119 9.4).
func (p *Plan) pathTable(h hierarchy, order binary.ByteOrder) []byte {
	var b []byte
	s := h.names()
	for _, d := range p.spaces[h].order {
		id := d.names[s]
		var e [8]byte
		e[0] = byte(len(id))
		order.PutUint32(e[2:], d.extents[h].block-h.shift())
		order.PutUint16(e[6:], uint16(d.parent.number[s]))
		b = append(append(b, e[:]...), id...)
		if len(id)%2 == 1 {
			b = append(b, 0)
		}
	}
	return b
}
