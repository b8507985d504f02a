package iso

import (
	"bytes"
	"fmt"
	"io"
	"sync"

	"relive/tree"
)

// sectorSize is the size of a logical sector in bytes: of volume descriptors,
// and the boundary that no directory record crosses (ECMA-119 6.1.2, 6.8.1.1).
const sectorSize = 2048

// systemSectors is how many sectors lie before the volume descriptors, free for
// other use (ECMA-119 6.2.1).
const systemSectors = 16

// Names is a name space of an image.
type Names uint8

// The name spaces. Best is Rock Ridge, else Joliet, else Plain.
const (
	Best      Names = iota
	RockRidge       // POSIX names and attributes
	Joliet          // Unicode names of up to 64 characters
	Plain           // the names of ECMA-119, as Linux shows them: lower case, without version
)

func (n Names) String() string {
	switch n {
	case RockRidge:
		return "Rock Ridge"
	case Joliet:
		return "Joliet"
	case Plain:
		return "ISO 9660"
	}
	return "best"
}

// Option changes how Open works.
type Option func(*options)

type options struct{ names Names }

// WithNames chooses the name space of the tree. Open fails with
// tree.ErrUnsupported where the image does not have it.
func WithNames(n Names) Option {
	return func(o *options) { o.names = n }
}

// Image is an opened image. Its methods may be called from several goroutines
// at once.
type Image struct {
	r    io.ReaderAt
	size int64
	name string

	set   volumeSet
	names Names
	rock  rockRidge
	vol   *volume // the volume whose tree is shown

	claims claims
}

// Is reports whether r, of size bytes, looks like an image that Open reads: a
// volume descriptor of ISO 9660 stands at sector 16.
func Is(r io.ReaderAt, size int64) bool {
	var p [7]byte
	const at = systemSectors * sectorSize
	if size < at+sectorSize || tree.ReadFull(r, p[:], at) != nil {
		return false
	}
	return string(p[1:6]) == standardID && (p[0] <= typePartition || p[0] == typeTerminator)
}

// Open opens the ISO 9660 image of size bytes that r reads; what lies behind the
// volume, as on a stick, is not looked at. name is what errors call the image. r
// must stay readable, and must not change, as long as the Image and its nodes
// are in use.
//
// A broken image is tree.ErrCorrupt, one that needs what this package does not
// read (UDF without ISO 9660, High Sierra, a name space that is asked for and
// is missing) is tree.ErrUnsupported; errors of r are handed on. An image that
// is cut short opens: files that lie past its end are errors when they are
// opened.
func Open(r io.ReaderAt, size int64, name string, opts ...Option) (*Image, error) {
	var o options
	for _, opt := range opts {
		opt(&o)
	}
	img := &Image{r: r, size: size, name: name}
	if err := img.readVolumeSet(); err != nil {
		return nil, err
	}
	var err error
	if img.rock, err = img.detectRockRidge(); err != nil {
		return nil, err
	}
	img.names, img.vol = o.names, img.set.primary
	switch {
	case img.names == Best && img.rock.present:
		img.names = RockRidge
	case img.names == Best && img.set.joliet != nil:
		img.names = Joliet
	case img.names == Best:
		img.names = Plain
	case img.names == RockRidge && !img.rock.present, img.names == Joliet && img.set.joliet == nil:
		return nil, tree.Unsupported(name, "volume descriptors", "the image has no %s names", img.names)
	}
	if img.names == Joliet {
		img.vol = img.set.joliet
	}
	return img, nil
}

// Names returns the name space of the tree that Root shows.
func (img *Image) Names() Names { return img.names }

// Root returns the root directory.
func (img *Image) Root() (*tree.Node, error) {
	l := newLister(img, &dir{img: img, block: img.vol.root.block(), length: img.vol.root.size})
	return l.root()
}

// readAt reads len(p) bytes at a byte offset; what reaches past the end of the
// image is an error that names the place.
func (img *Image) readAt(p []byte, off int64, place string) error {
	if off < 0 || off > img.size || int64(len(p)) > img.size-off {
		return img.pastEnd(place, off, int64(len(p)))
	}
	if err := tree.ReadFull(img.r, p, off); err != nil {
		return fmt.Errorf("%s: %s: read %d bytes at %d: %w", img.name, place, len(p), off, err)
	}
	return nil
}

// pastEnd is the error of an extent that the image does not have.
func (img *Image) pastEnd(place string, off, length int64) error {
	return tree.Corrupt(img.name, place, "sector %d: %d bytes from there reach past the end of the image, which has %d bytes",
		off/sectorSize, length, img.size)
}

// claims remembers of each directory the entry that names it.
type claims struct {
	mu   sync.Mutex
	from map[uint32]claim
}

// claim is an entry: its directory's block, and its offset in there.
type claim struct{ dir, offset uint32 }

// take notes that entry c names the directory at a block. It tells false where
// another entry has named it before.
func (cs *claims) take(block uint32, c claim) bool {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if cs.from == nil {
		cs.from = make(map[uint32]claim)
	}
	if have, ok := cs.from[block]; ok {
		return have == c
	}
	cs.from[block] = c
	return true
}

// trimmed is a field padded with spaces or NULs.
func trimmed(p []byte) string { return string(bytes.TrimRight(p, " \x00")) }
