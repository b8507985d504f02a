package swap

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
)

// Step is one change of names: a Replace, Move, Copy or Remove. Paths are
// relative to the live directory, with '/'; what is said of a step's names is
// checked at the point of the plan where the step stands.
type Step interface {
	fmt.Stringer
	compile(p *planner) error
	named(in func(string) string) Step
}

// Named returns a step with other names: what in makes of each. A name that is
// empty stays so.
func Named(s Step, in func(string) string) Step {
	return s.named(func(name string) string {
		if name == "" {
			return ""
		}
		return in(name)
	})
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

func (s Replace) named(in func(string) string) Step {
	return Replace{New: in(s.New), Target: in(s.Target), Keep: in(s.Keep)}
}
func (s Move) named(in func(string) string) Step   { return Move{From: in(s.From), To: in(s.To)} }
func (s Copy) named(in func(string) string) Step   { return Copy{From: in(s.From), To: in(s.To)} }
func (s Remove) named(in func(string) string) Step { return Remove{Path: in(s.Path)} }

// planner turns steps into actions, following who holds which name.
type planner struct {
	*ground
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

func (p *planner) fault(s Step, format string, args ...any) error {
	return fmt.Errorf("%w: %s: %w", ErrPlan, p.words(s), fmt.Errorf(format, args...))
}

// words is a step for people.
func (g *ground) words(s Step) string { return Named(s, g.show).String() }

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

// look returns what a name holds at the present step, "" where it is free.
func (p *planner) look(s Step, name string) (string, error) {
	if origin, ok := p.holds[name]; ok {
		return origin, nil
	}
	if err := checkPath(name); err != nil {
		return "", p.fault(s, "%w", err)
	}
	if err := p.checkOnVolumes(name); err != nil {
		return "", p.fault(s, "%w", err)
	}
	if err := p.checkParents(name); err != nil {
		return "", p.fault(s, "%w", err)
	}
	info, err := p.fsys.Lstat(p.path(name))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		p.holds[name] = ""
		if p.pending[name] {
			p.holds[name] = name
			p.start[name] = FileInfo{Kind: Regular}
		}
	case err != nil:
		return "", p.fault(s, "%w", err)
	case info.Mount:
		return "", p.fault(s, "%s is a mount point", p.show(name))
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
		err = p.fault(s, "there is no %s", p.show(name))
	}
	return origin, err
}

// free is look for a name that has to be free.
func (p *planner) free(s Step, name string) error {
	origin, err := p.look(s, name)
	if err == nil && origin != "" {
		err = p.fault(s, "%s exists", p.show(name))
	}
	return err
}

// goneName finds the name under which something waits for its removal.
func (p *planner) goneName(name string) (string, error) {
	gone, err := p.unused(name, goneSuffix, func(n string) bool {
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
		return p.fault(s, "the names must differ")
	}
	if err := p.together(s, s.New, s.Target, cmp.Or(s.Keep, s.Target)); err != nil {
		return err
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
	a := action{Verb: doReplace, From: s.New, To: s.Target, Keep: s.Keep, Step: p.words(s)}
	switch {
	case old == "" && kept != "":
		return p.fault(s, "%s exists, but there is no %s that it would be the former of", p.show(s.Keep), p.show(s.Target))
	case old == "":
		a.Verb, a.Keep = doMove, ""
	case kept != "":
		same, err := p.same(kept, old)
		if err != nil {
			return p.fault(s, "%w", err)
		}
		if !same {
			return p.fault(s, "%s exists and differs from %s; move or remove it first", p.show(s.Keep), p.show(s.Target))
		}
		a.Keep = ""
	}
	if old != "" {
		n, t := p.start[origin], p.start[old]
		if n.Ino != 0 && n.Ino == t.Ino && n.Dev == t.Dev {
			return p.fault(s, "%s and %s are the same file", p.show(s.New), p.show(s.Target))
		}
		if a.Keep == "" && (n.Kind == Directory || t.Kind == Directory) {
			// A directory cannot be renamed over: it is moved aside.
			if a.Keep, err = p.goneName(s.Target); err != nil {
				return p.fault(s, "%w", err)
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

// same reports whether two files that exist at the start hold the same.
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
	x, err := fingerprint(p.fsys, p.path(a), true)
	if err != nil {
		return false, err
	}
	y, err := fingerprint(p.fsys, p.path(b), true)
	return x == y, err
}

// pair checks the names of a step that leads from one to another, which must be
// free, and gives what the first holds.
func (p *planner) pair(s Step, from, to string) (origin string, err error) {
	if from == to {
		return "", p.fault(s, "the names must differ")
	}
	if origin, err = p.need(s, from); err != nil {
		return "", err
	}
	return origin, p.free(s, to)
}

// together refuses names that lie apart.
func (p *planner) together(s Step, names ...string) error {
	if a, b, is := p.apart(names...); is {
		return p.fault(s, "%s and %s lie on different file systems; names cannot change hands between these", p.show(a), p.show(b))
	}
	return nil
}

func (s Move) compile(p *planner) error {
	if err := p.together(s, s.From, s.To); err != nil {
		return err
	}
	origin, err := p.pair(s, s.From, s.To)
	if err != nil {
		return err
	}
	p.holds[s.To], p.holds[s.From] = origin, ""
	p.actions = append(p.actions, action{Verb: doMove, From: s.From, To: s.To, Step: p.words(s)})
	return nil
}

func (s Copy) compile(p *planner) error {
	origin, err := p.pair(s, s.From, s.To)
	if err != nil {
		return err
	}
	temp, err := p.unused(s.To, tempSuffix, func(n string) bool {
		_, ok := p.holds[n]
		return ok || p.pending[n]
	})
	if err != nil {
		return p.fault(s, "%w", err)
	}
	p.copies = append(p.copies, pendingCopy{from: origin, temp: temp})
	p.start[temp] = p.start[origin]
	p.holds[temp], p.holds[s.To] = "", temp
	p.actions = append(p.actions, action{Verb: doMove, From: temp, To: s.To, Step: p.words(s)})
	return nil
}

func (s Remove) compile(p *planner) error {
	origin, err := p.need(s, s.Path)
	if err != nil {
		return err
	}
	if p.start[origin].Kind == Directory {
		if err := noMounts(p.fsys, p.path(origin), 0); err != nil {
			return p.fault(s, "%w", err)
		}
	}
	gone, err := p.goneName(s.Path)
	if err != nil {
		return p.fault(s, "%w", err)
	}
	p.holds[s.Path] = ""
	p.actions = append(p.actions, action{Verb: doMove, From: s.Path, To: gone, Step: p.words(s)})
	return nil
}
