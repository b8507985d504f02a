package main

import (
	"bufio"
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"relive/iso"
	"relive/tree"
	"relive/tree/systest"
)

// isoDir makes a directory with in.iso, an image of that many MiB, and linuxfs,
// which is to replace a file of it.
func isoDir(t testing.TB, at string, mib int) {
	t.Helper()
	root := dir("", dir("antiX", file("linuxfs", noise(4, mib<<20)),
		file("linuxfs.md5", []byte("0123456789abcdef0123456789abcdef  linuxfs\n"))),
		dir("isolinux", file("isolinux.bin", bytes.Repeat([]byte("ISOLINUX"), 600))))
	p, err := iso.NewPlan(t.Context(), root, iso.Recipe{VolumeID: "TEST", Time: epoch,
		Boot: []iso.BootImage{{Path: "isolinux/isolinux.bin", BootInfo: true}},
		Disk: &iso.Disk{Code: isoTestCode(), Kind: iso.Isohybrid, Table: iso.TableBoth}})
	systest.Must(t, err)
	systest.Must(t, create(filepath.Join(at, "in.iso"), func(f *os.File) error {
		_, err := p.Write(t.Context(), f, nil)
		return err
	}))
	systest.Must(t, os.WriteFile(filepath.Join(at, "linuxfs"), noise(5, mib<<20+777), 0o644))
}

func rebuildArgs(at string) []string {
	return []string{"iso", "rebuild", filepath.Join(at, "in.iso"), "-o", filepath.Join(at, "new.iso"), "--implant-md5", "--replace",
		"antiX/linuxfs=" + filepath.Join(at, "linuxfs")}
}

// announced runs the program and calls fn a delay after it has announced a
// phase.
func announced(t testing.TB, phase string, delay time.Duration, fn func(p *os.Process), args ...string) (*os.ProcessState, string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...)
	pipe, err := cmd.StderrPipe()
	systest.Must(t, err)
	systest.Must(t, cmd.Start())
	var text bytes.Buffer
	for s := bufio.NewScanner(pipe); s.Scan(); {
		fmt.Fprintln(&text, s.Text())
		if strings.HasPrefix(s.Text(), phase) {
			time.Sleep(delay)
			fn(cmd.Process)
		}
	}
	_ = cmd.Wait()
	return cmd.ProcessState, text.String()
}

// TestISOKill: a rebuild that is killed leaves the image as it was, and beside
// it nothing or a temporary file, which the next run takes away; one that is told
// to stop leaves nothing.
func TestISOKill(t *testing.T) {
	t.Parallel()
	at := systest.MemDir(t)
	isoDir(t, at, 24)
	fresh := stateOf(t, at)
	if code, _, stderr := relive(t, rebuildArgs(at)...); code != 0 {
		t.Fatal(stderr)
	}
	done := stateOf(t, at)
	if len(done) != len(fresh)+1 {
		t.Fatal(done)
	}
	found := map[string]int{}
	for _, sig := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM} {
		for i, phase := range []string{"writing", "writing", "implanting", "syncing", "reading new.iso", "reading new.iso"} {
			systest.Must(t, os.RemoveAll(filepath.Join(at, "new.iso")))
			ps, text := announced(t, phase, time.Duration(i%3)*7*time.Millisecond, func(p *os.Process) { _ = p.Signal(sig) },
				rebuildArgs(at)...)
			now := stateOf(t, at)
			left := now["new.iso.relive-part"] != ""
			delete(now, "new.iso.relive-part")
			when := fmt.Sprintf("%v in %q", sig, phase)
			if now.String() != fresh.String() && now.String() != done.String() {
				t.Errorf("%s: the directory holds\n%s\n%s", when, now, text)
			}
			switch {
			case now.String() == done.String():
				found["done"]++
			case sig == syscall.SIGTERM:
				found["stopped"]++
				if left || ps.ExitCode() != exitFailed || !strings.Contains(text, "stopped by the signal terminated") ||
					strings.Contains(text, "read back: ") {
					t.Errorf("%s: exit code %d, left %v\n%s", when, ps.ExitCode(), left, text)
				}
				continue
			default:
				found["killed"]++
				if !left {
					t.Errorf("%s: no temporary file; was it killed? %v", when, ps)
				}
			}
			systest.Must(t, os.RemoveAll(filepath.Join(at, "new.iso")))
			if code, _, stderr := relive(t, rebuildArgs(at)...); code != 0 {
				t.Errorf("%s: the next run: exit code %d\n%s", when, code, stderr)
			}
			if s := stateOf(t, at); s.String() != done.String() {
				t.Errorf("%s: after the next run the directory holds\n%s\nnot\n%s", when, s, done)
			}
		}
	}
	t.Log(found)
	if found["killed"] < 3 || found["stopped"] < 3 {
		t.Errorf("too few were stopped before their end: %v", found)
	}
}

// twice runs what writes an ISO once more while the first run writes it: each
// ends with the exit code done or is refused, and the ISO is whole.
func twice(t *testing.T, done int, iso string, args ...string) {
	t.Helper()
	ps, text := announced(t, "writing", 0, func(*os.Process) {
		code, _, stderr := relive(t, args...)
		if code != exitRefused && code != done {
			t.Errorf("the second run: exit code %d\n%s", code, stderr)
		}
		if code == exitRefused && !strings.Contains(stderr, "another relive writes it") && !strings.Contains(stderr, "exists already") {
			t.Error(stderr)
		}
	}, args...)
	if code := ps.ExitCode(); code != done && code != exitRefused {
		t.Errorf("the first run: exit code %d\n%s", code, text)
	}
	if code, _, stderr := relive(t, "iso", "check", "-q", iso); code != 0 {
		t.Error(stderr)
	}
}

// TestISOTwice: two runs that write the same image do not write into each
// other's file.
func TestISOTwice(t *testing.T) {
	t.Parallel()
	at := systest.MemDir(t)
	isoDir(t, at, 24)
	twice(t, exitDone, filepath.Join(at, "new.iso"), rebuildArgs(at)...)
	if now := stateOf(t, at); len(now) != 3 {
		t.Error(now)
	}
}

// TestISODiskFull: where it is known beforehand that the image does not fit, that
// is refused; where the disk fills up later, nothing is left of it.
func TestISODiskFull(t *testing.T) {
	systest.NeedRoot(t, "mount")
	t.Parallel()
	const mib = 32
	in := t.TempDir()
	isoDir(t, in, mib)
	disk, _ := systest.Mount(t, "tmpfs", "size=75m", "none")
	args := rebuildArgs(in)
	args[4] = filepath.Join(disk, "new.iso")
	fill(t, disk, (mib-1)<<20)
	code, _, stderr := relive(t, args...)
	if code != exitRefused || !strings.Contains(stderr, "not enough space: ") ||
		!strings.Contains(stderr, "hint: free some space, or write to another disk") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	full := false
	for range 10 {
		systest.Must(t, os.RemoveAll(filepath.Join(disk, "filler")))
		systest.Must(t, os.RemoveAll(filepath.Join(disk, "new.iso")))
		ps, text := announced(t, "writing", 0, func(p *os.Process) {
			_ = p.Signal(unix.SIGSTOP)
			time.Sleep(10 * time.Millisecond)
			fill(t, disk, 0)
			_ = p.Signal(unix.SIGCONT)
		}, args...)
		if ps.ExitCode() == 0 {
			continue // it was faster
		}
		full = true
		if ps.ExitCode() != exitFailed || !strings.Contains(text, "no space left on device") ||
			!strings.Contains(text, "hint: the disk is full; nothing was changed") {
			t.Errorf("exit code %d\n%s", ps.ExitCode(), text)
		}
		if s := stateOf(t, disk); len(s) != 1 {
			t.Errorf("the disk holds\n%s", s)
		}
		break
	}
	if !full {
		t.Error("the disk was never full in time")
	}
	// Extracting looks beforehand, too.
	fill(t, disk, (mib-1)<<20)
	code, _, stderr = relive(t, "iso", "extract", "-q", filepath.Join(in, "in.iso"), "-C", filepath.Join(disk, "out"))
	if code != exitRefused || !strings.Contains(stderr, "not enough space: ") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
}

// triedWithin is tried, for what might not come to an end.
func triedWithin(t *testing.T, end <-chan time.Time, args []string) (code int, said string) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		code, said = tried(args)
		close(done)
	}()
	select {
	case <-done:
	case <-end:
		t.Fatalf("relive %q does not come to an end", args)
	}
	return code, said
}

// TestISOHostile: an image that is forged or damaged anywhere ends each verb in a
// clear error or in none, soon, and nothing is written outside.
func TestISOHostile(t *testing.T) {
	t.Parallel()
	at := t.TempDir()
	root := dir("", dir("d", file("f", []byte("content")), tree.NewSymlink("up", "../../../../outside")),
		file("md5sum.txt", []byte("9a0364b9e99bb480dd25e1f0284c8555  d/f\n")))
	p, err := iso.NewPlan(t.Context(), root, iso.Recipe{VolumeID: "TEST", Time: epoch, Catalog: "boot.cat"})
	systest.Must(t, err)
	good := filepath.Join(at, "good.iso")
	systest.Must(t, create(good, func(f *os.File) error {
		_, err := p.Write(t.Context(), f, nil)
		return err
	}))
	b, err := os.ReadFile(good)
	systest.Must(t, err)
	bad := filepath.Join(at, "bad.iso")
	soon := time.After(systest.Within(time.Minute))
	outcomes := map[int]int{}
	// Damage tells where there is something: in descriptors, tables, directories.
	var used []int
	for i, c := range b {
		if i >= 16*2048 && c != 0 && c != ' ' {
			used = append(used, i)
		}
	}
	rng := rand.New(rand.NewPCG(7, 7))
	for i := range 30 {
		c := bytes.Clone(b)
		for range 1 + i%4 {
			c[used[rng.IntN(len(used))]] ^= byte(1 + rng.IntN(255))
		}
		systest.Must(t, os.WriteFile(bad, c, 0o644))
		for _, args := range [][]string{
			{"ls", bad},
			{"info", bad},
			{"check", bad},
			{"extract", bad, "-C", filepath.Join(at, fmt.Sprint("out", i))},
			{"rebuild", bad, "-o", filepath.Join(at, fmt.Sprint("new", i))},
		} {
			code, said := triedWithin(t, soon, append([]string{"iso", "-q"}, args...))
			outcomes[code]++
			if code != 0 && (code == exitUsage || !strings.Contains(said, "error: ") && !strings.Contains(said, "warning: ") &&
				!strings.Contains(said, "not checked: ")) {
				t.Errorf("image %d, %v: exit code %d\n%s", i, args[0], code, said)
			}
		}
	}
	if _, err := os.Lstat(filepath.Join(filepath.Dir(at), "outside")); err == nil {
		t.Error("something was written outside")
	}
	t.Log(outcomes)
	if outcomes[0] == 0 || outcomes[1] == 0 {
		t.Errorf("%v", outcomes)
	}
}
