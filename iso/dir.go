package iso

import (
	"fmt"
	"sort"

	"relive/tree"
)

// dirReadSize is how much of a directory is read at once, in bytes.
const dirReadSize = 64 << 10

// dir is a directory, listed when it is asked.
type dir struct {
	img    *Image
	parent *dir // nil at the root
	name   string
	block  uint32
	length uint32 // in bytes
}

// path is the directory's path as errors show it.
func (d *dir) path() string { return tree.Quote(d.join("")) }

// join returns the path of a name in the directory.
func (d *dir) join(name string) string {
	n := len(name)
	for p := d; p.parent != nil; p = p.parent {
		n += len(p.name) + 1
	}
	b := make([]byte, n)
	at := n - copy(b[n-len(name):], name)
	for p := d; p.parent != nil; p = p.parent {
		at--
		b[at] = '/'
		at -= copy(b[at-len(p.name):], p.name)
	}
	if name == "" && n > 0 {
		b = b[:n-1]
	}
	return string(b)
}

// Children implements tree.Dir.
func (d *dir) Children() ([]*tree.Node, error) {
	l := newLister(d.img, d)
	if err := l.list(); err != nil {
		return nil, err
	}
	return tree.Partial(l.nodes, l.bad)
}

// list reads the whole directory.
func (l *lister) list() error {
	if err := l.d.scan(l.add); err != nil {
		return err
	}
	if l.open != nil {
		return l.d.corrupt(l.openAt, "the file %q has no last section", l.open.Name)
	}
	return l.unique()
}

func (d *dir) place(offset int64) string {
	return fmt.Sprintf("directory %s: record at %d", d.path(), offset)
}

func (d *dir) corrupt(offset int64, fact string, args ...any) error {
	return tree.Corrupt(d.img.name, d.place(offset), fact, args...)
}

// scan calls fn for every record but the first two, which are the directory's
// own and its parent's (ECMA-119 6.8.2.2), with its offset in the directory. The
// record is valid until fn returns.
func (d *dir) scan(fn func(r *record, offset int64) error) error {
	start := d.img.vol.offset(d.block)
	length := int64(d.length)
	if start+length > d.img.size {
		return d.img.pastEnd("directory "+d.path(), start, length)
	}
	buf := make([]byte, min(length, dirReadSize))
	count := 0
	for off := int64(0); off < length; off += int64(len(buf)) {
		buf = buf[:min(int64(len(buf)), length-off)]
		if err := d.img.readAt(buf, start+off, "directory "+d.path()); err != nil {
			return err
		}
		for at := 0; at < len(buf); {
			// No record crosses the end of a sector; zeros fill what is left of it
			// (ECMA-119 6.8.1.1).
			end := min(at&^(sectorSize-1)+sectorSize, len(buf))
			n := int(buf[at])
			if n == 0 {
				at = end
				continue
			}
			offset := off + int64(at)
			if at+n > end {
				return d.corrupt(offset, "%d bytes, where %d are left in the sector", n, end-at)
			}
			r, fault := decodeRecord(buf[at : at+n])
			if fault != "" {
				return d.corrupt(offset, "%s", fault)
			}
			at += n
			own := len(r.id) == 1 && r.id[0] <= 1
			if own != (count < 2) || own && int(r.id[0]) != count {
				return d.corrupt(offset, "identifier %q as entry %d of the directory", r.id, count)
			}
			if count++; own {
				continue
			}
			if err := fn(&r, offset); err != nil {
				return err
			}
		}
	}
	if count < 2 {
		return tree.Corrupt(d.img.name, "directory "+d.path(), "has no record of itself and its parent")
	}
	return nil
}

// lister makes nodes of a directory's records.
type lister struct {
	img   *Image
	d     *dir
	susp  suspReader
	attrs attributes
	nodes []*tree.Node
	bad   []tree.BadEntry
	name  string // of the record at hand, "" as long as it is not known
	skip  []byte // identifier of a file that cannot be read and goes on

	// A file in several sections: what there is of it, and its last record.
	open   *tree.Node
	openID []byte
	openAt int64

	check int // when to look for equal names next

	// ids, where it is not nil, takes the identifiers as they are stored, and odd
	// is called for every record.
	ids map[*tree.Node]string
	odd func(*record)
}

func newLister(img *Image, d *dir) *lister {
	return &lister{img: img, d: d, susp: suspReader{img: img, budget: img.size}, check: 1 << 14}
}

// add takes one record.
func (l *lister) add(r *record, offset int64) error {
	if l.odd != nil {
		l.odd(r)
	}
	// Linux does not show associated files, such as Apple's resource forks.
	if r.flags&flagAssociated != 0 {
		return nil
	}
	if l.open != nil {
		return l.addSection(r, offset)
	}
	if l.skip != nil && string(r.id) == string(l.skip) {
		if r.flags&flagMore == 0 {
			l.skip = nil
		}
		return nil
	}
	l.name = ""
	err := l.readAttributes(r, offset)
	if err == nil && l.attrs.relocated {
		return nil
	}
	var n *tree.Node
	if err == nil {
		n, err = l.node(r, offset)
	}
	if err != nil {
		return l.cannotRead(r, offset, err)
	}
	l.nodes = append(l.nodes, n)
	if l.ids != nil {
		l.ids[n] = string(r.id)
	}
	if r.flags&flagMore != 0 {
		if n.Type != tree.Regular {
			return l.d.corrupt(offset, "a %s in several sections", n.Type)
		}
		l.open, l.openID, l.openAt = n, append(l.openID[:0], r.id...), offset
	}
	return l.checked()
}

// checked looks for equal names now and then: a forged directory may give the
// same name again and again from one continuation area.
func (l *lister) checked() error {
	if len(l.nodes)+len(l.bad) < l.check {
		return nil
	}
	l.check *= 2
	return l.unique()
}

// cannotRead notes a record that makes no node. Where it has no name that could
// stand in a tree either, the directory cannot be listed.
func (l *lister) cannotRead(r *record, offset int64, err error) error {
	if l.name == "" {
		var nameErr error
		if l.name, nameErr = l.nodeName(r, offset); nameErr != nil {
			return nameErr
		}
	}
	l.bad = append(l.bad, tree.BadEntry{Name: l.name, Err: err})
	if r.flags&flagMore != 0 {
		l.skip = append([]byte{}, r.id...)
	}
	return l.checked()
}

// addSection takes a record that continues a file (ECMA-119 6.5.1).
func (l *lister) addSection(r *record, offset int64) error {
	if string(r.id) != string(l.openID) || r.isDir() {
		return l.d.corrupt(offset, "%q stands where a section of %q is expected", r.id, l.openID)
	}
	if r.interleaved() {
		return tree.Unsupported(l.img.name, l.d.place(offset), "the file is interleaved")
	}
	f := l.open.Data.(*file)
	f.more = append(f.more, extent{r.block(), r.size})
	f.stored += int64(r.size)
	if f.zisofs == nil && !f.sparse {
		l.open.Size += int64(r.size)
	}
	if r.flags&flagMore == 0 {
		l.finish(l.open)
		l.open = nil
	}
	l.openAt = offset
	return nil
}

// readAttributes reads what Rock Ridge tells of a record.
func (l *lister) readAttributes(r *record, offset int64) error {
	a := &l.attrs
	a.reset()
	if l.img.names != RockRidge || len(r.su) <= l.img.rock.skip {
		return nil
	}
	place := func() string { return l.d.place(offset) }
	err := l.susp.walk(r.su[l.img.rock.skip:], place, func(e sig, p []byte) error {
		fault, kind := a.take(e, p)
		if fault == "" {
			return nil
		}
		return &tree.FormatError{File: l.img.name, Place: place(), Fact: fault, Kind: kind}
	})
	if err == nil && a.nameGoesOn {
		err = l.d.corrupt(offset, "the name %q is continued nowhere", a.name)
	}
	return err
}

// unique sorts by name and gives an error where two are equal.
func (l *lister) unique() error {
	// The file whose sections are being read is no longer the last; nothing
	// relies on that.
	sort.Slice(l.nodes, func(i, j int) bool { return l.nodes[i].Name < l.nodes[j].Name })
	for i := 1; i < len(l.nodes); i++ {
		if l.nodes[i].Name == l.nodes[i-1].Name {
			return tree.Corrupt(l.img.name, "directory "+l.d.path(), "the name %q stands there twice", l.nodes[i].Name)
		}
	}
	sort.Slice(l.bad, func(i, j int) bool { return l.bad[i].Name < l.bad[j].Name })
	for i := 1; i < len(l.bad); i++ {
		if l.bad[i].Name == l.bad[i-1].Name {
			return tree.Corrupt(l.img.name, "directory "+l.d.path(), "the name %q stands there twice", l.bad[i].Name)
		}
	}
	return nil
}
