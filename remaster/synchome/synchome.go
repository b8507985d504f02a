package synchome

import (
	"context"
	"errors"
	"fmt"

	"relive/remaster/accounts"
	"relive/remaster/exclude"
	"relive/remaster/job"
	"relive/remaster/live"
	"relive/remaster/refusal"
	"relive/remaster/say"
	"relive/remaster/upper"
	"relive/tree"
)

// Options say which homes are brought over, and how.
type Options struct {
	// Users are the homes that are synced, by the names of their directories; all
	// where there are none.
	Users []string
	// Excludes leave paths below /home alone: they are neither brought over nor
	// removed.
	Excludes []exclude.Rule
	// AllowUnmatched goes on where one of Users or Excludes matches nothing.
	AllowUnmatched bool
	// NoDelete keeps files that only the side which is written to has.
	NoDelete bool
	// Mirror removes homes that the other side has not.
	Mirror bool
	// Reverse brings the homes of the system into the image of homes, which is
	// made where there is none.
	Reverse bool
	// Size is that of the new image of homes in bytes, 0 for that of the present
	// one, or what it takes and some more. It goes with Reverse only.
	Size int64
	// Grow makes the image that is written larger where it does not fit.
	Grow bool
	// KeepOld is how many former images are kept beside the new one.
	KeepOld int
	// Force goes on where the version ids do not match.
	Force bool
}

// Plan is what it takes to bring homes from one side to the other.
type Plan struct {
	live  *live.Live
	env   *job.Env
	o     Options
	homes *homeSource
	rules *exclude.Set
	// One of them is set, unless there is nothing to do.
	upper *upper.Plan
	image *homeImage

	Summary Summary
}

// Summary is the part of a plan that is shown.
type Summary struct {
	Dir     string `json:"dir"`
	Layout  string `json:"layout"`
	Reverse bool   `json:"reverse"`
	From    string `json:"from"` // what holds the homes, in the live directory
	To      string `json:"to"`   // what is made anew
	job.Standing
	// Users are the homes that are synced, and those that are removed.
	Users []Changes `json:"users"`
	Total Changes   `json:"total"`
	// Home: owner, mode, time or attributes of /home itself change.
	Home     bool       `json:"home_changed"`
	OldSize  int64      `json:"old_size,omitempty"` // of the image, in bytes; 0 for a directory, or where there was none
	Size     int64      `json:"size,omitempty"`
	Before   upper.Fill `json:"before"`
	After    upper.Fill `json:"after"`
	KeepOld  int        `json:"keep_old"`
	Need     int64      `json:"space_needed"`
	Free     int64      `json:"space_free"`
	Steps    []string   `json:"steps"`
	Notes    []string   `json:"notes"`
	Warnings []string   `json:"warnings"`
}

// Changes count what happens in a home.
type Changes struct {
	User      string `json:"user,omitempty"`
	New       Tally  `json:"new"`
	Changed   Tally  `json:"changed"` // in content, type or metadata
	Deleted   Tally  `json:"deleted"`
	Unchanged Tally  `json:"unchanged"`
}

// Any reports whether anything happens.
func (c *Changes) Any() bool { return c.New.Files+c.Changed.Files+c.Deleted.Files > 0 }

// Tally counts files of all types, and the bytes of the regular ones. Of
// changed files these are those of new content.
type Tally struct {
	Files int64 `json:"files"`
	Bytes int64 `json:"bytes"`
}

func (t *Tally) add(n *tree.Node, content bool) {
	t.Files++
	if content && n.Type == tree.Regular {
		t.Bytes += n.Size
	}
}

// take takes a file off that is to be counted with all.
func (t *Tally) take(n *tree.Node) {
	t.Files--
	if n.Type == tree.Regular {
		t.Bytes -= n.Size
	}
}

// New compares the homes of both sides and decides how the one that is
// written to is made anew. It changes nothing. What makes it unsafe is a Refusal.
func New(ctx context.Context, e *job.Env, l *live.Live, o Options) (*Plan, error) {
	p := &Plan{live: l, env: e, o: o}
	p.Summary = Summary{Dir: l.Dir, Layout: l.Layout.Name(), Reverse: o.Reverse, KeepOld: o.KeepOld,
		Users: []Changes{}, Steps: []string{}, Notes: []string{}, Warnings: []string{}}
	if err := p.checkOptions(); err != nil {
		return nil, err
	}
	if err := p.checkState(ctx); err != nil {
		return nil, err
	}
	var err error
	if p.homes, err = p.source(); err != nil {
		return nil, err
	}
	system, err := p.systemHome()
	if err != nil {
		return nil, err
	}
	if o.Reverse {
		return p, p.planReverse(ctx, system)
	}
	return p, p.planForward(ctx, system)
}

func (p *Plan) warn(format string, args ...any) {
	p.Summary.Warnings = append(p.Summary.Warnings, fmt.Sprintf(format, args...))
}

func (p *Plan) checkOptions() (err error) {
	o := &p.o
	wrong := func(format string, args ...any) error { return refusal.Option(fmt.Errorf(format, args...)) }
	switch {
	case o.Mirror && o.NoDelete:
		return wrong(say.Mirror + " removes what " + say.NoDelete + " keeps")
	case o.Mirror && len(o.Users) > 0:
		return wrong(say.Mirror + " is about all homes, and " + say.User + " about some")
	case o.Size != 0 && !o.Reverse:
		return wrong(say.Size + " is for the image that " + say.Reverse + " makes; " + say.Resize + " is for the others")
	case o.Size < 0:
		return wrong(say.Size+" %d is no size", o.Size)
	}
	for _, u := range o.Users {
		if err := tree.CheckName(u); err != nil || u == live.LostAndFound {
			return wrong(say.User+" %s is no name of a home", tree.Quote(u))
		}
	}
	if len(o.Excludes) > 0 {
		if p.rules, err = exclude.New(o.Excludes); err != nil {
			return refusal.Option(err)
		}
	}
	return nil
}

// checkState refuses what cannot be read or made anew as it is.
func (p *Plan) checkState(ctx context.Context) error {
	l := p.live
	if !p.o.Reverse {
		r := &upper.Plan{Live: l, Env: p.env, O: upper.Options{Force: p.o.Force}}
		if err := r.CheckState(ctx); err != nil {
			return err
		}
		return p.checkInUse()
	}
	if err := l.RefuseOnStick(""); err != nil {
		return err
	}
	if err := l.RefusePendingHome(); err != nil {
		return err
	}
	if l.Overlay != nil {
		if err := l.Check(ctx, p.env, live.Intent{Force: p.o.Force}); err != nil {
			return err
		}
		warnings, err := l.OverlayWarnings()
		if err != nil {
			return err
		}
		p.Summary.Warnings = append(p.Summary.Warnings, warnings...)
	}
	return p.checkInUse()
}

// checkInUse refuses while one of the sides is mounted.
func (p *Plan) checkInUse() error {
	l := p.live
	paths := l.OverlayPaths()
	if l.Home != nil {
		paths = append(paths, l.Home.Path)
	}
	return l.RefuseInUse("", paths...)
}

// systemHome is what shows at /home without persistence of homes, nil where
// nothing does.
func (p *Plan) systemHome() (*tree.Node, error) {
	n, err := p.live.Merged.Lookup(live.HomeDir)
	if err != nil || n == nil || n.Type == tree.Directory {
		return n, err
	}
	return nil, refusal.New(refusal.WrongKind, "sync by hand on the running system", "/home: is a %s in this system, not a directory",
		n.Type)
}

// planForward plans that the overlay shows the homes of the source.
func (p *Plan) planForward(ctx context.Context, system *tree.Node) error {
	l, s := p.live, &p.Summary
	s.From, s.To = p.homes.name, l.Rel(l.Overlay.Path)
	if p.marks() {
		if err := p.escape(ctx); err != nil {
			return err
		}
	}
	homes, err := p.homes.over(system)
	if err != nil {
		return err
	}
	if homes, err = p.picked(homes, p.homes.users); err != nil {
		return err
	}
	want, err := p.compare(ctx, system, homes, p.homes.users)
	if err != nil || s.UpToDate {
		return err
	}
	if err := p.noteOwners(want); err != nil {
		return err
	}
	var edits tree.Edits
	c := *want
	edits.Put(live.HomeDir, &c)
	root, err := edits.Apply(l.Merged)
	if err != nil {
		return err
	}
	p.upper, err = upper.New(ctx, p.env, l, "sync-home", root, upper.Options{Grow: p.o.Grow, KeepOld: p.o.KeepOld, Force: p.o.Force})
	if err != nil {
		return err
	}
	r := &p.upper.Summary
	s.OldSize, s.Size, s.Before, s.After, s.Need, s.Free, s.Steps = r.OldSize, r.Size, r.Before, r.After, r.Need, r.Free, r.Steps
	s.Warnings = append(s.Warnings, r.Warnings...)
	return nil
}

// marks reports whether attributes of overlayfs mean something to the overlay.
func (p *Plan) marks() bool {
	o := p.live.Overlay
	return o != nil && o.COW == nil && o.Form != live.FormAufs
}

// noteOwners tells of homes whose owners the system does not know.
func (p *Plan) noteOwners(homes *tree.Node) error {
	n, err := p.live.Merged.Lookup("etc/passwd")
	if err != nil || n == nil || n.Type != tree.Regular {
		return err
	}
	const limit = 8 << 20
	text, err := tree.ReadAll(n, limit)
	if err != nil {
		return err
	}
	known := accounts.UIDs(text)
	for _, u := range p.Summary.Users {
		home, err := homes.Child(u.User)
		if err != nil {
			return err
		}
		if home != nil && u.Any() && !known[home.UID] {
			p.Summary.Notes = append(p.Summary.Notes,
				fmt.Sprintf("/home/%s belongs to the user id %d, which /etc/passwd of the system does not know", tree.Escape(u.User),
					home.UID))
		}
	}
	return nil
}

// Run does what the plan says. Where there is nothing to do it writes nothing.
func (p *Plan) Run(ctx context.Context) error {
	if p.Summary.UpToDate {
		return nil
	}
	if err := p.checkInUse(); err != nil {
		return err
	}
	switch {
	case p.upper != nil:
		return p.upper.Run(ctx)
	case p.image != nil:
		return p.runReverse(ctx)
	}
	return errors.New("a plan without parts")
}
