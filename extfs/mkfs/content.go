package mkfs

import (
	"fmt"

	"relive/extfs/internal/ondisk"
	"relive/tree"
)

// content writes a regular file. Blocks that turn out to be all zeros are left
// out; where that splits extents so that the tree above them grows, it grows
// into the blocks that were left out.
func (b *writer) content(n *tree.Node, rec inodeRecord, ino uint32, in *freshInode) error {
	bs := int64(b.g.blockSize)
	sparse := b.c.sparse[ino]
	if sparse == nil && divCeil(n.Size, bs) != int64(rec.blocks) {
		return errChanged("content has another size")
	}
	logical, data, meta, err := b.dataAt.next(rec, sparse)
	if err != nil {
		return err
	}
	b.extents, b.freed = b.extents[:0], b.freed[:0]
	if rec.blocks > 0 {
		content, err := n.Open()
		if err != nil {
			return err
		}
		err = b.copyRuns(content, n.Size, logical, data)
		if cerr := content.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			return err
		}
	}
	if len(b.freed) > 0 && b.g.feat.extents() &&
		uint64(extentBlocks(len(b.extents), b.g.blockSize)) > countBlocks(meta)+countBlocks(b.freed) {
		// Few holes can split extents so that the tree gets another level.
		// Then the zeros keep their blocks.
		b.extents, b.freed = appendExtents(b.extents[:0], logical, data), b.freed[:0]
	}
	// The mapping takes the blocks planned for it, then those left out.
	list := blockList{runs: append(append([]blockRun(nil), meta...), b.freed...)}
	if len(b.freed) == 0 {
		list.runs = meta
	}
	if err := b.mapExtents(in, ino, b.extents, &list); err != nil {
		return err
	}
	for {
		block, ok := list.next()
		if !ok {
			return nil
		}
		b.inUse.clear(block)
	}
}

func countBlocks(runs []blockRun) (n uint64) {
	for _, r := range runs {
		n += r.n
	}
	return n
}

// copyRuns copies the content's runs to their places and collects extents and
// the blocks left out.
func (b *writer) copyRuns(content tree.Content, size int64, logical []logicalRun, data []blockRun) error {
	if got := content.Size(); got != size {
		return fmt.Errorf("content has %d bytes, not %d", got, size)
	}
	i, used := 0, uint64(0)
	for _, l := range logical {
		at, left := l.start, l.n
		for left > 0 {
			if err := b.ctx.Err(); err != nil {
				return err
			}
			n := uint32(min(uint64(left), data[i].n-used))
			n, err := b.copyPiece(content, size, at, n, data[i].start+used)
			if err != nil {
				return err
			}
			at += n
			left -= n
			if used += uint64(n); used == data[i].n {
				i, used = i+1, 0
			}
		}
	}
	return nil
}

// copyPiece copies at most n blocks from block at of the content to block phys
// of the image and tells how many it took.
func (b *writer) copyPiece(content tree.Content, size int64, at, n uint32, phys uint64) (uint32, error) {
	bs := b.g.blockSize
	most := len(b.data.buf)
	want := int(min(int64(n)*int64(bs), int64(most)))
	room, err := b.data.next(b.offset(phys), want, min(want, most/4))
	if err != nil {
		return 0, err
	}
	room = room[:len(room)/bs*bs]
	off := int64(at) * int64(bs)
	have := min(int64(len(room)), size-off)
	if have <= 0 {
		return 0, errChanged("content has another size")
	}
	if err := tree.ReadFull(content, room[:have], off); err != nil {
		return 0, fmt.Errorf("reading %d bytes at %d: %w", have, off, err)
	}
	clear(room[have:])
	blocks := len(room) / bs
	return uint32(blocks), b.keepData(room, at, phys)
}

// keepData goes through blocks that lie in the data stream's room and commits
// those that are not zeros.
func (b *writer) keepData(room []byte, at uint32, phys uint64) error {
	bs := b.g.blockSize
	blocks := len(room) / bs
	type piece struct{ from, to int } // what to write, in blocks
	var first piece
	var rest []piece
	has := false
	for i := 0; i < blocks; {
		zero := tree.IsZero(room[i*bs : (i+1)*bs])
		j := i + 1
		for j < blocks && tree.IsZero(room[j*bs:(j+1)*bs]) == zero {
			j++
		}
		n := uint32(j - i)
		where := phys + uint64(i)
		if zero {
			b.free(where, uint64(n))
			i = j
			continue
		}
		b.report.DataBytes += int64(n) * int64(bs)
		b.appendData(extent{at + uint32(i), n, where})
		switch {
		case !has:
			first, has = piece{i, j}, true
		case len(rest) == 0 && (i-first.to)*bs <= zeroGap:
			first.to = j
		case len(rest) > 0 && (i-rest[len(rest)-1].to)*bs <= zeroGap:
			rest[len(rest)-1].to = j
		default:
			rest = append(rest, piece{i, j})
		}
		i = j
	}
	if !has {
		return nil
	}
	if first.from == 0 {
		b.data.commit(first.to * bs)
	} else {
		rest = append([]piece{first}, rest...)
	}
	if len(rest) == 0 {
		return nil
	}
	// Flushing leaves the room as it is: only next gives it away again.
	if err := b.data.flush(); err != nil {
		return err
	}
	for _, r := range rest {
		if err := writeAt(b.w, room[r.from*bs:r.to*bs], b.offset(phys+uint64(r.from))); err != nil {
			return err
		}
	}
	return nil
}

// appendData adds a mapping, in extents that are not too long.
func (b *writer) appendData(e extent) {
	for e.n > ondisk.ExtInitMax {
		b.extents = addExtent(b.extents, extent{e.logical, ondisk.ExtInitMax, e.phys})
		e.logical, e.n, e.phys = e.logical+ondisk.ExtInitMax, e.n-ondisk.ExtInitMax, e.phys+ondisk.ExtInitMax
	}
	b.extents = addExtent(b.extents, e)
}

func (b *writer) free(start, n uint64) {
	if k := len(b.freed); k > 0 && b.freed[k-1].start+b.freed[k-1].n == start {
		b.freed[k-1].n += n
		return
	}
	b.freed = append(b.freed, blockRun{start, n})
}
