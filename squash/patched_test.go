package squash

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"relive/squash/codec"
	"relive/tree"
	"relive/tree/mounttest"
)

// patchedBytes is a Patched whose content is in memory. What changed is told by
// chunks.
type patchedBytes struct {
	below   tree.Data
	now     []byte
	chunk   int64
	changed map[int64]bool // numbers of chunks
	// holes: NextData tells of chunks of zeros.
	holes bool

	mu    sync.Mutex
	reads []extent // in the order in which they came, of src and len alone
}

func (d *patchedBytes) Open() (tree.Content, error) { return d, nil }
func (d *patchedBytes) Size() int64                 { return int64(len(d.now)) }
func (d *patchedBytes) Close() error                { return nil }
func (d *patchedBytes) Below() tree.Data            { return d.below }

func (d *patchedBytes) ChangedIn(off, n int64) bool {
	for i := off / d.chunk; i*d.chunk < off+n; i++ {
		if d.changed[i] {
			return true
		}
	}
	return false
}

func (d *patchedBytes) ReadAt(p []byte, off int64) (int, error) {
	d.mu.Lock()
	d.reads = append(d.reads, extent{src: off, len: int64(len(p))})
	d.mu.Unlock()
	return bytes.NewReader(d.now).ReadAt(p, off)
}

func (d *patchedBytes) NextData(off int64) (start, end int64, err error) {
	size := int64(len(d.now))
	if !d.holes {
		return tree.WholeData(off, size)
	}
	hole := func(at int64) bool {
		first := at / d.chunk * d.chunk
		return tree.IsZero(d.now[first:min(first+d.chunk, size)])
	}
	for off < size && hole(off) {
		off = (off/d.chunk + 1) * d.chunk
	}
	if off >= size {
		return 0, 0, io.EOF
	}
	for end = off; end < size && !hole(end); {
		end = (end/d.chunk + 1) * d.chunk
	}
	return off, min(end, size), nil
}

// storedOnly offers the stored form of a Data, but fails to open.
type storedOnly struct{ storer }

func (storedOnly) Open() (tree.Content, error) { return nil, errors.New("what is below is opened") }

// randomContent is n bytes of blocks of noise, text, zeros, and of mixtures.
func randomContent(rnd *rand.Rand, n, bs int) []byte {
	b := make([]byte, n)
	for at := 0; at < n; at += bs {
		p := b[at:min(at+bs, n)]
		kind := rnd.IntN(4)
		for i := range p {
			switch kind {
			case 1:
				p[i] = byte(rnd.Uint32())
			case 2:
				p[i] = "some text "[i%10]
			}
		}
		if kind == 3 {
			p[rnd.IntN(len(p))] = 1
		}
	}
	return b
}

// randomPatched makes a random Patched over a file of the base with that
// content.
func randomPatched(rnd *rand.Rand, below tree.Data, was []byte, bs int) *patchedBytes {
	d := &patchedBytes{below: below, chunk: int64(512 << rnd.IntN(5)), changed: map[int64]bool{}, holes: rnd.IntN(2) == 0}
	size := len(was)
	switch rnd.IntN(5) {
	case 0:
		size += rnd.IntN(5 * bs)
	case 1:
		size = rnd.IntN(size + 1)
	case 2:
		size = size / bs * bs
	}
	d.now = make([]byte, size)
	if n := copy(d.now, was); n < size {
		copy(d.now[n:], randomContent(rnd, size-n, bs))
	}
	for range rnd.IntN(3) * rnd.IntN(5) {
		if size == 0 {
			break
		}
		i := rnd.Int64N((int64(size) + d.chunk - 1) / d.chunk)
		d.changed[i] = true
		p := d.now[i*d.chunk : min((i+1)*d.chunk, int64(size))]
		switch rnd.IntN(4) {
		case 0:
			clear(p)
		case 1: // told as changed, and equal
		default:
			copy(p, randomContent(rnd, len(p), len(p)))
		}
	}
	return d
}

// patchedCase is a base image with a file, and the tree with that file patched.
type patchedCase struct {
	base   *Reader
	stored Stored
	data   *patchedBytes
	root   *tree.Node
	o      WriteOptions
}

func randomPatchedCase(t testing.TB, seed uint64, id codec.ID) *patchedCase {
	t.Helper()
	rnd := rand.New(rand.NewPCG(seed, uint64(id)))
	bs := 4096 << rnd.IntN(3)
	flags := func() uint16 {
		return []uint16{0, FlagAlwaysFragments, FlagNoFragments, FlagAlwaysFragments | FlagDuplicates, FlagUncompressedData}[rnd.IntN(5)]
	}
	o := WriteOptions{Library: library(t), Codec: quick(id, bs), BlockSize: bs, Flags: flags()}
	size := rnd.IntN(30 * bs)
	switch rnd.IntN(6) {
	case 0:
		size = size / bs * bs
	case 1:
		size = 90*bs + rnd.IntN(bs) // more than a word of bits
	}
	was := randomContent(rnd, size, bs)
	tree1 := tree.NewDir("", 0o755, tree.NewFile("a", 0o644, randomContent(rnd, bs/3, bs)), tree.NewFile("image", 0o644, was),
		tree.NewFile("z", 0o644, randomContent(rnd, 3*bs+bs/4, bs)))
	image, _ := writeImage(t, tree1, o)
	c := &patchedCase{base: openImage(t, image, o.Library), o: o}
	below := rootOf(t, c.base)
	s := lookup(t, below, "image").Data.(storer)
	var err error
	if c.stored, err = s.Stored(); err != nil {
		t.Fatal(err)
	}
	c.data = randomPatched(rnd, storedOnly{s}, was, bs)
	c.o.Flags = flags()
	c.root = apply(t, below, func(e *tree.Edits) {
		if rnd.IntN(2) == 0 {
			e.Remove("a") // the fragment block loses a member
		}
		n := tree.NewFile("", 0o600, c.data.now)
		n.Data, n.Was = c.data, c.data.below // what was need not be asked
		e.Put("image", n)
	})
	return c
}

// kept tells by the rule whether block i is copied.
func (c *patchedCase) kept(i int) bool {
	bs, size := int64(c.o.BlockSize), int64(len(c.data.now))
	off := int64(i) * bs
	n := min(bs, size-off)
	return i < len(c.stored.Blocks) && n == min(bs, c.stored.Size-off) && !c.data.ChangedIn(off, n)
}

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
	what := fmt.Sprintf("seed %d: %d bytes over %d, blocks of %d, chunks of %d, flags %#x", seed, size, c.stored.Size, bs, c.data.chunk, c.o.Flags)
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
			a, b := make([]byte, BlockStored(word)), make([]byte, BlockStored(word))
			if word != c.stored.Blocks[i] {
				t.Errorf("%s: block %d has the word %#x, not %#x", what, i, word, c.stored.Blocks[i])
			} else if word != 0 {
				if err := errors.Join(c.base.ReadStored(a, was), r.ReadStored(b, from)); err != nil || !bytes.Equal(a, b) {
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
		from += int64(BlockStored(word))
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

// patchedOver is the Patched of a case with other content.
func patchedOver(c *patchedCase, now []byte) *patchedBytes {
	return &patchedBytes{below: c.data.below, now: now, chunk: c.data.chunk, changed: c.data.changed}
}

// storedWords gives a file's block words and where its first block lies.
func storedWords(t testing.TB, n *tree.Node) (words []uint32, start int64) {
	t.Helper()
	s, err := n.Data.(storer).Stored()
	if err != nil {
		t.Fatal(err)
	}
	return s.Blocks, s.Start
}

// Damage of a copied block in the new image shows, whatever it decodes to.
func TestComparePatchedDamage(t *testing.T) {
	found := 0
	for seed := uint64(0); found < 30; seed++ {
		c := randomPatchedCase(t, seed, codec.LZ4)
		image, _ := writeImage(t, c.root, c.o)
		node := lookup(t, rootOf(t, openImage(t, image, c.o.Library)), "image")
		if node.Size == 0 {
			continue
		}
		words, at := storedWords(t, node)
		for i, word := range words {
			if word != 0 {
				found++
				broken := bytes.Clone(image)
				broken[at+int64(BlockStored(word)/2)] ^= 4
				n := lookup(t, rootOf(t, openImage(t, broken, c.o.Library)), "image")
				want := patchedOver(c, c.data.now)
				want.below = storedOnly{want.below.(storer)}
				same, err := ComparePatched(t.Context(), want, n, 2, nil)
				// A bit of a compressed block may mean nothing for its content.
				if same && !bytes.Equal(contentOf(t, n), c.data.now) {
					t.Errorf("seed %d: damage of block %d does not show (%v)", seed, i, err)
				}
			}
			at += int64(BlockStored(word))
		}
		n := *node
		n.Size++
		if same, err := ComparePatched(t.Context(), c.data, &n, 2, nil); same || err != nil {
			t.Errorf("seed %d: another size is the same (%v)", seed, err)
		}
	}
	// The last block of the old content where longer content goes on.
	old, _ := oneFile(t, bytes.Repeat([]byte("text "), 1500), FlagNoFragments)
	longer := *old.Data.(*fileData)
	longer.size += 100
	n := *old
	n.Size, n.Data = longer.size, &longer
	want := &patchedBytes{below: old.Data, now: bytes.Repeat([]byte("text "), 1520), chunk: 512, changed: map[int64]bool{}}
	if same, err := ComparePatched(t.Context(), want, &n, 1, nil); same || err == nil {
		t.Errorf("a block that is too short is the same (%v)", err)
	}

	c := randomPatchedCase(t, 1, codec.LZ4)
	image, _ := writeImage(t, c.root, c.o)
	node := lookup(t, rootOf(t, openImage(t, image, c.o.Library)), "image")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errFault)
	if same, err := ComparePatched(ctx, c.data, node, 2, nil); same || !errors.Is(err, errFault) {
		t.Errorf("a context that has ended: %v, %v", same, err)
	}
	w := &watch{t: t, fail: 2}
	if same, err := ComparePatched(t.Context(), watchedPatched{watched{c.data, w}, c.data}, node, 2, nil); w.calls.Load() > 1 && (same || !errors.Is(err, errFault)) {
		t.Errorf("content that cannot be read: %v, %v", same, err)
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

// NextData gives the data below, since no change of the tests is in a hole.
func (c deviceContent) NextData(off int64) (int64, int64, error) { return c.Content.NextData(off) }

// Each stored byte of the base is read once: those of blocks that changed to
// decode them, the others to copy them.
func TestPatchedReadsOnce(t *testing.T) {
	const bs = 16384
	o := lz4Options(t, bs)
	rnd := rand.New(rand.NewPCG(4, 4))
	content := randomContent(rnd, 200*bs, bs)
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
	s, err := old.Data.(storer).Stored()
	if err != nil {
		t.Fatal(err)
	}
	n := *old
	d := &device{below: old.Data}
	want := bytes.Clone(content)
	for range 30 {
		e := extent{src: rnd.Int64N(200*bs - 5000), len: 1 + rnd.Int64N(5000)}
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
	requireRoot(t)
	requireTool(t, "unsquashfs")
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
			path, _ := writeFile(t, tree.NewDir("", 0o755, tree.NewFile("image", 0o644, was), tree.NewFile("other", 0o644, was[:bs*3/2])), o)
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
				run(t, "unsquashfs", "-q", "-n", "-p", "1", "-d", dir, path)
				sameTree(t, "unsquashfs", root, hostTree(t, dir))
				if same, err := ComparePatched(t.Context(), d, lookup(t, rootOf(t, openFile(t, path)), "image"), 2, nil); !same || err != nil {
					t.Errorf("compares %v, %v", same, err)
				}
			}
		})
	}
}

// noisyBase makes an image in dir of one file of noise, with every 32nd block
// changed in the tree that is given.
func noisyBase(t testing.TB, dir string, size int) (root *tree.Node, o WriteOptions, base *os.File) {
	t.Helper()
	o = lz4Options(t, 131072)
	b := make([]byte, size)
	fixedRand().Read(b)
	p, err := NewPlan(t.Context(), tree.NewDir("", 0o755, tree.NewFile("image", 0o644, b)), o)
	if err != nil {
		t.Fatal(err)
	}
	if base, err = os.Create(filepath.Join(dir, "base")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { base.Close() })
	rep, err := p.Write(t.Context(), base, 0)
	if err != nil {
		t.Fatal(err)
	}
	r, err := Open(base, rep.Size, "base", o.Library)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	old := lookup(t, rootOf(t, r), "image")
	d := &patchedBytes{below: old.Data, now: b, chunk: 4096, changed: map[int64]bool{}}
	for i := int64(0); i < int64(size)/4096; i += 1024 {
		d.changed[i] = true
	}
	n := *old
	n.Data, n.Inode = d, tree.Inode{}
	return tree.NewDir("", 0o755, &n), o, base
}

// A full disk, and a base that ends too early, are errors that name the file.
func TestPatchedCopyFails(t *testing.T) {
	requireRoot(t)
	dir := t.TempDir()
	if err := unix.Mount("none", dir, "tmpfs", 0, "size=24m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { mounttest.Unmount(t, dir) })
	root, o, base := noisyBase(t, dir, 16<<20)
	write := func(out io.WriterAt) error {
		p, err := NewPlan(t.Context(), root, o)
		if err != nil {
			t.Fatal(err)
		}
		inTime(t, "the writing", func() { _, err = p.Write(t.Context(), out, 0) })
		return err
	}
	out, err := os.Create(filepath.Join(dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	err = write(out)
	if !errors.Is(err, unix.ENOSPC) {
		t.Errorf("a full disk: %v", err)
	}
	if err := errors.Join(out.Close(), os.Remove(out.Name())); err != nil {
		t.Fatal(err)
	}

	if err := base.Truncate(9 << 20); err != nil {
		t.Fatal(err)
	}
	elsewhere, err := os.Create(filepath.Join(dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer elsewhere.Close()
	for _, out := range []io.WriterAt{&memory{}, elsewhere} {
		if err := write(out); !errors.Is(err, io.ErrUnexpectedEOF) || !strings.Contains(err.Error(), "image: base: ") {
			t.Errorf("a base that is cut: %v", err)
		}
	}
}

// Progress comes to its totals by what is done, not only at the end.
func TestPatchedProgress(t *testing.T) {
	root, o, _ := noisyBase(t, t.TempDir(), 24<<20)
	p, err := NewPlan(t.Context(), root, o)
	if err != nil {
		t.Fatal(err)
	}
	var told []WriteProgress
	p.OnProgress(func(w WriteProgress) { told = append(told, w) })
	if _, err := p.Write(t.Context(), &memory{}, 0); err != nil {
		t.Fatal(err)
	}
	st := p.Stats
	if st.CompressBytes != 6*131072 || st.CopyBytes < 22<<20 || st.CopyRanges < 5 {
		t.Errorf("%+v", st)
	}
	last := told[len(told)-2] // the very last is set to the totals
	missing := last.CopyTotal - last.Copied + last.CompressTotal - last.Compressed
	if last.CopyTotal != st.CopyBytes || last.CompressTotal != st.CompressBytes || len(told) < 12 || missing < 0 || missing > progressStep {
		t.Errorf("%d calls, at last %+v", len(told), last)
	}
}

// unlisted is a Data whose stored form cannot be given.
type unlisted struct {
	tree.Bytes
	err error
}

func (d unlisted) Stored() (Stored, error) { return Stored{}, d.err }

// A file whose blocks are too many to list is read; a list that is broken is an
// error.
func TestPatchedUnlisted(t *testing.T) {
	o := lz4Options(t, 4096)
	b := bytes.Repeat([]byte("text "), 3000)
	for _, err := range []error{tree.Unsupported("base", "inode 1", "too long"), tree.Corrupt("base", "inode 1", "broken")} {
		patched := &patchedBytes{below: unlisted{b, err}, now: b, chunk: 512, changed: map[int64]bool{}}
		for _, d := range []tree.Data{unlisted{b, err}, patched} {
			n := tree.NewFile("f", 0o644, b)
			n.Data = d
			root := tree.NewDir("", 0o755, n)
			p, planErr := NewPlan(t.Context(), root, o)
			if !errors.Is(err, tree.ErrUnsupported) {
				if !errors.Is(planErr, err) || !strings.HasPrefix(planErr.Error(), "/f: ") {
					t.Errorf("%T: %v", d, planErr)
				}
				continue
			}
			if planErr != nil || p.Stats.CompressBytes != n.Size {
				t.Errorf("%T: %+v, %v", d, p.Stats, planErr)
				continue
			}
			image, _ := writeImage(t, root, o)
			got := lookup(t, rootOf(t, openImage(t, image, o.Library)), "f")
			if same, err := ComparePatched(t.Context(), patched, got, 1, nil); !same || err != nil {
				t.Errorf("%T: compares %v, %v", d, same, err)
			}
		}
	}
}

// A file of as many blocks as are listed is planned, written and compared in
// seconds where it is holes and runs.
func TestPatchedHuge(t *testing.T) {
	began := time.Now()
	const size = (MaxStoredBlocks - 1) * 4096
	o := lz4Options(t, 4096)
	image, _ := writeImage(t, tree.NewDir("", 0o755, sparseFile("image", islands{size, []int64{0, 5 << 30, size - 4}, "text"})), o)
	base := openImage(t, image, o.Library)
	old := lookup(t, rootOf(t, base), "image")
	d := &patchedIslands{islands{size, []int64{0, 5 << 30, 9 << 30, size - 4}, "text"}, old.Data}
	n := *old
	n.Data, n.Inode = d, tree.Inode{}
	image, plan := writeImage(t, tree.NewDir("", 0o755, &n), o)
	if st := plan.Stats; st.CompressBytes != 4096 || st.MixedFiles != 1 || st.CopyRanges != 2 {
		t.Errorf("%+v", st)
	}
	same, err := ComparePatched(t.Context(), d, lookup(t, rootOf(t, openImage(t, image, o.Library)), "image"), 2, nil)
	if !same || err != nil {
		t.Errorf("compares %v, %v", same, err)
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("took %v", took)
	}
}

// patchedIslands has changes from 9 GiB to a little behind.
type patchedIslands struct {
	islands
	below tree.Data
}

func (d *patchedIslands) Below() tree.Data { return d.below }
func (d *patchedIslands) ChangedIn(off, n int64) bool {
	return off < 9<<30+8192 && off+n > 9<<30
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
