package extfs

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"relive/tree"
	"relive/tree/systest"
)

// TestBadEntry breaks the inode of one name, and has the rest of its directory.
func TestBadEntry(t *testing.T) {
	img := append([]byte{}, fixture(t, "ext2-metacopy")...)
	fs := openBytes(t, img)
	e := &edit{t, img, fs}
	upper, err := rootOf(t, fs).Lookup("upper")
	if err != nil {
		t.Fatal(err)
	}
	want, err := upper.Children()
	if err != nil {
		t.Fatal(err)
	}
	le.PutUint32(e.entry(e.lookup("upper"), "bin"), fs.geo.inodes) // which is not in use
	good, bad, err := upper.Readable()
	if err != nil || len(good) != len(want)-1 || tree.Find(good, "bin") != nil || len(bad) != 1 || bad[0].Name != "bin" ||
		!errors.Is(bad[0].Err, tree.ErrCorrupt) {
		t.Errorf("%d of %d, %v, %v", len(good), len(want), bad, err)
	}
	if kids, err := upper.Children(); kids != nil || !errors.Is(err, tree.ErrCorrupt) {
		t.Error(kids, err)
	}
	if n, err := upper.Child(good[0].Name); n == nil || err != nil {
		t.Error(n, err)
	}
}

// TestLustre has an attribute in an inode with a back reference to its owner, as
// Lustre writes it. The kernel reads it; here it is a feature that is not
// supported, and no damage. A hash that is wrong without one is damage.
func TestLustre(t *testing.T) {
	systest.NeedTools(t, "mke2fs", "debugfs")
	dir := systest.TempDir(t)
	src, path, value := filepath.Join(dir, "src"), filepath.Join(dir, "img"), filepath.Join(dir, "value")
	systest.Must(t, os.Mkdir(src, 0o755))
	systest.Must(t, os.WriteFile(filepath.Join(src, "file"), nil, 0o644))
	systest.Must(t, os.WriteFile(value, []byte(strings.Repeat("value ", 600)), 0o644))
	systest.BlankAt(t, path, 8<<20)
	systest.Run(t, "mke2fs", "-qt", "ext4", "-b", "1024", "-O", "ea_inode,^metadata_csum", "-d", src, path)
	systest.Run(t, "debugfs", "-w", "-R", "ea_set -f "+value+" /file user.large", path)
	look := func() (*tree.Node, error) {
		c, size := systest.OpenFile(t, path)
		fs, err := Open(c, size, "img")
		if err != nil {
			t.Fatal(err)
		}
		return rootOf(t, fs).Lookup("file")
	}
	n, err := look()
	if err != nil || len(n.Xattrs) != 1 {
		t.Fatal(n, err)
	}
	// The inode behind the file's holds the value.
	owner := n.Inode.Number
	set := func(field, value string) {
		systest.Run(t, "debugfs", "-w", "-R", "sif <"+strconv.FormatUint(owner+1, 10)+"> "+field+" "+value, path)
	}
	set("atime", "@99")
	if _, err := look(); !errors.Is(err, tree.ErrCorrupt) {
		t.Errorf("a wrong hash: %v", err)
	}
	set("mtime", "@"+strconv.FormatUint(owner, 10))
	set("mtime_extra", "0")
	if _, err := look(); !errors.Is(err, tree.ErrUnsupported) || errors.Is(err, tree.ErrCorrupt) ||
		!strings.Contains(err.Error(), "Lustre") {
		t.Errorf("a back reference: %v", err)
	}
}
