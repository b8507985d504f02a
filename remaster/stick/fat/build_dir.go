package fat

import (
	"context"
	"fmt"
	"hash"
	"strings"

	"relive/tree"
)

// maxFile is the size of the largest file in bytes.
const maxFile = 1<<32 - 1

// maxEntries is how many entries a directory has at most.
const maxEntries = 65536

// attrArchive marks files that a backup has not seen yet, as all new ones.
const attrArchive = 0x20

// object is a file or directory that takes clusters.
type object struct {
	path string
	// A file's content; a directory has none.
	data tree.Data
	size int64
	// A directory's entries, and where in them the first clusters of its children
	// are to be noted.
	entries []byte
	refs    []ref
	parent  int32 // of a directory, as an index; -1 for the root itself
	// pinned are the clusters that a file must keep.
	pinned []run
	first  uint32
}

// ref is a directory's entry that names an object.
type ref struct {
	at    int32 // of the entry, in bytes
	child int32
}

// builder makes directories of a tree, and objects.
type builder struct {
	ctx     context.Context
	hash    hash.Hash // of names, sizes and times; nil for none
	newest  tree.Time
	label   []byte // entry of the label, empty without
	objects []object
	// from is the file system that is being rewritten; nil for none.
	from *FS
	// pin names files, in lower case, that stay where they are.
	pin string
}

// plan lists the tree. The root is object 0.
func (b *builder) plan(root *tree.Node, old *dir) error {
	return b.dir(root, old, "", -1, 0)
}

// child is a name of a directory that is being planned.
type child struct {
	node *tree.Node
	old  *oldEntry // where it was there before
	raw  [entrySize]byte
	long []uint16
}

// dir plans a directory and all below it, and gives its index.
func (b *builder) dir(n *tree.Node, old *dir, path string, parent int32, depth int) error {
	if err := b.ctx.Err(); err != nil {
		return context.Cause(b.ctx)
	}
	if depth > tree.MaxDepth {
		return tree.TooDeep(path)
	}
	self := int32(len(b.objects))
	b.objects = append(b.objects, object{path: path, parent: parent})
	kids, err := b.children(n, old, path)
	if err != nil {
		return err
	}
	var entries []byte
	if parent >= 0 {
		entries = append(entries, dotEntry(".", n.Mtime)...)
		entries = append(entries, dotEntry("..", n.Mtime)...)
	}
	var refs []ref
	for i := range kids {
		k := &kids[i]
		at := tree.Join(path, k.node.Name)
		entries = appendLong(entries, k.long, shortChecksum(k.raw[:]))
		if k.node.Type == tree.Directory || k.node.Size > 0 {
			refs = append(refs, ref{int32(len(entries)), int32(len(b.objects))})
		}
		entries = append(entries, k.raw[:]...)
		if len(entries) > maxEntries*entrySize {
			return fmt.Errorf("%s: more entries than the %d that a directory of FAT has", tree.Quote(path), maxEntries)
		}
		if k.node.Type != tree.Directory {
			if err := b.file(k, at); err != nil {
				return err
			}
			continue
		}
		var below *dir
		if k.old != nil {
			below = k.old.dir
		}
		if err := b.dir(k.node, below, at, self, depth+1); err != nil {
			return err
		}
	}
	b.objects[self].entries, b.objects[self].refs = entries, refs
	return nil
}

// file adds the object of a file, where it takes clusters.
func (b *builder) file(k *child, path string) error {
	if k.node.Size == 0 {
		return nil
	}
	o := object{path: path, data: k.node.Data, size: k.node.Size}
	if b.pin != "" && strings.ToLower(k.node.Name) == b.pin && k.old != nil && b.from.sameData(k.node.Data, k.old.data) {
		var err error
		if o.pinned, err = b.from.runs(k.old.data); err != nil {
			return err
		}
	}
	b.objects = append(b.objects, o)
	return nil
}

// children returns a directory's names with their entries, those that were there
// before in their order, then the others.
func (b *builder) children(n *tree.Node, old *dir, path string) ([]child, error) {
	nodes, err := n.Children()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", tree.Quote(path), err)
	}
	var was []oldEntry
	if old != nil {
		if was, err = b.from.oldEntries(old); err != nil {
			return nil, err
		}
	}
	kids, stays := make([]child, 0, len(nodes)), map[string]bool{}
	for i := range was {
		o := &was[i]
		if k := tree.Find(nodes, o.name); k != nil && (o.dir != nil) == (k.Type == tree.Directory) {
			kids = append(kids, child{node: k, old: o})
			stays[o.name] = true
		}
	}
	for _, k := range nodes {
		if !stays[k.Name] {
			kids = append(kids, child{node: k})
		}
	}
	return kids, b.name(kids, path)
}

// name makes the entries of a directory's names.
func (b *builder) name(kids []child, path string) error {
	names := shortNames{map[shortForm]bool{}, map[string]int{}}
	folded := make(map[string]string, len(kids))
	var tails []int // those that need a short name with a tail
	for i := range kids {
		k := &kids[i]
		name, at := k.node.Name, tree.Join(path, k.node.Name)
		if err := b.check(k.node, at); err != nil {
			return err
		}
		key := foldName(name)
		units, fact := longUnits(name)
		if k.old == nil && fact == "" {
			if fact = nameFault(name); fact == "" && folded[key] != "" {
				fact = fmt.Sprintf("is the same as %q but for case, which FAT does not tell apart", folded[key])
			}
		}
		if fact != "" {
			return fmt.Errorf("%s: the name %s", tree.Quote(at), fact)
		}
		folded[key] = name
		if k.old != nil {
			k.raw = k.old.raw
			if name != nameOf(k.raw[:]) {
				k.long = units
			}
			names.used[shortForm(k.raw[:shortName])] = true
			continue
		}
		s, exact, ok := plainShort(name)
		if !exact {
			k.long = units
		}
		if ok && names.used[s] {
			// Whoever asks for the one may get the other.
			return fmt.Errorf("%s: the name is the short one of another file", tree.Quote(at))
		}
		if !ok {
			k.long = units
			tails = append(tails, i)
			continue
		}
		names.used[s] = true
		copy(k.raw[:], s[:])
	}
	for _, i := range tails {
		s, err := names.take(kids[i].node.Name)
		if err != nil {
			return fmt.Errorf("%s: %w", tree.Quote(tree.Join(path, kids[i].node.Name)), err)
		}
		copy(kids[i].raw[:], s[:])
	}
	for i := range kids {
		kids[i].stamp()
	}
	return nil
}

// check refuses what FAT has no place for, and takes note of a node.
func (b *builder) check(n *tree.Node, path string) error {
	switch {
	case n.Type != tree.Directory && n.Type != tree.Regular:
		return fmt.Errorf("%s: is a %s, which FAT has no place for", tree.Quote(path), n.Type)
	case n.Type == tree.Regular && n.Size > maxFile:
		return fmt.Errorf("%s: has %d bytes, more than the %d that a file on FAT holds", tree.Quote(path), n.Size, int64(maxFile))
	case n.Type == tree.Regular && (n.Size < 0 || n.Size > 0 && n.Data == nil):
		return fmt.Errorf("%s: %w", tree.Quote(path), tree.ErrNoData)
	}
	if b.newest.Before(n.Mtime) {
		b.newest = n.Mtime
	}
	if b.hash != nil {
		fmt.Fprintf(b.hash, "%q %d %d %d\n", path, n.Type, n.Size, n.Mtime.Sec)
	}
	return nil
}

// stamp fills in what an entry says besides its name and first cluster.
func (k *child) stamp() {
	e, n := k.raw[:], k.node
	if k.old == nil {
		e[deAttr] = attrArchive
		if n.Type == tree.Directory {
			e[deAttr] = attrDirectory
		}
		stampAll(e, n.Mtime)
	} else if n.Mtime.Whole() != dosTime(le.Uint16(e[deDate:]), le.Uint16(e[deTime:])).Whole() {
		date, clock, _ := dosStamp(n.Mtime)
		le.PutUint16(e[deDate:], date)
		le.PutUint16(e[deTime:], clock)
	}
	putCluster(e, 0)
	le.PutUint32(e[deSize:], 0)
	if n.Type == tree.Regular {
		le.PutUint32(e[deSize:], uint32(n.Size))
	}
}

// stampAll sets the times of creation, change and access.
func stampAll(e []byte, t tree.Time) {
	date, clock, rest := dosStamp(t)
	e[deCreatedRest] = rest
	le.PutUint16(e[deCreatedTime:], clock)
	le.PutUint16(e[deCreatedDate:], date)
	le.PutUint16(e[deAccessDate:], date)
	le.PutUint16(e[deTime:], clock)
	le.PutUint16(e[deDate:], date)
}

// putCluster notes the first cluster.
func putCluster(e []byte, cluster uint32) {
	le.PutUint16(e[deClusterHi:], uint16(cluster>>16))
	le.PutUint16(e[deClusterLo:], uint16(cluster))
}

// dotEntry is the entry by which a directory names itself or its parent.
func dotEntry(name string, t tree.Time) []byte {
	var e [entrySize]byte
	s := shortOf(name, "")
	copy(e[:], s[:])
	e[deAttr] = attrDirectory
	stampAll(e[:], t)
	return e[:]
}

// labelEntry is the entry of a label.
func labelEntry(label shortForm, t tree.Time) []byte {
	var e [entrySize]byte
	copy(e[:], label[:])
	e[deAttr] = attrLabel
	date, clock, _ := dosStamp(t)
	le.PutUint16(e[deTime:], clock)
	le.PutUint16(e[deDate:], date)
	return e[:]
}
