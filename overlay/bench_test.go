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
