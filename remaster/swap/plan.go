package swap

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
)

// Step is one change of names: a Replace, Move, Copy or Remove. Paths are
// relative to the live directory, with '/'; what is said of a step's names is
// checked at the point of the plan where the step stands.
type Step interface {
	fmt.Stringer
	compile(p *planner) error
}

// Replace gives New the name Target. What had that name lives on as Keep, or is
// discarded where Keep is empty. New must exist; where Target does not, New is
// just renamed. Keep must be free, or hold the same as Target.
type Replace struct{ New, Target, Keep string }

// Move renames From to To, which must be free. Files and directories alike.
type Move struct{ From, To string }

// Copy makes To, which must be free, a copy of From: a regular file, a symlink,
// or a directory of at most 65,536 of these. Mode and modification time are
// kept. The copying itself happens before the commit point, so that a full disk
// harms nothing.
type Copy struct{ From, To string }

// Remove removes a file or a directory with all below it.
type Remove struct{ Path string }

func (s Replace) String() string {
	if s.Keep == "" {
		return fmt.Sprintf("replace %s", s.Target)
	}
	return fmt.Sprintf("replace %s, keep the former as %s", s.Target, s.Keep)
}

func (s Move) String() string   { return fmt.Sprintf("rename %s to %s", s.From, s.To) }
func (s Copy) String() string   { return fmt.Sprintf("copy %s to %s", s.From, s.To) }
func (s Remove) String() string { return fmt.Sprintf("remove %s", s.Path) }

// planner turns steps into actions, following who holds which name.
type planner struct {
	fsys FS
	dir  string
	// pending are the temporary names given out; they count as there even
	// before the caller writes them.
	pending map[string]bool
	// holds says what a name holds at the present step: the name that the same
	// file had at the start, or "" where the name is free. A name that is
	// missing here has not been looked at.
	holds map[string]string
	// start are the names that exist at the start.
	start   map[string]FileInfo
	gone    []string
	copies  []pendingCopy
	actions []action
}

// pendingCopy is a copy to be made before the commit point.
type pendingCopy struct{ from, temp string }

func planError(s Step, format string, args ...any) error {
	return fmt.Errorf("%w: %s: %w", ErrPlan, s, fmt.Errorf(format, args...))
}

// compile makes the actions of all steps.
func (p *planner) compile(steps []Step) error {
	p.holds, p.start = map[string]string{}, map[string]FileInfo{}
	for _, s := range steps {
		if err := s.compile(p); err != nil {
			return err
		}
	}
	if len(p.actions) > maxActions {
		return fmt.Errorf("%w: %d of them, more than %d", ErrPlan, len(p.actions), maxActions)
	}
	names := slices.Concat(slices.Collect(maps.Keys(p.holds)), p.gone)
	if err := checkNesting(names); err != nil {
		return fmt.Errorf("%w: %w", ErrPlan, err)
	}
	return nil
}

// look gives what a name holds at the present step, "" where it is free.
func (p *planner) look(s Step, name string) (string, error) {
	if origin, ok := p.holds[name]; ok {
		return origin, nil
	}
	if err := checkPath(name); err != nil {
		return "", planError(s, "%w", err)
	}
	if err := checkParents(p.fsys, p.dir, name); err != nil {
		return "", planError(s, "%w", err)
	}
	info, err := p.fsys.Lstat(p.dir + "/" + name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		p.holds[name] = ""
		if p.pending[name] {
			p.holds[name] = name
			p.start[name] = FileInfo{Kind: Regular}
		}
	case err != nil:
		return "", planError(s, "%w", err)
	case info.Mount:
		return "", planError(s, "%s is a mount point", name)
	default:
		p.holds[name] = name
		p.start[name] = info
	}
	return p.holds[name], nil
}

// need is look for a name that has to exist.
func (p *planner) need(s Step, name string) (origin string, err error) {
	origin, err = p.look(s, name)
	if err == nil && origin == "" {
		err = planError(s, "there is no %s", name)
	}
	return origin, err
}

// free is look for a name that has to be free.
func (p *planner) free(s Step, name string) error {
	origin, err := p.look(s, name)
	if err == nil && origin != "" {
		err = planError(s, "%s exists", name)
	}
	return err
}

// checkParents refuses a name whose way leads through anything but real
// directories: a symlink could lead out of the live directory.
func checkParents(fsys FS, dir, name string) error {
	top, err := fsys.Lstat(dir + "/.")
	if err != nil {
		return err
	}
	for d := path.Dir(name); d != "."; d = path.Dir(d) {
		info, err := fsys.Lstat(dir + "/" + d)
		if err != nil {
			return err
		}
		if info.Kind != Directory {
			return fmt.Errorf("%s is a %s, not a directory", d, info.Kind)
		}
		if info.Dev != top.Dev || info.Mount {
			return fmt.Errorf("%s is another file system; names cannot change hands across it", d)
		}
	}
	return nil
}

// unused finds a free name that ends in suffix, or suffix and a number.
func unused(fsys FS, dir, name, suffix string, taken func(string) bool) (string, error) {
	for i := 1; i < 1000; i++ {
		candidate := name + suffix
		if i > 1 {
			candidate = fmt.Sprintf("%s%s.%d", name, suffix, i)
		}
		if taken(candidate) {
			continue
		}
		_, err := fsys.Lstat(dir + "/" + candidate)
		if errors.Is(err, fs.ErrNotExist) {
			return candidate, nil
		}
		if err != nil {
			return "", err
		}
	}
	return "", fmt.Errorf("%s: a thousand names ending in %s are taken", name, suffix)
}

// goneName finds the name under which something waits for its removal.
func (p *planner) goneName(name string) (string, error) {
	gone, err := unused(p.fsys, p.dir, name, goneSuffix, func(n string) bool {
		_, ok := p.holds[n]
		return ok || slices.Contains(p.gone, n)
	})
	if err == nil {
		p.gone = append(p.gone, gone)
	}
	return gone, err
}

func (s Replace) compile(p *planner) error {
	if s.New == s.Target || s.New == s.Keep || s.Target == s.Keep {
		return planError(s, "the names must differ")
	}
	origin, err := p.need(s, s.New)
	if err != nil {
		return err
	}
	old, err := p.look(s, s.Target)
	if err != nil {
		return err
	}
	var kept string
	if s.Keep != "" {
		if kept, err = p.look(s, s.Keep); err != nil {
			return err
		}
	}
	a := action{Verb: doReplace, From: s.New, To: s.Target, Keep: s.Keep, Step: s.String()}
	switch {
	case old == "" && kept != "":
		return planError(s, "%s exists, but there is no %s that it would be the former of", s.Keep, s.Target)
	case old == "":
		a.Verb, a.Keep = doMove, ""
	case kept != "":
		same, err := p.same(kept, old)
		if err != nil {
			return planError(s, "%w", err)
		}
		if !same {
			return planError(s, "%s exists and differs from %s; move or remove it first", s.Keep, s.Target)
		}
		a.Keep = ""
	}
	if old != "" {
		n, t := p.start[origin], p.start[old]
		if n.Ino != 0 && n.Ino == t.Ino && n.Dev == t.Dev {
			return planError(s, "%s and %s are the same file", s.New, s.Target)
		}
		if a.Keep == "" && (n.Kind == Directory || t.Kind == Directory) {
			// A directory cannot be renamed over: it is moved aside.
			if a.Keep, err = p.goneName(s.Target); err != nil {
				return planError(s, "%w", err)
			}
			a.Drop = true
		}
		if a.Keep != "" && !a.Drop {
			p.holds[a.Keep] = old
		}
	}
	p.holds[s.Target], p.holds[s.New] = origin, ""
	p.actions = append(p.actions, a)
	return nil
}

// same tells whether two files that exist at the start hold the same.
func (p *planner) same(a, b string) (bool, error) {
	if p.start[a].Ino != 0 && p.start[a].Ino == p.start[b].Ino && p.start[a].Dev == p.start[b].Dev {
		return true, nil
	}
	if p.start[a].Kind != p.start[b].Kind || p.start[a].Size != p.start[b].Size {
		return false, nil
	}
	if p.start[a].Kind == Directory {
		return false, nil // a fingerprint reads only part of one
	}
	x, err := fingerprint(p.fsys, p.dir+"/"+a, true)
	if err != nil {
		return false, err
	}
	y, err := fingerprint(p.fsys, p.dir+"/"+b, true)
	return x == y, err
}

// pair checks the names of a step that leads from one to another, which must be
// free, and gives what the first holds.
func (p *planner) pair(s Step, from, to string) (origin string, err error) {
	if from == to {
		return "", planError(s, "the names must differ")
	}
	if origin, err = p.need(s, from); err != nil {
		return "", err
	}
	return origin, p.free(s, to)
}

func (s Move) compile(p *planner) error {
	origin, err := p.pair(s, s.From, s.To)
	if err != nil {
		return err
	}
	p.holds[s.To], p.holds[s.From] = origin, ""
	p.actions = append(p.actions, action{Verb: doMove, From: s.From, To: s.To, Step: s.String()})
	return nil
}

func (s Copy) compile(p *planner) error {
	origin, err := p.pair(s, s.From, s.To)
	if err != nil {
		return err
	}
	temp, err := unused(p.fsys, p.dir, s.To, tempSuffix, func(n string) bool {
		_, ok := p.holds[n]
		return ok || p.pending[n]
	})
	if err != nil {
		return planError(s, "%w", err)
	}
	p.copies = append(p.copies, pendingCopy{from: origin, temp: temp})
	p.start[temp] = p.start[origin]
	p.holds[temp], p.holds[s.To] = "", temp
	p.actions = append(p.actions, action{Verb: doMove, From: temp, To: s.To, Step: s.String()})
	return nil
}

func (s Remove) compile(p *planner) error {
	origin, err := p.need(s, s.Path)
	if err != nil {
		return err
	}
	if p.start[origin].Kind == Directory {
		if err := noMounts(p.fsys, p.dir+"/"+origin, 0); err != nil {
			return planError(s, "%w", err)
		}
	}
	gone, err := p.goneName(s.Path)
	if err != nil {
		return planError(s, "%w", err)
	}
	p.holds[s.Path] = ""
	p.actions = append(p.actions, action{Verb: doMove, From: s.Path, To: gone, Step: s.String()})
	return nil
}
