package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"relive/codec"
	"relive/remaster/compact"
	"relive/remaster/live"
	"relive/remaster/livetest"
	"relive/tree/systest"
)

// twoPartitions makes a Debian live system on one file system and its persistence
// on another, whose image is given, and mounts the first.
func twoPartitions(t *testing.T) (dir, persistence string) {
	t.Helper()
	livetest.NeedKernel(t)
	images, system := systest.MemDir(t), systest.TempDir(t)
	livetest.Write(t, system+"/etc/hostname", []byte("live\n"), 0o644)
	livetest.Write(t, system+"/usr/bin/sh", noise(3, 5000), 0o755)
	for path, label := range map[string]string{images + "/live": "LIVE", images + "/persistence": "persistence"} {
		systest.BlankAt(t, path, 16<<20)
		systest.Run(t, "mke2fs", "-q", "-F", "-t", "ext4", "-L", label, path)
	}
	dir = systest.TempDir(t)
	systest.MountAt(t, "ext4", "loop", images+"/live", dir)
	systest.Must(t, os.MkdirAll(dir+"/live", 0o755))
	systest.Must(t, os.MkdirAll(dir+"/persistence", 0o755))
	systest.Run(t, "mksquashfs", system, dir+"/live/filesystem.squashfs", "-quiet", "-no-progress", "-comp", "gzip")
	at, drop := systest.Mount(t, "ext4", "loop", images+"/persistence")
	livetest.Write(t, at+"/persistence.conf", []byte("/ union\n"), 0o644)
	livetest.Write(t, at+"/rw/mine/hostname", []byte("mine\n"), 0o644)
	systest.Must(t, os.Mkdir(at+"/work", 0o755))
	drop()
	return dir, images + "/persistence"
}

// cutCompaction compacts until the power is cut after some changes, and gives where
// its commit point was.
func cutCompaction(t *testing.T, dir string, changes int) *livetest.Dying {
	t.Helper()
	e, disk := livetest.Env(t, codec.Auto), &livetest.Dying{Left: changes}
	e.Disk = disk
	l, err := live.Open(t.Context(), e, dir)
	systest.Must(t, err)
	defer l.Close()
	p, err := compact.New(t.Context(), e, l, livetest.KeepOne())
	systest.Must(t, err)
	if _, err := p.Run(t.Context()); err != nil && !errors.Is(err, livetest.ErrPower) {
		t.Fatal(err)
	}
	return disk
}

// says runs relive and looks for what it has to say, on either output.
func says(t *testing.T, want int, args []string, words ...string) {
	t.Helper()
	code, stdout, stderr := relive(t, args...)
	if code != want {
		t.Errorf("%q: exit code %d, want %d\n%s%s", args, code, want, stdout, stderr)
	}
	for _, w := range words {
		if !strings.Contains(stdout+stderr, w) {
			t.Errorf("%q does not say %q:\n%s%s", args, w, stdout, stderr)
		}
	}
}

// TestOverlayPartition: with the overlay on a partition of its own, verbs do what
// they do with one beside the base; what is cut off and what is not mounted is told.
func TestOverlayPartition(t *testing.T) {
	dir, persistence := twoPartitions(t)
	base, over := dir+"/live/filesystem.squashfs", dir+"/persistence"
	drop := systest.MountAt(t, "ext4", "loop", persistence, over)
	whole := cutCompaction(t, dir, 1<<20)
	says(t, 0, []string{"rollback", "--dry-run", dir}, "replace persistence/rw, keep the former as persistence/rw.bad",
		"remove persistence/rw.relive-pair.old")
	says(t, 0, []string{"rollback", dir})
	if b, err := os.ReadFile(over + "/rw/mine/hostname"); err != nil || string(b) != "mine\n" {
		t.Errorf("after the roll-back: %q, %v", b, err)
	}
	for _, name := range []string{base + ".bad", over + "/rw.bad", over + "/work.bad"} {
		systest.Must(t, os.RemoveAll(name))
	}

	for what, n := range map[string]int{"before": whole.Commit - 1, "after": whole.Done - 8} {
		cutCompaction(t, dir, n)
		drop()
		missing := []string{"was interrupted " + what + " its commit point", "a file system that takes part is missing",
			`label "persistence"`, "nothing is mounted at " + over}
		says(t, 0, []string{"recover", "--dry-run", dir}, missing...)
		says(t, 4, []string{"recover", dir}, append(missing, "hint: connect it, mount it so that it is at "+over+" again")...)
		says(t, 4, []string{"compact", dir}, missing...)
		says(t, 0, []string{"status", dir}, missing...)
		drop = systest.MountAt(t, "ext4", "loop", persistence, over)
		// Another base finds the overlay taken.
		other := filepath.Join(systest.TempDir(t), "live")
		systest.Must(t, os.Mkdir(other, 0o755))
		systest.CopyFile(t, base, other+"/filesystem.squashfs")
		args := []string{filepath.Dir(other), "--overlay", over}
		says(t, 0, append([]string{"status"}, args...), over+": compact of", "was interrupted; its journal is in "+dir+
			", on the file system with UUID")
		says(t, 4, append([]string{"compact", "--comp", "gzip"}, args...), over+": an earlier run was interrupted: compact of",
			"hint: relive recover "+dir)
		says(t, 4, []string{"recover", over}, "hint: relive recover "+dir)
		says(t, 0, []string{"recover", dir}, map[string]string{"before": "is undone", "after": "is finished"}[what])
		if what == "before" {
			if livetest.Has(base + ".old") {
				t.Error("what was undone has left a former base")
			}
			continue
		}
		says(t, 0, []string{"rollback", dir})
		for _, name := range []string{base + ".bad", over + "/rw.bad", over + "/work.bad"} {
			systest.Must(t, os.RemoveAll(name))
		}
	}

	says(t, 0, []string{"compact", dir}, "the former state is kept")
	if err := os.Rename(over+"/rw.relive-pair.old", over+"/x"); err != nil {
		t.Fatal(err)
	}
	says(t, 4, []string{"rollback", dir}, "nothing tells that persistence/rw.old was kept with live/filesystem.squashfs.old",
		"hint: they were on: filesystem.squashfs: the file system with UUID", "--force goes back all the same")
	drop()
	says(t, 4, []string{"rollback", dir}, "the overlay that was kept with live/filesystem.squashfs.old is not there", `label "persistence"`)
	drop = systest.MountAt(t, "ext4", "loop", persistence, over)
	says(t, 0, []string{"rollback", "--force", dir}, "the former state is back")
	says(t, 0, []string{"reset", dir}, "the former overlay is kept")
	says(t, 0, []string{"reset", "--undo", dir})
	if b, err := os.ReadFile(over + "/rw/mine/hostname"); err != nil || string(b) != "mine\n" {
		t.Errorf("after all: %q, %v", b, err)
	}
	// What is named by a link, from a directory that has two names, is found.
	away, deep := systest.TempDir(t), systest.TempDir(t)+"/a/b/c"
	drop()
	drop = systest.MountAt(t, "ext4", "loop", persistence, away)
	systest.Must(t, os.MkdirAll(deep, 0o755))
	systest.Must(t, os.Symlink(dir, deep+"/live"))
	systest.Must(t, os.Symlink(away, deep+"/over"))
	here := filepath.Join(systest.TempDir(t), "here")
	systest.Must(t, os.Symlink(deep, here))
	t.Chdir(here)
	says(t, 0, []string{"compact", "--dry-run", "live", "--overlay", "over"}, "replace "+away+"/rw, keep the former as "+away+"/rw.old")
	says(t, 0, []string{"compact", "live", "--overlay", "over"}, "relive rollback live --overlay over brings it back")
	says(t, 0, []string{"rollback", "live", "--overlay", "over"})
	drop()
}
