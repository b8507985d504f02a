package replace

import (
	"context"
	"errors"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"relive/remaster/hostdisk"
	"relive/remaster/job"
	"relive/remaster/live"
	"relive/remaster/refusal"
	"relive/remaster/swap"
	"relive/tree"
)

// Transaction is a swap of files of a live directory, by names relative to it.
type Transaction struct {
	txn    *swap.Txn
	prefix string            // of the live directory in that of the transaction
	Made   map[string]string // the temporary name for each target
	Locks  tree.Closers
}

// Begin begins a transaction that is to end with these steps. Where they lead
// out of the live directory it is one of the directory above.
func Begin(e *job.Env, dir, verb string, steps []swap.Step) (t *Transaction, err error) {
	var disk swap.FS = swap.OS{}
	if e.Disk != nil {
		disk = e.Disk
	}
	if err := followsLinks(dir, steps); err != nil {
		return nil, err
	}
	ground, prefix := groundOf(dir, steps)
	if strings.Contains(prefix, "/") {
		return nil, refusal.New("move it into the live directory or beside it", "%s: what is to change lies further away than in the directory above", dir)
	}
	t = &Transaction{prefix: prefix, Made: map[string]string{}}
	if prefix != "" {
		// Who works on the live directory alone is to be kept out as well.
		lock, err := disk.Lock(dir)
		if err != nil {
			return nil, err
		}
		t.Locks = tree.Closers{lock}
	}
	if t.txn, err = swap.Begin(disk, ground, swap.Info{Verb: verb, Started: time.Now(), Tool: e.Tool}); err != nil {
		return nil, errors.Join(err, t.Locks.Close())
	}
	return t, nil
}

// ShowSteps gives steps for a plan that is shown. What they cannot do to the
// files as they are is a Refusal: see followsLinks.
func ShowSteps(dir string, steps []swap.Step) ([]string, error) {
	if err := followsLinks(dir, steps); err != nil {
		return nil, err
	}
	out := make([]string, 0, len(steps))
	for _, s := range steps {
		out = append(out, s.String())
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
		for at := path.Clean(name); at != "." && at != ".." && at != "/"; at = path.Dir(at) {
			target, err := os.Readlink(filepath.Join(dir, at))
			if err != nil {
				continue // no link
			}
			return refusal.New("put the file itself in the place of the link, or give a directory in which it lies; what is only read may be a link",
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

// Scratch gives the path of a temporary file beside name.
func (t *Transaction) Scratch(name string) (string, error) {
	return t.txn.Temp(path.Join(t.prefix, name))
}

// Temp gives the path of the temporary file that is to become name.
func (t *Transaction) Temp(name string) (string, error) {
	at, err := t.Scratch(name)
	if err != nil {
		return "", err
	}
	t.Made[name], err = filepath.Rel("/"+t.prefix, "/"+t.txn.Name(at))
	return at, err
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
	t.txn.Plan(under(steps, t.prefix)...)
	return t.txn.Commit(ctx)
}

// groundOf gives the directory that a transaction with these steps is one of,
// and the name that the live directory has in it: the live directory itself and
// "", unless a step leads out of it.
func groundOf(dir string, steps []swap.Step) (ground, prefix string) {
	above := 0
	for _, s := range steps {
		for _, name := range namesOf(s) {
			n := 0
			for ; strings.HasPrefix(name, "../"); name = name[len("../"):] {
				n++
			}
			above = max(above, n)
		}
	}
	for ground = dir; above > 0; above-- {
		prefix = path.Join(hostdisk.BaseName(ground), prefix)
		ground = filepath.Join(ground, "..")
	}
	return ground, prefix
}

func namesOf(s swap.Step) []string {
	switch s := s.(type) {
	case swap.Replace:
		return []string{s.New, s.Target, s.Keep}
	case swap.Move:
		return []string{s.From, s.To}
	case swap.Copy:
		return []string{s.From, s.To}
	case swap.Remove:
		return []string{s.Path}
	}
	return nil
}

// under gives the steps with names that are relative to the directory in which
// the live directory has the name prefix.
func under(steps []swap.Step, prefix string) []swap.Step {
	if prefix == "" {
		return steps
	}
	in := func(name string) string {
		if name == "" {
			return ""
		}
		return path.Join(prefix, name)
	}
	out := make([]swap.Step, 0, len(steps))
	for _, s := range steps {
		switch v := s.(type) {
		case swap.Replace:
			s = swap.Replace{New: in(v.New), Target: in(v.Target), Keep: in(v.Keep)}
		case swap.Move:
			s = swap.Move{From: in(v.From), To: in(v.To)}
		case swap.Copy:
			s = swap.Copy{From: in(v.From), To: in(v.To)}
		case swap.Remove:
			s = swap.Remove{Path: in(v.Path)}
		}
		out = append(out, s)
	}
	return out
}
