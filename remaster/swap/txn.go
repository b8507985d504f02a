package swap

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
)

// Txn is a transaction on a live directory. It is not for use by several
// goroutines at once.
type Txn struct {
	ground
	lock  io.Closer
	info  Info
	id    string // where there are volumes
	base  place  // what their records say of the directory
	temps []string
	paths map[string]string // of these to their names
	steps []Step
	state txnState
}

type txnState uint8

const (
	txnBuilding txnState = iota
	txnCommitted
	txnOver
)

// Begin locks the directory and the volumes and writes a journal in stage
// Building. It is ErrBusy while another relive works on one of them, and
// ErrInterrupted where an earlier run left its journal, or its record on a
// volume: [Recover] comes first.
func Begin(fsys FS, dir string, info Info, volumes ...Volume) (*Txn, error) {
	t := &Txn{ground: ground{fsys: fsys, dir: dir}, info: info, paths: map[string]string{}}
	locks, err := t.enter(volumes)
	if err != nil {
		return nil, err
	}
	t.lock = locks
	if err := t.begin(); err != nil {
		return nil, errors.Join(err, locks.Close())
	}
	return t, nil
}

func (t *Txn) begin() error {
	j, err := readJournal(t.fsys, t.dir)
	if err != nil {
		return err
	}
	if j != nil {
		return interrupted(t.dir, j)
	}
	// The directory may be one in which a run of another takes part.
	if r, err := readPart(t.fsys, t.dir); err != nil {
		return err
	} else if r != nil {
		if err := (&ground{fsys: t.fsys}).settle(t.dir, r); err != nil {
			return err
		}
	}
	for i := range t.volumes {
		if err := t.vacant(&t.volumes[i]); err != nil {
			return err
		}
	}
	if len(t.volumes) > 0 {
		if t.id = t.info.ID; t.id == "" {
			if t.id, err = newID(); err != nil {
				return err
			}
		}
		if t.base, err = placeOf(t.fsys, t.dir); err != nil {
			return err
		}
	}
	err = t.note()
	for i := range t.volumes {
		if err == nil {
			err = t.record(&t.volumes[i], Building)
		}
	}
	if err != nil {
		// Nothing hangs on this: a journal without temporary files that stays
		// is removed by whoever comes next, with its records.
		_, _ = t.clean(nil)
	}
	return err
}

// note writes the journal of the building stage.
func (t *Txn) note() error {
	j := journal{Info: t.info, ID: t.id, Stage: Building, Volumes: t.volumes, Temps: t.temps}
	return j.write(t.fsys, t.dir)
}

// record writes the record of a volume.
func (t *Txn) record(v *volume, s Stage) error {
	r := part{Info: t.info, ID: t.id, Stage: s, Base: t.base}
	for _, temp := range t.temps {
		if t.volume(temp) == v {
			r.Temps = append(r.Temps, temp[len(v.Name)+1:])
		}
	}
	return r.write(t.fsys, t.path(v.Name))
}

// Temp returns the path (the directory's, joined, or the volume's) of a new file
// that is to become name, in the same directory; it is written by the caller, who need not sync it. It may become a
// directory instead. The journal knows the file before this returns. Its name
// in steps is [Txn.Name] of the path.
func (t *Txn) Temp(name string) (string, error) {
	if t.state != txnBuilding {
		return "", errors.New("swap: Temp after the end of the transaction")
	}
	if err := checkPath(name); err != nil {
		return "", err
	}
	if err := t.checkOnVolumes(name); err != nil {
		return "", err
	}
	if err := t.checkParents(name); err != nil {
		return "", err
	}
	temp, err := t.unused(name, tempSuffix, func(n string) bool { return slices.Contains(t.temps, n) })
	if err != nil {
		return "", err
	}
	if err := t.register(temp); err != nil {
		return "", err
	}
	at := t.path(temp)
	t.paths[at] = temp
	return at, nil
}

// register adds a temporary name to the journal, and to the record of its volume.
func (t *Txn) register(temp string) error {
	t.temps = append(t.temps, temp)
	if err := t.note(); err != nil {
		// The journal may hold the name or not, and the file does not exist: both
		// are well. Undo looks for it either way.
		return err
	}
	if v := t.volume(temp); v != nil {
		return t.record(v, Building)
	}
	return nil
}

// Name returns the name, as steps have it, of a path that Temp gave.
func (t *Txn) Name(temp string) string {
	if name, ok := t.paths[temp]; ok {
		return name
	}
	return temp
}

// Plan sets the steps that Commit will do, in this order.
func (t *Txn) Plan(steps ...Step) { t.steps = slices.Clone(steps) }

// Check reports whether the steps fit together and the directory, before the
// temporary files are there. It changes nothing. Commit checks again.
func (t *Txn) Check() error {
	_, err := t.compile()
	return err
}

func (t *Txn) compile() (*planner, error) {
	p := &planner{ground: &t.ground, pending: map[string]bool{}}
	for _, name := range t.temps {
		p.pending[name] = true
	}
	return p, p.compile(t.steps)
}

// Commit makes the temporary files durable, passes the commit point and does
// the steps. The caller has verified the new files.
//
// On an error that is not ErrUnfinished nothing has changed and the transaction
// can be aborted. On ErrUnfinished the new state is decided: Recover, now or
// after a restart, does what is left. The context is heeded up to the commit
// point.
func (t *Txn) Commit(ctx context.Context) error {
	if t.state != txnBuilding {
		return errors.New("swap: Commit after the end of the transaction")
	}
	p, err := t.compile()
	if err != nil {
		return err
	}
	for _, c := range p.copies {
		if err := t.register(c.temp); err != nil {
			return err
		}
		if err := copyTree(ctx, t.fsys, t.path(c.from), t.path(c.temp)); err != nil {
			return err
		}
	}
	j, err := t.journal(ctx, p)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	for i := range t.volumes {
		if err := t.record(&t.volumes[i], Committed); err != nil {
			return err
		}
	}
	if err := j.write(t.fsys, t.dir); err != nil {
		now, rerr := readJournal(t.fsys, t.dir)
		if rerr == nil && now != nil && now.Stage == Building {
			return err // not visible: still the old state, and abortable
		}
		return errors.Join(fmt.Errorf("%s: %w: %w", t.dir, ErrUnfinished, err), t.end(txnCommitted))
	}
	if err := finish(&t.ground, j); err != nil {
		return errors.Join(err, t.end(txnCommitted))
	}
	return t.end(txnOver)
}

// journal makes the journal of the committed stage: all that it names exists,
// durably, and has its fingerprint taken.
func (t *Txn) journal(ctx context.Context, p *planner) (*journal, error) {
	j := &journal{Info: t.info, ID: t.id, Stage: Committed, Volumes: t.volumes, Gone: p.gone, Actions: p.actions,
		Start: map[string]Fingerprint{}}
	used := map[string]bool{}
	for _, a := range p.actions {
		for _, n := range a.names() {
			used[n] = true
		}
	}
	dirs := map[string]bool{".": true}
	for _, v := range t.volumes {
		dirs[v.Name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(p.start)) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		file := t.path(name)
		_, err := t.fsys.Lstat(file)
		switch {
		case errors.Is(err, fs.ErrNotExist) && slices.Contains(t.temps, name):
			return nil, fmt.Errorf("%w: %s was never written", ErrPlan, t.show(name))
		case err != nil:
			return nil, err
		}
		// All that takes part is synced: a file that a step makes the live one
		// need not be a temporary of ours.
		if err := syncTree(t.fsys, file); err != nil {
			return nil, fmt.Errorf("making %s durable: %w", t.show(name), err)
		}
		dirs[path.Dir(name)] = true
		if !used[name] {
			continue // only looked at
		}
		print, err := fingerprint(t.fsys, file, false)
		if err != nil {
			return nil, err
		}
		j.Start[name] = print
	}
	if err := t.syncDirs(slices.Sorted(maps.Keys(dirs))); err != nil {
		return nil, fmt.Errorf("making the new files durable: %w", err)
	}
	for _, name := range t.temps {
		if !used[name] {
			j.Temps = append(j.Temps, name)
		}
	}
	return j, t.tellApart(j.Start)
}

// tellApart returns long files whose fingerprints agree the hash of all their
// content, and directories that of all their entries. Files that still agree are the same, whichever has which name.
func (g *ground) tellApart(prints map[string]Fingerprint) error {
	count := map[Fingerprint]int{}
	for _, p := range prints {
		count[p]++
	}
	for name, p := range prints {
		if !p.sampled() && p.Kind != Directory || count[p] == 1 {
			continue
		}
		full, err := fingerprint(g.fsys, g.path(name), true)
		if err != nil {
			return err
		}
		prints[name] = full
	}
	return nil
}

// Abort removes the temporary files and the journal: the directory is as it was
// at Begin. After Commit began the steps it does nothing and is an error;
// after a finished Commit it does nothing and is nil, so that it can be
// deferred.
func (t *Txn) Abort() error {
	switch t.state {
	case txnOver:
		return nil
	case txnCommitted:
		return fmt.Errorf("%s: %w", t.dir, ErrUnfinished)
	}
	_, err := t.undo(t.temps)
	return errors.Join(err, t.end(txnOver))
}

// end releases the lock.
func (t *Txn) end(s txnState) error {
	t.state = s
	return t.lock.Close()
}
