package erofs

import (
	"sort"

	"relive/erofs/internal/ondisk"
	"relive/tree"
)

// plannedDir is a directory that is written. All are laid out before anything is
// written, since each names its parent's inode and its children's.
type plannedDir struct {
	size    int64
	xattrs  tree.Xattrs
	nid     uint64
	block   uint32 // of its whole blocks
	nlink   uint32
	order   int32 // among the directories by where they end in a walk
	inline  bool
	compact bool
}

// dirSize counts the bytes of a directory, entry by entry.
type dirSize struct {
	blocks, used int64
}

// add counts an entry, which one block holds with its name.
func (s *dirSize) add(name string) {
	n := int64(ondisk.DirentSize + len(name))
	if s.used+n > BlockSize {
		s.blocks, s.used = s.blocks+1, 0
	}
	s.used += n
}

func (s *dirSize) bytes() int64 { return s.blocks*BlockSize + s.used }

// dirEntry is a name in a directory that is written.
type dirEntry struct {
	name string
	nid  uint64
	typ  uint8
}

// dirEntries gives the entries of a directory, in their order. "." and ".." stand
// where their bytes have them.
func dirEntries(kids []*tree.Node) []dirEntry {
	out := make([]dirEntry, 0, len(kids)+2)
	i := sort.Search(len(kids), func(i int) bool { return kids[i].Name > "." })
	for _, k := range kids[:i] {
		out = append(out, dirEntry{name: k.Name, typ: ondisk.TypeOf(k.Type)})
	}
	out = append(out, dirEntry{name: ".", typ: ondisk.TypeOf(tree.Directory)})
	j := i + sort.Search(len(kids)-i, func(k int) bool { return kids[i+k].Name > ".." })
	for _, k := range kids[i:j] {
		out = append(out, dirEntry{name: k.Name, typ: ondisk.TypeOf(k.Type)})
	}
	out = append(out, dirEntry{name: "..", typ: ondisk.TypeOf(tree.Directory)})
	for _, k := range kids[j:] {
		out = append(out, dirEntry{name: k.Name, typ: ondisk.TypeOf(k.Type)})
	}
	return out
}

// encodeDir gives the blocks of a directory; the last one ends with its names.
func encodeDir(entries []dirEntry) []byte {
	var b []byte
	for len(entries) > 0 {
		n, used := 0, 0
		for n < len(entries) && used+ondisk.DirentSize+len(entries[n].name) <= BlockSize {
			used += ondisk.DirentSize + len(entries[n].name)
			n++
		}
		at := len(b)
		name := n * ondisk.DirentSize
		for i := range entries[:n] {
			d := ondisk.Dirent{NID: entries[i].nid, Name: uint16(name), Type: entries[i].typ}
			b = d.Append(b)
			name += len(entries[i].name)
		}
		for i := range entries[:n] {
			b = append(b, entries[i].name...)
		}
		if entries = entries[n:]; len(entries) > 0 {
			b = append(b, make([]byte, at+BlockSize-len(b))...)
		}
	}
	return b
}

// places are where the parts of the image begin that are laid out beforehand, in
// bytes. Each ends where the next one begins.
type places struct {
	dirs   int32 // how many directories there are
	copied int64 // what is copied
	shared int64 // attributes
	inodes int64 // inodes of directories; where inodes count from
	blocks int64 // their blocks
	rest   int64 // everything else
	byEnd  []int32
}

// arrange lays out the image up to where files begin: behind what is copied the
// shared attributes, then the inodes of directories, the root's first, as its number
// has but 16 bits; then their blocks. Directories are in the order in which a walk
// leaves them, which is that in which they are written.
func (p *Plan) arrange() {
	p.xattrs.share(p.o.UnsharedXattrs)
	pl := &p.places
	pl.byEnd = make([]int32, len(p.dirs))
	for i := range p.dirs {
		pl.byEnd[p.dirs[i].order] = int32(i)
	}
	pl.copied = BlockSize
	pl.shared = pl.copied
	for _, s := range p.sources {
		pl.shared += s.bytes
	}
	pl.inodes = up(pl.shared+p.xattrs.area, BlockSize)
	// No inode has the number 0, of which readers of directories take no note.
	at := pl.inodes + ondisk.NIDSize
	var blocks int64
	place := func(d *plannedDir) {
		head := inodeSize(d.compact) + p.xattrs.bodySize(d.xattrs)
		tail := (d.size-1)%BlockSize + 1
		d.inline = head%BlockSize+tail <= BlockSize
		whole := (d.size + BlockSize - 1) / BlockSize
		if d.inline {
			whole--
		} else {
			tail = 0
		}
		if tail > 0 {
			at = fitTail(at, head, tail)
		}
		d.nid = uint64(at-pl.inodes) / ondisk.NIDSize
		d.block = uint32(blocks)
		blocks += whole
		at = up(at+head+tail, ondisk.NIDSize)
	}
	place(&p.dirs[0])
	for _, i := range pl.byEnd {
		if i != 0 {
			place(&p.dirs[i])
		}
	}
	pl.blocks = up(at, BlockSize)
	for i := range p.dirs {
		p.dirs[i].block += uint32(pl.blocks >> writeBits)
	}
	pl.rest = pl.blocks + blocks<<writeBits
}

// fitTail gives the first place from at on, at a multiple of NIDSize, from which a
// tail that follows head bytes is within one block.
func fitTail(at, head, tail int64) int64 {
	for (at+head)%BlockSize+tail > BlockSize {
		at += ondisk.NIDSize
	}
	return at
}
