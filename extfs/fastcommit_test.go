package extfs

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"relive/extfs/internal/ondisk"
	"relive/tree"
	"relive/tree/hostfs"
	"relive/tree/systest"
)

func fsync(t testing.TB, path string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
}

// change opens a file of a mounted file system for a change.
func (f *filler) change(name string, do func(*os.File) error) {
	f.t.Helper()
	file, err := os.OpenFile(f.path(name), os.O_RDWR, 0)
	f.ok(err)
	f.ok(do(file))
	f.ok(file.Close())
}

// fastSteps are changes and, after the colon, what is then synced: alone, so
// that the kernel writes a fast commit for it where it can.
var fastSteps = []struct {
	name string
	do   func(f *filler)
}{
	{"append: d/old0", func(f *filler) {
		f.change("d/old0", func(o *os.File) error { _, err := o.WriteAt(f.bytes(9000), 50_000); return err })
	}},
	{"create: d/new", func(f *filler) { f.write("d/new", f.bytes(5000)) }},
	{"tiny: d/tiny", func(f *filler) { f.write("d/tiny", f.bytes(30)) }},
	{"symlink: d/x1", func(f *filler) { f.ok(os.Symlink("short", f.path("d/sym"))); f.write("d/x1", nil) }},
	{"device: d/x3", func(f *filler) {
		f.ok(unix.Mknod(f.path("d/dev"), unix.S_IFCHR|0o600, int(unix.Mkdev(300, 70000))))
		f.write("d/x3", nil)
	}},
	{"mkdir: sub/x5", func(f *filler) { f.ok(os.Mkdir(f.path("sub"), 0o700)); f.write("sub/x5", nil) }},
	{"link: sub/x6", func(f *filler) { f.ok(os.Link(f.path("d/old1"), f.path("hard"))); f.write("sub/x6", nil) }},
	{"unlink: sub/x7", func(f *filler) { f.ok(os.Remove(f.path("d/old2"))); f.write("sub/x7", nil) }},
	{"rename: d/old33", func(f *filler) { f.ok(os.Rename(f.path("d/old3"), f.path("d/old33"))) }},
	{"rename over: d/old33", func(f *filler) { f.ok(os.Rename(f.path("d/old4"), f.path("d/old33"))) }},
	{"truncate: d/old5", func(f *filler) { f.ok(os.Truncate(f.path("d/old5"), 10001)) }},
	{"empty: d/old6", func(f *filler) { f.ok(os.Truncate(f.path("d/old6"), 0)) }},
	{"allocate: d/old6", func(f *filler) {
		f.change("d/old6", func(o *os.File) error { return unix.Fallocate(int(o.Fd()), 0, 0, 100_000) })
	}},
	{"write there: d/old6", func(f *filler) {
		f.change("d/old6", func(o *os.File) error { _, err := o.WriteAt(f.bytes(5000), 50_000); return err })
	}},
	{"punch: d/old7", func(f *filler) {
		f.change("d/old7", func(o *os.File) error {
			return unix.Fallocate(int(o.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 8192, 9000)
		})
	}},
	{"mode: d/old7", func(f *filler) {
		f.ok(os.Chown(f.path("d/old7"), 99999, 7))
		f.ok(os.Chmod(f.path("d/old7"), 0o711|os.ModeSetuid))
	}},
	{"rmdir: sub/x8", func(f *filler) {
		f.ok(os.Mkdir(f.path("gone"), 0o700))
		f.ok(os.Remove(f.path("gone")))
		f.write("sub/x8", nil)
	}},
	{"gone again: sub/x10", func(f *filler) {
		f.write("sub/x9", nil)
		f.ok(os.Remove(f.path("sub/x9")))
		f.write("sub/x10", nil)
	}},
	{"rename directory: sub2/x11", func(f *filler) { f.ok(os.Rename(f.path("sub"), f.path("sub2"))); f.write("sub2/x11", nil) }},
}

// TestFastCommit lets the kernel write fast commits and compares the replay
// with its own.
func TestFastCommit(t *testing.T) {
	systest.NeedRoot(t, "mke2fs", "mount")
	for i, features := range []string{"fast_commit", "fast_commit,inline_data", "fast_commit,^metadata_csum,^64bit"} {
		t.Run(features, func(t *testing.T) {
			t.Parallel()
			img := mkfs(t, 32, "-t", "ext4", "-b", "4096", "-J", "size=6", "-O", features)
			dir, _ := mount(t, img, "rw,commit=300")
			f := &filler{t: t, dir: dir, bs: 4096, rnd: rand.New(rand.NewPCG(9, 9))}
			f.ok(os.Mkdir(f.path("d"), 0o755))
			for k := range 8 {
				f.write(fmt.Sprintf("d/old%d", k), f.bytes(50_000))
			}
			syncDir(t, dir)
			f.write("d/first", nil)
			fsync(t, f.path("d/first"))
			commits := 0
			var recovered *FS
			for k, s := range fastSteps {
				s.do(f)
				name, sync, _ := strings.Cut(s.name, ": ")
				fsync(t, f.path(sync))
				if i > 0 && k%3 != i {
					continue
				}
				copied := copyImage(t, img)
				fs := openImage(t, copied)
				commits += min(1, fs.Info().Journal.FastCommits)
				// Fast commits cannot be put into their place.
				if _, err := fs.Recovered(); (err == nil) != (fs.Info().Journal.FastCommits == 0) || err != nil &&
					!errors.Is(err, tree.ErrUnsupported) {
					t.Errorf("%d fast commits, and then %v", fs.Info().Journal.FastCommits, err)
				} else if err == nil && recovered == nil {
					recovered = fs
					checkRecovered(t, copied)
				}
				// Where the journal stays, what is free after it is replaced all
				// the same.
				overwriteFree(t, copied, freeRanges(t, fs), 0xA5)
				compareFastCommit(t, fs, copied)
				if t.Failed() {
					t.Fatalf("after %q", name)
				}
			}
			if commits < 4 {
				t.Errorf("only %d images with fast commits", commits)
			}
		})
	}
}

// compareFastCommit compares with the kernel's replay, which sets the times of
// directories anew and loses link counts of directories.
func compareFastCommit(t testing.TB, fs *FS, img string) {
	t.Helper()
	dir, umount := mount(t, img, "rw,noatime")
	defer umount()
	want, err := hostfs.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	err = tree.Compare(t.Context(), rootOf(t, fs), want, tree.CompareOptions{Links: true}, func(c tree.Change) error {
		if c.Diff == tree.Mtimes && c.A.Type == tree.Directory {
			return nil
		}
		t.Errorf("%s: %s\n got %+v\nwant %+v", tree.Quote(c.Path), c.Diff, describe(c.A), describe(c.B))
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	checkFree(t, fs)
}

// checkFree finds blocks that a file uses and the bitmaps call free, and holds
// IsFree against FreeExtents.
func checkFree(t testing.TB, fs *FS) (free int64) {
	t.Helper()
	isFree := make([]bool, fs.geo.blocks)
	last := int64(-1)
	for r, err := range fs.FreeExtents() {
		if err != nil {
			t.Fatal(err)
		}
		if r.Start <= last || r.Count <= 0 {
			t.Fatalf("%+v after block %d", r, last)
		}
		last = r.Start + r.Count
		for b := r.Start; b < last; b++ {
			isFree[b] = true
		}
		free += r.Count
	}
	for b := int64(0); b < int64(fs.geo.blocks); b += 7 {
		if got, err := fs.IsFree(b); err != nil || got != isFree[b] {
			t.Fatalf("IsFree(%d) = %v, %v", b, got, err)
		}
	}
	err := tree.Walk(t.Context(), rootOf(t, fs), func(path string, n *tree.Node) error {
		in, err := fs.inode(uint32(n.Inode.Number))
		if err != nil || n.Type != tree.Regular && n.Type != tree.Directory || in.has(ondisk.FlInlineData) {
			return err
		}
		end := uint64(in.size+fs.geo.blockSize-1) >> fs.geo.blockBits
		if n.Type == tree.Directory && in.fast != nil && in.fast.newDir {
			return nil
		}
		for at := uint64(0); at < end; {
			r, err := fs.mapBlock(in, at)
			if err != nil {
				return err
			}
			at = r.end()
			for b := r.physical; !r.hole() && b < r.physical+r.length; b++ {
				if isFree[b] {
					t.Errorf("%s: block %d is called free", path, b)
					break
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return free
}
