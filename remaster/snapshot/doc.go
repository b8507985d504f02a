// Package snapshot makes a bootable ISO of a live system, with its accounts
// preserved or reset.
package snapshot
