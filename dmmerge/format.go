package dmmerge

import (
	"encoding/binary"
	"fmt"
	"io"
	"math/bits"

	"relive/tree"
)

// The format's constants, all little-endian on disk.
const (
	headerMagic   = 0x70416e53 // "SnAp"
	headerSize    = 16
	headerVersion = 1
	entrySize     = 16
	sectorSize    = 512
	sectorEntries = sectorSize / entrySize

	// maxChunkSectors is the largest power of two whose bytes fit the kernel's
	// int.
	maxChunkSectors = 1 << 21

	// DefaultChunkSectors is the chunk size of the tables that dracut and
	// archiso load, in sectors of 512 bytes: what applies where a header has
	// none yet.
	DefaultChunkSectors = 8
)

// Header is the header of a COW, the first 16 bytes of chunk 0
// (struct disk_header).
type Header struct {
	Valid        uint32 `json:"valid"` // 0 is invalid, anything else valid
	Version      uint32 `json:"version"`
	ChunkSectors uint32 `json:"chunk_sectors"` // in sectors of 512 bytes
}

func (h Header) encode() []byte {
	b := make([]byte, 0, headerSize)
	for _, v := range [...]uint32{headerMagic, h.Valid, h.Version, h.ChunkSectors} {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	return b
}

// Is reports whether a file begins with the header of a COW. An all-zero header,
// which the kernel takes for a COW that is still to be set up, is none.
func Is(r io.ReaderAt, size int64) bool {
	var b [4]byte
	return size >= headerSize && tree.ReadFull(r, b[:], 0) == nil && binary.LittleEndian.Uint32(b[:]) == headerMagic
}

// decodeHeader reads and checks the header in the kernel's order. It gives
// fresh where the magic is 0.
func decodeHeader(name string, b []byte) (h Header, fresh bool, err error) {
	magic := binary.LittleEndian.Uint32(b)
	if magic == 0 {
		return h, true, nil
	}
	if magic != headerMagic {
		return h, false, tree.Corrupt(name, "header",
			"the magic number is %#08x, not that of a snapshot; the kernel refuses it (-ENXIO, Invalid or corrupt snapshot)", magic)
	}
	h = Header{Valid: binary.LittleEndian.Uint32(b[4:]), Version: binary.LittleEndian.Uint32(b[8:]),
		ChunkSectors: binary.LittleEndian.Uint32(b[12:])}
	if err := checkChunk(h.ChunkSectors); err != nil {
		return h, false, tree.Corrupt(name, "header", "chunk size of %d sectors; the kernel refuses it (-EINVAL, %v)", h.ChunkSectors, err)
	}
	if h.Version != headerVersion {
		return h, false, tree.Unsupported(name, "header",
			"version %d; the kernel refuses it (-EINVAL, unable to handle snapshot disk version %d)", h.Version, int32(h.Version))
	}
	return h, false, nil
}

// checkChunk checks a chunk size as dm_exception_store_set_chunk_size does.
func checkChunk(sectors uint32) error {
	switch {
	case bits.OnesCount32(sectors) != 1:
		return fmt.Errorf("chunk size is not a power of 2")
	case sectors > maxChunkSectors:
		return fmt.Errorf("chunk size is too high")
	}
	return nil
}

// geometry is where things lie in a COW of one chunk size.
type geometry struct {
	sectors uint64 // of a chunk
	bytes   int64  // of a chunk
	epa     uint64 // exceptions (entries) in an area
	stride  uint64 // chunks from one area to the next
}

func newGeometry(chunkSectors uint32) geometry {
	g := geometry{sectors: uint64(chunkSectors), bytes: int64(chunkSectors) * sectorSize}
	g.epa = uint64(g.bytes) / entrySize
	g.stride = g.epa + 1
	return g
}

// areaChunk is the chunk that holds an area.
func (g geometry) areaChunk(area uint64) uint64 { return 1 + area*g.stride }

// isMetadata reports whether a chunk is the place of an area.
func (g geometry) isMetadata(chunk uint64) bool { return chunk%g.stride == 1 }

// chunks is how many whole chunks a file of that size has.
func (g geometry) chunks(size int64) uint64 { return uint64(size) / sectorSize / g.sectors }

// dataBelow counts the chunks below a chunk that can hold data.
func (g geometry) dataBelow(chunk uint64) uint64 {
	if chunk < 2 {
		return 0
	}
	return chunk - 1 - (chunk-1+g.stride-1)/g.stride
}

// nthData is the data chunk of index n, from 0.
func (g geometry) nthData(n uint64) uint64 { return 2 + n + n/g.epa }

// trapped reports whether a COW of that many chunks has the size at which filling
// the last area makes the kernel write the next one past the end.
func (g geometry) trapped(chunks uint64) bool { return chunks > 1 && (chunks-1)%g.stride == 0 }

// capacity is how many exceptions a COW of that many chunks takes before it
// overflows or is invalidated.
func (g geometry) capacity(chunks uint64) uint64 {
	n := g.dataBelow(chunks)
	if g.trapped(chunks) {
		n--
	}
	return n
}

// place names an entry by its index over all areas.
func (g geometry) place(entry uint64) string {
	return fmt.Sprintf("area %d, entry %d", entry/g.epa, entry%g.epa)
}

// entryOffset is the byte at which an entry stands.
func (g geometry) entryOffset(entry uint64) int64 {
	return int64(g.areaChunk(entry/g.epa))*g.bytes + int64(entry%g.epa)*entrySize
}
