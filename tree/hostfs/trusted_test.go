package hostfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"relive/tree"
	"relive/tree/systest"
)

// TestAsAnother is what the tests below run in another process, as another user
// or in another user namespace.
func TestAsAnother(t *testing.T) {
	dir := os.Getenv("HOSTFS_TEST_DIR")
	if dir == "" {
		t.Skip("only for the tests below")
	}
	err := CheckTrusted(dir)
	fmt.Println("trusted hidden:", errors.Is(err, ErrTrustedHidden), err)
	root, err := Open(dir)
	systest.Must(t, err)
	kids, err := root.Children()
	systest.Must(t, err)
	for _, n := range kids {
		switch n.Type {
		case tree.Regular:
			c, err := n.Open()
			fmt.Println(n.Name, n.Xattrs, errors.Is(err, fs.ErrPermission), err)
			if err == nil {
				c.Close()
			}
		case tree.Directory:
			_, err := n.Children()
			fmt.Println(n.Name, n.Xattrs, errors.Is(err, fs.ErrPermission), err)
		default:
			fmt.Println(n.Name, n.Xattrs)
		}
	}
}

// asAnother runs TestAsAnother in a process with other rights.
func asAnother(t *testing.T, dir string, attr *syscall.SysProcAttr) string {
	t.Helper()
	systest.Must(t, os.Chmod(filepath.Dir(dir), 0o755)) // t.TempDir's own parent
	// The test's program lies where only root may look.
	self, err := os.ReadFile("/proc/self/exe")
	systest.Must(t, err)
	systest.Must(t, os.Chmod(dir, 0o755))
	program := filepath.Join(dir, "program.test")
	systest.Must(t, os.WriteFile(program, self, 0o755))
	cmd := exec.Command(program, "-test.run=^TestAsAnother$", "-test.v")
	cmd.Env = append(os.Environ(), "HOSTFS_TEST_DIR="+dir)
	cmd.Dir = "/"
	cmd.SysProcAttr = attr
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}

func marked(t *testing.T) string {
	systest.NeedRoot(t)
	dir := t.TempDir()
	for name, mode := range map[string]os.FileMode{"open": 0o644, "closed": 0o600} {
		systest.Must(t, os.WriteFile(filepath.Join(dir, name), []byte(name), mode))
		systest.Must(t, os.Mkdir(filepath.Join(dir, name+".d"), mode|0o100))
	}
	systest.Must(t, os.Chmod(filepath.Join(dir, "open.d"), 0o755))
	systest.Must(t, unix.Lsetxattr(filepath.Join(dir, "open.d"), "trusted.overlay.opaque", []byte("y"), 0))
	systest.Must(t, unix.Mknod(filepath.Join(dir, "whiteout"), unix.S_IFCHR, 0))
	return dir
}

// Root sees attributes trusted.*, another user does not and is told so; what it
// may not read is an error that names the file.
func TestTrusted(t *testing.T) {
	dir := marked(t)
	systest.Must(t, CheckTrusted(dir))
	n, err := open(t, dir).Child("open.d")
	systest.Must(t, err)
	if _, has := n.Xattrs.Get("trusted.overlay.opaque"); !has {
		t.Error("root does not see a mark")
	}
	out := asAnother(t, dir, &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}})
	for _, want := range []string{
		"trusted hidden: true getxattr " + dir + ": attributes trusted.* are hidden from this process",
		"closed [] true open " + dir + "/closed: permission denied",
		"closed.d [] true open " + dir + "/closed.d: permission denied",
		"open [] false <nil>",
		"open.d [] false <nil>",
		"whiteout []",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

// In a user namespace of its own a process has all capabilities, and does not see
// the attributes.
func TestTrustedNamespace(t *testing.T) {
	dir := marked(t)
	ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 65536}}
	out := asAnother(t, dir, &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER, UidMappings: ids, GidMappings: ids})
	if !strings.Contains(out, "trusted hidden: true") || !strings.Contains(out, "open.d [] false <nil>") ||
		!strings.Contains(out, "closed [] false <nil>") {
		t.Error(out)
	}
}

// A file system without such attributes is told of; a path that is missing too.
func TestTrustedElsewhere(t *testing.T) {
	systest.NeedRoot(t)
	if err := CheckTrusted("/proc"); !errors.Is(err, tree.ErrUnsupported) || !strings.Contains(err.Error(), "/proc") {
		t.Errorf("/proc: %v", err)
	}
	if err := CheckTrusted("/none/such"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing path: %v", err)
	}
}

func TestHasSysAdmin(t *testing.T) {
	for _, tt := range []struct {
		status, ns string
		want       bool
		err        string
	}{
		{"Name:\tx\nCapPrm:\t0\nCapEff:\t000001fffeffffff\n", initialUserNS, true, ""},
		{"CapEff:\t000001fffeffffff\n", "", true, ""},
		{"CapEff:\t0000000000200000\n", initialUserNS, true, ""},
		{"CapEff:\t000001fffedfffff\n", initialUserNS, false, ""},
		{"CapPrm:\t000001ffffffffff\nCapEff:\t0000000000000000\n", initialUserNS, false, ""},
		{"CapEff:\t000001ffffffffff\n", "user:[4026532281]", false, ""},
		{"CapPrm:\t0\n", initialUserNS, false, "no CapEff"},
		{"CapEff:\tx\n", initialUserNS, false, "CapEff"},
	} {
		got, err := hasSysAdmin([]byte(tt.status), tt.ns)
		if got != tt.want || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%q %q: %v, %v", tt.status, tt.ns, got, err)
		}
	}
	// Of this process both ways say the same.
	status, err := os.ReadFile("/proc/self/status")
	systest.Must(t, err)
	ns, err := os.Readlink("/proc/self/ns/user")
	systest.Must(t, err)
	a, err := hasSysAdmin(status, ns)
	systest.Must(t, err)
	if b, err := seesTrusted(); err != nil || a != b {
		t.Errorf("by capabilities %v, by trial %v, %v", a, b, err)
	}
}

// Files that are not what was listed are noticed, and images of the host, which
// may be written to, are not looked at.
func TestChanged(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "sub/file")
	systest.Must(t, os.Mkdir(filepath.Dir(path), 0o755))
	old := unix.NsecToTimespec(1e18)
	for name, change := range map[string]func() error{
		"grown": func() error { return os.WriteFile(path, []byte("longer content"), 0o644) },
		"same size, same times": func() error {
			if err := os.WriteFile(path, []byte("CONTENT"), 0o644); err != nil {
				return err
			}
			return unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{old, old}, 0)
		},
		"replaced": func() error {
			if err := os.WriteFile(path+"2", []byte("content"), 0o644); err != nil {
				return err
			}
			return os.Rename(path+"2", path)
		},
	} {
		t.Run(name, func(t *testing.T) {
			systest.Must(t, os.WriteFile(path, []byte("content"), 0o644))
			systest.Must(t, unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{old, old}, 0))
			n, err := open(t, dir).Lookup("sub/file")
			systest.Must(t, err)
			c, err := n.Open()
			systest.Must(t, err)
			b := make([]byte, 7)
			if _, err := c.ReadAt(b, 0); err != nil || string(b) != "content" {
				t.Errorf("%q, %v", b, err)
			}
			image, err := OpenFile(path)
			systest.Must(t, err)
			defer image.Close()
			tick(t, dir)
			systest.Must(t, change())
			if name != "replaced" { // what is open stays whole, but for its link count
				if _, err := c.ReadAt(b, 0); !errors.Is(err, ErrChanged) || !strings.Contains(err.Error(), path) {
					t.Errorf("read after: %q, %v", b, err)
				}
			}
			if err := c.Close(); !errors.Is(err, ErrChanged) {
				t.Errorf("close after: %v", err)
			}
			if _, err := n.Open(); !errors.Is(err, ErrChanged) || !strings.Contains(err.Error(), path) {
				t.Errorf("open after: %v", err)
			}
			if _, err := image.ReadAt(b, 0); err != nil {
				t.Errorf("image: %v", err)
			}
		})
	}
	root := open(t, dir)
	sub, err := root.Child("sub")
	systest.Must(t, err)
	systest.Must(t, os.Rename(filepath.Join(dir, "sub"), filepath.Join(dir, "was")))
	systest.Must(t, os.Mkdir(filepath.Join(dir, "sub"), 0o755))
	if _, err := sub.Children(); !errors.Is(err, ErrChanged) {
		t.Errorf("another directory: %v", err)
	}
}

// tick waits until the file system's clock has gone on.
func tick(t *testing.T, dir string) {
	t.Helper()
	at := func() unix.Timespec {
		path := filepath.Join(dir, "tick")
		systest.Must(t, os.WriteFile(path, nil, 0o600))
		var st unix.Stat_t
		systest.Must(t, unix.Stat(path, &st))
		systest.Must(t, os.Remove(path))
		return st.Ctim
	}
	for first := at(); at() == first; {
	}
}

// Mounts are refused where that is asked for, those of the same file system and
// of files too.
func TestRefuseMounts(t *testing.T) {
	systest.NeedRoot(t, "mount")
	dir := t.TempDir()
	for _, d := range []string{"a/mnt", "b/bound", "c/d"} {
		systest.Must(t, os.MkdirAll(filepath.Join(dir, d), 0o755))
	}
	systest.Must(t, os.WriteFile(filepath.Join(dir, "c/file"), nil, 0o600))
	systest.Must(t, os.WriteFile(filepath.Join(dir, "c/other"), []byte("x"), 0o600))
	systest.Must(t, os.Symlink("/proc", filepath.Join(dir, "link")))
	walk := func(sub string) error {
		root, err := Open(filepath.Join(dir, sub), RefuseMounts())
		systest.Must(t, err)
		return tree.Walk(t.Context(), root, func(string, *tree.Node) error { return nil })
	}
	systest.Must(t, walk(""))
	for _, m := range []struct{ sub, at string }{{"a", "a/mnt"}, {"b", "b/bound"}, {"c", "c/file"}} {
		at := filepath.Join(dir, m.at)
		switch m.sub {
		case "a":
			systest.MountAt(t, "tmpfs", "", "relive-test", at)
		case "b":
			systest.MountAt(t, "", "bind", filepath.Join(dir, "c/d"), at)
		case "c":
			systest.MountAt(t, "", "bind", filepath.Join(dir, "c/other"), at)
		}
		if err := walk(m.sub); !errors.Is(err, tree.ErrUnsupported) || !strings.Contains(err.Error(), at) {
			t.Errorf("%s: %v", m.at, err)
		}
	}
	if err := walk("c/d"); err != nil {
		t.Error(err)
	}
	// Seen from its root, a mounted file system is no mount point.
	if err := walk("a/mnt"); err != nil {
		t.Error(err)
	}
}
