package stick

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sort"

	"relive/extfs"
	"relive/remaster/refusal"
	"relive/remaster/stick/fat"
	"relive/tree"
)

// InPlace is a file of a stick whose bytes can be overwritten where they lie. It
// cannot grow or shrink, and what the file system has not stored, a hole or what
// was set aside and never written, cannot be written to.
type InPlace struct {
	content tree.Content
	file    *os.File
	start   int64 // of the partition
	pieces  []piece
	name    string // of disk, partition and file
}

// piece is a part of a file that is stored in one piece.
type piece struct{ logical, physical, length int64 }

// maxPieces bounds the list of pieces, to 24 MiB.
const maxPieces = 1 << 20

// errPieces ends the gathering of pieces.
var errPieces = errors.New("the file lies in too many pieces")

// InPlace opens the regular file at a path of a partition's file system for
// overwriting. The stick must have been opened by OpenWritable. Only FAT, exFAT
// and ext can be written in this way, and ext only where its journal is clean:
// a replay could bring older content back. Everything else is
// tree.ErrUnsupported, and a path that is not there is os.ErrNotExist.
//
// The caller must not use two InPlaces of overlapping files, and must know the
// file system to be whole: in one whose files share clusters by mistake, the
// other file is overwritten as well.
func (s *Stick) InPlace(p *Partition, path string) (*InPlace, error) {
	name := p.name + ": " + tree.Quote(path)
	if s.writable == nil {
		return nil, fmt.Errorf("%s: %w: the stick was opened for reading", name, os.ErrPermission)
	}
	fs, err := p.open()
	if err != nil {
		return nil, err
	}
	if fs.replays {
		return nil, refusal.WithHint(tree.Unsupported(name, "", "the file system's journal is not clean"),
			"e2fsck -p replays it, and so does mounting and unmounting")
	}
	n, err := fs.root.Lookup(path)
	if err != nil {
		return nil, err
	}
	if n == nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: os.ErrNotExist}
	}
	c, err := n.Open()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	f := &InPlace{content: c, file: s.writable, start: p.Start, name: name}
	err = f.locate(n, c)
	if errors.Is(err, errPieces) || errors.Is(err, extfs.ErrInline) {
		err = refusal.WithHint(tree.Unsupported(name, "", "%v", err), "mount it and give the directory")
	}
	if err == nil {
		err = f.check(p)
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return f, nil
}

// locate finds the pieces.
func (f *InPlace) locate(n *tree.Node, c tree.Content) error {
	add := func(logical, physical, length int64) error {
		if len(f.pieces) == maxPieces {
			return errPieces
		}
		f.pieces = append(f.pieces, piece{logical, physical, length})
		return nil
	}
	if d, ok := n.Data.(extfs.Located); ok {
		for r, err := range d.Ranges() {
			if err == nil && !r.Unwritten {
				err = add(r.Logical, r.Physical, r.Length)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
	m, ok := c.(fat.Mapped)
	if !ok {
		return refusal.WithHint(tree.Unsupported(f.name, "", "its file system cannot be written to in place"),
			"mount it and give the directory")
	}
	for off := int64(0); ; {
		at, length, err := m.Extent(off)
		if err == io.EOF {
			return nil
		}
		if err == nil {
			err = add(off, at, length)
		}
		if err != nil {
			return err
		}
		off += length
	}
}

// check refuses pieces that leave the partition or lie upon each other, which no
// whole file system has.
func (f *InPlace) check(p *Partition) error {
	sorted := append([]piece(nil), f.pieces...)
	sort.Slice(sorted, func(i, j int) bool { return sorted[i].physical < sorted[j].physical })
	end := int64(0)
	for _, x := range sorted {
		if x.physical < end || x.length > p.Size-x.physical {
			return tree.Corrupt(f.name, "", "%d bytes at %d of the partition, where other bytes of it are or none", x.length, x.physical)
		}
		end = x.physical + x.length
	}
	return nil
}

// ReadAt implements io.ReaderAt.
func (f *InPlace) ReadAt(p []byte, off int64) (int, error) { return f.content.ReadAt(p, off) }

// Size is the file's length in bytes.
func (f *InPlace) Size() int64 { return f.content.Size() }

// WriteAt implements io.WriterAt. Where any byte of the range is not stored,
// nothing is written, and the error is tree.ErrUnsupported.
func (f *InPlace) WriteAt(p []byte, off int64) (int, error) {
	if off < 0 || int64(len(p)) > f.Size()-off {
		return 0, fmt.Errorf("%s: write of %d bytes at %d, the file has %d", f.name, len(p), off, f.Size())
	}
	first := sort.Search(len(f.pieces), func(i int) bool { return f.pieces[i].logical+f.pieces[i].length > off })
	for at, i, end := off, first, off+int64(len(p)); at < end; i++ {
		if i == len(f.pieces) || f.pieces[i].logical > at {
			return 0, refusal.WithHint(tree.Unsupported(f.name, fmt.Sprintf("byte %d", at),
				"not stored: to write it would change the file system"), "mount it and give the directory")
		}
		at = f.pieces[i].logical + f.pieces[i].length
	}
	done := 0
	for i := first; done < len(p); i++ {
		x := f.pieces[i]
		in := off + int64(done) - x.logical
		n := int(min(int64(len(p)-done), x.length-in))
		if _, err := f.file.WriteAt(p[done:done+n], f.start+x.physical+in); err != nil {
			return done, err
		}
		done += n
	}
	return done, nil
}

// Sync makes what was written durable.
func (f *InPlace) Sync() error { return f.file.Sync() }

// Close closes the file, not the stick.
func (f *InPlace) Close() error { return f.content.Close() }
