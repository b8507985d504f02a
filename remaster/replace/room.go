package replace

import (
	"path/filepath"

	"relive/remaster/bytesize"
	"relive/remaster/hostdisk"
	"relive/remaster/live"
	"relive/remaster/refusal"
)

// Room is what a run needs of the file system of a directory, and of others.
type Room struct {
	Dir  string
	Need int64  // bytes for all new files
	File string // the largest of them, for people
	Size int64  // bytes of it
	Old  string // a file in dir that could go, where it is there; may be ""
	// More and less are hints, for a disk and a file system on which there is not
	// enough.
	More, Less string
	// elsewhere is what is needed of other file systems.
	elsewhere []*Room
}

// Add adds what the new file of a name in the live directory needs of the file
// system on which that lies, in bytes, and how large it becomes, 0 for no file
// that could be too large.
func (r *Room) Add(name string, need, size int64) error {
	at, err := Elsewhere(r.Dir, name)
	if err != nil {
		return err
	}
	if at == "" {
		r.add(name, need, size)
		return nil
	}
	var stamp hostdisk.Stamp
	if stamp, err = hostdisk.StampOf(at); err != nil {
		return err
	}
	for _, o := range r.elsewhere {
		if there, err := hostdisk.StampOf(o.Dir); err == nil && there.Dev == stamp.Dev {
			o.add(name, need, size)
			return nil
		}
	}
	o := &Room{Dir: at, Old: live.OldName(filepath.Base(name), 1), More: "use a larger disk", Less: r.Less}
	o.add(name, need, size)
	r.elsewhere = append(r.elsewhere, o)
	return nil
}

func (r *Room) add(name string, need, size int64) {
	if r.Need += need; size > r.Size {
		r.Size, r.File = size, filepath.Base(name)
	}
}

// Sum is what is needed of all file systems, in bytes.
func (r *Room) Sum() int64 {
	n := r.Need
	for _, o := range r.elsewhere {
		n += o.Need
	}
	return n
}

// Check refuses where the new files cannot fit. It gives the bytes that are
// free: of another file system where nothing is needed of the directory's.
func (r *Room) Check() (free int64, err error) {
	for i, o := range r.elsewhere {
		there, err := o.Check()
		if err != nil {
			return 0, err
		}
		if i == 0 {
			free = there
		}
	}
	if r.Need == 0 && len(r.elsewhere) > 0 {
		return free, nil
	}
	if free, err = hostdisk.FreeSpace(r.Dir); err != nil {
		return 0, err
	}
	if r.Need > free {
		hint := "free some space, or " + r.More
		if r.Old != "" && hostdisk.Exists(filepath.Join(r.Dir, r.Old)) {
			hint = r.Old + " and its like hold a former state; remove them if you do not need to roll back, " + hint
		}
		return 0, refusal.New(refusal.NotEnoughSpace, hint, "%s: not enough space: about %s needed, %s free", r.Dir,
			bytesize.Format(r.Need), bytesize.Format(free))
	}
	limit, err := hostdisk.MaxFileSize(r.Dir)
	if err == nil && r.Size > limit {
		err = refusal.New(refusal.FileTooLarge, r.Less, "%s: the new %s would have about %s, and a file on this file system cannot have "+
			"more than %s", r.Dir, r.File, bytesize.Format(r.Size), bytesize.Format(limit))
	}
	return free, err
}
