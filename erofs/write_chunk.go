package erofs

import (
	"encoding/binary"
	"math/bits"

	"relive/erofs/internal/ondisk"
	"relive/internal/filedata"
)

// chunksMax is how many chunks a file is divided into: longer ones have larger chunks.
const chunksMax = 1 << 20

// chunkSizeMax is the largest chunk that is asked for, in bytes: one is in memory as a
// whole.
const chunkSizeMax = 16 << 20

// chunked makes the tasks of a file with holes: the chunks that have data.
func (f *feeder) chunked(of *writtenFile) error {
	l, o := of.layout, &f.w.plan.o
	l.kind = chunkLayout
	l.chunkBits = uint(bits.Len64(uint64(o.ChunkSize)) - 1)
	for (l.size-1)>>l.chunkBits >= chunksMax {
		l.chunkBits++
	}
	l.chunks = make([]uint32, (l.size-1)>>l.chunkBits+1)
	for i := range l.chunks {
		l.chunks[i] = ondisk.NoBlock
	}
	data := filedata.Ranges{Content: of.content}
	size := int64(1) << l.chunkBits
	for start := int64(0); start < l.size; {
		stop := start
		for stop < l.size && stop-start < max(o.runBytes(), size) {
			has, err := data.Has(stop, min(stop+size, l.size))
			if err != nil {
				return err
			}
			if !has {
				break
			}
			stop = min(stop+size, l.size)
		}
		if stop == start {
			start += size
			continue
		}
		j := &task{kind: rawTask, file: of, done: make(chan struct{}), run: run{start: start, end: stop}}
		if err := f.start(j, of.content, true); err != nil {
			return err
		}
		start = stop
	}
	return nil
}

// setChunks notes where the chunks of a range are.
func (l *fileLayout) setChunks(start, end int64, block uint32) {
	for i := start >> l.chunkBits; i<<l.chunkBits < end; i++ {
		l.chunks[i] = block
		block += 1 << (l.chunkBits - writeBits)
	}
}

// encodeChunks gives the table of chunks.
func (l *fileLayout) encodeChunks() []byte {
	b := make([]byte, 0, len(l.chunks)*ondisk.ChunkEntrySize)
	for _, block := range l.chunks {
		b = binary.LittleEndian.AppendUint32(b, block)
	}
	return b
}
