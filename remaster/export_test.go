package remaster

import (
	"context"

	"relive/remaster/swap"
)

// OnDisk has transactions done on another file system than the host's.
func (e *Env) OnDisk(disk swap.FS) { e.disk = disk }

// Astray tells whether marks of the overlay would lead to other files of a base.
func (l *Live) Astray(ctx context.Context, base *Base) (bool, error) { return l.astray(ctx, base) }

// Initrds are the names that the initrd of a kernel may have.
func Initrds(kernel string) []string { return initrds(kernel) }
