package fat

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"relive/tree"
	"relive/tree/hostfs"
	"relive/tree/systest"
)

// TestExFATFixture compares an image that mkfs.exfat and exfat-fuse made with what
// exfat-fuse showed of it.
func TestExFATFixture(t *testing.T) {
	img := fixture(t, "exfat")
	fs, err := Open(bytes.NewReader(img), int64(len(img)), "image")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	for _, name := range []string{"exfat.files", "exfat.dirs"} {
		p, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(p)) {
			path, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
			want[path] = rest
		}
	}
	got := map[string]string{}
	root := rootOf(t, fs)
	err = tree.Walk(t.Context(), root, func(path string, n *tree.Node) error {
		path = strings.Trim(path, "/")
		switch n.Type {
		case tree.Directory:
			if path != "" {
				got[path] = ""
			}
		case tree.Regular:
			p, err := tree.ReadAll(n, 1<<20)
			if err != nil {
				return err
			}
			// Ten digits of a fraction, as find prints it.
			got[path] = fmt.Sprintf("%d\t%d.%09d0\t%x", n.Size, n.Mtime.Sec, n.Mtime.Nsec, sha256.Sum256(p))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(want) < 40 || len(got) != len(want) {
		t.Errorf("%d names, want %d", len(got), len(want))
	}
	for path, w := range want {
		if g, ok := got[path]; !ok || g != w {
			t.Errorf("%q: %q, want %q", path, g, w)
		}
	}
	if n := fragments(t, root); n == 0 {
		t.Error("no file is in pieces")
	}
	if label, err := fs.Label(); label != "Größe" || err != nil {
		t.Errorf("%q, %v", label, err)
	}
	if fs.Kind() != ExFAT {
		t.Error(fs.Kind())
	}
}

// TestExFATFuse lets exfat-fuse write random trees, and reads them.
func TestExFATFuse(t *testing.T) {
	systest.NeedRoot(t, "mkfs.exfat", "mount.exfat-fuse", "fsck.exfat", "losetup")
	for i, args := range [][]string{{"-c", "4K"}, {"-c", "512", "-b", "4K"}, {"-c", "128K"}} {
		t.Run(fmt.Sprint(args), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(uint64(i), 5))
			dir := t.TempDir()
			img, mnt := filepath.Join(dir, "img"), filepath.Join(dir, "mnt")
			if err := os.Mkdir(mnt, 0o755); err != nil {
				t.Fatal(err)
			}
			systest.BlankAt(t, img, 200<<20)
			systest.Run(t, "mkfs.exfat", append(args, "-L", "ein Stick", img)...)
			loop, _ := systest.Loop(t, img, 0)
			systest.Run(t, "mount.exfat-fuse", loop, mnt)
			unmount := systest.Mounted(t, mnt)
			for k := range 40 {
				if err := os.WriteFile(filepath.Join(mnt, fmt.Sprintf("gap %d", k)), make([]byte, 1+r.IntN(9000)), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			for k := 0; k < 40; k += 2 {
				if err := os.Remove(filepath.Join(mnt, fmt.Sprintf("gap %d", k))); err != nil {
					t.Fatal(err)
				}
			}
			populate(t, r, mnt, false, 1, true)
			want := filepath.Join(dir, "want")
			systest.Run(t, "cp", "-a", mnt, want)
			unmount()
			systest.Run(t, "fsck.exfat", "-n", img)

			host, err := hostfs.Open(want)
			if err != nil {
				t.Fatal(err)
			}
			fs := openFile(t, img)
			if n := equalTrees(t, rootOf(t, fs), host, "", time.Second); n < 100 {
				t.Errorf("only %d nodes were compared", n)
			}
			if got := blkid(t, img, "UUID"); got != fs.UUID() {
				t.Errorf("UUID %s, blkid has %s", fs.UUID(), got)
			}
			if label, err := fs.Label(); label != blkid(t, img, "LABEL") || label == "" || err != nil {
				t.Errorf("label %q, %v", label, err)
			}
		})
	}
}
