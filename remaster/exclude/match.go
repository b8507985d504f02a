package exclude

// maxName is the longest name that a file system holds, in bytes. Patterns with
// groups match no longer one.
const maxName = 255

// match reports whether the pattern matches all of the name.
func (p pattern) match(name string) bool {
	if !p.grouped() {
		return p.matchSimple(name)
	}
	if len(name) > maxName {
		return false
	}
	m := newMatcher(name)
	return m.has(m.ends(p, nil, m.none)[0], len(name))
}

// matchSimple matches a pattern without groups. It returns to the last star
// only, which is enough, so its time is at most len(p) * len(name).
func (p pattern) matchSimple(name string) bool {
	hidden := len(name) > 0 && name[0] == '.'
	i, n := 0, 0
	backI, backN := -1, 0
	for i < len(p) || n < len(name) {
		if i < len(p) {
			it := &p[i]
			switch {
			case it.kind == star:
				if n == 0 && hidden {
					return false
				}
				if n += it.skip; n > len(name) {
					return false
				}
				i++
				backI, backN = i, n
				continue
			case n < len(name) && it.takes(name[n]) && !(n == 0 && hidden && it.kind != literal):
				i++
				n++
				continue
			}
		}
		if backI < 0 || backN >= len(name) {
			return false
		}
		backN++
		i, n = backI, backN
	}
	return true
}

// matcher matches patterns with groups. Instead of trying ways through the
// name one after another, it computes for each element of the pattern, from the
// last to the first, where a match that begins at a place of the name can end;
// this takes a time that is polynomial, whatever the nesting.
type matcher struct {
	name  string
	words int   // of a set of places
	none  table // that of the empty pattern
}

func newMatcher(name string) *matcher {
	m := &matcher{name: name, words: (len(name) + 64) / 64}
	m.none = m.newTable()
	for i := range m.none {
		m.add(m.none[i], i)
	}
	return m
}

// places is a set of places 0..len(name) in the name.
type places []uint64

// table has for each place where something begins the places where it can end.
type table []places

func (m *matcher) newTable() table {
	n := len(m.name) + 1
	all := make(places, n*m.words)
	t := make(table, n)
	for i := range t {
		t[i] = all[i*m.words : (i+1)*m.words]
	}
	return t
}

func (m *matcher) has(s places, i int) bool { return s[i>>6]&(1<<(i&63)) != 0 }
func (m *matcher) add(s places, i int)      { s[i>>6] |= 1 << (i & 63) }
func (m *matcher) or(s, t places) {
	for k := range s {
		s[k] |= t[k]
	}
}

// ends is the table of the pattern p followed by what has the table after;
// next is the item that follows p, nil at the end of the pattern.
func (m *matcher) ends(p pattern, next *item, after table) table {
	for k := len(p) - 1; k >= 0; k-- {
		it := &p[k]
		switch it.kind {
		case star:
			after = m.star(it, next, after)
		case group:
			after = m.group(it, next, after)
		default:
			after = m.byte(it, after)
		}
		next = it
	}
	return after
}

// guarded reports whether place i is a leading dot.
func (m *matcher) guarded(i int) bool {
	return i == 0 && len(m.name) > 0 && m.name[0] == '.'
}

func (m *matcher) byte(it *item, after table) table {
	t := m.newTable()
	for i := range len(m.name) {
		if it.takes(m.name[i]) && !(m.guarded(i) && it.kind != literal) {
			copy(t[i], after[i+1])
		}
	}
	return t
}

func (m *matcher) star(it, next *item, after table) table {
	// fnmatch tries a group after a star at every byte, but not at the end.
	strict := next != nil && next.kind == group && (next.b == '@' || next.b == '+' || next.b == '!')
	t := m.newTable()
	sum := make(places, m.words)
	for i := len(m.name) - it.skip; i >= 0; i-- {
		// sum is what can be reached from any place at or after i+skip.
		from := i + it.skip
		m.or(sum, after[from])
		if strict {
			sum[from>>6] &^= 1 << (from & 63)
		}
		switch {
		case !m.guarded(i):
			copy(t[i], sum)
		case it.skip == 0 && !strict && m.has(after[0], 0):
			m.add(t[0], 0) // before a leading dot a star still takes nothing
		}
	}
	return t
}

func (m *matcher) group(it, next *item, after table) table {
	t := m.newTable()
	switch it.b {
	case '?', '@':
		// The rest of the pattern is read on behind each alternative.
		for _, a := range it.alts {
			m.orTable(t, m.ends(a, next, after))
		}
		if it.b == '?' {
			m.orTable(t, after)
		}
	case '*', '+':
		once := m.alone(it)
		for i := len(m.name); i >= 0; i-- {
			for j := i; j <= len(m.name); j++ {
				if !m.has(once[i], j) {
					continue
				}
				m.or(t[i], after[j])
				if j > i {
					m.or(t[i], t[j])
				}
			}
			if it.b == '*' {
				m.or(t[i], after[i])
			}
		}
	case '!':
		once := m.alone(it)
		for i := range t {
			for j := i; j <= len(m.name); j++ {
				if !m.has(once[i], j) {
					m.or(t[i], after[j])
				}
			}
		}
	}
	return t
}

// alone is the table of a group's alternatives with nothing behind them.
func (m *matcher) alone(it *item) table {
	t := m.newTable()
	for _, a := range it.alts {
		m.orTable(t, m.ends(a, nil, m.none))
	}
	return t
}

func (m *matcher) orTable(t, u table) {
	for i := range t {
		m.or(t[i], u[i])
	}
}
