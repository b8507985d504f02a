package erofs

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"relive/tree"
)

// file is one distinct regular file of the tree that is written.
type file struct {
	size   int64
	source *origin // of what is copied
	nid    uint64  // of a stored file, in the source
	more   *reading
	kind   fileKind
}

// reading is the part of a file that is needed to read it. There may be a million
// files, of which few are read.
type reading struct {
	path string // for errors
	data tree.Data
	was  tree.Data // dropped once it has been compared
	// stored has the extents that are copied, of which keep marks those by number.
	stored *fileData
	keep   keepBits
	// same is the index of the file whose layout this one shares.
	same int
	// shared is set where another file shares this one's layout.
	shared bool
	layout *fileLayout // while that is so, once it is written
}

// fileList lists files by number. It grows in pieces, since a slice that grows is
// there twice for a while.
type fileList struct {
	pieces [][]file
	n      int
}

const filePiece = 4096

func (l *fileList) add(f file) *file {
	if l.n%filePiece == 0 {
		l.pieces = append(l.pieces, make([]file, 0, filePiece))
	}
	last := &l.pieces[len(l.pieces)-1]
	*last = append(*last, f)
	l.n++
	return &(*last)[len(*last)-1]
}

func (l *fileList) at(i int) *file { return &l.pieces[i/filePiece][i%filePiece] }

// all gives the files with their numbers.
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
	mixedFile           // some extents copied, the others read and compressed
	storedFile          // all extents copied
	sameFile            // shares the layout of another
)

// link is an inode with several names.
type link struct {
	names uint32 // met in the tree
	nid   uint64 // once it is written, else 0
	fed   bool   // the feeder has met it
}

// compressedMax is the longest file that is written, in bytes: its index is in memory
// while it is made.
const compressedMax = 256 << 30

// scan walks the tree, lists its distinct regular files and its directories, and
// gathers extended attributes.
func (p *Plan) scan(ctx context.Context) error {
	p.Stats.DroppedXattrs, p.Stats.DroppedFlags = map[string]uint64{}, map[string]uint64{}
	return p.scanDir(ctx, "", p.root, 0)
}

// scanDir scans a directory and all that is below it.
func (p *Plan) scanDir(ctx context.Context, path string, n *tree.Node, depth int) error {
	if depth > tree.MaxDepth {
		return tree.TooDeep(path)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	kids, err := n.ChildrenAt(path)
	if err != nil {
		return err
	}
	number := len(p.dirs)
	p.dirs = append(p.dirs, plannedDir{})
	if err := p.scanInode(path, n); err != nil {
		return err
	}
	subdirs := uint32(0)
	for i, k := range kids {
		at := tree.Join(path, k.Name)
		if err := tree.CheckName(k.Name); err != nil {
			return fmt.Errorf("%s: %w", tree.Quote(at), err)
		}
		if i > 0 && k.Name <= kids[i-1].Name {
			return fmt.Errorf("%s: %q stands behind %q, out of order", tree.Quote(path), k.Name, kids[i-1].Name)
		}
		if k.Type == tree.Directory {
			subdirs++
			if err := p.scanDir(ctx, at, k, depth+1); err != nil {
				return err
			}
		} else if err := p.scanLeaf(at, k); err != nil {
			return err
		}
	}
	var size dirSize
	for _, e := range dirEntries(kids) {
		size.add(e.name)
	}
	d := &p.dirs[number]
	d.size, d.nlink, d.order, d.xattrs = size.bytes(), 2+subdirs, p.places.dirs, n.Xattrs
	d.compact = p.o.compact(n, d.nlink, d.size)
	p.places.dirs++
	return nil
}

func (p *Plan) scanLeaf(path string, n *tree.Node) error {
	if n.Nlink > 1 && n.Inode != (tree.Inode{}) {
		if l := p.links[n.Inode]; l != nil {
			l.names++
			return nil
		}
		p.links[n.Inode] = &link{names: 1}
	}
	if err := p.scanInode(path, n); err != nil {
		return err
	}
	switch n.Type {
	case tree.Regular:
		return p.scanFile(path, n)
	case tree.Symlink:
		if len(n.Target) == 0 || len(n.Target) > symlinkMax {
			return fmt.Errorf("%s: symlink target of %d bytes; EROFS holds 1 to %d", tree.Quote(path), len(n.Target), symlinkMax)
		}
	case tree.BlockDevice, tree.CharDevice:
		if _, ok := n.Rdev.Linux(); !ok {
			return fmt.Errorf("%s: device number %d:%d is larger than EROFS can hold", tree.Quote(path), n.Rdev.Major, n.Rdev.Minor)
		}
	}
	return nil
}

// scanInode notes what all inodes have.
func (p *Plan) scanInode(path string, n *tree.Node) error {
	st := &p.Stats
	if st.Inodes++; st.Inodes >= 1<<32-1 {
		return errors.New("more inodes than EROFS can hold")
	}
	for _, name := range n.Flags.Names() {
		if st.DroppedFlags[name]++; st.FirstFlagged == "" {
			st.FirstFlagged = path
		}
	}
	if err := p.xattrs.count(n.Xattrs, st.DroppedXattrs); err != nil {
		return fmt.Errorf("%s: %w", tree.Quote(path), err)
	}
	return nil
}

func (p *Plan) scanFile(path string, n *tree.Node) error {
	p.Stats.Files++
	p.Stats.Bytes += n.Size
	f := p.files.add(file{size: n.Size})
	if n.Size == 0 {
		return nil
	}
	if n.Data == nil {
		return fmt.Errorf("%s: %w", tree.Quote(path), tree.ErrNoData)
	}
	if n.Size < 0 || n.Size > compressedMax {
		return fmt.Errorf("%s: a file of %d bytes is longer than %d", tree.Quote(path), n.Size, int64(compressedMax))
	}
	f.kind = freshFile
	f.more = &reading{path: path, data: n.Data, was: n.Was}
	if p.o.NoReuse {
		return nil
	}
	if err := p.reuse(f, n.Data); err != nil {
		return fmt.Errorf("%s: %w", tree.Quote(path), err)
	}
	return nil
}

// describe names the file for errors.
func (f *file) describe() string {
	if f.more != nil {
		return tree.Quote(f.more.path)
	}
	return fmt.Sprintf("stored file of %d bytes", f.size)
}
