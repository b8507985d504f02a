package squash

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"relive/squash/internal/ondisk"
	"relive/tree"
)

// file is one distinct regular file of the tree that is written. Its layout is
// filled in by the plan, where it is copied, or by the data writer.
type file struct {
	size int64
	// start, words, fragment and fragOff are the layout: in the source where all
	// of the file is copied, until relocate makes it that in the new image. A
	// tail that is packed anew stays named by its place in the source.
	start    int64
	words    []uint32
	fragment uint32
	fragOff  uint32

	source *source  // of what is copied
	more   *reading // nil where all is copied
	kind   fileKind
	// keepTail: the fragment block that holds the tail is copied.
	keepTail bool
}

// reading is the part of a file that is needed to read it. There may be a
// million files, of which few are read.
type reading struct {
	path string // for errors
	data tree.Data
	was  tree.Data // dropped once it has been compared
	// stored is where the blocks marked in keep are copied from.
	stored storedContent
	keep   keepBits
	// same is the index of the file whose layout this one shares.
	same int
}

// fileList lists files by number. It grows in pieces, since a slice that grows
// is there twice for a while.
type fileList struct {
	pieces [][]file
	n      int
}

const filePiece = 4096

func (l *fileList) add(f file) {
	if l.n%filePiece == 0 {
		l.pieces = append(l.pieces, make([]file, 0, filePiece))
	}
	last := &l.pieces[len(l.pieces)-1]
	*last = append(*last, f)
	l.n++
}

func (l *fileList) at(i int) *file { return &l.pieces[i/filePiece][i%filePiece] }

// all returns the files with their numbers.
func (l *fileList) all() iter.Seq2[int, *file] {
	return func(yield func(int, *file) bool) {
		for i := range l.n {
			if !yield(i, l.at(i)) {
				return
			}
		}
	}
}

type fileKind uint8

const (
	emptyFile  fileKind = iota
	freshFile           // read and compressed
	mixedFile           // some blocks copied, the others read and compressed
	storedFile          // all blocks copied; the tail too, if keepTail
	sameFile            // shares the layout of another
)

// link is an inode with several names.
type link struct {
	names  uint32 // met in the tree
	place  int    // among the inodes
	number uint32 // inode number once it is written, else 0
	ref    ondisk.Ref
}

// storer is what the Data of a file in an image offers besides its content.
type storer interface {
	storedForm() (storedContent, error)
}

// source is an image that blocks are copied from.
type source struct {
	img     *Reader
	usable  bool // codec, block size and dictionary allow copying
	extents []extent
	bytes   int64 // of all extents together
	frags   []fragmentUse
}

// maxIDs is how many owners and groups the superblock can count.
const maxIDs = 1<<16 - 1

var errTooManyIDs = fmt.Errorf("more than %d different owners and groups, which is all that SquashFS can hold", maxIDs)

// scan walks the tree, lists its distinct regular files and gathers extended
// attributes.
func (p *Plan) scan(ctx context.Context) error {
	st := &p.Stats
	st.DroppedXattrs, st.DroppedFlags = map[string]uint64{}, map[string]uint64{}
	ids := map[uint32]struct{}{}
	var numbers *numbering
	if p.o.Flags&FlagExportable != 0 { // without, nothing asks for an inode by number
		numbers = newNumbering(p.o.Numbers)
	}
	err := tree.Walk(ctx, p.root, func(path string, n *tree.Node) error {
		if n != p.root {
			if err := tree.CheckName(n.Name); err != nil {
				return fmt.Errorf("%s: %w", tree.Quote(path), err)
			}
		}
		if n.Type != tree.Directory && n.Nlink > 1 && n.Inode != (tree.Inode{}) {
			if l := p.links[n.Inode]; l != nil {
				l.names++
				numbers.name(path, l.place)
				return nil
			}
			p.links[n.Inode] = &link{names: 1, place: numbers.add(path, n)}
		} else {
			numbers.add(path, n)
		}
		if st.Inodes++; st.Inodes >= 1<<32-1 {
			return errors.New("more inodes than SquashFS can hold")
		}
		ids[n.UID], ids[n.GID] = struct{}{}, struct{}{}
		if len(ids) > maxIDs {
			return fmt.Errorf("%s: %w", tree.Quote(path), errTooManyIDs)
		}
		for _, name := range n.Flags.Names() {
			if st.DroppedFlags[name]++; st.FirstFlagged == "" {
				st.FirstFlagged = path
			}
		}
		if n.Mtime.Nsec != 0 {
			st.Nanoseconds++
		}
		if n.Mtime.Whole().Sec != n.Mtime.Sec {
			st.TimesOutOfRange++
		}
		if err := p.xattrs.add(n.Xattrs, p.o.Flags&FlagNoXattrs != 0, st.DroppedXattrs); err != nil {
			return fmt.Errorf("%s: %w", tree.Quote(path), err)
		}
		switch n.Type {
		case tree.Regular:
			return p.scanFile(path, n)
		case tree.Symlink:
			// The kernel reads a target into one page, with a NUL behind it.
			if len(n.Target) >= 4096 {
				return fmt.Errorf("%s: symlink target of %d bytes is longer than SquashFS can hold", tree.Quote(path), len(n.Target))
			}
		case tree.BlockDevice, tree.CharDevice:
			if _, ok := n.Rdev.Linux(); !ok {
				return fmt.Errorf("%s: device number %d:%d is larger than SquashFS can hold", tree.Quote(path), n.Rdev.Major, n.Rdev.Minor)
			}
		}
		return nil
	})
	if err == nil {
		p.numbers, p.kept, err = numbers.assign(ctx)
	}
	return err
}

func (p *Plan) scanFile(path string, n *tree.Node) error {
	p.Stats.Files++
	p.Stats.Bytes += n.Size
	f := file{size: n.Size, fragment: ondisk.NoFragment}
	if n.Size != 0 {
		if n.Data == nil {
			return fmt.Errorf("%s: %w", tree.Quote(path), tree.ErrNoData)
		}
		if blocks := n.Size / int64(p.o.BlockSize); n.Size < 0 || blocks >= maxStoredBlocks {
			return fmt.Errorf("%s: a file of %d bytes has more than %d blocks of %d bytes", tree.Quote(path), n.Size, maxStoredBlocks,
				p.o.BlockSize)
		}
		f.kind = freshFile
		f.more = &reading{path: path, data: n.Data, was: n.Was}
		if !p.o.NoReuse {
			if err := p.reuse(&f, n.Data); err != nil {
				return fmt.Errorf("%s: %w", tree.Quote(path), err)
			}
		}
	}
	p.files.add(f)
	return nil
}

// reuse finds what of a fresh file's content is stored: all of it, or, of content
// that is another with changes, what is unchanged. A file with too many blocks
// to list, as an image of small blocks may hold it, is read instead.
func (p *Plan) reuse(f *file, d tree.Data) error {
	if s, ok := d.(storer); ok {
		stored, err := s.storedForm()
		if errors.Is(err, tree.ErrUnsupported) {
			return nil
		}
		if err != nil {
			return err
		}
		if src := p.sourceOf(stored.Image); src.usable && stored.Size == f.size {
			stored.Blocks = p.words.copy(stored.Blocks)
			f.copyAll(&stored, src)
		}
		return nil
	}
	patched, ok := d.(tree.Patched)
	if !ok {
		return nil
	}
	s, ok := patched.Below().(storer)
	if !ok {
		return nil
	}
	stored, err := s.storedForm()
	if errors.Is(err, tree.ErrUnsupported) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("without its changes: %w", err)
	}
	if src := p.sourceOf(stored.Image); src.usable {
		p.keepUnchanged(f, patched, &stored, src)
	}
	return nil
}

// copyAll makes f a file of which all is copied.
func (f *file) copyAll(s *storedContent, src *source) {
	f.kind, f.source, f.more = storedFile, src, nil
	f.start, f.words, f.fragment, f.fragOff, f.keepTail = s.Start, s.Blocks, s.Fragment, s.FragmentOffset, true
}

// sourceOf returns the source of an image, which may turn out not to be usable.
func (p *Plan) sourceOf(img *Reader) *source {
	for _, s := range p.sources {
		if s.img == img {
			return s
		}
	}
	sb, have := &img.super, img.Options()
	s := &source{img: img}
	s.usable = int(sb.BlockSize) == p.o.BlockSize && have.ID == p.o.Codec.ID && have.DictSize <= p.o.Codec.DictSize
	p.sources = append(p.sources, s)
	return s
}

// blockCount is how many data blocks the file has, its tail not counted where
// a fragment holds it.
func (p *Plan) blockCount(size int64) int {
	bs := int64(p.o.BlockSize)
	n := size / bs
	if size%bs != 0 && !p.tailInFragment(size) {
		n++
	}
	return int(n)
}

// tailInFragment reports whether a file that is compressed has its tail in a
// fragment: small files, and with FlagAlwaysFragments all.
func (p *Plan) tailInFragment(size int64) bool {
	bs := int64(p.o.BlockSize)
	return size%bs != 0 && p.o.Flags&FlagNoFragments == 0 && (size < bs || p.o.Flags&FlagAlwaysFragments != 0)
}

// wordArena hands out small slices of block words from large pieces, for there
// is one a file.
type wordArena struct{ free []uint32 }

func (a *wordArena) make(n int) []uint32 {
	if n > len(a.free) {
		if n > 4096 {
			return make([]uint32, n)
		}
		a.free = make([]uint32, 16384)
	}
	s := a.free[:n:n]
	a.free = a.free[n:]
	return s
}

func (a *wordArena) copy(words []uint32) []uint32 {
	s := a.make(len(words))
	copy(s, words)
	return s
}
