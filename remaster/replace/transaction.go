package replace

import (
	"context"
	"errors"
	"io"
	"os"
	"path"
	"path/filepath"
	"time"

	"relive/remaster/job"
	"relive/remaster/live"
	"relive/remaster/refusal"
	"relive/remaster/say"
	"relive/remaster/swap"
	"relive/tree"
)

// Transaction is a swap of files of a live directory, by names relative to it.
type Transaction struct {
	txn   *swap.Txn
	reach *reach
	Made  map[string]string // the temporary name for each target
	Locks tree.Closers
}

// Begin begins a transaction that is to end with these steps. Where they lead
// out of the live directory it is one of the directory above; what lies further
// away, or on another file system, takes part as a volume.
func Begin(e *job.Env, dir, verb string, steps []swap.Step) (t *Transaction, err error) {
	var disk swap.FS = swap.OS{}
	if e.Disk != nil {
		disk = e.Disk
	}
	if err := followsLinks(dir, steps); err != nil {
		return nil, err
	}
	r, err := reachOf(disk, dir, steps)
	if err != nil {
		return nil, err
	}
	t = &Transaction{reach: r, Made: map[string]string{}}
	if r.prefix != "" {
		// Who works on the live directory alone is to be kept out as well.
		lock, err := disk.Lock(dir)
		if err != nil {
			return nil, err
		}
		t.Locks = tree.Closers{lock}
	}
	if t.txn, err = swap.Begin(disk, r.ground, swap.Info{Verb: verb, Started: time.Now(), Tool: e.Tool}, r.volumes...); err != nil {
		return nil, errors.Join(err, t.Locks.Close())
	}
	return t, nil
}

// ShowSteps returns steps for a plan that is shown: what lies away from the live
// directory has its absolute path. What they cannot do to the files as they are
// is a Refusal: see followsLinks.
func ShowSteps(dir string, steps []swap.Step) ([]string, error) {
	if err := followsLinks(dir, steps); err != nil {
		return nil, err
	}
	r, err := reachOf(swap.OS{}, dir, steps)
	if err != nil {
		return nil, err
	}
	out := make([]string, 0, len(steps))
	for _, s := range steps {
		out = append(out, swap.Named(s, r.show).String())
	}
	return out, nil
}

// followsLinks refuses steps that would put a new file in the place of a symlink,
// or rename or remove one: what a boot uses is what it leads to, which would stay
// as it is. It may lie in another file system, into which no file of this one can
// be renamed.
func followsLinks(dir string, steps []swap.Step) error {
	for _, s := range steps {
		var name string
		switch s := s.(type) {
		case swap.Replace:
			name = s.Target
		case swap.Move:
			name = s.From
		case swap.Remove:
			name = s.Path
		}
		if name == "" || live.IsAside(name) {
			continue // a generation, which no boot uses
		}
		for at := path.Clean(name); at != "." && path.Base(at) != ".." && at != "/"; at = path.Dir(at) {
			target, err := os.Readlink(filepath.Join(dir, at))
			if err != nil {
				continue // no link
			}
			return refusal.New(refusal.WrongKind, "put the file itself in the place of the link, or give a directory in which it lies; "+
				"an overlay that lies elsewhere is named with "+say.Overlay+"; what is only read may be a link",
				"%s: is a symlink to %s, and a new file in its place would leave what it leads to as it is", filepath.Join(dir, at), target)
		}
	}
	return nil
}

// End is to be deferred: it undoes what was begun where err is not nil.
func (t *Transaction) End(err error) error {
	if err != nil && !errors.Is(err, swap.ErrUnfinished) {
		err = errors.Join(err, t.txn.Abort())
	}
	return errors.Join(err, io.Closer(t.Locks).Close())
}

// Abort undoes what was begun.
func (t *Transaction) Abort() error { return t.txn.Abort() }

// Scratch returns the path of a temporary file beside name.
func (t *Transaction) Scratch(name string) (string, error) {
	in, err := t.reach.name(name)
	if err != nil {
		return "", err
	}
	return t.txn.Temp(in)
}

// Temp returns the path of the temporary file that is to become name, beside it.
func (t *Transaction) Temp(name string) (string, error) {
	at, err := t.Scratch(name)
	if err != nil {
		return "", err
	}
	t.Made[name] = path.Join(path.Dir(name), path.Base(at))
	return at, nil
}

// Text makes the small file that is to become name.
func (t *Transaction) Text(name string, text []byte) error {
	at, err := t.Temp(name)
	if err != nil {
		return err
	}
	return os.WriteFile(at, text, 0o644)
}

// Commit does the steps.
func (t *Transaction) Commit(ctx context.Context, steps []swap.Step) error {
	var err error
	in := make([]swap.Step, 0, len(steps))
	for _, s := range steps {
		in = append(in, swap.Named(s, func(name string) string {
			to, nerr := t.reach.name(name)
			err = errors.Join(err, nerr)
			return to
		}))
	}
	if err != nil {
		return err
	}
	t.txn.Plan(in...)
	return t.txn.Commit(ctx)
}
