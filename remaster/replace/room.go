package replace

import (
	"path/filepath"

	"relive/remaster/bytesize"
	"relive/remaster/hostdisk"
	"relive/remaster/refusal"
)

// Room is what a run needs of the file system of a directory.
type Room struct {
	Dir  string
	Need int64  // bytes for all new files
	File string // the largest of them, for people
	Size int64  // bytes of it
	Old  string // a file in dir that could go, where it is there; may be ""
	// More and less are hints, for a disk and a file system on which there is not
	// enough.
	More, Less string
}

// Check refuses where the new files cannot fit. It gives the bytes that are
// free.
func (r *Room) Check() (free int64, err error) {
	if free, err = hostdisk.FreeSpace(r.Dir); err != nil {
		return 0, err
	}
	if r.Need > free {
		hint := "free some space, or " + r.More
		if r.Old != "" && hostdisk.Exists(filepath.Join(r.Dir, r.Old)) {
			hint = r.Old + " and its like hold a former state; remove them if you do not need to roll back, " + hint
		}
		return 0, refusal.New(hint, "%s: not enough space: about %s needed, %s free", r.Dir, bytesize.Format(r.Need), bytesize.Format(free))
	}
	limit, err := hostdisk.MaxFileSize(r.Dir)
	if err == nil && r.Size > limit {
		err = refusal.New(r.Less, "%s: the new %s would have about %s, and a file on this file system cannot have more than %s", r.Dir, r.File, bytesize.Format(r.Size), bytesize.Format(limit))
	}
	return free, err
}
