// Package liveboot makes sticks of Debian live: a disk image with a partition that holds
// live/, and further ones for persistence, as its maker or live-boot's manual tells people
// to make them. The packages live-boot and initramfs-tools make the initrd.
package liveboot
