// Package liveos makes LiveOS sticks: a disk image with an ext4 partition that holds
// LiveOS/, maybe a second one for an overlay, the images in LiveOS/, and an initrd that
// Debian's dracut makes.
package liveos
