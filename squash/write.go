package squash

import (
	"context"
	"fmt"
	"io"
	"runtime"

	"relive/codec"
	"relive/internal/progress"
	"relive/squash/internal/ondisk"
	"relive/tree"
)

// WriteOptions say how an image is written.
type WriteOptions struct {
	// Library gives the compressors.
	Library *codec.Library
	// Codec is the compressor with its options; they are stored in the image
	// where they are not the defaults.
	Codec codec.Options
	// BlockSize is the size of data blocks in bytes, a power of two from
	// MinBlockSize to MaxBlockSize.
	BlockSize int
	// Flags are those of the superblock that a writer may choose:
	// FlagUncompressed*, FlagNoFragments, FlagAlwaysFragments, FlagExportable,
	// FlagNoXattrs and FlagDuplicates. Without FlagDuplicates equal files are
	// stored as often as they occur.
	Flags uint16
	// MkfsTime is the image's creation time, seconds since 1970.
	MkfsTime uint32
	// Workers is how many goroutines compress; 0 means one for each CPU, as far
	// as their memory stays within bounds. The image does not depend on it.
	Workers int
	// NoReuse compresses everything anew, also what is stored in an image with
	// the same codec and block size.
	NoReuse bool
	// MaxDead bounds the bytes of dead members in copied fragment blocks, as a
	// share of all copied bytes: fragment blocks are repacked, the emptiest
	// first, until it holds. 0 means DefaultMaxDead.
	MaxDead float64
	// NoDead repacks every fragment block that holds a byte of what is not in the
	// tree, so that nothing of it is in the image. Fragment blocks are decoded for
	// that while planning.
	NoDead bool
	// Numbers, where not nil, has inodes keep their numbers, if there is an export
	// table; see Plan.NumbersKept.
	Numbers *Numbers
	// Progress, where not nil, is called now and then by Plan.Write, from one
	// goroutine at a time.
	Progress func(WriteProgress)
}

// DefaultMaxDead keeps an image that was compacted many times within half a
// percent of one made afresh.
const DefaultMaxDead = 0.005

// chosenFlags are the superblock's flags that a writer may choose.
const chosenFlags = FlagUncompressedInodes | FlagUncompressedData | FlagUncompressedFragments | FlagNoFragments |
	FlagAlwaysFragments | FlagDuplicates | FlagExportable | FlagUncompressedXattrs | FlagNoXattrs | FlagUncompressedIDs

// imageAlign is what an image is padded to: a loop device does not show the
// part of a file that does not fill a 512-byte sector, and the kernel asks for
// whole pages.
const imageAlign = 4096

// WriteOptionsLike returns the options that make an image like r: its codec,
// block size and flags. That r was made without extended attributes is no
// reason to drop those of another tree.
func WriteOptionsLike(r *Reader) WriteOptions {
	sb := &r.super
	return WriteOptions{Codec: r.Options(), BlockSize: int(sb.BlockSize), Flags: sb.Flags & chosenFlags &^ FlagNoXattrs,
		MkfsTime: sb.MkfsTime}
}

// WriteProgress tells how far a Plan's Write has come.
type WriteProgress = progress.Write

// Plan is all that is to be decided before an image is written: what is
// copied, what is compressed. Making it reads metadata, and content only where
// that may find blocks to reuse.
type Plan struct {
	root *tree.Node
	o    WriteOptions

	files   fileList
	links   map[tree.Inode]*link
	sources []*source // in the order in which the tree first names them
	xattrs  xattrSets
	words   wordArena
	// numbers are those of the inodes in the order of the scan, nil for 1, 2 and so
	// on.
	numbers []uint32
	kept    bool // they are those of another image
	// tails are members of fragment blocks that are packed anew, by the first of
	// the files that have them.
	tails map[packedTail]int

	Stats PlanStats
}

// PlanStats are the figures of a Plan.
type PlanStats struct {
	Inodes uint64 // distinct inodes
	Files  uint64 // distinct regular files
	Bytes  int64  // their size in total

	ReusedFiles     uint64 // files of which every byte is copied as stored
	MixedFiles      uint64 // files of which some blocks are copied
	DuplicateFiles  uint64 // files that share the blocks of another
	CopyBytes       int64  // stored bytes that are copied
	CopyRanges      int    // in this many ranges
	CompressBytes   int64  // bytes of content to compress, holes of large files left out
	RepackedBlocks  int    // fragment blocks taken apart for their dead members
	DeadBytes       int64  // estimate of stored bytes of dead members that are copied along
	DroppedXattrs   map[string]uint64
	DroppedFlags    map[string]uint64 // inodes by the name of a flag that chattr sets
	FirstFlagged    string            // the first path of them
	Nanoseconds     uint64            // inodes whose mtime loses its nanoseconds
	TimesOutOfRange uint64            // inodes whose mtime does not fit 32 bits and is held to its range
}

// WriteReport tells what Write did.
type WriteReport struct {
	Size       int64 // of the image file, padding included
	BytesUsed  int64 // as the superblock tells
	DataBytes  int64 // of data and fragment blocks
	TableBytes int64 // of everything else
	Fragments  uint32
	Inodes     uint32
}

// workerMemory is what the workers of the default number may take together, in
// bytes.
const workerMemory = 128 << 20

// defaultWorkers is one for each CPU, or fewer where many CPUs meet large blocks
// and a codec with much state.
func (o *WriteOptions) defaultWorkers() int {
	each := 2 * o.BlockSize // what is read and what comes out
	switch o.Codec.ID {
	case codec.XZ:
		each += 12 * o.Codec.DictSize // xz(1): about 11.5 times the dictionary
	case codec.Zstd:
		each += 8 * o.BlockSize
	}
	return min(runtime.GOMAXPROCS(0), max(2, workerMemory/each))
}

func (o *WriteOptions) check() error {
	if o.BlockSize < MinBlockSize || o.BlockSize > MaxBlockSize || o.BlockSize&(o.BlockSize-1) != 0 {
		return fmt.Errorf("block size %d is not a power of two from %d to %d", o.BlockSize, MinBlockSize, MaxBlockSize)
	}
	if o.Flags&^chosenFlags != 0 {
		return fmt.Errorf("superblock flags %#x cannot be chosen", o.Flags&^chosenFlags)
	}
	if o.Library == nil {
		return fmt.Errorf("no compressor library")
	}
	if o.Workers <= 0 {
		o.Workers = o.defaultWorkers()
	}
	if o.MaxDead <= 0 {
		o.MaxDead = DefaultMaxDead
	}
	return o.Codec.Validate(o.BlockSize)
}

// NewPlan walks the tree and decides how its image is written. It opens files
// that have no stored form to compare them with what is stored: with the
// content that the node says it had before (tree.Node.Was), and, where their
// sizes are equal, with each other and with files that are copied.
//
// Errors are those of the tree, and of trees that SquashFS cannot hold: device
// numbers beyond 12 and 20 bits, symlinks beyond 4095 bytes, more than 65535
// owners and groups; and of files of more than MaxStoredBlocks blocks.
func NewPlan(ctx context.Context, root *tree.Node, o WriteOptions) (*Plan, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	if root.Type != tree.Directory {
		return nil, fmt.Errorf("the root is a %s, not a directory", root.Type)
	}
	p := &Plan{root: root, o: o, links: map[tree.Inode]*link{}, tails: map[packedTail]int{}}
	if err := p.scan(ctx); err != nil {
		return nil, err
	}
	if err := p.match(ctx); err != nil {
		return nil, err
	}
	if err := p.relocate(ctx); err != nil {
		return nil, err
	}
	if err := p.sum(); err != nil {
		return nil, err
	}
	return p, nil
}

// OnProgress sets what is told of the progress of Write.
func (p *Plan) OnProgress(fn func(WriteProgress)) { p.o.Progress = fn }

// dataStart is where the first block may lie.
func (p *Plan) dataStart() int64 {
	start := int64(ondisk.SuperblockSize)
	if opts := p.o.Codec.Marshal(p.o.BlockSize); opts != nil {
		start += 2 + int64(len(opts))
	}
	return start
}

// Write writes the image at offset base of out: first the blocks, then the
// tables, last the superblock. Bytes of out below base and behind the image
// are not touched. Where out and a source are files of the host, blocks are
// copied by copy_file_range. It does not sync.
//
// It may be called again for another image, but not while a call runs.
//
// The image is the same, byte for byte, for the same tree and options, however
// many workers there are.
func (p *Plan) Write(ctx context.Context, out io.WriterAt, base int64) (*WriteReport, error) {
	dw := &dataWriter{plan: p, ctx: ctx, out: out, base: base, pos: p.dataStart()}
	for _, s := range p.sources {
		dw.pos += s.bytes
	}
	dw.started = dw.pos
	if err := dw.run(); err != nil {
		return nil, err
	}
	mw := &metaWriter{plan: p, ctx: ctx, out: out, base: base, pos: dw.pos, fragments: dw.fragments, packed: dw.packed}
	return mw.run()
}
