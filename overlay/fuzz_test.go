package overlay

import (
	"errors"
	"fmt"
	"testing"

	"relive/tree"
)

// grow makes trees of a fuzzer's bytes: every byte decides one thing, and when
// they end, so does the tree.
type grow struct {
	b []byte
	n uint64
}

func (g *grow) next(n int) int {
	if len(g.b) == 0 {
		return 0
	}
	v := int(g.b[0]) % n
	g.b = g.b[1:]
	return v
}

var (
	growNames  = []string{"a", "b", "c", ".wh.a", ".wh..wh..opq", ".wh.", ".wh..opq", ".wh..wh.plnk", "\xff\n"}
	growValues = []string{"", "y", "x", "a", "b", "/a", "/b/a", "/a/b/c", "..", "/..", "a/b", "/", "\x00", "/c\x00", "\x00\x04\x00\x00",
		"\x00\x00", "U+1", "L-9", fileHandle(3, 0)}
	growMarks = []string{"opaque", "redirect", "metacopy", "whiteout", "origin", "nlink", "overlay.opaque", "overlay.", "impure"}
)

func (g *grow) node(name string, source any, depth int) *tree.Node {
	g.n++
	n := &tree.Node{Name: name, Nlink: uint32(g.next(3)), Inode: tree.Inode{Source: source, Number: g.n % 7}}
	n.Type = [...]tree.Type{tree.Directory, tree.Directory, tree.Regular, tree.CharDevice, tree.Regular, tree.Symlink}[g.next(6)]
	for range g.next(3) {
		ns := [...]string{"trusted.overlay.", "trusted.overlay.", "user.overlay.", "user."}[g.next(4)]
		n.Xattrs = append(n.Xattrs, tree.Xattr{Name: ns + growMarks[g.next(len(growMarks))], Value: growValues[g.next(len(growValues))]})
	}
	tree.SortXattrs(n.Xattrs)
	switch n.Type {
	case tree.Regular:
		n.Size = int64(g.next(2))
		n.Data = tree.Bytes(make([]byte, n.Size))
	case tree.Directory:
		n.Dir = tree.List(g.kids(source, depth))
	}
	return n
}

func (g *grow) kids(source any, depth int) []*tree.Node {
	var out []*tree.Node
	if depth > 6 {
		return nil
	}
	for _, name := range growNames {
		if len(g.b) > 0 && g.next(2) == 1 {
			out = append(out, g.node(name, source, depth+1))
		}
	}
	tree.Sort(out)
	return out
}

// FuzzMerge: whatever layers say, reading their union ends, in order, without a
// mark left over, or in an error of a kind.
func FuzzMerge(f *testing.F) {
	f.Add([]byte{})
	for i := range 20 {
		b := make([]byte, 40+40*i)
		for j := range b {
			b[j] = byte((i+3)*j*j + 7*j + i)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		g := &grow{b: b}
		var in []Layer
		for i := range 2 + g.next(3) {
			source := new(int)
			if i > 1 {
				source = in[1].Root.Inode.Source.(*int)
			}
			root := g.node("", source, 0)
			root.Type, root.Data, root.Size = tree.Directory, nil, 0
			root.Dir = tree.List(g.kids(source, 0))
			l := Layer{Root: root, Form: Form(g.next(5) / 4), Namespace: Namespace(g.next(3))}
			if i == 0 && g.next(3) == 1 {
				index := g.node(indexName(fileHandle(uint32(g.next(7)), 0)), source, 7)
				l.Index = tree.NewDir("index", 0o700, index)
			}
			in = append(in, l)
		}
		var opts []Option
		if g.next(2) == 1 {
			opts = append(opts, CleanBase())
		}
		m, err := Merge(in, opts...)
		if err == nil {
			_, err = m.Report()
			budget := 100000
			if e := visit(m.Root(), len(opts) > 0, &budget); err == nil {
				err = e
			} else if e == nil {
				t.Errorf("the report fails, and reading does not: %v", err)
			}
		}
		if err != nil && !errors.Is(err, tree.ErrCorrupt) && !errors.Is(err, tree.ErrUnsupported) {
			t.Fatalf("error %v is of no kind", err)
		}
	})
}

func visit(n *tree.Node, clean bool, budget *int) error {
	if *budget--; *budget < 0 {
		return fmt.Errorf("no end: %w", tree.ErrUnsupported)
	}
	kids, err := n.Children()
	if err != nil {
		return err
	}
	last := ""
	for _, k := range kids {
		if k.Name <= last {
			return fmt.Errorf("%q follows %q", k.Name, last)
		}
		last = k.Name
		l, err := n.Child(k.Name)
		if err != nil || l == nil || l.Inode != k.Inode || l.Type != k.Type {
			return fmt.Errorf("%q is listed and looked up as %v, %w", k.Name, l, err)
		}
		if err := visit(k, clean, budget); err != nil {
			return err
		}
	}
	return nil
}
