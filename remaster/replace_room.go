package remaster

import (
	"path/filepath"
	"relive/remaster/bytesize"
	"relive/remaster/hostdisk"
	"relive/remaster/refusal"
)

// room is what a run needs of the file system of a directory.
type room struct {
	dir  string
	need int64  // bytes for all new files
	file string // the largest of them, for people
	size int64  // bytes of it
	old  string // a file in dir that could go, where it is there; may be ""
	// more and less are hints, for a disk and a file system on which there is not
	// enough.
	more, less string
}

// check refuses where the new files cannot fit. It gives the bytes that are
// free.
func (r *room) check() (free int64, err error) {
	if free, err = hostdisk.FreeSpace(r.dir); err != nil {
		return 0, err
	}
	if r.need > free {
		hint := "free some space, or " + r.more
		if r.old != "" && hostdisk.Exists(filepath.Join(r.dir, r.old)) {
			hint = r.old + " and its like hold a former state; remove them if you do not need to roll back, " + hint
		}
		return 0, refusal.New(hint, "%s: not enough space: about %s needed, %s free", r.dir, bytesize.Format(r.need), bytesize.Format(free))
	}
	limit, err := hostdisk.MaxFileSize(r.dir)
	if err == nil && r.size > limit {
		err = refusal.New(r.less, "%s: the new %s would have about %s, and a file on this file system cannot have more than %s", r.dir, r.file, bytesize.Format(r.size), bytesize.Format(limit))
	}
	return free, err
}
