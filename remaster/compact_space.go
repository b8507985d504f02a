package remaster

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"relive/remaster/hostdisk"
)

// estimate foretells the size of the new base: what is copied, what is
// compressed at the base's own ratio and a quarter more, the tables at the
// base's size for each inode. work is what else is needed while it is made.
func (p *CompactPlan) estimate() (size, work int64, err error) {
	s := &p.Summary
	if s.Form == "ext" {
		return s.Bytes, 0, nil
	}
	if m, ok := p.make.(*squashMaker); ok && m.inner != nil {
		work = m.inner.used
	}
	if p.live.Base.Image == nil {
		return s.Copy + s.Compress/2 + 64<<10, work, nil // nothing tells how it compresses
	}
	info := p.live.Base.Image.Info()
	content, inodes, err := p.live.Base.content()
	if err != nil {
		return 0, 0, err
	}
	if p.live.Base.Inner != nil {
		inodes = int64(info.Inodes)
	}
	ratio := 1.0
	if content > 0 {
		ratio = min(1, 1.25*float64(info.TablesStart)/float64(content))
	}
	tables := int64(float64(info.BytesUsed-info.TablesStart) * 1.25 * float64(s.Inodes) / float64(max(inodes, 1)))
	return s.Copy + int64(float64(s.Compress)*ratio) + tables + 64<<10, work, nil
}

// checkSpace refuses where the new files cannot fit.
func (p *CompactPlan) checkSpace() error {
	s := &p.Summary
	var err error
	var work int64
	if s.Estimate, work, err = p.estimate(); err != nil {
		return err
	}
	s.Need = s.Estimate + work
	dir := p.live.Dir
	if p.o.Output != "" {
		dir = filepath.Dir(p.o.Output)
	} else {
		for _, r := range p.resets {
			s.Need += r.need
		}
		for _, name := range p.twins() {
			n, err := treeSize(filepath.Join(dir, name))
			if err != nil {
				return err
			}
			s.Need += n
		}
	}
	name := p.live.Base.Name()
	room := room{dir: dir, need: s.Need, file: name, size: s.Estimate,
		more: "use -o to write the new " + name + " to another disk", less: "choose a stronger codec with --comp, or leave things out with -e"}
	if p.o.Output == "" {
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
	if l.snapshot() == nil || p.o.NoReset || p.o.Stage || p.o.Flatten || p.apart {
		return ""
	}
	var need int64
	for _, r := range p.resets {
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

// imageNeed is the space that the overlay's new image takes on the host.
func (p *CompactPlan) imageNeed(o *Overlay) int64 {
	sparse, err := hostdisk.HoldsHoles(p.live.Dir)
	if err != nil || !sparse {
		return o.Image.Size
	}
	if p.o.NoReset {
		return o.Image.Allocated
	}
	return min(o.Image.Size, 2<<20+o.Image.Size/16) // the journal, and the tables of a small file system
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
