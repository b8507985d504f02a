package reset

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"relive/remaster/hostdisk"
	"relive/remaster/job"
	"relive/remaster/live"
	"relive/remaster/refusal"
	"relive/remaster/replace"
	"relive/remaster/say"
	"relive/remaster/swap"
)

// Undo brings a former overlay back, and keeps the present one in its place.
type Undo struct {
	found *live.Found
	env   *job.Env
	steps []swap.Step

	Dir      string   `json:"dir"`
	Overlay  string   `json:"overlay"`
	Steps    []string `json:"steps"`
	Warnings []string `json:"warnings"`
}

// NewUndo looks whether there is a former overlay that belongs to the
// present base. Where there is none that is a Refusal. Undoing twice changes
// nothing.
func NewUndo(ctx context.Context, e *job.Env, dir string, opts ...live.Option) (*Undo, error) {
	found, err := live.Find(dir, opts...)
	if err != nil {
		return nil, err
	}
	p := &Undo{found: found, env: e, Dir: found.Dir, Steps: []string{}, Warnings: []string{}}
	f := &found.Files
	var names []string
	for _, name := range f.Overlay {
		if hostdisk.Exists(p.path(live.OldName(name, 1))) {
			names = append(names, name)
		}
	}
	switch {
	case len(names) == 0 && len(f.Overlay) > 0:
		return nil, refusal.New(refusal.NotFound, "", "%s: there is no %s to bring back", dir, live.OldName(f.Overlay[0], 1))
	case len(names) == 0:
		return nil, refusal.New(refusal.NotFound, "", "%s: there is no overlay that a former one could take the place of", dir)
	case hostdisk.Exists(p.path(live.OldName(f.Base, 1))):
		return nil, refusal.New(refusal.InTheWay, say.Rollback+" goes back to both", "%s: %s belongs to %s", dir, live.OldName(names[0], 1),
			live.OldName(f.Base, 1))
	}
	p.Overlay = names[0]
	for _, name := range f.Overlay {
		if hostdisk.Exists(p.path(name)) && !hostdisk.Exists(p.path(live.OldName(name, 1))) {
			return nil, refusal.New(refusal.FormerIncomplete, "move it away to go back without it",
				"%s: there is a %s, but no %s to go with it", dir, live.OldName(names[0], 1), live.OldName(name, 1))
		}
	}
	for _, name := range names {
		if err := live.RefuseInUse("", p.path(name), p.path(live.OldName(name, 1))); err != nil {
			return nil, err
		}
	}
	if err := p.checkFormer(ctx); err != nil {
		return nil, err
	}
	// Work directories go with any layer while they are empty: the present layer
	// may meet the former one's, and not the other way about.
	for i := len(names) - 1; i >= 0; i-- {
		name, old := names[i], live.OldName(names[i], 1)
		if !hostdisk.Exists(p.path(name)) {
			p.steps = append(p.steps, swap.Move{From: old, To: name})
			continue
		}
		aside := name + undoneSuffix
		p.steps = append(p.steps, swap.Replace{New: old, Target: name, Keep: aside}, swap.Move{From: aside, To: old})
	}
	p.Steps, err = replace.ShowSteps(p.found.Dir, p.steps)
	return p, err
}

// undoneSuffix is that of an overlay between its old and its new name.
const undoneSuffix = ".relive-undone"

func (p *Undo) path(name string) string { return filepath.Join(p.found.Dir, name) }

// checkFormer refuses a former overlay that a boot would not take, or that was
// written over another base.
func (p *Undo) checkFormer(ctx context.Context) error {
	old := live.OldName(p.Overlay, 1)
	l, err := p.found.OpenAs(ctx, p.env, "", ".old")
	if err != nil {
		return refusal.New(refusal.FormerIncomplete, "move "+old+" away if it is of no use", "%s: %s cannot be read: %v", p.Dir, old, err)
	}
	defer l.Close()
	vids, err := l.VIDs()
	if err != nil {
		return err
	}
	if vids.State != live.VIDNoOverlay && !vids.State.Used() {
		return refusal.New(refusal.UnmatchedVersion, "it was written over another linuxfs, and a boot would ignore it",
			"%s: the version ids of %s (%s) and of linuxfs (%s) do not match", p.Dir, old, live.OrNone(vids.Overlay),
			live.OrNone(vids.Base))
	}
	if err := l.Check(ctx, p.env, live.Intent{Force: true}); err != nil {
		return err
	}
	if astray, err := l.Astray(ctx, l.Base); err != nil {
		return err
	} else if astray && len(l.Base.Below) == 0 {
		return refusal.New(refusal.UnmatchedVersion, "bring it back together with that base, or move it away",
			"%s: %s was written over another base than %s: its marks name other files there", p.Dir, old, l.Rel(l.Base.Path))
	}
	warnings, err := l.OverlayWarnings()
	for _, w := range warnings {
		if !strings.Contains(w, old) {
			w = fmt.Sprintf("%s: %s", old, w)
		}
		p.Warnings = append(p.Warnings, w)
	}
	return err
}

// Run does what the plan says.
func (p *Undo) Run(ctx context.Context) (err error) {
	t, err := replace.Begin(p.env, p.found.Dir, "reset", p.steps)
	if err != nil {
		return err
	}
	defer func() { err = t.End(err) }()
	return t.Commit(ctx, p.steps)
}
