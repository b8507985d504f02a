package resize

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"relive/remaster/bytesize"
	"relive/remaster/hostdisk"
	"relive/remaster/job"
	"relive/remaster/live"
	"relive/remaster/probe"
	"relive/remaster/refusal"
	"relive/remaster/replace"
	"relive/remaster/say"
	"relive/remaster/swap"
)

// SizeKind is what a NewSize is told by.
type SizeKind int

// The kinds.
const (
	SizeExactly SizeKind = iota
	SizeMore             // as much more
	SizeLess             // as much less
	SizeMin              // the least that leaves some room
	SizeMax              // what the disk has room for
)

// NewSize is the size that an image is to have.
type NewSize struct {
	Kind  SizeKind
	Bytes int64 // of the first three kinds
}

// Options say how the images of a live directory are resized.
type Options struct {
	// Overlay and Home are the new sizes; nil leaves an image as it is.
	Overlay, Home *NewSize
	// KeepOld is how many former images are kept beside each new one.
	KeepOld int
}

// Plan is what a resizing will do.
type Plan struct {
	live   *live.Live
	env    *job.Env
	o      Options
	images []*resizing

	Summary Summary
}

// Summary is the part of a plan that is shown.
type Summary struct {
	Dir          string   `json:"dir"`
	Layout       string   `json:"layout"`
	job.Standing          // all have their sizes already
	Images       []Image  `json:"images"`
	KeepOld      int      `json:"keep_old"`
	Need         int64    `json:"space_needed"`
	Free         int64    `json:"space_free"`
	Steps        []string `json:"steps"`
	Notes        []string `json:"notes"`
	Warnings     []string `json:"warnings"`
}

// How an image gets its size.
const (
	ResizeStays   = "stays"   // it has the size
	ResizeRebuild = "rebuild" // a new file system with the same in it takes its place
	ResizeGrow    = "grow"    // a COW grows where it is
	ResizeRepack  = "repack"  // a smaller COW with the same chunks takes its place
)

// Image is an image and its sizes, in bytes.
type Image struct {
	Name    string `json:"name"` // in the live directory
	Form    string `json:"form"` // "ext2", "ext3", "ext4" or "dm-snapshot"
	How     string `json:"how"`
	OldSize int64  `json:"old_size"`
	Size    int64  `json:"size"`
	// Least is the smallest size that a resizing takes: what the image holds
	// needs, and some room.
	Least int64 `json:"least"`
	// Holds is the smallest size that holds what is in it.
	Holds   int64 `json:"holds"`
	FreeOld int64 `json:"free_old"` // in it, before
	Free    int64 `json:"free"`     // and after
	// Inodes of the new file system; 0 where it is not rebuilt.
	Inodes     int64 `json:"inodes"`
	FreeInodes int64 `json:"free_inodes"`
	// Whole: the host has set all of the space aside, before and after.
	Whole bool `json:"preallocated"`
	// Kept is the name that the old one gets; "" where it is not kept.
	Kept string `json:"kept,omitempty"`
}

// Result is what a resizing did.
type Result struct {
	Plan    Summary `json:"plan"`
	Seconds float64 `json:"seconds"`
}

// resizing is an image that is to be resized.
type resizing struct {
	*Image
	target    string // relative to the live directory
	path      string
	allocated int64 // by the host, in bytes
	// fit decides for a size: it fills in what follows.
	fit func(ctx context.Context, size int64) error
	// most is what a larger size would be of no use, 0 where there is no such.
	most int64

	need int64 // bytes on the host
	make func(ctx context.Context, path string) error
	grow func() error // where it is, in place of make
}

// New looks at the images that are to be resized and decides how. It
// changes nothing. What cannot be, is a Refusal that tells the numbers.
func New(ctx context.Context, e *job.Env, l *live.Live, o Options) (*Plan, error) {
	p := &Plan{live: l, env: e, o: o}
	p.Summary = Summary{Dir: l.Dir, Layout: l.Layout.Name(), KeepOld: o.KeepOld,
		Images: []Image{}, Steps: []string{}, Notes: []string{}, Warnings: []string{}}
	switch {
	case o.Overlay == nil && o.Home == nil:
		return nil, refusal.WithHint(refusal.Option(errors.New("there is no size to resize to")),
			"give the size of the overlay or of the homes")
	case o.Overlay != nil && o.Home != nil && o.Overlay.Kind == SizeMax && o.Home.Kind == SizeMax:
		return nil, refusal.WithHint(refusal.Option(errors.New("only one of two images can have all that the disk has room for")),
			"give a number for the other")
	case !l.OnHost():
		return nil, l.RefuseOnStick("")
	}
	if o.Overlay != nil {
		if err := p.addOverlay(ctx); err != nil {
			return nil, err
		}
	}
	if o.Home != nil {
		if err := p.addHome(ctx); err != nil {
			return nil, err
		}
	}
	if err := p.chooseSizes(ctx); err != nil {
		return nil, err
	}
	if err := p.checkState(); err != nil {
		return nil, err
	}
	stays := true
	for _, r := range p.images {
		p.Summary.Images = append(p.Summary.Images, *r.Image)
		stays = stays && r.How == ResizeStays
		if r.grow != nil {
			p.Summary.Steps = append(p.Summary.Steps, fmt.Sprintf("grow %s where it is", r.target))
		}
	}
	p.Summary.Stands(stays)
	steps, err := replace.ShowSteps(l.Dir, p.steps(func(r *resizing) string { return "(new " + r.target + ")" }))
	if err != nil {
		return nil, err
	}
	p.Summary.Steps = append(p.Summary.Steps, steps...)
	return p, p.checkSpace()
}

func (p *Plan) warn(format string, args ...any) {
	p.Summary.Warnings = append(p.Summary.Warnings, fmt.Sprintf(format, args...))
}

func (p *Plan) note(format string, args ...any) {
	p.Summary.Notes = append(p.Summary.Notes, fmt.Sprintf(format, args...))
}

// addOverlay takes the overlay among what is resized.
func (p *Plan) addOverlay(ctx context.Context) error {
	l := p.live
	o := l.Overlay
	switch {
	case o == nil:
		return refusal.New(refusal.NotFound, "boot with persistence once to make it", "%s: there is no overlay that could be resized",
			l.Dir)
	case o.Image == nil && o.COW == nil:
		return refusal.New(refusal.UnsupportedForm, "it takes what it needs of the disk that it is on",
			"%s: is a directory, so that there is nothing to resize", o.Path)
	}
	target, err := filepath.Rel(l.Dir, o.Path)
	if err != nil {
		return err
	}
	if err := l.RefuseInUse("", o.Path); err != nil {
		return err
	}
	if o.COW != nil {
		return p.addCOW(ctx, target)
	}
	root, err := o.Image.FS.Root()
	if err != nil {
		return err
	}
	if root, err = withoutUpperHandles(root, o.Works()...); err != nil {
		return fmt.Errorf("%s: %w", target, err)
	}
	return p.addImage(ctx, target, o.Image, root, *p.o.Overlay)
}

// addHome takes the image of homes among what is resized.
func (p *Plan) addHome(ctx context.Context) error {
	l := p.live
	name := l.Files.Home
	if name == "" {
		return refusal.New(refusal.UnsupportedLayout, "give the size of the overlay, which holds the homes too",
			"%s: %s has no image of homes", l.Dir, l.Layout.Name())
	}
	path := filepath.Join(l.Dir, name)
	if !live.IsFile(l.Place, path) {
		return refusal.New(refusal.NotFound, "boot with home persistence once to make it", "%s: there is no %s that could be resized",
			l.Dir, name)
	}
	if err := l.RefuseInUse("", path); err != nil {
		return err
	}
	if l.Home == nil {
		if res, err := live.ProbeFile(l.Place, path); err == nil && res.Kind == probe.LUKS {
			return refusal.New(refusal.Encrypted, "unlock it, and resize container and file system with cryptsetup and resize2fs; or "+
				"make a new one of the right size and copy the homes over",
				"%s: is encrypted (LUKS), and what is in it cannot be read", path)
		}
		return l.HomeProblem
	}
	root, err := l.Home.FS.Root()
	if err != nil {
		return err
	}
	return p.addImage(ctx, name, l.Home, root, *p.o.Home)
}

// checkState refuses what would be undone or undo something.
func (p *Plan) checkState() error {
	l := p.live
	for _, r := range p.images {
		if r.make == nil {
			continue
		}
		if len(l.Files.Overlay) > 0 && r.target == l.Files.Overlay[0] {
			if name := l.Pending(l.Files.Base, r.target); name != "" {
				return refusal.New(refusal.Pending, "boot once so that it is taken up, or remove the .new files",
					"%s: %s is pending: the next boot would set %s aside", l.Dir, name, r.target)
			}
		}
		if r.target == l.Files.Home {
			if err := l.RefusePendingHome(); err != nil {
				return err
			}
		}
		if p.o.KeepOld == 0 {
			continue
		}
		first := p.kept(r)
		if first+p.o.KeepOld-1 > live.MaxKeepOld {
			return refusal.New(refusal.TooManyFormer, "remove some of them, or "+say.KeepOld+" 0",
				"%s: there are former states up to the %dth already", l.Dir, first-1)
		}
		if r.Kept = live.OldName(r.target, first); first > 1 {
			p.note("%s and its like stay as they are, for "+say.Rollback+" to go back to; the present %s is kept as %s",
				live.OldName(l.Files.Base, first-1), r.target, r.Kept)
		}
	}
	return nil
}

// kept is the first generation of names under which a former image is kept,
// behind all former bases: each goes back together with the overlay that was kept
// with it. Images of homes belong to no base.
func (p *Plan) kept(r *resizing) int {
	f := &p.live.Files
	if r.target == f.Home {
		return 1
	}
	first := 1
	for n := 1; n <= live.MaxKeepOld; n++ {
		if hostdisk.Exists(filepath.Join(p.live.Dir, live.OldName(f.Base, n))) {
			first = n + 1
		}
	}
	return first
}

// checkInUse refuses while one of the images is mounted.
func (p *Plan) checkInUse() error {
	for _, r := range p.images {
		if err := p.live.RefuseInUse("", r.path); err != nil {
			return err
		}
	}
	return nil
}

// steps returns what is renamed; name gives the new file of an image.
func (p *Plan) steps(name func(*resizing) string) (steps []swap.Step) {
	for _, r := range p.images {
		if r.make != nil {
			steps = append(steps, replace.Alone(p.live.Dir, r.target, name(r), p.kept(r), p.o.KeepOld)...)
		}
	}
	return steps
}

// checkSpace refuses where the new files cannot fit.
func (p *Plan) checkSpace() error {
	s := &p.Summary
	rm := replace.Room{Dir: p.live.Dir, More: "use a larger disk", Less: "choose a smaller size"}
	for _, r := range p.images {
		if r.How == ResizeStays {
			continue
		}
		if err := rm.Add(r.target, r.need, r.Size); err != nil {
			return err
		}
		if r.make != nil && p.o.KeepOld > 0 {
			rm.Old = r.Kept
		}
	}
	var err error
	s.Need = rm.Sum()
	if s.Free, err = rm.Check(); err != nil {
		return err
	}
	left, err := p.free()
	if err != nil {
		return err
	}
	for _, r := range p.images {
		disk := left[filepath.Dir(r.path)]
		if *disk -= p.claim(r); *disk < 0 && r.Size > r.OldSize {
			p.warn("%s may take %s, for which the disk has no room: a live system that fills it up meets a full disk", r.target,
				bytesize.Format(r.Size))
		}
	}
	return nil
}

// Run does what the plan says.
func (p *Plan) Run(ctx context.Context) (*Result, error) {
	start := time.Now()
	grown, err := p.growInPlace(ctx)
	if err == nil {
		err = p.replace(ctx)
	}
	if err != nil {
		return nil, p.explain(err, grown)
	}
	for i, r := range p.images {
		p.Summary.Images[i] = *r.Image
	}
	return &Result{Plan: p.Summary, Seconds: time.Since(start).Seconds()}, nil
}

// explain adds to an error what became of the images.
func (p *Plan) explain(err error, grown string) error {
	state := "nothing was changed"
	if grown != "" {
		err = fmt.Errorf("%s was enlarged, and then: %w", grown, err)
		state = "the other image is as it was"
	}
	return refusal.DiskFull(err, state, ", or choose a smaller size", ". Choose a smaller one")
}

// growInPlace enlarges what is enlarged where it is, under the lock of the live
// directory. It gives the name of what it has enlarged.
func (p *Plan) growInPlace(ctx context.Context) (name string, err error) {
	for _, r := range p.images {
		if r.grow == nil {
			continue
		}
		// The step is not done; it says where the file is.
		t, err := replace.Begin(p.env, p.live.Dir, "resize", []swap.Step{swap.Copy{From: r.target, To: r.target}})
		if err != nil {
			return name, err
		}
		if err = p.checkInUse(); err == nil {
			err = p.live.Unchanged(ctx)
		}
		if err == nil {
			p.env.Phase("growing "+r.target, 0)
			err = r.grow()
		}
		// It has no files to be put in place.
		if err = errors.Join(err, t.Abort(), t.Locks.Close()); err != nil {
			return name, err
		}
		delete(p.live.Stamps, r.path)
		name = r.target
	}
	return name, nil
}

// replace makes new images and puts them in place in one transaction.
func (p *Plan) replace(ctx context.Context) error {
	x := replace.Exchange{
		Env: p.env, Live: p.live, Verb: "resize", Free: p.checkInUse, Placing: "putting the new files in place",
		Steps: func(made map[string]string) ([]swap.Step, error) {
			return p.steps(func(r *resizing) string { return made[r.target] }), nil
		},
	}
	var names []string
	for _, r := range p.images {
		if r.make != nil {
			names = append(names, r.target)
			x.Parts = append(x.Parts, replace.Part{Target: r.target, Make: r.make})
		}
	}
	if len(names) == 0 {
		return nil
	}
	return x.Run(ctx, replace.Placeholders(names...))
}

// preallocated reports whether the host has set all of a file's space aside, or
// would do so with any file of that directory.
func preallocated(dir string, size, allocated int64) bool {
	sparse, err := hostdisk.HoldsHoles(dir)
	return allocated >= size || err != nil || !sparse
}

// setAside sets the host's space for a new image aside where the old one has
// all of its own.
func (r *resizing) setAside(f *os.File) error {
	if !r.Whole {
		return nil
	}
	return hostdisk.Preallocate(f, r.Size)
}
