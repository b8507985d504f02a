package reset

import (
	"path"
)

// keepState is a rule and the place in it that a directory has reached: the part
// that its children's names are to match.
type keepState struct{ rule, part int }

// keepMatcher follows rules down a tree.
type keepMatcher struct {
	rules   []Rule
	matches []int64 // names that each rule matched, those below them not counted
	idle    int     // rules that have matched nothing yet
}

func newKeepMatcher(rules []Rule) *keepMatcher {
	return &keepMatcher{rules: rules, matches: make([]int64, len(rules)), idle: len(rules)}
}

// start returns the states of the root.
func (k *keepMatcher) start() (live []keepState) {
	for i := range k.rules {
		live = k.enter(live, keepState{i, 0})
	}
	return live
}

// enter adds a state, and the one behind a "**" that stands for nothing.
func (k *keepMatcher) enter(live []keepState, s keepState) []keepState {
	parts := k.rules[s.rule].parts
	for {
		for _, have := range live {
			if have == s {
				return live
			}
		}
		live = append(live, s)
		if parts[s.part] != "**" || s.part+1 == len(parts) {
			return live
		}
		s.part++
	}
}

// step returns the states of a child, and the last of the rules that match it, or
// best where that comes later. dir tells whether it is a directory. With count
// the matches are counted.
func (k *keepMatcher) step(live []keepState, best int, name string, dir, count bool) (next []keepState, now int) {
	now = best
	for _, s := range live {
		r := &k.rules[s.rule]
		part, last := r.parts[s.part], s.part+1 == len(r.parts)
		if part != "**" {
			// That it is a pattern is known.
			if ok, _ := path.Match(part, name); !ok {
				continue
			}
		}
		if last && (dir || !r.dirOnly) {
			now = max(now, s.rule)
			if count {
				if k.matches[s.rule] == 0 {
					k.idle--
				}
				k.matches[s.rule]++
			}
		}
		switch {
		case !dir:
		case part == "**":
			next = k.enter(next, s)
		case !last:
			next = k.enter(next, keepState{s.rule, s.part + 1})
		}
	}
	return next, now
}

// keeps reports whether the rule that decides has the path kept.
func (k *keepMatcher) keeps(best int) bool { return best >= 0 && !k.rules[best].drop }

// seeks reports whether a rule that has matched nothing yet may do so below.
func (k *keepMatcher) seeks(live []keepState) bool {
	if k.idle == 0 {
		return false
	}
	for _, s := range live {
		if k.matches[s.rule] == 0 {
			return true
		}
	}
	return false
}
