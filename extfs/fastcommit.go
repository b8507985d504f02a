package extfs

import (
	"encoding/binary"
	"fmt"
	"slices"
	"sort"

	"relive/extfs/internal/ondisk"
	"relive/tree"
)

// fastCommit is one tag of the fast commit area.
type fastCommit struct {
	kind  uint16
	value []byte
}

// fastCommits reads the fast commit area, which follows the log by one block
// and counts when it continues the log's last transaction. Every commit in it
// ends with a tail that has a checksum over its tags; what follows the last
// good tail is not to be replayed.
func (r *recovery) fastCommits() ([]fastCommit, error) {
	j := r.j
	if j.incompat&ondisk.JBDIncompatFastCommit == 0 {
		return nil, nil
	}
	s := fastCommitScan{j: j, transaction: r.end}
	for n := j.last + 1; n < j.blocks; n++ {
		p, err := j.read(n)
		if err != nil {
			return nil, err
		}
		more, err := s.block(p)
		if err != nil {
			return nil, err
		}
		if !more {
			break
		}
	}
	j.fs.journal.FastCommits = s.commits
	return s.tags[:s.valid], nil
}

type fastCommitScan struct {
	j           *journal
	transaction uint32
	tags        []fastCommit
	valid       int // tags up to the last good tail
	commits     int // good tails
	crc         uint32
	started     bool
}

// block takes in the next block of the area; more is false where it is the
// last that counts.
func (s *fastCommitScan) block(p []byte) (more bool, err error) {
	if !s.started {
		// An area that does not begin with a head was never used.
		if ondisk.LE16(p, 0) != ondisk.FCHead {
			return false, nil
		}
		s.started = true
	}
	// end stops the replay at the last good tail; without one the area is broken.
	end := func(fact string, args ...any) (bool, error) {
		if s.valid > 0 {
			return false, nil
		}
		return false, s.j.corrupt("fast commit: %s", fmt.Sprintf(fact, args...))
	}
	for at := 0; at+ondisk.FCTagSize <= len(p); {
		kind, length := ondisk.LE16(p, at), int(ondisk.LE16(p, at+2))
		if length > len(p)-at-ondisk.FCTagSize || !fastCommitLength(kind, length) {
			if kind > ondisk.FCHead && s.valid == 0 {
				return false, tree.Unsupported(s.j.fs.name, "journal",
					"fast commit with the unknown tag %d is to be replayed; run e2fsck first", kind)
			}
			return end("tag %d of %d bytes", kind, length)
		}
		value := p[at+ondisk.FCTagSize:][:length]
		switch kind {
		case ondisk.FCHead:
			if f := ondisk.LE32(value, 0); f&^ondisk.FCFeatures != 0 {
				return false, tree.Unsupported(s.j.fs.name, "journal",
					"fast commit with features %#x is to be replayed; run e2fsck first", f)
			}
			if ondisk.LE32(value, 4) != s.transaction {
				return false, nil // left from before the last transaction
			}
		case ondisk.FCTail:
			crc := ondisk.CRC32C(s.crc, p[at:at+ondisk.FCTagSize+4])
			if ondisk.LE32(value, 0) != s.transaction || ondisk.LE32(value, 4) != crc {
				return end("wrong checksum")
			}
			s.crc = 0
			s.valid = len(s.tags)
			s.commits++
			at += ondisk.FCTagSize + length
			continue
		}
		s.crc = ondisk.CRC32C(s.crc, p[at:at+ondisk.FCTagSize+length])
		s.tags = append(s.tags, fastCommit{kind, append([]byte(nil), value...)})
		at += ondisk.FCTagSize + length
	}
	return true, nil
}

// fastCommitLength reports whether a tag is known and may have that length.
func fastCommitLength(kind uint16, n int) bool {
	switch kind {
	case ondisk.FCAddRange:
		return n == ondisk.FCAddSize
	case ondisk.FCDelRange:
		return n == ondisk.FCDelSize
	case ondisk.FCCreat, ondisk.FCLink, ondisk.FCUnlink:
		return n > ondisk.FCDentryMin && n <= ondisk.FCDentryMin+255
	case ondisk.FCInode:
		return n >= ondisk.FCInodeMin+ondisk.InodeSizeOld
	case ondisk.FCPad:
		return true
	case ondisk.FCTail:
		return n >= ondisk.FCTailSize
	case ondisk.FCHead:
		return n == ondisk.FCHeadSize
	}
	return false
}

// fastState is what fast commits changed, kept beside the image: where the
// kernel would allocate blocks to write it, nothing is allocated here.
type fastState struct {
	inodes map[uint32]*fastInode
	dirs   map[uint32][]fastEntry
	used   []BlockRun // blocks that were given to files, by start
}

// fastInode is an inode that fast commits wrote.
type fastInode struct {
	raw    []byte
	newDir bool  // a directory whose entries are all in fastState.dirs
	ranges []run // that replace the stored mapping, in order
}

// fastEntry adds a name to a directory, or takes it away.
type fastEntry struct {
	name   string
	ino    uint32
	remove bool
}

// replayFastCommits applies the tags in their order.
func (fs *FS) replayFastCommits(tags []fastCommit) error {
	if len(tags) == 0 {
		return nil
	}
	st := &fastState{inodes: make(map[uint32]*fastInode), dirs: make(map[uint32][]fastEntry)}
	fs.fast = st
	for _, t := range tags {
		var err error
		switch t.kind {
		case ondisk.FCInode:
			err = fs.fastInode(t.value)
		case ondisk.FCAddRange, ondisk.FCDelRange:
			err = fs.fastRange(t)
		case ondisk.FCCreat, ondisk.FCLink, ondisk.FCUnlink:
			err = fs.fastEntry(t)
		}
		if err != nil {
			return fmt.Errorf("%w (in a fast commit)", err)
		}
	}
	sort.Slice(st.used, func(i, j int) bool { return st.used[i].Start < st.used[j].Start })
	return nil
}

// fastInodeOf returns an inode as fast commits have it so far, nil for one that
// is not in use: what the tags say of a file that was made and removed between
// two commits does not count.
func (fs *FS) fastInodeOf(number uint32) (*fastInode, error) {
	f := fs.fast.inodes[number]
	if f == nil {
		raw, err := fs.tableInode(number)
		if err != nil {
			return nil, err
		}
		if tree.IsZero(raw) { // never in use, and without a checksum
			return nil, nil
		}
		if raw, err = fs.rawInode(number); err != nil {
			return nil, err
		}
		f = &fastInode{raw: append([]byte(nil), raw...)}
	}
	if ondisk.LE16(f.raw, ondisk.InLinksCount) == 0 {
		return nil, nil
	}
	fs.fast.inodes[number] = f
	return f, nil
}

// fastInode replays an inode: all but its mapping, which comes in ranges, is
// replaced. Inline data has no ranges and comes with it, and so does what else
// the place of the mapping can hold, a symlink's target or a device number.
func (fs *FS) fastInode(value []byte) error {
	number, raw := ondisk.LE32(value, 0), value[ondisk.FCInodeMin:]
	f := fs.fast.inodes[number]
	if f == nil {
		// One that was never in use before has no checksum yet.
		old, err := fs.tableInode(number)
		if err != nil {
			return err
		}
		f = &fastInode{raw: append([]byte(nil), old...)}
	}
	if len(raw) > len(f.raw) {
		return tree.Corrupt(fs.name, fmt.Sprintf("inode %d", number), "%d bytes long", len(raw))
	}
	fs.fast.inodes[number] = f
	var mapping [ondisk.InBlockSize]byte
	copy(mapping[:], f.raw[ondisk.InBlock:])
	copy(f.raw, raw)
	if ondisk.LE32(raw, ondisk.InFlags)&ondisk.FlExtents == 0 {
		return nil
	}
	if ondisk.LE16(mapping[:], ondisk.ExtHdrMagic) != ondisk.ExtMagic {
		mapping = [ondisk.InBlockSize]byte{}
		binary.LittleEndian.PutUint16(mapping[ondisk.ExtHdrMagic:], ondisk.ExtMagic)
		binary.LittleEndian.PutUint16(mapping[ondisk.ExtHdrMax:], (ondisk.InBlockSize-ondisk.ExtHeaderSize)/ondisk.ExtEntrySize)
	}
	copy(f.raw[ondisk.InBlock:], mapping[:])
	return nil
}

// fastRange replays a range that was given to a file or taken from it.
func (fs *FS) fastRange(t fastCommit) error {
	number := ondisk.LE32(t.value, 0)
	f, err := fs.fastInodeOf(number)
	if f == nil || err != nil {
		return err
	}
	place := fmt.Sprintf("inode %d", number)
	if ondisk.LE32(f.raw, ondisk.InFlags)&ondisk.FlExtents == 0 {
		return tree.Unsupported(fs.name, place, "a range for a file without extents is to be replayed; run e2fsck first")
	}
	r := run{logical: uint64(ondisk.LE32(t.value, 4)), length: uint64(ondisk.LE32(t.value, 8))}
	if t.kind == ondisk.FCAddRange {
		// The value is an extent, as a leaf of a tree with one entry has it.
		node := extentNode(append(make([]byte, ondisk.ExtHeaderSize), t.value[4:]...))
		physical, length, unwritten := node.leaf(0)
		r.length = length
		if length == 0 || !fs.geo.checkBlocks(physical, length) {
			return tree.Corrupt(fs.name, place, "%d blocks from block %d, outside of the file system", length, physical)
		}
		fs.fast.used = append(fs.fast.used, BlockRun{Start: int64(physical), Count: int64(length)})
		r.physical, r.unwritten = physical, unwritten
	}
	if r.length > 0 {
		f.set(r)
	}
	return nil
}

// set lays a range over those that are there.
func (f *fastInode) set(r run) {
	end := r.logical + r.length
	// first to last are the ranges that it touches; what they have before and
	// behind it stays.
	first := sort.Search(len(f.ranges), func(i int) bool { return f.ranges[i].end() > r.logical })
	last := first + sort.Search(len(f.ranges)-first, func(i int) bool { return f.ranges[first+i].logical >= end })
	put := make([]run, 0, 3)
	if first < last && f.ranges[first].logical < r.logical {
		before := f.ranges[first]
		before.length = r.logical - before.logical
		put = append(put, before)
	}
	put = append(put, r)
	if first < last && f.ranges[last-1].end() > end {
		put = append(put, f.ranges[last-1].from(end))
	}
	f.ranges = slices.Replace(f.ranges, first, last, put...)
}

// overlay lays the ranges over a mapping: it gives the run at a logical block,
// cut where a range begins, with base for what no range covers.
func (f *fastInode) overlay(logical uint64, base func() (run, error)) (run, error) {
	i := sort.Search(len(f.ranges), func(i int) bool { return f.ranges[i].end() > logical })
	if i < len(f.ranges) && f.ranges[i].logical <= logical {
		return f.ranges[i].from(logical), nil
	}
	r, err := base()
	if err == nil && i < len(f.ranges) {
		r.length = min(r.length, f.ranges[i].logical-logical)
	}
	return r, err
}

// fastEntry replays a name. The link counts follow, as the kernel has them: an
// inode in the same commit sets the right one afterwards.
func (fs *FS) fastEntry(t fastCommit) error {
	parent, number, name := ondisk.LE32(t.value, 0), ondisk.LE32(t.value, 4), string(t.value[ondisk.FCDentryMin:])
	if err := tree.CheckName(name); err != nil {
		return tree.Corrupt(fs.name, fmt.Sprintf("inode %d", parent), "%v", err)
	}
	if parent == 0 || parent > fs.geo.inodes {
		return tree.Corrupt(fs.name, fmt.Sprintf("inode %d", parent), "the file system has %d inodes", fs.geo.inodes)
	}
	f, err := fs.fastInodeOf(number)
	if f == nil || err != nil {
		if err == nil && t.kind == ondisk.FCCreat {
			err = tree.Corrupt(fs.name, fmt.Sprintf("inode %d", number), "%q is made of it, but it is not in use", name)
		}
		return err
	}
	isDir := ondisk.LE16(f.raw, ondisk.InMode)&ondisk.ModeFmt == ondisk.ModeDir
	links := ondisk.LE16(f.raw, ondisk.InLinksCount)
	switch {
	case t.kind == ondisk.FCCreat && isDir:
		f.newDir = true
		fs.fast.dirs[number] = nil
	case t.kind == ondisk.FCCreat:
		links = 1
	case t.kind == ondisk.FCLink:
		links++
	case isDir: // rmdir
		links = 0
	case links > 0:
		links--
	}
	binary.LittleEndian.PutUint16(f.raw[ondisk.InLinksCount:], links)
	fs.fast.dirs[parent] = append(fs.fast.dirs[parent], fastEntry{name, number, t.kind == ondisk.FCUnlink})
	return nil
}

// fastEntries applies what fast commits did to a directory to its entries: a
// name that is there already is not added, and one is taken away only where it
// is of the same inode. What was added and later lost its inode is left out.
func (fs *FS) fastEntries(number uint32, entries []dirEntry) []dirEntry {
	if fs.fast == nil || len(fs.fast.dirs[number]) == 0 {
		return entries
	}
	at := make(map[string]uint32, len(entries))
	for _, e := range entries {
		at[e.name] = e.ino
	}
	for _, e := range fs.fast.dirs[number] {
		ino, there := at[e.name]
		switch {
		case !e.remove && !there:
			at[e.name] = e.ino
		case e.remove && there && ino == e.ino:
			delete(at, e.name)
		}
	}
	out := entries[:0]
	for name, ino := range at {
		if f := fs.fast.inodes[ino]; f != nil && ondisk.LE16(f.raw, ondisk.InLinksCount) == 0 {
			continue
		}
		out = append(out, dirEntry{name, ino})
	}
	return out
}
