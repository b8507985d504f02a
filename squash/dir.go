package squash

import (
	"encoding/binary"
	"fmt"

	"relive/squash/internal/ondisk"
	"relive/tree"
)

// dir lists a directory of an image.
type dir struct {
	r          *Reader
	number     uint32
	ref        ondisk.Ref // of the directory's inode
	start      ondisk.Ref // of the listing
	size       uint32     // of the listing in bytes
	indexCount uint16
	index      ondisk.Ref // of the index, in the inode table
}

// dirPlace is the one place where a directory is named.
type dirPlace struct {
	parent ondisk.Ref // the parent's inode
	at     uint32     // offset of the entry in its listing
}

// entry is a directory entry with its header's part resolved.
type entry struct {
	ref    ondisk.Ref // of the inode
	number uint32
	typ    ondisk.InodeType
	at     uint32 // offset in the listing
	name   []byte // valid until the next entry is read
}

// listing reads a directory's entries one after another.
type listing struct {
	c      *cursor
	at     uint32 // bytes of the listing that are read
	size   uint32
	header ondisk.DirHeader
	left   uint32 // entries of the current header that are not read
	name   [ondisk.DirNameMax + 1]byte
}

// next reads an entry; ok is false at the end.
func (l *listing) next(e *entry) (ok bool, err error) {
	if l.left == 0 {
		if l.at == l.size {
			return false, nil
		}
		b, err := l.take(ondisk.DirHeaderSize)
		if err != nil {
			return false, err
		}
		l.header = ondisk.DecodeDirHeader(b)
		if l.header.Count == 0 || l.header.Count > ondisk.DirEntriesMax {
			return false, l.c.r.corrupt(fmt.Sprintf("header at %d", l.at-ondisk.DirHeaderSize), "leads %d entries, more than %d",
				uint64(l.header.Count-1)+1, ondisk.DirEntriesMax)
		}
		l.left = l.header.Count
	}
	e.at = l.at
	b, err := l.take(ondisk.DirEntrySize)
	if err != nil {
		return false, err
	}
	d, nameLen := ondisk.DecodeDirEntry(b)
	if nameLen > len(l.name) {
		return false, l.c.r.corrupt(fmt.Sprintf("entry at %d", e.at), "name of %d bytes", nameLen)
	}
	if b, err = l.take(uint32(nameLen)); err != nil {
		return false, err
	}
	e.name = l.name[:copy(l.name[:], b)]
	e.ref = ondisk.MakeRef(int64(l.header.Block), int(d.Offset))
	e.number = l.header.Number + uint32(int32(d.Delta))
	e.typ = d.Type
	l.left--
	return true, nil
}

func (l *listing) take(n uint32) ([]byte, error) {
	if n > l.size-l.at {
		return nil, l.c.r.corrupt(fmt.Sprintf("listing of %d bytes", l.size), "ends inside an entry at %d", l.at)
	}
	l.at += n
	return l.c.bytes(int(n))
}

// open starts to read the listing, at its beginning.
func (d *dir) open() (*listing, error) {
	l := &listing{c: d.r.cursor(&d.r.dirs), size: d.size}
	if d.size == 0 {
		return l, nil
	}
	return l, tree.Within(l.c.seek(d.start), "%s", d.place())
}

func (d *dir) place() string { return "directory " + inodePlace(d.number) }

// Children implements tree.Dir.
func (d *dir) Children() ([]*tree.Node, error) {
	l, err := d.open()
	if err != nil {
		return nil, err
	}
	var (
		nodes []*tree.Node
		bad   []tree.BadEntry
		seen  map[string]bool // set up at the first name that is out of order
		last  string
		m     = nodeMaker{r: d.r, c: d.r.cursor(&d.r.inodes)}
		e     entry
	)
	for {
		ok, err := l.next(&e)
		if err != nil {
			return nil, tree.Within(err, "%s", d.place())
		}
		if !ok {
			break
		}
		name := string(e.name)
		if err := tree.CheckName(name); err != nil {
			return nil, d.r.corrupt(d.place(), "%v", err)
		}
		// Nothing but the names keeps a hostile listing from decoding to
		// gigabytes, so that no name may come twice, sorted or not.
		if seen == nil && len(nodes)+len(bad) > 0 && name <= last {
			seen = make(map[string]bool, len(nodes)+len(bad)+1)
			for _, n := range nodes {
				seen[n.Name] = true
			}
			for _, b := range bad {
				seen[b.Name] = true
			}
		}
		if seen != nil {
			if seen[name] {
				return nil, d.r.corrupt(d.place(), "names %q twice", name)
			}
			seen[name] = true
		}
		last = name
		node, err := d.child(&m, &e)
		if err != nil {
			bad = append(bad, tree.BadEntry{Name: name, Err: err})
			continue
		}
		nodes = append(nodes, node)
	}
	if seen != nil {
		tree.Sort(nodes)
	}
	return tree.Partial(nodes, bad)
}

// child makes the node of an entry.
func (d *dir) child(m *nodeMaker, e *entry) (*tree.Node, error) {
	name := string(e.name)
	place := func() string { return fmt.Sprintf("%s: entry %q", d.place(), name) }
	if err := tree.CheckName(name); err != nil {
		return nil, d.r.corrupt(d.place(), "%v", err)
	}
	n, err := d.r.readInode(m.c, e.ref)
	if err != nil {
		return nil, tree.Within(err, "%s", place())
	}
	switch {
	case n.Number != e.number:
		return nil, d.r.corrupt(place(), "names inode %d, where inode %d is", e.number, n.Number)
	case n.Type.Basic() != e.typ.Basic():
		return nil, d.r.corrupt(place(), "names a %s, where inode %d is a %s", e.typ, n.Number, n.Type)
	}
	if n.Type.Basic() == ondisk.InodeDir {
		if err := d.claim(n.ref, e.at); err != nil {
			return nil, tree.Within(err, "%s", place())
		}
	}
	node, err := m.node(name, &n)
	if err != nil {
		return nil, tree.Within(err, "%s", place())
	}
	return node, nil
}

// claim notes where a directory is named. That each is named in one place only
// is what keeps a walk of the tree finite: no directory is below itself, and
// none is reached on two ways, which could be exponentially many.
func (d *dir) claim(ref ondisk.Ref, at uint32) error {
	r := d.r
	if ref == r.super.Root {
		return r.corrupt("", "is the root directory again")
	}
	here := dirPlace{d.ref, at}
	r.dirMu.Lock()
	there, ok := r.dirSeen[ref]
	if !ok {
		r.dirSeen[ref] = here
	}
	r.dirMu.Unlock()
	if ok && there != here {
		return r.corrupt("", "the directory is named in another place too, a loop or a hard link")
	}
	return nil
}

// Lookup implements tree.Lookuper. Where the directory has an index it reads
// only the part of the listing that the index names. In an image whose listings
// are not sorted that may miss a name, as it does in the kernel.
func (d *dir) Lookup(name string) (*tree.Node, error) {
	l, err := d.open()
	if err != nil {
		return nil, err
	}
	sorted := false
	if d.indexCount > 0 && d.size > 0 {
		if err := d.skipByIndex(l, name); err != nil {
			return nil, tree.Within(err, "%s: index", d.place())
		}
		sorted = true
	}
	var e entry
	for {
		ok, err := l.next(&e)
		if err != nil {
			return nil, tree.Within(err, "%s", d.place())
		}
		if !ok || sorted && string(e.name) > name {
			return nil, nil
		}
		if string(e.name) == name {
			return d.child(&nodeMaker{r: d.r, c: d.r.cursor(&d.r.inodes)}, &e)
		}
	}
}

// skipByIndex moves a listing to the last header in the directory's index
// whose first name is not behind name (format.adoc, "Directory Index").
func (d *dir) skipByIndex(l *listing, name string) error {
	best, found, err := d.findIndex(name)
	if err != nil || !found {
		return err
	}
	if best.Index >= d.size {
		return d.r.corrupt(fmt.Sprintf("entry %q", best.Name), "names byte %d of a listing of %d", best.Index, d.size)
	}
	// The listing's bytes run on without gaps, so that a header's place in its
	// metadata block follows from its place in the listing.
	offset := (uint64(d.start.Offset()) + uint64(best.Index)) % ondisk.MetadataSize
	if err := l.c.seek(ondisk.MakeRef(int64(best.Block), int(offset))); err != nil {
		return err
	}
	l.at = best.Index
	return nil
}

// findIndex reads the index up to the last entry whose name is not behind
// name.
func (d *dir) findIndex(name string) (best ondisk.DirIndex, found bool, err error) {
	c := d.r.cursor(&d.r.inodes)
	if err := c.seek(d.index); err != nil {
		return best, false, err
	}
	for range d.indexCount {
		x, err := d.r.nextIndex(c)
		if err != nil {
			return best, false, err
		}
		if x.Name > name {
			break
		}
		best, found = x, true
	}
	return best, found, nil
}

// nextIndex reads a directory index entry.
func (r *Reader) nextIndex(c *cursor) (ondisk.DirIndex, error) {
	b, err := c.bytes(ondisk.DirIndexSize)
	if err != nil {
		return ondisk.DirIndex{}, err
	}
	le := binary.LittleEndian
	x := ondisk.DirIndex{Index: le.Uint32(b), Block: le.Uint32(b[4:])}
	n := uint64(le.Uint32(b[8:])) + 1
	if n > ondisk.DirNameMax+1 {
		return ondisk.DirIndex{}, r.corrupt("", "name of %d bytes", n)
	}
	if b, err = c.bytes(int(n)); err != nil {
		return ondisk.DirIndex{}, err
	}
	x.Name = string(b)
	return x, nil
}
