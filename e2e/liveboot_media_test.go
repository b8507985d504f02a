//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"relive/e2e/disk"
	"relive/e2e/firmware"
	"relive/e2e/isocheck"
	"relive/e2e/lists"
	"relive/e2e/liveboot"
	"relive/e2e/machine"
)

// bootMedia has a stick whose partition has the name persistence in the GPT, with unions of
// some directories; an ISO of it, as a CD and on disks with a partition for persistence
// behind it; a file persistence on the medium, which this live-boot uses only with toram.
func (d *debianLive) bootMedia() {
	d.Step("make the stick", func() {
		d.Make("gpt", liveboot.Persistence{Partition: disk.Partition{MiB: 100, Fields: "name=persistence"},
			Conf: "/usr union\n/etc union\n/root union", Args: []string{"-L", "other"}})
	})
	d.Boot("media-first", "persistence").Has("INIT: mounted: /dev/vda2 on /run/live/persistence/vda2")
	snapshot := d.In("snapshot.iso")
	d.Step("snapshot", func() {
		d.Relive("status", d.Path).Tells("in partition 2: ")
		d.ReliveMayWarn("snapshot", d.Path, "-o", snapshot, "--keep-persistence", "--no-default-excludes", "--volid", "E2E_SNAPSHOT")
		isocheck.Check(d.Part, snapshot, "")
		disk.Save(d.Part, d.Path, 2, d.In("persistence"))
	})
	d.OpenedAt("compact", d.In("_persistence"), func() { d.compact("--overlay", d.Persistence) })
	d.Boot("media-shown", "persistence")
	d.Step("compare", func() { d.found("media-first", "media-shown") })

	d.bootMedium("cd", firmware.Way{Firmware: firmware.BIOS, Medium: firmware.CDROM}, snapshot)
	d.Step("compare cd", func() { d.Lists.Same("media-first.left", "cd.found", unmoved...) })
	d.bootAppended("sfdisk", firmware.UEFI, "persistence", func(disk string) {
		d.Feed("type=linux\n", "sfdisk", "--append", disk)
	})
	d.bootAppended("sgdisk", firmware.BIOS, "other", func(disk string) {
		d.Do("sgdisk", "-e", "-n", "0:0:0", "-c", "0:persistence", disk)
	})
	d.bootFile()
}

// bootMedium boots a medium by its own menus, which run a step. Console and list get a
// name.
func (d *debianLive) bootMedium(name string, way firmware.Way, file string) (m *machine.Machine) {
	d.Helper()
	d.Step("boot "+name, func() {
		spec := machine.Spec{Step: liveboot.MediumStep, Stuck: liveboot.Stuck, Devices: lists.Fresh(d.Part)}
		m = firmware.Boot(d.Part, spec, way, file).Machine
		m.Passes()
		m.Rename(name)
		d.Lists.Collect()
		d.Move(filepath.Join(d.Lists.Path(), liveboot.MediumStep+".found"), filepath.Join(d.Lists.Path(), name+".found"))
	})
	return m
}

// bootAppended has the snapshot written raw on a larger disk, and behind it a partition for
// persistence with a file system of some label, which add adds. The boot uses it, and so
// does relive.
func (d *debianLive) bootAppended(name, uses, label string, add func(disk string)) {
	d.Helper()
	file, number := d.In("disk"), 0
	d.Step("append by "+name, func() {
		d.Copy(d.In("snapshot.iso"), file)
		d.Must(os.Truncate(file, d.Size(file)+200<<20))
		add(file)
		number = disk.Last(d.Part, file)
		liveboot.FormatPersistence(d.Part, file, number, "/ union", "-L", label)
	})
	d.bootMedium(name, firmware.Way{Firmware: uses, Medium: firmware.Stick}, file).
		Has(fmt.Sprintf("INIT: mounted: /dev/sda%d on /run/live/persistence/sda%[1]d", number))
	d.Step("compare "+name, func() {
		d.Lists.Same("media-first.left", name+".found", unmoved...)
		d.Relive("status", file).Tells(fmt.Sprintf("in partition %d: ", number))
		d.Relive("diff", file).Tells("root/mark")
		d.RemoveTree(file)
	})
}

// bootFile has the same persistence as a file on the first medium, with all its blocks, as
// toram needs it. This live-boot does not look there, so relive leaves it alone; with toram
// it does.
func (d *debianLive) bootFile() {
	d.Helper()
	file := filepath.Join(d.Live, "persistence")
	d.Step("make the stick again", func() { d.Make("dos") })
	d.OpenedMedium("put persistence on it", func() { d.Do("cp", "--sparse=never", d.In("persistence"), file) })
	d.Boot("media-plain", "persistence")
	d.OpenedMedium("leave it alone", func() {
		d.Lists.Same("media-first.found", "media-plain.found", unheaded...)
		d.Relive("status", d.Live).Warns("persistence: a boot ignores it")
		d.ReliveEnds([]int{0, 4}, "compact", d.Live)
		d.Expect(d.SameFiles(file, d.In("persistence")), "relive changed a persistence that the boot ignores")
		d.Expect(d.SameFiles(d.base(), d.Base()), "relive folded in a persistence that the boot ignores")

		for _, menu := range []string{"isolinux/isolinux.cfg", "boot/grub/grub.cfg"} {
			path := filepath.Join(d.Live, menu)
			d.Write(path, strings.ReplaceAll(d.Read(path), " persistence ", " persistence toram "))
		}
		d.Relive("status", d.Live).Tells("overlay      persistence")
	})
	d.Boot("media-shown", "persistence", "toram")
	d.Step("compare with toram", func() { d.found("media-first", "media-shown") })
}
