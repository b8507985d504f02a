package squash

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"relive/codec"
	"relive/tree"
	"relive/tree/hostfs"
	"relive/tree/systest"
)

// writeFile writes an image into a file.
func writeFile(t testing.TB, root *tree.Node, o WriteOptions) (string, *Plan) {
	t.Helper()
	p, err := NewPlan(context.Background(), root, o)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(systest.MemDir(t), "written.sqfs")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := p.Write(context.Background(), f, 0); err != nil {
		t.Fatal(err)
	}
	return path, p
}

// hostTree returns a directory of the host as a tree.
func hostTree(t testing.TB, dir string) *tree.Node {
	t.Helper()
	root, err := hostfs.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// sameTree fails where two trees differ.
func sameTree(t testing.TB, what string, want, got *tree.Node) {
	t.Helper()
	if d := differences(t, want, got); d != "" {
		if len(d) > 3000 {
			d = d[:3000]
		}
		t.Errorf("%s:\n%s", what, d)
	}
}

func TestWritten(t *testing.T) {
	src := nasty(t)
	t.Run("tools", func(t *testing.T) { toolsReadWritten(t, src) })
	t.Run("size", func(t *testing.T) { sizeOfWritten(t, src) })
	t.Run("kernel", func(t *testing.T) { kernelReadsWritten(t, src) })
}

// What is written of a directory with everything in it, the kernel shows as it
// was, and so does our own reader.
func kernelReadsWritten(t *testing.T, src string) {
	lib := library(t)
	for _, c := range []struct {
		id    codec.ID
		bs    int
		flags uint16
	}{
		{codec.Gzip, 4096, FlagDuplicates | FlagExportable},
		{codec.Gzip, 1 << 20, FlagAlwaysFragments | FlagUncompressedInodes | FlagUncompressedXattrs},
		{codec.LZ4, 131072, FlagDuplicates | FlagExportable | FlagUncompressedFragments},
		{codec.LZ4, 4096, FlagUncompressedData | FlagUncompressedFragments | FlagUncompressedInodes |
			FlagUncompressedXattrs | FlagUncompressedIDs},
		{codec.LZ4, 1 << 20, FlagNoFragments},
		{codec.LZO, 131072, FlagDuplicates | FlagAlwaysFragments},
		{codec.XZ, 32768, FlagDuplicates | FlagExportable},
		{codec.Zstd, 4096, FlagNoFragments | FlagExportable},
		{codec.Zstd, 131072, FlagDuplicates | FlagUncompressedData},
		{codec.Zstd, 1 << 20, FlagDuplicates | FlagExportable | FlagAlwaysFragments},
	} {
		t.Run(fmt.Sprintf("%v/%d/%#x", c.id, c.bs, c.flags), func(t *testing.T) {
			t.Parallel()
			needWriter(t, lib, c.id)
			image, _ := writeFile(t, hostTree(t, src), WriteOptions{Library: lib, Codec: quick(c.id, c.bs), BlockSize: c.bs,
				Flags: c.flags})
			sameTree(t, "the kernel's view", hostTree(t, src), hostTree(t, mount(t, image)))
			verifyClean(t, openFile(t, image))
		})
	}
}

// needWriter skips a test where the library cannot write a codec. In CI the
// libraries of the system must all be there; Go alone has no lzo.
func needWriter(t testing.TB, lib *codec.Library, id codec.ID) {
	t.Helper()
	if slices.Contains(codecs(lib), id) {
		return
	}
	if os.Getenv("RELIVE_CODECS") == "go" {
		t.Skipf("%v cannot be written in Go", id)
	}
	systest.Lacks(t, "a library that writes "+id.String())
}

// The other readers of SquashFS read what is written, and mksquashfs appends to
// it.
func toolsReadWritten(t *testing.T, src string) {
	systest.NeedTools(t, "unsquashfs", "rdsquashfs", "squashfuse", "fusermount", "mksquashfs")
	lib := library(t)
	image, _ := writeFile(t, hostTree(t, src), WriteOptions{Library: lib, Codec: quick(codec.Gzip, 131072), BlockSize: 131072,
		Flags: FlagDuplicates | FlagExportable})

	// Tools that unpack take their time for every file.
	var e tree.Edits
	for _, name := range []string{"many", "names", "dirs", "deep", "sparse", "xattr/many"} {
		e.Remove(name)
	}
	root, err := e.Apply(hostTree(t, src))
	if err != nil {
		t.Fatal(err)
	}
	less, _ := writeFile(t, root, WriteOptions{Library: lib, Codec: quick(codec.Gzip, 4096), BlockSize: 4096, Flags: FlagExportable})

	t.Run("unsquashfs", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "out")
		systest.Run(t, "unsquashfs", "-q", "-n", "-p", "1", "-d", dir, less)
		sameTree(t, "unsquashfs", root, hostTree(t, dir))
	})
	t.Run("rdsquashfs", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "out")
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		systest.Run(t, "rdsquashfs", "-q", "-X", "-T", "-C", "-O", "-p", dir, "-u", "/", less)
		// It sets owners behind attributes, by which the kernel drops the
		// capabilities, sets the times of directories before it fills them, and
		// makes copies of hard links.
		err := tree.Compare(context.Background(), root, hostTree(t, dir), tree.CompareOptions{
			WholeSeconds: true, IgnoreXattr: func(n string) bool { return n == "security.capability" }}, func(c tree.Change) error {
			if c.A != nil && c.A.Type == tree.Directory {
				c.Diff &^= tree.Mtimes
			}
			if c.Path != "" && c.Diff != 0 {
				t.Errorf("/%s: %v", c.Path, c.Diff)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
	t.Run("squashfuse", func(t *testing.T) {
		if _, err := os.Stat("/dev/fuse"); err != nil {
			systest.Lacks(t, "/dev/fuse")
		}
		at := t.TempDir()
		systest.Run(t, "squashfuse", image, at)
		t.Cleanup(func() { systest.Run(t, "fusermount", "-u", at) })
		// Without attributes: squashfuse fails at empty ones.
		err := tree.Walk(context.Background(), hostTree(t, src), func(path string, n *tree.Node) error {
			var st unix.Statx_t // lstat has no time after 2038 on machines of 32 bits
			if err := unix.Statx(unix.AT_FDCWD, filepath.Join(at, path), unix.AT_SYMLINK_NOFOLLOW, unix.STATX_BASIC_STATS,
				&st); err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
			if uint32(st.Mode) != n.Type.ModeBits()|uint32(n.Perm) || st.Uid != n.UID || st.Gid != n.GID || st.Mtime.Sec != n.Mtime.Sec {
				t.Errorf("%s: %o %d %d %d", path, st.Mode, st.Uid, st.Gid, st.Mtime.Sec)
			}
			if n.Type == tree.Regular {
				want, err := os.ReadFile(filepath.Join(src, path))
				if err != nil {
					return err
				}
				if got, err := os.ReadFile(filepath.Join(at, path)); err != nil || !bytes.Equal(got, want) {
					t.Errorf("%s: other content (%v)", path, err)
				}
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
	t.Run("append", func(t *testing.T) {
		more := t.TempDir()
		if err := os.WriteFile(filepath.Join(more, "appended"), []byte("more\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		grown := filepath.Join(t.TempDir(), "grown.sqfs")
		systest.Run(t, "cp", image, grown)
		systest.Run(t, "mksquashfs", filepath.Join(more, "appended"), grown, "-quiet", "-no-progress", "-no-recovery", "-processors", "1")
		var want tree.Edits
		node, err := hostTree(t, more).Child("appended")
		if err != nil {
			t.Fatal(err)
		}
		want.Put("appended", node)
		root, err := want.Apply(hostTree(t, src))
		if err != nil {
			t.Fatal(err)
		}
		// mksquashfs gives the root that it appends to metadata of its own.
		got := *rootOf(t, openFile(t, grown))
		got.Perm, got.UID, got.GID, got.Mtime = root.Perm, root.UID, root.GID, root.Mtime
		sameTree(t, "after mksquashfs appended", root, &got)
	})
}

// An image is as large as mksquashfs makes it, within a hundredth, where the
// compressor is the same library.
func sizeOfWritten(t *testing.T, src string) {
	systest.NeedTools(t, "mksquashfs")
	lib := library(t)
	native := map[codec.ID]bool{}
	for _, d := range lib.Describe() {
		native[d.ID] = d.Native
	}
	for _, c := range []struct {
		comp string
		bs   int
	}{{"gzip", 131072}, {"zstd", 1 << 20}, {"lz4", 4096}} {
		t.Run(c.comp, func(t *testing.T) {
			id, err := codec.ParseID(c.comp)
			if err != nil {
				t.Fatal(err)
			}
			if !native[id] {
				t.Skip("compressed in Go")
			}
			theirs := filepath.Join(t.TempDir(), "theirs.sqfs")
			systest.Run(t, "mksquashfs", src, theirs, "-comp", c.comp, "-b", fmt.Sprint(c.bs), "-quiet", "-no-progress")
			ours, _ := writeFile(t, hostTree(t, src), WriteOptions{Library: lib, Codec: codec.DefaultOptions(id, c.bs), BlockSize: c.bs,
				Flags: FlagDuplicates | FlagExportable})
			a, b := openFile(t, theirs).super.BytesUsed, openFile(t, ours).super.BytesUsed
			if ratio := float64(b) / float64(a); ratio > 1.01 {
				t.Errorf("%d bytes, mksquashfs takes %d: %.4f of it", b, a, ratio)
			} else {
				t.Logf("%.4f of mksquashfs's %d bytes", ratio, a)
			}
		})
	}
}

// Writing into a file copies stored blocks in the kernel, or by hand where the
// image is read through something else: the bytes are the same. What lies below
// the base is not touched.
func TestCopyInKernel(t *testing.T) {
	systest.NeedTools(t, "mksquashfs")
	src := t.TempDir()
	n := &tenant{t: t, dir: src, rnd: fixedRand()}
	for i := range 30 {
		n.file(fmt.Sprintf("d/%d", i), append(n.random(i*5000), n.text(20000)...))
	}
	base := filepath.Join(t.TempDir(), "base.sqfs")
	systest.Run(t, "mksquashfs", src, base, "-comp", "lz4", "-b", "4096", "-quiet", "-no-progress")
	file := openFile(t, base)
	raw, err := os.ReadFile(base)
	if err != nil {
		t.Fatal(err)
	}
	edit := func(r *Reader) *tree.Node {
		var e tree.Edits
		e.Remove("d/3")
		e.Remove("d/17")
		e.Put("d/new", tree.NewFile("", 0o600, []byte("new")))
		root, err := e.Apply(rootOf(t, r))
		if err != nil {
			t.Fatal(err)
		}
		return root
	}
	o := WriteOptionsLike(file)
	o.Library = library(t)
	want, _ := writeImage(t, edit(openImage(t, raw, o.Library)), o)

	for _, at := range []int64{0, 3 * 4096, 12345} {
		p, err := NewPlan(context.Background(), edit(file), o)
		if err != nil {
			t.Fatal(err)
		}
		out, err := os.Create(filepath.Join(t.TempDir(), "out"))
		if err != nil {
			t.Fatal(err)
		}
		defer out.Close()
		below := strings.Repeat("below", int(at)/5+1)[:at]
		if _, err := out.WriteString(below); err != nil {
			t.Fatal(err)
		}
		if _, err := p.Write(context.Background(), out, at); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(out.Name())
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != below+string(want) {
			t.Errorf("at %d: other bytes than through memory", at)
		}
	}
}
