package menu

import "strings"

// arguments of live systems, by layout, as patterns of Edits.Remove. Where an
// image is named that lies elsewhere, "name=*" leaves those whose value is a
// variable: menus for booting the image itself from a file (loopback.cfg) have
// them.
var layouts = []struct {
	name        string
	persistence string
	placement   string
}{
	// antiX and MX: initrd/init of MX-Linux/mx-iso-template, its cases of the
	// command line.
	{
		"antix",
		"persist p= persist_all persist_root persist_static persist_static_root p_static_root persist_home " +
			"frugal frugal_persist frugal_root frugal_static frugal_static_root f_static_root frugal_home frugal_only " +
			"persistdir= pdir= persistlabel= plabel= plab= persistuuid= puuid= persistdev= pdev= " +
			"fdir= flab= fdev= fuuid= fneed= fforce fromiso=* iso=*",
		"bootdir= bdir= bootlabel= blabel= blab= bootuuid= buuid= bootdev= bdev=",
	},
	// Fedora and others with dracut: modules.d/90dmsquash-live, dracut.cmdline(7);
	// persistenthome is of livecd-tools. rd.live.overlay.overlayfs is not among
	// them: it chooses how, not whether.
	{
		"liveos",
		"rd.live.overlay rd.live.overlay.reset rd.live.overlay.readonly rd.live.overlay.nouserconfirmprompt rd.live.overlay.cowfs " +
			"overlay= reset_overlay readonly_overlay persistenthome iso-scan/filename=*",
		"",
	},
	// Arch: the hooks archiso and archiso_loop_mnt of mkinitcpio-archiso.
	// cow_spacesize is the size of what is in memory.
	{
		"archiso",
		"cow_label= cow_device= cow_directory= cow_persistent= cow_flags= cow_chunksize= img_dev=* img_loop=* img_flags=*",
		"",
	},
	// Debian: live-boot's 9990-cmdline-old, live-boot(7); persistent is its former
	// name.
	{
		"debian",
		"persistence persistence-* persistent persistent-* nopersistence nopersistent findiso=* fromiso=*",
		"",
	},
	// Slax: livekitlib of Tomas-M/linux-live, and its DOC/boot_parameters.txt. from=
	// names a file that was booted from, or the directory on the medium.
	{
		"livekit",
		"perch perch=* perchdir= perchsize=",
		"",
	},
	// Ubuntu: casper(7).
	{
		"casper",
		"persistent persistent-* nopersistent iso-scan/filename=* findiso=*",
		"",
	},
}

func patterns(layout string, which func(i int) string) (out []string) {
	for i := range layouts {
		if layouts[i].name == layout {
			return strings.Fields(which(i))
		}
	}
	return nil
}

// Persistence gives the patterns of the arguments by which a system of a layout
// finds and uses its persistence, a frugal installation, or the file of an ISO
// that it was booted from: what a medium that begins afresh must not have. They
// are for Edits.Remove. Layouts are named by their keys, as the traits of a layout
// have them; nil is for one that is not known.
func Persistence(layout string) []string {
	return patterns(layout, func(i int) string { return layouts[i].persistence })
}

// Placement gives the patterns of the arguments that tell a system of a layout
// on which volume and in which directory it lies, and that another medium
// either has others of or does without.
func Placement(layout string) []string {
	return patterns(layout, func(i int) string { return layouts[i].placement })
}
