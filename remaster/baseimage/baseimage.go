package baseimage

import (
	"context"
	"slices"

	"relive/remaster/bootable"
	"relive/remaster/exclude"
	"relive/remaster/job"
	"relive/remaster/live"
	"relive/remaster/packed"
	"relive/remaster/sourcecheck"
	"relive/remaster/unmatched"
	"relive/tree"
)

// Options say how a new base is made.
type Options struct {
	// Wish is what the image is to be like, where it is not to be like the base's.
	packed.Wish
	// Excludes leave paths out of the new base.
	Excludes []exclude.Rule
	// AllowUnmatched goes on where an exclude matches nothing.
	AllowUnmatched bool
	// Bare makes the merged file system image itself, not compressed.
	Bare bool
	// Flatten makes a base of the system's files themselves where the present one
	// holds them in a file system image.
	Flatten bool
	// KeepFree keeps what is free in a file system image as it is.
	KeepFree bool
	// FullVerify decodes all of the new base, also what was copied as stored.
	FullVerify bool
	// Force goes on where the new system cannot boot, most of it is left out, or the
	// present base has other sums than stand beside it.
	Force bool
	// Medium, where not nil, makes the system of a base that is a file of a new
	// medium.
	Medium *MediumSystem
}

// MediumSystem makes the system of a medium of its own: another than base and
// overlay show.
type MediumSystem struct {
	// System makes its tree from what base and overlay show.
	System func(ctx context.Context, p *Plan, merged *tree.Node) (*tree.Node, error)
	// Salt tells what decides the system besides base and overlay.
	Salt func() string
	// NoDead: what was taken out must not lie about in blocks that are copied.
	NoDead bool
}

// Plan is how a new base is made of what base and overlay of a live
// directory show.
type Plan struct {
	Live *live.Live
	Env  *job.Env
	o    Options
	Warn func(format string, args ...any)
	// System is what the image holds, shown what it shows.
	System, Shown *tree.Node
	make          maker
	Check         *sourcecheck.Check
	rules         []exclude.RuleCount
	// Touched: the system differs from what base and overlay show.
	Touched bool
	// State is the hash of the overlay's state, now the time that all that is
	// made carries.
	State   []byte
	Now     tree.Time
	Version live.Version

	// Work is what is needed on the disk beside the base while it is made, in bytes.
	Work int64

	Summary Summary
}

// Summary is the part of a plan that is shown.
type Summary struct {
	Form      Form          `json:"form"`
	Format    packed.Format `json:"format,omitempty"` // of a compressed image
	Codec     string        `json:"codec"`
	Library   string        `json:"codec_library"` // that compresses, with its version; "" where nothing is
	BlockSize int           `json:"block_size"`
	VID       string        `json:"vid,omitempty"`
	Inodes    uint64        `json:"inodes"`
	Bytes     int64         `json:"bytes"`
	Reused    uint64        `json:"files_reused"`
	Mixed     uint64        `json:"files_partly_reused"`
	Duplicate uint64        `json:"files_duplicate"`
	Copy      int64         `json:"bytes_to_copy"`
	Compress  int64         `json:"bytes_to_compress"`
	Repacked  int           `json:"fragment_blocks_repacked"`
	Dead      int64         `json:"dead_bytes_kept"`
	Freed     int64         `json:"bytes_free_left_out"` // of a file system image inside, in whole blocks of the base
	Estimate  int64         `json:"size_estimate"`
	Excluded  int64         `json:"excluded_entries"`
	// Sums are those by which the base is checked while it is copied.
	Sums []sourcecheck.Source `json:"sums"`
}

// Form is what a new base is.
type Form string

// The forms.
const (
	Squash Form = "squashfs" // a compressed image of the system's files
	Nested Form = "nested"   // one that holds a file system image
	Ext    Form = "ext"      // a file system image, not compressed
)

// New looks at everything that a new base depends on and decides how it is
// made. It writes nothing. warn is told what a person should know, also while
// the base is made.
func New(ctx context.Context, e *job.Env, l *live.Live, o Options, warn func(format string, args ...any)) (*Plan, error) {
	p := &Plan{Live: l, Env: e, o: o, Warn: warn, Summary: Summary{Sums: []sourcecheck.Source{}}}
	if err := p.plan(ctx); err != nil {
		return nil, err
	}
	var err error
	if p.Summary.Estimate, p.Work, err = p.estimate(); err != nil {
		return nil, err
	}
	p.planCheck()
	return p, nil
}

// Stamped makes the system of a base that takes the place of the present one.
func (p *Plan) Stamped(ctx context.Context, merged *tree.Node) (*tree.Node, error) {
	root, v, err := p.Live.System(ctx, merged, live.Stamp{State: p.State, Salt: p.Salt(), Now: p.Now})
	p.Version, p.Summary.VID = v, string(v.ID)
	return root, err
}

// plan decides what the new base holds and how it is written.
func (p *Plan) plan(ctx context.Context) error {
	l, e, s := p.Live, p.Env, &p.Summary
	var newest tree.Time
	var err error
	if p.State, newest, err = l.State(ctx); err != nil {
		return err
	}
	var wo packed.WriteOptions
	if l.Base.Image != nil || p.o.Medium != nil {
		if wo, err = p.WriteOptions(); err != nil {
			return err
		}
		if err = p.checkFormat(ctx, wo.Format()); err != nil {
			return err
		}
		s.Format, s.Codec, s.BlockSize, s.Library = wo.Format(), wo.Codec(), wo.BlockSize(), wo.Library()
	}
	p.Now = e.ImageTime(wo.Built(), newest)
	wo.SetBuilt(p.Now)

	root := l.Merged
	if len(p.o.Excludes) > 0 && p.o.Medium == nil {
		p.Touched = true
		if root, err = p.exclude(root); err != nil {
			return err
		}
	}
	p.Shown = root
	if p.o.Medium != nil {
		p.System, err = p.o.Medium.System(ctx, p, root)
		p.Shown = p.System
	} else {
		p.System, err = p.Stamped(ctx, root)
	}
	if err != nil {
		return err
	}
	if p.o.Medium != nil {
		root = p.System
	}
	if err := p.checkResult(ctx, root); err != nil {
		return err
	}
	p.make, err = p.maker(ctx, wo)
	return err
}

// checkResult refuses a new system that cannot boot, or of which the excludes
// leave less than half.
func (p *Plan) checkResult(ctx context.Context, now *tree.Node) error {
	out, err := bootable.CheckLeftOut(ctx, p.Live, now, p.Summary.Excluded, p.o.Force)
	if err != nil {
		return err
	}
	lost, err := bootable.CheckBoots(ctx, p.Live, p.Live.Base.Root, now, p.Live, p.o.Force)
	for _, w := range slices.Concat(out, lost) {
		p.Warn("%s", w)
	}
	return err
}

// exclude leaves paths out of the tree.
func (p *Plan) exclude(root *tree.Node) (*tree.Node, error) {
	set, err := exclude.New(p.o.Excludes)
	if err != nil {
		return nil, err
	}
	p.Env.Phase("excludes", 0)
	if p.rules, err = set.Count(root); err != nil {
		return nil, err
	}
	for _, r := range p.rules {
		p.Summary.Excluded += r.Entries
	}
	var u unmatched.Names
	u.Excludes(p.rules, 0, "", root)
	warnings, err := u.Check(p.Live.Dir, p.o.AllowUnmatched)
	for _, w := range warnings {
		p.Warn("%s", w)
	}
	return set.Apply(root), err
}

// planCheck plans to compare the base's images with their sums while they are
// copied.
func (p *Plan) planCheck() {
	l := p.Live
	names := []string{l.Files.Base}
	if !l.Layout.Traits().StackStays || p.o.Medium != nil {
		// Of casper's stack the topmost alone is made anew.
		for _, name := range l.Files.Stack {
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	p.Check = sourcecheck.New(l, names, p.o.Force, p.Warn)
	p.Summary.Sums = p.Check.Sources()
}

// Misled reports whether marks of the overlay mean something else over the new
// base, or keep the kernel from mounting it there.
func (p *Plan) Misled() (bool, error) {
	switch m := p.make.(type) {
	case *deviceMaker:
		return false, nil // the image is the old one with changes
	case *imageMaker:
		if m.inner == nil && m.plan.NumbersKept() && len(p.Live.Stack) < 2 {
			return false, nil
		}
		if image := p.Live.Base.Image; image != nil && image.Format() == packed.EROFS && image.Facts().UUID == [16]byte{} {
			// Nothing tells its inodes from those of the new one, which has no UUID either.
			layers, err := p.Live.Marked()
			return slices.ContainsFunc(layers, func(l live.MarkedLayer) bool { return len(l.Marks) > 0 }), err
		}
	}
	// What files are marked with is a number that no inode has, or another file
	// system.
	return p.Live.RootMarked()
}

// estimate foretells the size of the new base: what is copied, what is
// compressed at the base's own ratio and a quarter more, the tables at the
// base's size for each inode. work is what else is needed while it is made.
func (p *Plan) estimate() (size, work int64, err error) {
	s := &p.Summary
	if s.Form == Ext {
		return s.Bytes, 0, nil
	}
	if m, ok := p.make.(*imageMaker); ok && m.inner != nil {
		work = m.inner.used
	}
	if p.Live.Base.Image == nil {
		return s.Copy + s.Compress/2 + 64<<10, work, nil // nothing tells how it compresses
	}
	facts := p.Live.Base.Image.Facts()
	content, inodes, err := p.Live.Base.Content()
	if err != nil {
		return 0, 0, err
	}
	if p.Live.Base.Inner != nil {
		inodes = facts.Inodes
	}
	ratio := 1.0
	if content > 0 {
		ratio = min(1, 1.25*float64(facts.Data)/float64(content))
	}
	tables := int64(float64(facts.Tables) * 1.25 * float64(s.Inodes) / float64(max(inodes, 1)))
	return s.Copy + int64(float64(s.Compress)*ratio) + tables + 64<<10, work, nil
}
