package extfs

import (
	"fmt"
	"sort"

	"relive/extfs/internal/ondisk"
	"relive/tree"
)

// dirEntry is a name in a directory.
type dirEntry struct {
	name string
	ino  uint32
}

// dirReadSize is how much of a directory is read at once.
const dirReadSize = 64 << 10

// dir is a directory, listed when it is asked.
type dir struct {
	fs     *FS
	in     *inode
	parent uint32
}

// Children implements tree.Dir.
func (d *dir) Children() ([]*tree.Node, error) {
	entries, err := d.entries()
	if err != nil {
		return nil, err
	}
	// Inodes lie in the order of their numbers.
	sort.Slice(entries, func(i, j int) bool { return entries[i].ino < entries[j].ino })
	nodes := make([]*tree.Node, 0, len(entries))
	var bad []tree.BadEntry
	for i, e := range entries {
		n, err := d.child(e)
		if err != nil {
			bad = append(bad, tree.BadEntry{Name: e.name, Err: err})
			continue
		}
		// A directory has one name; two would make the tree a graph.
		if i > 0 && entries[i-1].ino == e.ino && n.Type == tree.Directory {
			return nil, d.fs.corrupt(d.in, "directory inode %d stands there twice, as %q and %q", e.ino, entries[i-1].name, e.name)
		}
		nodes = append(nodes, n)
	}
	tree.Sort(nodes)
	return tree.Partial(nodes, bad)
}

// Lookup implements tree.Lookuper.
func (d *dir) Lookup(name string) (*tree.Node, error) {
	if d.fs.fast != nil {
		return d.lookupListed(name)
	}
	var found *dirEntry
	err := d.scan(func(n []byte, ino uint32) error {
		if found == nil && string(n) == name {
			found = &dirEntry{name, ino}
		}
		return nil
	})
	if err != nil || found == nil {
		return nil, err
	}
	return d.child(*found)
}

// lookupListed is Lookup where fast commits may have changed the directory.
func (d *dir) lookupListed(name string) (*tree.Node, error) {
	entries, err := d.entries()
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if e.name == name {
			return d.child(e)
		}
	}
	return nil, nil
}

// child makes the node of an entry.
func (d *dir) child(e dirEntry) (*tree.Node, error) {
	n, err := d.fs.node(e.name, e.ino, d.in.number)
	if err != nil {
		return nil, fmt.Errorf("%w (named %q in directory inode %d)", err, e.name, d.in.number)
	}
	return n, nil
}

// entries lists the names, each once.
func (d *dir) entries() ([]dirEntry, error) {
	var out []dirEntry
	// A forged directory may map one block many times: looking for equal names
	// whenever the list has doubled keeps it no longer than its real content.
	check := 1 << 14
	err := d.scan(func(name []byte, ino uint32) error {
		out = append(out, dirEntry{string(name), ino})
		if len(out) < check {
			return nil
		}
		check *= 2
		return d.unique(out)
	})
	if err == nil {
		err = d.unique(out)
	}
	if err != nil {
		return nil, err
	}
	return d.fs.fastEntries(d.in.number, out), nil
}

// unique sorts by name and gives an error where two are equal.
func (d *dir) unique(entries []dirEntry) error {
	sort.Slice(entries, func(i, j int) bool { return entries[i].name < entries[j].name })
	for i := 1; i < len(entries); i++ {
		if entries[i].name == entries[i-1].name {
			return d.fs.corrupt(d.in, "directory: name %q stands there twice", entries[i].name)
		}
	}
	return nil
}

// scan calls visit for every entry in use but "." and "..", checking the
// structure of the directory as it goes.
func (d *dir) scan(visit func(name []byte, ino uint32) error) error {
	fs, in := d.fs, d.in
	if in.fast != nil && in.fast.newDir {
		return nil
	}
	switch {
	case in.has(ondisk.FlEncrypt):
		return tree.Unsupported(fs.name, in.place(), "the directory is encrypted")
	case in.has(ondisk.FlCasefold):
		return tree.Unsupported(fs.name, in.place(), "the directory is case-insensitive (casefold)")
	case in.has(ondisk.FlInlineData):
		return d.scanInline(visit)
	}
	bs := fs.geo.blockSize
	if in.size == 0 || in.size%bs != 0 || uint64(in.size/bs) > fs.geo.blocks {
		return fs.corrupt(in, "directory of %d bytes", in.size)
	}
	content := &blockContent{fs: fs, in: in}
	buf := make([]byte, min(in.size, max(bs, dirReadSize)))
	for off := int64(0); off < in.size; off += int64(len(buf)) {
		buf = buf[:min(int64(len(buf)), in.size-off)]
		if err := tree.ReadFull(content, buf, off); err != nil {
			return err
		}
		for at := int64(0); at < int64(len(buf)); at += bs {
			if err := d.scanBlock(buf[at:at+bs], (off+at)/bs, visit); err != nil {
				return err
			}
		}
	}
	return nil
}

// scanBlock visits the entries of one block. The nodes of an htree look like
// blocks without entries to those who do not know of them; the root has "."
// and "..", and the latter spans the index.
func (d *dir) scanBlock(p []byte, number int64, visit func([]byte, uint32) error) error {
	fs, in := d.fs, d.in
	place := fmt.Sprintf("directory block %d", number)
	indexed := in.has(ondisk.FlIndex) && fs.geo.hasCompat(ondisk.CompatDirIndex)
	isIndex := indexed && (number == 0 || d.recLen(p) == len(p))
	end := len(p)
	if fs.geo.metadataCsum() {
		if isIndex {
			if err := d.checkIndexChecksum(p, place); err != nil {
				return err
			}
		} else {
			if err := d.checkTail(p, place); err != nil {
				return err
			}
			end -= ondisk.DETailSize
		}
	}
	dots := 0
	err := d.scanEntries(p[:end], 0, place, func(name []byte, ino uint32, at int) error {
		switch {
		case string(name) == ".":
			dots |= 1
			if ino != in.number || number > 0 || at != 0 {
				return fs.corrupt(in, "%s: \".\" at %d is inode %d", place, at, ino)
			}
		case string(name) == "..":
			dots |= 2
			if number > 0 {
				return fs.corrupt(in, "%s: \"..\" at %d", place, at)
			}
			return d.checkParent(ino)
		default:
			return visit(name, ino)
		}
		return nil
	})
	if err == nil && number == 0 && dots != 3 {
		err = fs.corrupt(in, "%s: \".\" or \"..\" is missing", place)
	}
	return err
}

// scanInline visits the entries of a directory in its inode: the number of the
// parent, then entries as in a block.
func (d *dir) scanInline(visit func([]byte, uint32) error) error {
	p, err := d.fs.inlineData(d.in)
	if err != nil {
		return err
	}
	if d.in.size != int64(len(p)) {
		return d.fs.corrupt(d.in, "inline directory of %d bytes says %d", len(p), d.in.size)
	}
	if err := d.checkParent(ondisk.LE32(p, 0)); err != nil {
		return err
	}
	return d.scanEntries(p, 4, "inline directory", func(name []byte, ino uint32, at int) error {
		if string(name) == "." || string(name) == ".." {
			return d.fs.corrupt(d.in, "inline directory: entry %q", name)
		}
		return visit(name, ino)
	})
}

// checkParent checks "..": since each directory has one parent, a directory
// that is met anywhere else is a second link to it, and maybe a loop.
func (d *dir) checkParent(ino uint32) error {
	if ino != d.parent {
		return d.fs.corrupt(d.in, "directory: its parent is inode %d, but it is found in inode %d", ino, d.parent)
	}
	return nil
}

// scanEntries walks the chain of entries in p from at on.
func (d *dir) scanEntries(p []byte, at int, place string, visit func(name []byte, ino uint32, at int) error) error {
	bad := func(fact string, args ...any) error {
		return d.fs.corrupt(d.in, "%s: entry at %d: %s", place, at, fmt.Sprintf(fact, args...))
	}
	for at < len(p) {
		if len(p)-at < ondisk.DEName+ondisk.DEAlign {
			return bad("%d bytes are too short for it", len(p)-at)
		}
		length := d.recLen(p[at:])
		nameLen := int(p[at+ondisk.DENameLen])
		switch {
		case length < ondisk.DEName+ondisk.DEAlign || length%ondisk.DEAlign != 0:
			return bad("length of %d bytes", length)
		case length < ondisk.DEName+nameLen:
			return bad("name of %d bytes in %d", nameLen, length)
		case length > len(p)-at:
			return bad("length of %d bytes where %d are left", length, len(p)-at)
		}
		ino := ondisk.LE32(p, at+ondisk.DEInode)
		if ino > d.fs.geo.inodes {
			return bad("inode %d, the file system has %d", ino, d.fs.geo.inodes)
		}
		if ino != 0 {
			name := p[at+ondisk.DEName : at+ondisk.DEName+nameLen]
			if s := string(name); s != "." && s != ".." {
				if err := tree.CheckName(s); err != nil {
					return bad("%v", err)
				}
			}
			if err := visit(name, ino, at); err != nil {
				return err
			}
		}
		at += length
	}
	return nil
}

// recLen decodes an entry's length; in blocks of 64 KiB, where 65536 does not
// fit, 0 and 65535 stand for the whole block.
func (d *dir) recLen(p []byte) int {
	n := int(ondisk.LE16(p, ondisk.DERecLen))
	if d.fs.geo.blockSize == 1<<16 && (n == 0 || n == ondisk.DEMaxRecLen) {
		return 1 << 16
	}
	return n
}

// checkTail checks the checksum of a block of entries, which stands in what
// looks like an unused entry at its end.
func (d *dir) checkTail(p []byte, place string) error {
	body, tail := p[:len(p)-ondisk.DETailSize], p[len(p)-ondisk.DETailSize:]
	if ondisk.LE32(tail, ondisk.DEInode) != 0 || ondisk.LE16(tail, ondisk.DERecLen) != ondisk.DETailSize ||
		tail[ondisk.DENameLen] != 0 || tail[ondisk.DEFileType] != ondisk.DETailFileType {
		return d.fs.corrupt(d.in, "%s: has no checksum", place)
	}
	want, got := ondisk.LE32(tail, ondisk.DETailCsum), ondisk.DirentTailChecksum(d.fs.inodeSeed(d.in), body)
	if want != got {
		return d.fs.corrupt(d.in, "%s: checksum is %#08x, the content gives %#08x", place, want, got)
	}
	return nil
}

// checkIndexChecksum checks the checksum of an htree's root or node, which
// stands after the last slot for an entry.
func (d *dir) checkIndexChecksum(p []byte, place string) error {
	entries := ondisk.DXNodeEntries
	if d.recLen(p) != len(p) {
		if p[ondisk.DXRootInfo+ondisk.DXInfoLen] != ondisk.DXInfoSize || ondisk.LE32(p, ondisk.DXRootInfo) != 0 {
			return d.fs.corrupt(d.in, "%s: not the root of a hash index", place)
		}
		entries = ondisk.DXRootEntries
	}
	limit, count := int(ondisk.LE16(p, entries)), int(ondisk.LE16(p, entries+2))
	tail := entries + limit*ondisk.DXEntrySize
	if count > limit || tail > len(p)-ondisk.DXTailSize {
		return d.fs.corrupt(d.in, "%s: %d of %d index entries in use", place, count, limit)
	}
	want, got := ondisk.LE32(p, tail+4), ondisk.DXChecksum(d.fs.inodeSeed(d.in), p, entries, count, tail)
	if want != got {
		return d.fs.corrupt(d.in, "%s: index checksum is %#08x, the content gives %#08x", place, want, got)
	}
	return nil
}
