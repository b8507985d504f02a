package erofs

import (
	"bytes"
	"testing"

	"relive/codec"
	"relive/tree"
)

// sameTrees compares two trees as a read back does: files that are stored by equal
// bytes are not decoded. It gives how many were, and whether anything differs.
func sameTrees(t testing.TB, want, got *tree.Node) (stored int, differs bool) {
	t.Helper()
	c := NewStoredComparer()
	asStored := func(_ string, a, b *tree.Node) (bool, error) {
		same, err := c.Same(a, b)
		if same {
			stored++
		}
		return same, err
	}
	err := tree.Compare(t.Context(), want, got, tree.CompareOptions{Links: true, SameContent: asStored}, func(tree.Change) error {
		differs = true
		return nil
	})
	return stored, differs || err != nil
}

// What is copied is compared as it is stored; a byte of it that is not as it was is
// found.
func TestSame(t *testing.T) {
	for _, set := range writeSets() {
		t.Run(set.name, func(t *testing.T) {
			t.Parallel()
			r := openBytes(t, sampleImage(t, set))
			o, err := WriteOptionsLike(r)
			if err != nil {
				t.Fatal(err)
			}
			o.AllTime, o.MaxDead = set.o.AllTime, 1
			var e tree.Edits
			e.Remove("text-3")
			e.Remove("noise-10")
			e.Put("new", tree.NewFile("", 0o644, newTreeMaker(1).mixture(70000)))
			root, err := e.Apply(rootOf(t, r))
			if err != nil {
				t.Fatal(err)
			}
			b2, p := writeImage(t, root, o)
			want := withTime(root, set.o.AllTime)
			stored, differs := sameTrees(t, want, rootOf(t, openBytes(t, b2)))
			if differs || stored < int(p.Stats.ReusedFiles)*9/10 {
				t.Errorf("%d files of %d compared as stored, differs: %v", stored, p.Stats.ReusedFiles, differs)
			}
			found, tries := 0, 20
			rnd := newTreeMaker(2).rnd
			for range tries {
				at := BlockSize + rnd.IntN(int(p.places.shared)-BlockSize+1)
				if p.places.shared == BlockSize {
					at = int(p.places.rest) + rnd.IntN(len(b2)-int(p.places.rest))
				}
				c := bytes.Clone(b2)
				c[at] ^= 1 << rnd.IntN(8)
				r2, err := Open(bytes.NewReader(c), int64(len(c)), "flipped", library(t))
				if err != nil {
					found++
					continue
				}
				root2, err := r2.Root()
				if err == nil {
					_, differs = sameTrees(t, want, root2)
				}
				if err != nil || differs {
					found++
				}
				r2.Close()
			}
			// Zeros in front of streams and behind ends of files are nobody's; package
			// written finds those.
			if found < tries/2 {
				t.Errorf("of %d flipped bits %d were found", tries, found)
			}
		})
	}
}

// A file that is another with changes is compared, too.
func TestComparePatched(t *testing.T) {
	m := newTreeMaker(8)
	content := m.mixture(10 << 20)
	o := WriteOptions{Compressions: []Compression{{Algorithm: codec.RawLZ4}}, Configs: true, PclusterSize: 65536}
	b, _ := writeImage(t, tree.NewDir("", 0o755, tree.NewFile("image", 0o644, content)), o)
	r := openBytes(t, b)
	below, err := rootOf(t, r).Child("image")
	if err != nil {
		t.Fatal(err)
	}
	p := &patched{below: below.Data, b: bytes.Clone(content)}
	for range 9 {
		at := m.rnd.IntN(len(content))
		n := copy(p.b[at:], m.mixture(1+m.rnd.IntN(9000)))
		p.changed = append(p.changed, [2]int64{int64(at), int64(at + n)})
	}
	n := tree.NewFile("image", 0o644, p.b)
	n.Data = p
	b2, plan := writeImage(t, tree.NewDir("", 0o755, n), o)
	if plan.Stats.MixedFiles != 1 || plan.Stats.CompressBytes > 5<<20 {
		t.Errorf("%+v", plan.Stats)
	}
	got, err := rootOf(t, openBytes(t, b2)).Child("image")
	if err != nil {
		t.Fatal(err)
	}
	var done int64
	if same, err := ComparePatched(t.Context(), p, got, 1, func(n int64) { done += n }); !same || err != nil || done != got.Size {
		t.Errorf("%v, %v after %d bytes", same, err, done)
	}
	for i, at := range []int{0, 5 << 20, len(p.b) - 1, int(p.changed[0][0])} {
		was := p.b[at]
		p.b[at] ^= 1
		p.changed = append(p.changed, [2]int64{int64(at), int64(at + 1)})
		if same, err := ComparePatched(t.Context(), p, got, 2, nil); same || err != nil {
			t.Errorf("change %d: %v, %v", i, same, err)
		}
		p.b[at], p.changed = was, p.changed[:len(p.changed)-1]
	}
	found := 0
	for range 20 {
		c := bytes.Clone(b2)
		at := BlockSize + m.rnd.IntN(int(plan.places.shared)-BlockSize)
		c[at] ^= 4
		r, err := Open(bytes.NewReader(c), int64(len(c)), "flipped", library(t))
		if err != nil {
			t.Fatal(err)
		}
		got, err := rootOf(t, r).Child("image")
		if err != nil {
			t.Fatal(err)
		}
		if same, err := ComparePatched(t.Context(), p, got, 2, nil); !same || err != nil {
			found++
		}
	}
	if found < 15 { // others are zeros in front of a stream, which nothing reads
		t.Errorf("of 20 flipped bytes %d were found", found)
	}
}
