package erofs

import (
	"encoding/binary"
	"fmt"

	"relive/codec"
	"relive/erofs/internal/ondisk"
	"relive/tree"
)

// index is an extentMap by lclusters: an entry for each says whether an extent begins
// there, and in which block of the image.
type index struct {
	d      *fileData
	bits   uint  // log2 of an lcluster
	base   int64 // absolute offset of the first entry
	total  int64 // number of entries
	advise uint16
	algos  [2]codec.Raw // of HEAD1 and HEAD2

	// Of compact indexes: how many entries take 4 bytes at first, and 2 then. The
	// rest takes 4 again.
	compact    bool
	four, two  int64
	tailHead   int64 // lcluster of the head of the extent that is not in blocks; -1 where there is none
	tailForm   form  // formFragment, or formStream for one beside the index
	tailPos    int64 // in the packed inode, or in the image
	tailStored int
}

// lcluster is an entry of an index.
type lcluster struct {
	typ     ondisk.ClusterType
	offset  int64 // of heads: where the extent begins in the lcluster
	block   uint64
	partial bool
	hole    bool
	back    int64 // of others: distance to the head, or to where a longer one is told
	counts  bool  // of others: the number of blocks of the extent is told
	blocks  uint16
}

func (e *lcluster) head() bool { return e.typ != ondisk.NonHead }

func (d *fileData) index(h *header) (*index, error) {
	r := d.r
	x := &index{
		d: d, bits: h.bits, base: h.pos, advise: h.Advise, compact: d.layout == ondisk.CompressedCompact,
		algos: [2]codec.Raw{codec.Raw(h.Algorithms & 15), codec.Raw(h.Algorithms >> 4)}, tailHead: -1,
	}
	x.total = (d.size-1)>>h.bits + 1
	big1, big2 := h.Advise&ondisk.AdviseBig1 != 0, h.Advise&ondisk.AdviseBig2 != 0
	if (big1 || big2) && r.super.Incompat&ondisk.IncompatConfigs == 0 {
		return nil, r.corrupt("", "it has big pclusters, and the image has not")
	}
	var end int64
	if x.compact {
		if big1 != big2 {
			return nil, r.corrupt("", "a compact index with advise 0x%x", h.Advise)
		}
		if h.bits > 14 {
			return nil, tree.Unsupported(r.name, "", "a compact index of lclusters of 2^%d bytes", h.bits)
		}
		x.four = min(((32-h.pos%32)/4)&7, x.total)
		if h.Advise&ondisk.AdviseCompact2B != 0 {
			x.two = (x.total - x.four) &^ 15
		}
		if x.two > 0 && h.bits > 12 {
			return nil, tree.Unsupported(r.name, "", "packs of two bytes for lclusters of 2^%d bytes", h.bits)
		}
		_, _, end = x.pack(x.total - 1)
	} else {
		x.base += ondisk.FullReserved
		end = x.base + x.total*ondisk.FullEntrySize
	}
	if x.total > r.size || end > r.size {
		return nil, r.corrupt("", "an index of %d entries reaches past the end of the image at %d", x.total, r.size)
	}
	return x, x.findTail(h)
}

// findTail finds the last extent where that is a fragment, or beside the index.
func (x *index) findTail(h *header) error {
	switch {
	case h.Advise&ondisk.AdviseFragment != 0:
		x.tailForm, x.tailPos = formFragment, int64(h.Fragment)
	case h.Advise&ondisk.AdviseInline != 0 && h.InlineSize != 0:
		x.tailForm, x.tailStored = formStream, int(h.InlineSize)
		x.tailPos = x.base + x.total*ondisk.FullEntrySize
		if x.compact {
			_, _, x.tailPos = x.pack(x.total - 1)
		}
	default:
		return nil
	}
	c := cursor{x: x}
	lcn, head, err := x.headOf(&c, x.d.size-1)
	if err != nil {
		return err
	}
	x.tailHead = lcn
	if x.tailForm == formFragment && !x.compact {
		x.tailPos |= int64(head.block) << 32
	}
	return nil
}

// pack tells where in a compact index the entry of an lcluster is: the absolute
// offset of its pack, its number in that, and the pack's end.
func (x *index) pack(lcn int64) (pos int64, i int, end int64) {
	pos, size, unit := x.base, int64(8), int64(4)
	switch {
	case lcn < x.four:
	case lcn < x.four+x.two:
		pos, lcn, size, unit = pos+4*x.four, lcn-x.four, 32, 2
	default:
		pos, lcn = pos+4*x.four+2*x.two, lcn-x.four-x.two
	}
	pos += lcn * unit
	i = int(pos % size / unit)
	pos -= pos % size
	return pos, i, pos + size
}

// cursor reads entries of an index. It belongs to one goroutine.
type cursor struct {
	x     *index
	first int64 // lcluster of the first entry that is there
	n     int64
	ents  [16]lcluster
}

// entry gives the entry of an lcluster. It is valid until the next call.
func (c *cursor) entry(lcn int64) (*lcluster, error) {
	if lcn < c.first || lcn >= c.first+c.n {
		c.n = 0
		var err error
		if c.x.compact {
			err = c.loadPack(lcn)
		} else {
			err = c.loadFull(lcn)
		}
		if err != nil {
			return nil, tree.Within(err, "lcluster %d", lcn)
		}
	}
	e := &c.ents[lcn-c.first]
	switch {
	case e.head() && e.offset >= 1<<c.x.bits:
		return nil, c.x.bad(lcn, "its extent begins at byte %d of %d", e.offset, int64(1)<<c.x.bits)
	case !e.head() && e.back == 0:
		return nil, c.x.bad(lcn, "it is 0 behind its head")
	case e.counts && c.x.advise&(ondisk.AdviseBig1|ondisk.AdviseBig2) == 0:
		return nil, c.x.bad(lcn, "it counts blocks, where pclusters have one")
	}
	return e, nil
}

func (x *index) bad(lcn int64, fact string, args ...any) error {
	return x.d.r.corrupt(fmt.Sprintf("lcluster %d", lcn), fact, args...)
}

// loadFull reads entries of eight bytes.
func (c *cursor) loadFull(lcn int64) error {
	var b [len(c.ents) * ondisk.FullEntrySize]byte
	n := min(c.x.total-lcn, int64(len(c.ents)))
	if err := c.x.d.r.readMeta(b[:n*ondisk.FullEntrySize], c.x.base+lcn*ondisk.FullEntrySize); err != nil {
		return err
	}
	le := binary.LittleEndian
	for i := range n {
		b := b[i*ondisk.FullEntrySize:]
		advise := le.Uint16(b)
		e := lcluster{typ: ondisk.ClusterType(advise & ondisk.FullTypeMask)}
		if e.head() {
			e.offset, e.block = int64(le.Uint16(b[2:])), uint64(le.Uint32(b[4:]))
			e.partial, e.hole = advise&ondisk.FullPartial != 0, advise&ondisk.FullHole != 0
		} else {
			e.setDistance(le.Uint16(b[4:]))
		}
		c.ents[i] = e
	}
	c.first, c.n = lcn, n
	return nil
}

// setDistance takes the distance to the head, or what stands in its place in the first
// lcluster behind the head: the number of blocks.
func (e *lcluster) setDistance(d uint16) {
	if d&ondisk.BlockCount == 0 {
		e.back = int64(d)
		return
	}
	e.back, e.counts, e.blocks = 1, true, d&^ondisk.BlockCount
}

// loadPack reads a pack: entries of 14 or 16 bits, which a block's address follows,
// from which those of all heads in the pack are counted.
func (c *cursor) loadPack(lcn int64) error {
	x := c.x
	pos, i, end := x.pack(lcn)
	var b [32]byte
	size := int(end - pos)
	if err := x.d.r.readMeta(b[:size], pos); err != nil {
		return err
	}
	n := 2
	if size == len(b) {
		n = 16
	}
	width := uint(size-4) * 8 / uint(n)
	low := max(x.bits, 12)
	for k := range n {
		bit := uint(k) * width
		// At most 16 bits, that begin at any bit: they are in three bytes.
		at := bit / 8
		v := uint32(b[at]) | uint32(b[at+1])<<8 | uint32(b[at+2])<<16
		v = v >> (bit % 8) & (1<<width - 1)
		e := lcluster{typ: ondisk.ClusterType(v >> low & 3)}
		value := uint16(v & (1<<low - 1))
		switch {
		case e.head():
			e.offset = int64(value)
		case value&ondisk.BlockCount == 0 && k == n-1:
			// The last one has the distance to the next head, and is one further from
			// its own than the one before it.
			e.back = 1
			if prev := &c.ents[k-1]; !prev.head() {
				e.back = prev.back + 1
			}
		default:
			e.setDistance(value)
		}
		c.ents[k] = e
	}
	x.countBlocks(c.ents[:n], uint64(binary.LittleEndian.Uint32(b[size-4:])))
	c.first, c.n = lcn-int64(i), min(int64(n), x.total-(lcn-int64(i)))
	return nil
}

// countBlocks gives the heads of a pack their blocks. Those that a pack names follow
// each other from its base.
func (x *index) countBlocks(ents []lcluster, base uint64) {
	if x.advise&ondisk.AdviseBig1 == 0 {
		for i := range ents {
			if ents[i].head() {
				base++
				ents[i].block = base
			}
		}
		return
	}
	open := false // a head whose blocks are not counted yet
	for i := range ents {
		e := &ents[i]
		switch {
		case e.head():
			if open {
				base++
			}
			e.block, open = base, true
		case e.counts:
			base, open = base+uint64(e.blocks), false
		}
	}
}

// headOf gives the lcluster of the head of the extent that the byte at off is in, and
// its entry.
func (x *index) headOf(c *cursor, off int64) (int64, lcluster, error) {
	lcn := off >> x.bits
	e, err := c.entry(lcn)
	if err != nil {
		return 0, lcluster{}, err
	}
	back := e.back
	if e.head() {
		if off&(1<<x.bits-1) >= e.offset {
			return lcn, *e, nil
		}
		back = 1
	}
	for {
		if back > lcn {
			return 0, lcluster{}, x.bad(lcn, "its extent begins before the file")
		}
		lcn -= back
		if e, err = c.entry(lcn); err != nil {
			return 0, lcluster{}, err
		}
		if e.head() {
			return lcn, *e, nil
		}
		back = e.back
	}
}

// find implements extentMap.
func (x *index) find(off int64) (extent, error) {
	c := cursor{x: x}
	lcn, head, err := x.headOf(&c, off)
	if err != nil {
		return extent{}, err
	}
	e := extent{start: lcn<<x.bits + head.offset, partial: head.partial}
	blocks, err := x.measure(&c, lcn, &head, &e)
	if err != nil {
		return extent{}, err
	}
	switch {
	case lcn == x.tailHead && x.tailForm == formFragment:
		e.form, e.pos = formFragment, x.tailPos
		return e, nil
	case lcn == x.tailHead:
		e.pos, e.stored, e.inline = x.tailPos, x.tailStored, true
	case head.hole:
		e.form = formHole
		return e, nil
	default:
		e.pos, e.stored = x.d.r.blockAt(head.block), blocks<<x.d.r.blockBits
	}
	switch head.typ {
	case ondisk.Plain:
		e.form = formPlain
		if x.advise&ondisk.AdviseInterlaced != 0 && !e.inline {
			e.form = formInterlaced
		}
	case ondisk.Head1:
		e.algo = x.algos[0]
	case ondisk.Head2:
		e.algo = x.algos[1]
	}
	return e, nil
}

// measure finds the end of an extent, and gives the number of its blocks. All entries
// up to the next head must lead back to this one.
func (x *index) measure(c *cursor, lcn int64, head *lcluster, e *extent) (blocks int, err error) {
	blocks = 1
	big := x.advise&ondisk.AdviseBig1 != 0
	if head.typ == ondisk.Head2 || head.typ == ondisk.Plain && !big {
		big = x.advise&ondisk.AdviseBig2 != 0
	}
	e.end = x.d.size
	for next := lcn + 1; next < x.total; next++ {
		n, err := c.entry(next)
		if err != nil {
			return 0, err
		}
		if n.head() {
			e.end = min(e.end, next<<x.bits+n.offset)
			break
		}
		switch {
		case n.counts && (next != lcn+1 || !big):
			return 0, x.bad(next, "it counts blocks, and is not the first behind the head of a big pcluster")
		case n.counts:
			blocks = int(n.blocks)
		case next == lcn+1 && big && lcn != x.tailHead && !head.hole:
			return 0, x.bad(next, "the blocks of its pcluster are not counted")
		case n.back > next-lcn:
			return 0, x.bad(next, "it is %d behind its head, not %d", n.back, next-lcn)
		}
		if !head.hole && lcn != x.tailHead && (next-lcn)<<x.bits > ondisk.ExtentMax+1<<x.bits {
			return 0, x.bad(lcn, "its extent has more than %d bytes", ondisk.ExtentMax)
		}
	}
	return blocks, nil
}
