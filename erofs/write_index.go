package erofs

import (
	"encoding/binary"

	"relive/codec"
	"relive/erofs/internal/ondisk"
)

// placed is an extent of a file that is written, which ends where the next one
// begins.
type placed struct {
	start   int64
	block   uint32 // in the image; relative to something else before that is known
	blocks  uint16
	typ     ondisk.ClusterType
	partial bool
}

// fileLayout is where the content of a file is in the new image.
type fileLayout struct {
	size int64
	kind layoutKind
	// block is the first of flat data.
	block uint32
	// tail is what of flat data, or of the stream of the last extent, is beside the
	// inode.
	tail []byte
	// exts are the extents; the last one has no block where it is beside the inode or
	// a fragment.
	exts       []placed
	algo       codec.Raw
	interlaced bool
	end        tailKind
	fragment   int64 // where in packed data the last extent, or all of the file, is
	// chunks are the blocks of chunks of 1<<chunkBits bytes.
	chunks    []uint32
	chunkBits uint
}

type layoutKind uint8

const (
	flatLayout layoutKind = iota
	extentLayout
	packedLayout // all of the file is a fragment
	chunkLayout
)

type tailKind uint8

const (
	noTail tailKind = iota
	inlineTail
	fragmentTail
)

// stored is the number of blocks that the extents take.
func (l *fileLayout) stored() (n uint32) {
	for i := range l.exts {
		if l.end == noTail || i+1 < len(l.exts) {
			n += uint32(l.exts[i].blocks)
		}
	}
	return n
}

// indexEncoder makes the index of a file.
type indexEncoder struct {
	l     *fileLayout
	big   bool
	total int64
	i     int // the extent that next is in
}

// next gives the entry of an lcluster; they are asked for in order.
func (x *indexEncoder) next(lcn int64) (e lcluster, forward int64) {
	exts := x.l.exts
	for x.i+1 < len(exts) && exts[x.i+1].start>>writeBits <= lcn {
		x.i++
	}
	ext := &exts[x.i]
	head, end := ext.start>>writeBits, x.total
	if x.i+1 < len(exts) {
		end = exts[x.i+1].start >> writeBits
	}
	if lcn == head {
		return lcluster{typ: ext.typ, offset: ext.start & (BlockSize - 1), block: uint64(ext.block), partial: ext.partial}, 0
	}
	if x.ends(lcn, head) {
		return lcluster{typ: ondisk.Plain, offset: x.l.size & (BlockSize - 1)}, 0
	}
	e = lcluster{typ: ondisk.NonHead, back: lcn - head}
	if x.big && e.back == 1 {
		e.counts, e.blocks = true, max(ext.blocks, 1)
	}
	return e, end - lcn
}

// ends tells whether an lcluster says where the last extent ends, by a head behind the
// end of the file: the kernel takes the lcluster's own end without, which is more than
// the extent has.
func (x *indexEncoder) ends(lcn, head int64) bool {
	last := &x.l.exts[len(x.l.exts)-1]
	return lcn == x.total-1 && x.l.size&(BlockSize-1) != 0 && (last.blocks <= 1 || lcn > head+1)
}

// distance is a distance as it stands in an index. Longer ones than it holds are
// followed in steps.
func distance(n int64) uint16 { return uint16(min(n, int64(ondisk.BlockCount)-1)) }

// encodeIndex gives the header and the index of a file whose metadata ends at a
// multiple of 32 bytes and at: compact where the form can hold it.
func (l *fileLayout) encodeIndex(at int64, big bool) (b []byte, layout ondisk.Layout) {
	h := ondisk.MapHeader{Algorithms: uint8(l.algo)}
	if l.kind == packedLayout {
		h.Bits, h.Word = ondisk.WholeFragment, uint64(l.fragment)
		return h.Append(nil), ondisk.CompressedFull
	}
	if l.interlaced {
		h.Advise |= ondisk.AdviseInterlaced
	}
	switch l.end {
	case inlineTail:
		h.Advise |= ondisk.AdviseInline
		h.InlineSize = uint16(len(l.tail))
	case fragmentTail:
		h.Advise |= ondisk.AdviseFragment
		h.Fragment = uint32(l.fragment)
	}
	if big {
		h.Advise |= ondisk.AdviseBig1
	}
	if body := l.compactIndex(at+ondisk.MapHeaderSize, big); body != nil {
		h.Advise |= ondisk.AdviseCompact2B
		if big {
			h.Advise |= ondisk.AdviseBig2
		}
		return append(h.Append(nil), body...), ondisk.CompressedCompact
	}
	return append(h.Append(nil), l.fullIndex(big)...), ondisk.CompressedFull
}

func (l *fileLayout) fullIndex(big bool) []byte {
	x := indexEncoder{l: l, big: big, total: (l.size-1)>>writeBits + 1}
	b := make([]byte, ondisk.FullReserved, ondisk.FullReserved+x.total*ondisk.FullEntrySize)
	le := binary.LittleEndian
	for lcn := range x.total {
		e, forward := x.next(lcn)
		advise := uint16(e.typ)
		if e.partial {
			advise |= ondisk.FullPartial
		}
		b = le.AppendUint16(b, advise)
		if e.head() {
			block := uint32(e.block)
			if l.end == fragmentTail && x.i == len(l.exts)-1 {
				block = uint32(l.fragment >> 32)
			}
			b = le.AppendUint16(b, uint16(e.offset))
			b = le.AppendUint32(b, block)
			continue
		}
		back := distance(e.back)
		if e.counts {
			back = ondisk.BlockCount | e.blocks
		}
		b = le.AppendUint16(b, 0)
		b = le.AppendUint16(b, back)
		b = le.AppendUint16(b, distance(forward))
	}
	return b
}

// compactIndex gives a compact index for a place, or nil where there can be none:
// where what a pack names does not lie together, or something is told that only a
// full one can say.
func (l *fileLayout) compactIndex(at int64, big bool) []byte {
	if l.end == fragmentTail && l.fragment > 0xffffffff {
		return nil
	}
	x := indexEncoder{l: l, big: big, total: (l.size-1)>>writeBits + 1}
	form := index{bits: writeBits, total: x.total, compact: true}
	form.base = at % 32
	form.four = min((32-form.base)/4&7, x.total)
	form.two = (x.total - form.four) &^ 15
	if big {
		form.advise = ondisk.AdviseBig1
	}
	_, _, end := form.pack(x.total - 1)
	b := make([]byte, end-form.base)
	var ents, check [16]lcluster
	var forward [16]int64
	for lcn := int64(0); lcn < x.total; {
		pos, _, next := form.pack(lcn)
		n := 2
		if next-pos == 32 {
			n = 16
		}
		p := b[pos-form.base : next-form.base]
		used, without := 0, uint16(0)
		for k := 0; k < n && lcn < x.total; k, lcn = k+1, lcn+1 {
			ents[k], forward[k] = x.next(lcn)
			if ents[k].partial {
				return nil
			}
			if x.i == len(l.exts)-1 && ents[k].head() && (l.end != noTail || lcn > l.exts[x.i].start>>writeBits) {
				without |= 1 << k
			}
			used++
		}
		for k := used; k < n; k++ { // half a pack at the end
			ents[k], forward[k] = lcluster{}, 0
		}
		base, ok := form.baseOf(ents[:used], without, &check)
		if !ok {
			return nil
		}
		form.encodePack(p, ents[:n], forward[:n])
		binary.LittleEndian.PutUint32(p[len(p)-4:], base)
	}
	return b
}

// baseOf gives the block that a pack's own are counted from; ok is false where they
// do not lie together. without has a bit for each head that has no data in a block.
func (x *index) baseOf(ents []lcluster, without uint16, check *[16]lcluster) (base uint32, ok bool) {
	copy(check[:], ents)
	c := check[:len(ents)]
	x.countBlocks(c, 0)
	for k := range ents {
		if ents[k].head() && without>>k&1 == 0 {
			base = uint32(ents[k].block - c[k].block)
			ok = true
			break
		}
	}
	if !ok {
		return 0, true // no head has data
	}
	for k := range ents {
		if ents[k].head() && without>>k&1 == 0 && uint32(c[k].block)+base != uint32(ents[k].block) {
			return 0, false
		}
	}
	return base, true
}

// encodePack writes the entries of a pack.
func (x *index) encodePack(p []byte, ents []lcluster, forward []int64) {
	width := uint(len(p)-4) * 8 / uint(len(ents))
	for k := range ents {
		e := &ents[k]
		v := uint32(e.offset)
		switch {
		case e.head():
		case e.counts:
			v = uint32(ondisk.BlockCount | e.blocks)
		case k == len(ents)-1:
			v = uint32(distance(forward[k]))
		default:
			v = uint32(distance(e.back))
		}
		v |= uint32(e.typ) << writeBits
		bit := uint(k) * width
		v <<= bit % 8
		for at := bit / 8; v != 0; at++ {
			p[at] |= byte(v)
			v >>= 8
		}
	}
}
