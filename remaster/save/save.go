package save

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"relive/overlay"
	"relive/remaster/changes"
	"relive/remaster/exclude"
	"relive/remaster/job"
	"relive/remaster/live"
	"relive/remaster/refusal"
	"relive/remaster/say"
	"relive/remaster/unmatched"
	"relive/remaster/upper"
	"relive/tree"
	"relive/tree/hostfs"
)

// Options say how a layer is brought into a rootfs.
type Options struct {
	// Exclude are more rules of what is left out, beside those of persist-save.
	Exclude []exclude.Rule
	// AllowUnmatched goes on where one of them matches nothing.
	AllowUnmatched bool
	// All leaves out nothing but what Exclude says, and the version file of the
	// base.
	All bool
	// Plain writes a layer that shows the same with as few marks as possible: no
	// redirects and metacopies, and whiteouts in place of opaque marks. So it lasts
	// where rootfs is copied without attributes, as boots with dynamic persistence
	// copy it.
	Plain bool
	// Grow makes the image larger where the layer does not fit.
	Grow bool
	// KeepOld is how many former overlays are kept beside the new one.
	KeepOld int
	// Force goes on where the version ids do not match.
	Force bool
}

// Plan is what bringing a layer into the rootfs takes.
type Plan struct {
	live *live.Live
	env  *job.Env
	o    Options
	from *saveSource
	plan *upper.Plan
	// unmatched tells of excludes that match nothing.
	unmatched []string

	Summary Summary
}

// Summary is the part of a plan that is shown.
type Summary struct {
	upper.Summary
	Dir          string    `json:"dir"`
	From         string    `json:"from"` // the directory of the layer
	Form         live.Form `json:"form"`
	VID          string    `json:"vid,omitempty"`
	job.Standing           // the rootfs holds this very layer already
	// Changes are those against what the rootfs showed. Files of the same size and
	// time are taken for the same, as rsync does.
	Changes  changes.Totals `json:"changes"`
	Excluded Excluded       `json:"excluded"`
	// Held are files that changed while they were read. What is saved of each is
	// what it was at one moment.
	Held  []string `json:"held"`
	Notes []string `json:"notes"`
}

// Excluded counts what is left out.
type Excluded struct {
	Entries int64 `json:"entries"`
	Bytes   int64 `json:"bytes"`
}

// saveList is the exclude list of persist-save.
const saveList = "antix-save"

// New looks at everything that bringing the layer in the directory from
// into the rootfs depends on. from is the layer's directory, or one that holds
// it as upper. It changes nothing; what makes it unsafe is a Refusal. The plan
// must be closed.
//
// Files may change all the while. One that is not any more what it was when it
// was listed is copied aside at one moment, and the plan is made again; one that
// does not hold still for that is an error that names it.
func New(ctx context.Context, e *job.Env, l *live.Live, from string, o Options) (*Plan, error) {
	if !l.Layout.Traits().SavesByHand {
		return nil, refusal.New(refusal.UnsupportedLayout, "other layouts write to their overlay while they run, and have nothing to save",
			"%s: is laid out as %s, and only antiX and MX Linux keep what they write in RAM until it is saved", l.Dir, l.Layout.Name())
	}
	if l.Overlay == nil {
		return nil, refusal.New(refusal.NotFound, "make one with antiX's persist-makefs", "%s: there is no %s to save to", l.Dir,
			l.Files.Overlay[0])
	}
	source, err := openSaveSource(from, l.Overlay, l.Dir)
	if err != nil {
		return nil, err
	}
	p := &Plan{live: l, env: e, o: o, from: source}
	if err := source.untilStable(ctx, func() error { return p.make(ctx) }); err != nil {
		return nil, errors.Join(err, source.Close())
	}
	return p, nil
}

// Close returns up what was copied aside.
func (p *Plan) Close() error { return p.from.Close() }

// make makes the plan of what the source holds now.
func (p *Plan) make(ctx context.Context) error {
	l, s := p.live, &p.Summary
	p.env.Phase("looking at "+p.from.path, 0)
	*s = Summary{Dir: l.Dir, From: p.from.path, Form: p.from.form, Notes: []string{}}
	if err := p.from.freeze(ctx); err != nil {
		return err
	}
	s.Held = p.from.pinned()
	layer, err := p.layer()
	if err != nil {
		return err
	}
	if err := p.checkVID(layer.Root); err != nil {
		return err
	}
	shown, err := overlay.Merge(append([]overlay.Layer{layer}, l.LowerLayers()...), overlay.KeepEscaped(),
		overlay.MadeBefore("etc", "etc/live", live.VersionDir))
	if err != nil {
		return fmt.Errorf("%s: %w", p.from.path, err)
	}
	rep, err := shown.Report()
	if err != nil {
		return fmt.Errorf("%s: %w", p.from.path, err)
	}
	o := upper.Options{KeepOld: p.o.KeepOld, Grow: p.o.Grow, Force: p.o.Force}
	if rep.IndexEntries > 0 {
		// Entries of an index name inodes of the layer, of which a copy has others.
		s.Notes = append(s.Notes, fmt.Sprintf("%s was written with an index of hard links, so that %s gets a layer that shows the same "+
			"without one", p.from.path, l.Files.Overlay[0]))
	}
	if marks := rep.Opaque + rep.Redirects + rep.Metacopies; marks > 0 && p.from.form != live.FormAufs && !p.o.Plain {
		s.Notes = append(s.Notes, fmt.Sprintf("the layer has %d opaque marks, redirects and metacopies, which the next boot with dynamic "+
			"persistence loses, since it copies rootfs without attributes; "+say.Plain+" does without them", marks))
	}
	if rep.IndexEntries > 0 || p.o.Plain {
		p.plan, err = upper.New(ctx, p.env, l, "save", shown.Root(), o)
	} else {
		p.plan, err = upper.NewLayer(ctx, l, p.env, "save", layer.Root, shown.Root(), o)
	}
	if err != nil {
		return err
	}
	s.Summary = p.plan.Summary
	s.Warnings = append(s.Warnings, p.unmatched...)
	for _, w := range rep.Warnings() {
		s.Warnings = append(s.Warnings, p.from.path+": "+w)
	}
	if s.Changes, err = p.changes(ctx, shown.Root()); err != nil {
		return err
	}
	is, err := p.upToDate(ctx, p.plan.Made[0].Root)
	s.Stands(is)
	return err
}

// layer is what is to be saved, without what is left out.
func (p *Plan) layer() (overlay.Layer, error) {
	rules := slices.Clone(p.o.Exclude)
	if p.o.All {
		r, err := exclude.Plain(live.BaseVIDFile, "relive")
		if err != nil {
			return overlay.Layer{}, err
		}
		rules = append(rules, r)
	} else {
		more, err := exclude.Default(saveList)
		if err != nil {
			return overlay.Layer{}, err
		}
		rules = append(rules, more...)
	}
	set, err := exclude.New(rules)
	if err != nil {
		return overlay.Layer{}, err
	}
	counts, err := set.Count(p.from.root)
	if err != nil {
		return overlay.Layer{}, err
	}
	x := &p.Summary.Excluded
	for _, c := range counts {
		x.Entries, x.Bytes = x.Entries+c.Entries, x.Bytes+c.Bytes
	}
	var u unmatched.Names
	u.Excludes(counts[:len(p.o.Exclude)], 0, "", p.from.root)
	if p.unmatched, err = u.Check(p.from.path, p.o.AllowUnmatched); err != nil {
		return overlay.Layer{}, err
	}
	layer := overlay.Layer{Root: set.Apply(p.from.root), Form: overlay.OverlayFS, Namespace: overlay.Trusted, Index: p.from.index}
	if p.from.form == live.FormAufs {
		layer.Form, layer.Namespace = overlay.Aufs, overlay.AnyNamespace
	}
	return layer, nil
}

// checkVID refuses a layer that was written over another base.
func (p *Plan) checkVID(layer *tree.Node) error {
	l := p.live
	text, err := live.ReadVersionFile(l.Base.Root, live.BaseVIDFile)
	if err != nil {
		return fmt.Errorf("linuxfs: %w", err)
	}
	base := live.ParseVID(text)
	if text, err = live.ReadVersionFile(layer, live.RootVIDFile); err != nil {
		return fmt.Errorf("%s: %w", p.from.path, err)
	}
	vid := live.ParseVID(text)
	p.Summary.VID = string(vid)
	switch {
	case vid == base:
		return nil
	case p.o.Force:
		p.Summary.Notes = append(p.Summary.Notes,
			fmt.Sprintf("the version ids of linuxfs (%s) and %s (%s) do not match; a boot ignores such a rootfs", live.OrNone(base),
				p.from.path, live.OrNone(vid)))
		return nil
	case vid == "":
		return refusal.New(refusal.UnmatchedVersion, "give the directory that the live system has under /live/aufs-ram; if it is one and "+
			"you know that it belongs to this linuxfs, use "+say.Force,
			"%s: holds no version id (%s), so that it is unknown whether it was written over %s", p.from.path, live.RootVIDFile,
			l.Base.Path)
	}
	return refusal.New(refusal.UnmatchedVersion, "save it to the live directory that it runs from; if you know that it belongs to this "+
		"one, use "+say.Force,
		"%s: was written over another linuxfs (version id %s) than %s (%s)", p.from.path, vid, l.Base.Path, live.OrNone(base))
}

// sameSizeAndTime takes files of the same size and time for the same, and reads others.
func sameSizeAndTime(_ string, a, b *tree.Node) (bool, error) {
	return a.Size == b.Size && a.Mtime == b.Mtime, nil
}

// changes counts what shows otherwise than with the present rootfs.
func (p *Plan) changes(ctx context.Context, shown *tree.Node) (t changes.Totals, err error) {
	was := p.live.Merged
	if was == nil {
		was = p.live.Base.Root
	}
	err = tree.Compare(ctx, was, shown, tree.CompareOptions{TrustInode: true, SameContent: sameSizeAndTime}, func(c tree.Change) error {
		out := changes.Change{Path: c.Path, Kind: changes.KindOf(c.Diff), Diff: c.Diff, Old: c.A, New: c.B}
		t.Add(&out)
		return nil
	})
	return t, err
}

// upToDate reports whether the rootfs holds the layer as it is.
func (p *Plan) upToDate(ctx context.Context, layer *tree.Node) (bool, error) {
	o := p.live.Overlay
	if o.Upper == nil {
		return false, nil
	}
	was := o.Upper
	if o.Form == live.FormAufs {
		var edits tree.Edits
		edits.Remove("lost+found")
		var err error
		if was, err = edits.Apply(was); err != nil {
			return false, err
		}
	}
	errOther := errors.New("another")
	err := tree.Compare(ctx, was, layer, tree.CompareOptions{Links: true, SameContent: sameSizeAndTime},
		func(tree.Change) error { return errOther })
	if errors.Is(err, errOther) {
		return false, nil
	}
	return err == nil, err
}

// Run does what the plan says.
func (p *Plan) Run(ctx context.Context) error {
	if p.Summary.UpToDate {
		return nil
	}
	again := false
	return p.from.untilStable(ctx, func() error {
		if again {
			if err := p.make(ctx); err != nil {
				return err
			}
		}
		again = true
		return p.plan.Run(ctx)
	})
}

// openSaveSource opens the directory of a layer, or one that holds it as upper.
func openSaveSource(from string, o *live.Overlay, scratch string) (*saveSource, error) {
	s := &saveSource{path: from, form: o.Form, scratchDir: scratch}
	if live.IsDir(live.Host{}, filepath.Join(from, "upper")) && !live.IsDir(live.Host{}, filepath.Join(from, "etc")) {
		s.path = filepath.Join(from, "upper")
	}
	root, err := hostfs.Open(s.path, hostfs.RefuseMounts())
	if err != nil {
		return nil, err
	}
	foreign := func(what string) error {
		return refusal.New(refusal.UnsupportedForm, "give the layer of the system that boots from this directory",
			"%s: is a layer of %s, and the rootfs is one of %s", s.path, what, o.Form)
	}
	if o.Form == live.FormAufs {
		if s.path != from {
			return nil, foreign("overlayfs")
		}
		return s, nil
	}
	for _, name := range aufsOwn {
		if n, err := lookupHere(root, name); err != nil {
			return nil, err
		} else if n != nil {
			return nil, foreign("aufs")
		}
	}
	if err := hostfs.CheckTrusted(s.path); errors.Is(err, hostfs.ErrTrustedHidden) {
		return nil, refusal.New(refusal.NotPermitted, "run relive as root",
			"%s: the marks of a layer show to root only, and without them deleted files would show again", s.path)
	} else if err != nil {
		return nil, err
	}
	return s, nil
}

// aufsOwn is what aufs keeps for itself at the root of a layer: the mark that it
// is one, pseudo-links and orphans, which it makes anew as it needs them.
var aufsOwn = []string{".wh..wh.aufs", ".wh..wh.plnk", ".wh..wh.orph"}
