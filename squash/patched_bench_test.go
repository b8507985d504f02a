package squash

import (
	"encoding/binary"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"relive/codec"
	"relive/tree"
	"relive/tree/systest"
)

// madeContent is content that is made as it is read, in pieces of 64 KiB:
// holes, text, machine words, noise.
type madeContent struct{ size int64 }

const madePiece = 64 << 10

func (c madeContent) Open() (tree.Content, error) { return c, nil }
func (c madeContent) Size() int64                 { return c.size }
func (c madeContent) Close() error                { return nil }

func (c madeContent) kind(piece int64) uint64 {
	return rand.New(rand.NewPCG(uint64(piece/4), 9)).Uint64N(10) // of 256 KiB together
}

func (c madeContent) hole(piece int64) bool { return c.kind(piece) < 4 }

func (c madeContent) ReadAt(p []byte, off int64) (int, error) {
	if off >= c.size {
		return 0, io.EOF
	}
	n := 0
	var b [madePiece]byte
	for n < len(p) && off < c.size {
		piece := off / madePiece
		c.fill(b[:], piece)
		k := copy(p[n:], b[off%madePiece:])
		k = int(min(int64(k), c.size-off))
		n, off = n+k, off+int64(k)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (c madeContent) fill(b []byte, piece int64) {
	rnd := rand.New(rand.NewPCG(uint64(piece), 10))
	switch kind := c.kind(piece); {
	case kind < 4:
		clear(b)
	case kind < 6: // text
		words := []string{"the ", "image ", "block ", "of ", "changes ", "kernel ", "0x%08x ", "return ", "\n\t", "= "}
		for n := 0; n < len(b); {
			n += copy(b[n:], words[rnd.IntN(len(words))])
		}
	case kind < 9: // machine words, of which some bits vary
		for n := 0; n < len(b); n += 8 {
			binary.LittleEndian.PutUint64(b[n:], 0x48000089_e8000000|rnd.Uint64()&0x003f00ff_0007ffff)
		}
	default:
		for n := 0; n < len(b); n += 8 {
			binary.LittleEndian.PutUint64(b[n:], rnd.Uint64())
		}
	}
}

func (c madeContent) NextData(off int64) (start, end int64, err error) {
	for off < c.size && c.hole(off/madePiece) {
		off = (off/madePiece + 1) * madePiece
	}
	if off >= c.size {
		return 0, 0, io.EOF
	}
	for end = off; end < c.size && !c.hole(end/madePiece); {
		end = (end/madePiece + 1) * madePiece
	}
	return off, min(end, c.size), nil
}

// snapshot is a Patched with other data in some chunks of 4 KiB.
type snapshot struct {
	below   tree.Data
	changed map[int64]bool
	size    int64
}

func (d *snapshot) Below() tree.Data { return d.below }

func (d *snapshot) ChangedIn(off, n int64) bool {
	for i := off / 4096; i*4096 < off+n; i++ {
		if d.changed[i] {
			return true
		}
	}
	return false
}

func (d *snapshot) Open() (tree.Content, error) {
	c, err := d.below.Open()
	return snapshotContent{c, d}, err
}

type snapshotContent struct {
	tree.Content
	d *snapshot
}

func (c snapshotContent) ReadAt(p []byte, off int64) (int, error) {
	n, err := c.Content.ReadAt(p, off)
	for i := off / 4096; i*4096 < off+int64(n); i++ {
		if c.d.changed[i] {
			for at := max(i*4096, off); at < min((i+1)*4096, off+int64(n)); at++ {
				p[at-off] = byte(i*7 + at%61)
			}
		}
	}
	return n, err
}

func (c snapshotContent) NextData(off int64) (start, end int64, err error) {
	start, end, err = c.Content.NextData(off)
	for i := off / 4096; i*4096 < c.d.size && (err == io.EOF || i*4096 < start); i++ {
		if c.d.changed[i] {
			return max(i*4096, off), (i + 1) * 4096, nil
		}
	}
	return start, end, err
}

// An image file system of 2 GiB in a SquashFS, of which 5 % of the blocks
// changed: in rows of 32 blocks, and each alone by 4 KiB. cp of the base is what
// could hardly be beaten without sharing blocks.
func BenchmarkPatched(b *testing.B) {
	const size, bs = 2 << 30, 131072
	o := WriteOptions{Library: library(b), Codec: codec.DefaultOptions(codec.Zstd, bs), BlockSize: bs,
		Flags: FlagDuplicates | FlagExportable}
	o.Codec.Level = 3
	n := tree.NewFile("image", 0o644, nil)
	n.Size, n.Data = size, madeContent{size}
	path, _ := writeFile(b, tree.NewDir("", 0o755, n), o)
	base := openFile(b, path)
	old := lookup(b, rootOf(b, base), "image")
	dir := b.TempDir()

	b.Run("cp", func(b *testing.B) {
		b.SetBytes(int64(base.super.BytesUsed))
		for b.Loop() {
			systest.Run(b, "cp", "--sparse=never", path, filepath.Join(dir, "cp"))
		}
	})
	for _, c := range []struct {
		name    string
		touched func(chunk int64) bool
	}{
		{"rows", func(chunk int64) bool { return chunk/(32*32)%20 == 3 }},
		{"scattered", func(chunk int64) bool { return chunk%(32*20) == 77 }},
	} {
		d := &snapshot{below: old.Data, changed: map[int64]bool{}, size: size}
		for i := int64(0); i < size/4096; i++ {
			if c.touched(i) {
				d.changed[i] = true
			}
		}
		n := *old
		n.Data, n.Inode = d, tree.Inode{}
		root := tree.NewDir("", 0o755, &n)
		out := filepath.Join(dir, c.name)
		b.Run(c.name+"/write", func(b *testing.B) {
			b.SetBytes(int64(base.super.BytesUsed))
			for b.Loop() {
				p, err := NewPlan(b.Context(), root, o)
				if err != nil {
					b.Fatal(err)
				}
				f, err := os.Create(out)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := p.Write(b.Context(), f, 0); err != nil {
					b.Fatal(err)
				}
				f.Close()
				b.ReportMetric(float64(p.Stats.CompressBytes)/1e6, "MB-compressed")
			}
		})
		b.Run(c.name+"/compare", func(b *testing.B) {
			got := lookup(b, rootOf(b, openFile(b, out)), "image")
			b.SetBytes(int64(base.super.BytesUsed))
			for b.Loop() {
				if same, err := ComparePatched(b.Context(), d, got, 0, nil); !same || err != nil {
					b.Fatal(same, err)
				}
			}
		})
	}
}
