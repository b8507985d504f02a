package remaster

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"relive/remaster/hostdisk"
)

// checkSpace refuses where the new files cannot fit.
func (p *CompactPlan) checkSpace() error {
	s := &p.Summary
	_, work, err := p.base.estimate()
	if err != nil {
		return err
	}
	s.Need = s.Estimate + work
	dir := p.live.Dir
	if p.swap == nil {
		dir = filepath.Dir(p.o.Output)
	} else {
		n, err := p.swap.need()
		if err != nil {
			return err
		}
		s.Need += n
	}
	name := p.live.Base.Name()
	room := room{dir: dir, need: s.Need, file: name, size: s.Estimate,
		more: "use -o to write the new " + name + " to another disk", less: "choose a stronger codec with --comp, or leave things out with -e"}
	if p.swap != nil {
		room.old = p.live.files.base + ".old"
		if way := p.inPlace(); way != "" {
			room.more += "; " + way
		}
	}
	s.Free, err = room.check()
	return err
}

// inPlace names the way that does without a second overlay beside the first,
// "" where there is none: a snapshot, which on FAT takes all of its size, stays
// where it is and is emptied there once the base holds its chunks.
func (p *CompactPlan) inPlace() string {
	l := p.live
	if l.snapshot() == nil || p.o.NoReset || p.o.Stage || p.o.Flatten || p.swap.apart {
		return ""
	}
	var need int64
	for _, r := range p.swap.parts {
		need += r.need
	}
	return fmt.Sprintf("or do without a second %s, which takes %s of it: relive compact --no-reset %s, then relive verify %s, and when that is well relive dm reset %s, which empties it where it is and cannot be undone",
		l.Overlay.Name(), Bytes(need), l.Dir, l.Dir, l.Overlay.Path)
}

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
		if r.old != "" && exists(filepath.Join(r.dir, r.old)) {
			hint = r.old + " and its like hold a former state; remove them if you do not need to roll back, " + hint
		}
		return 0, refuse(hint, "%s: not enough space: about %s needed, %s free", r.dir, Bytes(r.need), Bytes(free))
	}
	limit, err := hostdisk.MaxFileSize(r.dir)
	if err == nil && r.size > limit {
		err = refuse(r.less, "%s: the new %s would have about %s, and a file on this file system cannot have more than %s", r.dir, r.file, Bytes(r.size), Bytes(limit))
	}
	return free, err
}

func treeSize(path string) (n int64, err error) {
	err = filepath.WalkDir(path, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil {
			n += info.Size()
		}
		return err
	})
	return n, err
}
