// Package machine starts the virtual machines of the end-to-end tests: their kernel, an
// initrd, a disk, a serial console that is kept in a file, and how a machine is awaited
// and cut off.
//
// The machines run without KVM, so that they are the same on every host.
package machine
