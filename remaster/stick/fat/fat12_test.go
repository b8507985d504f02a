package fat

import (
	"bytes"
	"testing"

	"relive/tree"
)

// TestLastCluster: the last entry of a FAT12 may end inside of a byte, for odd and
// even numbers of clusters.
func TestLastCluster(t *testing.T) {
	for _, drop := range []int64{0, 1} {
		f := newForge(t, "fat12")
		le.PutUint16(f.img[bsSectors16:], uint16(f.vol.size/512-drop))
		last := uint32(int64(f.vol.clusters) - drop + firstCluster - 1)
		e := f.entry(0, "GAP1    ")
		le.PutUint16(e[deClusterLo:], uint16(last))
		f.next(last, 0xFFF)
		fs, err := Open(bytes.NewReader(f.img), int64(len(f.img)), "image")
		if err != nil {
			t.Fatal(err)
		}
		if fs.vol.clusters != last-1 {
			t.Fatalf("%d clusters, want %d", fs.vol.clusters, last-1)
		}
		if _, err := tree.ReadAll(lookup(t, rootOf(t, fs), "gap1"), 100); err != nil {
			t.Error(err)
		}
	}
}
