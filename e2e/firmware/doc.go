// Package firmware boots machines as hardware does: their firmware finds the boot loader
// on a CD or a USB disk, and that finds the kernel. What is typed at the console that
// waits for a log-in in the end is here too.
package firmware
