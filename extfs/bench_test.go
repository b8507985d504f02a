package extfs

import (
	"os"
	"testing"

	"relive/tree"
)

// BenchmarkWalk walks a whole image, with metadata and attributes.
func BenchmarkWalk(b *testing.B) {
	img := fixture(b, "ext4-4k-plain")
	for b.Loop() {
		fs := openBytes(b, img)
		err := tree.Walk(b.Context(), rootOf(b, fs), func(string, *tree.Node) error { return nil })
		if err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkImage walks and reads the image that EXTFS_IMAGE names.
func BenchmarkImage(b *testing.B) {
	path := os.Getenv("EXTFS_IMAGE")
	if path == "" {
		b.Skip("EXTFS_IMAGE names no image")
	}
	buf := make([]byte, 1<<20)
	for _, read := range []bool{false, true} {
		name := "walk"
		if read {
			name = "read"
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				fs := openImage(b, path)
				var nodes, bytes int64
				err := tree.Walk(b.Context(), rootOf(b, fs), func(_ string, n *tree.Node) error {
					nodes++
					if !read || n.Type != tree.Regular {
						return nil
					}
					c, err := n.Open()
					if err != nil {
						return err
					}
					defer c.Close()
					for off := int64(0); off < n.Size; off += int64(len(buf)) {
						p := buf[:min(int64(len(buf)), n.Size-off)]
						if err := tree.ReadFull(c, p, off); err != nil {
							return err
						}
						bytes += int64(len(p))
					}
					return nil
				})
				if err != nil {
					b.Fatal(err)
				}
				b.SetBytes(bytes)
				b.ReportMetric(float64(nodes), "nodes")
			}
		})
	}
}
