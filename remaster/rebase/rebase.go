package rebase

import (
	"context"
	"fmt"

	"relive/remaster/job"
	"relive/remaster/live"
	"relive/remaster/packed"
	"relive/remaster/refusal"
	"relive/remaster/say"
	"relive/remaster/threeway"
	"relive/remaster/upper"
	"relive/tree"
)

// Options say how the changes of an overlay are carried over to another
// base.
type Options struct {
	// Prefer decides conflicts for which Decisions has nothing: PreferOverlay,
	// PreferBase, or "" for none. A rebase with conflicts that are not decided is
	// refused.
	Prefer Prefer
	// Decisions, where not nil, decide by path.
	Decisions *Decisions
	// Conflict is told of each conflict with what was decided, "" for nothing; it
	// may be nil.
	Conflict func(Conflict) error
	// Grow makes an image larger where the new layer does not fit.
	Grow bool
}

// Prefer names the side that a conflict is decided for.
type Prefer string

// What conflicts are decided for.
const (
	PreferOverlay Prefer = "ours"   // what base and overlay show now
	PreferBase    Prefer = "theirs" // what the new base shows
)

func (o *Options) check() error {
	switch o.Prefer {
	case "", PreferOverlay, PreferBase:
		return nil
	}
	return refusal.Option(fmt.Errorf(say.Prefer+" %s: neither ours nor theirs", o.Prefer))
}

// Conflict is a path that both the overlay and the new base have changed.
type Conflict struct {
	Path string `json:"path"`
	// Database names the database of packages at Path, which is taken whole, "" for
	// other paths.
	Database string `json:"database,omitempty"`
	Overlay  string `json:"overlay"` // what the overlay did to it
	Base     string `json:"base"`    // what the new base did
	Decided  Prefer `json:"decided,omitempty"`
}

// Conflicts is the error of changes that are not carried over since the
// new base changes the same paths, and nothing decides between them. It is a
// Refusal.
type Conflicts struct {
	*refusal.Refusal
	Conflicts []Conflict `json:"conflicts"` // those not decided, at most as many as are shown
	Count     int        `json:"count"`
}

// Unwrap implements errors.Unwrap.
func (r *Conflicts) Unwrap() error { return r.Refusal }

// conflictsShown bounds the conflicts that are kept for showing.
const conflictsShown = 1000

// Summary tells how changes were carried over.
type Summary struct {
	Former    string     `json:"former"` // the base that the overlay was written over
	Base      string     `json:"base"`
	Conflicts int        `json:"conflicts"`
	Overlay   int        `json:"decided_for_overlay"`
	NewBase   int        `json:"decided_for_base"`
	Records   []string   `json:"merged_by_record"` // tables of accounts
	Databases []Database `json:"databases"`
	Before    upper.Fill `json:"before"`
	After     upper.Fill `json:"after"`
	OldSize   int64      `json:"old_size,omitempty"` // of the image, in bytes; 0 for a directory
	Size      int64      `json:"size,omitempty"`
}

// Over plans the overlay that shows over another base, onto, what the new
// base shows with the changes that l's overlay made to l's own base. Its parts
// are for a transaction of the caller.
//
// It is a merge of three trees by path; see threeway. That files of antiX which
// tell of a base are those of the new one is taken care of.
func Over(ctx context.Context, e *job.Env, l *live.Live, onto *live.Base, verb string, ro upper.Options, o *Options) (*upper.Plan, *Summary,
	error) {
	if err := o.check(); err != nil {
		return nil, nil, err
	}
	if l.Overlay.COW != nil {
		return nil, nil, refusal.New(refusal.UnsupportedForm, live.CopyHint+"; then "+say.Update+" "+say.Overlay+
			" reset takes the new base, without them",
			"%s: holds chunks of the file system in its base and no files, so that its changes cannot come along to another base, not "+
				"even when they are folded into the present one, which is replaced", l.Overlay.Path)
	}
	s := &Summary{Former: l.Base.Path, Base: onto.Path, Records: []string{}, Databases: []Database{}}
	d := &decider{o: o}
	stored := packed.NewStoredComparer()
	e.Phase("merging the changes of "+l.Overlay.Name()+" with the new base", 0)
	res, err := threeway.Merge(ctx, l.Base.Root, l.Merged, onto.Root, threeway.Options{
		Decide: d.decide, Units: packageDatabases, Theirs: []string{live.RootVIDFile, live.BaseVIDFile},
		Content: func(path string, base, ours, theirs *tree.Node) ([]byte, bool, error) {
			if o.Decisions.of(path) != "" {
				return nil, false, nil // it is decided as a whole
			}
			text, ok, err := mergedAccounts(path, base, ours, theirs)
			if ok {
				s.Records = append(s.Records, path)
			}
			return text, ok, err
		},
		SameContent: func(_ string, a, b *tree.Node) (bool, error) { return stored.Same(a, b) },
	})
	if err != nil {
		return nil, nil, fmt.Errorf("merging the changes of %s with the new base: %w", l.Overlay.Name(), err)
	}
	if res.Root == nil {
		return nil, nil, d.refusal(l)
	}
	s.Conflicts, s.Overlay, s.NewBase = res.Conflicts, res.Ours, res.Theirs
	if s.Databases, err = databasesOf(ctx, d.units, l.Base.Root, l.Merged, onto.Root); err != nil {
		return nil, nil, err
	}
	ro.Lower, ro.Restamp, ro.Grow = onto.Root, true, o.Grow
	p, err := upper.New(ctx, e, l, verb, res.Root, ro)
	if err != nil {
		return nil, nil, err
	}
	s.Before, s.After, s.OldSize, s.Size = p.Summary.Before, p.Summary.After, p.Summary.OldSize, p.Summary.Size
	return p, s, nil
}

// decidedUnit is where a database lies and whose it is.
type decidedUnit struct {
	path string
	side threeway.Side
}

// decider decides conflicts, and keeps those that nothing decides.
type decider struct {
	o     *Options
	units map[string]decidedUnit // databases that both sides have changed
	open  []Conflict
	count int
}

func (d *decider) decide(c threeway.Conflict) (threeway.Side, error) {
	out := Conflict{Path: c.Path, Database: c.Unit, Overlay: c.Ours, Base: c.Theirs}
	if out.Decided = d.o.Decisions.of(c.Path); out.Decided == "" {
		out.Decided = d.o.Prefer
	}
	side := map[Prefer]threeway.Side{PreferOverlay: threeway.Ours, PreferBase: threeway.Theirs}[out.Decided]
	if c.Unit != "" {
		if d.units == nil {
			d.units = map[string]decidedUnit{}
		}
		d.units[c.Unit] = decidedUnit{c.Path, side}
	}
	if side == threeway.Undecided {
		if d.count++; d.count <= conflictsShown {
			d.open = append(d.open, out)
		}
	}
	if d.o.Conflict != nil {
		return side, d.o.Conflict(out)
	}
	return side, nil
}

// refusal tells of the conflicts that nothing decides.
func (d *decider) refusal(l *live.Live) error {
	first := d.open[0]
	more := ""
	if d.count > 1 {
		more = fmt.Sprintf(" (and %d more)", d.count-1)
	}
	what := "/" + tree.Escape(first.Path)
	if first.Database != "" {
		what = "the database of packages in " + what
	}
	return &Conflicts{&refusal.Refusal{
		Code: refusal.Conflict, Path: l.Dir,
		Fact: fmt.Sprintf("%s: %s and the new base both change %s: %s in the overlay, %s in the new base%s", l.Dir, l.Rel(l.Overlay.Path),
			what, first.Overlay, first.Base, more),
		Hint: say.Rebase + " decides: " + say.Prefer + " ours takes the overlay's, " + say.Prefer + " theirs the new base's, " +
			say.Prefer + " ask-file " + say.Decisions + " " +
			"FILE lists them for you to decide",
	}, d.open, d.count}
}
