package squash

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"testing"

	"relive/codec"
	"relive/tree"
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
	stored storedContent
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
	if c.stored, err = s.storedForm(); err != nil {
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

// patchedOver is the Patched of a case with other content.
func patchedOver(c *patchedCase, now []byte) *patchedBytes {
	return &patchedBytes{below: c.data.below, now: now, chunk: c.data.chunk, changed: c.data.changed}
}

// storedWords returns a file's block words and where its first block lies.
func storedWords(t testing.TB, n *tree.Node) (words []uint32, start int64) {
	t.Helper()
	s, err := n.Data.(storer).storedForm()
	if err != nil {
		t.Fatal(err)
	}
	return s.Blocks, s.Start
}
