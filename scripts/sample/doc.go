// Command sample makes a small live system from the data that it embeds. It
// needs neither root nor any tool.
//
//	sample antix DIR   a linuxfs, and a rootfs in which a running system has
//	                   added, changed and deleted files
//	sample owned DIR   the same in DIR/antiX, with an owner and what only looks
//	                   like a kernel and an initrd
//	sample liveos DIR  LiveOS/squashfs.img with a file system image inside, and a
//	                   device-mapper snapshot that holds the changed chunks
package main
