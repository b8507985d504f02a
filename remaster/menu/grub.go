package menu

import (
	"slices"
	"strings"
)

// grub edits a script of GRUB.
func (r *rules) grub(file string, text []byte, near *surroundings) (out []splice, err error) {
	s, err := readScript(file, text)
	if err != nil {
		return nil, err
	}
	vars := near.variables
	if vars == nil {
		f := flow{forgets: r.forgets}
		f.add(s, keepsChoices(file))
		vars = f.variables()
	}
	boots := s.bootBlocks()
	d := grubWords{}
	var tested []string // variables of the condition that the commands stand behind
	for i := range s.commands {
		c := &s.commands[i]
		switch c.words[0].value {
		case "[", "test":
			tested = nil
			for _, w := range c.words[1:] {
				tested = append(tested, w.vars...)
			}
		case "fi":
			tested = nil
		}
		if c.linux() {
			out = append(out, r.linuxCommand(d, text, c)...)
			continue
		}
		if c.entry() {
			if title, _ := c.entryTitle(); title >= 0 {
				w := &c.words[title]
				if parts := r.relabel(w); len(parts) > 0 {
					out = append(out, w.replace(d, parts)...)
				}
			}
			if c.body >= 0 && boots[c.body] {
				out = append(out, r.handed(c)...)
			}
			continue
		}
		if vars.functions[c.words[0].value] {
			out = append(out, r.handed(c)...)
		}
		if name, w, value, ok := c.assignment(); ok {
			e := s.enclosing(c.block)
			if keepsChoices(file) && r.forgets(name, w.value[value:]) {
				out = append(out, w.replace(d, []part{{value, len(w.value), ""}})...)
				continue
			}
			out = append(out, r.assigned(d, name, w, value, vars, e < 0 || boots[e], tested)...)
			continue
		}
		out = append(out, r.others(d, c)...)
	}
	return out, nil
}

// handedReason is why an argument is left that reaches a kernel as "$1" or "$@".
const handedReason = "it is handed to what boots Linux, and its place counts there"

// handed tells of arguments to be removed that an entry or a function is given.
func (r *rules) handed(c *command) (out []splice) {
	title := -1
	if c.entry() {
		title, _ = c.entryTitle()
	}
	for i := 1; i < len(c.words); i++ {
		if i == title {
			continue
		}
		w := &c.words[i]
		for _, span := range spans(w.value, 0) {
			if r.removes(w.value[span[0]:span[1]]) {
				out = append(out, splice{start: w.start, end: w.end, left: handedReason})
				break
			}
		}
	}
	return out
}

// linuxCommand edits a command that boots Linux.
func (r *rules) linuxCommand(d dialect, text []byte, c *command) (out []splice) {
	i := c.image()
	image := &c.words[i]
	if now, ok := r.menuPath(image.value, where{}); ok {
		out = append(out, r.repath(d, image, 0, now)...)
	}
	l := list{words: c.words[i+1:], base: image.end, adds: true}
	return append(out, r.args(d, text, l, where{})...)
}

// repath puts a new path into a word from a place on, leaving what stands at
// its end alone: only there can variables be.
func (r *rules) repath(d dialect, w *word, from int, now string) []splice {
	a, b := difference(w.value[from:], now)
	return w.replace(d, []part{{from + a, from + b, now[a : len(now)-(len(w.value)-from-b)]}})
}

// unusedReason is why an argument in a variable is left.
const unusedReason = "nothing shows that the variable's text reaches a kernel"

// choiceReason is why an argument in an entry's variable is left.
const choiceReason = "it is set when someone chooses the entry, which boots nothing itself"

// assigned edits the value that a variable is set to. tested are the variables of the
// condition that it is set under.
func (r *rules) assigned(d dialect, name string, w *word, value int, vars *variables, always bool, tested []string) (out []splice) {
	v := w.value[value:]
	if v == "" {
		return nil
	}
	lower := strings.ToLower(name)
	if now, ok := r.labels[v]; ok && (strings.Contains(lower, "lab") || strings.Contains(lower, "vol")) {
		return w.replace(d, []part{{value, len(w.value), now}})
	}
	if now, ok := r.uuids[strings.ToLower(v)]; ok {
		return w.replace(d, []part{{value, len(w.value), now}})
	}
	if now, ok := r.menuPath(v, where{}); ok {
		return r.repath(d, w, value, now)
	}
	var parts []part
	used := vars.used[name]
	own := 0 // of w.vars, those before the span
	seen := 0
	for _, span := range spans(w.value, value) {
		// NAME="${NAME}arg=... " puts an argument behind those that there are.
		own += strings.Count(w.value[seen:span[0]], "\x00")
		seen = span[0]
		if span[0] == value && v[0] == opaque && own < len(w.vars) && w.vars[own] == name && len(v) > 1 {
			span[0]++
		}
		arg := w.value[span[0]:span[1]]
		drop, glued := r.removes(arg), r.glued(arg)
		if (drop || glued) && passes(w, span, vars) {
			continue
		}
		// "if [ -n "$rollback" ]; then kopts="${kopts}rollback "; fi" adds nothing where
		// nobody has chosen it.
		if drop && slices.Contains(tested, arg) && !vars.set[arg] {
			continue
		}
		switch {
		case (drop || glued) && !used:
			return []splice{{start: w.start, end: w.end, left: unusedReason}}
		case (drop || glued) && !always:
			return []splice{{start: w.start, end: w.end, left: choiceReason}}
		case glued:
			out = append(out, splice{start: w.start, end: w.end, left: gluedReason})
		case drop:
			from, to := span[0], span[1]
			if from > value && isBlank(rune(w.value[from-1])) {
				from-- // with a blank before it, which is not taken yet
				if n := len(parts); n > 0 && parts[n-1].to > from {
					from++
				}
			}
			if from == span[0] && to < len(w.value) && isBlank(rune(w.value[to])) {
				to++
			}
			parts = append(parts, part{from, to, ""})
		case used && always:
			if with, ok := r.swapped(d, arg, nil); ok {
				parts = append(parts, part{span[0], span[1], with})
				continue
			}
			for _, p := range r.argument(arg, where{}, false) {
				parts = append(parts, part{p.from + span[0], p.to + span[0], p.with})
			}
		}
	}
	return append(out, w.replace(d, parts)...)
}

// passes reports whether an argument's value is a variable that is empty unless
// someone chooses otherwise at boot, so that there is nothing to be removed.
func passes(w *word, span [2]int, vars *variables) bool {
	arg := w.value[span[0]:span[1]]
	_, v, has := strings.Cut(arg, "=")
	if !has || v == "" || strings.Trim(v, "\x00") != "" {
		return false
	}
	last := strings.Count(w.value[:span[1]], "\x00")
	for i := last - len(v); i < last; i++ {
		// A NUL of the text is opaque as well, and so the names may be fewer.
		if i >= len(w.vars) || vars.set[w.vars[i]] {
			return false
		}
	}
	return true
}

// spans returns the ranges of a value, from a place on, that blanks part.
func spans(value string, at int) (out [][2]int) {
	for at < len(value) {
		if isBlank(rune(value[at])) {
			at++
			continue
		}
		to := at
		for to < len(value) && !isBlank(rune(value[to])) {
			to++
		}
		out = append(out, [2]int{at, to})
		at = to
	}
	return out
}

// others edits volumes and paths in a command that boots nothing.
func (r *rules) others(d dialect, c *command) (out []splice) {
	switch name := c.words[0].value; {
	case name == "echo":
		return nil
	case name == "search" || strings.HasPrefix(name, "search."), name == "search_label", name == "search_fs_uuid":
		out = r.search(d, c, name)
		if out != nil {
			return out
		}
	}
	for i := 1; i < len(c.words); i++ {
		w := &c.words[i]
		from := 0
		if strings.HasPrefix(w.value, "newc:") { // initrd newc:NAME:PATH
			if k := strings.IndexByte(w.value[len("newc:"):], ':'); k >= 0 {
				from = len("newc:") + k + 1
			}
		}
		if from < len(w.value) && (w.value[from] == '/' || w.value[from] == '(') {
			if now, ok := r.menuPath(w.value[from:], where{}); ok {
				out = append(out, r.repath(d, w, from, now)...)
			}
		}
	}
	return out
}

// search edits the name of the volume that GRUB is told to look for.
func (r *rules) search(d dialect, c *command, name string) (out []splice) {
	label := name == "search.fs_label" || name == "search_label"
	uuid := name == "search.fs_uuid" || name == "search_fs_uuid"
	for i := 1; i < len(c.words); i++ {
		v := c.words[i].value
		switch {
		case v == "--label" || v == "--fs-label":
			label = true
		case v == "--fs-uuid":
			uuid = true
		case strings.HasPrefix(v, "-") && !strings.HasPrefix(v, "--"):
			label = label || strings.Contains(v, "l")
			uuid = uuid || strings.Contains(v, "u")
		}
	}
	for i := 1; i < len(c.words); i++ {
		w := &c.words[i]
		switch {
		case (w.value == "--set" || w.value == "-s") && i+1 < len(c.words) && !strings.HasPrefix(c.words[i+1].value, "-"):
			i++ // the variable
			continue
		case strings.HasPrefix(w.value, "-") || w.value == "":
			continue
		}
		now, ok := "", false
		if label {
			now, ok = r.labels[w.value]
		} else if uuid {
			now, ok = r.uuids[strings.ToLower(w.value)]
		}
		if ok {
			out = append(out, w.replace(d, []part{{0, len(w.value), now}})...)
		}
	}
	return out
}
