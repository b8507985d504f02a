//go:build e2e

package e2e

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"relive/e2e/debian"
	"relive/e2e/lists"
	"relive/e2e/liveos"
	"relive/e2e/machine"
	"relive/e2e/part"
)

// TestLiveOS boots sticks with Debian's dracut and its module dmsquash-live, lets the
// system change, compacts it on the host, boots it again: what the guest did must be
// there at every later boot, over a fresh overlay. What the guest does and looks for is
// in e2e/guest/live.
func TestLiveOS(t *testing.T) {
	t.Run("dm", func(t *testing.T) { bootSnapshot(newLiveOS(t, liveos.DM)) })
	t.Run("directory", func(t *testing.T) { bootOverlayFS(newLiveOS(t, liveos.Directory), overlayFS...) })
	t.Run("file", func(t *testing.T) { bootOverlayFile(newLiveOS(t, liveos.File)) })
	t.Run("root", func(t *testing.T) {
		bootOverlayFS(newLiveOS(t, liveos.Root), "rd.overlay=LABEL="+liveos.Label, unasked)
	})
	t.Run("partition", func(t *testing.T) {
		bootOverlayFS(newLiveOS(t, liveos.Partition), "rd.overlay=LABEL="+liveos.SecondLabel, unasked)
	})
	t.Run("erofs", func(t *testing.T) { bootOverlayFS(newLiveOS(t, liveos.Erofs), overlayFS...) })
	t.Run("erofsroot", func(t *testing.T) {
		bootOverlayFS(newLiveOS(t, liveos.ErofsRoot), "rd.overlay=LABEL="+liveos.Label, unasked)
	})
	t.Run("elsewhere", func(t *testing.T) {
		bootOverlayFS(newLiveOS(t, liveos.Elsewhere), "rd.live.overlay=LABEL="+liveos.SecondLabel+":/live/changes",
			"rd.live.overlay.overlayfs=1")
	})
}

// The dracut parameters of the overlay, by their old names, which all versions take. An
// OverlayFS must be asked for where dracut does without systemd.
var (
	overlay   = []string{"rd.live.overlay=LABEL=" + liveos.Label}
	overlayFS = append(slices.Clone(overlay), "rd.live.overlay.overlayfs=1")
)

// unasked has dracut, without an overlay in LiveOS, not wait for somebody to press a key.
const unasked = "rd.live.overlay.nouserconfirmprompt=1"

// liveOS is a part with a stick of some form.
type liveOS struct {
	*liveos.Stick
	form liveos.Form
	// written is where the overlay is while the stick is open; named and namedOnStick are
	// how it is named for relive, then and on the stick that is not mounted; told is what
	// status tells of it there.
	written             string
	named, namedOnStick []string
	told                string
}

func newLiveOS(t *testing.T, form liveos.Form) *liveOS {
	t.Helper()
	p := part.Begin(t, "liveos-"+string(form))
	if !*keep {
		p.RemoveAtEnd("stick")
	}
	l := &liveOS{form: form}
	p.Step("prepare", func() {
		if base := debian.Make(p, debian.Packages); l.erofs() {
			l.Stick = liveos.NewStick(p, liveos.MakeErofs(p, base, erofsSuites[form]))
		} else {
			l.Stick = liveos.NewStick(p, liveos.MakeImages(p, machine.Fetch(p, machine.ForClouds), base, liveos.Newest()))
		}
		l.Make(form)
	})
	l.written, l.told = l.InLive(liveos.Overlay), "overlay      "+liveos.Overlay
	switch form {
	case liveos.Root, liveos.ErofsRoot:
		l.written = filepath.Join(l.Mnt, "overlay")
		l.told = "in overlay: dracut's module overlayfs"
	case liveos.Partition:
		l.written = filepath.Join(l.Second, "overlay")
		l.named = []string{"--overlay", l.Second}
		l.told = "in partition 2:/overlay: dracut's module overlayfs"
	case liveos.Elsewhere:
		l.written = filepath.Join(l.Second, "live/changes")
		l.named = []string{"--overlay", l.written}
		l.namedOnStick = []string{"--overlay", "2/live/changes"}
		l.told = "in 2/live/changes: it was named"
	}
	return l
}

// erofsSuites are releases of Debian whose dracut looks where these sticks have their
// overlay, and whose kernel reads what Fedora writes.
var erofsSuites = map[liveos.Form]string{liveos.Erofs: "trixie", liveos.ErofsRoot: "forky"}

// erofs reports whether the base is EROFS.
func (l *liveOS) erofs() bool { return l.form == liveos.Erofs || l.form == liveos.ErofsRoot }

// settled is a list but for what a base in a squashfs has not, and what a power cut
// changes; linked is besides that without the time of the root, in which dracut makes a
// link where it is an OverlayFS.
var (
	settled = []lists.Filter{lists.WholeSeconds, lists.Uncut}
	linked  = append(slices.Clone(settled), lists.UntimedRoot)
)

// found wants a step to have found the whole system as the one before had left it.
func (l *liveOS) found(before, after string) {
	l.Helper()
	l.Lists.Same(before+".left", after+".found", settled...)
}

// freshSnapshot wants the snapshot to have held nothing when a boot began, as the guest's
// kernel saw it.
func freshSnapshot(m *machine.Machine) {
	m.Has(fmt.Sprintf("INIT: snapshot before mount: 0 %d snapshot 16/%d 16", liveos.RootfsMiB*2048, liveos.OverlayMiB*2048),
		"INIT: root: /dev/mapper/live-rw ext4")
}

// freshOverlayFS is [freshSnapshot] of an OverlayFS.
func freshOverlayFS(m *machine.Machine) {
	m.Has("INIT: no snapshot, entries in the overlay before mount: 0", "INIT: root: LiveOS_rootfs overlay")
}

// expectSound wants the open stick's images to be whole.
func (l *liveOS) expectSound() {
	l.Helper()
	l.Relive("verify", l.Live)
	inside := l.In("_inside")
	if l.erofs() {
		before := l.Mounts()
		l.Mount("erofs", "loop,ro", l.InLive("squashfs.img"), inside)
		l.Do("sh", "-c", `find "$1" -type f -exec cat {} + >/dev/null`, "read", inside)
		l.UnmountDownTo(before)
		return
	}
	l.RemoveTree(inside)
	l.Do("unsquashfs", "-quiet", "-no-progress", "-d", inside, l.InLive("squashfs.img"), "LiveOS")
	if rootfs := filepath.Join(inside, "LiveOS/rootfs.img"); part.Exists(rootfs) {
		l.Do("e2fsck", "-fn", rootfs)
	}
	l.RemoveTree(inside)
}

// relive runs a verb on the open stick's live directory, with its overlay named.
func (l *liveOS) relive(verb string, args ...string) part.Said {
	l.Helper()
	return l.Relive(slices.Concat([]string{verb}, l.named, args, []string{l.Live})...)
}

// compact folds the open stick's overlay into its squashfs.img, with everything that must
// hold before and after, and returns what status says then.
func (l *liveOS) compact(args ...string) part.Said {
	l.Helper()
	began := time.Now()
	base := l.Sum(l.InLive("squashfs.img"))
	l.relive("status", "--json").IsJSON()
	l.relive("diff").Tells("root/")
	l.relive("compact", args...)
	l.Expect(l.Sum(l.InLive("squashfs.img.old")) == base, "squashfs.img.old is not the former squashfs.img")
	l.Expect(part.Exists(l.written+".old"), "the former overlay is not there as %s.old", l.written)
	l.expectSound()
	status := l.relive("status")
	status.Tells("changes nothing")
	l.Say("compacted after %.0f s %q", time.Since(began).Seconds(), args)
	return status
}

// compactSnapshot is compact, for a device-mapper snapshot.
func (l *liveOS) compactSnapshot() {
	l.Helper()
	l.compact().Tells(fmt.Sprintf("status 16/%d 16", liveos.OverlayMiB*2048))
	l.Expect(l.Do("stat", "-c", "%s %a", l.InLive(liveos.Overlay)) == fmt.Sprintf("%d 600\n", liveos.OverlayMiB<<20),
		"the fresh overlay has another size or mode than the former one")
}

// bootSnapshot has generations of changes, a power cut, and a way to a flattened base and
// back.
func bootSnapshot(l *liveOS) {
	freshSnapshot(l.Boot("dm-first", overlay...))
	// The image of the stick as it is, and then its file system mounted.
	l.Step("look at the stick", func() {
		l.Relive("status", l.Path).Tells("label "+liveos.Label, "device-mapper snapshot")
	})
	l.Opened("compact first", func() {
		l.Relive("diff", l.Live).Tells("etc/debian_version", "usr/local/bin/tool")
		l.compactSnapshot()
	})

	freshSnapshot(l.Boot("dm-second", overlay...))
	l.Opened("compact second", func() {
		l.found("dm-first", "dm-second")
		l.compactSnapshot()
	})

	freshSnapshot(l.BootAndCut("dm-cut", overlay...))
	l.Opened("compact cut", func() {
		l.found("dm-second", "dm-cut")
		l.Relive("status", l.Live).Tells("journal to be replayed")
		l.compactSnapshot()
	})

	freshSnapshot(l.Boot("dm-after-cut", overlay...))
	l.Opened("flatten", func() {
		l.found("dm-cut", "dm-after-cut")
		l.compact("--flatten")
	})

	// Above a flattened base dracut takes only an OverlayFS; relive has made the overlay
	// one.
	freshOverlayFS(l.Boot("dm-flattened", overlayFS...))
	l.Opened("roll back", func() {
		l.Lists.Same("dm-after-cut.left", "dm-flattened.found", linked...)
		l.Relive("rollback", l.Live)
		l.expectSound()
	})
	l.Boot("dm-rolled-back", overlay...).Has("INIT: root: /dev/mapper/live-rw ext4")
	l.Opened("compare", func() { l.found("dm-after-cut", "dm-rolled-back") })
}

// used wants a boot to have used the overlay that is meant; in LiveOS it held nothing when
// the boot began.
func (l *liveOS) used(m *machine.Machine) {
	l.Helper()
	switch l.form {
	case liveos.Directory, liveos.Erofs:
		freshOverlayFS(m)
	case liveos.Root, liveos.ErofsRoot:
		m.Has("INIT: mounted: /dev/vda1 on /run/overlayfs-backing")
	case liveos.Partition:
		m.Has("INIT: mounted: /dev/vda2 on /run/overlayfs-backing")
	case liveos.Elsewhere:
		m.Has("INIT: mounted: /dev/vda2 on /run/initramfs/overlayfs")
	}
	m.Has("INIT: root: LiveOS_rootfs overlay")
}

// bootOverlayFS has one compaction between two boots, rolled back in the end. The stick is
// also looked at before it is mounted.
func bootOverlayFS(l *liveOS, parameters ...string) {
	first, second := string(l.form)+"-first", string(l.form)+"-second"
	l.used(l.Boot(first, parameters...))
	l.Step("look at the stick", func() {
		l.Relive(slices.Concat([]string{"status"}, l.namedOnStick, []string{l.Path})...).Tells(l.told)
	})
	l.Opened("compact", func() {
		status := l.compact()
		if l.erofs() {
			status.Tells("EROFS (lzma)")
		}
		l.Expect(l.Do("stat", "-c", "%a %U", l.written) == "755 root\n", "the fresh overlay has another mode or owner")
		l.Expect(len(l.Names(l.written)) == 0, "the fresh overlay is not empty")
	})
	l.used(l.Boot(second, parameters...))
	l.Opened("roll back", func() {
		l.Lists.Same(first+".left", second+".found", linked...)
		l.relive("rollback")
		l.Expect(part.Exists(filepath.Join(l.written, "root/first/new")),
			"relive rollback did not bring the former changes back")
	})
}

// bootOverlayFile is the same after a power cut, with a dirty journal inside the overlay.
func bootOverlayFile(l *liveOS) {
	freshOverlayFS(l.BootAndCut("file-first-cut", overlayFS...))
	l.Opened("compact", func() {
		out, _ := l.Try(exec.Command("dumpe2fs", "-h", l.InLive(liveos.Overlay)))
		l.Expect(strings.Contains(out, "needs_recovery"),
			"the overlay has a clean journal after the power cut: the test shows nothing")
		l.compact()
	})
	freshOverlayFS(l.Boot("file-after-first-cut", overlayFS...))
	l.Step("compare", func() { l.Lists.Same("file-first-cut.left", "file-after-first-cut.found", linked...) })
}
