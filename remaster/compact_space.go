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
	sb := p.live.Base.Image.Superblock()
	content, err := p.live.Base.content()
	if err != nil {
		return 0, 0, err
	}
	ratio := 1.0
	if content > 0 {
		ratio = min(1, 1.25*float64(sb.InodeTableStart)/float64(content))
	}
	tables := int64(float64(sb.BytesUsed-sb.InodeTableStart) * 1.25 * float64(s.Inodes) / float64(max(sb.InodeCount, 1)))
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
	if s.Free, err = hostdisk.FreeSpace(dir); err != nil {
		return err
	}
	if s.Need > s.Free {
		hint := fmt.Sprintf("free some space, or use -o to write the new %s to another disk", p.live.Base.Name())
		if old := p.live.files.base + ".old"; exists(filepath.Join(dir, old)) && p.o.Output == "" {
			hint = old + " and its like hold a former state; remove them if you do not need to roll back, " + hint
		}
		return refuse(hint, "%s: not enough space: about %s needed, %s free", dir, Bytes(s.Need), Bytes(s.Free))
	}
	limit, err := hostdisk.MaxFileSize(dir)
	if err != nil {
		return err
	}
	if s.Estimate > limit {
		return refuse("choose a stronger codec with --comp, or leave things out with -e",
			"%s: the new %s would have about %s, and a file on this file system cannot have more than %s", dir, p.live.Base.Name(), Bytes(s.Estimate), Bytes(limit))
	}
	return nil
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
