//go:build e2e

package e2e

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"relive/e2e/debian"
	"relive/e2e/firmware"
	"relive/e2e/isocheck"
	"relive/e2e/liveos"
	"relive/e2e/loader"
	"relive/e2e/machine"
	"relive/e2e/medium"
	"relive/e2e/part"
)

var full = flag.Bool("full", os.Getenv("FULL") != "", "boot each ISO in all four ways (also by FULL=1)")

// TestISO has live systems become ISOs, and ISOs other ISOs, and all of them boot through
// real firmware, BIOS and UEFI, from a CD and from a USB disk, to a check that lies in the
// system itself (e2e/guest/iso) and to a log-in at its console.
func TestISO(t *testing.T) {
	// An ISO by xorriso that boots by ISOLINUX, rewritten.
	t.Run("isolinux", func(t *testing.T) {
		i := newISO(t, "isolinux")
		i.bootRebuilt(i.ISOLINUX)
	})
	// The same with GRUB and an appended EFI partition.
	t.Run("grub", func(t *testing.T) {
		i := newISO(t, "grub")
		i.bootRebuilt(i.GRUB)
	})
	t.Run("antix", func(t *testing.T) { newISO(t, "antix").bootAntiX() })
	t.Run("liveos", func(t *testing.T) { newISO(t, "liveos").bootLiveOS() })
	t.Run("large", func(t *testing.T) { newISO(t, "large", "openssl").bootLarge() })
}

// isos is a part about ISOs.
type isos struct {
	*medium.AntiX
	base debian.Image
}

func newISO(t *testing.T, form string, needs ...string) *isos {
	t.Helper()
	p := part.Begin(t, "iso-"+form, slices.Concat(isocheck.Tools, loader.Tools, needs,
		[]string{"checkisomd5", "implantisomd5", "setcap"})...)
	if !*keep {
		p.RemoveAtEnd("*.iso", "*.iso.*")
	}
	i := &isos{}
	p.Step("prepare", func() {
		// The kernel needs drivers for USB, the system the boot loaders' packages.
		i.base = debian.Make(p, medium.Packages)
		i.AntiX = medium.MakeAntiX(p, machine.Fetch(p, machine.ForHardware), i.base)
	})
	return i
}

// The sessions at the console: of the system as it was installed, as its owner left it, and
// as it is given away.
var (
	now      = firmware.Account{User: medium.Owner, Password: medium.Password}
	formerly = firmware.Account{User: medium.Owner, Password: medium.FormerPassword}

	formerSession = &firmware.Session{Refused: []firmware.Account{now}, Account: formerly}
	ownerSession  = &firmware.Session{Refused: []firmware.Account{formerly}, Account: now}
	demoSession   = &firmware.Session{
		Refused: []firmware.Account{now, {User: "root", Password: "root"}},
		Account: firmware.Account{User: "demo", Password: "demo"},
	}
)

// What consoles say.
const (
	asInstalled = "CHECK: the system as installed"
	asChanged   = "CHECK: the system as changed"
)

// facts are what a console must say.
type facts []string

// bootWays boots an ISO in all four ways, with the session at the console of the first one,
// of all with -full.
func (i *isos) bootWays(name, iso string, s *firmware.Session, says facts) (booted []*machine.Machine) {
	i.Helper()
	for n, way := range []firmware.Way{
		{Firmware: firmware.BIOS, Medium: firmware.CDROM},
		{Firmware: firmware.UEFI, Medium: firmware.Disk},
		{Firmware: firmware.BIOS, Medium: firmware.Disk},
		{Firmware: firmware.UEFI, Medium: firmware.CDROM},
	} {
		if n > 0 && !*full {
			s = nil
		}
		booted = append(booted, i.bootWay(name, iso, way, s, says))
	}
	return booted
}

// bootSome boots in two ways that differ in both respects; with -full in all.
func (i *isos) bootSome(name, iso string, s *firmware.Session, says facts) {
	i.Helper()
	if *full {
		i.bootWays(name, iso, s, says)
		return
	}
	i.bootWay(name, iso, firmware.Way{Firmware: firmware.BIOS, Medium: firmware.Disk}, s, says)
	i.bootWay(name, iso, firmware.Way{Firmware: firmware.UEFI, Medium: firmware.CDROM}, nil, says)
}

// bootWay boots an ISO in one way to the log-in prompt; the session, if any, goes on from
// there. Without one the power goes.
func (i *isos) bootWay(name, iso string, way firmware.Way, s *firmware.Session, says facts) (m *machine.Machine) {
	i.Helper()
	step := name + "-" + way.String()
	i.Step("boot "+step, func() {
		began := time.Now()
		typed := firmware.Boot(i.Part, machine.Spec{Step: step, Stuck: firmware.Stuck}, way, iso)
		m = typed.Machine
		typed.AwaitLine(`INIT: log in`)
		if s != nil {
			s.Run(typed)
		} else {
			typed.Cut()
		}
		device := "sda"
		if way.Medium == firmware.CDROM {
			device = "sr0"
		}
		m.Has("INIT: medium: " + device)
		m.Has(says...)
		i.Say("boot %s: passed after %.0f s", step, time.Since(began).Seconds())
	})
	return m
}

// bootRebuilt boots an ISO by xorriso; relive rewrites it with a larger initrd, whose sum
// follows, other kernel arguments and another label, and it boots as before.
func (i *isos) bootRebuilt(base string) {
	i.Step("check base", func() { isocheck.Check(i.Part, base, base) })
	says := facts{"INIT: version id: " + i.VersionID, asInstalled}
	i.bootSome("base", base, formerSession, append(slices.Clone(says), "persist_all", "blab="+medium.Label))

	rebuilt := i.In("rebuilt.iso")
	i.Step("rebuild", func() {
		initrd := i.In("initrd.gz")
		i.NotedInitrd(initrd)
		i.RemoveTree(rebuilt)
		i.Relive("iso", "rebuild", base, "-o", rebuilt, "--volid", "E2E_REBUILT", "--add-arg", "relive.test=1",
			"--add-arg", "checkmd5", "--remove-arg", "persist_all", "--replace", "/antiX/initrd.gz="+initrd)
		isocheck.Check(i.Part, rebuilt, base)
	})
	booted := i.bootWays("rebuilt", rebuilt, formerSession, append(says, "relive.test=1", "blab=E2E_REBUILT",
		"INIT: the initrd's note: "+medium.Note, "INIT: sum: linuxfs.md5", "INIT: sum: initrd.gz.md5"))
	i.Step("compare", func() {
		for _, m := range booted {
			m.Lacks("persist_all")
		}
	})
}

// snapshot makes an ISO that every tool reads and finds whole.
func (i *isos) snapshot(iso, dir string, args ...string) {
	i.Helper()
	i.Step("snapshot "+strings.TrimSuffix(filepath.Base(iso), ".iso"), func() {
		i.Remove(iso, iso+".*")
		began := time.Now()
		i.ReliveMayWarn(slices.Concat([]string{"snapshot", dir}, args, []string{"-o", iso, "--implant-md5"})...)
		i.Say("made %s after %.0f s", filepath.Base(iso), time.Since(began).Seconds())
		isocheck.Check(i.Part, iso, i.ISOLINUX)
		isocheck.CheckSum(i.Part, iso)
	})
}

// expectNoPersistence wants no menu of an ISO to ask for the changes that are now in its
// linuxfs.
func (i *isos) expectNoPersistence(iso string) {
	i.Helper()
	i.Step("menus of "+strings.TrimSuffix(filepath.Base(iso), ".iso"), func() {
		for _, path := range []string{"/boot/isolinux/isolinux.cfg", "/boot/grub/grub.cfg"} {
			menu := isocheck.Read(i.Part, iso, path)
			i.Expect(strings.Contains(menu, "vmlinuz"), "%s of %s boots nothing", path, iso)
			i.Expect(!strings.Contains(menu, "persist_all"), "%s of %s asks for persistence", path, iso)
		}
	})
}

// bootAntiX has snapshots with every source of boot files, and an update from one.
func (i *isos) bootAntiX() {
	given := facts{asChanged, "CHECK: people: demo", "CHECK: homes: demo"}
	owned := facts{asChanged, "CHECK: people: " + medium.Owner, "CHECK: homes: " + medium.Owner,
		"CHECK: the homefs of " + medium.Owner}
	frugal := i.In("antiX-Frugal")
	i.RemoveTree(frugal)
	i.Copy(i.Live, frugal)
	i.bootDirectory("directory", frugal, ownerSession).
		Has(asChanged, "CHECK: people: "+medium.Owner, "INIT: persistence: rootfs, with changes")

	// Given away, with the boot files of another ISO.
	reset := i.In("reset.iso")
	i.snapshot(reset, frugal, "--accounts", "reset", "--template", i.ISOLINUX, "--volid", "E2E_RESET")
	i.expectNoPersistence(reset)
	i.bootWays("reset", reset, demoSession, append(slices.Clone(given), "blab=E2E_RESET"))
	i.snapshot(i.In("secure.iso"), frugal, "--accounts", "secure", "--template", i.GRUB)
	i.bootSome("secure", i.In("secure.iso"), demoSession, given)

	// Kept, with the boot files of its own medium, and with those of its packages.
	own := i.In("own.iso")
	i.snapshot(own, i.Live)
	i.expectNoPersistence(own)
	i.bootWays("own", own, ownerSession, owned)
	args := []string{"--accounts", "preserve"}
	for _, word := range strings.Fields(machine.Words) {
		args = append(args, "--add-arg", word)
	}
	i.snapshot(i.In("packages.iso"), frugal, args...)
	i.bootWays("packages", i.In("packages.iso"), ownerSession, owned)

	// The live directory takes over what the first ISO holds, which is not all that its
	// rootfs has: the owner's password is in that alone.
	i.Step("update", func() {
		i.ReliveEnds([]int{4}, "update", frugal, "--from", reset)
		i.Relive("update", frugal, "--from", reset, "--overlay", "reset")
		i.Relive("verify", frugal)
	})
	m := i.bootDirectory("updated", frugal, demoSession)
	m.Has(given...)
	m.Has("INIT: persistence: rootfs")
}

// bootDirectory boots a live directory on a disk by its own kernel and initrd, with its
// rootfs.
func (i *isos) bootDirectory(step, dir string, s *firmware.Session) (m *machine.Machine) {
	i.Helper()
	i.Step("boot "+step, func() {
		began := time.Now()
		disk, tree := i.In("disk"), i.Fresh(i.In("_disk"))
		i.Copy(dir, tree+"/")
		i.Blank(disk, 2<<30)
		i.Do("mkfs.ext4", "-q", "-F", "-L", "live", "-d", tree, disk)
		i.RemoveTree(tree)
		typed := machine.StartTypedBy(i.Part, machine.Spec{Step: step, Stuck: firmware.Stuck}, disk, filepath.Join(dir, "vmlinuz"),
			filepath.Join(dir, "initrd.gz"), "bdir="+filepath.Base(dir)+" persist_all")
		m = typed.Machine
		typed.AwaitLine(`INIT: log in`)
		s.Run(typed)
		i.RemoveTree(disk)
		i.Say("boot %s: passed after %.0f s", step, time.Since(began).Seconds())
	})
	return m
}

// bootLiveOS boots the image as it is; so does the snapshot with its changes, by the menus
// of its own medium.
func (i *isos) bootLiveOS() {
	var l *medium.LiveOS
	i.Step("make a medium", func() {
		l = medium.MakeLiveOS(i.Part, liveos.MakeImages(i.Part, i.Kernel, i.base, medium.Dracut()))
		isocheck.Check(i.Part, l.ISO, l.ISO)
	})
	i.bootSome("base", l.ISO, nil, facts{"INIT: the system as installed", "root=live:CDLABEL=" + medium.LiveOSLabel})
	iso := i.In("snapshot.iso")
	i.snapshot(iso, l.Live, "--accounts", "reset", "--volid", "E2E_LIVE_NEW")
	i.bootSome("snapshot", iso, demoSession,
		facts{asChanged, "CHECK: people: demo", "INIT: root: ", "root=live:CDLABEL=E2E_LIVE_NEW"})
}
