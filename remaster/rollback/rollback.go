package rollback

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"relive/remaster/checksum"
	"relive/remaster/hostdisk"
	"relive/remaster/job"
	"relive/remaster/live"
	"relive/remaster/refusal"
	"relive/remaster/replace"
	"relive/remaster/say"
	"relive/remaster/sourcecheck"
	"relive/remaster/sumlist"
	"relive/remaster/swap"
	"relive/tree"
)

// Plan brings the former state of a live directory back, as the boot
// option rollback of antiX does: what is live becomes .bad, .old becomes live.
type Plan struct {
	found *live.Found
	env   *job.Env
	steps []swap.Step
	// remade are companions to be made for the former base, where none was kept.
	remade []live.Companion
	back   map[string]bool // names that are given back, or to nothing
	order  []string        // in which names change hands
	// apart: the former overlay has no place over the present base, so that the
	// present one is set aside first, and the former is put in place last.
	apart bool

	Steps    []string `json:"steps"`
	Warnings []string `json:"warnings"`
}

// New looks whether the former state is there whole. Where it is not,
// that is a Refusal.
func New(ctx context.Context, e *job.Env, dir string, opts ...live.Option) (*Plan, error) {
	return newPlan(ctx, e, dir, false, opts)
}

// NewForced is New that goes back to a base and an overlay on another file system
// also where nothing tells that they belong together.
func NewForced(ctx context.Context, e *job.Env, dir string, opts ...live.Option) (*Plan, error) {
	return newPlan(ctx, e, dir, true, opts)
}

func newPlan(ctx context.Context, e *job.Env, dir string, force bool, opts []live.Option) (*Plan, error) {
	found, err := live.FindFormer(dir, opts...)
	if err != nil {
		return nil, err
	}
	p := &Plan{found: found, env: e, Steps: []string{}, Warnings: []string{}}
	f := &found.Files
	if kernels := p.kernels(); len(kernels) > 0 && !p.has(f.Base+".old") && p.has(f.Base+".bad") {
		// The boot option of antiX has brought the base back, without its kernel.
		p.order = kernels
		return p, p.plan()
	}
	if !p.has(f.Base + ".old") {
		hint := ""
		for _, name := range f.Overlay {
			if p.has(name + ".old") {
				hint = say.Reset + " " + say.Undo + " brings " + name + ".old back"
				break
			}
		}
		for n := 2; n <= live.MaxKeepOld; n++ {
			if older := live.OldName(f.Base, n); p.has(older) {
				hint = fmt.Sprintf("the overlay was made anew since; to go back to %s, give it and all that was kept with it the ending "+
					".old in place of %s", older, strings.TrimPrefix(older, f.Base))
				break
			}
		}
		return nil, refusal.New(refusal.NotFound, hint, "%s: there is no %s.old to go back to", dir, f.Base)
	}
	if !force {
		if err := replace.CheckPair(found.Dir, f); err != nil {
			return nil, err
		}
	}
	if err := p.planSets(ctx); err != nil {
		return nil, err
	}
	for _, name := range f.Overlay {
		if p.has(name) && !p.has(name+".old") {
			return nil, refusal.New(refusal.FormerIncomplete, "the "+name+" belongs to the present "+f.Base+
				"; move it away first if you want to go back without it",
				"%s: there is a %s.old, but no %s.old to go with it", dir, f.Base, name)
		}
	}
	if err := p.checkInUse(); err != nil {
		return nil, err
	}
	if err := p.checkFormer(ctx); err != nil {
		return nil, err
	}
	return p, p.plan()
}

// kernels are the names of those that have a former one, and of what stands
// beside them.
func (p *Plan) kernels() (names []string) {
	for _, name := range p.found.Files.Kernel {
		if p.has(name + ".old") {
			names = append(names, name)
		}
	}
	return names
}

func (p *Plan) path(name string) string { return filepath.Join(p.found.Dir, name) }
func (p *Plan) has(name string) bool    { return hostdisk.Exists(p.path(name)) }

// checkInUse refuses while one of the files is mounted.
func (p *Plan) checkInUse() error {
	f, more := &p.found.Files, ""
	if p.found.Layout.Traits().BootRollback {
		more = "or boot with the option rollback"
	}
	for _, name := range slices.Concat([]string{f.Base}, f.Overlay, f.Follow) {
		if slices.Contains(live.AntixFollow, name) {
			continue // small files, which nothing mounts
		}
		if err := live.RefuseInUse(more, p.path(name), p.path(name+".old")); err != nil {
			return err
		}
	}
	return nil
}

// mustDetach reports whether the former overlay must not be met with the present
// base; see the plan of a compaction. Over a base that holds what the former overlay
// changed it shows the former state; over one that an update has brought it
// would not.
func (p *Plan) mustDetach(ctx context.Context, former *live.Live) (bool, error) {
	if former.Overlay == nil {
		return false, nil
	}
	if former.COW() != nil {
		return true, nil // the image in the present base may have been built anew
	}
	present, err := p.found.Open(ctx, p.env, "")
	if err != nil {
		return true, nil // a base that cannot be read meets nothing
	}
	defer present.Close()
	now, err := present.VIDs()
	if err != nil {
		return false, err
	}
	met, err := former.LaidOver(now.Base)
	if former.Layout.Traits().VersionIDs || !met || err != nil {
		return met, err
	}
	if depends, err := former.Overlay.DependsOnBase(); depends || err != nil {
		return depends, err
	}
	p.env.Phase("comparing the present base with the former state", 0)
	if astray, err := former.Astray(ctx, present.Base); astray || err != nil {
		return astray, err
	}
	return unlike(ctx, former.Merged, present.Base)
}

// unlike reports whether a tree differs from what a base shows, by the metadata of
// all files.
func unlike(ctx context.Context, a *tree.Node, b *live.Base) (bool, error) {
	errFound := errors.New("a difference")
	o := tree.CompareOptions{WholeSeconds: true, IgnoreXattr: func(name string) bool { return !b.HoldsXattr(name) },
		SameContent: func(string, *tree.Node, *tree.Node) (bool, error) { return true, nil }}
	err := tree.Compare(ctx, a, b.Root, o, func(tree.Change) error { return errFound })
	if errors.Is(err, errFound) {
		return true, nil
	}
	return false, err
}

// plan decides the steps.
func (p *Plan) plan() error {
	f := &p.found.Files
	gone := map[string]bool{}
	for _, name := range f.Overlay {
		if p.apart && p.has(name) {
			p.setAside(name)
			p.steps = append(p.steps, swap.Move{From: name, To: name + ".bad"})
			gone[name] = true
		}
	}
	p.back = map[string]bool{}
	for _, name := range p.order {
		old, bad := name+".old", name+".bad"
		if p.has(old) || slices.ContainsFunc(f.Companions, func(c live.Companion) bool { return c.Name == name && c.List == nil }) {
			p.back[name] = true
		}
		c := slices.IndexFunc(f.Companions, func(c live.Companion) bool { return c.Name == name })
		switch {
		case gone[name]:
			p.steps = append(p.steps, swap.Move{From: old, To: name})
		case p.has(old) && p.has(name):
			p.setAside(name)
			p.steps = append(p.steps, swap.Replace{New: old, Target: name, Keep: bad})
		case p.has(old):
			p.setAside(name)
			p.steps = append(p.steps, swap.Move{From: old, To: name})
		case c >= 0 && f.Companions[c].Sum != "":
			p.remake(f.Companions[c])
		case c >= 0 && f.Companions[c].List != nil:
			continue // below, when it is known what changes
		case !p.has(name):
		case c >= 0:
			// What it tells would not be true of the former base.
			p.setAside(name)
			p.steps = append(p.steps, swap.Move{From: name, To: bad})
		default:
			p.Warnings = append(p.Warnings, name+" stays: there is no "+old)
		}
	}
	for _, c := range f.Concerned(p.back) {
		p.remake(c)
	}
	if p.back[f.Base] {
		p.steps = append(p.steps, replace.DropPairs(p.found.Dir, f)...)
	}
	var err error
	p.Steps, err = replace.ShowSteps(p.found.Dir, p.steps)
	return err
}

// remake plans to make a companion anew for the former state, which has none.
func (p *Plan) remake(c live.Companion) {
	p.remade = append(p.remade, c)
	p.setAside(c.Name)
	p.steps = append(p.steps, swap.Replace{New: placeholder(c.Name), Target: c.Name, Keep: c.Name + ".bad"})
}

func placeholder(name string) string { return "(new " + name + ")" }

// setAside makes room for a new .bad, as init does: the one that is there
// becomes .bak.
func (p *Plan) setAside(name string) {
	bad, bak := name+".bad", name+".bak"
	if !p.has(bad) {
		return
	}
	if p.has(bak) {
		p.steps = append(p.steps, swap.Remove{Path: bak})
	}
	p.steps = append(p.steps, swap.Move{From: bad, To: bak})
}

// checkFormer refuses a former state that would not boot as it did.
func (p *Plan) checkFormer(ctx context.Context) error {
	f := &p.found.Files
	old := f.Base + ".old"
	// What the former state is made of need not be what the present one is.
	former, err := p.found.Again(".old")
	if err == nil && former == nil {
		err = live.ErrNoLayout
	}
	var l *live.Live
	if err == nil {
		l, err = former.Open(ctx, p.env, ".old")
	}
	if err != nil {
		return refusal.New(refusal.FormerIncomplete, say.Verify+" "+p.path(old)+
			" tells more of the base; an overlay's .old can be moved away to go back without it", "the former state cannot be read: %v",
			err)
	}
	defer l.Close()
	// A compaction's order backwards. The former overlay over the present base
	// shows the former state, the present overlay over the former base would not.
	images := replace.BottomUp(l, f.Retired)
	slices.Reverse(images)
	images = append(images, f.Base)
	for _, c := range f.Companions {
		images = append(images, c.Name)
	}
	for _, name := range p.kernels() {
		if !slices.Contains(images, name) {
			images = append(images, name) // others are lists of sums as well
		}
	}
	if p.apart, err = p.mustDetach(ctx, l); err != nil {
		return err
	}
	if p.apart {
		p.order = slices.Concat(images, f.Follow, f.Overlay)
	} else {
		p.order = slices.Concat(f.Overlay, f.Follow, images)
	}
	if c, ok := l.Files.Sum(); ok {
		for _, list := range l.Files.Sums {
			if why := list.Unread(); why != "" && list.Name == c.Name {
				return refusal.New(refusal.FormerIncomplete, "remove it to go back all the same",
					"the sum of the former %s cannot be read: %s.old: %s", f.Base, c.Name, why)
			}
		}
	}
	if err := p.checkSums(ctx, l); err != nil {
		return err
	}
	vids, err := l.VIDs()
	if err != nil {
		name := former.Files.Overlay[0]
		return refusal.New(refusal.FormerIncomplete, "move "+name+".old away to go back without it", "the former %s cannot be read: %v",
			name, err)
	}
	if vids.State != live.VIDNoOverlay && !vids.State.Used() {
		name := former.Files.Overlay[0] + ".old"
		return refusal.New(refusal.UnmatchedVersion, "move "+name+" away to go back without it",
			"%s does not belong to linuxfs.old: their version ids are %s and %s", name, live.OrNone(vids.Overlay), live.OrNone(vids.Base))
	}
	return nil
}

// checkSums refuses a former state that is not what the sums that were kept with
// it tell of it.
func (p *Plan) checkSums(ctx context.Context, l *live.Live) error {
	f := &l.Files
	names := append([]string{f.Base}, f.Stack...)
	for _, name := range f.Kernel {
		if p.has(name + ".old") {
			names = append(names, name)
		}
	}
	// A sum that cannot be read comes back as it was.
	c := sourcecheck.New(l, names, false, func(string, ...any) {})
	for i := range c.Files {
		file := &c.Files[i]
		p.env.Phase("summing "+filepath.Base(file.Shown), 0)
		facts, err := file.Compare(ctx)
		if err != nil {
			return err
		}
		if len(facts) > 0 {
			return refusal.New(refusal.SumsDiffer, say.Verify+" "+file.Shown+" tells whether it can still be used", "%s", facts[0])
		}
	}
	return nil
}

// texts makes the texts of companions that are made anew: those of lists from the
// former files, by the names that they have before the change.
func (p *Plan) texts(ctx context.Context) (map[string][]byte, error) {
	f := &p.found.Files
	texts, changed := map[string][]byte{}, map[string]bool{}
	for name := range p.back {
		changed[name] = true
	}
	sum := func(name string, kind checksum.Kind) (string, error) {
		p.env.Phase("summing "+name+".old", 0)
		sums, err := checksum.File(ctx, p.path(name+".old"), -1, kind)
		return sums[kind], err
	}
	var lists []*sumlist.List
	for _, c := range p.remade {
		if c.List != nil {
			lists = append(lists, c.List.Copy())
			continue
		}
		now, err := sum(f.Base, c.Sum)
		if err != nil {
			return nil, err
		}
		texts[c.Name] = c.Content(f.Base, live.Facts{}, map[checksum.Kind]string{c.Sum: now})
	}
	_, _, err := sumlist.Follow(lists, changed, func(name string, kind checksum.Kind) (string, bool, error) {
		if text, ok := texts[name]; ok {
			return checksum.Bytes(kind, text), false, nil
		}
		if !p.has(name + ".old") {
			return "", true, nil
		}
		now, err := sum(name, kind)
		return now, false, err
	})
	for _, l := range lists {
		texts[l.Name] = l.Bytes()
	}
	return texts, err
}

// Run does what the plan says.
func (p *Plan) Run(ctx context.Context) (err error) {
	t, err := replace.Begin(p.env, p.found.Dir, "rollback", p.steps)
	if err != nil {
		return err
	}
	defer func() { err = t.End(err) }()
	steps := slices.Clone(p.steps)
	texts, err := p.texts(ctx)
	if err != nil {
		return err
	}
	for _, c := range p.remade {
		if err := t.Text(c.Name, texts[c.Name]); err != nil {
			return err
		}
		for i, s := range steps {
			if r, ok := s.(swap.Replace); ok && r.New == placeholder(c.Name) {
				r.New = t.Made[c.Name]
				steps[i] = r
			}
		}
	}
	return t.Commit(ctx, steps)
}
