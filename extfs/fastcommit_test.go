package extfs

import (
	"fmt"
	"math/rand/v2"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"relive/tree"
	"relive/tree/hostfs"
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

// TestFastCommit lets the kernel write fast commits and compares the replay
// with its own.
func TestFastCommit(t *testing.T) {
	requireTools(t, "mke2fs", "mount", "umount", "cp")
	for _, features := range []string{"fast_commit", "fast_commit,inline_data", "fast_commit,^metadata_csum,^64bit"} {
		t.Run(features, func(t *testing.T) {
			t.Parallel()
			img := mkfs(t, 48, "-t", "ext4", "-b", "4096", "-J", "size=8", "-O", features)
			dir, _ := mount(t, img, "rw,commit=300")
			f := filler{t: t, dir: dir, bs: 4096, rnd: rand.New(rand.NewPCG(9, 9))}
			f.ok(os.Mkdir(f.path("d"), 0o755))
			for i := range 8 {
				f.write(fmt.Sprintf("d/old%d", i), f.bytes(50_000))
			}
			syncDir(t, dir)

			commits := 0
			for round := range 3 {
				p := f.write(fmt.Sprintf("d/new%d", round), f.bytes(20_000+round))
				fsync(t, p)
				f.write(fmt.Sprintf("d/tiny%d", round), f.bytes(30))
				f.ok(os.Symlink("short", f.path(fmt.Sprintf("d/sym%d", round))))
				f.ok(unix.Mknod(f.path(fmt.Sprintf("d/dev%d", round)), unix.S_IFCHR|0o600, int(unix.Mkdev(300, 70000))))
				f.ok(os.Mkdir(f.path(fmt.Sprintf("sub%d", round)), 0o755))
				f.ok(os.Link(f.path("d/old1"), f.path(fmt.Sprintf("sub%d/hard", round))))
				f.write(fmt.Sprintf("sub%d/in", round), f.bytes(5000))
				f.ok(os.Remove(f.path(fmt.Sprintf("d/old%d", 5+round))))
				f.ok(os.Rename(f.path(fmt.Sprintf("d/new%d", round)), f.path(fmt.Sprintf("d/moved%d", round))))
				old, err := os.OpenFile(f.path("d/old0"), os.O_RDWR, 0)
				f.ok(err)
				_, err = old.WriteAt(f.bytes(9000), int64(60_000+round*40_000))
				f.ok(err)
				f.ok(old.Truncate(int64(200_000 - round*30_000)))
				f.ok(old.Sync())
				f.ok(old.Close())
				fsync(t, f.path(fmt.Sprintf("sub%d/in", round)))
				copied := copyImage(t, img)
				fs := openImage(t, copied)
				t.Logf("%+v", fs.Info().Journal)
				commits += fs.Info().Journal.FastCommits
				compareFastCommit(t, fs, copied)
			}
			if commits == 0 {
				t.Error("the kernel wrote no fast commit")
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
}
