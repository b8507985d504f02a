package squash

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"relive/codec"
	"relive/squash/internal/ondisk"
	"relive/tree"
	"relive/tree/systest"
)

// baseDir makes a directory for a base image: files below, of and above a
// block, equal ones, sparse ones, many small ones, and machine code.
func baseDir(t testing.TB, blockSize int) string {
	t.Helper()
	n := &tenant{t: t, dir: t.TempDir(), rnd: fixedRand()}
	for i, size := range []int{1, blockSize - 1, blockSize, blockSize + 1, 2*blockSize + 500, 5 * blockSize} {
		n.file(fmt.Sprintf("big/text-%d", i), n.text(size))
		n.file(fmt.Sprintf("big/noise-%d", i), n.random(size))
	}
	for i := range 60 {
		n.file(fmt.Sprintf("small/%02d", i), append(n.random(300), n.text(100+i*10)...))
	}
	twin := n.text(3*blockSize + 1000)
	n.file("twins/a", twin)
	n.file("twins/b", twin)
	n.file("twins/c", n.text(700))
	n.file("twins/d", n.text(700))
	n.file("empty", nil)
	n.file("zeros/block", make([]byte, blockSize))
	n.file("zeros/short", make([]byte, 100))
	n.file("zeros/long", make([]byte, 3*blockSize+100))
	n.sparse("sparse/islands", int64(9*blockSize+100), 1000, 0, int64(4*blockSize), int64(9*blockSize))
	n.sparse("sparse/head", int64(6*blockSize), 1000, int64(5*blockSize))
	n.sparse("sparse/hole", int64(8*blockSize), 0)
	code, err := os.ReadFile("/proc/self/exe")
	n.ok(err)
	n.file("bin/code", code[0x1000:0x1000+6*blockSize+77])
	for _, l := range []string{"bin/link-1", "bin/link-2"} {
		n.ok(os.Link(n.path("big/text-4"), n.path(l)))
	}
	return n.dir
}

// makeBase has mksquashfs make an image.
func makeBase(t testing.TB, src string, args ...string) *Reader {
	t.Helper()
	systest.NeedTools(t, "mksquashfs")
	image := filepath.Join(t.TempDir(), "base.sqfs")
	systest.Run(t, "mksquashfs", append([]string{src, image, "-quiet", "-no-progress", "-processors", "1"}, args...)...)
	return openFile(t, image)
}

// options are those of a base.
func optionsLike(t testing.TB, r *Reader) WriteOptions {
	t.Helper()
	o := WriteOptionsLike(r)
	o.Library = library(t)
	return o
}

func apply(t testing.TB, root *tree.Node, edit func(e *tree.Edits)) *tree.Node {
	t.Helper()
	var e tree.Edits
	edit(&e)
	out, err := e.Apply(root)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func lookup(t testing.TB, root *tree.Node, path string) *tree.Node {
	t.Helper()
	n, err := root.Lookup(path)
	if err != nil || n == nil {
		t.Fatalf("%s: %v, %v", path, n, err)
	}
	return n
}

// content reads a file.
func contentOf(t testing.TB, n *tree.Node) []byte {
	t.Helper()
	b, err := tree.ReadAll(n, 1<<26)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// storedBytes returns the bytes that the blocks of a file take in its image.
func storedBytes(t testing.TB, n *tree.Node) (words []uint32, b []byte, tail storedContent) {
	t.Helper()
	s, err := n.Data.(storer).storedForm()
	if err != nil {
		t.Fatal(err)
	}
	b = make([]byte, storedLen(s.Blocks))
	if err := s.Image.readStored(b, s.Start); len(b) > 0 && err != nil {
		t.Fatal(err)
	}
	return s.Blocks, b, s
}

// A tree of a base with edits is the same whether stored blocks are copied or
// not, for us and for the kernel, whatever made the base; and what the edits
// do not touch is stored by the bytes of the base.
func TestReuse(t *testing.T) {
	systest.NeedTools(t, "mksquashfs")
	dirs := map[int]string{4096: baseDir(t, 4096), 65536: baseDir(t, 65536)}
	lib := library(t)
	for _, c := range []struct {
		bs   int
		args string
	}{
		{4096, "-comp gzip"},
		{4096, "-comp gzip -Xstrategy filtered,default -always-use-fragments"},
		{65536, "-comp gzip -noD -noF"},
		{4096, "-comp lz4 -no-fragments"},
		{65536, "-comp lz4 -Xhc -no-exports"},
		{4096, "-comp lzo -noF"},
		{4096, "-comp zstd -Xcompression-level 2 -no-duplicates"},
		{65536, "-comp zstd -Xcompression-level 1 -always-use-fragments"},
		{4096, "-comp xz -always-use-fragments"},
		{65536, "-comp xz -Xbcj x86"},
		{65536, "-comp xz -Xdict-size 50% -no-fragments"},
	} {
		t.Run(strings.ReplaceAll(fmt.Sprint(c.bs, " ", c.args), " ", "_"), func(t *testing.T) {
			t.Parallel()
			base := makeBase(t, dirs[c.bs], append([]string{"-b", fmt.Sprint(c.bs)}, strings.Fields(c.args)...)...)
			o := optionsLike(t, base)
			needWriter(t, lib, o.Codec.ID)
			below := rootOf(t, base)
			root := apply(t, below, func(e *tree.Edits) {
				for i := 0; i < 60; i += 7 {
					e.Remove(fmt.Sprintf("small/%02d", i))
				}
				e.Remove("big/noise-2")
				e.Put("big/text-2", tree.NewFile("", 0o600, bytes.Repeat([]byte("changed "), c.bs/3)))
				e.Put("new/file", tree.NewFile("", 0o644, []byte("new")))
				e.Put("new/again", tree.NewFile("", 0o644, contentOf(t, lookup(t, below, "big/noise-4"))))
				changed := *lookup(t, below, "big/noise-5")
				changed.Perm, changed.UID, changed.Mtime = 0o4711, 12345, tree.Time{Sec: 99}
				changed.Xattrs = tree.Xattrs{{Name: "user.new", Value: "x"}}
				e.Put("big/noise-5", &changed)
			})
			path, plan := writeFile(t, root, o)
			with := openFile(t, path)
			verifyClean(t, with)
			sameTree(t, "with reuse", root, rootOf(t, with))
			sameTree(t, "the kernel's view", root, hostTree(t, mount(t, path)))

			none := o
			none.NoReuse = true
			image, anew := writeImage(t, root, none)
			without := openImage(t, image, lib)
			verifyClean(t, without)
			sameTree(t, "without reuse", root, rootOf(t, without))
			if anew.Stats.CopyBytes != 0 || anew.Stats.ReusedFiles != 0 || anew.Stats.DuplicateFiles == 0 && o.Flags&FlagDuplicates != 0 {
				t.Errorf("without reuse: %+v", anew.Stats)
			}
			if plan.Stats.CopyBytes == 0 || plan.Stats.ReusedFiles < 30 || plan.Stats.CompressBytes > anew.Stats.CompressBytes/3 {
				t.Errorf("with reuse: %+v, without %+v", plan.Stats, anew.Stats)
			}
			if want := uint64(0); o.Flags&FlagDuplicates != 0 && plan.Stats.DuplicateFiles != want+1 {
				t.Errorf("%d duplicates, new/again is the only one", plan.Stats.DuplicateFiles)
			}

			// Blocks are the base's bytes, fragments the base's blocks.
			same := NewStoredComparer()
			err := tree.Walk(context.Background(), rootOf(t, with), func(p string, n *tree.Node) error {
				old, err := below.Lookup(p)
				if n.Type != tree.Regular || n.Size == 0 || err != nil || old == nil || p == "big/text-2" {
					return err
				}
				w1, b1, s1 := storedBytes(t, old)
				w2, b2, s2 := storedBytes(t, n)
				if fmt.Sprint(w1) != fmt.Sprint(w2) || !bytes.Equal(b1, b2) {
					t.Errorf("%s: other bytes than in the base", p)
				}
				if (s1.Fragment == ondisk.NoFragment) != (s2.Fragment == ondisk.NoFragment) {
					t.Errorf("%s: fragment %d became %d", p, s1.Fragment, s2.Fragment)
				}
				ok, err := same.Same(old, n)
				if !ok && plan.Stats.RepackedBlocks == 0 {
					t.Errorf("%s: not the same to StoredComparer (%v)", p, err)
				}
				return err
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
}

// A change of metadata alone, of every file, compresses nothing, and the image
// does not grow by more than tables do.
func TestReuseMetadataOnly(t *testing.T) {
	src := baseDir(t, 4096)
	for _, args := range []string{"-comp gzip", "-comp lz4 -always-use-fragments", "-comp zstd -no-fragments"} {
		base := makeBase(t, src, append([]string{"-b", "4096"}, strings.Fields(args)...)...)
		root := changeAll(t, rootOf(t, base), func(n *tree.Node) { n.Perm ^= 0o111; n.GID = 77 })
		image, plan := writeImage(t, root, optionsLike(t, base))
		st := plan.Stats
		if st.CompressBytes != 0 || st.MixedFiles != 0 || st.DuplicateFiles != 0 || st.RepackedBlocks != 0 || st.DeadBytes != 0 {
			t.Errorf("%s: %+v", args, st)
		}
		if st.CopyRanges != 1 {
			t.Errorf("%s: copied in %d ranges, the whole of the base is one", args, st.CopyRanges)
		}
		r := openImage(t, image, library(t))
		verifyClean(t, r)
		sameTree(t, args, root, rootOf(t, r))
		a, b := make([]byte, st.CopyBytes), make([]byte, st.CopyBytes)
		at := plan.dataStart()
		if err := base.readStored(a, at); err != nil {
			t.Fatal(err)
		}
		if copy(b, image[at:]); !bytes.Equal(a, b) {
			t.Errorf("%s: other stored bytes", args)
		}
		if got, want := int64(r.super.BytesUsed), int64(base.super.BytesUsed); got > want+want/100+500 {
			t.Errorf("%s: grew from %d to %d bytes", args, want, got)
		}
	}
}

// changeAll copies a tree with every node changed.
func changeAll(t testing.TB, n *tree.Node, change func(*tree.Node)) *tree.Node {
	t.Helper()
	out := *n
	kids, err := n.Children()
	if err != nil {
		t.Fatal(err)
	}
	if n.Type == tree.Directory {
		var list tree.List
		for _, k := range kids {
			list = append(list, changeAll(t, k, change))
		}
		out.Dir, out.Inode = list, tree.Inode{}
	}
	change(&out)
	return &out
}

// Several images at once: of one codec and block size both are copied from;
// one of another codec or block size is compressed anew.
func TestReuseSeveralImages(t *testing.T) {
	src := baseDir(t, 4096)
	lib := library(t)
	a := makeBase(t, src, "-b", "4096", "-comp", "gzip")
	b := makeBase(t, src, "-b", "4096", "-comp", "gzip", "-Xcompression-level", "1", "-always-use-fragments")
	other := makeBase(t, src, "-b", "4096", "-comp", "lz4")
	larger := makeBase(t, src, "-b", "8192", "-comp", "gzip")
	named := func(name string, r *Reader) *tree.Node {
		n := *rootOf(t, r)
		n.Name = name
		return &n
	}
	root := tree.NewDir("", 0o755, named("a", a), named("b", b), named("other", other), named("larger", larger))
	o := optionsLike(t, a)
	image, plan := writeImage(t, root, o)
	r := openImage(t, image, lib)
	verifyClean(t, r)
	sameTree(t, "of four images", root, rootOf(t, r))
	var usable []string
	for _, s := range plan.sources {
		usable = append(usable, fmt.Sprintf("%s %v %v", s.img.Options().ID, s.usable, s.bytes > 0))
	}
	if got := strings.Join(usable, ", "); got != "gzip true true, gzip true true, gzip false false, lz4 false false" {
		t.Errorf("sources: %s", got)
	}
	// What is compressed anew equals files of a and b, and is found there.
	if st := plan.Stats; st.DuplicateFiles == 0 || st.CompressBytes > st.Bytes/20 {
		t.Errorf("stats %+v", st)
	}

	// Nothing of a can be copied under other options.
	for _, change := range []func(*WriteOptions){
		func(o *WriteOptions) { o.Codec = quick(codec.Zstd, 4096) },
		func(o *WriteOptions) { o.BlockSize, o.Codec = 8192, quick(codec.Gzip, 8192) },
	} {
		o := optionsLike(t, a)
		change(&o)
		image, plan := writeImage(t, rootOf(t, a), o)
		if plan.Stats.CopyBytes != 0 || plan.Stats.ReusedFiles != 0 {
			t.Errorf("stats %+v", plan.Stats)
		}
		r := openImage(t, image, lib)
		verifyClean(t, r)
		sameTree(t, "of another form", rootOf(t, a), rootOf(t, r))
	}

	// A larger dictionary than the image names cannot be copied into it.
	wide := makeBase(t, src, "-b", "65536", "-comp", "xz")
	o = optionsLike(t, wide)
	o.Codec.DictSize = 32768
	p, err := NewPlan(context.Background(), rootOf(t, wide), o)
	if err != nil {
		t.Fatal(err)
	}
	if p.Stats.CopyBytes != 0 {
		t.Errorf("copies blocks of a larger dictionary: %+v", p.Stats)
	}
}
