package swap

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"

	"relive/tree"
)

// State is what an interrupted run left.
type State struct {
	Info  Info
	Stage Stage
	// Running: another process holds the lock, so this is no leftover but work
	// under way.
	Running bool
	// Elsewhere are the directories, as absolute paths, in which the run takes part
	// besides.
	Elsewhere []string
	// Journal says where the run has its journal, where that is not in the directory.
	Journal string
	// Temps are the temporary files that are there, relative to the directory, or
	// as absolute paths where they lie elsewhere.
	Temps []string
	// Steps are the steps of a committed run in words; the first Done are done.
	Steps []string
	Done  int
	// Changed are files that somebody changed after the commit point.
	Changed []string
	// Problem is why Recover would refuse, nil where it would not.
	Problem error
}

// String says it in a sentence or two.
func (s *State) String() string {
	var b strings.Builder
	run := whose(s.Info)
	if len(s.Elsewhere) > 0 {
		run += ", which takes in " + strings.Join(s.Elsewhere, ", ") + ","
	}
	switch {
	case s.Running:
		fmt.Fprintf(&b, "%s is running", run)
	case errors.Is(s.Problem, ErrInterrupted):
		return fmt.Sprintf("%s was interrupted; its journal is in %s", whose(s.Info), s.Journal)
	case s.Stage == Committed && s.Problem != nil && len(s.Steps) == 0:
		fmt.Fprintf(&b, "%s was interrupted after its commit point", run)
	case s.Stage == Committed:
		fmt.Fprintf(&b, "%s was interrupted after its commit point, with %d of %d steps done", run, s.Done, len(s.Steps))
		if s.Problem == nil {
			b.WriteString("; recovery will finish it")
		}
	default:
		fmt.Fprintf(&b, "%s was interrupted before its commit point", run)
		if s.Problem == nil {
			b.WriteString("; recovery will undo it")
		}
	}
	if s.Problem != nil {
		fmt.Fprintf(&b, "; recovery is not possible: %v", s.Problem)
	}
	return b.String()
}

func whose(info Info) string {
	verb := info.Verb
	if verb == "" {
		verb = "a run"
	}
	if info.Started.IsZero() {
		return verb
	}
	return fmt.Sprintf("%s of %s", verb, info.Started.Format(time.DateTime))
}

// describe is the short form for the error of Begin.
func describe(j *journal) string {
	if j.Stage == Committed {
		return whose(j.Info) + ", after its commit point"
	}
	return whose(j.Info) + ", before its commit point"
}

// Outcome is what Recover did.
type Outcome struct {
	Info Info
	// Finished: a committed run was completed. Otherwise one was undone.
	Finished bool
	// Steps are the steps of a committed run that Recover did, in words.
	Steps []string
	// Removed are the names that were removed.
	Removed []string
	// Changed are files that somebody changed after the commit point; Kept are
	// the names under which those live on that the plan would have discarded.
	Changed, Kept []string
}

// Inspect tells what an interrupted run left, nil where nothing. It changes
// nothing, and needs no right to write.
func Inspect(fsys FS, dir string) (*State, error) {
	lock, err := fsys.Lock(dir)
	running := errors.Is(err, ErrBusy)
	if err != nil && !running {
		return nil, err
	}
	if lock != nil {
		defer lock.Close()
	}
	j, err := readJournal(fsys, dir)
	if err != nil {
		return nil, err
	}
	if j == nil {
		return inspectPart(fsys, dir, running)
	}
	g := &ground{fsys: fsys, dir: dir, volumes: j.Volumes}
	s := &State{Info: j.Info, Stage: j.Stage, Running: running}
	for i := range g.volumes {
		s.Elsewhere = append(s.Elsewhere, g.absolute(g.volumes[i].Name))
	}
	if !running {
		err := g.attach(j, nil)
		if errors.Is(err, ErrMissing) {
			s.Problem = err
			return s, nil
		}
		if err != nil {
			return nil, err
		}
	}
	for _, name := range j.Temps {
		switch _, err := fsys.Lstat(g.path(name)); {
		case err == nil:
			s.Temps = append(s.Temps, g.show(name))
		case !errors.Is(err, fs.ErrNotExist):
			return nil, err
		}
	}
	if j.Stage != Committed || running {
		return s, nil
	}
	for _, a := range j.Actions {
		s.Steps = append(s.Steps, a.Step)
	}
	e, err := newExecutor(g, j)
	if err != nil {
		return nil, err
	}
	at, err := e.find()
	if errors.Is(err, ErrForeign) || errors.Is(err, ErrMissing) {
		s.Problem = err
		return s, nil
	}
	if err != nil {
		return nil, err
	}
	s.Done, s.Changed = at.next, g.showAll(at.changed)
	return s, nil
}

// inspectPart is Inspect for a directory without a journal: it may hold the
// beginning of one, or the record of a run that has its journal elsewhere.
func inspectPart(fsys FS, dir string, running bool) (*State, error) {
	r, err := readPart(fsys, dir)
	if err != nil {
		return nil, err
	}
	if r != nil {
		s := &State{Info: r.Info, Stage: r.Stage, Running: running, Elsewhere: []string{r.Base.Dir}, Journal: r.Base.String()}
		if running {
			return s, nil
		}
		err := (&ground{fsys: fsys}).mayRemove(dir, r)
		if errors.Is(err, ErrInterrupted) || errors.Is(err, ErrForeign) {
			s.Problem, err = err, nil
		}
		return s, err
	}
	_, err = fsys.Lstat(dir + "/" + journalTemp)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return &State{Stage: Starting, Running: running}, err
}

// Recover finishes a run that was interrupted after its commit point and undoes
// one that was interrupted before; nil where there is nothing to do. It may be
// interrupted and run again at any moment. It is ErrBusy while the run is under
// way; with nothing changed it is ErrForeign where the directory fits no point
// of the run, and ErrMissing where a file system is not there on which the run has
// a part. In a directory that is such a part it undoes what the run left there
// if that itself is undone.
func Recover(ctx context.Context, fsys FS, dir string) (*Outcome, error) {
	lock, err := fsys.Lock(dir)
	if err != nil {
		return nil, err
	}
	locks := tree.Closers{lock}
	out, err := recoverLocked(ctx, fsys, dir, &locks)
	return out, errors.Join(err, locks.Close())
}

func recoverLocked(ctx context.Context, fsys FS, dir string, locks *tree.Closers) (*Outcome, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	j, err := readJournal(fsys, dir)
	if err != nil {
		return nil, err
	}
	if j == nil {
		return recoverPart(fsys, dir)
	}
	g := &ground{fsys: fsys, dir: dir, volumes: j.Volumes}
	if err := g.attach(j, locks); err != nil {
		return nil, err
	}
	// The journal that is visible may not be durable yet, if it was the process
	// that died and not the machine.
	if err := fsys.SyncDir(dir); err != nil {
		return nil, err
	}
	if j.Stage == Building {
		removed, err := g.undo(j.Temps)
		return &Outcome{Info: j.Info, Removed: removed}, err
	}
	e, err := newExecutor(g, j)
	if err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(e.names())) {
		if err := e.checkParents(name); err != nil {
			return nil, fmt.Errorf("%s: %w: %w", dir, ErrForeign, err)
		}
	}
	at, err := e.find()
	if err != nil {
		return nil, err
	}
	out := &Outcome{Info: j.Info, Finished: true, Changed: g.showAll(at.changed)}
	if len(at.changed) > 0 {
		if at, out.Kept, err = e.spare(at); err != nil {
			return nil, err
		}
	}
	for _, a := range e.j.Actions[at.next:] {
		out.Steps = append(out.Steps, a.Step)
	}
	for _, a := range e.j.Actions {
		for _, n := range a.names()[1:] {
			if strings.Contains(n, keptSuffix) && !slices.Contains(out.Kept, n) {
				out.Kept = append(out.Kept, n)
			}
		}
	}
	out.Kept = g.showAll(out.Kept)
	out.Removed = g.showAll(slices.Concat(e.j.Gone, e.j.Temps))
	return out, e.finish(at.next)
}

// recoverPart is Recover for a directory without a journal; see inspectPart.
func recoverPart(fsys FS, dir string) (*Outcome, error) {
	r, err := readPart(fsys, dir)
	if err != nil {
		return nil, err
	}
	if r != nil {
		return &Outcome{Info: r.Info, Removed: r.Temps}, (&ground{fsys: fsys}).settle(dir, r)
	}
	_, err = fsys.Lstat(dir + "/" + journalTemp)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	}
	_, err = (&ground{fsys: fsys, dir: dir}).clean(nil)
	return &Outcome{}, err
}

// point is a place in the plan.
type point struct {
	next int // the first action that is not done, perhaps half done
	half bool
	// changed are the names whose content is not what the plan left there.
	changed []string
}

// names is the set of all names whose presence says how far the plan came.
func (e *executor) names() map[string]bool {
	names := map[string]bool{}
	for n := range e.j.Start {
		names[n] = true
	}
	for _, a := range e.j.Actions {
		for _, n := range a.names() {
			names[n] = true
		}
	}
	for _, n := range e.j.Gone {
		delete(names, n)
	}
	return names
}

// locate finds the point of the plan that the directory is at. Which names
// exist decides, and at a point where two files may have been exchanged, the
// fingerprint of the new one; the content of the rest may have changed since.
func (e *executor) locate() (point, error) {
	there := map[string]bool{}
	for name := range e.names() {
		ok, err := e.exists(name)
		if err != nil {
			return point{}, err
		}
		there[name] = ok
	}
	var best *point
	ambiguous := false
	for i := len(e.states) - 1; i >= 0; i-- {
		for _, c := range e.candidates(i) {
			if !c.fits(there) {
				continue
			}
			p := point{next: i, half: c.half}
			ok, err := e.compare(&p, c.holds)
			if err != nil {
				return point{}, err
			}
			switch {
			case !ok:
			case len(p.changed) == 0:
				return p, nil
			case best == nil:
				best = &p
			default:
				// A point that fits in every way may still come: where two names
				// change hands, they are there at several.
				ambiguous = ambiguous || best.next != p.next
			}
		}
	}
	switch {
	case best == nil:
		return point{}, e.foreign(there, "the directory fits no point of the interrupted run")
	case ambiguous:
		return point{}, e.foreign(there, "the directory fits several points of the interrupted run")
	}
	return *best, nil
}

// candidate is a state of the directory at or within an action.
type candidate struct {
	holds map[string]string // name to start name
	half  bool
}

func (c candidate) fits(there map[string]bool) bool {
	for name, is := range there {
		if (c.holds[name] != "") != is {
			return false
		}
	}
	return true
}

// candidates are the states in which action i is the next: untouched, and the
// half-done ones of a replacement.
func (e *executor) candidates(i int) []candidate {
	before := e.states[i]
	list := []candidate{{holds: before}}
	if i == len(e.j.Actions) || e.j.Actions[i].Verb != doReplace {
		return list
	}
	a := e.j.Actions[i]
	if a.Keep == "" {
		return list
	}
	linked, swapped, apart := maps.Clone(before), maps.Clone(before), maps.Clone(before)
	swapped[a.From], swapped[a.To] = before[a.To], before[a.From]
	delete(apart, a.To)
	if !a.Drop {
		linked[a.Keep] = before[a.To]
		apart[a.Keep] = before[a.To]
	}
	for _, holds := range []map[string]string{linked, swapped, apart} {
		list = append(list, candidate{holds: holds, half: true})
	}
	return list
}

// compare notes what has changed against a candidate that fits by its names. It
// is false where the new file of the next replacement rules the candidate out.
func (e *executor) compare(p *point, holds map[string]string) (bool, error) {
	for _, name := range slices.Sorted(maps.Keys(holds)) {
		same, err := e.is(name, e.j.Start[holds[name]])
		if err != nil {
			return false, err
		}
		if !same {
			p.changed = append(p.changed, name)
		}
	}
	if p.next == len(e.j.Actions) || e.j.Actions[p.next].Verb != doReplace {
		return true, nil
	}
	a := e.j.Actions[p.next]
	if holds[a.To] == "" {
		return !slices.Contains(p.changed, a.From), nil
	}
	swapped, err := e.exchanged(p.next)
	if errors.Is(err, ErrForeign) {
		return false, nil
	}
	return swapped == (holds[a.To] == e.states[p.next][a.From]), err
}

// foreign is the error of a directory that does not fit the journal: what is
// there, and what to do.
func (e *executor) foreign(there map[string]bool, fact string) error {
	var have, miss []string
	for _, n := range slices.Sorted(maps.Keys(there)) {
		if there[n] {
			have = append(have, e.show(n))
		} else {
			miss = append(miss, e.show(n))
		}
	}
	return fmt.Errorf("%s: %w: %s (there: %s; not there: %s); %s says what was intended", e.dir, ErrForeign, fact,
		strings.Join(have, ", "), strings.Join(miss, ", "), journalName)
}

// spare rewrites what is left of the plan so that no changed file is discarded,
// takes up the action that is half done, and makes the rest, with the files as
// they are now, the current journal. The executor goes on with that one. It gives
// the names under which changed files are kept.
func (e *executor) spare(at point) (point, []string, error) {
	var spares []string
	j := &journal{Info: e.j.Info, ID: e.j.ID, Stage: Committed, Volumes: e.j.Volumes, Temps: e.j.Temps}
	changed := map[string]bool{}
	for _, n := range at.changed {
		changed[n] = true
	}
	names := e.names()
	keep := func(name string) (string, error) {
		kept, err := e.unused(name, keptSuffix, func(n string) bool { return names[n] })
		names[kept] = true
		if err == nil {
			spares = append(spares, kept)
		}
		return kept, err
	}
	// Follow the changed files through the names that they will have.
	where := maps.Clone(changed)
	rest := slices.Clone(e.j.Actions[at.next:])
	spared := map[string]bool{}
	for k := range rest {
		a := &rest[k]
		goes := where[a.To] // what loses its name
		if k == 0 && at.half && where[a.From] && goes != where[a.From] {
			goes = where[a.From] // exchanged already
		}
		var err error
		switch {
		case a.Verb == doReplace && goes && (a.Keep == "" || a.Drop):
			if a.Drop {
				spared[a.Keep] = true
			}
			a.Keep, err = keep(a.To)
			a.Drop = false
		case a.Verb == doMove && where[a.From] && slices.Contains(e.j.Gone, a.To):
			spared[a.To] = true
			a.To, err = keep(a.From)
		}
		if err != nil {
			return at, nil, err
		}
		moved := where[a.From]
		if a.Verb == doReplace && a.Keep != "" {
			where[a.Keep] = goes
		}
		where[a.To], where[a.From] = moved, false
	}
	for _, g := range e.j.Gone {
		if !spared[g] {
			j.Gone = append(j.Gone, g)
		}
	}
	j.Actions = rest
	if at.half {
		half := &executor{ground: e.ground, j: e.j, states: e.states}
		old := e.j.Actions[at.next]
		e.j.Actions[at.next] = rest[0]
		err := half.run(at.next)
		e.j.Actions[at.next] = old
		if err != nil {
			return at, nil, fmt.Errorf("%s: %w: %s: %w", e.dir, ErrUnfinished, old.Step, err)
		}
		j.Actions = rest[1:]
	}
	if err := j.stamp(e.ground); err != nil {
		return at, nil, err
	}
	if err := j.write(e.fsys, e.dir); err != nil {
		return at, nil, fmt.Errorf("%s: %w: %w", e.dir, ErrUnfinished, err)
	}
	next, err := newExecutor(e.ground, j)
	if err != nil {
		return at, nil, err
	}
	*e = *next
	return point{}, spares, nil
}

// stamp takes the fingerprints of all files that the actions begin with.
func (j *journal) stamp(g *ground) error {
	gone := map[string]bool{}
	for _, name := range j.Gone {
		gone[name] = true
	}
	j.Start = map[string]Fingerprint{}
	for _, a := range j.Actions {
		for _, n := range a.names() {
			if gone[n] {
				continue
			}
			print, err := fingerprint(g.fsys, g.path(n), false)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return err
			}
			j.Start[n] = print
		}
	}
	return g.tellApart(j.Start)
}
