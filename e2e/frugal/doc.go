// Package frugal makes live directories in antiX's layout: a disk with one file system
// that holds antiX/ with linuxfs and rootfs, and an initrd (e2e/guest/antix) that brings
// the system up as antiX's does.
package frugal
