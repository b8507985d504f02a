package erofs

import (
	"fmt"
	"io"
	"math"
	"strings"
	"sync"

	"relive/codec"
	"relive/erofs/internal/ondisk"
	"relive/internal/hostcopy"
	"relive/internal/lru"
	"relive/tree"
)

// Sizes of blocks, as logarithms. The kernel takes those that a page holds.
const (
	minBlockBits = 9
	maxBlockBits = 16
)

// Reader shows an EROFS image as a tree. All methods may be called from several
// goroutines at once, but Close only after the last of them.
type Reader struct {
	image     io.ReaderAt
	name      string
	stored    hostcopy.Source // for who copies
	super     ondisk.Superblock
	raw       [ondisk.SuperblockSize]byte // the same, as it is stored
	size      int64                       // of the file
	blockBits uint
	blockSize int64
	root      uint64
	algos     [algorithms]algorithm
	packed    tree.Content // nil where there is none
	prefixes  []string     // long ones of attribute names

	decoders [algorithms]*codec.Pool[codec.RawDecompressor]
	sources  *codec.Pool[*source]
	metas    *lru.Cache[int64, []byte]
	extents  *lru.Cache[extentKey, []byte]
	xattrs   *lru.Cache[uint32, tree.Xattr]

	dirMu   sync.Mutex
	dirSeen map[uint64]dirPlace
}

// Option changes how Open sets up a Reader.
type Option func(*settings)

type settings struct{ cacheBytes int64 }

// CacheBytes bounds the cache of decoded extents. It holds at least the one that was
// used last whatever is asked for. The default is 32 MiB.
func CacheBytes(n int64) Option { return func(s *settings) { s.cacheBytes = n } }

const (
	defaultCacheBytes = 32 << 20
	metaCacheBytes    = 4 << 20
	xattrCacheBytes   = 1 << 20
)

// Open opens the image that the first size bytes of r hold. name stands for the image
// in errors. What is no image, or one whose superblock does not fit its checksum, is
// a tree.ErrCorrupt; one with a feature that is not read is a tree.ErrUnsupported.
func Open(r io.ReaderAt, size int64, name string, lib *codec.Library, opts ...Option) (*Reader, error) {
	set := settings{cacheBytes: defaultCacheBytes}
	for _, o := range opts {
		o(&set)
	}
	rd := &Reader{image: r, name: name, size: max(size, 0), dirSeen: make(map[uint64]dirPlace)}
	rd.stored = hostcopy.Source{Name: name, Image: r, Read: rd.read}
	rd.metas = lru.New(metaCacheBytes, rd.loadMeta)
	rd.extents = lru.New(set.cacheBytes, rd.loadExtent)
	rd.xattrs = lru.New(xattrCacheBytes, rd.loadShared)
	if err := rd.readSuperblock(); err != nil {
		return nil, err
	}
	if err := rd.readConfigs(); err != nil {
		return nil, err
	}
	rd.sources = codec.NewPool(func() (*source, error) { return new(source), nil })
	for i := range rd.decoders {
		window := rd.algos[i].window
		rd.decoders[i] = codec.NewPool(func() (codec.RawDecompressor, error) {
			return lib.NewRawDecompressor(codec.Raw(i), window)
		})
	}
	if err := rd.openPacked(); err != nil {
		rd.Close()
		return nil, err
	}
	if err := rd.readPrefixes(); err != nil {
		rd.Close()
		return nil, err
	}
	return rd, nil
}

// Close frees the decompressors. It does not close the image.
func (r *Reader) Close() error {
	for _, p := range r.decoders {
		p.Close()
	}
	r.sources.Close()
	return nil
}

// Name is the image's name as given to Open.
func (r *Reader) Name() string { return r.name }

// readSuperblock reads and judges what everything else stands on.
func (r *Reader) readSuperblock() error {
	if r.size < ondisk.SuperblockOffset+ondisk.SuperblockSize {
		return r.corrupt("superblock", "file of %d bytes is too short for an EROFS image", r.size)
	}
	var b [ondisk.SuperblockSize]byte
	if err := r.read(b[:], ondisk.SuperblockOffset); err != nil {
		return tree.Within(err, "superblock")
	}
	r.raw = b
	s, ok := ondisk.DecodeSuperblock(b[:])
	if !ok {
		return r.corrupt("superblock", "no EROFS magic: %q", b[:4])
	}
	if s.BlockBits < minBlockBits || s.BlockBits > maxBlockBits {
		return r.corrupt("superblock", "block size of 2^%d, not from 2^%d to 2^%d", s.BlockBits, minBlockBits, maxBlockBits)
	}
	r.super, r.blockBits, r.blockSize = s, uint(s.BlockBits), 1<<s.BlockBits
	// First of all: of a damaged superblock nothing else is worth telling.
	if s.Compat&ondisk.CompatChecksum != 0 {
		if err := r.checkSum(); err != nil {
			return err
		}
	}
	if err := r.checkFeatures(); err != nil {
		return err
	}
	if s.FixedNsec >= nsecPerSec {
		return r.corrupt("superblock", "a time has %d nanoseconds", s.FixedNsec)
	}
	r.root = uint64(s.Root16)
	if s.Incompat&ondisk.Incompat48Bit != 0 && s.Root64 != 0 {
		r.root = s.Root64
	}
	return nil
}

const nsecPerSec = 1_000_000_000

// checkSum compares the superblock with its checksum.
func (r *Reader) checkSum() error {
	off, n := ondisk.ChecksumRange(r.super.BlockBits)
	b := make([]byte, n)
	if err := r.read(b, off); err != nil {
		return tree.Within(err, "superblock: checksum")
	}
	if sum := ondisk.Sum(b); sum != r.super.Checksum {
		return r.corrupt("superblock", "checksum %#08x, where it has %#08x", sum, r.super.Checksum)
	}
	return nil
}

// features are the incompatible ones by name, as mkfs.erofs and the kernel have them.
var features = []struct {
	bit  uint32
	name string
}{
	{ondisk.IncompatZeroPadding, "0padding"}, {ondisk.IncompatConfigs, "compr_cfgs"}, {ondisk.IncompatChunks, "chunked_file"},
	{ondisk.IncompatDevices, "device_table"}, {ondisk.IncompatTails, "ztailpacking"}, {ondisk.IncompatFragments, "fragments"},
	{ondisk.IncompatLongPrefixes, "xattr_prefixes"}, {ondisk.Incompat48Bit, "48bit"}, {ondisk.IncompatMetabox, "metabox"},
}

// checkFeatures refuses what is not read.
func (r *Reader) checkFeatures() error {
	s := &r.super
	var names []string
	add := func(name string, args ...any) { names = append(names, fmt.Sprintf(name, args...)) }
	if s.Incompat&ondisk.IncompatMetabox != 0 {
		add("compressed metadata (feature METABOX, 0x%x)", ondisk.IncompatMetabox)
	}
	if s.Incompat&ondisk.IncompatDevices != 0 && s.Devices > 0 {
		add("data on %d extra devices (feature DEVICE_TABLE, 0x%x)", s.Devices, ondisk.IncompatDevices)
	}
	if unknown := s.Incompat &^ ondisk.IncompatKnown; unknown != 0 {
		add("features 0x%x, which are unknown", unknown)
	}
	if s.DirBlockBits != 0 {
		add("directory blocks of another size (dirblkbits %d)", s.DirBlockBits)
	}
	if len(names) == 0 {
		return nil
	}
	return tree.Unsupported(r.name, "superblock", "the image has %s", strings.Join(names, " and "))
}

// openPacked opens the packed inode, which holds the fragments of files.
func (r *Reader) openPacked() error {
	if r.super.Incompat&ondisk.IncompatFragments == 0 || r.super.PackedNID == 0 {
		return nil
	}
	n, err := r.readInode(r.super.PackedNID)
	if err != nil {
		return tree.Within(err, "packed inode")
	}
	if n.typ != tree.Regular {
		return r.corrupt("packed "+n.place(), "is a %s, no file", n.typ)
	}
	r.packed, err = r.fileData(&n).open(true)
	return tree.Within(err, "packed inode")
}

// Info is what the superblock tells of an image.
type Info struct {
	BlockSize int    // in bytes
	Inodes    uint64 // as the image counts them
	UUID      [16]byte
	Label     string
	// Built is when the image was made: the time from which those of its inodes count.
	Built    tree.Time
	Compat   uint32 // features that readers need not know
	Incompat uint32 // those that they must
	// Algorithms are those that the image may use, in the order of their numbers.
	Algorithms []codec.Raw
	Packed     int64 // bytes of the packed inode, which holds fragments
}

// Info returns the superblock's facts.
func (r *Reader) Info() Info {
	s := &r.super
	i := Info{BlockSize: int(r.blockSize), Inodes: s.Inodes, UUID: s.UUID, Label: strings.TrimRight(string(s.Label[:]), "\x00"),
		Built: tree.Time{Sec: s.Epoch + int64(s.BuildTime), Nsec: s.FixedNsec}, Compat: s.Compat, Incompat: s.Incompat}
	for n, a := range r.algos {
		if a.used {
			i.Algorithms = append(i.Algorithms, codec.Raw(n))
		}
	}
	if r.packed != nil {
		i.Packed = r.packed.Size()
	}
	return i
}

// Features returns the names of the incompatible features, as mkfs.erofs and the
// kernel have them.
func (i Info) Features() (names []string) {
	for _, f := range features {
		if i.Incompat&f.bit != 0 {
			names = append(names, f.name)
		}
	}
	return names
}

// blockAt is where a block begins. One beyond all that an image can have is beyond
// the end of this one, too.
func (r *Reader) blockAt(block uint64) int64 {
	if block > math.MaxInt64>>(maxBlockBits+1) {
		return math.MaxInt64 >> 1
	}
	return int64(block) << r.blockBits
}
