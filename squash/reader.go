package squash

import (
	"encoding/binary"
	"io"
	"math/bits"
	"sync"

	"relive/codec"
	"relive/internal/hostcopy"
	"relive/internal/lru"
	"relive/squash/internal/ondisk"
	"relive/tree"
)

// Reader shows a SquashFS image as a tree. All methods may be called from
// several goroutines at once, but Close only after the last of them.
type Reader struct {
	image     io.ReaderAt
	name      string
	stored    hostcopy.Source // for who copies
	super     ondisk.Superblock
	size      int64 // of the file, padding included
	used      int64 // super.BytesUsed
	blockSize int
	opts      codec.Options

	inodes, dirs region // of super's tables
	ids          []uint32
	idIndex      []int64 // absolute offsets of the metadata blocks of each table
	fragments    []int64
	exports      []int64
	xattrIDs     []int64
	xattrCount   uint32
	pairs        region // metadata blocks of xattr pairs and values

	decoders *codec.Pool[*decoder]
	metas    *lru.Cache[int64, metaBlock]
	blocks   *lru.Cache[blockKey, []byte]
	xattrs   *lru.Cache[uint32, tree.Xattrs]

	dirMu   sync.Mutex
	dirSeen map[ondisk.Ref]dirPlace
}

// Option changes how Open sets up a Reader.
type Option func(*settings)

type settings struct{ cacheBytes int64 }

// CacheBytes bounds the cache of decoded data and fragment blocks. It holds at
// least four blocks whatever is asked for. The default is 16 MiB.
func CacheBytes(n int64) Option { return func(s *settings) { s.cacheBytes = n } }

const (
	defaultCacheBytes = 16 << 20
	metaCacheBytes    = 4 << 20
	xattrCacheBytes   = 1 << 20
)

// Open opens the image that the first size bytes of r hold; bytes behind the
// image's used length are padding. name stands for the image in errors. What
// is no image, or one whose tables cannot be where it says, is a
// tree.ErrCorrupt; another version or byte order, or a codec that lib does not
// have, is a tree.ErrUnsupported.
func Open(r io.ReaderAt, size int64, name string, lib *codec.Library, opts ...Option) (*Reader, error) {
	set := settings{cacheBytes: defaultCacheBytes}
	for _, o := range opts {
		o(&set)
	}
	head := make([]byte, min(max(size, 0), ondisk.SuperblockSize))
	rd := &Reader{image: r, name: name, size: size, used: int64(len(head)), dirSeen: make(map[ondisk.Ref]dirPlace)}
	rd.stored = hostcopy.Source{Name: name, Image: r, Read: rd.readStored}
	if err := rd.readStored(head, 0); err != nil {
		return nil, err
	}
	var err error
	if rd.super, err = ondisk.ParseSuperblock(head, name); err != nil {
		return nil, err
	}
	if err := checkSuperblock(&rd.super, size, name); err != nil {
		return nil, err
	}
	rd.used, rd.blockSize = int64(rd.super.BytesUsed), int(rd.super.BlockSize)
	if err := rd.readOptions(); err != nil {
		return nil, err
	}
	rd.decoders = codec.NewPool(func() (*decoder, error) { return newDecoder(lib, rd.opts, rd.blockSize) })
	d, err := rd.decoders.Take()
	if err != nil {
		return nil, tree.Within(rd.named(err), "compressor")
	}
	rd.decoders.Give(d)
	rd.metas = lru.New[int64, metaBlock](metaCacheBytes, rd.loadMeta)
	rd.blocks = lru.New[blockKey, []byte](max(set.cacheBytes, 4*int64(rd.blockSize)), rd.loadBlock)
	rd.xattrs = lru.New[uint32, tree.Xattrs](xattrCacheBytes, rd.loadXattrs)
	if err := rd.locateTables(); err != nil {
		rd.Close()
		return nil, err
	}
	return rd, nil
}

// Close frees the decompressors. It does not close the image.
func (r *Reader) Close() error {
	r.decoders.Close()
	return nil
}

// Name is the image's name as given to Open.
func (r *Reader) Name() string { return r.name }

// Options returns the compressor and its options, the defaults where the image
// stores none.
func (r *Reader) Options() codec.Options { return r.opts }

// checkSuperblock judges the fields that everything else stands on. size is the
// length of the file.
func checkSuperblock(s *ondisk.Superblock, size int64, name string) error {
	bad := func(fact string, args ...any) error { return tree.Corrupt(name, "superblock", fact, args...) }
	switch {
	case s.BlockSize < MinBlockSize || s.BlockSize > MaxBlockSize || s.BlockSize&(s.BlockSize-1) != 0:
		return bad("block size %d is no power of two from %d to %d", s.BlockSize, MinBlockSize, MaxBlockSize)
	case int(s.BlockLog) != bits.TrailingZeros32(s.BlockSize):
		return bad("block size %d does not go with its logarithm %d", s.BlockSize, s.BlockLog)
	case s.BytesUsed > uint64(size):
		return bad("the image uses %d bytes, the file has %d: it is truncated", s.BytesUsed, size)
	case s.BytesUsed < ondisk.SuperblockSize:
		return bad("the image uses %d bytes, less than its superblock", s.BytesUsed)
	case s.InodeCount == 0:
		return bad("no inodes")
	case s.IDCount == 0:
		return bad("no ids")
	}
	for _, t := range []struct {
		name     string
		start    uint64
		optional bool
	}{
		{"inode table", s.InodeTableStart, false},
		{"directory table", s.DirTableStart, false},
		{"id table", s.IDTableStart, false},
		{"fragment table", s.FragmentTableStart, s.FragmentCount == 0},
		{"export table", s.ExportTableStart, s.ExportTableStart == ondisk.NoTable},
		{"xattr table", s.XattrTableStart, s.XattrTableStart == ondisk.NoTable},
	} {
		if !t.optional && (t.start < ondisk.SuperblockSize || t.start >= s.BytesUsed) {
			return bad("the %s starts at %d, outside the image of %d bytes", t.name, t.start, s.BytesUsed)
		}
	}
	return nil
}

// readOptions reads the compressor options, which an uncompressed metadata
// block behind the superblock holds (format.adoc, "Compression Options").
func (r *Reader) readOptions() error {
	var payload []byte
	if r.super.Flags&FlagCompressorOptions != 0 {
		var head [2]byte
		if err := r.readStored(head[:], ondisk.SuperblockSize); err != nil {
			return tree.Within(err, "compressor options")
		}
		n, compressed := ondisk.MetadataStored(binary.LittleEndian.Uint16(head[:]))
		if compressed || n > ondisk.MetadataSize {
			return r.corrupt("compressor options", "header %#x does not lead an uncompressed block", binary.LittleEndian.Uint16(head[:]))
		}
		payload = make([]byte, n)
		if err := r.readStored(payload, ondisk.SuperblockSize+2); err != nil {
			return tree.Within(err, "compressor options")
		}
	}
	var err error
	r.opts, err = codec.ParseOptions(codec.ID(r.super.Compression), payload, r.blockSize)
	return r.named(err)
}

// locateTables reads the index arrays and the id table and finds where the
// regions of metadata blocks end.
func (r *Reader) locateTables() error {
	s := &r.super
	var err error
	if r.idIndex, err = r.readIndex("id table", int64(s.IDTableStart), uint64(s.IDCount), ondisk.IDSize); err != nil {
		return err
	}
	if s.FragmentCount != 0 {
		if r.fragments, err = r.readIndex("fragment table", int64(s.FragmentTableStart), uint64(s.FragmentCount),
			ondisk.FragmentEntrySize); err != nil {
			return err
		}
	}
	if s.ExportTableStart != ondisk.NoTable {
		if r.exports, err = r.readIndex("export table", int64(s.ExportTableStart), uint64(s.InodeCount), ondisk.ExportSize); err != nil {
			return err
		}
	}
	if s.XattrTableStart != ondisk.NoTable {
		var b [ondisk.XattrTableHeaderSize]byte
		if err := r.readStored(b[:], int64(s.XattrTableStart)); err != nil {
			return tree.Within(err, "xattr table")
		}
		h := ondisk.DecodeXattrTableHeader(b[:])
		if h.PairsStart < ondisk.SuperblockSize || h.PairsStart > uint64(r.used) {
			return r.corrupt("xattr table", "pairs start at %d, outside the image of %d bytes", h.PairsStart, r.used)
		}
		r.xattrCount, r.pairs.start = h.IDCount, int64(h.PairsStart)
		if r.xattrIDs, err = r.readIndex("xattr table", int64(s.XattrTableStart)+ondisk.XattrTableHeaderSize, uint64(h.IDCount),
			ondisk.XattrIDSize); err != nil {
			return err
		}
	}

	// A region of metadata blocks ends where the next thing starts.
	marks := []int64{int64(s.InodeTableStart), int64(s.DirTableStart), int64(s.IDTableStart), r.used}
	for _, index := range [][]int64{r.idIndex, r.fragments, r.exports, r.xattrIDs} {
		if len(index) > 0 {
			marks = append(marks, index[0])
		}
	}
	if r.fragments != nil {
		marks = append(marks, int64(s.FragmentTableStart))
	}
	if r.exports != nil {
		marks = append(marks, int64(s.ExportTableStart))
	}
	if s.XattrTableStart != ondisk.NoTable {
		marks = append(marks, int64(s.XattrTableStart), r.pairs.start)
	}
	endOf := func(start int64) int64 {
		end := r.used
		for _, m := range marks {
			if m > start {
				end = min(end, m)
			}
		}
		return end
	}
	r.inodes = region{"inode table", int64(s.InodeTableStart), endOf(int64(s.InodeTableStart))}
	r.dirs = region{"directory table", int64(s.DirTableStart), endOf(int64(s.DirTableStart))}
	// A directory table without entries takes no bytes.
	for _, index := range [][]int64{r.idIndex, r.fragments, r.exports} {
		if len(index) > 0 && index[0] == r.dirs.start {
			r.dirs.end = r.dirs.start
		}
	}
	r.pairs = region{"xattr pairs", r.pairs.start, endOf(r.pairs.start)}
	// Where there is an export table, numbers may be missing; see Numbers.
	if most := r.inodes.maxDecoded() / ondisk.MinInodeSize; r.exports == nil && uint64(s.InodeCount) > most {
		return r.corrupt("superblock", "%d inodes, where the inode table of %d bytes can hold at most %d", s.InodeCount,
			r.inodes.end-r.inodes.start, most)
	}
	return r.readIDs(r.idIndex)
}

// readIndex reads the index array of a table of count entries of that size:
// the absolute offsets of its metadata blocks.
func (r *Reader) readIndex(table string, start int64, count uint64, entrySize int) ([]int64, error) {
	n := ondisk.IndexLen(count, entrySize)
	if n > uint64(max(r.used-start, 0))/ondisk.IndexSize {
		return nil, r.corrupt(table, "an index of %d blocks for %d entries reaches past the end of the image at %d", n, count, r.used)
	}
	b := make([]byte, n*ondisk.IndexSize)
	if err := r.readStored(b, start); err != nil {
		return nil, tree.Within(err, "%s", table)
	}
	index := make([]int64, n)
	for i := range index {
		at := binary.LittleEndian.Uint64(b[i*ondisk.IndexSize:])
		if at < ondisk.SuperblockSize || at >= uint64(r.used) {
			return nil, r.corrupt(table, "index entry %d points to %d, outside the image of %d bytes", i, at, r.used)
		}
		index[i] = int64(at)
	}
	return index, nil
}

// indexed returns entry i of a table that has an index array.
func (r *Reader) indexed(index []int64, i uint32, entrySize int) ([]byte, error) {
	perBlock := uint32(ondisk.MetadataSize / entrySize)
	b, err := r.meta(index[i/perBlock])
	if err != nil {
		return nil, err
	}
	at := int(i%perBlock) * entrySize
	if at+entrySize > len(b.data) {
		return nil, r.corrupt("", "metadata block at offset %d ends before it, after %d bytes", index[i/perBlock], len(b.data))
	}
	return b.data[at : at+entrySize], nil
}

// readIDs reads the id table, at most 256 KiB.
func (r *Reader) readIDs(index []int64) error {
	r.ids = make([]uint32, r.super.IDCount)
	for i := range r.ids {
		b, err := r.indexed(index, uint32(i), ondisk.IDSize)
		if err != nil {
			return tree.Within(err, "id table: entry %d", i)
		}
		r.ids[i] = binary.LittleEndian.Uint32(b)
	}
	return nil
}

// fragmentCount is the number of entries of the fragment table.
func (r *Reader) fragmentCount() int { return int(r.super.FragmentCount) }

// fragment returns an entry of the fragment table.
func (r *Reader) fragment(i uint32) (ondisk.FragmentEntry, error) {
	if i >= r.super.FragmentCount {
		return ondisk.FragmentEntry{}, r.corrupt("fragment table", "there is no entry %d, only %d", i, r.super.FragmentCount)
	}
	b, err := r.indexed(r.fragments, i, ondisk.FragmentEntrySize)
	if err != nil {
		return ondisk.FragmentEntry{}, tree.Within(err, "fragment table: entry %d", i)
	}
	f := ondisk.DecodeFragmentEntry(b)
	if _, err := r.checkBlock(f.Start, f.Word); err != nil {
		return ondisk.FragmentEntry{}, tree.Within(err, "fragment table: entry %d", i)
	}
	return f, nil
}

// fragmentBlock returns a decoded fragment block from a cache. The caller must
// not modify it.
func (r *Reader) fragmentBlock(i uint32) ([]byte, error) {
	f, err := r.fragment(i)
	if err != nil {
		return nil, err
	}
	b, err := r.cachedBlock(blockKey{start: f.Start, word: f.Word})
	if err != nil {
		return nil, tree.Within(err, "fragment %d", i)
	}
	return b, nil
}
