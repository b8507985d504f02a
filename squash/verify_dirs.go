package squash

import (
	"fmt"

	"relive/squash/internal/ondisk"
	"relive/tree"
)

// checkDirs reads the listing of every directory inode.
func (v *verifier) checkDirs() {
	c := v.r.cursor(&v.r.inodes)
	for i := range v.inodes {
		if v.inodes[i].typ.Basic() != ondisk.InodeDir {
			continue
		}
		if v.stop() {
			return
		}
		err := c.seek(v.inodes[i].ref)
		var n inode
		if err == nil {
			n, err = v.r.decodeInode(c)
		}
		if err != nil {
			v.err(err)
			continue
		}
		v.checkDir(c, &n, i)
	}
}

// checkDir checks a directory's entries and its index. c is at the index.
func (v *verifier) checkDir(c *cursor, n *inode, self int) {
	d := dir{r: v.r, number: n.Number, ref: n.ref, start: ondisk.MakeRef(int64(n.DirBlock), int(n.DirOffset)), size: n.Listing()}
	heads := v.readHeads(c, n)
	if d.size == 0 {
		if len(heads) > 0 {
			v.fault(d.place(), "has an index but no entries")
		}
		return
	}
	if !v.dirChain.has(&v.r.dirs, d.start) {
		v.fault(d.place(), "its listing at %#x is not at a metadata block", n.DirBlock)
		return
	}
	// A listing is read once for each directory that has it: many sharing one
	// would keep a check busy for ever.
	if v.listed += int64(d.size); v.listed > v.dirChain.decoded {
		v.fault(d.place(), "the listings up to its own have %d bytes, more than the directory table of %d", v.listed, v.dirChain.decoded)
		return
	}
	l, err := d.open()
	if err != nil {
		v.err(err)
		return
	}
	var (
		e    entry
		last string
	)
	for count := 0; ; count++ {
		header, block := l.at, l.c.pos
		if l.left == 0 && l.c.off == len(l.c.cur.data) {
			block = l.c.cur.next
		}
		ok, err := l.next(&e)
		if err != nil {
			v.err(tree.Within(err, "%s", d.place()))
			return
		}
		if !ok {
			break
		}
		v.report.Entries++
		v.inodes[self].kids++
		name := string(e.name)
		if err := tree.CheckName(name); err != nil {
			v.fault(d.place(), "%v", err)
		}
		switch {
		case count > 0 && name == last:
			v.fault(d.place(), "names %q twice", name)
		case count > 0 && name < last:
			v.fault(d.place(), "%q comes after %q: Linux does not find names that are out of order", name, last)
		}
		last = name
		if len(heads) > 0 && heads[0].Index == header {
			if at := v.r.dirs.start + int64(heads[0].Block); at != block || heads[0].Name != name {
				v.fault(d.place()+": index", "names %q in the metadata block at offset %d, where %q in that at %d is", heads[0].Name, at,
					name, block)
			}
			heads = heads[1:]
		}
		v.checkEntry(&d, &e, self)
	}
	if len(heads) > 0 {
		v.fault(d.place()+": index", "names byte %d of the listing, which is no header", heads[0].Index)
	}
}

// readHeads reads the index of a directory.
func (v *verifier) readHeads(c *cursor, n *inode) []ondisk.DirIndex {
	var heads []ondisk.DirIndex
	for i := range n.IndexCount {
		x, err := v.r.nextIndex(c)
		if err != nil {
			v.err(tree.Within(err, "directory %s: index", n.place()))
			return nil
		}
		if i > 0 && x.Index <= heads[i-1].Index {
			v.fault("directory "+n.place()+": index", "byte %d comes after byte %d", x.Index, heads[i-1].Index)
			return nil
		}
		heads = append(heads, x)
	}
	return heads
}

// checkEntry checks that an entry names the inode that is there, and counts
// the name.
func (v *verifier) checkEntry(d *dir, e *entry, self int) {
	place := func() string { return fmt.Sprintf("%s: entry %q", d.place(), e.name) }
	n := v.find(e.ref)
	if n == nil {
		if v.complete {
			v.fault(place(), "names no inode: %#x", uint64(e.ref))
			return
		}
		// The scan missed a part of the table.
		found, err := v.r.readInode(v.r.cursor(&v.r.inodes), e.ref)
		if err != nil {
			v.err(tree.Within(err, "%s", place()))
			return
		}
		n = &scannedInode{ref: found.ref, number: found.Number, typ: found.Type, parent: found.Parent}
	}
	if n.number != e.number {
		v.fault(place(), "names inode %d, where inode %d is", e.number, n.number)
	}
	if !e.typ.Valid() || n.typ.Basic() != e.typ.Basic() {
		v.fault(place(), "names a %s, where inode %d is a %s", e.typ, n.number, n.typ)
	}
	if n.typ.Basic() != ondisk.InodeDir {
		n.links++
		return
	}
	v.inodes[self].links++
	switch {
	case n.ref == v.r.super.Root:
		v.fault(place(), "is the root directory again")
	case n.holder != 0:
		v.fault(place(), "directory inode %d is named in directory inode %d too", n.number, v.inodes[n.holder-1].number)
	default:
		n.holder = uint32(self) + 1
		if n.parent != v.inodes[self].number {
			v.fault("directory "+inodePlace(n.number), "records inode %d as its parent, where directory inode %d names it", n.parent,
				v.inodes[self].number)
		}
	}
}

// checkLinks compares link counts and looks for inodes that no path leads to.
func (v *verifier) checkLinks() {
	if !v.complete || v.stop() {
		// Names of inodes that were not read would be missing.
		return
	}
	root := v.find(v.r.super.Root)
	if root == nil || root.typ.Basic() != ondisk.InodeDir {
		v.fault("superblock", "the root inode at %#x is no directory", uint64(v.r.super.Root))
		return
	}
	root.reach = reachYes
	for i := range v.inodes {
		if i%4096 == 0 && v.stop() {
			return
		}
		n := &v.inodes[i]
		switch {
		case n.typ.Basic() == ondisk.InodeDir:
			if n.reach == reachUnknown {
				v.follow(i)
			}
			if n.reach == reachNo {
				v.fault("directory "+inodePlace(n.number), "no path leads to it")
			}
			// gensquashfs counts all entries, mksquashfs only directories.
			if n.nlink != n.links && n.nlink != n.kids+2 {
				v.fault("directory "+inodePlace(n.number), "counts %d links where there are %d", n.nlink, n.links)
			}
		case n.links == 0:
			v.fault(inodePlace(n.number), "no directory names it")
		case n.nlink != n.links:
			v.fault(inodePlace(n.number), "counts %d links where %d names lead to it", n.nlink, n.links)
		}
	}
}

// follow finds out whether the directories above i lead to the root.
func (v *verifier) follow(i int) {
	result := reachNo
	at := i
	for {
		n := &v.inodes[at]
		if n.reach == reachYes || n.reach == reachNo {
			result = n.reach
			break
		}
		if n.reach == reachPending || n.holder == 0 { // a loop, or the top of a tree of its own
			break
		}
		n.reach = reachPending
		at = int(n.holder) - 1
	}
	for at = i; v.inodes[at].reach == reachPending || v.inodes[at].reach == reachUnknown; {
		n := &v.inodes[at]
		n.reach = result
		if n.holder == 0 {
			break
		}
		at = int(n.holder) - 1
	}
}
