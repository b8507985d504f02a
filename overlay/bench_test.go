package overlay

import (
	"fmt"
	"testing"

	"relive/tree"
)

// BenchmarkChildren lists a directory of 5,000 files of which the upper layer
// changes 50.
func BenchmarkChildren(b *testing.B) {
	var base, upper []*tree.Node
	for i := range 5000 {
		base = append(base, tree.NewFile(fmt.Sprintf("file-%05d", i), 0o644, []byte("x")))
		if i%100 == 0 {
			n := tree.NewFile(fmt.Sprintf("file-%05d", i), 0o644, []byte("y"))
			n.Xattrs = tree.Xattrs{{Name: "trusted.overlay.origin"}}
			upper = append(upper, n)
		}
	}
	m, err := Merge([]Layer{{Root: tree.NewDir("", 0o755, upper...)}, {Root: tree.NewDir("", 0o755, base...)}})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := m.Root().Children(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkDifference makes the layer between a base of 200,000 files in 1,000
// directories and its union with an upper layer that changes one file in each of
// ten: with directories trusted by their inode, and with all of them walked.
func BenchmarkDifference(b *testing.B) {
	source, number := new(int), uint64(0)
	own := func(n *tree.Node) *tree.Node {
		number++
		n.Inode = tree.Inode{Source: source, Number: number}
		return n
	}
	var dirs, changed []*tree.Node
	for i := range 1000 {
		var files []*tree.Node
		for j := range 200 {
			files = append(files, own(tree.NewFile(fmt.Sprintf("file-%05d", j), 0o644, []byte("x"))))
		}
		name := fmt.Sprintf("dir-%04d", i)
		dirs = append(dirs, own(tree.NewDir(name, 0o755, files...)))
		if i%100 == 0 {
			changed = append(changed, tree.NewDir(name, 0o755, tree.NewFile("file-00007", 0o644, []byte("y"))))
		}
	}
	base := own(tree.NewDir("", 0o755, dirs...))
	m, err := Merge([]Layer{{Root: tree.NewDir("", 0o755, changed...)}, {Root: base}}, KeepEscaped())
	if err != nil {
		b.Fatal(err)
	}
	for _, trust := range []bool{true, false} {
		b.Run(fmt.Sprintf("trust=%v", trust), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				u, err := Difference(b.Context(), base, m.Root(), DifferenceOptions{Escaped: true, TrustInode: trust})
				if err != nil {
					b.Fatal(err)
				}
				if kids, err := u.Children(); err != nil || len(kids) != 10 {
					b.Fatal(len(kids), err)
				}
			}
		})
	}
}
