package erofs

import (
	"bytes"
	"io"
	"math/rand"
	"slices"
	"sync"
	"testing"
	"testing/fstest"

	"relive/erofs/internal/ondisk"
	"relive/tree"
	"relive/tree/systest"
)

// regularFiles gives all regular files below a node, by path.
func regularFiles(t testing.TB, root *tree.Node) map[string]*tree.Node {
	t.Helper()
	out := map[string]*tree.Node{}
	systest.Must(t, tree.Walk(t.Context(), root, func(path string, n *tree.Node) error {
		if n.Type == tree.Regular {
			out[path] = n
		}
		return nil
	}))
	return out
}

// Many goroutines that read anywhere get what reading from front to end gives.
func TestRandomAccess(t *testing.T) {
	t.Parallel()
	for name := range fixtures {
		r := openBytes(t, fixture(t, name), CacheBytes(0))
		type file struct {
			name    string
			want    []byte
			content tree.Content
		}
		var files []file
		for p, n := range regularFiles(t, rootOf(t, r)) {
			want, err := tree.ReadAll(n, 1<<30)
			systest.Must(t, err)
			c, err := n.Open()
			systest.Must(t, err)
			if n.Size > 0 {
				files = append(files, file{p, want, c})
			}
		}
		slices.SortFunc(files, func(a, b file) int { return len(b.want) - len(a.want) })
		var wg sync.WaitGroup
		for seed := range int64(4) {
			wg.Go(func() {
				rnd := rand.New(rand.NewSource(seed))
				for range 60 {
					f := files[min(int(rnd.ExpFloat64()*6), len(files)-1)]
					off, p := rnd.Intn(len(f.want)+1), make([]byte, rnd.Intn(60000))
					n, err := f.content.ReadAt(p, int64(off))
					want := f.want[off:min(len(f.want), off+len(p))]
					if !bytes.Equal(p[:n], want) {
						t.Errorf("%s: %s: %d bytes at %d are wrong", name, f.name, len(p), off)
					}
					if n < len(p) && err != io.EOF || n == len(p) && err != nil && err != io.EOF {
						t.Errorf("%s: %s: %d of %d bytes at %d of %d: %v", name, f.name, n, len(p), off, len(f.want), err)
					}
					start, end, err := f.content.NextData(int64(off))
					if err == io.EOF {
						start = int64(len(f.want))
					} else if err != nil || start < int64(off) || end <= start || end > int64(len(f.want)) {
						t.Errorf("%s: %s: NextData(%d) = %d, %d, %v", name, f.name, off, start, end, err)
						continue
					}
					if !tree.IsZero(f.want[min(off, len(f.want)):start]) {
						t.Errorf("%s: %s: no hole from %d to %d", name, f.name, off, start)
					}
				}
			})
		}
		wg.Wait()
	}
}

// A file with holes in chunks tells them.
func TestHoles(t *testing.T) {
	r := openBytes(t, fixture(t, "chunk-64k-193"))
	n, err := rootOf(t, r).Lookup("sparse")
	systest.Must(t, err)
	c, err := n.Open()
	systest.Must(t, err)
	// Chunks of 64 KiB: the data at 40960 is in the first, and the second is a hole.
	if start, end, err := c.NextData(0); start != 0 || end != 64<<10 || err != nil {
		t.Errorf("%d, %d, %v", start, end, err)
	}
	if _, _, err := c.NextData(64 << 10); err != io.EOF {
		t.Error(err)
	}
	if _, _, err := c.NextData(-1); err == nil {
		t.Error("a negative offset")
	}
	if n, err := c.ReadAt(make([]byte, 10), c.Size()); n != 0 || err != io.EOF {
		t.Errorf("behind the end: %d, %v", n, err)
	}
}

// The extents of a compressed file follow each other from its beginning to its end,
// and the images among them have each form.
func TestExtents(t *testing.T) {
	forms := map[form]int{}
	inline, partial := 0, 0
	for name := range fixtures {
		r := openBytes(t, fixture(t, name))
		for p, n := range regularFiles(t, rootOf(t, r)) {
			c, err := n.Open()
			systest.Must(t, err)
			f, ok := c.(*content).pieces.(*compressed)
			if !ok {
				continue
			}
			want, err := tree.ReadAll(n, 1<<30)
			systest.Must(t, err)
			for off := int64(0); off < n.Size; {
				e, err := f.at(off)
				systest.Must(t, err)
				if e.start != off || e.end <= off || e.end > n.Size {
					t.Fatalf("%s: %s: at %d: %+v", name, p, off, e)
				}
				// What is stored decodes, however the content is read.
				got := make([]byte, e.len())
				systest.Must(t, r.readExtent(got, e, 0))
				if !bytes.Equal(got, want[e.start:e.end]) {
					t.Errorf("%s: %s: extent at %d differs", name, p, off)
				}
				// Every byte of it leads to it.
				for _, at := range []int64{e.start + e.len()/2, e.end - 1} {
					if other, err := f.m.find(at); err != nil || other != *e {
						t.Errorf("%s: %s: at %d: %+v, %v, and at %d %+v", name, p, at, other, err, off, e)
					}
				}
				forms[e.form]++
				if e.inline {
					inline++
				}
				if e.partial {
					partial++
				}
				off = e.end
			}
		}
	}
	for f, what := range map[form]string{formStream: "compressed", formPlain: "plain", formInterlaced: "interlaced",
		formFragment: "fragment"} {
		if forms[f] == 0 {
			t.Errorf("no extent is %s", what)
		}
	}
	if inline == 0 || partial == 0 {
		t.Errorf("%d extents are beside their index, %d partial references", inline, partial)
	}
}

// The tree is a file system as Go's own tests want them.
func TestFS(t *testing.T) {
	for _, name := range []string{"plain-193", "lzma-fedora-193"} {
		// Elsewhere there are devices, which are not to be read.
		usr, err := rootOf(t, openBytes(t, fixture(t, name))).Lookup("usr")
		systest.Must(t, err)
		if err := fstest.TestFS(tree.FS(usr), "bin/tool", "lib/noise.bin", "share/doc/same-tail-1"); err != nil {
			t.Error(err)
		}
	}
}

// Look-ups find what a listing has, and nothing else.
func TestLookup(t *testing.T) {
	for name := range fixtures {
		root := rootOf(t, openBytes(t, fixture(t, name)))
		systest.Must(t, tree.Walk(t.Context(), root, func(path string, n *tree.Node) error {
			kids, err := n.Children()
			if err != nil {
				return err
			}
			for _, k := range kids {
				for _, variant := range []string{k.Name, k.Name + "x", k.Name[:len(k.Name)-1]} {
					got, err := n.Child(variant)
					if want := tree.Find(kids, variant); err != nil || (got == nil) != (want == nil) ||
						got != nil && (got.Name != want.Name || got.Inode != want.Inode) {
						t.Errorf("%s: %s: %q: %v, %v", name, path, variant, got, err)
					}
				}
			}
			for _, none := range []string{"", ".", "..", "\x01", "\xff\xff"} {
				if got, err := n.Child(none); n.Dir != nil && (got != nil || err != nil) {
					t.Errorf("%s: %s: %q: %v, %v", name, path, none, got, err)
				}
			}
			return nil
		}))
	}
}

// Packs of both lengths tell the same as the entries that they are made of.
func TestPacks(t *testing.T) {
	x := &index{bits: 12, compact: true, base: 1000, four: 6, two: 32, total: 6 + 32 + 5}
	at := int64(1000)
	for lcn := range x.total {
		pos, i, end := x.pack(lcn)
		unit, n := int64(4), int64(2)
		if lcn >= 6 && lcn < 38 {
			unit, n = 2, 16
		}
		if pos > at || end <= at || end-pos != map[int64]int64{2: 8, 16: 32}[n] || int64(i) != (at-pos)/unit {
			t.Errorf("lcluster %d: %d, %d, %d, where it is at %d", lcn, pos, i, end, at)
		}
		at += unit
	}
	// Blocks of the heads of a pack with big pclusters: one of 3, one of 1, one that
	// began before.
	ents := []lcluster{
		{typ: ondisk.NonHead, counts: true, blocks: 3}, {typ: ondisk.NonHead, back: 2}, {typ: ondisk.Head1},
		{typ: ondisk.Head1}, {typ: ondisk.NonHead, counts: true, blocks: 2}, {typ: ondisk.Plain},
	}
	(&index{advise: ondisk.AdviseBig1 | ondisk.AdviseBig2}).countBlocks(ents, 100)
	if ents[2].block != 103 || ents[3].block != 104 || ents[5].block != 106 {
		t.Errorf("%+v", ents)
	}
	ents = []lcluster{{typ: ondisk.NonHead, back: 2}, {typ: ondisk.Head1}, {typ: ondisk.NonHead, back: 1}, {typ: ondisk.Plain}}
	(&index{}).countBlocks(ents, 100)
	if ents[1].block != 101 || ents[3].block != 102 {
		t.Errorf("%+v", ents)
	}
}
