package menu

import "strings"

// arguments of live systems, by layout, as patterns of Edits.Remove. Where an
// image is named that lies elsewhere, "name=*" leaves those whose value is a
// variable: menus for booting the image itself from a file (loopback.cfg) have
// them.
var layouts = []struct {
	name        string
	persistence string
	placement   string // what another volume has others of
	machine     string // what no other volume has
}{
	// antiX and MX: initrd/init of MX-Linux/mx-iso-template, its cases of the
	// command line. With from= and what names a LUKS volume no CD is looked for;
	// encrypt has an encrypted volume looked for alone.
	{
		"antix",
		"persist p= persist_all persist_root persist_static persist_static_root p_static_root persist_home " +
			"frugal frugal_persist frugal_root frugal_static frugal_static_root f_static_root frugal_home frugal_only " +
			"persistdir= pdir= persistlabel= plabel= plab= persistuuid= puuid= persistdev= pdev= " +
			"pluks pluks1 fluks fluks1 mk_swap_file " +
			"fdir= flab= fdev= fuuid= fneed= fforce fromiso=* iso=*",
		"bootdir= bdir= bootlabel= blabel= blab= bootuuid= buuid=",
		"bootdev bdev from= fstype= bluks bluks1 encrypt sq= sqname= sqext=",
	},
	// Fedora and others with dracut: modules.d/90dmsquash-live, 90overlayfs,
	// dracut.cmdline(7); persistenthome is of livecd-tools, rd.live.overlay.persistent
	// and cowfile of kiwi-live.
	{"liveos", dracutPersistence, "", "rd.live.squashimg="},
	// Arch: the hooks archiso and archiso_loop_mnt of mkinitcpio-archiso.
	// cow_spacesize is the size of what is in memory.
	{
		"archiso",
		"cow_label= cow_device= cow_directory= cow_persistent= cow_flags= cow_chunksize= img_dev=* img_loop=* img_flags=*",
		"", "",
	},
	// Debian: live-boot's 9990-cmdline-old, live-boot(7); persistent is its former
	// name. With live-build's dracut-live dracut boots such a medium.
	{
		"debian",
		"persistence persistence-* persistent persistent-* findiso=* fromiso=* isofrom=* " + dracutPersistence,
		"", mediaMachine + " bootfrom=/* bootfrom=removable-usb",
	},
	// Slax: livekitlib of Tomas-M/linux-live, and its DOC/boot_parameters.txt. from=
	// names a file that was booted from, or the directory on the medium.
	{
		"livekit",
		"perch perch=* perchdir= perchsize=",
		"", "",
	},
	// Ubuntu: casper(7).
	{
		"casper",
		"persistent persistent-* iso-scan/filename=* findiso=*",
		"", mediaMachine,
	},
}

// dracutPersistence are those of dracut. rd.live.overlay.overlayfs and
// rd.live.overlay.nouserconfirmprompt are not among them: one chooses how, not
// whether, the other has a boot without persistence go on; nor is rd.overlay alone
// or with a size in memory, which is the same without persistence.
const dracutPersistence = "rd.live.overlay rd.overlay=LABEL=* rd.overlay=CDLABEL=* rd.overlay=UUID=* rd.overlay=PARTLABEL=* " +
	"rd.overlay=PARTUUID=* rd.overlay=ID=* rd.overlay=/* " +
	"rd.live.overlay.reset rd.overlay.reset rd.live.overlay.readonly rd.overlay.readonly rd.live.overlay.crypt rd.overlay.crypt " +
	"rd.live.overlay.cowfs rd.live.overlay.persistent " +
	"rd.live.cowfile.path rd.live.cowfile.mbsize overlay= reset_overlay readonly_overlay persistenthome iso-scan/filename=*"

// mediaMachine has live-boot and casper look for their medium on one device or on
// sticks alone, and copy it to a device.
const mediaMachine = "live-media=/* live-media=LABEL=* live-media=UUID=* live-media=PART* live-media=removable-usb live-media-offset= " +
	"todisk="

func patterns(layout string, which func(i int) string) (out []string) {
	for i := range layouts {
		if layouts[i].name == layout {
			return strings.Fields(which(i))
		}
	}
	return nil
}

// Persistence returns the patterns of the arguments by which a system of a layout
// finds and uses its persistence, a frugal installation, or the file of an ISO
// that it was booted from: what a medium that begins afresh must not have. They
// are for Edits.Remove. Layouts are named by their keys, as the traits of a layout
// have them; nil is for one that is not known.
func Persistence(layout string) []string {
	return patterns(layout, func(i int) string { return layouts[i].persistence })
}

// Placement returns the patterns of the arguments that tell a system of a layout
// on which volume and in which directory it lies, and that another medium has
// others of.
func Placement(layout string) []string {
	return patterns(layout, func(i int) string { return layouts[i].placement })
}

// Saved returns the patterns of the arguments that a loader may have saved of a boot,
// and that another medium must not go on with, beside those of Persistence and
// Machine: where the system lies, and for antiX and MX that the former state is to
// come back. They are for Edits.Saved.
func Saved(layout string) []string {
	out := Placement(layout)
	if layout == "antix" {
		out = append(out, "rollback")
	}
	return out
}

// Signed returns the patterns of the arguments by which a boot of a layout takes no base
// without a signature, or another than the one that it has the hash of: what a medium
// must not have whose base is new (archiso's hook archiso; live-boot's
// 9990-cmdline-old).
func Signed(layout string) []string {
	switch layout {
	case "archiso":
		return []string{"verify=y", "cms_verify=y"}
	case "debian":
		return []string{"dm-verity-root-hash=", "dm-verity-enforce-roothash-signature", "dm-verity-enforce-roothash-signatures"}
	}
	return nil
}

// Machine returns the patterns of the arguments that have a system of a layout look
// for its medium among disks of one kind, on a certain device, in an encrypted
// volume or under another name than a new medium has it.
func Machine(layout string) []string {
	return patterns(layout, func(i int) string { return layouts[i].machine })
}
