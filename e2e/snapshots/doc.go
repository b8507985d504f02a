// Package snapshots has the kernel's own device-mapper do what a plan says with
// snapshots on a disk: write to them at random, merge them, read them. The guest is
// e2e/guest/dm.
package snapshots
