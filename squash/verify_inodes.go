package squash

import (
	"encoding/binary"
	"fmt"
	"slices"

	"relive/squash/internal/ondisk"
	"relive/tree"
)

// scannedInode is what Verify keeps of an inode.
type scannedInode struct {
	ref    ondisk.Ref
	number uint32
	nlink  uint32
	parent uint32 // inode number that a directory records
	links  uint32 // names of the inode; in a directory, 2 and its subdirectories
	kids   uint32 // entries of a directory
	holder uint32 // 1 + index of the directory that names a directory
	typ    ondisk.InodeType
	reach  reach
}

// reach reports whether a directory is below the root.
type reach uint8

const (
	reachUnknown reach = iota
	reachPending
	reachYes
	reachNo
)

// tailNeed is the most that a file asks of a fragment block.
type tailNeed struct {
	end    uint32 // decoded bytes
	number uint32 // of the inode
}

// find returns the scanned inode at ref, or nil.
func (v *verifier) find(ref ondisk.Ref) *scannedInode {
	i, ok := slices.BinarySearchFunc(v.inodes, ref, func(n scannedInode, ref ondisk.Ref) int {
		switch {
		case n.ref < ref:
			return -1
		case n.ref > ref:
			return 1
		}
		return 0
	})
	if !ok {
		return nil
	}
	return &v.inodes[i]
}

// scanInodes reads the inode table from front to end. Behind damage it goes on
// at the first inode that a name leads to.
func (v *verifier) scanInodes() {
	c := v.r.cursor(&v.r.inodes)
	err := c.seek(0)
	if err == nil {
		err = v.scanOn(c, false)
	}
	if err == nil {
		if v.complete = !v.stop(); v.complete && !c.atEnd() {
			v.fault("inode table", "more follows after the %d inodes that the superblock counts", v.r.super.InodeCount)
		}
		return
	}
	v.err(tree.Within(err, "inode table: after %d inodes", v.report.Inodes))
	for _, ref := range v.namedRefs(v.barrier) {
		if v.stop() {
			return
		}
		if ref < v.barrier {
			continue
		}
		// A name that leads into a lost block is told of by checkDirs.
		if _, err := v.r.readInode(c, ref); err != nil || c.seek(ref) != nil {
			continue
		}
		if err := v.scanOn(c, true); err != nil {
			v.err(tree.Within(err, "inode table: after %d inodes", v.report.Inodes))
		}
	}
}

// scanOn reads inodes from the cursor on until there are as many as the
// superblock counts or, if it may end early, to the end of the table. All
// before the barrier is then scanned or lost.
func (v *verifier) scanOn(c *cursor, early bool) error {
	for v.report.Inodes < int64(v.r.super.InodeCount) {
		if v.report.Inodes%1024 == 0 && v.stop() || (early || v.r.exports != nil) && c.atEnd() {
			return nil
		}
		v.barrier = c.tell() + 1
		n, err := v.r.decodeInode(c)
		if err == nil {
			v.noteInode(&n)
			err = v.scanTail(c, &n)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// namedRefs walks the directories from the root and gives, in order, the
// inodes from a place on that they name.
func (v *verifier) namedRefs(from ondisk.Ref) []ondisk.Ref {
	r := v.r
	refs, dirs := []ondisk.Ref{r.super.Root}, []ondisk.Ref{r.super.Root}
	seen := map[ondisk.Ref]bool{r.super.Root: true}
	c := r.cursor(&r.inodes)
	for listed := int64(0); len(dirs) > 0 && !v.stop(); {
		n, err := r.readInode(c, dirs[len(dirs)-1])
		dirs = dirs[:len(dirs)-1]
		// As in checkDir, no byte of the directory table is read twice.
		if listed += int64(n.Listing()); err != nil || n.Type.Basic() != ondisk.InodeDir || listed > v.dirChain.decoded {
			continue
		}
		d := dir{r: r, number: n.Number, start: ondisk.MakeRef(int64(n.DirBlock), int(n.DirOffset)), size: n.Listing()}
		l, err := d.open()
		if err != nil {
			continue
		}
		var e entry
		for ok, err := l.next(&e); ok && err == nil; ok, err = l.next(&e) {
			if e.ref >= from {
				refs = append(refs, e.ref)
			}
			if e.typ == ondisk.InodeDir && !seen[e.ref] {
				seen[e.ref] = true
				dirs = append(dirs, e.ref)
			}
		}
	}
	slices.Sort(refs)
	return slices.Compact(refs)
}

// noteInode checks the fields that stand on their own and keeps the rest.
func (v *verifier) noteInode(n *inode) {
	v.report.Inodes++
	if fact := v.r.inodeFault(&n.InodeHead); fact != "" {
		v.fault(n.place(), "%s", fact)
	}
	if n.Number <= v.r.super.InodeCount {
		// Numbers may lie far apart.
		bit := uint64(1) << (n.Number % 64)
		if v.numbers[n.Number/64]&bit != 0 {
			v.fault(n.place(), "two inodes have this number")
		}
		v.numbers[n.Number/64] |= bit
	}
	if n.Mode&^0o7777 != 0 {
		v.fault(n.place(), "mode %#o has more than the permission bits", n.Mode)
	}
	if n.TargetSize > 4096 {
		v.warn(n.place(), "symlink target of %d bytes: Linux shows at most a page", n.TargetSize)
	}
	if n.Xattr != ondisk.NoXattr && n.Xattr < v.r.xattrCount {
		v.xattrUse = growBitmap(v.xattrUse, n.Xattr)
		setBit(v.xattrUse, n.Xattr)
	}
	s := scannedInode{ref: n.ref, number: n.Number, nlink: n.Nlink, typ: n.Type, parent: n.Parent}
	switch n.Type.Basic() {
	case ondisk.InodeDir:
		v.report.Dirs++
		s.links = 2
	case ondisk.InodeFile:
		v.report.Files++
	}
	v.inodes = append(v.inodes, s)
}

// scanTail passes what follows an inode's head and checks block lists.
func (v *verifier) scanTail(c *cursor, n *inode) error {
	switch n.Type {
	case ondisk.InodeExtDir:
		return v.r.skipIndex(c, n)
	case ondisk.InodeFile, ondisk.InodeExtFile:
		return v.scanBlockList(c, n)
	}
	return nil
}

// scanBlockList checks a file's block words and notes where its blocks are.
func (v *verifier) scanBlockList(c *cursor, n *inode) error {
	r, bs := v.r, uint64(v.r.blockSize)
	blocks := ondisk.BlockCount(n.FileSize, r.super.BlockSize, n.Fragment)
	run := blockRun{start: int64(n.Start), list: n.tail, size: int64(n.FileSize), fragment: n.Fragment, number: n.Number}
	at, bad, holes := int64(n.Start), false, uint64(0)
	for i := range blocks {
		b, err := c.bytes(4)
		if err != nil {
			return tree.Within(err, "%s: block list", n.place())
		}
		word := binary.LittleEndian.Uint32(b)
		if word == 0 {
			v.report.Holes++
			holes += min(bs, n.FileSize-i*bs)
			continue
		}
		if bad {
			continue
		}
		stored, err := r.checkBlock(at, word)
		if err != nil {
			v.err(tree.Within(err, "%s: block %d", n.place(), i))
			bad = true
			continue
		}
		if want := min(bs, n.FileSize-i*bs); uint64(stored) > want {
			v.fault(fmt.Sprintf("%s: block %d", n.place(), i), "stores %d bytes for %d, which Linux does not read", stored, want)
		}
		at += int64(stored)
		run.words = (run.words ^ uint64(word) ^ i<<32) * 0x100000001b3 // FNV-1
	}
	run.stored = at - run.start
	// mksquashfs counts no holes where the source had none, and all but one
	// byte of a file that is one hole.
	if n.Sparse != 0 && n.Sparse != holes && (holes != n.FileSize || n.Sparse != holes-1) {
		v.fault(n.place(), "counts %d bytes in holes, where its block list has %d", n.Sparse, holes)
	}
	if at > r.inodes.start && run.stored > 0 {
		v.fault(n.place(), "its blocks reach to %d, into the inode table at %d", at, r.inodes.start)
	}
	if run.stored > 0 && !bad {
		v.runs = append(v.runs, run)
		v.total += run.stored
	}
	if tail := uint32(n.FileSize % bs); n.Fragment < r.super.FragmentCount && tail > 0 {
		if need := v.needs[n.Fragment]; n.FragmentOffset+tail > need.end {
			v.needs[n.Fragment] = tailNeed{n.FragmentOffset + tail, n.Number}
		}
	}
	return nil
}

// growBitmap makes room for bit i.
func growBitmap(b []uint64, i uint32) []uint64 {
	if n := int(i/64) + 1; n > len(b) {
		b = append(b, make([]uint64, n-len(b))...)
	}
	return b
}

// setBit sets a bit.
func setBit(b []uint64, i uint32) { b[i/64] |= 1 << (i % 64) }
