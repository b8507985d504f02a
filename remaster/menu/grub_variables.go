package menu

import (
	"slices"
	"strings"
)

// flow is which variables the text of others goes into, in one script or in
// several that include each other.
type flow struct {
	// roots stand as arguments of Linux.
	roots []string
	// from are, by variable, those that stand in its values as arguments.
	from map[string][]string
	// into are, by variable, those that have it anywhere in their values.
	into map[string][]string
	// literals are set to some text while the menu is shown.
	literals []string
	// functions boot Linux with what they are called with.
	functions []string
	// forgets tells which variables are emptied where choices are kept.
	forgets func(name, value string) bool
}

// add takes up what a script tells: what stands as arguments of Linux, what is
// handed to an entry that uses what it is handed, and assignments. choices tells that
// choices are kept in it.
func (f *flow) add(s *script, choices bool) {
	if f.from == nil {
		f.from, f.into = map[string][]string{}, map[string][]string{}
	}
	boots := s.bootBlocks()
	handed := map[int]bool{} // blocks whose entries are seen to
	for i := range s.commands {
		c := &s.commands[i]
		if name, w, value, ok := c.assignment(); ok {
			for _, n := range leading(w, value) {
				if isName(n[0]) {
					f.from[name] = append(f.from[name], n)
				}
			}
			if e := s.enclosing(c.block); e >= 0 && !boots[e] || choices && f.forgets(name, w.value[value:]) {
				continue
			}
			for _, n := range w.vars {
				f.into[n] = append(f.into[n], name)
			}
			for _, span := range spans(w.value, value) {
				arg := w.value[span[0]:span[1]]
				if _, v, has := strings.Cut(arg, "="); has && v != "" {
					arg = v // of name=$variable the name says nothing
				}
				if strings.Trim(arg, "\x00") != "" {
					f.literals = append(f.literals, name)
					break
				}
			}
			continue
		}
		if !c.linux() {
			continue
		}
		positional := false // "$@"
		for _, w := range c.words[c.image()+1:] {
			for _, n := range leading(&w, 0) {
				if isName(n[0]) {
					f.roots = append(f.roots, n)
				} else {
					positional = true
				}
			}
		}
		for b := c.block; positional && b >= 0 && !handed[b]; b = s.blocks[b].parent {
			handed[b] = true
			of := s.blocks[b].command
			if of >= 0 && s.commands[of].words[0].value == "function" && len(s.commands[of].words) > 1 {
				f.functions = append(f.functions, s.commands[of].words[1].value)
			}
			if of < 0 || !s.commands[of].entry() {
				continue
			}
			_, arguments := s.commands[of].entryTitle()
			for _, k := range arguments {
				for _, n := range leading(&s.commands[of].words[k], 0) {
					if isName(n[0]) {
						f.roots = append(f.roots, n)
					}
				}
			}
		}
	}
}

// variables are what the scripts of a medium tell of theirs.
type variables struct {
	// used are those whose text becomes arguments of Linux.
	used map[string]bool
	// set are those that hold some text before anyone chooses an entry.
	set map[string]bool
	// functions boot Linux with what they are called with.
	functions map[string]bool
}

// variables follows the flow to its end.
func (f *flow) variables() *variables {
	return &variables{used: reach(f.roots, f.from), set: reach(f.literals, f.into), functions: reach(f.functions, nil)}
}

// reach returns what can be reached from a beginning.
func reach(from []string, to map[string][]string) map[string]bool {
	out := map[string]bool{}
	todo := slices.Clone(from)
	for len(todo) > 0 {
		n := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if !out[n] {
			out[n] = true
			todo = append(todo, to[n]...)
		}
	}
	return out
}

// leading returns the variables that stand at the beginning of an argument in a
// word's value from a place on.
func leading(w *word, from int) (out []string) {
	at := 0 // of w.vars
	begins := true
	for i := 0; i < len(w.value); i++ {
		isVar := w.at(i).variable
		if isVar && at < len(w.vars) {
			if i >= from && begins {
				out = append(out, w.vars[at])
			}
			at++
			continue
		}
		begins = i < from || isBlank(rune(w.value[i]))
	}
	return out
}

// bootBlocks returns the entries and submenus in which Linux is booted, and
// those around them.
func (s *script) bootBlocks() map[int]bool {
	out := map[int]bool{}
	for i := range s.commands {
		c := &s.commands[i]
		if c.linux() {
			for b := c.block; b >= 0 && !out[b]; b = s.blocks[b].parent {
				out[b] = true
			}
		}
	}
	return out
}
