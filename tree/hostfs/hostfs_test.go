package hostfs

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/fstest"

	"golang.org/x/sys/unix"

	"relive/tree"
	"relive/tree/systest"
)

// nasty makes a directory with everything that a file system can hold.
func nasty(t testing.TB) string {
	t.Helper()
	systest.NeedRoot(t)
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	file := func(name, content string) string {
		systest.Must(t, os.MkdirAll(filepath.Dir(at(name)), 0o755))
		systest.Must(t, os.WriteFile(at(name), []byte(content), 0o644))
		return at(name)
	}
	for i := 1; i < 256; i++ {
		if i != '/' && i != '.' {
			file("names/"+string([]byte{byte(i)}), "")
		}
	}
	file("names/"+strings.Repeat("n", 255), "long")
	file("names/...", "")
	// The order of raw names is not that of escaped ones, nor that of whole paths.
	file("links/!x", "linked")
	systest.Must(t, os.Link(at("links/!x"), at("links/ x")))
	systest.Must(t, os.Link(at("links/!x"), at("links.a")))
	file("links/!y", "linked")
	systest.Must(t, os.Link(at("links/!y"), at("links/ y")))
	systest.Must(t, os.Symlink("target\xff\n", at("links/sym")))
	systest.Must(t, os.Link(at("links/sym"), at("links/sym2")))
	systest.Must(t, os.Symlink(strings.Repeat("t", 4095), at("links/long")))
	systest.Chown(t, at("links/long"), 4000000000, 70000)
	for name, mode := range map[string]uint32{"null": unix.S_IFCHR, "block": unix.S_IFBLK, "fifo": unix.S_IFIFO} {
		systest.Must(t, unix.Mknod(at(name), mode|0o640, int(unix.Mkdev(259, 70000))))
	}
	systest.Must(t, os.Link(at("fifo"), at("fifo2")))
	s, err := net.Listen("unix", at("socket"))
	systest.Must(t, err)
	s.(*net.UnixListener).SetUnlinkOnClose(false)
	s.Close()
	for name, x := range map[string]map[string]string{
		"xattr/a": {"user.empty": "", "user.bytes": "\x00\xff\n",
			"security.capability": "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"},
		"xattr/b": {"user.long": strings.Repeat("v", 3000), "trusted.t": "t", "user.name-" + strings.Repeat("n", 200): "x"},
		"xattr/acl": {"system.posix_acl_access": "\x02\x00\x00\x00\x01\x00\x06\x00\xff\xff\xff\xff\x02\x00\x07\x00\x05\x00\x00\x00\x04" +
			"\x00\x04\x00\xff\xff\xff\xff\x10\x00\x07\x00\xff\xff\xff\xff\x20\x00\x04\x00\xff\xff\xff\xff"},
	} {
		path := file(name, name)
		for k, v := range x {
			systest.Must(t, unix.Lsetxattr(path, k, []byte(v), 0))
		}
	}
	many := file("xattr/many", "")
	for i := range 40 {
		systest.Must(t, unix.Lsetxattr(many, fmt.Sprintf("user.a-name-of-some-length-%02d", i), []byte{byte(i)}, 0))
	}
	systest.Must(t, unix.Lsetxattr(at("links/sym"), "trusted.on.link", []byte("l"), 0))
	for i, mode := range []uint32{0, 0o7777, 0o4711} {
		systest.Must(t, unix.Chmod(file(fmt.Sprintf("modes/%d", i), "m"), mode))
	}
	for i, sec := range []int64{-5, 0, 1<<32 + 7} {
		systest.Must(t, SetTimes(unix.AT_FDCWD, file(fmt.Sprintf("times/%d", i), ""), tree.Time{Sec: sec, Nsec: 123456789}))
	}
	for name, offsets := range map[string][]int64{"sparse/none": nil, "sparse/two": {0, 9 << 20}, "sparse/mid": {4<<20 + 5}} {
		f, err := os.OpenFile(file(name, ""), os.O_WRONLY, 0)
		systest.Must(t, err)
		systest.Must(t, f.Truncate(10<<20+3))
		for _, off := range offsets {
			_, err := f.WriteAt([]byte("island"), off)
			systest.Must(t, err)
		}
		f.Close()
	}
	systest.Must(t, os.MkdirAll(at(strings.Repeat("deep/", 60)), 0o755))
	systest.Must(t, os.Chmod(dir, 0o1751))
	return dir
}

func open(t testing.TB, dir string) *tree.Node {
	t.Helper()
	root, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// Our manifest says what scripts/manifest.py says of the same directory.
func TestManifest(t *testing.T) {
	systest.NeedRoot(t, "python3")
	dir := nasty(t)
	parse := func(lines string) map[string]map[string]any {
		out := map[string]map[string]any{}
		d := json.NewDecoder(strings.NewReader(lines))
		d.UseNumber()
		for {
			var l map[string]any
			if err := d.Decode(&l); err == io.EOF {
				return out
			} else if err != nil {
				t.Fatal(err)
			}
			delete(l, "nlink") // for information only
			out[l["path"].(string)] = l
		}
	}
	want := parse(systest.Output(t, "python3", "../../scripts/manifest.py", "make", dir))
	var b bytes.Buffer
	if err := tree.WriteManifest(context.Background(), &b, open(t, dir), tree.ManifestOptions{}); err != nil {
		t.Fatal(err)
	}
	got := parse(b.String())
	if len(got) != bytes.Count(b.Bytes(), []byte("\n")) || len(got) < 300 {
		t.Errorf("%d paths in %d lines", len(got), bytes.Count(b.Bytes(), []byte("\n")))
	}
	for path, w := range want {
		if !reflect.DeepEqual(got[path], w) {
			t.Errorf("%s:\n got %v\nwant %v", path, got[path], w)
		}
	}
	for path := range got {
		if want[path] == nil {
			t.Errorf("%s: only here", path)
		}
	}
	if x, y := want["/links/!x"]["hl"], want["/links/!y"]["hl"]; x != "/links.a" || y != "/links/%20y" {
		t.Errorf("the links' groups are called %v and %v", x, y)
	}
}

// What find and getfattr tell of a directory.
func TestFind(t *testing.T) {
	systest.NeedRoot(t, "find", "getfattr")
	dir := nasty(t)
	got := map[string]string{}
	err := tree.Walk(context.Background(), open(t, dir), func(path string, n *tree.Node) error {
		// Symlinks' sizes are those of their targets, and directories have none.
		got[path] = fmt.Sprintf("%o %d %d %d.%09d %d %s", n.Perm, n.UID, n.GID, n.Mtime.Sec, n.Mtime.Nsec, n.Nlink, n.Target)
		if n.Type == tree.Regular {
			got[path] += fmt.Sprint(" ", n.Size)
		}
		return nil
	})
	systest.Must(t, err)
	out := systest.Output(t, "find", dir, "-printf", `%P\0%m %U %G %T@ %n %l\0%y\0%s\0`)
	fields := strings.Split(out, "\x00")
	seen := 0
	for ; len(fields) >= 4; fields = fields[4:] {
		seen++
		path, want := fields[0], strings.Split(fields[1], " ")
		// %T@ has ten digits behind the point.
		want[3] = want[3][:len(want[3])-1]
		if sec, frac, _ := strings.Cut(want[3], "."); sec == "-4" || sec == "-5" {
			want[3] = "-5." + frac // find counts the fraction toward zero
			if sec == "-4" {
				want[3] = "-5.123456789"
			}
		}
		w := strings.Join(want, " ")
		if fields[2] == "f" {
			w += " " + fields[3]
		}
		if got[path] != w {
			t.Errorf("%q:\n got %s\nwant %s", path, got[path], w)
		}
	}
	if seen != len(got) {
		t.Errorf("find tells of %d paths, not %d", seen, len(got))
	}

	for _, name := range []string{"xattr/a", "xattr/b", "xattr/acl", "xattr/many", "links/sym", "modes/1"} {
		n, err := open(t, dir).Lookup(name)
		systest.Must(t, err)
		want := map[string]string{}
		for _, line := range strings.Split(systest.Output(t, "getfattr", "-h", "-d", "-m", "-", "-e", "hex", "--absolute-names",
			filepath.Join(dir, name)), "\n") {
			if k, v, ok := strings.Cut(line, "="); ok {
				want[k] = strings.TrimPrefix(v, "0x")
			} else if line != "" && line[0] != '#' {
				want[line] = ""
			}
		}
		if len(want) != len(n.Xattrs) {
			t.Errorf("%s: %d attributes, not %d", name, len(n.Xattrs), len(want))
		}
		for i, x := range n.Xattrs {
			if v, ok := want[x.Name]; !ok || v != hex.EncodeToString([]byte(x.Value)) {
				t.Errorf("%s: %s is %x, not %s", name, x.Name, x.Value, v)
			}
			if i > 0 && n.Xattrs[i-1].Name >= x.Name {
				t.Errorf("%s: %s out of order", name, x.Name)
			}
		}
	}
}

// Holes are those that SEEK_DATA tells of: nothing between them is missed, and
// they read as zeros.
func TestHoles(t *testing.T) {
	dir := nasty(t)
	for name, islands := range map[string]int{"sparse/none": 0, "sparse/two": 2, "sparse/mid": 1, "xattr/a": 1, "times/0": 0} {
		c, err := OpenFile(filepath.Join(dir, name))
		systest.Must(t, err)
		defer c.Close()
		whole := make([]byte, c.Size())
		systest.Must(t, tree.ReadFull(c, whole, 0))
		n, off := 0, int64(0)
		for {
			start, end, err := c.NextData(off)
			if err == io.EOF {
				start = c.Size()
			} else {
				systest.Must(t, err)
			}
			if start < off || !tree.IsZero(whole[off:start]) {
				t.Errorf("%s: data before %d", name, start)
			}
			if err == io.EOF {
				break
			}
			if end <= start || end > c.Size() {
				t.Fatalf("%s: %d to %d", name, start, end)
			}
			n, off = n+1, end
		}
		if n != islands {
			t.Errorf("%s: %d ranges of data, not %d", name, n, islands)
		}
	}
}

// Other file systems are not entered, and their inodes are no links of ours.
func TestMountPoints(t *testing.T) {
	systest.NeedRoot(t, "mount")
	dir := t.TempDir()
	for _, name := range []string{"mnt", "bound"} {
		systest.Must(t, os.Mkdir(filepath.Join(dir, name), 0o700))
	}
	systest.Must(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o600))
	systest.Must(t, os.WriteFile(filepath.Join(dir, "bound", "own"), nil, 0o600))
	systest.MountAt(t, "tmpfs", "mode=0711", "relive-test", filepath.Join(dir, "mnt"))
	inside := filepath.Join(dir, "mnt", "inside")
	systest.Must(t, os.WriteFile(inside, []byte("inside"), 0o644))
	systest.MountAt(t, "", "bind", inside, filepath.Join(dir, "file"))

	root := open(t, dir)
	mnt, err := root.Child("mnt")
	systest.Must(t, err)
	kids, err := mnt.Children()
	if err != nil || len(kids) != 0 || mnt.Perm != 0o711 {
		t.Errorf("%d children of %+v, %v", len(kids), mnt.Meta, err)
	}
	bound, err := root.Lookup("bound/own")
	if err != nil || bound == nil {
		t.Error("a directory of the same file system is not entered")
	}
	file, err := root.Child("file")
	systest.Must(t, err)
	if file.Inode.Source == bound.Inode.Source || mnt.Inode.Source == bound.Inode.Source {
		t.Error("inodes of other file systems count as ours")
	}
	// Seen from within, the file system is shown.
	if n, err := open(t, filepath.Join(dir, "mnt")).Child("inside"); err != nil || n == nil {
		t.Error("the mounted file system itself does not open", err)
	}
}

// A symlink that takes a file's or directory's place is not followed; one that
// leads to the root is.
func TestSymlinks(t *testing.T) {
	dir := t.TempDir()
	real, other := filepath.Join(dir, "real"), filepath.Join(dir, "other")
	for _, d := range []string{real, other} {
		systest.Must(t, os.MkdirAll(filepath.Join(d, "sub"), 0o755))
		systest.Must(t, os.WriteFile(filepath.Join(d, "file"), []byte(d), 0o644))
	}
	link := filepath.Join(dir, "link")
	systest.Must(t, os.Symlink("real", link))
	root := open(t, link)
	sub, err := root.Child("sub")
	systest.Must(t, err)
	file, err := root.Child("file")
	systest.Must(t, err)
	for _, name := range []string{"sub", "file"} {
		systest.Must(t, os.Remove(filepath.Join(real, name)))
		systest.Must(t, os.Symlink(filepath.Join(other, name), filepath.Join(real, name)))
	}
	if _, err := sub.Children(); err == nil {
		t.Error("a symlink is listed")
	}
	if _, err := file.Open(); !errors.Is(err, unix.ELOOP) {
		t.Error("a symlink is opened:", err)
	}
	c, err := OpenFile(filepath.Join(real, "file"))
	if err != nil || c.Size() != int64(len(other)) {
		t.Error("OpenFile does not follow", err)
	}
	c.Close()
	for _, bad := range []string{filepath.Join(dir, "none"), filepath.Join(other, "file")} {
		if _, err := Open(bad); err == nil || !strings.Contains(err.Error(), bad) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

// A directory of the host as an fs.FS does what testing/fstest asks of one, and
// a comparison with itself finds nothing.
func TestFS(t *testing.T) {
	dir := t.TempDir()
	systest.Must(t, os.MkdirAll(filepath.Join(dir, "a/b"), 0o755))
	for _, name := range []string{"file", "a/one", "a/b/two"} {
		systest.Must(t, os.WriteFile(filepath.Join(dir, name), bytes.Repeat([]byte(name), 9000), 0o644))
	}
	if err := fstest.TestFS(tree.FS(open(t, dir)), "file", "a/one", "a/b/two"); err != nil {
		t.Error(err)
	}
	err := tree.Compare(context.Background(), open(t, dir), open(t, dir), tree.CompareOptions{Links: true}, func(c tree.Change) error {
		t.Errorf("%s: %v", c.Path, c.Diff)
		return nil
	})
	systest.Must(t, err)
}

// Linux 6.18 fails at SEEK_HOLE in a mounted SquashFS, at a file with its tail
// in a fragment and certain inodes behind it. The file reads all the same.
func TestSeekHoleFails(t *testing.T) {
	systest.NeedRoot(t, "mksquashfs", "mount")
	dir := t.TempDir()
	src, at, image := filepath.Join(dir, "src"), filepath.Join(dir, "at"), filepath.Join(dir, "image")
	systest.Must(t, os.Mkdir(src, 0o755))
	systest.Must(t, os.Mkdir(at, 0o755))
	content := bytes.Repeat([]byte("text "), 2000)
	systest.Must(t, os.WriteFile(filepath.Join(src, "a"), content, 0o644))
	systest.Must(t, os.WriteFile(filepath.Join(src, "b"), content, 0o644))
	systest.Must(t, os.Chmod(filepath.Join(src, "b"), 0o711|os.ModeSetuid))
	systest.Run(t, "mksquashfs", src, image, "-b", "4096", "-always-use-fragments", "-quiet", "-no-progress")
	systest.MountAt(t, "", "loop,ro", image, at)
	err := tree.Compare(context.Background(), open(t, src), open(t, at), tree.CompareOptions{WholeSeconds: true},
		func(c tree.Change) error {
			t.Errorf("%s: %v", c.Path, c.Diff)
			return nil
		})
	systest.Must(t, err)
}
