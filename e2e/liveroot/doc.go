// Package liveroot makes what the live systems of LiveOS and Debian live are made of: the
// small Debian, with an init that starts what comes with the initrd, and initrds that a
// Debian makes in a chroot.
package liveroot
