package extfs

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"

	"relive/tree"
	"relive/tree/systest"
)

// freeRanges lists the free ranges, and gives an error where they are not in
// order or reach out of the file system.
func freeRanges(t testing.TB, fs *FS) (out []ByteRange) {
	t.Helper()
	last := int64(0)
	for r, err := range fs.FreeRanges() {
		if err != nil {
			t.Fatal(err)
		}
		if r.Length <= 0 || r.Start < last || r.Start == last && last > 0 || r.Start < 1024 ||
			r.End() > int64(fs.geo.blocks)<<fs.geo.blockBits {
			t.Fatalf("%+v after %d", r, last)
		}
		last = r.End()
		out = append(out, r)
	}
	return out
}

// idleJournal lists what of the journal means nothing, which is all of it but
// one block.
func idleJournal(t testing.TB, fs *FS) (out []ByteRange) {
	t.Helper()
	var sum int64
	for r, err := range fs.IdleJournal() {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, r)
		sum += r.Length
	}
	if fs.journal.Inode != 0 && fs.journal.Err == nil {
		in, err := fs.inode(fs.journal.Inode)
		if err != nil {
			t.Fatal(err)
		}
		if want := in.size - fs.geo.blockSize; sum != want {
			t.Errorf("%d bytes of the journal are idle, not %d", sum, want)
		}
	}
	return out
}

// overwriteFree fills all free ranges of an image with a byte.
func overwriteFree(t testing.TB, img string, free []ByteRange, with byte) {
	t.Helper()
	f, err := os.OpenFile(img, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	buf := bytes.Repeat([]byte{with}, 1<<20)
	for _, r := range free {
		for at := r.Start; at < r.End(); at += int64(len(buf)) {
			if _, err := f.WriteAt(buf[:min(int64(len(buf)), r.End()-at)], at); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestFreeRanges overwrites what is free in images that the kernel has filled:
// e2fsck finds nothing, and the kernel shows the same tree.
func TestFreeRanges(t *testing.T) {
	systest.NeedRoot(t, "mke2fs", "mount", "e2fsck", "debugfs")
	for _, args := range []string{
		"-t ext2 -b 1024 -g 8192",
		"-t ext3 -b 1024 -J size=1",
		"-t ext4 -b 1024 -g 8192 -E resize=4000000",
		"-t ext4 -b 1024 -g 1024 -O meta_bg,^resize_inode",
		"-t ext4 -b 1024 -g 8192 -O ^metadata_csum,uninit_bg,^flex_bg",
		"-t ext4 -b 2048 -g 4096 -O ^flex_bg -E lazy_itable_init=1",
		"-t ext4 -b 4096 -g 2048 -E resize=1000000",
		"-t ext4 -b 4096 -O sparse_super2,^resize_inode -g 4096",
		"-t ext4 -b 4096 -C 16384 -O bigalloc",
		"-t ext4 -b 1024 -C 8192 -O bigalloc,meta_bg,^resize_inode",
		"-t ext4 -b 1024 -C 4096 -O bigalloc,inline_data",
	} {
		t.Run(args, func(t *testing.T) {
			t.Parallel()
			img := mkfs(t, 72, strings.Fields(args)...)
			bs := openImage(t, img).geo.blockSize
			dir, umount := mount(t, img, "rw")
			f := filler{t: t, dir: dir, bs: bs, files: 100, small: true, rnd: rand.New(rand.NewPCG(3, 1))}
			f.all()
			f.ok(os.RemoveAll(f.path("churn")))
			umount()
			fs := openImage(t, img)
			free := freeRanges(t, fs)
			var sum int64
			for _, r := range free {
				sum += r.Length
			}
			if info := fs.Info(); sum != info.FreeBlocks*info.BlockSize {
				t.Errorf("%d bytes free in %d blocks", sum, info.FreeBlocks)
			}
			checkSystemBlocks(t, fs, img, free)
			other := copyImage(t, img)
			for _, with := range []byte{0, 0xA5} {
				overwriteFree(t, other, free, with)
				overwriteFree(t, other, idleJournal(t, fs), with)
				systest.Fsck(t, other)
			}
			compareWithKernel(t, fs, other)
			// It can be used again, groups among it that never were.
			dir, umount = mount(t, other, "rw")
			f.dir = dir
			f.write("more", f.bytes(3<<20))
			f.ok(os.Mkdir(f.path("more.d"), 0o755))
			umount()
			systest.Fsck(t, other)
		})
	}
}

// checkSystemBlocks has debugfs list the blocks of the file system's own inodes
// (journal, room for descriptors) and holds them against what is free.
func checkSystemBlocks(t testing.TB, fs *FS, img string, free []ByteRange) {
	t.Helper()
	seen := 0
	for _, ino := range []string{"<1>", "<2>", "<7>", "<8>", "<9>", "<11>"} {
		for _, word := range strings.Fields(systest.Run(t, "debugfs", "-R", "blocks "+ino, img)) {
			block, err := strconv.ParseInt(word, 10, 64)
			if err != nil {
				continue // debugfs tells its name and of inodes that are not there
			}
			seen++
			at := block << fs.geo.blockBits
			for _, r := range free {
				if at >= r.Start && at < r.End() {
					t.Errorf("block %d of inode %s is called free", block, ino)
				}
			}
		}
	}
	if seen == 0 {
		t.Error("debugfs lists nothing")
	}
}

// TestFreeRangesTrust: no range is given where the bitmaps cannot be trusted.
func TestFreeRangesTrust(t *testing.T) {
	systest.NeedRoot(t, "mke2fs", "mount", "debugfs")
	first := func(img string) error {
		for _, err := range openImage(t, img).FreeRanges() {
			return err
		}
		return errors.New("no range and no error")
	}
	expect := func(what, img string, want error, text string) {
		t.Helper()
		if err := first(img); !errors.Is(err, want) || want != nil && !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v", what, err)
		}
	}
	ext2 := mkfs(t, 8, "-t", "ext2")
	_, umount := mount(t, ext2, "rw")
	expect("mounted ext2", copyImage(t, ext2), tree.ErrUnsupported, "not cleanly unmounted")
	umount()
	expect("ext2", ext2, nil, "")
	ext4 := mkfs(t, 16, "-t", "ext4", "-b", "4096")
	_, umount = mount(t, ext4, "rw")
	expect("mounted ext4", copyImage(t, ext4), nil, "")
	umount()
	for _, c := range []struct{ set, text string }{
		{"ssv state 3", "has errors"},
		{"freeb 1", "superblock"}, // the descriptors
		{"freeb 2", "superblock"}, // room for more
	} {
		img := copyImage(t, ext4)
		systest.Run(t, "debugfs", "-w", "-R", c.set, img)
		want := tree.ErrCorrupt
		if c.text == "has errors" {
			want = tree.ErrUnsupported
		}
		expect(c.set, img, want, c.text)
	}
	fs := openImage(t, ext4)
	g, err := fs.group(0)
	if err != nil {
		t.Fatal(err)
	}
	j, err := fs.loadJournal()
	if err != nil {
		t.Fatal(err)
	}
	journal, err := j.physical(5)
	if err != nil {
		t.Fatal(err)
	}
	for text, block := range map[string]uint64{"block bitmap": g.blockBitmap, "inode bitmap": g.inodeBitmap, "inode table": g.inodeTable +
		3, "the journal": journal} {
		img := copyImage(t, ext4)
		systest.Run(t, "debugfs", "-w", "-R", "freeb "+strconv.FormatUint(block, 10), img)
		expect(text, img, tree.ErrCorrupt, text)
	}
}
