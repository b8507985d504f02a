package synchome

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"relive/extfs/mkfs"
	"relive/remaster/bytesize"
	"relive/remaster/hostdisk"
	"relive/remaster/live"
	"relive/remaster/refusal"
	"relive/remaster/replace"
	"relive/remaster/say"
	"relive/remaster/swap"
	"relive/remaster/upper"
	"relive/tree"
)

// homeImage is the image of homes that is made anew.
type homeImage struct {
	fresh  *replace.Image
	former string // path of the present one, "" for none
}

// homeReserve is how much larger than it must be a new image of homes is at
// least, in bytes.
const homeReserve = 64 << 20

// homeLabel is the label of a new image of homes: that by which a boot knows it,
// or that people expect.
func homeLabel(l *live.Live) string { return cmp.Or(l.Layout.Traits().HomeLabel, "home") }

// planReverse plans that the image of homes holds the homes of the system.
func (p *Plan) planReverse(ctx context.Context, system *tree.Node) error {
	l, s := p.live, &p.Summary
	if dir := l.HomesDir(); dir != "" {
		return refusal.New(refusal.UnsupportedForm,
			"copy them there with rsync or cp -a, as root; an image of homes is made "+
				"without "+say.Home, "%s: the homes are a directory, and relive writes them into images only", dir)
	}
	if l.Files.Home == "" {
		return refusal.New(refusal.UnsupportedForm, "copy them on the running system",
			"%s: the homes are where persistence.conf binds them, and not in an image of their own", l.Dir)
	}
	s.From, s.To = l.Base.Name(), l.Files.Home
	if l.Overlay != nil {
		s.From = l.Rel(l.Overlay.Path) + " over " + s.From
	}
	if system == nil {
		return refusal.New(refusal.NotFound, "there is nothing to seed homes with", "%s: the system has no /home", l.Dir)
	}
	if p.marks() {
		system = unescaped(system)
	}
	homes, err := p.picked(system, nil)
	if err != nil {
		return err
	}
	var present *tree.Node
	if l.Home != nil {
		present = p.homes.mounts[0].root
	}
	want, err := p.compare(ctx, present, homes, nil)
	if err != nil {
		return err
	}
	resized := l.Home != nil && p.o.Size != 0 && p.o.Size != l.Home.Size
	if s.Stands(s.UpToDate && !resized); s.UpToDate {
		return nil
	}
	if p.homes.nested != "" {
		root, err := l.Home.FS.Root()
		if err != nil {
			return err
		}
		var edits tree.Edits
		c := *want
		edits.Put(p.homes.nested, &c)
		if want, err = edits.Apply(root); err != nil {
			return err
		}
	}
	p.env.Phase("measuring", 0)
	if err := p.planHomeImage(ctx, want); err != nil {
		return fmt.Errorf("the new %s: %w", l.Files.Home, err)
	}
	return p.planHomeSteps()
}

// planHomeImage decides on the image that holds that tree.
func (p *Plan) planHomeImage(ctx context.Context, root *tree.Node) error {
	l, s := p.live, &p.Summary
	_, newest, err := l.State(ctx)
	if err != nil {
		return err
	}
	now := p.env.ImageTime(newest)
	p.image = &homeImage{}
	var f *replace.Image
	var needs mkfs.Needs
	if l.Home == nil {
		f = &replace.Image{Name: l.Files.Home, Root: root, Options: mkfs.Options{Name: l.Files.Home, Label: homeLabel(l),
			BlockSize: replace.MaxBuiltBlock, ReservedPercent: -1, Time: now, Size: p.o.Size}}
		if p.o.Size == 0 {
			if needs, err = mkfs.Measure(ctx, root, f.Options); err != nil {
				return err
			}
			const unit = 1 << 20
			f.Options.Size = (needs.MinSize + max(needs.MinSize/4, homeReserve) + unit - 1) / unit * unit
		}
		if needs, err = mkfs.Measure(ctx, root, f.Options); err != nil {
			return err
		}
		if !needs.Fits {
			return p.homeTooSmall(needs, "choose a larger "+say.Size)
		}
	} else {
		p.image.former = l.Home.Path
		if f, err = replace.NewImage(l.Files.Home, l.Home.FS, root, now); err != nil {
			return err
		}
		p.Summary.Warnings = append(p.Summary.Warnings, f.Losses()...)
		f.Options.InodeSize = max(f.Options.InodeSize, 256) // smaller ones hold no nanoseconds
		info := l.Home.FS.Info()
		s.OldSize = l.Home.Size
		s.Before = upper.FillOfImage(l.Home)
		if p.o.Size != 0 {
			f.Options = upper.ResizedOptions(f.Options, info, p.o.Size)
		}
		needs, err = mkfs.Measure(ctx, root, f.Options)
		if err == nil && !needs.Fits && p.o.Grow {
			f.Options, needs, err = upper.Grown(ctx, root, f.Options, info)
		}
		if err != nil {
			return err
		}
		if !needs.Fits {
			hint := say.Grow + " makes it larger"
			if p.o.Size != 0 {
				hint = "choose a larger " + say.Size + ", or " + say.Grow
			}
			return p.homeTooSmall(needs, hint)
		}
	}
	p.image.fresh = f
	if l.Home != nil {
		if holes, err := f.WillHaveHoles(l.Home); err != nil {
			return err
		} else if holes != "" {
			p.warn("%s", holes)
		}
	}
	s.Size = f.Options.Size
	free := int64(needs.FreeBlocks-needs.Blocks) * int64(needs.BlockSize)
	s.After = upper.Fill{Bytes: s.Size - free, FreeBytes: free, Inodes: int64(needs.Inodes),
		FreeInodes: int64(needs.FreeInodes - needs.Inodes)}
	s.Need = s.Size
	if sparse, err := hostdisk.HoldsHoles(filepath.Join(l.Dir, filepath.Dir(l.Files.Home))); err == nil && sparse {
		s.Need = min(s.Size, s.After.Bytes)
	}
	r := replace.Room{Dir: l.Dir, Old: live.OldName(l.Files.Home, 1), More: "use a larger disk", Less: "choose a smaller " + say.Size}
	if err := r.Add(l.Files.Home, s.Need, s.Size); err != nil {
		return err
	}
	s.Free, err = r.Check()
	return err
}

func (p *Plan) homeTooSmall(n mkfs.Needs, hint string) error {
	if n.MinSize > 0 {
		hint += fmt.Sprintf(": it takes at least %s", bytesize.Format(n.MinSize))
	}
	unit := int64(n.BlockSize)
	return refusal.New(refusal.WrongSize, hint, "it would hold %s in %d files, and there is room for %s in %d",
		bytesize.Format(int64(n.Blocks)*unit), n.Inodes, bytesize.Format(int64(n.FreeBlocks)*unit), n.FreeInodes)
}

func (p *Plan) planHomeSteps() error {
	steps, err := p.steps("(new " + p.live.Files.Home + ")")
	if err == nil {
		p.Summary.Steps, err = replace.ShowSteps(p.live.Dir, steps)
	}
	return err
}

// steps returns what is renamed. Former images of homes belong to no state of the
// base, and are counted by themselves.
func (p *Plan) steps(made string) ([]swap.Step, error) {
	name, keep := p.live.Files.Home, p.o.KeepOld
	step := swap.Replace{New: made, Target: name}
	exists := hostdisk.Exists(filepath.Join(p.live.Dir, name))
	if exists {
		step.Keep = replace.KeptAs(name, keep)
	}
	steps, err := replace.Rotation{Dir: p.live.Dir, Keep: keep, UpToGap: true, Names: func(int) []string { return []string{name} }}.Steps()
	if !exists { // no place is needed for one more
		steps = slices.DeleteFunc(steps, func(s swap.Step) bool {
			_, moves := s.(swap.Move)
			return moves
		})
	}
	return append(steps, step), err
}

// runReverse makes the image and puts it in place.
func (p *Plan) runReverse(ctx context.Context) error {
	return refusal.DiskFull(p.replaceHome(ctx), refusal.NothingChanged, "", "")
}

func (p *Plan) replaceHome(ctx context.Context) error {
	l := p.live
	name := l.Files.Home
	x := replace.Exchange{
		Env: p.env, Live: l, Verb: "sync-home", Placing: "putting the new homes in place",
		Parts: []replace.Part{{Target: name, Make: p.image.build}},
		Steps: func(made map[string]string) ([]swap.Step, error) { return p.steps(made[name]) },
		Free: func() error {
			if err := p.checkInUse(); err != nil {
				return err
			}
			if p.image.former == "" && hostdisk.Exists(filepath.Join(l.Dir, name)) {
				return refusal.New(refusal.Changed, "begin again", "%s: it was created by another program meanwhile",
					filepath.Join(l.Dir, name))
			}
			return nil
		},
	}
	return x.Run(ctx, replace.Placeholders(name))
}

// build writes the image, reads it back and compares it.
func (i *homeImage) build(ctx context.Context, at string) error {
	if i.former != "" {
		if err := i.fresh.Build(ctx, at, i.former); err != nil {
			return err
		}
		return i.fresh.Check(ctx, at)
	}
	if err := i.create(ctx, at); err != nil {
		return err
	}
	return i.fresh.Check(ctx, at)
}

// create writes an image where there was none. Homes are for none but its owner
// to read.
func (i *homeImage) create(ctx context.Context, at string) (err error) {
	out, err := os.OpenFile(at, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := out.Close(); err == nil {
			err = cerr
		}
	}()
	return i.fresh.Write(ctx, out)
}
