package packed

import (
	"context"
	"fmt"
	"io"

	"relive/codec"
	"relive/erofs"
	"relive/remaster/probe"
	"relive/squash"
	"relive/tree"
)

// Format is the format of an image.
type Format string

// The formats.
const (
	SquashFS Format = "squashfs"
	EROFS    Format = "erofs"
)

// Name is what people call the format.
func (f Format) Name() string {
	if f == EROFS {
		return "EROFS"
	}
	return "SquashFS"
}

// Image is an opened image. All methods may be called from several goroutines at
// once, but Close only after the last of them.
type Image interface {
	Format() Format
	// Root returns the tree that the image shows.
	Root() (*tree.Node, error)
	Facts() Facts
	// Content returns the size in bytes of all files that the image holds, each inode
	// counted once, and the number of inodes.
	Content() (size, inodes int64, err error)
	// Superblock is what the image begins with, as it is stored: it differs between
	// images that were made of other trees or with other options.
	Superblock() []byte
	// HoldsXattr reports whether the format has room for an attribute of that name.
	HoldsXattr(name string) bool
	// Verify reads all of the image and checks it.
	Verify(ctx context.Context, o VerifyOptions) (*Report, error)
	Close() error
}

// Facts are what an image tells of itself.
type Facts struct {
	Codec     string    // the compressors' names, "none" where nothing is compressed
	BlockSize int       // of data, in bytes
	Fragments uint32    // blocks of fragments, which SquashFS counts
	Built     tree.Time // when it was made
	// Inodes is the highest number that the image tells of; some may be missing.
	Inodes int64
	// Numbered: the kernel finds inodes by their numbers, so that marks of an overlay
	// can lead to them. UUID is what these marks name the file system by.
	Numbered bool
	UUID     [16]byte
	// WholeSeconds: times have no fractions.
	WholeSeconds bool
	// Data and Tables are the bytes that contents take in the image, and those that
	// all else does; where a format mixes them, Tables is 0.
	Data, Tables int64
}

// VerifyOptions say how an image is checked.
type VerifyOptions struct {
	Workers  int
	Progress func(done, total int64) // bytes
}

// Report is what a check found.
type Report struct {
	Findings []string // at most so many; More are the others
	More     int
	Damage   string // the first of them that is more than a warning, "" where the image is whole
	Inodes   int64
	Detail   string // in some words, what the image is
}

// add adds a finding.
func (r *Report) add(text string, warning bool) {
	r.Findings = append(r.Findings, text)
	if r.Damage == "" && !warning {
		r.Damage = text
	}
}

// cacheBytes is enough for the metadata of a file system in the image, which is
// spread over many blocks.
const cacheBytes = 32 << 20

// Holds reports whether what is of that kind is an image that Open opens, or one of
// whose version it tells why it does not.
func Holds(k probe.Kind) bool { return k == probe.SquashFS || k == probe.SquashFS3 || k == probe.EROFS }

// Open opens the image that the first size bytes of r hold; name stands for it in
// errors. Where it is to hold a file system image, nested, more of it is kept in
// memory.
func Open(r io.ReaderAt, size int64, name string, lib *codec.Library, nested bool) (Image, error) {
	res, err := probe.Of(r, size)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if res.Kind == probe.EROFS {
		e, err := erofs.Open(r, size, name, lib)
		if err != nil {
			return nil, err
		}
		return erofsImage{e, size}, nil
	}
	var opts []squash.Option
	if nested {
		opts = append(opts, squash.CacheBytes(cacheBytes))
	}
	s, err := squash.Open(r, size, name, lib, opts...)
	if err != nil {
		return nil, err
	}
	return squashImage{s, size}, nil
}
