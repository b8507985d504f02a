package erofs

import (
	"bytes"
	"fmt"
	"sort"

	"relive/erofs/internal/ondisk"
	"relive/tree"
)

// dir lists a directory of an image.
type dir struct{ data fileData }

// dirPlace is the one place where a directory is named.
type dirPlace struct {
	parent uint64
	at     int64 // of the entry
}

// entry is a directory entry.
type entry struct {
	nid  uint64
	typ  uint8
	at   int64 // offset in the directory
	name string
}

func (d *dir) place() string { return "directory " + inodePlace(d.data.nid) }

// opened is a directory whose blocks are read.
type opened struct {
	d *dir
	c tree.Content
	b []byte // a block
}

func (d *dir) open() (*opened, error) {
	c, err := d.data.open(false)
	if err != nil {
		return nil, tree.Within(err, "directory")
	}
	return &opened{d, c, make([]byte, min(d.data.size, d.data.r.blockSize))}, nil
}

// blocks is the number of blocks.
func (o *opened) blocks() int64 {
	bs := o.d.data.r.blockSize
	return o.d.data.size/bs + min(o.d.data.size%bs, 1)
}

// block gives the entries of a block, each of which is independent of the others.
func (o *opened) block(i int64) ([]entry, error) {
	r := o.d.data.r
	at := i << r.blockBits
	b := o.b[:min(r.blockSize, o.d.data.size-at)]
	if err := tree.ReadFull(o.c, b, at); err != nil {
		return nil, tree.Within(err, "directory")
	}
	bad := func(fact string, args ...any) error {
		return r.corrupt(fmt.Sprintf("%s: block %d", o.d.place(), i), fact, args...)
	}
	if len(b) < ondisk.DirentSize {
		return nil, bad("has %d bytes, less than an entry", len(b))
	}
	first := int(ondisk.DecodeDirent(b).Name)
	if first == 0 || first%ondisk.DirentSize != 0 || first >= len(b) {
		return nil, bad("its first name is at byte %d of %d", first, len(b))
	}
	entries := make([]entry, first/ondisk.DirentSize)
	for k := range entries {
		d := ondisk.DecodeDirent(b[k*ondisk.DirentSize:])
		start, end := int(d.Name), len(b)
		if k+1 < len(entries) {
			end = int(ondisk.DecodeDirent(b[(k+1)*ondisk.DirentSize:]).Name)
		}
		if start < first || end > len(b) || start >= end {
			return nil, bad("entry %d: its name is from byte %d to %d of %d", k, start, end, len(b))
		}
		name := b[start:end]
		if k+1 == len(entries) {
			// Zeros fill the rest of the block.
			if nul := bytes.IndexByte(name, 0); nul >= 0 {
				name = name[:nul]
			}
		}
		if len(name) == 0 || len(name) > ondisk.NameMax {
			return nil, bad("entry %d: name of %d bytes", k, len(name))
		}
		entries[k] = entry{d.NID, d.Type, at + int64(k*ondisk.DirentSize), string(name)}
	}
	return entries, nil
}

// Children implements tree.Dir.
func (d *dir) Children() ([]*tree.Node, error) {
	o, err := d.open()
	if err != nil {
		return nil, err
	}
	var (
		nodes []*tree.Node
		bad   []tree.BadEntry
		m     = nodeMaker{r: d.data.r}
	)
	err = o.each(func(e entry) error {
		node, err := d.child(&m, &e)
		if err != nil {
			bad = append(bad, tree.BadEntry{Name: e.name, Err: err})
		} else {
			nodes = append(nodes, node)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return tree.Partial(nodes, bad)
}

// each calls fn with each entry but "." and "..", in their order. Names that are out
// of order are an error, since the kernel does not find them.
func (o *opened) each(fn func(entry) error) error {
	last := ""
	for i := range o.blocks() {
		entries, err := o.block(i)
		if err != nil {
			return err
		}
		for k := range entries {
			e := &entries[k]
			if e.name <= last {
				return o.d.data.r.corrupt(o.d.place(), "%q comes after %q", e.name, last)
			}
			last = e.name
			if e.name == "." || e.name == ".." {
				continue
			}
			if err := tree.CheckName(e.name); err != nil {
				return o.d.data.r.corrupt(o.d.place(), "%v", err)
			}
			if err := fn(*e); err != nil {
				return err
			}
		}
	}
	return nil
}

// inode reads the inode that an entry names.
func (d *dir) inode(e *entry) (inode, error) {
	r := d.data.r
	n, err := r.readInode(e.nid)
	if err != nil {
		return n, err
	}
	if t := ondisk.DirentType(e.typ); t != n.typ && e.typ != 0 {
		return n, r.corrupt("", "names a %s, where %s is a %s", t, n.place(), n.typ)
	}
	if n.typ == tree.Directory {
		if err := d.claim(n.nid, e.at); err != nil {
			return n, err
		}
	}
	return n, nil
}

// child makes the node of an entry.
func (d *dir) child(m *nodeMaker, e *entry) (*tree.Node, error) {
	n, err := d.inode(e)
	var node *tree.Node
	if err == nil {
		node, err = m.node(e.name, &n)
	}
	if err != nil {
		return nil, tree.Within(err, "%s: entry %q", d.place(), e.name)
	}
	return node, nil
}

// claim notes where a directory is named. That each is named in one place only is
// what keeps a walk of the tree finite: no directory is below itself, and none is
// reached on two ways, which could be exponentially many.
func (d *dir) claim(nid uint64, at int64) error {
	r := d.data.r
	if nid == r.root {
		return r.corrupt("", "is the root directory again")
	}
	here := dirPlace{d.data.nid, at}
	r.dirMu.Lock()
	there, ok := r.dirSeen[nid]
	if !ok {
		r.dirSeen[nid] = here
	}
	r.dirMu.Unlock()
	if ok && there != here {
		return r.corrupt("", "the directory is named in another place too, a loop or a hard link")
	}
	return nil
}

// Lookup implements tree.Lookuper. As in the kernel it searches by halves, for blocks
// and the names in them are in order.
func (d *dir) Lookup(name string) (*tree.Node, error) {
	if tree.CheckName(name) != nil {
		return nil, nil
	}
	o, err := d.open()
	if err != nil {
		return nil, err
	}
	// The last block whose first name is not behind the one that is wanted.
	var found []entry
	low, high := int64(0), o.blocks()
	for low < high {
		mid := low + (high-low)/2
		entries, err := o.block(mid)
		if err != nil {
			return nil, err
		}
		if entries[0].name <= name {
			found, low = entries, mid+1
		} else {
			high = mid
		}
	}
	k := sort.Search(len(found), func(k int) bool { return found[k].name >= name })
	if k == len(found) || found[k].name != name {
		return nil, nil
	}
	return d.child(&nodeMaker{r: d.data.r}, &found[k])
}
