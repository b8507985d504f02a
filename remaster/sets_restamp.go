package remaster

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"relive/remaster/swap"
	"relive/squash"
	"relive/tree"
)

// RestampOptions say how a set is given the version id of the present base.
type RestampOptions struct {
	// Base is the path of the base that the set was written over; "" looks for it
	// among those that are kept beside the present one.
	Base string
	// KeepOld is how many former states are kept beside the new one.
	KeepOld int
}

// RestampPlan is what a restamp will do.
type RestampPlan struct {
	c *CompactPlan

	Summary RestampSummary
}

// RestampSummary is the part of a plan that is shown.
type RestampSummary struct {
	Dir      string   `json:"dir"`
	Set      string   `json:"set"`
	UpToDate bool     `json:"up_to_date"`
	Former   string   `json:"former,omitempty"` // the base that the set was written over
	VID      string   `json:"vid"`
	OldVID   string   `json:"old_vid"`
	Need     int64    `json:"space_needed"`
	Free     int64    `json:"space_free"`
	Steps    []string `json:"steps"`
	Warnings []string `json:"warnings"`
	Seconds  float64  `json:"seconds,omitempty"`
}

// RestampConflicts is the error of a set whose changes do not apply to the
// present base as they are. It is a Refusal.
type RestampConflicts struct {
	*Refusal
	Conflicts []Conflict `json:"conflicts"` // at most as many as are shown
	Count     int        `json:"count"`
}

// Unwrap implements errors.Unwrap.
func (r *RestampConflicts) Unwrap() error { return r.Refusal }

// Conflict is a path that both the set and the new base change.
type Conflict struct {
	Path string `json:"path"`
	Set  string `json:"set"`  // what the set did to it
	Base string `json:"base"` // what the new base did
}

// conflictsShown bounds the conflicts that are kept for showing.
const conflictsShown = 1000

// PlanRestamp looks whether the set that is open, which was written over another
// base, shows over the present one what it is to show: everything that the base
// changed, and everything that the set changed. So it is where each path that
// the set's layer hides, by a file, a deletion or a directory, is the same in
// both bases, or shows the same either way. Where it is not, that is a
// RestampConflicts. A set that refers to files of its base (redirects,
// metacopies, an index) is refused. It changes nothing.
func (l *Live) PlanRestamp(ctx context.Context, e *Env, o RestampOptions) (*RestampPlan, error) {
	if _, antix := l.Layout.(AntiX); !antix {
		return nil, refuse("boots of "+l.Layout.Name()+" look at no version id", "%s: only antiX and MX have persistence with a version id", l.Dir)
	}
	p := &RestampPlan{c: &CompactPlan{live: l, env: e, o: CompactOptions{KeepOld: o.KeepOld, NoReset: true}}}
	s := &p.Summary
	*s = RestampSummary{Dir: l.Dir, Set: l.setName(), Steps: []string{}, Warnings: []string{}}
	vids, err := l.VIDs()
	if err != nil {
		return nil, err
	}
	s.VID, s.OldVID = string(vids.Base), string(vids.Overlay)
	switch vids.State {
	case VIDNoOverlay:
		return nil, refuse("", "%s: the set %s has no rootfs, and a homefs fits any linuxfs", l.Dir, s.Set)
	case VIDMatch, VIDNone, VIDUnstamped:
		s.UpToDate = true
		return p, nil
	case VIDBaseMissing:
		return nil, refuse("a compaction gives it one: relive compact "+l.Dir, "%s: linuxfs has no version id that could be stamped", l.Dir)
	}
	if !l.onHost() {
		return nil, refuse("mount it and give the directory", "%s: lies on a stick that is not mounted, and files in there cannot be replaced in a way that survives a crash", l.Dir)
	}
	if err := p.checkState(); err != nil {
		return nil, err
	}
	if !l.Overlay.Empty {
		if err := p.compare(ctx, o.Base, vids); err != nil {
			return nil, err
		}
	}
	if err := p.plan(); err != nil {
		return nil, err
	}
	return p, nil
}

// checkState refuses what is unsafe whatever the bases hold.
func (p *RestampPlan) checkState() error {
	l := p.c.live
	for _, name := range []string{antixBase + ".new", l.files.overlay[0] + ".new"} {
		if exists(filepath.Join(l.Dir, name)) {
			return refuse("boot once so that it is taken up, or remove the .new files", "%s: %s is pending: the next boot would take it up", l.Dir, name)
		}
	}
	if err := p.c.checkInUse(false); err != nil {
		return err
	}
	if leans, err := l.Overlay.leans(); err != nil {
		return err
	} else if leans {
		return refuse("boot it with the former linuxfs (relive rollback, or the boot option) to save what is in it",
			"%s refers to files of its base (redirects, metacopies or index entries), so that it cannot lie over another", l.Overlay.Path)
	}
	return nil
}

// compare finds the former base and looks for conflicts.
func (p *RestampPlan) compare(ctx context.Context, path string, vids VIDs) (err error) {
	l, s := p.c.live, &p.Summary
	if vids.Overlay == "" {
		return refuse("if you know that it belongs to this linuxfs, relive compact --force folds it in", "%s: has no version id, so that nothing tells which linuxfs it was written over", l.Overlay.Path)
	}
	if path == "" {
		name, err := l.formerWith(p.c.env, vids.Overlay)
		if err != nil {
			return err
		}
		if name == "" {
			return refuse("give it with --base (it may be on the medium that this system came from)",
				"%s: the linuxfs that the set %s was written over (%s) is not there, so that nothing tells what has changed below it", l.Dir, s.Set, vids.Overlay)
		}
		path = filepath.Join(l.Dir, name)
	}
	s.Former = path
	former, err := l.openFormer(p.c.env, path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, former.Close()) }()
	text, err := readVersionFile(former.Base.Root, baseVIDFile)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if id := parseVID(text); id != vids.Overlay {
		return refuse("give the linuxfs that the set was written over", "%s: its version id is %s, and that of the set %s", path, orNone(id), vids.Overlay)
	}
	then, err := l.Overlay.over(former.Base.Root)
	if err != nil {
		return fmt.Errorf("%s: %w", l.Overlay.Path, err)
	}
	p.c.env.phase("comparing what lies below the set", 0)
	o := &onto{ctx: ctx, stored: squash.NewStoredComparer()}
	if err := o.directory("", pairs{former.Base.Root, l.Base.Root, then.Root(), l.Merged}, l.Overlay.Upper); err != nil {
		return err
	}
	if o.count == 0 {
		return nil
	}
	first := o.conflicts[0]
	more := ""
	if o.count > 1 {
		more = fmt.Sprintf(" (and %d more)", o.count-1)
	}
	return &RestampConflicts{&Refusal{
		Fact: fmt.Sprintf("%s: the set %s and the new linuxfs both change /%s: %s in the set, %s in linuxfs%s", l.Dir, s.Set, tree.Escape(first.Path), first.Set, first.Base, more),
		Hint: "boot it with the old base, undo there what the new one brings by itself, and restamp it again",
	}, o.conflicts, o.count}
}

// plan decides the steps.
func (p *RestampPlan) plan() error {
	l, c, s := p.c.live, p.c, &p.Summary
	text, err := readVersionFile(l.Base.Root, baseVIDFile)
	if err != nil {
		return err
	}
	c.version = []byte(text)
	c.now = tree.Time{Sec: time.Now().Unix()}
	if l.Base.Image != nil {
		c.now = tree.Time{Sec: int64(l.Base.Image.Superblock().MkfsTime)}
	}
	if c.env.SourceDate != nil {
		c.now = tree.Time{Sec: *c.env.SourceDate}.Whole()
	}
	root, err := restamped(l.Overlay, c.version, c.now)
	if err != nil {
		return err
	}
	name := l.files.overlay[0]
	pt, err := c.freshImage(l.Overlay, name, root)
	if err != nil {
		return err
	}
	c.resets = []part{pt}
	r := room{dir: filepath.Dir(l.Overlay.Path), need: pt.need, file: name, more: "make room on it", less: "make the image smaller first"}
	s.Need = pt.need
	if s.Free, err = r.check(); err != nil {
		return err
	}
	for _, step := range p.steps("(new " + name + ")") {
		s.Steps = append(s.Steps, step.String())
	}
	s.Warnings = append(s.Warnings, c.Summary.Warnings...)
	return nil
}

func (p *RestampPlan) steps(made string) []swap.Step {
	name, keep := p.c.live.files.overlay[0], p.c.o.KeepOld
	kept := ""
	if keep > 0 {
		kept = generation(name, 1)
	}
	return append(rotate(p.c.live.Dir, name, keep), swap.Replace{New: made, Target: name, Keep: kept})
}

// Run does what the plan says.
func (p *RestampPlan) Run(ctx context.Context) (err error) {
	if p.Summary.UpToDate {
		return nil
	}
	start := time.Now()
	c := p.c
	pt := c.resets[0]
	t, err := c.env.begin(c.live.Dir, "sets restamp", p.steps(pt.target))
	if err != nil {
		return err
	}
	defer func() { err = setSpaceHint(t.end(err)) }()
	at, err := t.temp(pt.target)
	if err != nil {
		return err
	}
	c.env.phase("new "+pt.target, 0)
	if err := pt.make(ctx, at); err != nil {
		return fmt.Errorf("the new %s: %w", pt.target, err)
	}
	if err := c.checkInUse(false); err != nil {
		return err
	}
	if err := c.live.unchanged(ctx); err != nil {
		return err
	}
	c.env.phase("putting it in place", 0)
	if err := t.commit(ctx, p.steps(t.made[pt.target])); err != nil {
		return err
	}
	p.Summary.Seconds = time.Since(start).Seconds()
	return nil
}
