package independent

import (
	"io/fs"
	"os"
	"strings"
	"testing"

	diskfs "github.com/diskfs/go-diskfs/filesystem/squashfs"

	"relive/codec"
	"relive/squash"
	"relive/tree/systest"
)

// TestSquashfs: go-diskfs reads what squash writes.
func TestSquashfs(t *testing.T) {
	lib, err := codec.Open(codec.Go)
	systest.Must(t, err)
	root := withLinks()
	for _, c := range []struct {
		name  string
		codec codec.ID
		block int
		flags uint16
	}{
		{"gzip", codec.Gzip, 128 << 10, squash.FlagDuplicates | squash.FlagExportable},
		{"gzip of small blocks without fragments", codec.Gzip, 4 << 10, squash.FlagNoFragments},
		{"xz", codec.XZ, 128 << 10, squash.FlagDuplicates},
		{"zstd", codec.Zstd, 128 << 10, squash.FlagDuplicates},
		{"lz4", codec.LZ4, 128 << 10, squash.FlagDuplicates},
		{"uncompressed", codec.Gzip, 128 << 10,
			squash.FlagUncompressedData | squash.FlagUncompressedFragments | squash.FlagUncompressedInodes | squash.FlagUncompressedIDs},
	} {
		t.Run(c.name, func(t *testing.T) {
			plan, err := squash.NewPlan(t.Context(), root, squash.WriteOptions{Library: lib, Codec: codec.DefaultOptions(c.codec, c.block),
				BlockSize: c.block, Flags: c.flags, MkfsTime: uint32(stamp.Sec)})
			systest.Must(t, err)
			path, size := written(t, func(f *os.File) {
				_, err := plan.Write(t.Context(), f, 0)
				systest.Must(t, err)
			})
			image, err := diskfs.Read(opened(t, path), size, 0, int64(c.block))
			if c.codec == codec.LZ4 {
				// It expects LZ4's frames; squashfs has bare blocks, as the kernel
				// and unsquashfs read them.
				if err == nil || !strings.Contains(err.Error(), "unable to read root inode") {
					t.Errorf("lz4: %v", err)
				}
				return
			}
			systest.Must(t, err)
			same(t, seen(t, image, ".", inPieces, func(info fs.FileInfo) string {
				target, err := info.(interface{ Readlink() (string, error) }).Readlink()
				systest.Must(t, err)
				return target
			}), wanted(t, root), nil)
		})
	}
}
