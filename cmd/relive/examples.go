package main

import (
	"strings"

	"github.com/spf13/cobra"
)

// verbExamples has the usual calls of each verb, by what stands behind "relive": help and
// the pages of the manual show them. A line that begins with # tells what those after
// it are for.
var verbExamples = map[string]string{
	"": `
# What has the system on the stick written, and what would folding it in cost?
relive status /media/usb/antiX
# Fold it in, and take it back
relive compact /media/usb/antiX
relive rollback /media/usb/antiX`,
	"status": `
# How full the overlay is, what a compaction would cost
relive status /media/usb/antiX
# Of a stick that is not mounted
relive status /dev/sdb --on 1/antiX
# For a script
relive status --json /media/usb/antiX`,
	"diff": `
# What the system has changed, and how much it is
relive diff /media/usb/antiX
# The largest new files below a directory
relive diff --kind added --sort size /media/usb/antiX var`,
	"ls": `
# What the running system would show, and what the base alone has
relive ls /media/usb/antiX etc
relive ls --layer base /media/usb/antiX etc
# A list of an image that another one can be compared with
relive ls --manifest linuxfs`,
	"verify": `
# Read everything once, and compare it with the medium's sums
relive verify /media/usb/antiX
relive verify linuxfs`,
	"doctor": `
# Files that other saves have lost, leftovers, settings that do not fit
relive doctor /media/usb/antiX`,
	"compact": `
# The plan, then the work
relive compact --dry-run /media/usb/antiX
relive compact /media/usb/antiX
# From within the running system, for its next boot
relive compact --stage /live/boot-dev/antiX
# Another image, packed smaller, of which some files are left out
relive compact -o linuxfs.new --comp xz -b 1M -e 'var/cache/apt/*' /media/usb/antiX`,
	"update": `
# The plan, then base, kernel and initrd of a newer ISO
relive update --dry-run /media/usb/antiX --from antiX-new.iso
relive update /media/usb/antiX --from antiX-new.iso
# A stick of Fedora, whose changes go
relive update --overlay reset --no-kernel /run/media/me/FEDORA --from new.iso`,
	"rebase": `
# List what both sides have changed; nothing is written
relive rebase /media/usb/antiX --onto antiX-new.iso
# Decide file by file, then once more
relive rebase /media/usb/antiX --onto antiX-new.iso --prefer ask-file --decisions conflicts.txt
# Keep your own files wherever both have changed
relive rebase /media/usb/antiX --onto antiX-new.iso --prefer ours`,
	"rollback": `
# The state before the last compaction or update
relive rollback /media/usb/antiX`,
	"recover": `
# What a power cut has left: finished, or undone
relive recover /media/usb/antiX`,
	"save": `
# As root in the running system, what it keeps in RAM
relive save /live/boot-dev/antiX --from /live/aufs-ram
# What would be saved of a copy
relive save --dry-run /media/usb/antiX --from /mnt/copy/upper`,
	"reset": `
# What would be kept and lost, then the work
relive reset --preview --preset machine-id,network /media/usb/antiX
relive reset --preset machine-id,network --keep '/home/*/.ssh' /media/usb/antiX
# Back to what was there
relive reset --undo /media/usb/antiX`,
	"resize": `
# A larger rootfs
relive resize --rootfs 8G /media/usb/antiX
# As small as what is in it allows
relive resize --dry-run --homefs min /media/usb/antiX`,
	"sync-home": `
# Homes into the system, to boot without a persistence of homes
relive sync-home --dry-run /media/usb/antiX
relive sync-home /media/usb/antiX
# The other way, into a new homefs
relive sync-home --reverse --size 8G /media/usb/antiX`,
	"sets": `
# Which sets there are, and which one a menu boots
relive sets /media/usb/antiX
# Another verb on one of them
relive compact --set play /media/usb/antiX`,
	"sets clone": `
# A second system over the same base, to try something in
relive sets clone /media/usb/antiX play`,
	"sets entry": `
# Print an entry for the boot menu, or put it there
relive sets entry /media/usb/antiX play
relive sets entry /media/usb/antiX play --write-entry /media/usb/boot/grub/grub.cfg`,
	"sets rebase": `
# After a compaction of another set
relive sets rebase /media/usb/antiX play`,
	"sets remove": `
# The set and its former states
relive sets remove /media/usb/antiX play`,
	"sets rename": `
# Menus that name it are told
relive sets rename /media/usb/antiX play work`,
	"snapshot": `
# For yourself: a copy with all that is in it
relive snapshot -o mine.iso /media/usb/antiX
# For others: look at the report first, then make it
relive snapshot --dry-run --accounts secure /media/usb/antiX
relive snapshot --accounts secure -o ours.iso /media/usb/antiX
# With boot files of an ISO that boots, and an account of its own
relive snapshot --accounts reset --user kim --password-file pw --template antiX-23.iso /media/usb/antiX`,
	"iso": `
# Look into an image, and test it
relive iso info antiX.iso
relive iso check antiX.iso`,
	"iso info": `
# Volume, boot images, partitions, live systems
relive iso info antiX.iso`,
	"iso ls": `
# Everything, or one directory
relive iso ls antiX.iso
relive iso ls antiX.iso boot/grub`,
	"iso cat": `
# A boot menu
relive iso cat antiX.iso boot/grub/grub.cfg`,
	"iso extract": `
# All of it, some files, one file under another name
relive iso extract antiX.iso -C antix
relive iso extract antiX.iso 'antiX/vmlinuz*' antiX/initrd.gz -C /media/stick
relive iso extract antiX.iso antiX/linuxfs -o linuxfs`,
	"iso check": `
# After a download, or before it is given away
relive iso check antiX.iso`,
	"iso rebuild": `
# Another base in the same ISO
relive iso rebuild antiX.iso -o new.iso --replace antiX/linuxfs=linuxfs
# Other boot arguments, another label, sums that a boot can check
relive iso rebuild in.iso -o out.iso --add-arg quiet --remove-arg persist
relive iso rebuild in.iso -o out.iso --volid MYLIVE --implant-md5`,
	"dm": `
# How full a snapshot is, and what merges it
relive dm status overlay
relive dm merge squashfs.img:LiveOS/rootfs.img overlay -o rootfs.img`,
	"dm status": `
# Chunks used and left, what is damaged
relive dm status overlay`,
	"dm ls": `
# Which chunks of the origin have changed
relive dm ls overlay`,
	"dm merge": `
# A new image, or the origin itself
relive dm merge squashfs.img:LiveOS/rootfs.img overlay -o rootfs.img
relive dm merge --in-place rootfs.img overlay`,
	"dm recover": `
# What could be saved of a damaged COW, then a sound one
relive dm recover --dry-run overlay
relive dm recover overlay -o sound`,
	"dm repack": `
# Without chunks that equal the origin's
relive dm repack rootfs.img overlay -o smaller`,
	"dm reset": `
# Empty it: what it holds is gone
relive dm reset overlay`,
	"dm grow": `
# More room, also where it was full
relive dm grow overlay --size 4G`,
	"dm create": `
# An empty COW, of a size or as large as an image asks for
relive dm create overlay --size 2G
relive dm create overlay --for rootfs.img`,
	"help": `
# A verb, and a topic of the manual
relive help iso rebuild
relive help safety`,
	"version": `
# With the codecs that are in use
relive version
relive version --json`,
	"completion": `
# For this shell, where no package has installed it
relive completion bash >~/.local/share/bash-completion/completions/relive
relive completion fish >~/.config/fish/completions/relive.fish`,
}

// setExamples gives each verb its examples, in the form in which help shows them. The
// verbs of completion have cobra's own words.
func setExamples(c *cobra.Command) {
	if text := verbExamples[verbPath(c)]; text != "" {
		lines := strings.Split(strings.TrimSpace(text), "\n")
		c.Example = "  " + strings.Join(lines, "\n  ")
	}
	for _, sub := range c.Commands() {
		setExamples(sub)
	}
}
