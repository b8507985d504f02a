package replace

import (
	"context"
	"fmt"
	"path/filepath"

	"relive/remaster/job"
	"relive/remaster/live"
	"relive/remaster/swap"
)

// Exchange is the run of a verb: new files are made beside those whose place they
// take, and then all of them change hands in one transaction.
type Exchange struct {
	Env  *job.Env
	Live *live.Live
	Verb string
	// Fill makes files of the transaction before the parts; it may be nil.
	Fill  func(t *Transaction) error
	Parts []Part
	// Free refuses while something that is replaced is in use. It is asked last:
	// making the files may have taken minutes, in which somebody may have mounted
	// the former ones.
	Free func() error
	// Last does what waits until nothing can go wrong any more but the renames; it
	// may be nil.
	Last func(t *Transaction) error
	// Steps gives what is renamed; made has the temporary name for each target. It
	// is asked before the run, with placeholders, and for the commit.
	Steps func(made map[string]string) ([]swap.Step, error)
	// Placing names the phase of the commit.
	Placing string
}

// Placeholders stand for temporary files in a plan that is shown, and in steps
// that are looked at before there are any.
func Placeholders(names ...string) map[string]string {
	made := map[string]string{}
	for _, name := range names {
		made[name] = "(new " + name + ")"
	}
	return made
}

// Run makes the files and puts them in place, or leaves everything as it was.
func (x *Exchange) Run(ctx context.Context, placeholders map[string]string) (err error) {
	steps, err := x.Steps(placeholders)
	if err != nil {
		return err
	}
	t, err := Begin(x.Env, x.Live.Dir, x.Verb, steps)
	if err != nil {
		return err
	}
	defer func() { err = t.End(err) }()
	if x.Fill != nil {
		if err := x.Fill(t); err != nil {
			return err
		}
	}
	for _, r := range x.Parts {
		path, err := t.Temp(r.Target)
		if err != nil {
			return err
		}
		x.Env.Phase("new "+filepath.Base(r.Target), 0)
		if err := r.Make(ctx, path); err != nil {
			return fmt.Errorf("the new %s: %w", filepath.Base(r.Target), err)
		}
	}
	if err := x.Free(); err != nil {
		return err
	}
	if err := x.Live.Unchanged(ctx); err != nil {
		return err
	}
	if x.Last != nil {
		if err := x.Last(t); err != nil {
			return err
		}
	}
	if steps, err = x.Steps(t.Made); err != nil {
		return err
	}
	x.Env.Phase(x.Placing, 0)
	return t.Commit(ctx, steps)
}
