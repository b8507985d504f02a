//go:build e2e

package e2e

import (
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"relive/e2e/debian"
	"relive/e2e/disk"
	"relive/e2e/isocheck"
	"relive/e2e/lists"
	"relive/e2e/liveboot"
	"relive/e2e/liveroot"
	"relive/e2e/loader"
	"relive/e2e/machine"
	"relive/e2e/part"
)

// TestLiveBoot is about Debian live: sticks and ISOs that the packages live-boot and
// initramfs-tools boot. The system changes, relive works on the stick, and each boot must
// show what the one before it did. What the guest does and looks for is in
// e2e/guest/live.
func TestLiveBoot(t *testing.T) {
	t.Run("partition", func(t *testing.T) { newDebianLive(t, "partition").bootPartition() })
	t.Run("media", func(t *testing.T) { newDebianLive(t, "media").bootMedia() })
}

// debianLive is a part with a stick.
type debianLive struct{ *liveboot.Stick }

func newDebianLive(t *testing.T, form string) *debianLive {
	t.Helper()
	p := part.Begin(t, "liveboot-"+form, slices.Concat(isocheck.Tools, loader.Tools, []string{"strace"})...)
	media := []string{"stick*", "disk*", "*.iso", "*.iso.*", "*.squashfs"}
	p.Remove(media...)
	if !*keep {
		p.RemoveAtEnd(media...)
	}
	d := &debianLive{}
	p.Step("prepare", func() {
		// The kernel needs drivers for USB.
		images := liveboot.MakeImages(p, machine.Fetch(p, machine.ForHardware), debian.Make(p, debian.Packages))
		d.Stick = liveboot.NewStick(p, images)
	})
	return d
}

// unmoved is a list but for what a base in a squashfs has not, what a power cut changes,
// and the time of the root, which is in memory where that is no union. unheaded is without
// the directories that are unions too, since those have the modes and times of the upper
// ones; notNewerLive is without the paths at which the newer base is another.
var (
	unmoved      = append(slices.Clone(settled), lists.UntimedRoot)
	unheaded     = append(slices.Clone(unmoved), lists.Without(`^/(usr|etc|root)\td `))
	notNewerLive = append(slices.Clone(unmoved), lists.Without(`^/(usr/share(/newer|/doc(/gzip(/.*)?)?)?)\t`))
)

// found wants a step to have found the system as the one before left it.
func (d *debianLive) found(before, after string) {
	d.Helper()
	d.Lists.Same(before+".left", after+".found", unmoved...)
}

// base returns the path of the open stick's base.
func (d *debianLive) base() string { return filepath.Join(d.Live, "live/filesystem.squashfs") }

// expectFresh wants the open stick's persistence to be as before its first boot, but for
// what was set aside.
func (d *debianLive) expectFresh() {
	d.Helper()
	rw, work := filepath.Join(d.Persistence, "rw"), filepath.Join(d.Persistence, "work")
	d.Expect(len(d.Names(rw)) == 0 && len(d.Names(work)) == 0, "rw or work in the persistence is not empty")
	d.Expect(d.Do("stat", "-c", "%a %U", rw) == "755 root\n", "rw has another mode or owner")
}

// expectSums wants md5sum.txt of the open stick to hold, as the boot argument
// verify-checksums would have it.
func (d *debianLive) expectSums() {
	d.Helper()
	cmd := exec.Command("md5sum", "--quiet", "--check", "md5sum.txt")
	cmd.Dir = d.Live
	d.Finish(cmd)
}

// compact folds the open stick's persistence into its base, with everything that must hold
// before and after.
func (d *debianLive) compact(args ...string) {
	d.Helper()
	began, base := time.Now(), d.Sum(d.base())
	args = append(args, d.Live)
	d.Relive(append([]string{"status", "--json"}, args...)...).IsJSON()
	d.Relive(append([]string{"diff"}, args...)...).Tells("root/")
	d.Relive(append([]string{"compact"}, args...)...)
	d.Expect(d.Sum(d.base()+".old") == base, "filesystem.squashfs.old is not the former filesystem.squashfs")
	d.Relive("verify", d.Live)
	d.expectSums()
	d.Say("compacted after %.0f s %q", time.Since(began).Seconds(), args)
}

// bootPartition has a stick with a partition of the label persistence: the power is cut,
// the changes are folded in, also by a relive that is killed; then rolled back, carried
// over to a newer base, and reset.
func (d *debianLive) bootPartition() {
	d.Step("make the stick", func() {
		d.Make("dos", liveboot.Persistence{Partition: disk.Partition{MiB: 300}, Conf: "/ union", Args: []string{"-L", "persistence"}})
	})
	d.BootAndCut("partition-first-cut", "persistence").Has("INIT: mounted: /dev/vda2 on /run/live/persistence/vda2")
	d.Step("read the stick", d.readPulledOut)
	d.compactAndKillAll()
	d.Opened("compact first", func() {
		d.compact()
		d.expectMerged()
	})
	d.Boot("partition-after-first-cut", "persistence")
	d.Opened("compact second", func() {
		d.found("partition-first-cut", "partition-after-first-cut")
		d.compact()
		d.expectFresh()
	})
	d.Boot("partition-after-second", "persistence")
	d.Opened("roll back", func() {
		d.found("partition-after-first-cut", "partition-after-second")
		d.Relive("rollback", d.Live)
		d.Relive("verify", d.Live)
		d.expectSums()
	})
	d.Boot("partition-back-to-second", "persistence")
	d.Opened("update", func() {
		d.found("partition-after-first-cut", "partition-back-to-second")
		d.update()
	})
	d.Boot("partition-updated", "persistence")
	d.Opened("reset", func() {
		d.Lists.Same("partition-after-first-cut.left", "partition-updated.found", notNewerLive...)
		d.ReliveMayWarn("reset", d.Live)
		d.expectFresh()
	})
	d.Boot("partition-reset", "persistence")
	d.Step("compare", func() {
		d.Lists.Same("partition-after-first-cut.found", "partition-reset.found", notNewerLive...)
	})
}

// readPulledOut only reads the stick as it was pulled out, with a journal to be replayed.
func (d *debianLive) readPulledOut() {
	d.Helper()
	sum, merged := d.Sum(d.Path), d.merged()
	d.Relive("status", d.Path).Tells("in partition 2: ", "journal to be replayed")
	d.Relive("diff", d.Path).Tells("etc/debian_version", "usr/local/bin/tool")
	d.Relive("compact", d.Path, "-o", merged)
	d.Relive("verify", merged)
	d.Expect(d.Sum(d.Path) == sum, "relive changed a stick that it only reads")
}

// merged is the base that was made of the stick while it was not mounted.
func (d *debianLive) merged() string { return d.In("merged.squashfs") }

// expectMerged wants the open stick's changes to be in its base, which is the same as that
// made of the stick while it was not mounted, and its persistence to be fresh.
func (d *debianLive) expectMerged() {
	d.Helper()
	d.Expect(d.SameFiles(d.base(), d.merged()), "the base is another than that which was made of the stick while it was not mounted")
	d.expectFresh()
}

// compactAndKillAll has relive die on the way with both partitions mounted, each time on a
// copy of the stick.
func (d *debianLive) compactAndKillAll() {
	d.Helper()
	pulled := d.Path + ".pulled"
	d.Move(d.Path, pulled)
	for _, point := range []struct{ call, file string }{
		{"fsync", "live/filesystem.squashfs.relive-tmp"},
		{"renameat", "live/filesystem.squashfs"},
		{"renameat", "persistence/rw"},
		{"renameat", "persistence/work.relive-tmp"},
	} {
		d.Copy(pulled, d.Path)
		d.Opened("kill at "+point.call+" of "+strings.ReplaceAll(point.file, "/", ":"), func() {
			d.compactAndKill(point.call, point.file)
			if !d.SameFiles(d.base(), d.Base()) {
				d.expectMerged()
			}
		})
	}
	d.Move(pulled, d.Path)
}

// compactAndKill has relive compact die as it is about to make a system call for a file of
// the open stick, and recover put right what it left. What is there then shows the same as
// before.
func (d *debianLive) compactAndKill(call, file string) {
	d.Helper()
	compact := d.ReliveCommand("compact", "--quiet", d.Live)
	cmd := exec.Command("strace", append([]string{"-f", "-qq", "-o", "/dev/null", "-P", filepath.Join(d.Live, file),
		"-e", "trace=" + call, "-e", "inject=" + call + ":signal=KILL:when=1"}, compact.Args...)...)
	said, err := cmd.CombinedOutput()
	// strace ends as what it ran did.
	status, _ := cmd.ProcessState.Sys().(syscall.WaitStatus)
	d.Expect(status.Signaled() && status.Signal() == syscall.SIGKILL || status.ExitStatus() == 137,
		"relive compact ended (%v), it was to be killed at %s of %s\n%s", err, call, file, said)
	d.Expect(part.Exists(filepath.Join(d.Live, ".relive.journal")),
		"relive compact had not begun when it was killed at %s of %s", call, file)
	d.Relive("recover", d.Live)
	d.Relive("verify", d.Live)
	d.HostList("killed")
	d.Lists.Same("partition-first-cut.left", "killed", unmoved...)
	d.Say("killed at %s of %s, recovered", call, file)
}

// update carries the open stick over to a newer base with another initrd and id.
func (d *debianLive) update() {
	d.Helper()
	newer := d.In("newer.iso")
	d.makeNewer(newer)
	d.ReliveEnds([]int{4}, "update", d.Live, "--from", newer)
	d.ReliveMayWarn("update", d.Live, "--from", newer, "--overlay", "rebase")
	isocheck.Extract(d.Part, newer, "/live/filesystem.squashfs", d.In("_file"))
	d.Expect(d.SameFiles(d.base(), d.In("_file")), "the new base is another")
	d.expectSums()
	// It boots with the new initrd.
	d.Do("cp", filepath.Join(d.Live, "live/initrd.img"), filepath.Join(d.Medium, "live/initrd.img"))
}

// makeNewer makes an ISO with a newer release of the open stick's base, and an initrd that
// takes only a medium with another id.
func (d *debianLive) makeNewer(file string) {
	d.Helper()
	const id = "11111111-2222-4333-8444-555555555555\n"
	tree := d.Fresh(d.In("_newer"))
	root, medium, initrd := filepath.Join(tree, "root"), filepath.Join(tree, "medium"), filepath.Join(tree, "initrd")
	live := filepath.Join(medium, "live")
	d.MkdirAll(live, filepath.Join(medium, ".disk"), filepath.Join(initrd, "conf"))
	d.Do("unsquashfs", "-quiet", "-no-progress", "-dest", root, d.base())
	d.Write(filepath.Join(root, "usr/share/newer"), "the newer base\n")
	d.RemoveTree(filepath.Join(root, "usr/share/doc/gzip"))
	liveroot.Pack(d.Part, root, filepath.Join(live, "filesystem.squashfs"))
	d.Do("cp", filepath.Join(d.Medium, "live/vmlinuz"), live+"/")
	d.Write(filepath.Join(initrd, "conf/uuid.conf"), id)
	machine.Pack(d.Part, initrd, initrd+".cpio")
	d.Concat(filepath.Join(live, "initrd.img"), filepath.Join(d.Medium, "live/initrd.img"))
	d.Filter(initrd+".cpio", filepath.Join(live, "initrd.img"), "zstd", "-q")
	d.Write(filepath.Join(medium, ".disk/live-uuid-generic"), id)
	liveboot.WriteSums(d.Part, medium)
	loader.MakeISO(d.Part, file, medium, "-V", "E2E_NEWER")
	d.RemoveTree(tree)
}
