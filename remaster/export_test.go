package remaster

import "relive/remaster/swap"

// OnDisk has transactions done on another file system than the host's.
func (e *Env) OnDisk(disk swap.FS) { e.disk = disk }

// Initrds are the names that the initrd of a kernel may have.
func Initrds(kernel string) []string { return initrds(kernel) }
