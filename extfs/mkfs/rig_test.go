package mkfs

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"sync"
	"testing"

	"relive/extfs"
	"relive/extfs/internal/ondisk"
	"relive/tree"
	"relive/tree/systest"
)

// buildFile builds into a new file and gives its path.
func buildFile(t testing.TB, root *tree.Node, o Options) (string, Report) {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "image"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rep, err := Build(context.Background(), f, root, o)
	if err != nil {
		t.Fatalf("size %d, features %s: %v", o.Size, o.Features, err)
	}
	return f.Name(), rep
}

// openImage opens an image with the project's reader.
func openImage(t testing.TB, path string) *extfs.FS {
	t.Helper()
	f, size := systest.OpenFile(t, path)
	fs, err := extfs.Open(f, size, "image")
	systest.Must(t, err)
	return fs
}

func rootOf(t testing.TB, fs *extfs.FS) *tree.Node {
	t.Helper()
	root, err := fs.Root()
	systest.Must(t, err)
	return root
}

// readBack returns the tree in an image.
func readBack(t testing.TB, path string) *tree.Node {
	t.Helper()
	return rootOf(t, openImage(t, path))
}

// mount mounts an image.
func mount(t testing.TB, img, options string) (dir string, umount func()) {
	t.Helper()
	return systest.Mount(t, "ext4", "loop,"+options, img)
}

// same demands that two trees are equal.
func same(t testing.TB, got, want *tree.Node, o tree.CompareOptions) {
	t.Helper()
	n := 0
	err := tree.Compare(context.Background(), want, got, o, func(c tree.Change) error {
		if n++; n < 20 {
			t.Errorf("%s differs in %v\nwant %s\n got %s", tree.Quote(c.Path), c.Diff, brief(c.A), brief(c.B))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if n > 0 {
		t.Fatalf("%d differences", n)
	}
}

// brief is a node without its content.
func brief(n *tree.Node) string {
	if n == nil {
		return "nothing"
	}
	return fmt.Sprintf("%.200q", fmt.Sprintf("%+v %d links, inode %d, xattrs %.80q", n.Meta, n.Nlink, n.Inode.Number, n.Xattrs))
}

// holey is content made of pieces with holes between them.
type holey struct {
	size   int64
	pieces []holeyPiece // ascending, apart
	hide   bool         // tell of no holes
}

type holeyPiece struct {
	at   int64
	data []byte
}

// from is the first piece that ends after off.
func (h *holey) from(off int64) int {
	return sort.Search(len(h.pieces), func(i int) bool { return h.pieces[i].at+int64(len(h.pieces[i].data)) > off })
}

func (h *holey) Open() (tree.Content, error) { return h, nil }
func (h *holey) Size() int64                 { return h.size }
func (h *holey) Close() error                { return nil }

func (h *holey) ReadAt(p []byte, off int64) (int, error) {
	if off >= h.size {
		return 0, io.EOF
	}
	n := int(min(int64(len(p)), h.size-off))
	clear(p[:n])
	for _, piece := range h.pieces[h.from(off):] {
		if piece.at >= off+int64(n) {
			break
		}
		end := piece.at + int64(len(piece.data))
		if from, to := max(off, piece.at), min(off+int64(n), end); from < to {
			copy(p[from-off:to-off], piece.data[from-piece.at:])
		}
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (h *holey) NextData(off int64) (start, end int64, err error) {
	if h.hide {
		return tree.WholeData(off, h.size)
	}
	if i := h.from(off); i < len(h.pieces) {
		piece := h.pieces[i]
		return max(off, piece.at), piece.at + int64(len(piece.data)), nil
	}
	return 0, 0, io.EOF
}

// stamp is the mtime of nodes that are made by hand.
var stamp = tree.Time{Sec: 1700000000, Nsec: 123456789}

func dirOf(name string, kids ...*tree.Node) *tree.Node {
	n := tree.NewDir(name, 0o755, kids...)
	n.Mtime = stamp
	return n
}

func fileOf(name string, content []byte) *tree.Node {
	n := tree.NewFile(name, 0o644, content)
	n.Mtime = stamp
	return n
}

func sparseFile(name string, h *holey) *tree.Node {
	n := fileOf(name, nil)
	n.Size, n.Data = h.size, h
	return n
}

// generator makes random trees.
type generator struct {
	*rand.Rand
	blockSize int
	inodeSize int
	eaInode   bool
	maxFile   int
	budget    int // nodes still to be made
	inodes    uint64
	linkable  []*tree.Node
	sets      []tree.Xattrs // to be used by several files
}

func newGenerator(seed uint64, o Options) *generator {
	g := &generator{Rand: rand.New(rand.NewPCG(seed, 1)), blockSize: o.BlockSize, inodeSize: o.InodeSize, maxFile: 100 << 10, budget: 400}
	if g.blockSize == 0 {
		g.blockSize = defaultBlockSize(o.Size)
	}
	if g.inodeSize == 0 {
		g.inodeSize = 256
	}
	g.eaInode = o.Features.Incompat&ondisk.IncompatEAInode != 0
	for range 5 {
		g.sets = append(g.sets, g.xattrs())
	}
	return g
}

func (g *generator) chance(percent int) bool { return g.IntN(100) < percent }

func (g *generator) bytes(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(g.Uint32())
	}
	return p
}

func (g *generator) name() string {
	n := 1 + g.IntN(20)
	if g.chance(10) {
		n = 255 - g.IntN(4)
	}
	p := g.bytes(n)
	for i := range p {
		switch {
		case p[i] == 0 || p[i] == '/':
			p[i] = 'x'
		case g.chance(80):
			p[i] = 'a' + p[i]%26
		}
	}
	if s := string(p); s != "." && s != ".." {
		return s
	}
	return "dots"
}

func (g *generator) time() tree.Time {
	limit := int64(1 << 33)
	if g.inodeSize == ondisk.InodeSizeOld {
		limit = 1 << 30
	}
	t := tree.Time{Sec: g.Int64N(limit) - 1<<31, Nsec: uint32(g.IntN(1e9))}
	if g.inodeSize == ondisk.InodeSizeOld {
		t.Nsec = 0
	}
	return t
}

// acl makes a POSIX ACL as user space reads it.
func (g *generator) acl() string {
	le := binary.LittleEndian
	p := le.AppendUint32(nil, ondisk.ACLXattrVersion)
	add := func(tag uint16, id uint32) {
		p = le.AppendUint16(p, tag)
		p = le.AppendUint16(p, uint16(g.IntN(8)))
		p = le.AppendUint32(p, id)
	}
	add(ondisk.ACLUserObj, ondisk.ACLUndefinedID)
	for i := range g.IntN(4) {
		add(ondisk.ACLUser, uint32(1000+i*70000))
	}
	add(ondisk.ACLGroupObj, ondisk.ACLUndefinedID)
	for i := range g.IntN(3) {
		add(ondisk.ACLGroup, uint32(100+i))
	}
	add(ondisk.ACLMask, ondisk.ACLUndefinedID)
	add(ondisk.ACLOther, ondisk.ACLUndefinedID)
	return string(p)
}

// capability makes a file capability, version 2 or 3.
func (g *generator) capability() []byte {
	le := binary.LittleEndian
	p := g.bytes(20)
	le.PutUint32(p, 0x02000000|g.Uint32N(2))
	if g.chance(50) {
		le.PutUint32(p, 0x03000000)
		p = le.AppendUint32(p, 1000)
	}
	return p
}

func (g *generator) xattrs() tree.Xattrs {
	room := g.blockSize - ondisk.XAHdrSize - 4
	var x tree.Xattrs
	add := func(name string, value []byte) {
		n := (ondisk.XAEntrySize+len(name)+3)&^3 + (len(value)+3)&^3
		if n > room {
			return
		}
		if _, ok := x.Get(name); ok {
			return
		}
		room -= n
		x = append(x, tree.Xattr{Name: name, Value: string(value)})
		tree.SortXattrs(x)
	}
	for range g.IntN(6) {
		switch g.IntN(7) {
		case 0:
			add("trusted.overlay.opaque", []byte("y"))
		case 1:
			add("security.capability", g.capability())
		case 2:
			add("system.posix_acl_access", []byte(g.acl()))
		case 3:
			add("user.empty", nil)
		case 4:
			add("trusted.overlay.redirect", g.bytes(1+g.IntN(60)))
		case 5:
			add("user."+strings.Repeat("n", 1+g.IntN(200)), g.bytes(g.IntN(100)))
		case 6:
			add("user.large", g.bytes(g.IntN(g.blockSize)))
		}
	}
	if g.eaInode && g.chance(30) {
		x = append(x, tree.Xattr{Name: "user.own", Value: string(g.bytes(1 + g.IntN(ondisk.XAMaxValue-1)))})
		tree.SortXattrs(x)
	}
	return x
}

func (g *generator) content(n *tree.Node) {
	switch g.IntN(8) {
	case 0:
		n.Data, n.Size = tree.Bytes(nil), 0
	case 1: // holes, told or not
		h := &holey{hide: g.chance(50)}
		at := int64(0)
		for range 1 + g.IntN(12) {
			at += int64(g.IntN(6 * g.blockSize))
			piece := holeyPiece{at, g.bytes(1 + g.IntN(3*g.blockSize))}
			h.pieces = append(h.pieces, piece)
			at += int64(len(piece.data)) + 1
		}
		h.size = at + int64(g.IntN(100<<10))
		n.Data, n.Size = h, h.size
	case 2: // blocks of zeros in memory
		p := make([]byte, g.IntN(g.maxFile))
		for i := 0; i < len(p); i += g.blockSize {
			if g.chance(50) {
				p[i] = 1
			}
		}
		n.Data, n.Size = tree.Bytes(p), int64(len(p))
	case 3:
		p := g.bytes(g.IntN(g.maxFile))
		n.Data, n.Size = tree.Bytes(p), int64(len(p))
	default:
		p := g.bytes(g.IntN(3 * g.blockSize))
		n.Data, n.Size = tree.Bytes(p), int64(len(p))
	}
}

func (g *generator) node(name string, depth int) *tree.Node {
	if len(g.linkable) > 0 && g.chance(8) {
		n := *g.linkable[g.IntN(len(g.linkable))]
		n.Name = name
		return &n
	}
	n := &tree.Node{Name: name}
	n.Perm = uint16(g.IntN(0o10000))
	n.UID, n.GID = g.Uint32N(200000), g.Uint32N(200000)
	n.Mtime = g.time()
	kind := g.IntN(20)
	switch {
	case depth > 0 && kind < 4:
		n.Type = tree.Directory
		g.fill(n, g.IntN(30), depth-1)
	case kind < 14:
		n.Type = tree.Regular
		g.content(n)
	case kind < 16:
		n.Type = tree.Symlink
		n.Perm = 0o777
		length := 1 + g.IntN(100)
		if g.chance(30) {
			length = g.blockSize - 1 - g.IntN(3)
		}
		p := g.bytes(length)
		for i := range p {
			p[i] |= 1
		}
		n.Target = string(p)
		n.Size = int64(len(n.Target))
	case kind == 16:
		n.Type = tree.CharDevice // a whiteout
	case kind == 17:
		n.Type = tree.BlockDevice
		n.Rdev = tree.Rdev{Major: g.Uint32N(4096), Minor: g.Uint32N(1 << 20)}
	case kind == 18:
		n.Type = tree.FIFO
	default:
		n.Type = tree.Socket
	}
	g.addXattrs(n)
	if n.Type != tree.Directory && g.chance(20) {
		g.inodes++
		n.Inode = tree.Inode{Source: g, Number: g.inodes}
		n.Nlink = 2
		g.linkable = append(g.linkable, n)
	}
	return n
}

func (g *generator) addXattrs(n *tree.Node) {
	switch {
	case g.chance(60):
	case g.chance(50):
		n.Xattrs = g.sets[g.IntN(len(g.sets))]
	default:
		n.Xattrs = g.xattrs()
	}
	if n.Type == tree.Directory && g.chance(10) && len(n.Xattrs) == 0 {
		n.Xattrs = tree.Xattrs{{Name: "system.posix_acl_default", Value: g.acl()}}
	}
	if n.Type != tree.Regular && n.Type != tree.Directory {
		// The kernel shows neither user attributes nor ACLs of these.
		n.Xattrs = n.Xattrs.Filter(func(a tree.Xattr) bool {
			return strings.HasPrefix(a.Name, "trusted.") || a.Name == "security.capability"
		})
	}
}

func (g *generator) fill(n *tree.Node, entries, depth int) {
	var kids []*tree.Node
	names := map[string]bool{}
	for range entries {
		if g.budget--; g.budget < 0 {
			break
		}
		name := g.name()
		if !names[name] {
			names[name] = true
			kids = append(kids, g.node(name, depth))
		}
	}
	tree.Sort(kids)
	n.Dir = tree.List(kids)
}

// tree makes a whole tree with some entries in its root.
func (g *generator) tree(entries int) *tree.Node {
	root := &tree.Node{Meta: tree.Meta{Type: tree.Directory, Perm: 0o751, UID: 3, GID: 70000, Mtime: g.time()}}
	root.Xattrs = tree.Xattrs{{Name: "trusted.overlay.opaque", Value: "y"}}
	g.fill(root, entries, 4)
	return root
}

// memImage is an Image in memory that notes what happens to it.
type memImage struct {
	mu     sync.Mutex
	data   []byte
	writes int
	fail   int // the write that fails, counted from 1
}

func (m *memImage) Truncate(size int64) error {
	m.data = slices.Grow(m.data[:0], int(size))[:size]
	clear(m.data)
	return nil
}

func (m *memImage) WriteAt(p []byte, off int64) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.writes++; m.writes == m.fail {
		return 0, errDisk
	}
	if off < 0 || off+int64(len(p)) > int64(len(m.data)) {
		return 0, fmt.Errorf("write of %d bytes at %d, past the end", len(p), off)
	}
	return copy(m.data[off:], p), nil
}

var errDisk = fmt.Errorf("disk is broken")

func buildBytes(t testing.TB, root *tree.Node, o Options) []byte {
	t.Helper()
	var m memImage
	if _, err := Build(context.Background(), &m, root, o); err != nil {
		t.Fatal(err)
	}
	return bytes.Clone(m.data)
}

// parseFeatures starts from the defaults.
func parseFeatures(t testing.TB, names string) FeatureSet {
	t.Helper()
	f, err := DefaultFeatures().ParseFeatures(strings.Fields(names)...)
	if err != nil {
		t.Fatal(err)
	}
	return f
}
