package extfs

import (
	"io"
	"sync"

	"relive/extfs/internal/ondisk"
	"relive/tree"
)

// FS is an opened image. Its methods may be called from several goroutines at
// once.
type FS struct {
	name  string
	geo   *geometry
	sb    []byte // the superblock, as it is after recovery
	dev   *device
	cache *blockCache

	journal       JournalInfo
	needsRecovery bool
	replayed      *replayedLog // nil where no log was replayed
	fast          *fastState   // nil where no fast commits were replayed

	groupMu    sync.Mutex
	groupCache map[uint32]*group
}

// Option changes how Open works.
type Option func(*options)

type options struct{ cacheBytes int }

// defaultCacheBytes is enough for the metadata that a walk touches at once.
const defaultCacheBytes = 8 << 20

// WithCache sets how many bytes of metadata blocks are kept in memory; the
// default is 8 MiB.
func WithCache(bytes int) Option {
	return func(o *options) { o.cacheBytes = bytes }
}

// Open opens the ext2, ext3 or ext4 image of size bytes that r reads, and
// replays its journal in memory where it was not cleanly unmounted; r is never
// written. name is what errors call the image. r must stay readable, and must
// not change, as long as the FS and its nodes are in use.
//
// A broken image is tree.ErrCorrupt, one that needs what this package does not
// read is tree.ErrUnsupported; errors of r are handed on.
func Open(r io.ReaderAt, size int64, name string, opts ...Option) (*FS, error) {
	o := options{cacheBytes: defaultCacheBytes}
	for _, opt := range opts {
		opt(&o)
	}
	fs := &FS{
		name:       name,
		dev:        &device{r: r, size: size, name: name},
		cache:      newBlockCache(o.cacheBytes),
		groupCache: make(map[uint32]*group),
	}
	if err := fs.readSuperblock(); err != nil {
		return nil, err
	}
	if err := fs.openJournal(); err != nil {
		return nil, err
	}
	return fs, nil
}

// readSuperblock reads the superblock through the journal's overlay, if there
// is one yet.
func (fs *FS) readSuperblock() error {
	if fs.dev.size < ondisk.SuperblockOffset+ondisk.SuperblockSize {
		return tree.Corrupt(fs.name, "superblock", "the image has only %d bytes", fs.dev.size)
	}
	sb := make([]byte, ondisk.SuperblockSize)
	if err := fs.dev.readAt(sb, ondisk.SuperblockOffset); err != nil {
		return err
	}
	geo, err := decodeSuperblock(fs.name, sb, fs.dev.size)
	if err != nil {
		return err
	}
	fs.sb, fs.geo = sb, geo
	fs.dev.bits = geo.blockBits
	return nil
}

// Root returns the root directory.
func (fs *FS) Root() (*tree.Node, error) {
	n, err := fs.node("", ondisk.InoRoot, ondisk.InoRoot)
	if err != nil {
		return nil, err
	}
	if n.Type != tree.Directory {
		return nil, tree.Corrupt(fs.name, "inode 2", "the root is not a directory but a %s", n.Type)
	}
	return n, nil
}
