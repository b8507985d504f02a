// Command sample makes a small antiX-style live directory from the data that it
// embeds: a linuxfs, and a rootfs in which a running system has added, changed,
// renamed and deleted files. It needs neither root nor any tool.
package main
