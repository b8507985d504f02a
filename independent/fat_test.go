package independent

import (
	"io"
	"os"
	"testing"

	"github.com/diskfs/go-diskfs/filesystem/fat12"
	"github.com/diskfs/go-diskfs/filesystem/fat16"
	"github.com/diskfs/go-diskfs/filesystem/fat32"

	"relive/remaster/stick/fat"
	"relive/tree/systest"
)

// TestFAT: go-diskfs reads the FAT images that relive makes for EFI.
func TestFAT(t *testing.T) {
	root := sample()
	for _, c := range []struct {
		kind fat.Kind
		size int64
	}{{fat.FAT12, 4 << 20}, {fat.FAT16, 32 << 20}, {fat.FAT32, 64 << 20}} {
		t.Run(string(c.kind), func(t *testing.T) {
			plan, err := fat.NewPlan(t.Context(), root, fat.BuildOptions{Label: "EFI SYSTEM", Kind: c.kind, Size: c.size})
			systest.Must(t, err)
			path, size := written(t, func(f *os.File) {
				c, err := plan.Data().Open()
				systest.Must(t, err)
				_, err = io.Copy(f, io.NewSectionReader(c, 0, c.Size()))
				systest.Must(t, err)
			})
			var image walker
			var label string
			switch c.kind {
			case fat.FAT12:
				fs, err := fat12.Read(opened(t, path), size, 0, 512)
				systest.Must(t, err)
				image, label = fs, fs.Label()
			case fat.FAT16:
				fs, err := fat16.Read(opened(t, path), size, 0, 512)
				systest.Must(t, err)
				image, label = fs, fs.Label()
			case fat.FAT32:
				fs, err := fat32.Read(opened(t, path), size, 0, 512)
				systest.Must(t, err)
				image, label = fs, fs.Label()
			}
			const empty = "sizes/file of 0 bytes"
			same(t, seen(t, image, ".", atOnce, nil), wanted(t, root), func(path string) bool { return path == empty })

			// Its faults: an empty file, which has no cluster, cannot be read, and
			// a read that begins within the last cluster goes past the file's end.
			if _, err := atOnce(image, empty, 0); err == nil {
				t.Error("an empty file can be read")
			}
			odd, err := image.Open("sizes/file of 2047 bytes")
			systest.Must(t, err)
			defer odd.Close()
			if n, err := odd.Read(make([]byte, 2037)); n != 2037 {
				t.Errorf("%d bytes, %v", n, err)
			}
			if n, err := odd.Read(make([]byte, 100)); n <= 10 {
				t.Errorf("%d bytes of the 10 that are left, %v: the reader is right now", n, err)
			}
			if label != "EFI SYSTEM" {
				t.Errorf("label %q", label)
			}
		})
	}
}
