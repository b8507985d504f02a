//go:build e2e

package e2e

import (
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"relive/e2e/frugal"
	"relive/e2e/part"
)

// TestAntix is about compaction in antiX's layout: a live system boots, changes, is
// compacted on the host, boots again, and so on: what the guest did must be there at
// every later boot. What it does and looks for is in e2e/guest/antix/steps.
func TestAntix(t *testing.T) {
	p := part.Begin(t, "antix")
	s := frugal.Prepare(p, *codec, *keep)
	s.MakeDisk(256)

	// A first generation of changes over an empty rootfs.
	s.Boot("first", "p_static_root").
		Has("INIT: version id copied to the empty rootfs", "INIT: persistence: root, static")

	// A compaction that dies on the way, on a copy of the disk: it boots all the same,
	// and relive puts it right afterwards.
	disk := s.Disk
	s.Disk = p.In("disk.killed")
	p.Copy(disk, s.Disk)
	s.Opened("compact and kill", func() { compactAndKill(s) })
	s.Boot("killed", "p_static_root")
	s.Opened("recover", func() {
		p.Relive("recover", s.Live)
		s.ExpectSound(s.Live)
	})
	p.RemoveTree(s.Disk)
	s.Disk = disk

	// Folded in: the second boot finds it and writes to the fresh rootfs.
	s.Opened("compact first", func() {
		p.Relive("diff", s.Live).Tells("etc/debian_version", "usr/local/bin/tool")
		compactFrugal(s)
		rollBackCopy(s)
	})
	s.Boot("second", "p_static_root").Has("INIT: persistence: root, static")

	// Both generations; then the power goes in the middle of writing.
	s.Opened("compact second", func() { compactFrugal(s) })
	s.BootAndCut("cut", "p_static_root")
	s.Opened("compact cut", func() {
		s.ExpectDirty(s.InLive("rootfs"))
		compactFrugal(s)
	})
	s.Boot("after-cut", "p_static_root")

	var linuxfs string
	s.Opened("stage", func() { linuxfs = stage(s) })
	s.Boot("staged", "p_static_root").
		Has("INIT: remastered from linuxfs.new", "INIT: persistence: root, static")

	// The boot parameter takes the step back, with the rootfs of that time.
	s.Boot("rolled-back", "p_static_root", "rollback").
		Has("INIT: rolled back to linuxfs.old", "INIT: version ids match")
	s.Opened("mismatch", func() {
		p.Expect(p.Sum(s.InLive("linuxfs")) == linuxfs, "rollback did not bring the former linuxfs back")
		// A rootfs of another generation: init leaves it alone, and so does relive.
		p.Move(s.InLive("rootfs"), s.InLive("rootfs.mine"))
		p.Move(s.InLive("rootfs.bad"), s.InLive("rootfs"))
		rootfs := p.Sum(s.InLive("rootfs"))
		p.ReliveEnds([]int{4}, "compact", s.Live)
		p.Expect(p.Sum(s.InLive("rootfs")) == rootfs, "the refused compact changed rootfs")
	})
	s.Boot("mismatch", "p_static_root").Has("INIT: version ids differ", "INIT: persistence: none")
}

// compactFrugal folds the open disk's rootfs into its linuxfs, with everything that must
// hold before and after.
func compactFrugal(s *frugal.System) {
	s.Helper()
	began := time.Now()
	linuxfs, rootfs := s.Sum(s.InLive("linuxfs")), s.Sum(s.InLive("rootfs"))
	size, id := s.Size(s.InLive("rootfs")), s.VersionID(s.InLive("linuxfs"))
	s.Relive("status", "--json", s.Live).IsJSON()
	s.Relive("status", s.Live)
	s.Relive("compact", s.Live)
	s.Expect(s.Sum(s.InLive("linuxfs.old")) == linuxfs, "linuxfs.old is not the former linuxfs")
	s.Expect(s.Sum(s.InLive("rootfs.old")) == rootfs, "rootfs.old is not the former rootfs")
	s.Expect(s.Size(s.InLive("rootfs")) == size, "the fresh rootfs has another size")
	s.Expect(s.Label(s.InLive("rootfs")) == "rootfs", "the fresh rootfs has another label")
	s.Expect(s.VersionID(s.InLive("linuxfs")) != id, "the version id did not change")
	_, err := s.Try(exec.Command("unsquashfs", "-cat", s.InLive("linuxfs"), "etc/live/version/rootfs.ver"))
	s.Expect(err != nil, "the merged image holds rootfs.ver")
	s.ExpectSound(s.Live)
	s.Say("compacted after %.0f s", time.Since(began).Seconds())
}

// compactAndKill kills relive at some moment after its first new file showed up in the
// directory. What is there then must boot, with every change.
func compactAndKill(s *frugal.System) {
	s.Helper()
	before := s.Names(s.Live)
	delay := time.Duration(rand.IntN(100)) * 10 * time.Millisecond
	cmd := s.ReliveCommand("compact", "--quiet", s.Live)
	s.Must(cmd.Start())
	ended := make(chan struct{})
	go func() {
		cmd.Wait()
		close(ended)
	}()
	for slices.Equal(s.Names(s.Live), before) {
		select {
		case <-ended:
			s.Fatal("relive compact ended before it wrote anything")
		case <-time.After(50 * time.Millisecond):
		}
	}
	time.Sleep(delay)
	cmd.Process.Kill()
	<-ended
	s.Say("relive compact killed %v after it began to write; it left: %q", delay, s.Names(s.Live))
}

// rollBackCopy rolls a copy of the open live directory back, offline.
func rollBackCopy(s *frugal.System) {
	s.Helper()
	dir := filepath.Join(s.Mnt, "rollback")
	s.Copy(s.Live, dir)
	s.Relive("rollback", dir)
	for _, name := range []string{"linuxfs", "rootfs"} {
		s.Expect(s.Sum(filepath.Join(dir, name)) == s.Sum(s.InLive(name+".old")),
			"relive rollback did not bring the former %s back", name)
	}
	s.ExpectSound(dir)
	s.Say("rolled back offline")
	s.RemoveTree(dir)
}

// stage stages a compaction for the running system to pick up, with the files beside
// linuxfs that every boot adds to the system: init sets them aside with linuxfs. It
// returns the sum of linuxfs, which stays.
func stage(s *frugal.System) (linuxfs string) {
	s.Helper()
	s.Remove(s.InLive("*.old"))
	s.MkdirAll(s.InLive("xtra/srv"))
	s.Write(s.InLive("xtra/srv/xtra"), "a directory\n")
	xtra := s.Fresh(s.In("_xtra"))
	s.MkdirAll(filepath.Join(xtra, "srv"))
	s.Write(filepath.Join(xtra, "srv/xtra.tgz"), "a tarball\n")
	s.Do("tar", "-C", xtra, "-czf", s.InLive("xtra.tgz"), "srv")
	s.RemoveTree(xtra)
	s.Write(s.InLive("delete.list"), "/usr/share/doc/gzip\n")
	linuxfs = s.Sum(s.InLive("linuxfs"))
	rootfs := s.Sum(s.InLive("rootfs"))
	s.Relive("compact", "--stage", s.Live)
	s.Expect(s.Sum(s.InLive("linuxfs")) == linuxfs, "--stage changed linuxfs")
	s.Expect(s.Sum(s.InLive("rootfs")) == rootfs, "--stage changed rootfs")
	for _, name := range []string{"linuxfs.new", "linuxfs.md5.new", "rootfs.new", "xtra.new", "xtra.tgz.new"} {
		s.Expect(part.Exists(s.InLive(name)), "--stage did not write %s", name)
	}
	return linuxfs
}
