package systest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"
)

// recorded is a test that notes how it ends.
type recorded struct {
	testing.TB
	how      string // "", "skipped" or "failed"
	said     []string
	cleanups []func()
}

func (r *recorded) Helper()          {}
func (r *recorded) Cleanup(f func()) { r.cleanups = append(r.cleanups, f) }

func (r *recorded) note(how, text string) {
	r.how = how
	r.said = append(r.said, text)
}

func (r *recorded) Error(args ...any)            { r.note("failed", fmt.Sprint(args...)) }
func (r *recorded) Errorf(f string, args ...any) { r.note("failed", fmt.Sprintf(f, args...)) }
func (r *recorded) Fatal(args ...any) {
	r.Error(args...)
	runtime.Goexit()
}
func (r *recorded) Fatalf(f string, args ...any) {
	r.Errorf(f, args...)
	runtime.Goexit()
}
func (r *recorded) Skipf(f string, args ...any) {
	r.note("skipped", fmt.Sprintf(f, args...))
	runtime.Goexit()
}

// record runs fn as a test, with its cleanups, and tells whether fn came to its
// end.
func record(t *testing.T, fn func(t testing.TB)) (r *recorded, ended bool) {
	r = &recorded{TB: t}
	var wg sync.WaitGroup
	run := func(f func()) {
		wg.Add(1)
		go func() { defer wg.Done(); f() }()
		wg.Wait()
	}
	run(func() { fn(r); ended = true })
	for i := len(r.cleanups) - 1; i >= 0; i-- {
		run(r.cleanups[i])
	}
	return r, ended
}

// TestLacks: what is missing skips a test, but fails it in CI.
func TestLacks(t *testing.T) {
	for name, fn := range map[string]func(t testing.TB){
		"a thing":        func(t testing.TB) { Lacks(t, "a thing") },
		"no-such-tool":   func(t testing.TB) { NeedTools(t, "cat", "no-such-tool") },
		"no-such-prog":   func(t testing.TB) { Run(t, "no-such-prog") },
		"no-such-output": func(t testing.TB) { Output(t, "no-such-output") },
	} {
		for ci, want := range map[string]string{"true": "failed", "": "skipped"} {
			t.Setenv("CI", ci)
			r, ended := record(t, fn)
			if r.how != want || ended || len(r.said) != 1 || r.said[0] != "this test needs "+name {
				t.Errorf("CI=%q: %+v, went on: %v", ci, r, ended)
			}
		}
	}
	if r, ended := record(t, func(t testing.TB) { NeedTools(t, "cat", "ls"); NeedTools(t) }); r.how != "" || !ended {
		t.Errorf("%+v", r)
	}
	for ci, want := range map[string]string{"true": "failed", "": "skipped"} {
		t.Setenv("CI", ci)
		if r, _ := record(t, func(t testing.TB) { NeedFilesystems(t, "proc", "nosuchfs") }); r.how != want {
			t.Errorf("CI=%q: %+v", ci, r)
		}
	}
}

// TestSbin: programs beside PATH are found, directories and files without
// permission are none.
func TestSbin(t *testing.T) {
	NeedTools(t, "mke2fs", "e2fsck")
	dir := t.TempDir()
	Must(t, os.Mkdir(filepath.Join(dir, "e2fsck"), 0o755))
	Must(t, os.WriteFile(filepath.Join(dir, "mke2fs"), nil, 0o644))
	t.Setenv("PATH", dir)
	if find("e2fsck") == "" || find("mke2fs") == "" || strings.HasPrefix(find("e2fsck"), dir) || strings.HasPrefix(find("mke2fs"), dir) {
		t.Errorf("found %q and %q", find("e2fsck"), find("mke2fs"))
	}
}

func TestRun(t *testing.T) {
	t.Setenv("TZ", "Asia/Tokyo")
	t.Setenv("LC_ALL", "C")
	if got := Run(t, "sh", "-c", "echo $TZ $LC_ALL; echo to stderr >&2; cat"); got != "UTC C.UTF-8\nto stderr\n" {
		t.Errorf("%q", got)
	}
	if got := Output(t, "sh", "-c", "echo out; echo err >&2"); got != "out\n" {
		t.Errorf("%q", got)
	}
	if got := Feed(t, "fed", "cat"); got != "fed" {
		t.Errorf("%q", got)
	}
	out, err := Try(t, "sh", "-c", "echo so; exit 3")
	var e *exec.ExitError
	if out != "so\n" || !errors.As(err, &e) || e.ExitCode() != 3 || !strings.Contains(err.Error(), "so\n") {
		t.Errorf("%q, %v", out, err)
	}
	const script = "echo the beginning >&2; yes 0123456789abcde | head -c 100000 >&2; echo the end >&2; exit 1"
	for name, fn := range map[string]func(t testing.TB){
		"Run":    func(t testing.TB) { Run(t, "sh", "-c", script) },
		"Feed":   func(t testing.TB) { Feed(t, "x", "sh", "-c", script) },
		"Output": func(t testing.TB) { Output(t, "sh", "-c", script) },
	} {
		r, ended := record(t, fn)
		if r.how != "failed" || ended || len(r.said[0]) > 6000 || !strings.Contains(r.said[0], "the beginning") ||
			!strings.HasSuffix(r.said[0], "the end\n") ||
			!strings.HasPrefix(r.said[0], "sh [") || !strings.Contains(r.said[0], "exit status 1") {
			t.Errorf("%s: %s %s, went on: %v", name, r.how, r.said, ended)
		}
	}
}

// TestDirs: directories have names that mount options can hold, and are gone in
// the end, as files that are open are closed.
func TestDirs(t *testing.T) {
	t.Run("a,b:c", func(t *testing.T) {
		var dirs []string
		var f *os.File
		r, _ := record(t, func(t testing.TB) {
			dirs = []string{TempDir(t), TempDir(t), MemDir(t)}
			for _, d := range dirs {
				Must(t, os.MkdirAll(filepath.Join(d, "x/y"), 0o755))
			}
			path, size := Blank(t, 10<<20+1), int64(0)
			if f, size = OpenFile(t, path); size != 10<<20+1 || blocks(t, path) != 0 {
				t.Errorf("%d bytes, %d of them on disk", size, blocks(t, path))
			}
			dirs = append(dirs, filepath.Dir(path))
		})
		if r.how != "" || dirs[0] == dirs[1] {
			t.Errorf("%+v, %q", r, dirs)
		}
		for _, d := range dirs {
			if _, err := os.Stat(d); err == nil || strings.ContainsAny(d, ",:") {
				t.Errorf("%s: %v", d, err)
			}
		}
		if err := f.Close(); !errors.Is(err, os.ErrClosed) {
			t.Error("the file is left open", err)
		}
	})
}

// blocks is what a file takes on disk, in bytes.
func blocks(t testing.TB, path string) int64 {
	t.Helper()
	var st unix.Stat_t
	Must(t, unix.Stat(path, &st))
	return st.Blocks * 512
}

// TestHoles: unpacked and copied files are what they were, and zeros take no
// place.
func TestHoles(t *testing.T) {
	dir := TempDir(t)
	b := make([]byte, 8<<20+77)
	for _, at := range []int{0, 4096*3 - 1, 4 << 20, len(b) - 1} {
		b[at] = 1
	}
	e, err := zstd.NewWriter(nil)
	Must(t, err)
	packed := filepath.Join(dir, "packed.zst")
	Must(t, os.WriteFile(packed, e.EncodeAll(b, nil), 0o600))
	if !bytes.Equal(Unpack(t, packed), b) {
		t.Error("Unpack gives other bytes")
	}
	unpacked, copied, written := filepath.Join(dir, "unpacked"), filepath.Join(dir, "copied"), filepath.Join(dir, "written")
	UnpackTo(t, packed, unpacked)
	CopyFile(t, unpacked, copied)
	WriteSparse(t, written, b)
	for _, path := range []string{unpacked, copied, written} {
		got, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(got, b) {
			t.Errorf("%s: other bytes, %v", path, err)
		}
		if !bytes.Equal(ReadFile(t, path), b) {
			t.Errorf("%s: other bytes without the holes", path)
		}
		if n := blocks(t, path); n > 1<<20 {
			t.Errorf("%s: %d bytes on disk", path, n)
		}
	}
	sum := func(b []byte) uint64 {
		path := filepath.Join(dir, "sum")
		Must(t, os.WriteFile(path, b, 0o600))
		n, err := Sum(path)
		Must(t, err)
		return n
	}
	if n, err := Sum(copied); err != nil || n != sum(b) {
		t.Errorf("with and without holes the sum is %x and %x, %v", n, sum(b), err)
	}
	moved := append(make([]byte, 4096), b[:len(b)-4096]...)
	for _, other := range [][]byte{append(bytes.Clone(b), 0), b[:len(b)-4096], moved, bytes.Replace(b, []byte{1}, []byte{3}, 1)} {
		if sum(other) == sum(b) {
			t.Error("another content has the same sum")
		}
	}
	if _, err := Sum(dir + "/none"); err == nil {
		t.Error("what is not there has a sum")
	}
	if r, _ := record(t, func(t testing.TB) { Unpack(t, unpacked) }); r.how != "failed" {
		t.Error("what is not packed is unpacked")
	}
	whole, err := os.ReadFile(packed)
	Must(t, err)
	Must(t, os.WriteFile(packed, whole[:len(whole)-3], 0o600))
	if err := UnpackFile(packed, unpacked); err == nil {
		t.Error("what was cut is unpacked")
	}
}

// TestFsck: a wrong free count, for which e2fsck does not fail, is told, a time in
// the future is not.
func TestFsck(t *testing.T) {
	NeedTools(t, "mke2fs", "debugfs", "e2fsck")
	image := filepath.Join(MemDir(t), "image")
	BlankAt(t, image, 2<<20)
	Run(t, "env", "E2FSPROGS_FAKE_TIME=4090000000", "mke2fs", "-q", "-F", "-t", "ext4", image)
	if out := Run(t, "e2fsck", "-fn", image); !strings.Contains(out, "? no") {
		t.Errorf("e2fsck says nothing of a time in the future:\n%s", out)
	}
	Fsck(t, image)
	Run(t, "debugfs", "-w", "-R", "ssv free_inodes_count 7", image)
	if r, _ := record(t, func(t testing.TB) { Fsck(t, image) }); r.how != "failed" || !strings.Contains(r.said[0], "? no") {
		t.Errorf("%+v", r)
	}
}

// TestMount: a mount is gone after the test, or sooner, and only once.
func TestMount(t *testing.T) {
	NeedFilesystems(t, "tmpfs")
	mounted := func(at string) bool {
		var st, above unix.Stat_t
		return unix.Stat(at, &st) == nil && unix.Stat(filepath.Dir(at), &above) == nil && st.Dev != above.Dev
	}
	var first, second, bound string
	r, ended := record(t, func(t testing.TB) {
		var unmount func()
		first, unmount = Mount(t, "tmpfs", "size=1m,mode=0711", "none")
		second, _ = Mount(t, "tmpfs", "", "none")
		bound = filepath.Join(TempDir(t), "bound")
		Must(t, os.Mkdir(bound, 0o755))
		MountAt(t, "", "bind", first, bound)
		st, err := os.Stat(bound)
		if err != nil || st.Mode().Perm() != 0o711 || !mounted(first) || !mounted(second) {
			t.Error("not mounted", st.Mode(), err)
		}
		unmount()
		if mounted(first) {
			t.Error("still mounted")
		}
		unmount()
	})
	if r.how != "" || !ended {
		t.Errorf("%+v", r)
	}
	for _, at := range []string{first, second, bound} {
		if _, err := os.Stat(at); err == nil {
			t.Errorf("%s is left", at)
		}
	}
	if r, _ := record(t, func(t testing.TB) { Mount(t, "tmpfs", "no-such-option", "none") }); r.how != "failed" {
		t.Error("a mount that fails does not fail the test")
	}
	if r, _ := record(t, func(t testing.TB) { Unmount(t, TempDir(t)) }); r.how != "failed" {
		t.Error("what is not mounted is unmounted")
	}
}

// TestMountImage: an image is mounted as asked for, and its loop device goes with the
// mount.
func TestMountImage(t *testing.T) {
	NeedFilesystems(t, "ext4")
	NeedTools(t, "mke2fs", "losetup")
	image := Blank(t, 4<<20)
	Run(t, "mke2fs", "-q", "-F", "-t", "ext4", image)
	for _, kind := range []string{"ext4", "auto"} {
		at, unmount := Mount(t, kind, "loop", image)
		Must(t, os.WriteFile(at+"/file", nil, 0o600))
		unmount()
		Fsck(t, image)
		at, unmount = Mount(t, kind, "loop,ro,noload", image)
		if err := os.WriteFile(at+"/other", nil, 0o600); !errors.Is(err, syscall.EROFS) {
			t.Errorf("%s: ro: %v", kind, err)
		}
		if _, err := os.Stat(at + "/file"); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
		unmount()
	}
	for end := time.Now().Add(Within(5 * time.Second)); Output(t, "losetup", "-n", "-O", "NAME", "-j",
		image) != ""; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the loop device is left")
		}
	}
	for _, options := range []string{"loop,no-such-option", "loop,ro,no-such-option"} {
		if r, _ := record(t, func(t testing.TB) { Mount(t, "ext4", options, image) }); r.how != "failed" {
			t.Errorf("%s does not fail the test", options)
		}
	}
	t.Setenv("CI", "")
	if r, _ := record(t, func(t testing.TB) { Mount(t, "ext4", "loop", image+".none") }); r.how != "failed" {
		t.Errorf("an image that is not there: %+v", r)
	}
}

// TestUnmountBusy: a mount that is busy for a while is waited for; one that stays
// so is an error, and gone all the same.
func TestUnmountBusy(t *testing.T) {
	NeedFilesystems(t, "tmpfs")
	for _, wait := range []time.Duration{time.Minute, 50 * time.Millisecond} {
		at := TempDir(t)
		Run(t, "mount", "-t", "tmpfs", "none", at)
		f, err := os.Create(filepath.Join(at, "open"))
		Must(t, err)
		if err := unix.Unmount(at, 0); !errors.Is(err, syscall.EBUSY) {
			t.Fatal(err)
		}
		stays := wait < time.Second
		if !stays {
			time.AfterFunc(100*time.Millisecond, func() { f.Close() })
		}
		r, _ := record(t, func(t testing.TB) { unmountWithin(t, at, wait) })
		if (r.how == "failed") != stays {
			t.Errorf("%v: %+v", wait, r)
		}
		if names, err := os.ReadDir(at); len(names) != 0 || err != nil {
			t.Errorf("%v: still mounted: %v, %v", wait, names, err)
		}
		f.Close()
	}
}

// TestLoop: a loop device holds the image until the test ends.
func TestLoop(t *testing.T) {
	NeedRoot(t, "losetup")
	image := Blank(t, 1<<20)
	var device string
	r, _ := record(t, func(t testing.TB) {
		var detach func()
		device, detach = Loop(t, image, 4096)
		if f, size := OpenFile(t, device); size != 1<<20 || f.Close() != nil {
			t.Errorf("%s has %d bytes", device, size)
		}
		detach()
		detach()
		Loop(t, image, 0)
	})
	if r.how != "" || !strings.HasPrefix(device, "/dev/loop") {
		t.Errorf("%q, %+v", device, r)
	}
	if out := Output(t, "losetup", "-n", "-O", "NAME", "-j", image); out != "" {
		t.Errorf("left: %s", out)
	}
	for ci, want := range map[string]string{"true": "failed", "": "skipped"} {
		t.Setenv("CI", ci)
		if r, _ := record(t, func(t testing.TB) { Loop(t, image+".none", 0) }); r.how != want {
			t.Errorf("CI=%q: %+v", ci, r)
		}
	}
}
