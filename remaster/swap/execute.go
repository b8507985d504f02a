package swap

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
)

// executor does the actions of a committed journal. Each begins with a look at
// the directory, so that one that was done, or done by half, is taken up where
// it stands.
type executor struct {
	*ground
	j *journal
	// states are those of j: which start name's content a name holds before
	// each action and after the last.
	states []map[string]string
}

func newExecutor(g *ground, j *journal) (*executor, error) {
	states, err := j.states()
	if err != nil {
		return nil, err
	}
	return &executor{ground: g, j: j, states: states}, nil
}

// states follows the actions: element i maps each name to the start name of
// the file that it holds before action i, the last element after all. What
// waits for removal has no name here.
func (j *journal) states() ([]map[string]string, error) {
	gone := map[string]bool{}
	for _, g := range j.Gone {
		gone[g] = true
	}
	now := make(map[string]string, len(j.Start))
	for name := range j.Start {
		if gone[name] {
			return nil, fmt.Errorf("%q waits for its removal at the start", name)
		}
		now[name] = name
	}
	all := make([]map[string]string, 0, len(j.Actions)+1)
	for i, a := range j.Actions {
		all = append(all, now)
		next := make(map[string]string, len(now))
		for k, v := range now {
			next[k] = v
		}
		switch {
		case now[a.From] == "":
			return nil, fmt.Errorf("action %d: there is no %q", i, a.From)
		case a.Verb == doMove && now[a.To] != "":
			return nil, fmt.Errorf("action %d: %q is taken", i, a.To)
		case a.Verb == doReplace && now[a.To] == "":
			return nil, fmt.Errorf("action %d: there is no %q to replace", i, a.To)
		case a.Keep != "" && now[a.Keep] != "":
			return nil, fmt.Errorf("action %d: %q is taken", i, a.Keep)
		case a.Drop != gone[a.Keep]:
			return nil, fmt.Errorf("action %d: the fate of %q is unclear", i, a.Keep)
		case gone[a.From], a.Verb == doReplace && gone[a.To]:
			return nil, fmt.Errorf("action %d: uses what waits for its removal", i)
		}
		if a.Keep != "" && !a.Drop {
			next[a.Keep] = now[a.To]
		}
		delete(next, a.From)
		if !gone[a.To] {
			next[a.To] = now[a.From]
		}
		now = next
	}
	return append(all, now), nil
}

// run does action i, from wherever it stands, and makes it durable.
func (e *executor) run(i int) error {
	a := e.j.Actions[i]
	from, err := e.exists(a.From)
	if err != nil {
		return err
	}
	if !from {
		return nil // the name that an action takes away goes last
	}
	if a.Verb == doMove {
		return e.move(a)
	}
	return e.replace(i, a)
}

func (e *executor) move(a action) error {
	to, err := e.exists(a.To)
	if err != nil {
		return err
	}
	if to {
		return fmt.Errorf("%w: both %s and %s exist", ErrForeign, e.show(a.From), e.show(a.To))
	}
	return e.rename(a.From, a.To)
}

func (e *executor) replace(i int, a action) error {
	to, err := e.exists(a.To)
	if err != nil {
		return err
	}
	if !to {
		// Between the two renames: the former is already away.
		return e.rename(a.From, a.To)
	}
	exchanged, err := e.exchanged(i)
	if err != nil {
		return err
	}
	switch {
	case exchanged && a.Keep == "":
		return fmt.Errorf("%w: %s holds the former %s", ErrForeign, e.show(a.From), e.show(a.To))
	case exchanged:
		return e.rename(a.From, a.Keep)
	case a.Keep == "":
		return e.rename(a.From, a.To)
	}
	kept, err := e.exists(a.Keep)
	if err != nil {
		return err
	}
	if kept {
		// The former has both names.
		return e.rename(a.From, a.To)
	}
	err = e.fsys.Link(e.path(a.To), e.path(a.Keep))
	if err == nil {
		if err := e.sync(a.Keep); err != nil {
			return err
		}
		return e.rename(a.From, a.To)
	}
	if !errors.Is(err, ErrNoSupport) {
		return err
	}
	err = e.fsys.Exchange(e.path(a.From), e.path(a.To))
	if err == nil {
		if err := e.sync(a.From, a.To); err != nil {
			return err
		}
		return e.rename(a.From, a.Keep)
	}
	if !errors.Is(err, ErrNoSupport) {
		return err
	}
	if err := e.rename(a.To, a.Keep); err != nil {
		return err
	}
	return e.rename(a.From, a.To)
}

// exchanged reports whether the names of action i, which both exist, have already
// swapped their files. A new file is changed by nobody while it has its
// temporary name, so it is recognised there for certain.
func (e *executor) exchanged(i int) (bool, error) {
	a := e.j.Actions[i]
	before := e.states[i]
	fresh, former := e.j.Start[before[a.From]], e.j.Start[before[a.To]]
	isNew, err := e.is(a.From, fresh)
	if err != nil || isNew {
		return false, err
	}
	isOld, err := e.is(a.From, former)
	if err != nil || isOld {
		return isOld, err
	}
	targetNew, err := e.is(a.To, fresh)
	if err == nil && !targetNew {
		err = fmt.Errorf("%w: %s is neither the new nor the former %s", ErrForeign, e.show(a.From), e.show(a.To))
	}
	return targetNew, err
}

// is reports whether a name holds the file of that fingerprint.
func (e *executor) is(name string, want Fingerprint) (bool, error) {
	got, err := fingerprint(e.fsys, e.path(name), want.Full != "")
	return got == want, err
}

func (e *executor) exists(name string) (bool, error) {
	_, err := e.fsys.Lstat(e.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// rename renames and makes it durable.
func (e *executor) rename(from, to string) error {
	if err := e.fsys.Rename(e.path(from), e.path(to)); err != nil {
		return err
	}
	return e.sync(from, to)
}

// sync makes the names in the directories of these names durable.
func (e *executor) sync(names ...string) error {
	last := ""
	for _, n := range names {
		d := path.Dir(n)
		if d == last {
			continue
		}
		if err := e.fsys.SyncDir(e.path(d)); err != nil {
			return err
		}
		last = d
	}
	return nil
}

// finish does all actions of a committed journal that is the current one, then
// removes what was discarded, and last the journal.
func finish(g *ground, j *journal) error {
	e, err := newExecutor(g, j)
	if err != nil {
		return err
	}
	return e.finish(0)
}

// finish is finish from action i on.
func (e *executor) finish(i int) error {
	for ; i < len(e.j.Actions); i++ {
		if err := e.run(i); err != nil {
			return fmt.Errorf("%s: %w: %s: %w", e.dir, ErrUnfinished, e.j.Actions[i].Step, err)
		}
	}
	if _, err := e.clean(append(append([]string(nil), e.j.Gone...), e.j.Temps...)); err != nil {
		return fmt.Errorf("%s: %w: the new state is in place, removing leftovers failed: %w", e.dir, ErrUnfinished, err)
	}
	return nil
}

// undo removes the temporary files of a run that did not reach its commit
// point, and gives the names that were there.
func (g *ground) undo(temps []string) ([]string, error) {
	removed, err := g.clean(temps)
	if err != nil {
		err = fmt.Errorf("%s: removing the temporary files: %w", g.dir, err)
	}
	return removed, err
}

// clean removes files and directories, then the records beside the volumes, and
// then the journal, each durably before the next. It gives the names that were
// there.
func (g *ground) clean(names []string) ([]string, error) {
	removed, err := g.remove(names)
	if err != nil {
		return removed, err
	}
	for i := range g.volumes {
		v := &g.volumes[i]
		files := []string{partTemp, partName}
		if v.bare {
			files = files[:1] // of a run that was cut off while it wrote its first
		}
		if err := drop(g.fsys, g.path(v.Name), files...); err != nil {
			return removed, err
		}
	}
	return removed, drop(g.fsys, g.dir, journalTemp, journalName)
}

// remove removes files and directories durably, and gives the names that were
// there. It leaves volumes alone on which nothing of the run is.
func (g *ground) remove(names []string) (removed []string, err error) {
	dirs := map[string]bool{}
	for _, name := range names {
		if g.bare(name) {
			continue
		}
		if err := g.checkParents(name); err != nil {
			return removed, err
		}
		was, err := removeTree(g.fsys, g.path(name))
		if err != nil {
			return removed, err
		}
		if was {
			removed = append(removed, g.show(name))
			dirs[path.Dir(name)] = true
		}
	}
	return removed, g.syncDirs(slices.Sorted(maps.Keys(dirs)))
}

// drop removes files from a directory durably, as far as they are there.
func drop(fsys FS, dir string, names ...string) error {
	for _, name := range names {
		if err := fsys.Remove(dir + "/" + name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return fsys.SyncDir(dir)
}
