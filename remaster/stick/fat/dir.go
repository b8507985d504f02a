package fat

import (
	"fmt"
	"strings"

	"relive/tree"
)

// Modes as Linux gives them on a mount by root.
const (
	modeDir      = 0o755
	modeFile     = 0o755
	modeReadOnly = 0o555
)

// Attributes of entries, the same in both formats.
const (
	attrReadOnly  = 0x01
	attrLabel     = 0x08
	attrDirectory = 0x10
	attrLongName  = 0x0F // all of these bits
	attrMask      = 0x3F
)

// dir is a directory.
type dir struct {
	fs    *FS
	what  string // for errors
	first uint32 // cluster, 0 for a root outside of the heap
	// count is how many clusters it has, -1 where its chain tells.
	count    int64
	straight bool
}

// rootDir is the root.
func (fs *FS) rootDir() *dir {
	return &dir{fs: fs, what: "root directory", first: fs.vol.rootCluster, count: -1}
}

// Children implements tree.Dir.
func (d *dir) Children() ([]*tree.Node, error) {
	var out []*tree.Node
	list := d.fs.listFAT
	if d.fs.vol.kind == ExFAT {
		list = d.fs.listExFAT
	}
	if err := list(d, func(n *tree.Node) { out = append(out, n) }); err != nil {
		return nil, err
	}
	tree.Sort(out)
	for i := 1; i < len(out); i++ {
		if out[i].Name == out[i-1].Name {
			return nil, tree.Corrupt(d.fs.name, d.what, "the name %q stands there twice", out[i].Name)
		}
	}
	return out, nil
}

// Lookup implements tree.Lookuper: where no name is equal, one that differs in
// case is found, as on a mounted file system.
func (d *dir) Lookup(name string) (*tree.Node, error) {
	kids, err := d.Children()
	if err != nil {
		return nil, err
	}
	if n := tree.Find(kids, name); n != nil {
		return n, nil
	}
	for _, n := range kids {
		if strings.EqualFold(n.Name, name) {
			return n, nil
		}
	}
	return nil, nil
}

// limit is how many bytes a directory may have.
func (fs *FS) limit() int64 {
	if fs.vol.kind == ExFAT {
		return 256 << 20 // section 7.4
	}
	return 2 << 20 // 65536 entries
}

// entries calls fn with every entry of a directory, in order, until fn says
// stop. The slice is only good during the call.
func (d *dir) entries(fn func(index int, entry []byte) (stop bool, err error)) error {
	fs := d.fs
	if d.first == 0 {
		buf := make([]byte, fs.vol.rootEntries*entrySize)
		if err := fs.read(buf, fs.vol.rootOffset); err != nil {
			return err
		}
		_, err := eachEntry(buf, 0, fn)
		return err
	}
	buf := make([]byte, min(fs.ClusterSize(), 64<<10))
	limit := max(1, fs.vol.clustersOf(fs.limit()))
	cluster, guard := d.first, loopGuard{at: d.first}
	for done, index := int64(0), 0; done != d.count; done++ {
		if done == limit {
			return tree.Corrupt(fs.name, d.what, "more than %d bytes", fs.limit())
		}
		if !fs.vol.valid(cluster) {
			return tree.Corrupt(fs.name, d.what, "goes on in cluster %d of %d", cluster, fs.vol.clusters)
		}
		for in := int64(0); in < fs.ClusterSize(); in += int64(len(buf)) {
			if err := fs.read(buf, fs.vol.offset(cluster)+in); err != nil {
				return err
			}
			stop, err := eachEntry(buf, index, fn)
			if stop || err != nil {
				return err
			}
			index += len(buf) / entrySize
		}
		if d.straight {
			cluster++
			continue
		}
		fs.fat.mu.Lock()
		next, end, err := fs.next(cluster)
		fs.fat.mu.Unlock()
		if err != nil {
			return fmt.Errorf("%s: %w", d.what, err)
		}
		if end {
			if d.count >= 0 && done+1 < d.count {
				return tree.Corrupt(fs.name, d.what, "ends after %d of %d clusters", done+1, d.count)
			}
			return nil
		}
		if guard.loops(next) {
			return tree.Corrupt(fs.name, d.what, "its chain of clusters loops")
		}
		cluster = next
	}
	return nil
}

// eachEntry calls fn with the entries of buf.
func eachEntry(buf []byte, index int, fn func(int, []byte) (bool, error)) (stop bool, err error) {
	for ; len(buf) >= entrySize; buf = buf[entrySize:] {
		if stop, err = fn(index, buf[:entrySize]); stop || err != nil {
			return stop, err
		}
		index++
	}
	return false, nil
}

// newDir makes the node of a directory whose entry stands at an index of its
// parent. A directory that was met elsewhere before is an error: the tree would
// have no end.
func (d *dir) newDir(n *tree.Node, index int, first uint32, count int64, straight bool) error {
	fs, what := d.fs, d.path(n.Name)
	if !fs.vol.valid(first) {
		return tree.Corrupt(fs.name, what, "begins in cluster %d of %d", first, fs.vol.clusters)
	}
	here := place{d.first, index}
	fs.mu.Lock()
	was, met := fs.dirs[first]
	if !met {
		fs.dirs[first] = here
	}
	fs.mu.Unlock()
	if met && was != here || first == fs.vol.rootCluster {
		return tree.Corrupt(fs.name, what, "begins in cluster %d, where another directory begins", first)
	}
	n.Type, n.Perm = tree.Directory, modeDir
	n.Dir = &dir{fs: fs, what: what, first: first, count: count, straight: straight}
	return nil
}

// newFile makes the node of a file.
func (d *dir) newFile(n *tree.Node, attr uint16, f fileData) error {
	fs := d.fs
	switch {
	case f.size>>fs.vol.clusterBits > int64(fs.vol.clusters):
		return tree.Corrupt(fs.name, d.path(n.Name), "%d bytes, which the volume has not", f.size)
	case f.size > 0 && !fs.vol.valid(f.first):
		return tree.Corrupt(fs.name, d.path(n.Name), "%d bytes from cluster %d of %d", f.size, f.first, fs.vol.clusters)
	}
	n.Type, n.Perm = tree.Regular, modeFile
	if attr&attrReadOnly != 0 {
		n.Perm = modeReadOnly
	}
	f.fs, f.name, n.Size = fs, n.Name, f.size
	n.Data = &f
	return nil
}

// path names a child in errors.
func (d *dir) path(name string) string {
	if d.first == d.fs.vol.rootCluster {
		return "directory " + tree.Quote(name)
	}
	return d.what + tree.Quote(name)
}

// checkName refuses names that cannot stand in a path.
func (d *dir) checkName(name string) error {
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
		return tree.Corrupt(d.fs.name, d.what, "an entry with the name %q", name)
	}
	return nil
}
