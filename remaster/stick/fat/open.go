package fat

import (
	"fmt"
	"io"
	"sync"

	"relive/tree"
)

// Kind tells the formats apart.
type Kind string

// The formats, under the names that people use.
const (
	FAT12 Kind = "FAT12"
	FAT16 Kind = "FAT16"
	FAT32 Kind = "FAT32"
	ExFAT Kind = "exFAT"
)

// FS is an opened file system. Its methods, and those of its nodes, may be
// called from several goroutines at once.
type FS struct {
	r    io.ReaderAt
	name string
	vol  volume
	fat  table

	mu   sync.Mutex
	dirs map[uint32]place // by first cluster, those that were seen
}

// volume is the geometry that the boot sector gives, in bytes from its start.
type volume struct {
	kind        Kind
	size        int64
	clusterBits uint   // log2 of the bytes of a cluster
	clusters    uint32 // in the heap; their numbers begin with 2
	heap        int64  // of cluster 2
	fat         int64  // of the active table
	rootCluster uint32 // 0 where the root lies outside of the heap
	rootOffset  int64  // of such a root
	rootEntries int    // of such a root
	serial      uint32
	dirty       bool
}

// place is where a directory's entry stands.
type place struct {
	parent uint32 // first cluster of the directory, 0 for the root
	index  int    // of the entry
}

// bootSize is how much of the volume tells what it is.
const bootSize = 512

// Open opens the file system of size bytes that r reads. name is what errors
// call it. r must stay readable, and must not change, as long as the FS and its
// nodes are in use.
//
// A broken file system is tree.ErrCorrupt, one that is neither FAT nor exFAT, or
// needs what this package does not read, is tree.ErrUnsupported; errors of r are
// handed on.
func Open(r io.ReaderAt, size int64, name string) (*FS, error) {
	fs := &FS{r: r, name: name, dirs: map[uint32]place{}}
	if size < bootSize {
		return nil, tree.Corrupt(name, "boot sector", "the volume has only %d bytes", size)
	}
	boot := make([]byte, bootSize)
	if err := fs.read(boot, 0); err != nil {
		return nil, err
	}
	var err error
	if IsExFAT(boot) {
		fs.vol, err = fs.decodeExBoot(boot, size)
	} else {
		fs.vol, err = decodeBoot(name, boot, size)
	}
	if err != nil {
		return nil, err
	}
	if err := fs.openTable(); err != nil {
		return nil, err
	}
	return fs, nil
}

// Kind tells which of the formats it is.
func (fs *FS) Kind() Kind { return fs.vol.kind }

// Dirty tells that the file system was not unmounted cleanly, or that errors
// were met in it.
func (fs *FS) Dirty() bool { return fs.vol.dirty }

// UUID is the volume's serial number in the form in which blkid prints it.
func (fs *FS) UUID() string {
	if fs.vol.serial == 0 {
		return ""
	}
	return fmt.Sprintf("%04X-%04X", fs.vol.serial>>16, fs.vol.serial&0xFFFF)
}

// ClusterSize is the size of a cluster in bytes.
func (fs *FS) ClusterSize() int64 { return 1 << fs.vol.clusterBits }

// Root returns the root directory.
func (fs *FS) Root() (*tree.Node, error) {
	return &tree.Node{
		Meta:  tree.Meta{Type: tree.Directory, Perm: modeDir},
		Nlink: 1,
		Dir:   fs.rootDir(),
	}, nil
}

// read reads bytes of the volume.
func (fs *FS) read(p []byte, off int64) error {
	if err := tree.ReadFull(fs.r, p, off); err != nil {
		return fmt.Errorf("%s: read %d bytes at %d: %w", fs.name, len(p), off, err)
	}
	return nil
}

// offset is the place of a cluster.
func (v *volume) offset(cluster uint32) int64 {
	return v.heap + int64(cluster-firstCluster)<<v.clusterBits
}

// valid reports whether a cluster is one of the heap.
func (v *volume) valid(cluster uint32) bool {
	return cluster >= firstCluster && cluster-firstCluster < v.clusters
}

// clustersOf is how many clusters hold that many bytes.
func (v *volume) clustersOf(size int64) int64 {
	n := size >> v.clusterBits
	if size&(1<<v.clusterBits-1) != 0 {
		n++
	}
	return n
}
