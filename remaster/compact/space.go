package compact

import (
	"fmt"
	"path/filepath"

	"relive/remaster/bytesize"
	"relive/remaster/replace"
	"relive/remaster/say"
)

// checkSpace refuses where the new files cannot fit.
func (p *Plan) checkSpace() error {
	s := &p.Summary
	name := p.live.Base.Name()
	room := replace.Room{Dir: p.live.Dir, Need: s.Estimate + p.base.Work, File: name, Size: s.Estimate,
		More: "use " + say.Output + " to write the new " + name + " to another disk",
		Less: "choose a stronger codec with " + say.Codec + ", or leave things out with " + say.Exclude}
	if p.swap == nil {
		room.Dir = filepath.Dir(p.o.Output)
	} else {
		if err := p.swap.AddNeed(&room); err != nil {
			return err
		}
		room.Old = p.live.Files.Base + ".old"
		if way := p.inPlace(); way != "" {
			room.More += "; " + way
		}
	}
	var err error
	s.Need = room.Sum()
	s.Free, err = room.Check()
	return err
}

// inPlace names the way that does without a second overlay beside the first,
// "" where there is none: a snapshot, which on FAT takes all of its size, stays
// where it is and is emptied there once the base holds its chunks.
func (p *Plan) inPlace() string {
	l := p.live
	if l.COW() == nil || p.o.NoReset || p.o.Stage || p.o.Flatten || p.swap.Apart {
		return ""
	}
	var need int64
	for _, r := range p.swap.Parts {
		need += r.Need
	}
	return fmt.Sprintf("or do without a second %s, which takes %s of it: "+say.Compact+" "+say.NoReset+" %s, then "+say.Verify+
		" %s, and when that is well "+say.ResetCOW+" %s, which empties it where it is and cannot be undone",
		l.Overlay.Name(), bytesize.Format(need), l.Dir, l.Dir, l.Overlay.Path)
}
