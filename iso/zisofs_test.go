package iso

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"relive/tree"
	"relive/tree/systest"
)

// Files that xorriso compresses, in both versions of zisofs, read as they were.
func TestZisofs(t *testing.T) {
	t.Parallel()
	systest.NeedRoot(t, "xorriso")
	rng := rand.New(rand.NewPCG(9, 9))
	dir := systest.MemDir(t)
	for name, size := range map[string]int{"a": 100000, "b": 1 << 15, "c": 1<<17 + 1, "d": 700000, "e": 40000} {
		b := make([]byte, size)
		for i := range b {
			if i/50000%2 == 0 {
				b[i] = byte(rng.IntN(5)) + 'a'
			}
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for name, option := range map[string]string{
		"v1":       "block_size=32k:version_2=off",
		"v1 large": "block_size=128k:version_2=off",
		"v2":       "block_size_v2=128k:version_2=on",
		"v2 large": "block_size_v2=1m:version_2=on",
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(systest.MemDir(t), "image.iso")
			systest.Run(t, "xorriso", "-zisofs", option, "-outdev", "stdio:"+path, "-map", dir, "/", "-set_filter_r", "--zisofs", "/", "--")
			root := rootOf(t, openFile(t, path))
			want := *hostTree(t, dir)
			want.Mtime, want.Perm = root.Mtime, root.Perm
			sameTree(t, &want, root, 0)
			packed := 0
			kids, err := root.Children()
			if err != nil {
				t.Fatal(err)
			}
			for _, n := range kids {
				if z := n.Data.(*file).zisofs; z != nil {
					packed++
				}
				readPieces(t, rng, n)
			}
			if packed < 4 {
				t.Errorf("%d compressed files", packed)
			}
		})
	}
}

// readPieces reads a file at random offsets, which must give what reading from
// front to end gives.
func readPieces(t *testing.T, rng *rand.Rand, n *tree.Node) {
	t.Helper()
	whole, err := tree.ReadAll(n, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	c, err := n.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for range 50 {
		at := rng.Int64N(n.Size)
		p := make([]byte, rng.Int64N(n.Size-at+1))
		if err := tree.ReadFull(c, p, at); err != nil || !bytes.Equal(p, whole[at:at+int64(len(p))]) {
			t.Fatalf("%s: %d bytes at %d: %v", n.Name, len(p), at, err)
		}
	}
}
