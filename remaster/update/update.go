package update

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"relive/remaster/bootable"
	"relive/remaster/checksum"
	"relive/remaster/job"
	"relive/remaster/live"
	"relive/remaster/rebase"
	"relive/remaster/refusal"
	"relive/remaster/replace"
	"relive/remaster/say"
	"relive/remaster/sets"
	"relive/remaster/sourcecheck"
	"relive/remaster/sumlist"
	"relive/remaster/swap"
	"relive/tree"
)

// Options say how a live directory takes another one's base.
type Options struct {
	// Overlay says what becomes of the present overlay: OverlayReset,
	// OverlayKeep, OverlayRebase, or "" to decide by what it holds.
	Overlay string
	// Rebase says how its changes are carried over with OverlayRebase.
	Rebase rebase.Options
	// NoKernel leaves kernel and initrd as they are.
	NoKernel bool
	// KeepOld is how many former states are kept beside the new one.
	KeepOld int
	// Stage leaves the new files for the next boot to take up.
	Stage bool
	// Force goes on where version ids, architectures or sums do not match.
	Force bool
}

// What an update can be told to do with the overlay.
const (
	OverlayReset  = "reset"  // an empty one takes its place
	OverlayKeep   = "keep"   // it lies over the new base, stamped for it
	OverlayRebase = "rebase" // one with its changes takes its place
)

// Plan is what an update will do.
type Plan struct {
	live  *live.Live
	env   *job.Env
	swap  *replace.Swap
	fresh *replace.Fresh // over the source's base
	from  *live.Live
	o     Options
	base  bool // the base is another one
	files []bootFile
	// sums are those that the source tells of its files.
	sums *sourcecheck.Check

	Summary Summary
}

// Mode is what becomes of the new files.
type Mode string

// The modes.
const (
	ModeSwap  Mode = "swap"  // they take the place of the present ones
	ModeStage Mode = "stage" // the next boot puts them in place
)

// Summary is the part of a plan that is shown.
type Summary struct {
	Dir    string `json:"dir"`
	Layout string `json:"layout"`
	Source string `json:"source"` // where the new base lies
	Mode   Mode   `json:"mode"`
	job.Standing
	Base     File                 `json:"base"`
	Kernel   []File               `json:"kernel"`
	Overlay  Overlay              `json:"overlay"`
	Rebase   *rebase.Summary      `json:"rebase,omitempty"` // with OutcomeRebased
	VID      string               `json:"vid,omitempty"`
	Sums     []sourcecheck.Source `json:"sums"`
	KeepOld  int                  `json:"keep_old"`
	Need     int64                `json:"space_needed"`
	Free     int64                `json:"space_free"`
	Steps    []string             `json:"steps"`
	Notes    []string             `json:"notes"`
	Warnings []string             `json:"warnings"`
}

// File is a file that is taken over.
type File struct {
	Name    string `json:"name"` // in the live directory
	From    string `json:"from"` // in the source
	Size    int64  `json:"size"`
	OldSize int64  `json:"old_size"`
	Changed bool   `json:"changed"`
}

// Result is what an update did.
type Result struct {
	Plan     Summary                  `json:"plan"`
	Path     string                   `json:"path"`
	Sums     map[checksum.Kind]string `json:"sums,omitempty"` // of the new base
	Seconds  float64                  `json:"seconds"`
	Warnings []string                 `json:"warnings"`
}

// New looks at everything that taking over the base of from depends on,
// and decides what an update will do. It changes nothing. What makes the update
// unsafe is a Refusal. from must stay open until the plan has run.
func New(ctx context.Context, e *job.Env, l *live.Live, from *live.Live, o Options) (*Plan, error) {
	p := &Plan{live: l, env: e, from: from, o: o}
	p.swap = &replace.Swap{Live: l, Env: e, Verb: "update", KeepOld: o.KeepOld, Stage: o.Stage, Warn: p.warn}
	p.Summary = Summary{Dir: l.Dir, Layout: l.Layout.Name(), Source: from.Base.Path, Mode: ModeSwap, KeepOld: o.KeepOld,
		Kernel: []File{}, Sums: []sourcecheck.Source{}, Steps: []string{}, Notes: []string{}, Warnings: []string{}}
	if o.Stage {
		p.Summary.Mode = ModeStage
	}
	if err := p.check(); err != nil {
		return nil, err
	}
	if err := p.checkStack(ctx); err != nil {
		return nil, err
	}
	if err := p.compare(ctx); err != nil {
		return nil, err
	}
	for _, f := range p.files {
		p.swap.More = append(p.swap.More, f.target)
	}
	p.Summary.Stands(!p.base && len(p.files) == 0)
	if p.Summary.UpToDate {
		return p, nil
	}
	if err := p.checkState(ctx); err != nil {
		return nil, err
	}
	if err := p.checkBoots(ctx); err != nil {
		return nil, err
	}
	if err := p.planSums(); err != nil {
		return nil, err
	}
	if err := p.planOverlay(ctx); err != nil {
		return nil, err
	}
	if err := p.checkSpace(); err != nil {
		return nil, err
	}
	var system *tree.Node
	if p.base {
		system = p.from.Base.Root
	}
	if err := p.swap.PlanCompanions(ctx, system); err != nil {
		return nil, err
	}
	if p.base {
		if err := sets.Check(ctx, e, l, sets.Checks{Stage: o.Stage, Force: o.Force, Warn: p.warn}); err != nil {
			return nil, err
		}
	}
	p.tellOfKernels()
	steps, err := replace.ShowSteps(l.Dir, p.steps(p.swap.Placeholders()))
	if err != nil {
		return nil, err
	}
	p.Summary.Steps = append(p.swap.MarksEmptied(), steps...)
	return p, nil
}

func (p *Plan) warn(format string, args ...any) {
	p.Summary.Warnings = append(p.Summary.Warnings, fmt.Sprintf(format, args...))
}

func (p *Plan) note(format string, args ...any) {
	p.Summary.Notes = append(p.Summary.Notes, fmt.Sprintf(format, args...))
}

// check refuses a source whose base cannot take the place of the present one.
func (p *Plan) check() error {
	l, from := p.live, p.from
	if err := l.RefuseOnStick(""); err != nil {
		return err
	}
	switch o := p.o.Overlay; {
	case o != "" && o != OverlayReset && o != OverlayKeep && o != OverlayRebase:
		return refusal.WithHint(refusal.Option(fmt.Errorf(say.Overlay+" %s: neither reset nor keep nor rebase", o)),
			"without it the overlay is reset where that loses nothing")
	case l.Layout.Name() != from.Layout.Name():
		return refusal.New(refusal.AnotherSystem, "give a source of the same distribution", "%s is laid out as %s, %s as %s", l.Dir,
			l.Layout.Name(), from.Dir, from.Layout.Name())
	case (l.Base.Image == nil) != (from.Base.Image == nil):
		return refusal.New(refusal.UnsupportedForm, "compress the one that is not with mksquashfs, or take it over by hand",
			"%s and %s: only one of them is compressed, and a boot tells them by their names", l.Base.Path, from.Base.Path)
	}
	if p.o.Stage && !l.Layout.Traits().Stages {
		return refusal.WithHint(refusal.Option(errors.New(say.Stage+" leaves files for antiX's init to take up, and this is "+
			l.Layout.Name())), "update without "+say.Stage)
	}
	if o := l.Overlay; l.Layout.Traits().FlatOverlay != "" && o != nil && !o.Empty && (o.COW != nil) != (from.Base.Inner != nil) {
		return refusal.New(refusal.UnsupportedForm, "move the overlay away", "%s: the new base takes its changes from another file than %s",
			l.Dir, l.Rel(o.Path))
	}
	if o := from.Overlay; o != nil && !o.Empty {
		p.warn("%s has an overlay, whose changes stay there: only the base is taken over", from.Dir)
	}
	was, err := machineOf(l.Base.Root)
	if err != nil {
		return err
	}
	is, err := machineOf(from.Base.Root)
	if err != nil {
		return err
	}
	switch {
	case was == "" || is == "" || was == is:
	case p.o.Force:
		p.warn("%s is for %s, %s for %s", l.Dir, was, from.Dir, is)
	default:
		return refusal.New(refusal.AnotherSystem, "give a source for "+was+"; "+say.Force+" goes on all the same",
			"%s is for %s, %s for %s", l.Dir, was, from.Dir, is)
	}
	return nil
}

// checkStack refuses a base that is several images over each other, unless only
// the topmost differs: several cannot be replaced in one step.
func (p *Plan) checkStack(ctx context.Context) error {
	l, from := p.live, p.from
	ours, theirs := l.Files.Stack, from.Files.Stack
	if len(ours) <= 1 && len(theirs) <= 1 {
		return nil
	}
	// With Debian live the others count as void over the base, and would be set
	// aside.
	same := l.Layout.Traits().StackStays && slices.Equal(ours, theirs)
	for i := 0; same && i < len(ours)-1; i++ {
		var err error
		if same, err = p.same(ctx, ours[i], theirs[i]); err != nil {
			return err
		}
	}
	if same {
		return nil
	}
	for _, s := range []*live.Live{l, from} {
		if n := len(s.Files.Stack); n > 1 {
			return refusal.New(refusal.UnsupportedForm, "with Debian live, "+say.Compact+" makes one image of them; otherwise take them "+
				"over by hand",
				"%s: the base is %d images over each other, of which more than the topmost would change, and that not in one step", s.Dir,
				n)
		}
	}
	return nil
}

// checkState refuses what would be unsafe for the live directory as it is.
func (p *Plan) checkState(ctx context.Context) error {
	l := p.live
	if err := l.RefuseUnused(p.o.Force); err != nil {
		return err
	}
	// A damaged snapshot need not be read to be set aside.
	if l.Layout.Traits().VersionIDs || p.o.Overlay != OverlayReset {
		if err := l.Check(ctx, p.env, live.Intent{Force: true, Stage: p.o.Stage}); err != nil {
			return err
		}
	}
	if p.o.Stage && len(p.files) > 0 {
		return refusal.New(refusal.UnsupportedForm, "update without "+say.Stage+" from another system, or with "+say.NoKernel,
			"%s: %s is another one, and a boot takes up a staged linuxfs, but no kernel", l.Dir, p.files[0].target)
	}
	return replace.CheckInUse(l, p.o.Stage)
}

// checkBoots refuses a base that cannot boot where the present one can, or not
// with the kernels that are there afterwards.
func (p *Plan) checkBoots(ctx context.Context) error {
	l := p.live
	if !p.base {
		return nil
	}
	kernels := l
	if slices.ContainsFunc(p.files, func(f bootFile) bool { return live.KernelName.MatchString(filepath.Base(f.target)) }) {
		kernels = p.from
	}
	lost, err := bootable.CheckBoots(ctx, l, l.Base.Root, p.from.Base.Root, kernels, p.o.Force)
	p.Summary.Warnings = append(p.Summary.Warnings, lost...)
	return err
}

// compare tells which files of the source are others.
func (p *Plan) compare(ctx context.Context) error {
	l, from := p.live, p.from
	same, err := p.same(ctx, l.Files.Base, from.Files.Base)
	if err != nil {
		return err
	}
	p.base = !same
	p.Summary.Base = File{Name: l.Files.Base, From: from.Files.Base, Size: from.Base.Size, OldSize: l.Base.Size, Changed: p.base}
	if p.base && !p.o.Stage {
		if err := p.planTied(); err != nil {
			return err
		}
	}
	return p.planKernels(ctx)
}

// same reports whether a file of the live directory and one of the source hold the
// same.
func (p *Plan) same(ctx context.Context, name, from string) (bool, error) {
	a, err := p.live.Place.Open(filepath.Join(p.live.Dir, name))
	if err != nil {
		return false, err
	}
	defer a.Close()
	b, err := p.from.Place.Open(filepath.Join(p.from.Dir, from))
	if err != nil {
		return false, err
	}
	defer b.Close()
	if a.Size() != b.Size() {
		return false, nil
	}
	p.env.Phase("comparing "+filepath.Base(name), a.Size())
	x, y := tree.NewFile("", 0, nil), tree.NewFile("", 0, nil)
	x.Data, x.Size, y.Data, y.Size = tree.Shared(a), a.Size(), tree.Shared(b), b.Size()
	return tree.SameContent(ctx, x, y)
}

// planTied takes signatures, hash trees, lists of packages and their like of the
// new base over where the present one has some. Signatures that the source lacks
// are set aside; lists are made.
func (p *Plan) planTied() error {
	l, from := p.live, p.from
	var ours, theirs []string
	for _, t := range l.Files.Tied {
		if t.Base == l.Files.Base {
			ours = append(ours, t.Name)
		}
	}
	for _, t := range from.Files.Tied {
		theirs = append(theirs, t.Name)
	}
	for _, c := range l.Files.Companions {
		if c.Packages {
			ours = append(ours, c.Name)
		}
	}
	for _, c := range from.Files.Companions {
		if c.Packages {
			theirs = append(theirs, c.Name)
		}
	}
	// What stands behind the base's name tells what it is: each has its own base.
	behind := func(name, base string) string {
		for _, stem := range []string{base, sumlist.Stem(base)} {
			if rest, ok := strings.CutPrefix(name, stem); ok {
				return rest
			}
		}
		return name
	}
	for _, name := range ours {
		i := slices.IndexFunc(theirs, func(o string) bool { return behind(o, from.Files.Base) == behind(name, l.Files.Base) })
		if i < 0 || !live.IsFile(l.Place, filepath.Join(l.Dir, name)) || !live.IsFile(from.Place, filepath.Join(from.Dir, theirs[i])) {
			continue
		}
		st, err := from.Place.Stat(filepath.Join(from.Dir, theirs[i]))
		if err != nil {
			return err
		}
		p.files = append(p.files, bootFile{target: name, source: theirs[i], size: st.Size})
	}
	return nil
}

// checkSpace refuses where the new files cannot fit.
func (p *Plan) checkSpace() (err error) {
	l, s := p.live, &p.Summary
	r := replace.Room{Dir: l.Dir, File: filepath.Base(l.Files.Base), Old: l.Files.Base + ".old", More: "use a larger disk",
		Less: "make the source smaller, with a stronger codec"}
	if p.base {
		r.Need, r.Size = p.from.Base.Size, p.from.Base.Size
	}
	for _, f := range p.files {
		r.Need += f.size
	}
	if err := p.swap.AddNeed(&r); err != nil {
		return err
	}
	s.Need = r.Sum()
	s.Free, err = r.Check()
	return err
}

// steps returns what is renamed. Where the base stays, only kernels are.
func (p *Plan) steps(made map[string]string) (steps []swap.Step) {
	if p.base {
		return p.swap.Steps(made)
	}
	dir, keep := p.live.Dir, p.o.KeepOld
	for _, name := range p.swap.More {
		steps = append(steps, replace.Rotate(dir, name, keep)...)
		steps = append(steps, swap.Replace{New: made[name], Target: name, Keep: replace.KeptAs(name, keep)})
	}
	for _, c := range p.swap.Companions {
		// The former lists that are kept are those of the former base.
		if !slices.Contains(p.live.Files.Kernel, c.Name) {
			steps = append(steps, swap.Replace{New: made[c.Name], Target: c.Name})
			continue
		}
		steps = append(append(steps, replace.Rotate(dir, c.Name, keep)...), swap.Replace{New: made[c.Name], Target: c.Name,
			Keep: replace.KeptAs(c.Name, keep)})
	}
	return steps
}

// Run does what the plan says.
func (p *Plan) Run(ctx context.Context) (*Result, error) {
	start := time.Now()
	res := &Result{Path: p.live.Base.Path}
	if !p.Summary.UpToDate {
		if err := p.checkImplanted(ctx); err != nil {
			return nil, err
		}
		if err := p.run(ctx, res); err != nil {
			return nil, refusal.DiskFull(err, refusal.NothingChanged, "", "")
		}
	}
	if p.o.Stage && p.base {
		res.Path += ".new"
	}
	res.Plan, res.Warnings = p.Summary, p.Summary.Warnings // the run may have added some
	res.Seconds = time.Since(start).Seconds()
	return res, nil
}
