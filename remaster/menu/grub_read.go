package menu

import "strings"

// readGRUB returns the entries of a script. A variable stands as ${name}.
func readGRUB(file string, text []byte) ([]Entry, error) {
	s, err := readScript(file, text)
	if err != nil {
		return nil, err
	}
	var out []Entry
	entryOf := map[int]int{} // by the index of the entry's block
	for b := range s.blocks {
		c := s.blocks[b].command
		if c < 0 || s.commands[c].words[0].value != "menuentry" {
			continue
		}
		e := Entry{}
		if i, _ := s.commands[c].entryTitle(); i >= 0 {
			e.Title = shown(&s.commands[c].words[i])
		}
		entryOf[b] = len(out)
		out = append(out, e)
	}
	for i := range s.commands {
		c := &s.commands[i]
		boots, initrd := c.boots() && c.image() >= 0, c.isCommand("initrd")
		if !boots && !initrd {
			continue
		}
		b := s.enclosing(c.block)
		k, ok := entryOf[b]
		if !ok {
			if boots || len(out) == 0 || b >= 0 {
				entryOf[b], k = len(out), len(out)
				out = append(out, Entry{})
			} else {
				k = len(out) - 1
			}
		}
		e := &out[k]
		if initrd {
			for _, w := range c.words[1:] {
				e.Initrd = append(e.Initrd, shown(&w))
			}
			continue
		}
		if e.Kernel != "" { // another one, in the branch of an if
			out = append(out, Entry{Title: e.Title})
			entryOf[b] = len(out) - 1
			e = &out[len(out)-1]
		}
		at := c.image()
		e.Kernel = shown(&c.words[at])
		for _, w := range c.words[at+1:] {
			e.Args = append(e.Args, quoted(shown(&w)))
		}
	}
	return out, nil
}

// shown returns a word's value with its variables as ${name}.
func shown(w *word) string {
	if len(w.vars) == 0 {
		return w.value
	}
	var b strings.Builder
	at := 0
	for i := 0; i < len(w.value); i++ {
		if !w.at(i).variable {
			b.WriteByte(w.value[i])
			continue
		}
		if at < len(w.vars) {
			b.WriteString("${" + w.vars[at] + "}")
		}
		at++
	}
	return b.String()
}
