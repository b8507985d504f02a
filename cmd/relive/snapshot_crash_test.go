package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"relive/codec"
	"relive/iso"
	"relive/tree/systest"
)

// snapshotDir makes an antiX live directory with a base of that many MiB, and
// template.iso.
func snapshotDir(t testing.TB, at string, mib int) {
	t.Helper()
	live := filepath.Join(at, "antiX")
	systest.Must(t, os.Mkdir(live, 0o755))
	base := dir("", dir("etc", file("os-release", []byte("ID=test\n"))), dir("usr", file("big", noise(4, mib<<20))))
	s := &liveSpec{codec: codec.Gzip, blockSize: 128 << 10, vid: defaultVID}
	systest.Must(t, s.make(live, base, nil))
	for _, name := range []string{"vmlinuz", "initrd.gz"} {
		systest.Must(t, os.WriteFile(filepath.Join(live, name), []byte("Linux version 6.1.0 "+name), 0o644))
	}
	root := dir("", dir("isolinux", file("isolinux.bin", bytes.Repeat([]byte("ISOLINUX"), 600)),
		file("isolinux.cfg", []byte("label live\n kernel /antiX/vmlinuz\n append quiet persist_all\n"))))
	p, err := iso.NewPlan(t.Context(), root, iso.Recipe{VolumeID: "TEST", Time: epoch, Catalog: "isolinux/boot.cat",
		Boot: []iso.BootImage{{Path: "isolinux/isolinux.bin", BootInfo: true}}, Disk: &iso.Disk{Code: isoTestCode(), Kind: iso.Isohybrid,
			Table: iso.TableBoth}})
	systest.Must(t, err)
	systest.Must(t, create(filepath.Join(at, "template.iso"), func(f *os.File) error {
		_, err := p.Write(t.Context(), f, nil)
		return err
	}))
}

func snapshotArgs(at, to string) []string {
	return []string{"snapshot", filepath.Join(at, "antiX"), "--template", filepath.Join(at, "template.iso"), "-o", to, "--implant-md5",
		"--sums", "sha256,md5"}
}

// removeISO takes away an ISO and all beside it.
func removeISO(t testing.TB, name string) {
	t.Helper()
	found, err := filepath.Glob(name + "*")
	systest.Must(t, err)
	for _, f := range found {
		systest.Must(t, os.Remove(f))
	}
}

// TestSnapshotKill: a snapshot that is killed leaves temporary files, which the
// next run takes away; one that is told to stop leaves nothing.
func TestSnapshotKill(t *testing.T) {
	t.Parallel()
	in, at := systest.MemDir(t), systest.MemDir(t)
	snapshotDir(t, in, 12)
	to := filepath.Join(at, "new.iso")
	args := snapshotArgs(in, to)
	fresh := stateOf(t, at)
	if code, _, stderr := relive(t, args...); code != exitWarnings {
		t.Fatal(stderr)
	}
	done := stateOf(t, at)
	found := map[string]int{}
	for _, sig := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM} {
		for i, phase := range []string{"excludes", "writing", "writing", "implanting", "syncing", "reading the ISO", "reading the ISO"} {
			removeISO(t, to)
			ps, text := announced(t, phase, time.Duration(i%3)*7*time.Millisecond, func(p *os.Process) { _ = p.Signal(sig) }, args...)
			now := stateOf(t, at)
			left := 0
			for name := range now {
				if strings.HasSuffix(name, ".relive-part") {
					delete(now, name)
					left++
				}
			}
			when := fmt.Sprintf("%v in %q", sig, phase)
			switch {
			case now.String() == done.String():
				found["done"]++
			case sig == syscall.SIGTERM:
				found["stopped"]++
				if now.String() != fresh.String() || left > 0 || ps.ExitCode() != exitFailed ||
					!strings.Contains(text, "stopped by the signal terminated") {
					t.Errorf("%s: exit code %d, left %d\n%s\n%s", when, ps.ExitCode(), left, now, text)
				}
				continue
			default:
				found["killed"]++
				if now["new.iso"] != "" {
					t.Errorf("%s: there is an ISO, and not all that belongs to it:\n%s", when, now)
				}
			}
			removeISO(t, to+".") // what was beside has its name already where it was killed between
			systest.Must(t, os.RemoveAll(to))
			if code, _, stderr := relive(t, args...); code != exitWarnings {
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

// TestSnapshotTwice: two runs that make the same ISO do not write into each
// other's file.
func TestSnapshotTwice(t *testing.T) {
	t.Parallel()
	in, at := systest.MemDir(t), systest.MemDir(t)
	snapshotDir(t, in, 24)
	to := filepath.Join(at, "new.iso")
	twice(t, exitWarnings, to, snapshotArgs(in, to)...)
	for name := range stateOf(t, at) {
		if strings.HasSuffix(name, ".relive-part") {
			t.Errorf("%s is left", name)
		}
	}
}

// TestSnapshotDiskFull: where it is known beforehand that the ISO does not fit,
// that is refused; where the disk fills up later, nothing is left of it, and with
// --force the ISO before and all beside it are as they were.
func TestSnapshotDiskFull(t *testing.T) {
	systest.NeedRoot(t, "mount")
	t.Parallel()
	const mib = 32
	in := t.TempDir()
	snapshotDir(t, in, mib)
	disk, _ := systest.Mount(t, "tmpfs", "size=75m", "none")
	to := filepath.Join(disk, "new.iso")
	fill(t, disk, (mib-1)<<20)
	code, _, stderr := relive(t, snapshotArgs(in, to)...)
	if code != exitRefused || !strings.Contains(stderr, "not enough space: ") ||
		!strings.Contains(stderr, "hint: name a file on another disk") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	for _, name := range []string{"", ".sha256", ".report.txt"} {
		systest.Must(t, os.WriteFile(to+name, []byte("before"), 0o644))
	}
	systest.Must(t, os.RemoveAll(filepath.Join(disk, "filler")))
	before := stateOf(t, disk)
	full := false
	for range 10 {
		ps, text := announced(t, "writing", 0, func(p *os.Process) {
			_ = p.Signal(unix.SIGSTOP)
			time.Sleep(10 * time.Millisecond)
			fill(t, disk, 0)
			_ = p.Signal(unix.SIGCONT)
		}, append(snapshotArgs(in, to), "--force")...)
		systest.Must(t, os.RemoveAll(filepath.Join(disk, "filler")))
		if ps.ExitCode() != exitFailed {
			removeISO(t, to)
			for _, name := range []string{"", ".sha256", ".report.txt"} {
				systest.Must(t, os.WriteFile(to+name, []byte("before"), 0o644))
			}
			before = stateOf(t, disk)
			continue // it was faster
		}
		full = true
		if !strings.Contains(text, "no space left on device") || !strings.Contains(text, "hint: the disk is full; nothing was changed") {
			t.Errorf("%s", text)
		}
		if now := stateOf(t, disk); now.String() != before.String() {
			t.Errorf("the disk holds\n%s\nnot\n%s", now, before)
		}
		break
	}
	if !full {
		t.Error("the disk was never full in time")
	}
}

// TestSnapshotTemplateHostile: a template that is forged or damaged anywhere ends
// in a clear error, or in an ISO that reads back; never in anything beside.
func TestSnapshotTemplateHostile(t *testing.T) {
	t.Parallel()
	in, at := systest.MemDir(t), systest.MemDir(t)
	snapshotDir(t, in, 1)
	b, err := os.ReadFile(filepath.Join(in, "template.iso"))
	systest.Must(t, err)
	// Damage tells where there is something: in tables, not in the loader.
	var used []int
	loader := bytes.Index(b, bytes.Repeat([]byte("ISOLINUX"), 16))
	for i, c := range b {
		if c != 0 && c != ' ' && (i < loader || i > loader+8*600) {
			used = append(used, i)
		}
	}
	to := filepath.Join(at, "new.iso")
	rng := rand.New(rand.NewPCG(8, 8))
	outcomes := map[int]int{}
	for i := range 40 {
		c := bytes.Clone(b)
		for range 1 + i%4 {
			c[used[rng.IntN(len(used))]] ^= byte(1 + rng.IntN(255))
		}
		systest.Must(t, os.WriteFile(filepath.Join(in, "template.iso"), c, 0o644))
		code, _, stderr := relive(t, append(snapshotArgs(in, to), "-q")...)
		outcomes[code]++
		switch code {
		case exitWarnings:
			if code, _, stderr := relive(t, "iso", "check", "-q", to); code != 0 {
				t.Errorf("damage %d: the ISO is not sound: %s", i, stderr)
			}
		case exitFailed, exitRefused:
			if !strings.HasPrefix(stderr, "error: ") || strings.Contains(stderr, "goroutine ") {
				t.Errorf("damage %d: %s", i, stderr)
			}
			if now := stateOf(t, at); len(now) != 0 {
				t.Errorf("damage %d: the directory holds\n%s", i, now)
			}
		default:
			t.Errorf("damage %d: exit code %d: %s", i, code, stderr)
		}
		removeISO(t, to)
	}
	t.Log(outcomes)
	if outcomes[exitFailed]+outcomes[exitRefused] == 0 {
		t.Error("no damage was found: this test looks at nothing")
	}
}
