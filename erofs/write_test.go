package erofs

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"relive/codec"
	"relive/tree"
)

// memory is an io.WriterAt that grows.
type memory struct {
	mu sync.Mutex
	b  []byte
}

func (m *memory) WriteAt(p []byte, off int64) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if need := int(off) + len(p); need > len(m.b) {
		if need > cap(m.b) {
			m.b = append(make([]byte, 0, max(2*need, 8<<20)), m.b...)
		}
		m.b = m.b[:need]
	}
	return copy(m.b[off:], p), nil
}

func writeImage(t testing.TB, root *tree.Node, o WriteOptions) ([]byte, *Plan) {
	t.Helper()
	o.Library = library(t)
	p, err := NewPlan(t.Context(), root, o)
	if err != nil {
		t.Fatal(err)
	}
	var m memory
	rep, err := p.Write(t.Context(), &m, 0)
	if err != nil {
		t.Fatal(err)
	}
	if rep.Size != int64(len(m.b)) || rep.Size%BlockSize != 0 {
		t.Fatalf("report of %d bytes, image of %d", rep.Size, len(m.b))
	}
	return m.b, p
}

// differences compares two trees.
func differences(t testing.TB, want, got *tree.Node) string {
	t.Helper()
	var out []string
	err := tree.Compare(t.Context(), want, got, tree.CompareOptions{Links: true}, func(c tree.Change) error {
		out = append(out, fmt.Sprintf("%s: %v", tree.Quote(c.Path), c.Diff))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(out, "\n")
}

func verifyClean(t testing.TB, r *Reader) {
	t.Helper()
	rep, err := Verify(t.Context(), r, VerifyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range rep.Findings {
		if t.Errorf("warning %v: %v", f.Warning, f); i > 10 {
			break
		}
	}
}

// treeMaker makes trees in memory.
type treeMaker struct {
	rnd  *rand.Rand
	pool []byte
}

func newTreeMaker(seed uint64) *treeMaker { return &treeMaker{rnd: rand.New(rand.NewPCG(seed, 1))} }

func (m *treeMaker) text(n int) []byte {
	b := make([]byte, 0, n+16)
	for len(b) < n {
		b = fmt.Appendf(b, "line %d of a file\n", m.rnd.IntN(1000))
	}
	return b[:n]
}

func (m *treeMaker) noise(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(m.rnd.Uint32())
	}
	return b
}

// mixture gives runs of text, noise, zeros, and of what earlier calls gave.
func (m *treeMaker) mixture(size int) (b []byte) {
	for len(b) < size {
		n := 1 + m.rnd.IntN(min(size-len(b), 30000))
		switch k := m.rnd.IntN(8); {
		case k < 4:
			b = append(b, m.text(n)...)
		case k < 6:
			b = append(b, m.noise(n)...)
		case k == 6 && len(m.pool) > 0:
			at := m.rnd.IntN(len(m.pool))
			b = append(b, m.pool[at:min(at+n, len(m.pool))]...)
		default:
			b = append(b, make([]byte, n)...)
		}
	}
	if len(m.pool) < 1<<20 {
		m.pool = append(m.pool, b...)
	}
	return b
}

func (m *treeMaker) meta(n *tree.Node) *tree.Node {
	n.UID, n.GID = uint32(m.rnd.IntN(3))*70000, uint32(m.rnd.IntN(5))
	n.Mtime = tree.Time{Sec: int64(m.rnd.Uint64()>>30) - 1<<31, Nsec: uint32(m.rnd.IntN(1e9))}
	return n
}

func (m *treeMaker) file(name string, b []byte) *tree.Node {
	return m.meta(tree.NewFile(name, uint16(m.rnd.IntN(0o10000)), b))
}

func withXattrs(n *tree.Node, x ...tree.Xattr) *tree.Node {
	tree.SortXattrs(x)
	n.Xattrs = x
	return n
}

// sampleTree is a tree with something of everything, which nobody modifies.
var sampleTree = sync.OnceValue(func() *tree.Node {
	m := newTreeMaker(1)
	file, meta, text, noise := m.file, m.meta, m.text, m.noise
	var kids []*tree.Node
	const bs = BlockSize
	for i, n := range []int{0, 1, 100, 4000, bs - 1, bs, bs + 1, 2*bs - 7, 3*bs + 77, 5 * bs, 40*bs + 11, 300*bs + 5} {
		kids = append(kids, file(fmt.Sprintf("text-%d", i), text(n)), file(fmt.Sprintf("noise-%d", i), noise(n)),
			file(fmt.Sprintf("zeros-%d", i), make([]byte, n)), file(fmt.Sprintf("mixed-%d", i), m.mixture(n)))
	}
	kids = append(kids, file("long", m.mixture(5<<20)))
	sparse := make([]byte, 70*bs+5)
	copy(sparse[30*bs:], text(bs+10))
	kids = append(kids, file("sparse", sparse), file("twin-a", text(20*bs+9)))
	twin := *kids[len(kids)-1]
	twin.Name = "twin-b"
	kids = append(kids, &twin)

	linked := file("linked-a", text(500))
	linked.Inode, linked.Nlink = tree.Inode{Source: linked, Number: 7}, 3
	again, third := *linked, *linked
	again.Name, third.Name = "linked-b", "linked-c"
	kids = append(kids, linked, &again)
	// Names before ".", between it and "..", and behind.
	kids = append(kids, file("!", text(7)), file("-x", nil), file(".-", text(9)), file("...", text(9)), file(".x", text(9)))

	kids = append(kids, meta(tree.NewSymlink("symlink", "../some/where")), meta(tree.NewSymlink("longlink", strings.Repeat("l/", 2047))),
		meta(&tree.Node{Name: "block", Meta: tree.Meta{Type: tree.BlockDevice, Perm: 0o660, Rdev: tree.Rdev{Major: 8, Minor: 300}}}),
		meta(&tree.Node{Name: "char", Meta: tree.Meta{Type: tree.CharDevice, Perm: 0o600, Rdev: tree.Rdev{Major: 4000, Minor: 1 << 19}}}),
		meta(&tree.Node{Name: "fifo", Meta: tree.Meta{Type: tree.FIFO, Perm: 0o600}}),
		meta(&tree.Node{Name: "socket", Meta: tree.Meta{Type: tree.Socket, Perm: 0o755}}))

	long := strings.Repeat("a value that is long enough to be shared ", 20)
	kids = append(kids,
		withXattrs(file("x1", text(10)), tree.Xattr{Name: "user.a", Value: long},
			tree.Xattr{Name: "security.capability", Value: "\x01\x00\x00\x02" + strings.Repeat("\x00", 16)}),
		withXattrs(file("x2", text(10)), tree.Xattr{Name: "user.b", Value: long}, tree.Xattr{Name: "trusted.empty"}),
		withXattrs(file("x3", text(9000)), tree.Xattr{Name: "user.big", Value: string(noise(60000))}),
		withXattrs(meta(tree.NewSymlink("xlink", "t")), tree.Xattr{Name: "trusted.t", Value: long}))
	label := tree.Xattr{Name: "security.selinux", Value: "system_u:object_r:usr_t:s0\x00"}
	var many []*tree.Node
	for i := range 900 {
		many = append(many, withXattrs(file(fmt.Sprintf("%s-%05d", strings.Repeat("n", i%60), i), text(i%50*i%5000)), label))
	}
	many = append(many, &third)
	deep := meta(tree.NewDir("deep", 0o700, file("bottom", text(70))))
	for range 30 {
		deep = meta(tree.NewDir("deep", 0o755, deep))
	}
	kids = append(kids, withXattrs(meta(tree.NewDir("many", 0o755, many...)), label), meta(tree.NewDir("empty", 0o1777)), deep,
		withXattrs(meta(tree.NewDir("dirx", 0o700, file("\xff\n\\odd", text(3)), file(strings.Repeat("L", 255), text(4)))),
			tree.Xattr{Name: "user.d", Value: "v"}))
	return meta(tree.NewDir("", 0o755, kids...))
})

// sampleImages are images of sampleTree by the names of their sets.
var sampleImages sync.Map

// sampleImage gives the image of sampleTree with a set, which the caller does not
// modify. One worker made it.
func sampleImage(t testing.TB, set writeSet) []byte {
	t.Helper()
	made, _ := sampleImages.LoadOrStore(set.name, sync.OnceValue(func() []byte {
		o := set.o
		o.Workers = 1
		b, _ := writeImage(t, sampleTree(), o)
		return b
	}))
	return made.(func() []byte)()
}

// writeSet are options with a name.
type writeSet struct {
	name string
	o    WriteOptions
}

// shortSets are those of writeSets that have each way of storing data once, for the
// race detector and emulated processors.
var shortSets = []string{"plain", "chunks-64k", "lz4-8k-tails-fragments", "zstd-64k-all", "lzma-4k-tails", "compact"}

// writeSets are all kinds of options, with compressors at little effort; some of them
// in short runs.
func writeSets() []writeSet {
	lz4 := []Compression{{Algorithm: codec.RawLZ4}}
	zstd := []Compression{{Algorithm: codec.RawZstd, Options: codec.FitOptions{Level: 1}}}
	lzma := []Compression{{Algorithm: codec.MicroLZMA, Options: codec.FitOptions{Level: 1}}}
	out := []writeSet{
		{"plain", WriteOptions{}},
		{"plain-noinline", WriteOptions{NoInline: true, UnsharedXattrs: 1 << 30}},
		{"chunks", WriteOptions{ChunkSize: 4096}},
		{"chunks-64k", WriteOptions{ChunkSize: 65536}},
		{"lz4", WriteOptions{Compressions: lz4}},
		{"lz4-legacy", WriteOptions{Compressions: lz4, Legacy: true}},
		{"lz4-tails", WriteOptions{Compressions: lz4, Tails: true}},
		{"lz4-16k", WriteOptions{Compressions: lz4, Configs: true, PclusterSize: 16384}},
		{"lz4-8k-tails-fragments", WriteOptions{Compressions: lz4, Configs: true, PclusterSize: 8192, Tails: true, Fragments: true}},
		{"lz4-4k-fragments", WriteOptions{Compressions: lz4, Configs: true, Fragments: true}},
		{"lz4-chunks-dedupe", WriteOptions{Compressions: lz4, Configs: true, PclusterSize: 65536, ChunkSize: 4096, Dedupe: true}},
		{"zstd-64k-all", WriteOptions{Compressions: zstd, Configs: true, PclusterSize: 65536, AllFragments: true, Dedupe: true}},
		{"zstd-16k-tails", WriteOptions{Compressions: zstd, Configs: true, PclusterSize: 16384, Tails: true}},
		{"lzma-1m-fragments", WriteOptions{Compressions: lzma, Configs: true, PclusterSize: 1 << 20, Fragments: true}},
		{"lzma-4k-tails", WriteOptions{Compressions: lzma, Configs: true, Tails: true}},
		{"compact", WriteOptions{Compressions: lz4, Compact: true, AllTime: &tree.Time{Sec: 1700000000, Nsec: 5}}},
	}
	if testing.Short() {
		out = slices.DeleteFunc(out, func(s writeSet) bool { return !slices.Contains(shortSets, s.name) })
	}
	return out
}

// withTime gives a tree all of whose times are one.
func withTime(n *tree.Node, at *tree.Time) *tree.Node {
	if at == nil {
		return n
	}
	out := *n
	out.Mtime = *at
	if kids, _ := n.Children(); n.Type == tree.Directory {
		list := make(tree.List, len(kids))
		for i := range kids {
			list[i] = withTime(kids[i], at)
		}
		out.Dir = list
	}
	return &out
}

// Read(Write(t)) == t, and Verify finds nothing in what is written, which has no
// feature but those that were asked for.
func TestWriteRoundTrip(t *testing.T) {
	for _, set := range writeSets() {
		t.Run(set.name, func(t *testing.T) {
			t.Parallel()
			root := sampleTree()
			b := sampleImage(t, set)
			r := openBytes(t, b)
			if d := differences(t, withTime(root, set.o.AllTime), rootOf(t, r)); d != "" {
				t.Errorf("Read(Write(t)) differs:\n%.3000s", d)
			}
			verifyClean(t, r)
			if got := r.super.Incompat; got != set.o.incompat() && !set.o.AllFragments {
				t.Errorf("features %#x", got)
			}
			t.Logf("%d bytes", len(b))
		})
	}
}

// The image does not depend on the number of workers.
func TestWriteDeterministic(t *testing.T) {
	for _, set := range writeSets() {
		t.Run(set.name, func(t *testing.T) {
			t.Parallel()
			one := sampleImage(t, set)
			o := set.o
			o.Workers = 4
			if b, _ := writeImage(t, sampleTree(), o); !bytes.Equal(b, one) {
				t.Error("another image with other workers")
			}
		})
	}
}
