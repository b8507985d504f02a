package squash

import (
	"bytes"
	"testing"

	"relive/codec"
	"relive/tree"
)

// Same is true only of equal content, and true where nothing but the place of
// the blocks differs.
func TestStoredComparer(t *testing.T) {
	rnd := fixedRand()
	noise := make([]byte, 3*4096+100)
	rnd.Read(noise)
	zeros := make([]byte, 2*4096+100)
	text := bytes.Repeat([]byte("some text "), 2000)
	tail := bytes.Repeat([]byte("tail "), 20)
	files := func(change int) *tree.Node {
		at := func(b []byte, i int) []byte {
			b = bytes.Clone(b)
			b[i] ^= byte(change)
			return b
		}
		return tree.NewDir("", 0o755,
			tree.NewFile("noise", 0o644, noise), tree.NewFile("noise-block", 0o644, at(noise, 5000)),
			tree.NewFile("noise-tail", 0o644, at(noise, 3*4096+1)),
			tree.NewFile("text", 0o644, text), tree.NewFile("text-last", 0o644, at(text, len(text)-1)),
			tree.NewFile("z-zeros", 0o644, zeros), tree.NewFile("z-zeros-tail", 0o644, at(zeros, 2*4096+3)),
			tree.NewFile("tail", 0o644, tail))
	}
	write := func(root *tree.Node, o WriteOptions) *tree.Node {
		image, _ := writeImage(t, root, o)
		return rootOf(t, openImage(t, image, o.Library))
	}
	lib := library(t)
	for _, flags := range []uint16{0, FlagAlwaysFragments, FlagNoFragments} {
		o := WriteOptions{Library: lib, Codec: quick(codec.LZ4, 4096), BlockSize: 4096, Flags: flags}
		a := write(files(0), o)
		c := NewStoredComparer()
		for _, other := range []struct {
			name  string
			root  *tree.Node
			never bool // stored otherwise: Same cannot tell
		}{
			{"itself", a, false},
			{"another of the same", write(files(0), o), false},
			{"a copy behind other files", write(apply(t, a, func(e *tree.Edits) {
				b := make([]byte, 9*4096)
				rnd.Read(b)
				e.Put("0-first", tree.NewFile("", 0o644, b))
			}), o), false},
			{"one with changes", write(files(1), o), false},
			{"another codec", write(files(0), WriteOptions{Library: lib, Codec: quick(codec.Gzip, 4096), BlockSize: 4096, Flags: flags}),
				true},
			{"another block size", write(files(0), WriteOptions{Library: lib, Codec: quick(codec.LZ4, 8192), BlockSize: 8192,
				Flags: flags}), true},
			{"memory", files(0), true},
		} {
			kids, err := a.Children()
			if err != nil {
				t.Fatal(err)
			}
			for _, x := range kids {
				y := lookup(t, other.root, x.Name)
				equal := bytes.Equal(contentOf(t, x), contentOf(t, y))
				for range 2 { // also from what it remembers
					same, err := c.Same(x, y)
					if err != nil {
						t.Fatalf("%s: %s: %v", other.name, x.Name, err)
					}
					back, err := c.Same(y, x)
					if err != nil || back != same {
						t.Errorf("%s: %s: %v, the other way about %v (%v)", other.name, x.Name, same, back, err)
					}
					if same && (!equal || other.never) {
						t.Errorf("%s: %s is the same", other.name, x.Name)
					}
					// A fragment block differs as a whole, so of tails only whole images tell.
					inFragment := x.Size%4096 != 0 && flags&FlagNoFragments == 0
					if !same && equal && !other.never && (!inFragment || other.name != "one with changes") {
						t.Errorf("%s: %s is not the same", other.name, x.Name)
					}
				}
				// Neither is a file that begins alike.
				for _, z := range kids {
					if same, err := c.Same(x, z); err != nil || same != (x.Name == z.Name) && same != bytes.Equal(contentOf(t, x),
						contentOf(t, z)) {
						t.Errorf("%s and %s: %v, %v", x.Name, z.Name, same, err)
					}
				}
			}
		}
	}
}

// Compare through Same equals Compare by content.
func TestStoredComparerInCompare(t *testing.T) {
	root, o := mixedTree(t, FlagDuplicates)
	image, _ := writeImage(t, root, o)
	written := rootOf(t, openImage(t, image, o.Library))
	calls, same := 0, NewStoredComparer()
	err := tree.Compare(t.Context(), root, written, tree.CompareOptions{Links: true, WholeSeconds: true,
		SameContent: func(_ string, a, b *tree.Node) (bool, error) {
			ok, err := same.Same(a, b)
			if ok {
				calls++
				if !bytes.Equal(contentOf(t, a), contentOf(t, b)) {
					t.Errorf("%s is not the same", a.Name)
				}
			}
			return ok, err
		}}, func(c tree.Change) error {
		t.Errorf("%s: %v", c.Path, c.Diff)
		return nil
	})
	if err != nil || calls < 10 {
		t.Errorf("%d files are stored alike, %v", calls, err)
	}
}
