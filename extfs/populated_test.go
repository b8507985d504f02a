package extfs

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"relive/tree"
	"relive/tree/hostfs"
	"relive/tree/systest"
)

// TestPopulated has mke2fs copy a directory into file systems that this kernel
// may not mount, or not for writing: blocks larger than a page, and features
// that it was built without.
func TestPopulated(t *testing.T) {
	systest.NeedRoot(t, "mke2fs", "debugfs", "e2fsck")
	source := filepath.Join(systest.MemDir(t), "source")
	if err := os.Mkdir(source, 0o755); err != nil {
		t.Fatal(err)
	}
	f := filler{t: t, dir: source, bs: 4096, files: 1500, small: true, rnd: rand.New(rand.NewPCG(1, 1))}
	f.all()
	// What mke2fs -d does not take.
	for _, p := range []string{"xattr/v3900", "xattr/v9000", "xattr/v65536", "links/sym20-again", "maps/sparse", "maps/unwritten",
		"maps/all-hole",
		"meta/time5", "meta/time6", "meta/time7", "meta/time8", "meta/time9", "meta/time10"} {
		f.ok(os.Remove(f.path(p)))
	}
	f.ok(os.Truncate(f.write("maps/holes", []byte("start")), 30<<20))
	f.change("maps/holes", func(o *os.File) error { _, err := o.WriteAt([]byte("end"), 30<<20); return err })
	for _, c := range []struct {
		bs       int
		mib      int
		features string
	}{
		{4096, 64, "^extent,^64bit,dir_index"},
		{4096, 64, "quota,project,verity"},
		{8192, 96, "64bit"},
		{8192, 96, "^extent,^64bit,^metadata_csum"},
		{16384, 128, "inline_data"},
		{32768, 200, "^has_journal"},
		{65536, 400, "metadata_csum_seed"},
		{65536, 400, "^metadata_csum,^64bit,^extent"},
	} {
		t.Run(fmt.Sprint(c.bs, c.features), func(t *testing.T) {
			t.Parallel()
			img := mkfs(t, c.mib, "-t", "ext4", "-b", fmt.Sprint(c.bs), "-N", "8192", "-O", c.features, "-d", source)
			fs := openImage(t, img)
			if got := fs.Info().BlockSize; got != int64(c.bs) {
				t.Errorf("block size %d", got)
			}
			want, err := hostfs.Open(source)
			if err != nil {
				t.Fatal(err)
			}
			root := rootOf(t, fs)
			err = tree.Compare(t.Context(), root, want, tree.CompareOptions{Links: true, WholeSeconds: true}, func(c tree.Change) error {
				if c.Path == "lost+found" || c.Path == "" {
					return nil
				}
				t.Errorf("%s: %s\n got %+v\nwant %+v", tree.Quote(c.Path), c.Diff, describe(c.A), describe(c.B))
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			checkFree(t, fs)
		})
	}
}

// TestFreeExtents compares with what dumpe2fs lists as free.
func TestFreeExtents(t *testing.T) {
	systest.NeedRoot(t, "mke2fs", "dumpe2fs")
	for _, args := range []string{
		"-t ext2 -b 1024 -g 8192",
		"-t ext4 -b 1024 -g 8192",
		"-t ext4 -b 1024 -g 8192 -O ^flex_bg",
		"-t ext4 -b 1024 -g 1024 -O meta_bg,^resize_inode",
		"-t ext4 -b 1024 -g 8192 -O ^metadata_csum,uninit_bg,^flex_bg",
		"-t ext4 -b 4096 -C 16384 -O bigalloc",
		"-t ext4 -b 1024 -C 8192 -O bigalloc",
		"-t ext4 -b 1024 -C 8192 -O bigalloc,meta_bg,^resize_inode",
		"-t ext4 -b 4096 -O sparse_super2,^resize_inode",
	} {
		t.Run(args, func(t *testing.T) {
			t.Parallel()
			img := mkfs(t, 100, strings.Fields(args)...)
			fs := openImage(t, img)
			var got strings.Builder
			var sum int64
			for r, err := range fs.FreeExtents() {
				if err != nil {
					t.Fatal(err)
				}
				sum += r.Count
				fmt.Fprintf(&got, "%d-%d ", r.Start, r.Start+r.Count-1)
			}
			if info := fs.Info(); info.FreeBlocks != sum {
				t.Errorf("%d free blocks, the ranges have %d", info.FreeBlocks, sum)
			}
			if want := dumpedFree(t, img, fs.Info().ClusterSize/fs.Info().BlockSize); got.String() != want {
				t.Errorf("got %s\nwant %s", got.String(), want)
			}
			checkFree(t, fs)
		})
	}
}

// dumpedFree joins the free ranges of dumpe2fs, which it lists by group.
func dumpedFree(t *testing.T, img string, cluster int64) string {
	var out strings.Builder
	start, end := int64(-1), int64(-2)
	flush := func() {
		if start >= 0 {
			fmt.Fprintf(&out, "%d-%d ", start, end)
		}
	}
	for line := range strings.Lines(systest.Run(t, "dumpe2fs", img)) {
		list, ok := strings.CutPrefix(strings.TrimSpace(line), "Free blocks: ")
		if !ok || !strings.HasPrefix(line, "  ") {
			continue
		}
		for part := range strings.SplitSeq(list, ", ") {
			var a, b int64
			switch n, _ := fmt.Sscanf(part, "%d-%d", &a, &b); n {
			case 0:
				continue
			case 1:
				b = a
			}
			b += cluster - 1 // it names the clusters by their first blocks
			if a != end+1 {
				flush()
				start = a
			}
			end = b
		}
	}
	flush()
	return out.String()
}

// TestInfo compares the facts of the superblock with dumpe2fs.
func TestInfo(t *testing.T) {
	systest.NeedRoot(t, "mke2fs", "dumpe2fs")
	img := mkfs(t, 64, "-t", "ext4", "-b", "2048", "-I", "512", "-m", "3", "-L", "rootfs", "-M", "/mnt/x", "-U",
		"12345678-9abc-def0-1234-56789abcdef0",
		"-O", "quota,project,^uninit_bg", "-E", "hash_seed=00112233-4455-6677-8899-aabbccddeeff,stride=4,stripe_width=8")
	info := openImage(t, img).Info()
	dump := make(map[string]string)
	for line := range strings.Lines(systest.Run(t, "dumpe2fs", "-h", img)) {
		if k, v, ok := strings.Cut(line, ":"); ok {
			dump[k] = strings.TrimSpace(v)
		}
	}
	for key, got := range map[string]any{
		"Filesystem volume name": info.Label,
		"Last mounted on":        info.LastMounted,
		"Block size":             info.BlockSize,
		"Block count":            info.Blocks,
		"Reserved block count":   info.ReservedBlocks,
		"Free blocks":            info.FreeBlocks,
		"Inode count":            info.Inodes,
		"Free inodes":            info.FreeInodes,
		"Inode size":             info.InodeSize,
		"Blocks per group":       info.BlocksPerGroup,
		"Inodes per group":       info.InodesPerGroup,
		"Flex block group size":  info.FlexGroupSize,
		"First inode":            info.FirstInode,
		"Required extra isize":   info.MinExtraIsize,
		"Desired extra isize":    info.WantExtraIsize,
		"RAID stride":            info.RAIDStride,
		"RAID stripe width":      info.RAIDStripeWidth,
		"Mount count":            info.MountCount,
		"Maximum mount count":    info.MaxMountCount,
		"Filesystem created":     info.Created.Time().Local().Format("Mon Jan _2 15:04:05 2006"),
		"Journal inode":          info.Journal.Inode,
		"Total journal blocks":   info.Journal.Blocks,
		"Filesystem UUID":        formatUUID(info.UUID),
		"Directory Hash Seed":    formatUUID(info.HashSeed),
	} {
		if fmt.Sprint(got) != dump[key] {
			t.Errorf("%s: got %v, dumpe2fs says %q", key, got, dump[key])
		}
	}
	if got := strings.Join(info.Features, " "); got != dump["Filesystem features"] {
		t.Errorf("features: got %s\nwant %s", got, dump["Filesystem features"])
	}
	if !info.Clean || info.NeedsRecovery || info.HasErrors || info.Kind != "ext4" || info.LastMount != (tree.Time{}) {
		t.Errorf("%+v", info)
	}
}

func formatUUID(u [16]byte) string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
}
