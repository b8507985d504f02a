package mkfs

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"relive/extfs/internal/ondisk"
	"relive/tree"
)

// Image is what Build writes into: an *os.File, for one. Build truncates it to
// nothing and then to the size of the image, so that all it does not write
// reads as zeros, and never reads it. Writes of ranges that do not overlap may
// run at the same time.
type Image interface {
	io.WriterAt
	// Truncate sets the size in bytes; what is added reads as zeros.
	Truncate(size int64) error
}

// Options say what image to make. The zero value makes what Debian's
// mke2fs -t ext4 makes, as large as the tree needs and some more.
type Options struct {
	// Name is the image's name in errors, "image" where it is empty.
	Name string
	// Size is the size of the image in bytes; 0 is the smallest that holds the
	// tree and about a tenth more (at least 16 MiB), in whole MiB.
	Size int64
	// Label is the volume's name, at most 16 bytes.
	Label string
	// UUID identifies the file system; zero makes one from the label and
	// everything in the tree but the content of files.
	UUID [16]byte
	// HashSeed goes into the hashes of names in large directories; zero makes
	// one from the label and UUID.
	HashSeed [16]byte
	// BlockSize is 1024, 2048 or 4096 bytes; 0 is mke2fs's choice: 1024 below
	// 512 MiB, else 4096. Where Size is 0 too, it is 4096.
	BlockSize int
	// InodeSize is a power of two from 128 bytes up to the block size, 0 is 256.
	InodeSize int
	// BytesPerInode gives one inode for that many bytes of the image. Where it
	// and Inodes are 0, mke2fs's ratio for the size holds, or more inodes
	// where the tree needs them.
	BytesPerInode int64
	// Inodes is the number of inodes, rounded to fill the inode tables in
	// multiples of eight a group, as mke2fs does; that may be a few less. It
	// goes before BytesPerInode.
	Inodes uint32
	// ReservedPercent is the part of the blocks that is kept for root, 0 to 50;
	// 0 is 5 percent, a negative one means none.
	ReservedPercent float64
	// ReservedBlocks is that part as a number of blocks, at most half of all;
	// where it is not 0 it goes before ReservedPercent.
	ReservedBlocks uint64
	// Features are the features; the zero value is DefaultFeatures. Those that
	// only tell a state (needs_recovery, orphan_present) are dropped. A
	// feature that the tree needs and the kernel would add by itself,
	// large_file or ext_attr, is added.
	Features FeatureSet
	// JournalBlocks is the length of the journal; 0 is mke2fs's choice. A file
	// system of less than 2048 blocks has none, as mke2fs does.
	JournalBlocks uint32
	// Time is the time of making; zero is the newest mtime in the tree. The
	// superblock tells of no write and no check, about whose times e2fsck would
	// ask while they are in the future.
	Time tree.Time
	// NoLostAndFound leaves out the directory lost+found, which is otherwise
	// made, or made as large as e2fsck wants it where the tree has one.
	NoLostAndFound bool
	// UnsignedHash makes characters count as unsigned in hashes of names, as
	// images made on ARM have it; otherwise they are signed, as on x86.
	UnsignedHash bool
	// OnErrors is what the kernel does when it meets an error: 1 continue, 2
	// remount read-only, 3 panic; 0 is 1.
	OnErrors int
	// MountOptions are the mount options that tune2fs -o sets
	// (s_default_mount_opts); nil is user_xattr and acl, as mke2fs has it.
	MountOptions *uint32
}

// Report tells what was built.
type Report struct {
	Size          int64 // bytes
	BlockSize     int
	Blocks        uint64
	FreeBlocks    uint64
	Inodes        uint32
	FreeInodes    uint32
	JournalBlocks uint32 // 0 where there is no journal
	Features      FeatureSet
	UUID          [16]byte
	HashSeed      [16]byte
	Time          tree.Time

	Files       int // names that are not directories, hard links included
	Directories int
	DataBytes   int64 // bytes of the blocks that hold content of files
	// TimesChanged counts inodes whose mtime the image cannot hold exactly:
	// past what an inode's bits reach, or with nanoseconds in 128-byte inodes.
	TimesChanged int
}

// Needs tells how much room a tree takes.
type Needs struct {
	// MinSize is the size in bytes of the smallest image with these options,
	// and BlockSize, that holds the tree, free of any headroom. It is 0 where
	// none does, because the options fix too small a number of inodes.
	MinSize int64
	// Blocks and Inodes are what the tree takes, in an image of Size bytes or,
	// where that is 0, of MinSize: data, directories, mapping and attributes,
	// but not journal, bitmaps and inode tables. Blocks full of zeros count,
	// unless the source says that they are holes. The reserved inodes count.
	Blocks uint64
	Inodes uint64
	// BlockSize is the unit of Blocks, in bytes.
	BlockSize int
	// FreeBlocks and FreeInodes are what an empty image of that size has.
	FreeBlocks uint64
	FreeInodes uint64
	// Fits tells whether an image of Size bytes holds the tree.
	Fits bool
}

// ErrNoSpace is the error of a tree that an image of the wanted size does not
// hold. The error itself is a *NoSpaceError.
var ErrNoSpace = errors.New("does not fit")

// NoSpaceError tells what there is too little of.
type NoSpaceError struct {
	Image             string
	What              string // "blocks", "inodes", "blocks for the journal"
	Needed, Available uint64
	BlockSize         int // bytes of a block, 0 for inodes
}

func (e *NoSpaceError) Error() string {
	if e.BlockSize == 0 {
		return fmt.Sprintf("%s: the tree does not fit: needs %d %s, %d are available", e.Image, e.Needed, e.What, e.Available)
	}
	return fmt.Sprintf("%s: the tree does not fit: needs %d %s of %d bytes (%d bytes), %d (%d bytes) are available", e.Image,
		e.Needed, e.What, e.BlockSize, e.Needed*uint64(e.BlockSize), e.Available, e.Available*uint64(e.BlockSize))
}

// Is makes errors.Is(err, ErrNoSpace) hold.
func (e *NoSpaceError) Is(target error) bool { return target == ErrNoSpace }

// resolved are options with their defaults filled in.
type resolved struct {
	Options
	feat            FeatureSet
	blockSize       int
	inodeSize       int
	reservedPercent float64
	hash            dirHash
}

func (o Options) resolve() (*resolved, error) {
	r := &resolved{Options: o, blockSize: o.BlockSize, inodeSize: o.InodeSize, reservedPercent: o.ReservedPercent}
	if r.Name == "" {
		r.Name = "image"
	}
	if r.blockSize == 0 {
		r.blockSize = defaultBlockSize(o.Size)
	}
	if r.inodeSize == 0 {
		r.inodeSize = 256
	}
	switch r.blockSize {
	case 1024, 2048, 4096:
	default:
		return nil, tree.Unsupported(r.Name, "block size", "%d, must be 1024, 2048 or 4096", r.blockSize)
	}
	if r.inodeSize < ondisk.InodeSizeOld || r.inodeSize > r.blockSize || r.inodeSize&(r.inodeSize-1) != 0 {
		return nil, tree.Unsupported(r.Name, "inode size", "%d, must be a power of two from 128 to the block size", r.inodeSize)
	}
	if len(o.Label) > 16 {
		return nil, tree.Unsupported(r.Name, "label", "%q is longer than 16 bytes", o.Label)
	}
	if o.Size < 0 {
		return nil, tree.Unsupported(r.Name, "size", "%d is negative", o.Size)
	}
	if o.BytesPerInode != 0 && (o.BytesPerInode < 1024 || o.BytesPerInode > 64<<20) {
		return nil, tree.Unsupported(r.Name, "bytes per inode", "%d, must be 1024 to 67108864", o.BytesPerInode)
	}
	switch {
	case o.ReservedPercent == 0:
		r.reservedPercent = defaultReserved
	case o.ReservedPercent < 0:
		r.reservedPercent = 0
	case !(o.ReservedPercent <= 50):
		return nil, tree.Unsupported(r.Name, "reserved blocks", "%v percent, must be at most 50", o.ReservedPercent)
	}
	if o.OnErrors < 0 || o.OnErrors > 3 {
		return nil, tree.Unsupported(r.Name, "what to do on errors", "%d, must be 1 to 3", o.OnErrors)
	}
	var err error
	if r.feat, err = checkFeatures(r.Name, o.Features, r.inodeSize); err != nil {
		return nil, err
	}
	if r.HashSeed == ([16]byte{}) {
		r.HashSeed = derivedUUID("hash seed", []byte(o.Label), o.UUID[:])
	}
	r.hash = newDirHash(r.HashSeed, o.UnsignedHash)
	return r, nil
}

// derivedUUID makes a UUID of version 8 (RFC 9562, section 5.8) out of a use
// and what it is to depend on.
func derivedUUID(use string, parts ...[]byte) (id [16]byte) {
	h := sha256.New()
	fmt.Fprintf(h, "relive extfs %s\x00", use)
	for _, p := range parts {
		fmt.Fprintf(h, "%d\x00", len(p))
		h.Write(p)
	}
	copy(id[:], h.Sum(nil))
	id[6] = id[6]&0x0f | 0x80
	id[8] = id[8]&0x3f | 0x80
	return id
}

// Build makes a fresh file system with the tree in it and writes it into w.
// The tree is walked twice: once to lay everything out, which is when a tree
// that does not fit (ErrNoSpace), or holds what the options cannot store
// (tree.ErrUnsupported), is refused before anything is written; and once to
// write. A tree that is not the same the second time is an error.
//
// The same tree and options give the same bytes. Access, change and birth
// times are set to the time of modification. Blocks full of zeros become
// holes. The superblock is written last: an image that was interrupted is not
// a file system.
func Build(ctx context.Context, w Image, root *tree.Node, o Options) (Report, error) {
	r, err := o.resolve()
	if err != nil {
		return Report{}, err
	}
	c, err := takeCensus(ctx, r, root)
	if err != nil {
		return Report{}, err
	}
	size := r.Size
	if size == 0 {
		if size, err = c.comfortableSize(r); err != nil {
			return Report{}, err
		}
	}
	p, err := c.layOut(r, size)
	if err != nil {
		return Report{}, err
	}
	return writeImage(ctx, w, root, r, c, p)
}

// Measure tells how much room the tree takes, without writing anything. Files
// of more than 64 KiB are opened to learn of their holes.
func Measure(ctx context.Context, root *tree.Node, o Options) (Needs, error) {
	r, err := o.resolve()
	if err != nil {
		return Needs{}, err
	}
	c, err := takeCensus(ctx, r, root)
	if err != nil {
		return Needs{}, err
	}
	n := Needs{Inodes: c.inodesUsed(), BlockSize: r.blockSize}
	if n.MinSize, err = c.smallestSize(r); err != nil && !errors.Is(err, ErrNoSpace) {
		return Needs{}, err
	}
	size := r.Size
	if size == 0 {
		size = n.MinSize
	}
	if size == 0 {
		n.FreeInodes = uint64(r.Inodes)
		return n, nil
	}
	g, err := newLayout(r, size, c.inodesUsed())
	var tooSmall *NoSpaceError
	if errors.As(err, &tooSmall) {
		if tooSmall.BlockSize != 0 {
			n.Blocks, n.FreeBlocks = tooSmall.Needed, tooSmall.Available
		}
		return n, nil
	}
	if err != nil {
		return Needs{}, err
	}
	p, err := c.place(r, g)
	if err != nil {
		return Needs{}, err
	}
	n.Blocks = p.taken
	n.FreeBlocks = p.free
	n.FreeInodes = uint64(g.inodes) // reserved ones are among those needed
	n.Fits = n.Blocks <= n.FreeBlocks && n.Inodes <= n.FreeInodes
	return n, nil
}
