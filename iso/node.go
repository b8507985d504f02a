package iso

import (
	"crypto/sha256"
	"encoding/binary"

	"relive/tree"
)

// defaultPerm is what Linux gives to files without Rock Ridge.
const defaultPerm = 0o555

// root makes the root's node.
func (l *lister) root() (*tree.Node, error) {
	r, err := l.img.ownRecord(l.img.vol, l.d.block, "root directory")
	if err != nil {
		return nil, err
	}
	a := &l.attrs
	a.reset()
	if l.img.names == RockRidge {
		// The root's own record begins with SP itself, without bytes to skip.
		skip := l.img.rock.skip
		if len(r.su) >= 2 && sig(binary.LittleEndian.Uint16(r.su)) == sigSP {
			skip = 0
		}
		place := func() string { return "root directory: record at 0" }
		err := l.susp.walk(r.su[min(skip, len(r.su)):], place, func(e sig, p []byte) error {
			if e == sigNM {
				return nil // it names the directory "."
			}
			if fault, kind := a.take(e, p); fault != "" {
				return &tree.FormatError{File: l.img.name, Place: place(), Fact: fault, Kind: kind}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	l.img.claims.take(l.d.block, claim{})
	n := l.meta(&r)
	n.Type, n.Dir = tree.Directory, l.d
	n.Inode = tree.Inode{Source: l.img, Number: uint64(l.d.block)}
	return n, nil
}

// meta makes a node with the metadata of record and attributes, of type 0 where
// they give none.
func (l *lister) meta(r *record) *tree.Node {
	a := &l.attrs
	n := &tree.Node{Meta: tree.Meta{Perm: defaultPerm}, Nlink: 1}
	if a.hasPX {
		n.Perm = uint16(a.mode & 0o7777)
		n.UID, n.GID, n.Nlink = a.uid, a.gid, a.nlink
		n.Type = tree.TypeFromMode(a.mode)
	}
	if a.hasMtime {
		n.Mtime = a.mtime
	} else {
		n.Mtime = shortDate(r.date)
	}
	return n
}

// node makes the node of a record.
func (l *lister) node(r *record, offset int64) (*tree.Node, error) {
	a := &l.attrs
	name, err := l.nodeName(r, offset)
	if err != nil {
		return nil, err
	}
	l.name = name
	if a.hasChild {
		return l.relocatedDir(name, offset)
	}
	n := l.meta(r)
	n.Name = name
	switch {
	case !a.hasPX && r.isDir():
		n.Type = tree.Directory
	case !a.hasPX && a.hasTarget:
		n.Type, n.Perm = tree.Symlink, 0o777
	case !a.hasPX:
		n.Type = tree.Regular
	case n.Type == 0:
		return nil, l.d.corrupt(offset, "%q: mode %#o is of no file type", name, a.mode)
	case (n.Type == tree.Directory) != r.isDir():
		return nil, l.d.corrupt(offset, "%q: mode %#o, file flags %#x", name, a.mode, r.flags)
	}
	switch n.Type {
	case tree.Directory:
		return l.subdir(n, r.block(), r.size, offset)
	case tree.Regular:
		if r.interleaved() {
			return nil, tree.Unsupported(l.img.name, l.d.place(offset), "the file %q is interleaved", name)
		}
		n.Size = int64(r.size)
		f := &file{d: l.d, name: name, first: extent{r.block(), r.size}, stored: int64(r.size), zisofs: a.zisofs, sparse: a.sparse}
		switch {
		case a.sparse:
			n.Size = a.sparseSize
		case a.zisofs != nil:
			n.Size = a.zisofs.size
		}
		n.Data = f
	case tree.Symlink:
		if !a.hasTarget || len(a.target) == 0 {
			return nil, l.d.corrupt(offset, "%q: a symlink without a target", name)
		}
		n.Target = string(a.target)
		for i := range a.target {
			if a.target[i] == 0 {
				return nil, l.d.corrupt(offset, "%q: the symlink's target holds a NUL", name)
			}
		}
		n.Size = int64(len(n.Target))
	case tree.BlockDevice, tree.CharDevice:
		if !a.hasPN {
			return nil, l.d.corrupt(offset, "%q: a %s without a number (PN)", name, n.Type)
		}
		n.Rdev = a.rdev()
	}
	if r.flags&flagMore == 0 {
		l.finish(n)
	}
	return n, nil
}

// nodeName returns the name of a record in the name space that is shown.
func (l *lister) nodeName(r *record, offset int64) (string, error) {
	var name string
	switch {
	case l.attrs.hasName:
		name = string(l.attrs.name)
	case l.img.names == Joliet:
		name = jolietName(r.id)
	default:
		name = plainName(r.id)
	}
	if err := tree.CheckName(name); err != nil {
		return "", l.d.corrupt(offset, "%v", err)
	}
	return name, nil
}

// subdir makes n the directory at a block.
func (l *lister) subdir(n *tree.Node, block, length uint32, offset int64) (*tree.Node, error) {
	if !l.img.claims.take(block, claim{l.d.block, uint32(offset)}) {
		return nil, l.d.corrupt(offset, "%q: the directory in block %d stands in another place too", n.Name, block)
	}
	n.Type = tree.Directory
	n.Dir = &dir{img: l.img, parent: l.d, name: n.Name, block: block, length: length}
	n.Inode = tree.Inode{Source: l.img, Number: uint64(block)}
	return n, nil
}

// relocatedDir makes the node of a directory that stands elsewhere because it
// would be too deep here. What there is to know of it is in its own record
// (RRIP 4.1.5).
func (l *lister) relocatedDir(name string, offset int64) (*tree.Node, error) {
	block := l.attrs.child
	r, err := l.img.ownRecord(l.img.vol, block, l.d.place(offset)+": relocated directory")
	if err != nil {
		return nil, err
	}
	a := &l.attrs
	a.reset()
	place := func() string { return l.d.place(offset) + ": relocated directory" }
	err = l.susp.walk(r.su[min(l.img.rock.skip, len(r.su)):], place, func(e sig, p []byte) error {
		if e == sigNM {
			return nil
		}
		if fault, kind := a.take(e, p); fault != "" {
			return &tree.FormatError{File: l.img.name, Place: place(), Fact: fault, Kind: kind}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	n := l.meta(&r)
	n.Name = name
	if n.Type != 0 && n.Type != tree.Directory {
		return nil, l.d.corrupt(offset, "%q: relocated, and no directory but a %s", name, n.Type)
	}
	return l.subdir(n, block, r.size, offset)
}

// finish returns the node of anything but a directory its identity, when all of it
// is known. Names are of one inode where their serial numbers (RRIP 4.1.1) or,
// in images without these, their extents are the same, and all metadata too: a
// writer may let equal files share an extent, or count serial numbers anew.
func (l *lister) finish(n *tree.Node) {
	a := &l.attrs
	if n.Nlink < 2 || n.Type == tree.Directory || !a.hasSerial && (n.Type != tree.Regular || n.Size == 0) {
		return
	}
	h := sha256.New()
	var b [8]byte
	put := func(vs ...uint64) {
		for _, v := range vs {
			binary.LittleEndian.PutUint64(b[:], v)
			h.Write(b[:])
		}
	}
	put(uint64(a.serial), uint64(n.Type), uint64(n.Perm), uint64(n.UID), uint64(n.GID), uint64(n.Mtime.Sec), uint64(n.Mtime.Nsec),
		uint64(n.Rdev.Major), uint64(n.Rdev.Minor), uint64(n.Nlink), uint64(n.Size))
	if f, ok := n.Data.(*file); ok && n.Size > 0 {
		put(uint64(f.first.block))
		for _, e := range f.more {
			put(uint64(e.block))
		}
	}
	h.Write([]byte(n.Target))
	var sum [sha256.Size]byte
	// The highest bit keeps it apart from the numbers of directories, their blocks.
	n.Inode = tree.Inode{Source: l.img, Number: binary.LittleEndian.Uint64(h.Sum(sum[:0])) | 1<<63}
}
