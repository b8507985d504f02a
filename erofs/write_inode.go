package erofs

import (
	"fmt"
	"math"

	"relive/erofs/internal/ondisk"
	"relive/tree"
)

// inodeSize is the length of an inode.
func inodeSize(compact bool) int64 {
	if compact {
		return ondisk.CompactSize
	}
	return ondisk.ExtendedSize
}

// compact tells whether a short inode is asked for and loses nothing.
func (o *WriteOptions) compact(n *tree.Node, nlink uint32, size int64) bool {
	return o.Compact && (o.AllTime != nil || n.Mtime == o.Epoch) && n.UID <= math.MaxUint16 && n.GID <= math.MaxUint16 &&
		nlink <= math.MaxUint16 && size <= math.MaxUint32
}

// modes of types, as Linux's include/uapi/linux/stat.h has them.
var modes = map[tree.Type]uint16{tree.Regular: 0o100000, tree.Directory: 0o040000, tree.Symlink: 0o120000, tree.BlockDevice: 0o060000,
	tree.CharDevice: 0o020000, tree.FIFO: 0o010000, tree.Socket: 0o140000}

// encodedInode is an inode with what follows it.
type encodedInode struct {
	head []byte // inode, attributes, index
	tail []byte // what must lie within one block
}

// inode encodes the inode of anything; l is where the content is, nil where there is
// none.
func (w *writer) inode(n *tree.Node, nlink uint32, l *fileLayout) (e encodedInode, err error) {
	w.inodes++
	var size int64
	if l != nil {
		size = l.size
	}
	o := &w.plan.o
	compact := o.compact(n, nlink, size)
	body := w.plan.xattrs.body(n.Xattrs)
	in := ondisk.Inode{XattrCount: xattrCount(body), Mode: modes[n.Type] | n.Perm&0o7777, Nlink: nlink, High: 0, Size: uint64(size),
		Number: uint32(w.inodes), UID: n.UID, GID: n.GID, Mtime: n.Mtime.Sec, Nsec: n.Mtime.Nsec}
	if o.AllTime != nil {
		in.Mtime, in.Nsec = o.AllTime.Sec, o.AllTime.Nsec
	}
	if compact {
		in.High, in.Mtime = uint16(nlink), 0
	}
	layout := ondisk.FlatPlain
	var index []byte
	at := inodeSize(compact) + int64(len(body))
	switch {
	case n.Type == tree.BlockDevice || n.Type == tree.CharDevice:
		in.U, _ = n.Rdev.Linux()
	case l == nil:
	case l.kind == flatLayout:
		in.U = l.block
		if len(l.tail) > 0 {
			layout, e.tail = ondisk.FlatInline, l.tail
		}
	case l.kind == chunkLayout:
		layout, in.U = ondisk.ChunkBased, uint32(l.chunkBits-writeBits)
		index = l.encodeChunks()
	default:
		index, layout = l.encodeIndex(up(at, 8), o.big())
		index = append(make([]byte, up(at, 8)-at), index...)
		in.U, e.tail = l.stored(), l.tail
		if l.kind == packedLayout || l.end != inlineTail {
			e.tail = nil
		}
	}
	in.SetLayout(layout, !compact)
	if len(e.tail) > BlockSize {
		return e, fmt.Errorf("a tail of %d bytes", len(e.tail))
	}
	e.head = append(append(in.Append(nil), body...), index...)
	return e, nil
}

// slab is a part of the image that inodes fill.
type slab struct {
	at   int64 // in the image
	b    []byte
	used int64
	gaps []gap // between those that have a tail, which must not cross a block
}

type gap struct{ at, end int64 }

// Slabs of small images are small.
const (
	slabMin = 8 << 10
	slabMax = 256 << 10
)

// place finds room for an inode in the slab; ok is false where there is none.
func (s *slab) place(head, tail int64) (at int64, ok bool) {
	for i := range s.gaps {
		g := &s.gaps[i]
		if at := s.fit(g.at, head, tail); at+head+tail <= g.end {
			if g.at = up(at+head+tail, ondisk.NIDSize); g.at >= g.end {
				s.gaps = append(s.gaps[:i], s.gaps[i+1:]...)
			}
			return at, true
		}
	}
	at = s.fit(s.used, head, tail)
	if at+head+tail > int64(len(s.b)) {
		return 0, false
	}
	if at > s.used {
		s.gaps = append(s.gaps, gap{s.used, at})
	}
	s.used = min(up(at+head+tail, ondisk.NIDSize), int64(len(s.b)))
	return at, true
}

func (s *slab) fit(at, head, tail int64) int64 {
	if tail == 0 {
		return at
	}
	return fitTail(at, head, tail)
}

// putInode writes an inode and gives its number.
func (w *writer) putInode(e encodedInode) (uint64, error) {
	head, tail := int64(len(e.head)), int64(len(e.tail))
	if tail > 0 && head%BlockSize+tail > BlockSize && head%ondisk.NIDSize+tail > BlockSize {
		return 0, fmt.Errorf("a tail of %d bytes has no place within a block", tail)
	}
	at, ok := int64(0), false
	if w.slab != nil {
		at, ok = w.slab.place(head, tail)
	}
	if !ok {
		if err := w.newSlab(head + tail + BlockSize); err != nil {
			return 0, err
		}
		at, _ = w.slab.place(head, tail)
	}
	copy(w.slab.b[at:], e.head)
	copy(w.slab.b[at+head:], e.tail)
	return uint64(w.slab.at+at-w.plan.places.inodes) / ondisk.NIDSize, nil
}

// newSlab writes the slab that is full, and begins one with room for n bytes.
func (w *writer) newSlab(n int64) error {
	size := int64(slabMin)
	if w.slab != nil {
		size = min(2*int64(len(w.slab.b)), slabMax)
	}
	if err := w.flushSlab(); err != nil {
		return err
	}
	size = up(max(size, n), BlockSize)
	w.slab = &slab{at: w.pos, b: make([]byte, size)}
	w.pos += size
	return nil
}

func (w *writer) flushSlab() error {
	if w.slab == nil {
		return nil
	}
	w.metaBytes += int64(len(w.slab.b))
	return w.writeAt(w.slab.b, w.slab.at)
}
