package erofs

import (
	"context"
	"fmt"
	"io"
	"runtime"

	"relive/codec"
	"relive/erofs/internal/ondisk"
	"relive/internal/progress"
	"relive/tree"
)

// BlockSize is the size of the blocks of images that are written, in bytes.
const BlockSize = 1 << writeBits

// writeBits is its log2.
const writeBits = 12

// Compression is an algorithm with what it is to know.
type Compression struct {
	Algorithm codec.Raw
	Options   codec.FitOptions
	// Distance is how far back streams of LZ4 may reach, in bytes; 0 is 65535.
	Distance uint16
}

// WriteOptions say how an image is written, in the terms of mkfs.erofs.
type WriteOptions struct {
	// Library gives the compressors.
	Library *codec.Library
	// Compressions are those of the image (-z): the first is that of new data, the
	// others are those that copied data may have. Without any nothing is compressed.
	Compressions []Compression
	// Configs has the image tell the options of its compressions (feature
	// compr_cfgs). LZ4 in pclusters of one block alone can do without.
	Configs bool
	// Legacy has compressed data at the beginning of its blocks, as before Linux 5.4:
	// LZ4 without the feature 0padding.
	Legacy bool
	// PclusterSize is how much a compressed extent may take (-C), in bytes, a multiple
	// of BlockSize up to 1 MiB; 0 is BlockSize.
	PclusterSize int
	// Fragments packs the ends of files together (-Efragments), AllFragments all of
	// them (-Eall-fragments).
	Fragments, AllFragments bool
	// Dedupe has files share the extents that are equal in them (-Ededupe).
	Dedupe bool
	// Tails has compressed ends of files beside their inodes (-Eztailpacking).
	Tails bool
	// NoInline has no ends of uncompressed files beside their inodes
	// (-Enoinline_data).
	NoInline bool
	// ChunkSize is that of files with holes (--chunksize), in bytes, a power of two
	// from BlockSize to 16 MiB; 0 has no chunks.
	ChunkSize int64
	// UnsharedXattrs is how often an equal attribute may occur before it is stored once
	// for all (-x).
	UnsharedXattrs int
	// UUID is the image's; the zero one has it derived from the content, so that no two
	// images have one, unless NullUUID has it be null.
	UUID     [16]byte
	NullUUID bool
	Label    string // of the volume, at most 16 bytes
	// AllTime, where not nil, is the time of all inodes (-T).
	AllTime *tree.Time
	// Epoch is the image's own time; what has it need not store it in its inode, where
	// Compact asks for short ones that cannot lose anything.
	Epoch   tree.Time
	Compact bool
	// Workers is how many goroutines compress; 0 means one for each CPU, as far as
	// their memory stays within bounds. The image does not depend on it.
	Workers int
	// NoReuse compresses everything anew, also what is stored in an image with the same
	// options.
	NoReuse bool
	// MaxDead bounds the bytes that no file has any more in packed data that is copied,
	// as a share of it: extents are packed anew, the emptiest first, until it holds. 0
	// means DefaultMaxDead.
	MaxDead float64
	// NoDead packs every extent anew that holds a byte of what is not in the tree, so
	// that nothing of it is in the image.
	NoDead bool
	// Progress, where not nil, is called now and then by Plan.Write, from one goroutine
	// at a time.
	Progress func(WriteProgress)
}

// DefaultMaxDead keeps an image that was compacted many times within two percent of one
// made afresh. Extents of packed data are large, and hold a little of many files: less
// would have most of them packed anew.
const DefaultMaxDead = 0.015

// WriteProgress tells how far a Plan's Write has come.
type WriteProgress = progress.Write

// PlanStats are the figures of a Plan.
type PlanStats struct {
	Inodes uint64 // distinct inodes
	Files  uint64 // distinct regular files
	Bytes  int64  // their size in total

	ReusedFiles     uint64 // files of which every byte is copied as stored
	MixedFiles      uint64 // files of which some extents are copied
	DuplicateFiles  uint64 // files that share the extents of another
	CopyBytes       int64  // stored bytes that are copied
	CopyRanges      int    // in this many ranges
	CompressBytes   int64  // bytes of content to compress, holes of large files left out
	RepackedExtents int    // extents of packed data made anew for what is dead in them
	DroppedExtents  int    // extents of packed data that are left out, for all of them is dead
	DeadBytes       int64  // bytes of packed data that are copied along and belong to no file
	DroppedXattrs   map[string]uint64
	DroppedFlags    map[string]uint64 // inodes by the name of a flag that chattr sets
	FirstFlagged    string            // the first path of them
}

// WriteReport tells what Write did.
type WriteReport struct {
	Size      int64 // of the image file
	DataBytes int64 // of file content, as it is stored
	MetaBytes int64 // of everything else
	Packed    int64 // bytes of packed data, decoded
	Inodes    uint64
	UUID      [16]byte
}

// Plan is all that is to be decided before an image is written: what is copied, what
// is compressed. Making it reads metadata, and content only where that may find
// extents to reuse.
type Plan struct {
	root *tree.Node
	o    WriteOptions

	files   fileList
	dirs    []plannedDir // in the order of the scan
	links   map[tree.Inode]*link
	sources []*origin // in the order in which the tree first names them
	xattrs  sharedXattrs
	places  places
	bridges bridges

	Stats PlanStats
}

// pclusterBlocks is the greatest number of blocks of an extent.
func (o *WriteOptions) pclusterBlocks() int { return o.PclusterSize / BlockSize }

// big tells whether extents may have several blocks.
func (o *WriteOptions) big() bool { return o.Configs && o.PclusterSize > BlockSize }

// packs tells whether there is packed data.
func (o *WriteOptions) packs() bool { return o.Fragments || o.AllFragments }

// interlaced tells whether data that does not shrink is rotated: with the features
// that came with it, as mkfs.erofs has it.
func (o *WriteOptions) interlaced() bool { return o.packs() || o.Dedupe }

// workerMemory is what the workers of the default number may take together, in bytes.
const workerMemory = 128 << 20

func (o *WriteOptions) defaultWorkers() int {
	each := 1 << 20
	if len(o.Compressions) > 0 {
		switch c := &o.Compressions[0]; c.Algorithm {
		case codec.MicroLZMA:
			each += 12 * int(c.Options.Dictionary)
		case codec.RawZstd:
			each += 8 << c.Options.WindowLog
		}
	}
	return min(runtime.GOMAXPROCS(0), max(2, workerMemory/each))
}

// check refuses what cannot be written, and fills in defaults.
func (o *WriteOptions) check() error {
	if o.PclusterSize == 0 {
		o.PclusterSize = BlockSize
	}
	o.Fragments = o.Fragments || o.AllFragments
	o.Compressions = append([]Compression(nil), o.Compressions...)
	seen := 0
	for i := range o.Compressions {
		c := &o.Compressions[i]
		if c.Algorithm >= algorithms {
			return fmt.Errorf("%s cannot be written", c.Algorithm)
		}
		if seen&(1<<c.Algorithm) != 0 {
			return fmt.Errorf("%s is named twice", c.Algorithm)
		}
		seen |= 1 << c.Algorithm
		c.Options = c.Options.WithDefaults(c.Algorithm, o.PclusterSize)
		if c.Distance == 0 {
			c.Distance = 0xffff
		}
	}
	lz4 := seen&^(1<<codec.RawLZ4) == 0
	switch {
	case o.Library == nil && len(o.Compressions) > 0:
		return fmt.Errorf("no compressor library")
	case o.PclusterSize < BlockSize || o.PclusterSize > ondisk.PclusterMax || o.PclusterSize%BlockSize != 0:
		return fmt.Errorf("a pcluster size of %d is no multiple of %d up to %d", o.PclusterSize, BlockSize, ondisk.PclusterMax)
	case !lz4 && !o.Configs || o.PclusterSize > BlockSize && !o.Configs:
		return fmt.Errorf("without configurations (feature compr_cfgs) there is LZ4 alone, in pclusters of %d bytes", BlockSize)
	case o.Legacy && !lz4:
		return fmt.Errorf("without the feature 0padding there is LZ4 alone")
	case (o.Fragments || o.Tails || o.Dedupe) && len(o.Compressions) == 0:
		return fmt.Errorf("fragments, compressed tails and dedupe need a compression")
	case o.ChunkSize != 0 && (o.ChunkSize < BlockSize || o.ChunkSize > chunkSizeMax || o.ChunkSize&(o.ChunkSize-1) != 0):
		return fmt.Errorf("a chunk size of %d is no power of two from %d to %d", o.ChunkSize, BlockSize, chunkSizeMax)
	case len(o.Label) > len(ondisk.Superblock{}.Label):
		return fmt.Errorf("a label of %d bytes is longer than %d", len(o.Label), len(ondisk.Superblock{}.Label))
	case o.Epoch.Nsec >= nsecPerSec:
		return fmt.Errorf("a time has %d nanoseconds", o.Epoch.Nsec)
	}
	if o.AllTime != nil {
		o.Epoch, o.Compact = *o.AllTime, true
	}
	if o.Workers <= 0 {
		o.Workers = o.defaultWorkers()
	}
	if o.MaxDead <= 0 {
		o.MaxDead = DefaultMaxDead
	}
	return nil
}

// newFitter makes the compressor of new data.
func (o *WriteOptions) newFitter() (codec.Fitter, error) {
	c := &o.Compressions[0]
	return o.Library.NewFitter(c.Algorithm, c.Options)
}

// NewPlan walks the tree and decides how its image is written. It opens files that
// have no stored form to compare them with what is stored: with the content that the
// node says it had before (tree.Node.Was), and, where their sizes are equal, with each
// other and with files that are copied.
//
// Errors are those of the tree, and of trees that EROFS cannot hold: device numbers
// beyond 12 and 20 bits, symlinks beyond 4095 bytes, attributes beyond 65535; and of
// files of more than 256 GiB.
func NewPlan(ctx context.Context, root *tree.Node, o WriteOptions) (*Plan, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	if root.Type != tree.Directory {
		return nil, fmt.Errorf("the root is a %s, not a directory", root.Type)
	}
	p := &Plan{root: root, o: o, links: map[tree.Inode]*link{}}
	defer p.bridges.close()
	if err := p.scan(ctx); err != nil {
		return nil, err
	}
	if err := p.match(ctx); err != nil {
		return nil, err
	}
	if err := p.relocate(ctx); err != nil {
		return nil, err
	}
	p.arrange()
	if err := p.sum(); err != nil {
		return nil, err
	}
	return p, nil
}

// OnProgress sets what is told of the progress of Write.
func (p *Plan) OnProgress(fn func(WriteProgress)) { p.o.Progress = fn }

// Write writes the image at offset base of out: what is copied, directories, then
// files with their inodes, last the superblock. Bytes of out below base and behind the
// image are not touched. Where out and a source are files of the host, stored data is
// copied by copy_file_range. It does not sync.
//
// It may be called again for another image, but not while a call runs.
//
// The image is the same, byte for byte, for the same tree and options, however many
// workers there are.
func (p *Plan) Write(ctx context.Context, out io.WriterAt, base int64) (*WriteReport, error) {
	return newWriter(ctx, p, out, base).run()
}
