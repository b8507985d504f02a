package newfile_test

import (
	"bytes"
	"context"
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

	"relive/remaster/newfile"
	"relive/remaster/refusal"
	"relive/tree/systest"
)

const helper = "NEWFILE_TEST_WRITES"

// TestMain is also the process that writes a file: with a line on standard
// output when it has the lock, and waiting for the end of standard input.
func TestMain(m *testing.M) {
	if path := os.Getenv(helper); path != "" {
		os.Exit(writer(path, os.Getenv("NEWFILE_TEST_FORCE") != ""))
	}
	os.Exit(m.Run())
}

// size is how much a process writes, in bytes.
const size = 256 << 10

func writer(path string, force bool) int {
	f, err := newfile.Create(path, newfile.Options{Force: force})
	if err == nil {
		fmt.Println("begun")
		mark := []byte(fmt.Sprintf("%08d", os.Getpid()))
		for n := 0; n < size && err == nil; n += 64 << 10 {
			_, err = f.Write(bytes.Repeat(mark, 64<<10/len(mark)))
		}
		if err == nil {
			_, err = os.Stdin.Read(make([]byte, 1)) // until it is closed
			if err != nil {
				err = f.Commit(context.Background(), nil)
			}
		}
	}
	if _, ok := refusal.Is(err); ok {
		return 4
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

type process struct {
	*exec.Cmd
	in  interface{ Close() error }
	out *bytes.Buffer
}

func start(t *testing.T, path string, force bool) *process {
	t.Helper()
	self, err := os.Executable()
	systest.Must(t, err)
	p := &process{Cmd: exec.Command(self), out: &bytes.Buffer{}}
	p.Env = append(os.Environ(), helper+"="+path)
	if force {
		p.Env = append(p.Env, "NEWFILE_TEST_FORCE=1")
	}
	p.Stdout, p.Stderr = p.out, p.out
	in, err := p.StdinPipe()
	systest.Must(t, err)
	p.in = in
	systest.Must(t, p.Start())
	return p
}

// end lets the process go on to its end, and gives its exit code.
func (p *process) end() int {
	p.in.Close()
	_ = p.Wait()
	return p.ProcessState.ExitCode()
}

// whole checks that a file is of one writer from end to end.
func whole(t *testing.T, path string) {
	t.Helper()
	b, err := os.ReadFile(path)
	systest.Must(t, err)
	if len(b) != size || !bytes.Equal(b, bytes.Repeat(b[:8], size/8)) {
		t.Errorf("%s: %d bytes, not one whole file of one writer", path, len(b))
	}
}

func names(t *testing.T, dir string) (out []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	systest.Must(t, err)
	for _, d := range entries {
		out = append(out, d.Name())
	}
	return out
}

// TestConcurrent: of several processes that write the same file at once one
// wins, or with Force those that come one after another; the others are refused;
// what has the name is always whole.
func TestConcurrent(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "out")
	for round := range 50 {
		force := round%2 == 1
		if round%4 < 2 {
			systest.Must(t, os.RemoveAll(path))
		}
		there := round%4 >= 2
		var ps []*process
		for range 3 {
			ps = append(ps, start(t, path, force))
		}
		done, refused := 0, 0
		for _, p := range ps {
			switch code := p.end(); code {
			case 0:
				done++
			case 4:
				refused++
			default:
				t.Errorf("round %d: exit code %d: %s", round, code, p.out)
			}
		}
		switch {
		case force && done == 0, !force && !there && done != 1, !force && there && done != 0, done+refused != len(ps):
			t.Errorf("round %d, force %v: %d done, %d refused", round, force, done, refused)
		}
		whole(t, path)
		if got := names(t, dir); len(got) != 1 {
			t.Errorf("round %d: %q", round, got)
		}
	}
}

// held waits until the process has begun its file.
func (p *process) held(t *testing.T, path string) {
	t.Helper()
	for {
		if st, err := os.Stat(newfile.TempName(path)); err == nil && st.Size() == size {
			return
		}
		if err := p.Process.Signal(syscall.Signal(0)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestKilled: a process that is killed half-way leaves nothing that hinders the
// next, of whatever name, and nothing that stays.
func TestKilled(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "out")
	for round := range 10 {
		p := start(t, path, true)
		p.held(t, path)
		// While it works others are refused, and what it writes is not cleaned away.
		if _, err := newfile.Create(path, newfile.Options{Force: true}); !refused(err, "another relive writes it") {
			t.Fatalf("round %d: %v", round, err)
		}
		systest.Must(t, newfile.Write(filepath.Join(dir, "other"), []byte("x"), newfile.Options{Force: true}))
		systest.Must(t, os.WriteFile(newfile.TempName(path)+".scratch", nil, 0o644))
		systest.Must(t, p.Process.Kill())
		_ = p.Wait()
		if newfile.Left(path) == 0 {
			t.Errorf("round %d: nothing is left", round)
		}
		next := path
		if round%2 == 1 {
			next = filepath.Join(dir, "other")
		}
		systest.Must(t, newfile.Write(next, []byte("y"), newfile.Options{Force: true}))
		for _, name := range names(t, dir) {
			if strings.Contains(name, "relive") {
				t.Errorf("round %d: %s is left", round, name)
			}
		}
	}
}

func refused(err error, fact string) bool {
	r, ok := refusal.Is(err)
	return ok && strings.Contains(r.Fact, fact) && r.Hint != ""
}

// TestChecks: what is in the place of the file, and what becomes of it.
func TestChecks(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	systest.Must(t, os.WriteFile(at("file"), []byte("former"), 0o640))
	systest.Must(t, os.Mkdir(at("dir"), 0o755))
	systest.Must(t, unix.Mkfifo(at("pipe"), 0o600))
	systest.Must(t, os.Symlink("file", at("link")))
	systest.Must(t, os.Symlink("dir/new", at("dangling")))
	systest.Must(t, os.Symlink("loop", at("loop")))
	systest.Must(t, os.Link(at("file"), at("hard")))
	for _, c := range []struct {
		path  string
		force bool
		fact  string
	}{
		{at("file"), false, "exists already"},
		{at("link"), false, "exists already"},
		{at("dir"), true, "is a directory"},
		{at("pipe"), true, "not a file (a pipe)"},
		{"/dev/null", true, "not a file (a character device)"},
		{at("hard"), true, "it is what is read"},
		{at("link"), true, "it is what is read"},
	} {
		o := newfile.Options{Force: c.force}
		if c.fact == "it is what is read" {
			o.Inputs = []string{at("file")}
		}
		if err := newfile.Check(c.path, o); !refused(err, c.fact) {
			t.Errorf("%s: %v", c.path, err)
		}
		if err := newfile.Write(c.path, nil, o); !refused(err, c.fact) {
			t.Errorf("%s: %v", c.path, err)
		}
	}
	if err := newfile.Write(at("none/file"), nil, newfile.Options{}); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if err := newfile.Write(at("file/x"), nil, newfile.Options{}); !errors.Is(err, unix.ENOTDIR) {
		t.Error(err)
	}
	if err := newfile.Write(at("loop"), nil, newfile.Options{}); !errors.Is(err, unix.ELOOP) {
		t.Error(err)
	}
	systest.Must(t, newfile.Write(at("link"), []byte("now"), newfile.Options{Force: true, Like: at("file")}))
	systest.Must(t, newfile.Write(at("dangling"), []byte("new"), newfile.Options{Perm: 0o600}))
	for name, want := range map[string]string{"file": "now", "link": "now", "dir/new": "new", "dangling": "new", "hard": "former"} {
		if b, err := os.ReadFile(at(name)); err != nil || string(b) != want {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
	for _, name := range []string{"link", "dangling"} {
		if _, err := os.Readlink(at(name)); err != nil {
			t.Errorf("the link is gone: %v", err)
		}
	}
	for name, want := range map[string]fs.FileMode{"file": 0o640, "dir/new": 0o600} {
		if st, err := os.Stat(at(name)); err != nil || st.Mode().Perm() != want {
			t.Errorf("%s: mode %v, %v", name, st.Mode(), err)
		}
	}
	long := at(strings.Repeat("n", unix.NAME_MAX))
	systest.Must(t, newfile.Write(long, []byte("x"), newfile.Options{}))
	if got := names(t, dir); strings.Contains(strings.Join(got, " "), "relive") || len(got) != 8 {
		t.Errorf("%q", got)
	}
}

// TestCommit: verify sees what is on the disk; where it or the naming fails
// nothing is left; what came to be in the meantime is not replaced.
func TestCommit(t *testing.T) {
	for _, kind := range []string{"here", "exfat"} { // which has no links
		t.Run(kind, func(t *testing.T) {
			dir := t.TempDir()
			if kind == "exfat" {
				systest.NeedRoot(t, "mkfs.exfat", "mount.exfat-fuse", "umount")
				image := systest.Blank(t, 8<<20)
				systest.Run(t, "mkfs.exfat", image)
				device, _ := systest.Loop(t, image, 0)
				dir = systest.TempDir(t)
				systest.Run(t, "mount.exfat-fuse", device, dir)
				systest.Mounted(t, dir)
			}
			path := filepath.Join(dir, "out")
			make := func(force bool) *newfile.File {
				f, err := newfile.Create(path, newfile.Options{Force: force})
				systest.Must(t, err)
				_, err = f.WriteString("text")
				systest.Must(t, err)
				return f
			}
			empty := func(what string) {
				t.Helper()
				if got := names(t, dir); len(got) > 0 {
					t.Errorf("%s: %q", what, got)
				}
			}
			wrong := errors.New("wrong")
			f := make(false)
			scratch, err := f.Scratch()
			systest.Must(t, err)
			systest.Must(t, os.WriteFile(scratch, nil, 0o600))
			if err := f.Commit(context.Background(), func(*os.File) error { return wrong }); !errors.Is(err, wrong) {
				t.Error(err)
			}
			empty("after a check that failed")
			systest.Must(t, make(false).Discard())
			empty("after Discard")
			f = make(false)
			systest.Must(t, os.WriteFile(path, []byte("another"), 0o644))
			if err := f.Commit(context.Background(), nil); !refused(err, "exists already") {
				t.Error(err)
			}
			if b, _ := os.ReadFile(path); string(b) != "another" {
				t.Errorf("it holds %q", b)
			}
			f = make(true)
			systest.Must(t, f.Commit(context.Background(), func(r *os.File) error {
				b := [5]byte{}
				if n, _ := r.ReadAt(b[:], 0); string(b[:n]) != "text" {
					t.Errorf("read back: %q", b[:n])
				}
				if b, _ := os.ReadFile(path); string(b) != "another" {
					t.Errorf("before it is checked %q has the name", b)
				}
				return nil
			}))
			systest.Must(t, f.Discard())
			if b, _ := os.ReadFile(path); string(b) != "text" || len(names(t, dir)) != 1 {
				t.Errorf("%q in %q", b, names(t, dir))
			}
		})
	}
}

// TestReadOnly: a directory that cannot be written is an error that names it.
func TestReadOnly(t *testing.T) {
	systest.NeedFilesystems(t, "ext4")
	systest.NeedTools(t, "mke2fs")
	image := systest.Blank(t, 8<<20)
	systest.Run(t, "mke2fs", "-q", "-F", image)
	dir, _ := systest.Mount(t, "ext4", "loop,ro", image)
	if err := newfile.Write(filepath.Join(dir, "x"), nil, newfile.Options{}); !errors.Is(err, unix.EROFS) ||
		!strings.Contains(err.Error(), dir) {
		t.Error(err)
	}
}
