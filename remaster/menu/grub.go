package menu

import (
	"slices"
	"strings"
)

// boots tells whether a command loads a kernel, by the words that GRUB and its
// menus use for it: linux, linuxefi, linux16, $linux, linux$efi.
func (c *command) boots() bool { return len(c.words) > 1 && (c.isCommand("linux") || c.isModule()) }

// isModule tells whether a command hands Linux to a hypervisor.
func (c *command) isModule() bool {
	switch c.words[0].value {
	case "module", "module2":
		for _, w := range c.words[1:] {
			if !strings.HasPrefix(w.value, "--") {
				v := strings.ToLower(w.value)
				return strings.Contains(v[strings.LastIndexByte(v, '/')+1:], "vmlinuz") || strings.Contains(v, "bzimage")
			}
		}
	}
	return false
}

// isCommand tells whether a command is of a family: its name, alone or with efi
// or 16 behind it, or a variable that is called so.
func (c *command) isCommand(family string) bool {
	w := &c.words[0]
	if w.value != "" && w.value[0] == opaque {
		return len(w.vars) > 0 && strings.Contains(strings.ToLower(w.vars[0]), family) && strings.Trim(w.value, "\x00") == ""
	}
	rest, ok := strings.CutPrefix(w.value, family)
	switch strings.Trim(rest, "\x00") {
	case "", "efi", "16", "32":
		return ok
	}
	return false
}

// image gives the index of the word that is the path of what boots, or -1.
func (c *command) image() int {
	for i := 1; i < len(c.words); i++ {
		if !strings.HasPrefix(c.words[i].value, "--") {
			return i
		}
	}
	return -1
}

// linux tells whether a command boots Linux.
func (c *command) linux() bool {
	if !c.boots() {
		return false
	}
	i := c.image()
	if i < 0 {
		return false
	}
	for _, v := range c.words[i].vars {
		if strings.Contains(strings.ToLower(v), "memtest") {
			return false
		}
	}
	v := c.words[i].value
	if strings.HasSuffix(v, "\x00") { // the name of the file is in a variable
		return true
	}
	return bootsLinux(v)
}

// assignment gives the variable that a command sets, the word that does it and
// where in the word the value begins.
func (c *command) assignment() (name string, w *word, value int, ok bool) {
	w = &c.words[0]
	if w.value == "set" && len(c.words) > 1 {
		w = &c.words[1]
	}
	name, _, ok = strings.Cut(w.value, "=")
	if !ok || name == "" || !isName(name[0]) || strings.ContainsFunc(name, func(r rune) bool { return r >= 0x80 || !isName(byte(r)) && !isDigit(byte(r)) }) {
		return "", nil, 0, false
	}
	return name, w, len(name) + 1, true
}

// entry tells whether a command opens an entry or a submenu.
func (c *command) entry() bool {
	return c.words[0].value == "menuentry" || c.words[0].value == "submenu"
}

// entryTitle gives the index of the word that is the label of an entry, or -1,
// and those of the arguments behind it.
func (c *command) entryTitle() (title int, arguments []int) {
	title = -1
	for i := 1; i < len(c.words); i++ {
		switch v := c.words[i].value; {
		case v == "--class" || v == "--users" || v == "--hotkey" || v == "--source" || v == "--id" || v == "--submenu":
			i++ // its value
		case strings.HasPrefix(v, "--"):
		case title < 0:
			title = i
		default:
			arguments = append(arguments, i)
		}
	}
	return title, arguments
}

// enclosing gives the innermost entry or submenu around a block, as the index
// of its block, or -1.
func (s *script) enclosing(b int) int {
	if b < 0 {
		return -1
	}
	return s.blocks[b].entry
}

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
}

// add takes up what a script tells: what stands as arguments of Linux, what is
// handed to an entry that uses what it is handed, and assignments.
func (f *flow) add(s *script) {
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
			if e := s.enclosing(c.block); e >= 0 && !boots[e] {
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
}

// variables follows the flow to its end.
func (f *flow) variables() *variables {
	return &variables{used: reach(f.roots, f.from), set: reach(f.literals, f.into)}
}

// reach gives what can be reached from a beginning.
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

// leading gives the variables that stand at the beginning of an argument in a
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

// bootBlocks gives the entries and submenus in which Linux is booted, and
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

func (r *rules) grub(file string, text []byte, near *surroundings) (out []splice, err error) {
	s, err := readScript(file, text)
	if err != nil {
		return nil, err
	}
	vars := near.variables
	if vars == nil {
		var f flow
		f.add(s)
		vars = f.variables()
	}
	boots := s.bootBlocks()
	d := grubWords{}
	for i := range s.commands {
		c := &s.commands[i]
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
			continue
		}
		if name, w, value, ok := c.assignment(); ok {
			e := s.enclosing(c.block)
			out = append(out, r.assigned(d, name, w, value, vars, e < 0 || boots[e])...)
			continue
		}
		out = append(out, r.others(d, c)...)
	}
	return out, nil
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

// assigned edits the value that a variable is set to.
func (r *rules) assigned(d dialect, name string, w *word, value int, vars *variables, always bool) (out []splice) {
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
			for _, p := range r.argument(arg, where{}, false) {
				parts = append(parts, part{p.from + span[0], p.to + span[0], p.with})
			}
		}
	}
	return append(out, w.replace(d, parts)...)
}

// passes tells whether an argument's value is a variable that is empty unless
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

// spans gives the ranges of a value, from a place on, that blanks part.
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

// readGRUB gives the entries of a script. A variable stands as ${name}.
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

// shown gives a word's value with its variables as ${name}.
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
