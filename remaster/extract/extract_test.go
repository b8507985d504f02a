package extract

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"relive/tree"
	"relive/tree/hostfs"
	"relive/tree/systest"
)

var at = tree.Time{Sec: 1_600_000_000}

// node makes a node with all metadata.
func node(name string, typ tree.Type, perm uint16, owner uint32, content string) *tree.Node {
	n := &tree.Node{Name: name, Nlink: 1, Meta: tree.Meta{Type: typ, Perm: perm, UID: owner, GID: owner + 1, Mtime: at}}
	switch typ {
	case tree.Regular:
		n.Data, n.Size = tree.Bytes(content), int64(len(content))
	case tree.Symlink:
		n.Target, n.Size = content, int64(len(content))
	case tree.BlockDevice, tree.CharDevice:
		n.Rdev = tree.Rdev{Major: 200, Minor: 70000}
	}
	return n
}

func folder(name string, perm uint16, kids ...*tree.Node) *tree.Node {
	d := tree.NewDir(name, perm, kids...)
	d.Mtime = at
	return d
}

// everything is a tree with files of all types.
func everything() *tree.Node {
	one, two := node("a", tree.Regular, 0o600, 7, "linked"), node("z", tree.Regular, 0o600, 7, "linked")
	for _, n := range []*tree.Node{one, two} {
		n.Inode, n.Nlink = tree.Inode{Source: n, Number: 9}, 2
		n.Inode.Source = "group"
	}
	return folder("", 0o750,
		folder("locked", 0o500, one, folder("deep", 0o1777)),
		two,
		node("suid", tree.Regular, 0o4755, 0, strings.Repeat("x", 3<<20)),
		node("sgid", tree.Regular, 0o2711, 9, ""),
		node("link", tree.Symlink, 0o777, 5, "/etc/passwd"),
		node("odd \n\xff", tree.Regular, 0o444, 0, "name"),
		node("fifo", tree.FIFO, 0o640, 3, ""),
		node("socket", tree.Socket, 0o600, 3, ""),
		node("block", tree.BlockDevice, 0o660, 6, ""),
		node("char", tree.CharDevice, 0o620, 5, ""))
}

// What is extracted as root equals the tree.
func TestTree(t *testing.T) {
	t.Parallel()
	systest.NeedRoot(t)
	dir := filepath.Join(systest.MemDir(t), "out")
	var last int64
	rep, err := Tree(t.Context(), everything(), dir, Options{Progress: func(n int64) { last = n }})
	if err != nil {
		t.Fatal(err)
	}
	if len(rep.Left) > 0 || rep.Files != 4 || rep.Dirs != 2 || rep.Links != 1 || rep.Symlinks != 1 || rep.Special != 4 ||
		rep.Bytes != last || last != 3<<20+6+4 {
		t.Errorf("%+v, %d bytes", rep, last)
	}
	equal(t, everything(), dir)
	// Again: nothing is overwritten, then all of it.
	if _, err := Tree(t.Context(), everything(), dir, Options{}); !errors.Is(err, ErrExists) {
		t.Error(err)
	}
	systest.Must(t, os.WriteFile(dir+"/suid", []byte("changed"), 0o600))
	systest.Must(t, os.Chmod(dir+"/locked", 0o755))
	if _, err := Tree(t.Context(), everything(), dir, Options{Force: true}); err != nil {
		t.Fatal(err)
	}
	root, err := hostfs.Open(dir)
	systest.Must(t, err)
	equalTrees(t, everything(), root, tree.Mtimes)
}

func equal(t *testing.T, want *tree.Node, dir string) {
	t.Helper()
	got, err := hostfs.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	equalTrees(t, want, got, 0)
}

// equalTrees compares; of the root what is told does not count.
func equalTrees(t *testing.T, want, got *tree.Node, root tree.Difference) {
	t.Helper()
	err := tree.Compare(t.Context(), want, got, tree.CompareOptions{Links: true, IgnoreXattr: func(string) bool { return true }},
		func(c tree.Change) error {
			if c.Path != "" || c.Diff&^root != 0 {
				t.Errorf("%s: %v\n%+v\n%+v", tree.Quote(c.Path), c.Diff, c.A, c.B)
			}
			return nil
		})
	if err != nil {
		t.Error(err)
	}
}

// Symlinks that stand in the directory, or that the tree puts there first, lead
// nowhere.
func TestSymlinks(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	outside := filepath.Join(base, "outside")
	systest.Must(t, os.Mkdir(outside, 0o755))
	victim := filepath.Join(outside, "victim")
	systest.Must(t, os.WriteFile(victim, []byte("whole"), 0o644))
	root := folder("", 0o755, folder("d", 0o755, node("victim", tree.Regular, 0o644, 0, "evil")), node("f", tree.Regular, 0o666, 0, "evil"),
		node("s", tree.Symlink, 0o777, 0, "nowhere"))
	for _, force := range []bool{false, true} {
		dir := filepath.Join(base, fmt.Sprint("in", force))
		systest.Must(t, os.Mkdir(dir, 0o755))
		systest.Must(t, os.Symlink(outside, dir+"/d"))
		systest.Must(t, os.Symlink(victim, dir+"/f"))
		systest.Must(t, os.Symlink(victim, dir+"/s"))
		_, err := Tree(t.Context(), root, dir, Options{Force: force})
		if force && err != nil || !force && !errors.Is(err, ErrExists) {
			t.Errorf("force %v: %v", force, err)
		}
		if b, err := os.ReadFile(victim); err != nil || string(b) != "whole" {
			t.Errorf("force %v: %q, %v", force, b, err)
		}
		if force {
			if b, err := os.ReadFile(dir + "/d/victim"); err != nil || string(b) != "evil" {
				t.Errorf("%q, %v", b, err)
			}
			if to, err := os.Readlink(dir + "/s"); err != nil || to != "nowhere" {
				t.Errorf("%q, %v", to, err)
			}
		}
	}
	// A race, as if another program put a symlink into the directory after it was
	// looked at: the steps themselves do not follow.
	dir := filepath.Join(base, "race")
	race := folder("", 0o755, folder("a", 0o755, sneaky(func() {
		systest.Must(t, os.Symlink(outside, dir+"/b"))
		systest.Must(t, os.Symlink(victim, dir+"/c"))
	})), folder("b", 0o755, node("victim", tree.Regular, 0o644, 0, "evil")), node("c", tree.Regular, 0o644, 0, "evil"))
	if _, err := Tree(t.Context(), race, dir, Options{}); !errors.Is(err, ErrExists) {
		t.Error(err)
	}
	if b, err := os.ReadFile(victim); err != nil || string(b) != "whole" {
		t.Errorf("%q, %v", b, err)
	}
}

// sneaky is a file at whose opening something happens.
type sneakyData func()

func (s sneakyData) Open() (tree.Content, error) {
	s()
	return tree.Bytes("x").Open()
}

func sneaky(do func()) *tree.Node {
	n := node("sneaky", tree.Regular, 0o644, 0, "x")
	n.Data = sneakyData(do)
	return n
}

// A directory is not replaced by anything else, whatever is forced; what fails
// half way leaves no half file.
func TestFails(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	systest.Must(t, os.MkdirAll(dir+"/f/full", 0o755))
	if _, err := Tree(t.Context(), folder("", 0o755, node("f", tree.Regular, 0o644, 0, "")), dir, Options{Force: true}); err == nil ||
		!strings.Contains(err.Error(), "/f: a directory is in the way of a file") {
		t.Error(err)
	}
	broken := node("broken", tree.Regular, 0o644, 0, "")
	broken.Data = brokenData{}
	if _, err := Tree(t.Context(), folder("", 0o755, broken), dir, Options{}); !errors.Is(err, tree.ErrCorrupt) {
		t.Error(err)
	}
	if _, err := os.Lstat(dir + "/broken"); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	stop := folder("", 0o755, sneaky(cancel), node("t", tree.Regular, 0o644, 0, "t"))
	if _, err := Tree(ctx, stop, dir+"/new", Options{}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	systest.Must(t, os.WriteFile(dir+"/file", nil, 0o644))
	if _, err := Tree(t.Context(), folder("", 0o755), dir+"/file", Options{}); err == nil {
		t.Error("a file was taken for a directory")
	}
}

type brokenData struct{}

func (brokenData) Open() (tree.Content, error) { return brokenContent{}, nil }

type brokenContent struct{}

func (brokenContent) Close() error { return nil }
func (brokenContent) Size() int64  { return 5 << 20 }
func (brokenContent) ReadAt(p []byte, off int64) (int, error) {
	if off >= 1<<20 {
		return 0, tree.Corrupt("image", "file", "is broken")
	}
	return len(p), nil
}
func (brokenContent) NextData(off int64) (int64, int64, error) { return tree.WholeData(off, 5<<20) }

// TestOtherUser: what another user cannot make is left out and told.
func TestOtherUser(t *testing.T) {
	systest.NeedRoot(t, "setpriv")
	dir := systest.MemDir(t)
	if os.Getenv("EXTRACT_AS") != "" {
		return
	}
	systest.Must(t, os.Chmod(dir, 0o777))
	exe, err := os.Executable()
	systest.Must(t, err)
	// The test program as nobody, in the mode that TestAsNobody is.
	copied := filepath.Join(dir, "test")
	systest.CopyFile(t, exe, copied)
	systest.Must(t, os.Chmod(copied, 0o755))
	for up := dir; up != "/"; up = filepath.Dir(up) {
		st, err := os.Stat(up)
		systest.Must(t, err)
		if st.Mode().Perm()&0o001 == 0 {
			systest.Must(t, os.Chmod(up, st.Mode().Perm()|0o011))
		}
	}
	cmd := exec.CommandContext(t.Context(), "setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", copied, "-test.run",
		"^TestAsNobody$", "-test.v")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "EXTRACT_AS="+filepath.Join(dir, "out"))
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestAsNobody") {
		t.Fatalf("%v\n%s", err, out)
	}
}

// TestAsNobody is run by TestOtherUser.
func TestAsNobody(t *testing.T) {
	dir := os.Getenv("EXTRACT_AS")
	if dir == "" {
		t.Skip("run by TestOtherUser")
	}
	rep, err := Tree(context.Background(), everything(), dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int{}
	for _, l := range rep.Left {
		got[l.What] = l.Count
	}
	if len(got) != 2 || got[leftDevice] != 2 || got[leftSetID] != 2 {
		t.Errorf("%v", rep.Left)
	}
	for name, perm := range map[string]uint32{"suid": 0o755, "sgid": 0o711, "locked": 0o500, "locked/deep": 0o1777, "fifo": 0o640} {
		var st unix.Stat_t
		if err := unix.Lstat(filepath.Join(dir, name), &st); err != nil || st.Mode&0o7777 != perm || st.Uid != 65534 ||
			int64(st.Mtim.Sec) != at.Sec {
			t.Errorf("%s: %#o, owner %d, %v", name, st.Mode, st.Uid, err)
		}
	}
	var a, z unix.Stat_t
	if unix.Lstat(dir+"/locked/a", &a) != nil || unix.Lstat(dir+"/z", &z) != nil || a.Ino != z.Ino {
		t.Error("the linked files are two")
	}
}
