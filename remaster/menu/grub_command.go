package menu

import "strings"

// boots reports whether a command loads a kernel, by the words that GRUB and its
// menus use for it: linux, linuxefi, linux16, $linux, linux$efi.
func (c *command) boots() bool { return len(c.words) > 1 && (c.isCommand("linux") || c.isModule()) }

// isModule reports whether a command hands Linux to a hypervisor.
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

// isCommand reports whether a command is of a family: its name, alone or with efi
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

// image returns the index of the word that is the path of what boots, or -1.
func (c *command) image() int {
	for i := 1; i < len(c.words); i++ {
		if !strings.HasPrefix(c.words[i].value, "--") {
			return i
		}
	}
	return -1
}

// linux reports whether a command boots Linux.
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

// assignment returns the variable that a command sets, the word that does it and
// where in the word the value begins.
func (c *command) assignment() (name string, w *word, value int, ok bool) {
	w = &c.words[0]
	if w.value == "set" && len(c.words) > 1 {
		w = &c.words[1]
	}
	name, _, ok = strings.Cut(w.value, "=")
	if !ok || name == "" || !isName(name[0]) ||
		strings.ContainsFunc(name, func(r rune) bool { return r >= 0x80 || !isName(byte(r)) && !isDigit(byte(r)) }) {
		return "", nil, 0, false
	}
	return name, w, len(name) + 1, true
}

// entry reports whether a command opens an entry or a submenu.
func (c *command) entry() bool {
	return c.words[0].value == "menuentry" || c.words[0].value == "submenu"
}

// entryTitle returns the index of the word that is the label of an entry, or -1,
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

// enclosing returns the innermost entry or submenu around a block, as the index
// of its block, or -1.
func (s *script) enclosing(b int) int {
	if b < 0 {
		return -1
	}
	return s.blocks[b].entry
}
