package remaster

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"relive/remaster/hostdisk"
	"relive/remaster/job"
	"relive/remaster/refusal"
	"relive/remaster/swap"
)

// UndoPlan brings a former overlay back, and keeps the present one in its place.
type UndoPlan struct {
	found *Found
	env   *job.Env
	steps []swap.Step

	Dir      string   `json:"dir"`
	Overlay  string   `json:"overlay"`
	Steps    []string `json:"steps"`
	Warnings []string `json:"warnings"`
}

// PlanResetUndo looks whether there is a former overlay that belongs to the
// present base. Where there is none that is a Refusal. Undoing twice changes
// nothing.
func PlanResetUndo(ctx context.Context, e *job.Env, dir string, opts ...Option) (*UndoPlan, error) {
	found, err := Find(dir, opts...)
	if err != nil {
		return nil, err
	}
	p := &UndoPlan{found: found, env: e, Dir: found.Dir, Steps: []string{}, Warnings: []string{}}
	f := &found.files
	var names []string
	for _, name := range f.overlay {
		if hostdisk.Exists(p.path(generation(name, 1))) {
			names = append(names, name)
		}
	}
	switch {
	case len(names) == 0 && len(f.overlay) > 0:
		return nil, refusal.New("", "%s: there is no %s to bring back", dir, generation(f.overlay[0], 1))
	case len(names) == 0:
		return nil, refusal.New("", "%s: there is no overlay that a former one could take the place of", dir)
	case hostdisk.Exists(p.path(generation(f.base, 1))):
		return nil, refusal.New("relive rollback goes back to both", "%s: %s belongs to %s", dir, generation(names[0], 1), generation(f.base, 1))
	}
	p.Overlay = names[0]
	for _, name := range f.overlay {
		if hostdisk.Exists(p.path(name)) && !hostdisk.Exists(p.path(generation(name, 1))) {
			return nil, refusal.New("move it away to go back without it", "%s: there is a %s, but no %s to go with it", dir, generation(names[0], 1), generation(name, 1))
		}
	}
	for _, name := range names {
		if err := refuseInUse("", p.path(name), p.path(generation(name, 1))); err != nil {
			return nil, err
		}
	}
	if err := p.checkFormer(ctx); err != nil {
		return nil, err
	}
	// Work directories go with any layer while they are empty: the present layer
	// may meet the former one's, and not the other way about.
	for i := len(names) - 1; i >= 0; i-- {
		name, old := names[i], generation(names[i], 1)
		if !hostdisk.Exists(p.path(name)) {
			p.steps = append(p.steps, swap.Move{From: old, To: name})
			continue
		}
		aside := name + undoneSuffix
		p.steps = append(p.steps, swap.Replace{New: old, Target: name, Keep: aside}, swap.Move{From: aside, To: old})
	}
	p.Steps, err = shownSteps(p.found.Dir, p.steps)
	return p, err
}

// undoneSuffix is that of an overlay between its old and its new name.
const undoneSuffix = ".relive-undone"

func (p *UndoPlan) path(name string) string { return filepath.Join(p.found.Dir, name) }

// checkFormer refuses a former overlay that a boot would not take, or that was
// written over another base.
func (p *UndoPlan) checkFormer(ctx context.Context) error {
	old := generation(p.Overlay, 1)
	l, err := p.found.openAs(ctx, p.env, "", ".old")
	if err != nil {
		return refusal.New("move "+old+" away if it is of no use", "%s: %s cannot be read: %v", p.Dir, old, err)
	}
	defer l.Close()
	vids, err := l.VIDs()
	if err != nil {
		return err
	}
	if vids.State != VIDNoOverlay && !vids.State.Used() {
		return refusal.New("it was written over another linuxfs, and a boot would ignore it", "%s: the version ids of %s (%s) and of linuxfs (%s) do not match", p.Dir, old, orNone(vids.Overlay), orNone(vids.Base))
	}
	if err := l.Check(ctx, p.env, Intent{Force: true}); err != nil {
		return err
	}
	if astray, err := l.Astray(ctx, l.Base); err != nil {
		return err
	} else if astray && len(l.Base.Below) == 0 {
		return refusal.New("bring it back together with that base, or move it away", "%s: %s was written over another base than %s: its marks name other files there", p.Dir, old, l.rel(l.Base.Path))
	}
	warnings, err := l.overlayWarnings()
	for _, w := range warnings {
		if !strings.Contains(w, old) {
			w = fmt.Sprintf("%s: %s", old, w)
		}
		p.Warnings = append(p.Warnings, w)
	}
	return err
}

// Run does what the plan says.
func (p *UndoPlan) Run(ctx context.Context) (err error) {
	t, err := begin(p.env, p.found.Dir, "reset", p.steps)
	if err != nil {
		return err
	}
	defer func() { err = t.end(err) }()
	return t.commit(ctx, p.steps)
}
