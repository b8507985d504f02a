package swap

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"

	"relive/remaster/refusal"
	"relive/remaster/say"
	"relive/tree"
)

// A run whose names lie on several file systems has one journal, and with it one
// commit point. Beside what it changes elsewhere lies a small record, which the
// journal's id ties to it. Two file systems lose and reorder what was not synced
// each for itself, so that what one has says nothing of the other but where a
// sync stands between:
//
//	1. the journal, which names the volumes, is durable
//	2. the records are durable
//	3. temporary files appear; each is in the journal first, then in the record of
//	   its volume, each durable
//	4. all that takes part is synced, each on its own file system
//	5. the records say that the commit point may be passed, durably
//	6. the journal says that it is: the commit point
//	7. the steps, each durable on its file system before the next begins
//	8. what was to go is removed, durably; then the records, durably; then the
//	   journal
//
// What a cut leaves between these, and what comes of it:
//
//	1-2  journal, no record: nothing of the run is on the volume, be it the right
//	     one or not. It is not touched, the journal goes.
//	2-6  journal (building) and record: both undo; a record that says more than the
//	     journal came before it, and no step was done.
//	6-8  journal (committed) and record: the steps are finished.
//	in 8 journal, no record: all steps are done and nothing is left to be removed.
//	     Recovery sees that they are before it removes the journal.
//	8    nothing.
//
// So a record without its journal is nothing that a cut leaves. It is there where
// somebody removed the journal, or brought a former state of its file system
// back. Where it says that no step can have been done, its temporary files are
// removed with it; where it does not, nothing tells what was done, and a person
// has to look.
//
// The record also keeps others away: a run of another base with the same overlay
// finds it there.

// part is the content of the record. Temps are relative to its directory.
type part struct {
	Info  Info     `json:"info"`
	ID    string   `json:"id"`
	Stage Stage    `json:"stage"` // Committed from before the commit point on
	Base  place    `json:"base"`  // where the journal is
	Temps []string `json:"temps,omitempty"`
}

// The names of the record, in the directory of its volume.
const (
	partName = ".relive.journal.part"
	partTemp = ".relive.journal.part.tmp"
)

const partMagic = "relive-journal-part"

func (r *part) check() error {
	switch {
	case r.Stage != Building && r.Stage != Committed:
		return fmt.Errorf("stage %q", r.Stage)
	case !validID(r.ID):
		return fmt.Errorf("id %q", r.ID)
	case len(r.Temps) > maxNames:
		return fmt.Errorf("more than %d names", maxNames)
	case !path.IsAbs(r.Base.Dir):
		return fmt.Errorf("%q is not a directory's absolute path", r.Base.Dir)
	}
	for _, p := range r.Temps {
		if err := checkOwn(p, tempSuffix); err != nil {
			return err
		}
	}
	return checkNesting(r.Temps)
}

// write makes the record of a volume the current one, durably.
func (r *part) write(fsys FS, dir string) error {
	b, err := encode(partMagic, 1, r)
	if err != nil {
		return err
	}
	return writeWhole(fsys, dir, partTemp, partName, b)
}

// readPart reads the record in a directory; nil where there is none.
func readPart(fsys FS, dir string) (*part, error) {
	b, err := readWhole(fsys, dir+"/"+partName)
	if b == nil || err != nil {
		return nil, err
	}
	return decodePart(dir+"/"+partName, b)
}

func decodePart(name string, b []byte) (*part, error) {
	r := new(part)
	if _, err := decode(name, b, partMagic, 1, r); err != nil {
		return nil, err
	}
	if err := r.check(); err != nil {
		return nil, tree.Corrupt(name, "content", "%v", err)
	}
	return r, nil
}

// attach looks, before an interrupted run is finished or undone, whether its
// volumes are there, and takes their locks where locks is not nil. Where one is not there,
// nothing is to be changed.
func (g *ground) attach(j *journal, locks *tree.Closers) error {
	for i := range g.volumes {
		v := &g.volumes[i]
		why, err := g.there(v)
		if why == nil && err == nil && locks != nil {
			var lock io.Closer
			if lock, err = g.fsys.Lock(g.path(v.Name)); err == nil {
				*locks = append(*locks, lock)
			}
		}
		if why == nil && err == nil {
			why, err = g.recognise(v, j)
		}
		if why != nil {
			err = g.missing(v, j, why)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// recognise tells the volume of a run from another that is in its place; why is
// nil where it is the right one, or may be.
func (g *ground) recognise(v *volume, j *journal) (why, err error) {
	at := g.path(v.Name)
	r, err := readPart(g.fsys, at)
	switch {
	case err != nil:
		return nil, err
	case r != nil && r.ID != j.ID:
		return fmt.Errorf("what is there takes part in another run, %s in %s", whose(r.Info), r.Base), nil
	case r != nil:
		return nil, nil
	}
	now, err := g.fsys.Filesystem(at)
	if err != nil {
		return nil, err
	}
	if was := v.Filesystem.UUID; was != "" && now.UUID != "" && now.UUID != was {
		return fmt.Errorf("what is there is %s", now), nil
	}
	v.bare = true
	return nil, nil
}

// missing is the error of a volume without which a run cannot be finished or
// undone.
func (g *ground) missing(v *volume, j *journal, why error) error {
	at := g.absolute(v.Name)
	err := fmt.Errorf("%s: %w: %s, which was at %s: %w", g.dir, ErrMissing, v.Filesystem, at, why)
	hint := fmt.Sprintf("connect it and mount it so that it is at %s again, and begin again", at)
	if uuid := v.Filesystem.UUID; uuid != "" {
		hint = fmt.Sprintf("connect it, mount it so that it is at %s again (mount UUID=%s DIR), and begin again", at, uuid)
	}
	if j.Stage == Building {
		hint += fmt.Sprintf("; if it is lost for good, remove %s", g.dir+"/"+journalName)
		for _, n := range j.Temps {
			if g.volume(n) == nil {
				hint += ", " + g.dir + "/" + n
			}
		}
	}
	return refusal.WithHint(err, hint)
}

// find is locate for a run of which a volume has no record. Then all is done and
// nothing is left to be removed there, or what is mounted is another file system. The
// names decide alone, since a system that was booted from it may have written
// into all of its files.
func (e *executor) find() (point, error) {
	at, err := e.locate()
	if err != nil && !errors.Is(err, ErrForeign) {
		return at, err
	}
	for i := range e.volumes {
		v := &e.volumes[i]
		if !v.bare {
			continue
		}
		done := err == nil && at.next == len(e.j.Actions)
		for _, name := range slices.Concat(e.j.Gone, e.j.Temps) {
			if e.volume(name) != v {
				continue
			}
			is, err := e.exists(name)
			if err != nil {
				return at, err
			}
			done = done && !is
		}
		if !done {
			return at, e.missing(v, e.j, errors.New("what is there has no record of the run"))
		}
	}
	return at, err
}

// vacant is an error where the directory of a volume, or one above it on the same
// file system, has been left by a run that was interrupted: one that has its
// journal there, or one of another base that takes part there. dir is that of
// the transaction, which has no journal.
func (g *ground) vacant(v *volume) error {
	at := g.absolute(v.Name)
	top, err := MountOf(g.fsys, at)
	if err != nil {
		return err
	}
	for d := at; ; d = path.Dir(d) {
		if err := g.vacantAt(d, d == at); err != nil {
			return err
		}
		if d == top {
			return nil
		}
	}
}

func (g *ground) vacantAt(dir string, locked bool) error {
	j, err := readJournal(g.fsys, dir)
	if err != nil {
		return err
	}
	r, err := readPart(g.fsys, dir)
	if err != nil || r == nil && j == nil {
		return err
	}
	if !locked {
		// It need not have been interrupted.
		lock, err := g.fsys.Lock(dir)
		if err != nil {
			return err
		}
		defer lock.Close()
	}
	if j != nil {
		return interrupted(dir, j)
	}
	return g.settle(dir, r)
}

// interrupted is the error of a directory with a journal.
func interrupted(dir string, j *journal) error {
	return refusal.WithHint(fmt.Errorf("%s: %w: %s", dir, ErrInterrupted, describe(j)), say.Recover+" "+dir+" finishes or undoes it")
}

// settle removes the record of a run that is undone meanwhile, with what it left
// there. It is an error where that is not so, or not known. Where g has a
// directory, that has no journal.
func (g *ground) settle(dir string, r *part) error {
	if err := g.mayRemove(dir, r); err != nil {
		return err
	}
	alone := &ground{fsys: g.fsys, dir: dir}
	if _, err := alone.remove(r.Temps); err != nil {
		return err
	}
	return drop(g.fsys, dir, partTemp, partName)
}

// mayRemove tells why settle does not remove a record.
func (g *ground) mayRemove(dir string, r *part) error {
	gone, err := g.lost(r)
	if err != nil {
		return err
	}
	if !gone {
		return refusal.WithHint(fmt.Errorf("%s: %w: %s, which takes part here, in %s", dir, ErrInterrupted, whose(r.Info), r.Base),
			fmt.Sprintf(say.Recover+" %s finishes or undoes it; if that is lost for good, look at what is in %s and then remove %s",
				tree.Quote(r.Base.Dir), dir, dir+"/"+partName))
	}
	if r.Stage == Committed {
		return refusal.WithHint(fmt.Errorf("%s: %w: %s took part here and may have been cut off after its commit point, "+
			"and its journal in %s is gone", dir, ErrForeign, whose(r.Info), r.Base),
			fmt.Sprintf("look whether what is in %s is whole, files that end in %s and %s among them; then remove %s", dir, tempSuffix,
				goneSuffix, dir+"/"+partName))
	}
	return nil
}

// lost reports whether the journal of a record is gone.
func (g *ground) lost(r *part) (bool, error) {
	if g.dir != "" {
		here, err := placeOf(g.fsys, g.dir)
		if err != nil {
			return false, err
		}
		if here.is(r.Base) {
			return true, nil
		}
	}
	there, err := placeOf(g.fsys, r.Base.Dir)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		return false, err
	}
	// By its path alone it may be another file system's.
	if there.Filesystem.UUID == "" || r.Base.Filesystem.UUID == "" || !there.is(r.Base) {
		return false, nil
	}
	j, err := readJournal(g.fsys, r.Base.Dir)
	return err == nil && (j == nil || j.ID != r.ID), err
}
