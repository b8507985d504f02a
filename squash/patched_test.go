package squash

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"relive/codec"
	"relive/squash/internal/ondisk"
	"relive/tree"
	"relive/tree/systest"
)

// An image with a patched file reads as it should, is the same for any number of
// workers, holds the blocks that did not change as they were, and nothing is
// read but what changed.
func TestWritePatched(t *testing.T) {
	for _, id := range codecs(library(t)) {
		seeds := uint64(60)
		if id != codec.LZ4 {
			seeds = 12
		}
		t.Run(id.String(), func(t *testing.T) {
			t.Parallel()
			kinds := map[fileKind]int{}
			for seed := range seeds {
				writePatched(t, seed, id, kinds)
			}
			if kinds[mixedFile] == 0 || id == codec.LZ4 && (kinds[storedFile] == 0 || kinds[freshFile] == 0) {
				t.Errorf("kinds of files: %v", kinds)
			}
		})
	}
}

func writePatched(t *testing.T, seed uint64, id codec.ID, kinds map[fileKind]int) {
	c := randomPatchedCase(t, seed, id)
	size, bs := int64(len(c.data.now)), int64(c.o.BlockSize)
	what := fmt.Sprintf("seed %d: %d bytes over %d, blocks of %d, chunks of %d, flags %#x", seed, size, c.stored.Size, bs, c.data.chunk,
		c.o.Flags)
	var image []byte
	var plan *Plan
	for workers := 4; workers >= 1; workers-- {
		c.o.Workers = workers
		c.data.reads = nil
		got, p := writeImage(t, c.root, c.o)
		if image != nil && !bytes.Equal(got, image) {
			t.Fatalf("%s: %d workers give other bytes", what, workers)
		}
		image, plan = got, p
	}
	reads := c.data.reads
	r := openImage(t, image, c.o.Library)
	verifyClean(t, r)
	node := lookup(t, rootOf(t, r), "image")
	if !bytes.Equal(contentOf(t, node), c.data.now) {
		t.Errorf("%s: other content", what)
	}
	sameTree(t, what, c.root, rootOf(t, r))

	var f *file
	for _, g := range plan.files.all() {
		if g.more != nil && g.more.data == tree.Data(c.data) || g.kind == storedFile && g.size == size && c.data.changed != nil {
			f = g
		}
	}
	if size == 0 || f == nil {
		return
	}
	kinds[f.kind]++
	if f.kind == storedFile && len(c.data.changed) > 0 {
		t.Errorf("%s: all is copied", what)
	}
	words, from := storedWords(t, node)
	var wantRead []extent
	end := int64(len(words)) * bs
	for i, word := range words {
		off := int64(i) * bs
		n := min(bs, size-off)
		if c.kept(i) {
			was := c.stored.Start + storedLen(c.stored.Blocks[:i])
			a, b := make([]byte, ondisk.BlockStored(word)), make([]byte, ondisk.BlockStored(word))
			if word != c.stored.Blocks[i] {
				t.Errorf("%s: block %d has the word %#x, not %#x", what, i, word, c.stored.Blocks[i])
			} else if word != 0 {
				if err := errors.Join(c.base.readStored(a, was), r.readStored(b, from)); err != nil || !bytes.Equal(a, b) {
					t.Errorf("%s: block %d is stored by other bytes (%v)", what, i, err)
				}
			}
		} else {
			if zeros := tree.IsZero(c.data.now[off : off+n]); zeros != (word == 0) {
				t.Errorf("%s: block %d of zeros %v has the word %#x", what, i, zeros, word)
			}
			if start, _, err := c.data.NextData(off); err == nil && start < off+n {
				wantRead = append(wantRead, extent{src: off, len: n})
			}
		}
		from += int64(ondisk.BlockStored(word))
	}
	if end < size && !(f.keepTail && f.kind != freshFile) {
		wantRead = append(wantRead, extent{src: end, len: size - end})
	}
	if f.kind == storedFile {
		wantRead = nil
	}
	slices.SortFunc(reads, func(a, b extent) int { return int(a.src - b.src) })
	if !slices.Equal(reads, wantRead) {
		t.Errorf("%s: reads %v, not %v", what, reads, wantRead)
	}

	// It compares equal, also under another codec, and no longer where a byte
	// differs.
	var want *patchedBytes
	compare := func(n *tree.Node) bool {
		var done int64
		var mu sync.Mutex
		want = patchedOver(c, c.data.now)
		same, err := ComparePatched(t.Context(), want, n, 1+int(seed%3), func(n int64) {
			mu.Lock()
			defer mu.Unlock()
			done += n
		})
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if same && done != size {
			t.Errorf("%s: progress ends at %d", what, done)
		}
		return same
	}
	if !compare(node) {
		t.Errorf("%s: not the same", what)
	}
	for _, e := range want.reads {
		for off := e.src; off < e.src+e.len; off += bs {
			if i := int(off / bs); i < len(words) && c.kept(i) {
				t.Errorf("%s: to compare, block %d is read", what, i)
			}
		}
	}
	other := c.o
	other.Codec = quick(codec.Gzip, c.o.BlockSize)
	if id == codec.Gzip {
		other.Codec = quick(codec.LZ4, c.o.BlockSize)
	}
	foreign, p := writeImage(t, c.root, other)
	if p.Stats.MixedFiles != 0 || p.Stats.CopyBytes != 0 {
		t.Errorf("%s: blocks of another codec are copied: %+v", what, p.Stats)
	}
	if n := lookup(t, rootOf(t, openImage(t, foreign, c.o.Library)), "image"); !compare(n) {
		t.Errorf("%s: not the same under another codec", what)
	}
	none := c.o
	none.NoReuse = true
	if _, p := writeImage(t, c.root, none); p.Stats.MixedFiles != 0 || p.Stats.CopyBytes != 0 {
		t.Errorf("%s: blocks are copied against the option: %+v", what, p.Stats)
	}
	if len(c.data.changed) == 0 {
		return
	}
	for chunk := range c.data.changed {
		now := bytes.Clone(c.data.now)
		now[chunk*c.data.chunk] ^= 1
		same, err := ComparePatched(t.Context(), patchedOver(c, now), node, 2, nil)
		if same || err != nil {
			t.Errorf("%s: chunk %d changed, and is the same (%v)", what, chunk, err)
		}
	}
}

// countingImage counts how often each byte of an image is read.
type countingImage struct {
	b    []byte
	mu   sync.Mutex
	read []uint8
}

func (c *countingImage) ReadAt(p []byte, off int64) (int, error) {
	n, err := bytes.NewReader(c.b).ReadAt(p, off)
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range n {
		c.read[off+int64(i)]++
	}
	return n, err
}

// device is a Patched that reads what is below it and puts changes over that.
type device struct {
	below   tree.Data
	changes []extent // src and len; the bytes become 0xaa
}

type deviceContent struct {
	tree.Content
	d *device
}

func (d *device) Below() tree.Data { return d.below }

func (d *device) Open() (tree.Content, error) {
	c, err := d.below.Open()
	return deviceContent{c, d}, err
}

func (d *device) ChangedIn(off, n int64) bool {
	for _, e := range d.changes {
		if e.src < off+n && off < e.src+e.len {
			return true
		}
	}
	return false
}

func (c deviceContent) ReadAt(p []byte, off int64) (int, error) {
	n, err := c.Content.ReadAt(p, off)
	for _, e := range c.d.changes {
		for at := max(e.src, off); at < min(e.src+e.len, off+int64(n)); at++ {
			p[at-off] = 0xaa
		}
	}
	return n, err
}

// NextData returns the data below, since no change of the tests is in a hole.
func (c deviceContent) NextData(off int64) (int64, int64, error) { return c.Content.NextData(off) }

// Each stored byte of the base is read once: those of blocks that changed to
// decode them, the others to copy them.
func TestPatchedReadsOnce(t *testing.T) {
	const bs = 16384
	o := lz4Options(t, bs)
	rnd := rand.New(rand.NewPCG(4, 4))
	content := randomContent(rnd, 700*bs, bs) // more than one part for ComparePatched
	for i := range content {
		if i%bs == 7 {
			content[i] = 1 // no holes
		}
	}
	image, _ := writeImage(t, tree.NewDir("", 0o755, tree.NewFile("image", 0o644, content)), o)
	c := &countingImage{b: image, read: make([]uint8, len(image))}
	base, err := Open(c, int64(len(image)), "base", o.Library)
	if err != nil {
		t.Fatal(err)
	}
	defer base.Close()
	old := lookup(t, rootOf(t, base), "image")
	s, err := old.Data.(storer).storedForm()
	if err != nil {
		t.Fatal(err)
	}
	n := *old
	d := &device{below: old.Data}
	want := bytes.Clone(content)
	for range 30 {
		e := extent{src: rnd.Int64N(700*bs - 5000), len: 1 + rnd.Int64N(5000)}
		d.changes = append(d.changes, e)
		copy(want[e.src:], bytes.Repeat([]byte{0xaa}, int(e.len)))
	}
	n.Data, n.Inode = d, tree.Inode{}
	for _, o.Workers = range []int{1, 4} {
		clear(c.read)
		written, plan := writeImage(t, tree.NewDir("", 0o755, &n), o)
		for i, k := range c.read[s.Start : s.Start+storedLen(s.Blocks)] {
			if k != 1 {
				t.Fatalf("stored byte %d is read %d times", i, k)
			}
		}
		if !bytes.Equal(contentOf(t, lookup(t, rootOf(t, openImage(t, written, o.Library)), "image")), want) {
			t.Error("other content")
		}
		if st := plan.Stats; st.MixedFiles != 1 || st.CopyRanges < 20 || st.CopyBytes < int64(len(image))/2 {
			t.Errorf("%+v", st)
		}
		// Reading back, nothing that did not change is decoded, but read it is.
		clear(c.read)
		got := lookup(t, rootOf(t, openImage(t, written, o.Library)), "image")
		if same, err := ComparePatched(t.Context(), d, got, o.Workers, nil); !same || err != nil {
			t.Errorf("compares %v, %v", same, err)
		}
		for i, k := range c.read[s.Start : s.Start+storedLen(s.Blocks)] {
			if k != 1 {
				t.Fatalf("to compare, stored byte %d is read %d times", i, k)
			}
		}
	}
}

// The kernel and unsquashfs read images with a patched file, which are copied
// from and to files of the host.
func TestPatchedKernel(t *testing.T) {
	systest.NeedRoot(t, "unsquashfs")
	for i, id := range codecs(library(t)) {
		t.Run(id.String(), func(t *testing.T) {
			t.Parallel()
			bs := []int{4096, 131072, 1 << 20}[i%3]
			if id == codec.XZ {
				bs = 8192 // it is slow
			}
			flags := []uint16{FlagDuplicates, FlagAlwaysFragments}[i%2]
			rnd := rand.New(rand.NewPCG(uint64(i), 1))
			o := WriteOptions{Library: library(t), Codec: quick(id, bs), BlockSize: bs, Flags: flags}
			was := randomContent(rnd, 40*bs+bs/2+1, bs)
			path, _ := writeFile(t, tree.NewDir("", 0o755, tree.NewFile("image", 0o644, was), tree.NewFile("other", 0o644, was[:bs*3/2])),
				o)
			below := rootOf(t, openFile(t, path))
			for round := range 4 {
				d := randomPatched(rnd, lookup(t, below, "image").Data, was, bs)
				if round == 0 { // surely mixed
					d.changed[(3*int64(bs))/d.chunk], d.now = true, bytes.Clone(was)
					d.now[3*bs] ^= 0xff
				}
				n := tree.NewFile("", 0o644, d.now)
				n.Data = d
				root := apply(t, below, func(e *tree.Edits) { e.Put("image", n) })
				path, plan := writeFile(t, root, o)
				if round == 0 && plan.Stats.MixedFiles != 1 {
					t.Errorf("%+v", plan.Stats)
				}
				verifyClean(t, openFile(t, path))
				sameTree(t, "the kernel's view", root, hostTree(t, mount(t, path)))
				dir := filepath.Join(t.TempDir(), "out")
				systest.Run(t, "unsquashfs", "-q", "-n", "-p", "1", "-d", dir, path)
				sameTree(t, "unsquashfs", root, hostTree(t, dir))
				if same, err := ComparePatched(t.Context(), d, lookup(t, rootOf(t, openFile(t, path)), "image"), 2, nil); !same ||
					err != nil {
					t.Errorf("compares %v, %v", same, err)
				}
			}
		})
	}
}

// Runs of bits are what a look at each bit finds.
func TestKeepBits(t *testing.T) {
	rnd := rand.New(rand.NewPCG(8, 8))
	for range 2000 {
		n := rnd.IntN(300)
		k := newKeepBits(rnd.IntN(n + 1))
		for i := range len(k) * 64 {
			if i < n && rnd.IntN(8) > 0 != (rnd.IntN(9) == 0) {
				k.set(i)
			}
		}
		if rnd.IntN(4) == 0 {
			for i := range k {
				k[i] = ^uint64(0)
			}
			n = max(n, len(k)*64)
		}
		for i := range n {
			kept, end := k.run(i, n)
			want := i
			for want < n && k.has(want) == k.has(i) {
				want++
			}
			if kept != k.has(i) || end != want {
				t.Fatalf("run at %d of %d: %v to %d, not %v to %d", i, n, kept, end, k.has(i), want)
			}
		}
	}
}
