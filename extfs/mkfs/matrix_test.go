package mkfs

import (
	"bytes"
	"fmt"
	"testing"

	"relive/tree"
	"relive/tree/systest"
)

// noExt4 takes away what ext3 does not know.
const noExt4 = "^extent ^64bit ^flex_bg ^huge_file ^dir_nlink ^extra_isize ^metadata_csum"

// matrix are features, each with inode sizes, that images are built with.
var matrix = []struct {
	name      string
	features  string
	inodeSize int
}{
	{"ext4", "", 256},
	{"ext4-old", "^64bit ^metadata_csum uninit_bg", 256},
	{"ext4-128", "^metadata_csum uninit_bg", 128},
	{"ext4-128-csum", "", 128},
	{"ext4-512", "", 512},
	{"debian13", "orphan_file metadata_csum_seed", 256},
	{"no-flex", "^flex_bg", 256},
	{"no-flex-no-csum", "^flex_bg ^metadata_csum ^64bit", 256},
	{"no-resize", "^resize_inode", 256},
	{"no-sparse", "^resize_inode ^sparse_super", 256},
	{"no-journal", "^has_journal", 256},
	{"no-index", "^dir_index", 256},
	{"no-filetype", "^filetype", 256},
	{"no-extent", "^extent ^64bit", 256},
	{"ea-inode", "ea_inode", 256},
	{"ea-inode-no-csum", "ea_inode ^metadata_csum ^extent ^64bit", 256},
	{"inline-large-dir", "inline_data large_dir", 256},
	{"bare", noExt4 + " ^has_journal ^resize_inode ^dir_index ^filetype ^sparse_super ^large_file ^ext_attr", 128},
	{"ext2", noExt4 + " ^has_journal", 256},
	{"ext3", noExt4, 256},
	{"ext3-128", noExt4, 128},
}

// TestBuildMatrix: what is built is clean for e2fsck and reads back equal, for
// all block sizes, features, sizes of images and some random trees.
func TestBuildMatrix(t *testing.T) {
	for i, m := range matrix {
		for j, blockSize := range []int{1024, 2048, 4096} {
			// Sizes take turns; all of them with all features cost too much time.
			size := []int64{0, 40 << 20, 300 << 20}[(i+j)%3]
			t.Run(fmt.Sprintf("%s/%d/%d", m.name, blockSize, size>>20), func(t *testing.T) {
				t.Parallel()
				o := Options{
					Size: size, BlockSize: blockSize, InodeSize: m.inodeSize, Label: "rootfs", Time: stamp,
					Features: parseFeatures(t, m.features), NoLostAndFound: true,
				}
				root := newGenerator(uint64(i*100+j), o).tree(30)
				path, rep := buildFile(t, root, o)
				if rep.TimesChanged != 0 {
					t.Errorf("%d times changed", rep.TimesChanged)
				}
				systest.Fsck(t, path)
				same(t, readBack(t, path), root, tree.CompareOptions{Links: true})
			})
		}
	}
}

// TestBuildEmpty: trees of nothing, in images of all sizes.
func TestBuildEmpty(t *testing.T) {
	for _, blockSize := range []int{0, 1024, 2048, 4096} {
		for _, size := range []int64{0, 1 << 20, 8 << 20, 9<<20 + 12345, 100 << 20, 600 << 20, 40 << 30} {
			if blockSize == 1024 && size > 1<<30 {
				size = 10 << 30
			}
			t.Run(fmt.Sprintf("%d/%d", blockSize, size), func(t *testing.T) {
				t.Parallel()
				path, _ := buildFile(t, dirOf(""), Options{Size: size, BlockSize: blockSize})
				systest.Fsck(t, path)
				root := readBack(t, path)
				kids, err := root.Children()
				if err != nil || len(kids) != 1 || kids[0].Name != lostFoundName || kids[0].Perm != 0o700 {
					t.Fatal(kids, err)
				}
			})
		}
	}
}

// TestBuildDeterministic: the same tree and options give the same bytes, also
// over an image that held something else.
func TestBuildDeterministic(t *testing.T) {
	o := Options{Size: 16 << 20, Label: "x"}
	root := newGenerator(7, o).tree(50)
	a := buildBytes(t, root, o)
	m := memImage{data: bytes.Repeat([]byte{0xff}, 20<<20)}
	if _, err := Build(t.Context(), &m, root, o); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a, m.data) {
		t.Error("two builds differ")
	}
	other := newGenerator(8, o).tree(50)
	if bytes.Equal(a, buildBytes(t, other, o)) {
		t.Error("two trees give one image")
	}
}
