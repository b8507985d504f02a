// Package bootfiles finds out what makes an ISO boot: boot loaders on a medium, or
// those of installed packages.
//
// [Find] looks through a medium's tree, such as a stick's or an unpacked ISO's.
// [FromPackages] takes the loaders from a system's packages and puts menus beside
// them. Both give a [Setup]: files to lie on the ISO, and what iso.Recipe needs.
// docs/bootfiles.md lists what is looked for where, and in which order.
//
// Laws:
//   - Every path of a Setup's boot images is in the medium's tree or in its own.
//   - What will not boot is told in Notes, never left out in silence. Neither
//     function fails because something is missing, only because something cannot
//     be read.
//   - Files are taken as they are: nothing is linked, patched or signed. What has
//     to be linked for the medium, as GRUB's images of most distributions, is not
//     made.
//   - The same trees and options give the same Setup.
//
// Sources: SYSLINUX 6.04 doc/isolinux.txt and core/elflink for what ISOLINUX looks
// for where; GRUB 2.06 include/grub/kernel.h for what is linked into its images,
// and its manual for the rest; UEFI 2.10, 3.5.1.1 for the names of loaders; the
// scripts of the distributions for their places: Debian's debian-cd and live-build,
// Fedora's lorax, archiso, MX Linux' mx-iso-template, Ubuntu's livecd-rootfs.
//
// Left out: PowerPC, Apple's boot images without UEFI, emulated diskettes, GRUB
// legacy.
package bootfiles
