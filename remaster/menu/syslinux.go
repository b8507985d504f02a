package menu

import (
	"path"
	"slices"
	"strings"
)

// statement is a line of a configuration of SYSLINUX.
type statement struct {
	// key is the keyword in lower case, of MENU with the word behind it:
	// "append", "menu label".
	key string
	// start is where the keyword begins, keyEnd where it ends.
	start, keyEnd int
	// from and to are what stands behind it, without blanks around.
	from, to int
}

// statements parts a configuration into lines. Comments, empty lines and what
// stands between TEXT and ENDTEXT are left out.
func statements(text []byte) (out []statement) {
	help := false
	for at := 0; at < len(text); {
		end := lineEnd(text, at)
		s := statement{start: at, to: end}
		at = end + 1
		for s.to > s.start && text[s.to-1] <= ' ' {
			s.to--
		}
		for s.start < s.to && text[s.start] <= ' ' {
			s.start++
		}
		if s.start == s.to || text[s.start] == '#' {
			continue
		}
		s.keyEnd = wordEnd(text, s.start, s.to)
		s.key = strings.ToLower(string(text[s.start:s.keyEnd]))
		if help {
			help = s.key != "endtext"
			continue
		}
		s.from = skipBlank(text, s.keyEnd, s.to)
		if s.key == "menu" {
			s.keyEnd = wordEnd(text, s.from, s.to)
			s.key += " " + strings.ToLower(string(text[s.from:s.keyEnd]))
			s.from = skipBlank(text, s.keyEnd, s.to)
		}
		if s.key == "text" {
			help = strings.EqualFold(string(text[s.from:wordEnd(text, s.from, s.to)]), "help")
			continue
		}
		out = append(out, s)
	}
	return out
}

func wordEnd(text []byte, at, to int) int {
	for at < to && text[at] > ' ' {
		at++
	}
	return at
}

func skipBlank(text []byte, at, to int) int {
	for at < to && text[at] <= ' ' {
		at++
	}
	return at
}

// label is an entry of a configuration of SYSLINUX.
type label struct {
	name, title *statement
	// loads is what it boots: KERNEL, LINUX, COM32 and so on; nil where the name
	// of the label is the kernel.
	loads   *statement
	initrds []*statement
	// append is the last APPEND, which counts; appends are all.
	append  *statement
	appends []*statement
	// inherits is the APPEND outside of labels that counts where it has none.
	inherits *statement
	other    bool // MENU EXIT and others that boot nothing
}

// configuration is a configuration of SYSLINUX.
type configuration struct {
	text   []byte
	all    []statement
	labels []*label
	// globals are APPENDs outside of labels.
	globals []*statement
	// depth is, by statement, how many submenus it is in.
	depth []int
}

func readConfiguration(text []byte) *configuration {
	c := &configuration{text: text, all: statements(text)}
	c.depth = make([]int, len(c.all))
	scopes := []*statement{nil} // the APPEND of each menu that is open
	var at *label
	done := func() {
		if at != nil && at.append == nil {
			at.inherits = scopes[len(scopes)-1]
		}
		at = nil
	}
	for i := range c.all {
		s := &c.all[i]
		c.depth[i] = len(scopes) - 1
		switch s.key {
		case "label":
			done()
			at = &label{name: s}
			c.labels = append(c.labels, at)
		case "menu begin":
			done()
			scopes = append(scopes, scopes[len(scopes)-1])
			c.depth[i]++
		case "menu end":
			done()
			if len(scopes) > 1 {
				scopes = scopes[:len(scopes)-1]
			}
		case "append":
			if at == nil {
				c.globals = append(c.globals, s)
				scopes[len(scopes)-1] = s
				continue
			}
			at.append, at.appends = s, append(at.appends, s)
		}
		if at == nil {
			continue
		}
		switch s.key {
		case "menu label":
			at.title = s
		case "kernel", "linux", "com32", "boot", "bss", "pxe", "fdimage", "comboot", "localboot", "config":
			at.loads = s
		case "initrd":
			at.initrds = append(at.initrds, s)
		case "menu exit", "menu quit", "menu goto", "menu separator":
			at.other = true
		}
	}
	done()
	return c
}

// word returns the first word behind a keyword.
func (c *configuration) word(s *statement) word {
	end := wordEnd(c.text, s.from, s.to)
	return word{start: s.from, end: end, value: string(c.text[s.from:end])}
}

// linux reports whether a label boots Linux.
func (c *configuration) linux(l *label) bool {
	if l.other {
		return false
	}
	if l.loads == nil {
		return len(l.initrds) > 0 || l.append != nil && slices.ContainsFunc(c.words(l.append),
			func(w word) bool { return strings.HasPrefix(w.value, "initrd=") })
	}
	image := c.word(l.loads).value
	switch l.loads.key {
	case "linux":
		return bootsLinux(image)
	case "kernel":
		// The ending tells SYSLINUX the kind of the file.
		switch strings.ToLower(path.Ext(image)) {
		case ".com", ".cbt", ".c32", ".bs", ".bin", ".bss", ".img", ".0":
			return false
		}
		return bootsLinux(image)
	}
	return false
}

// words returns the arguments behind a keyword.
func (c *configuration) words(s *statement) []word { return plainWords(c.text, s.from, s.to) }

// bootsLinux tells by the path of a kernel's image whether it is Linux. Tests
// of memory and loaders use Linux's way of booting too.
func bootsLinux(image string) bool {
	image = strings.TrimRight(strings.ToLower(image), "/")
	base := image[strings.LastIndexByte(image, '/')+1:]
	if base == "" {
		return false
	}
	for _, other := range []string{"memtest", "mtest", "mt86", "memdisk", "plpbt", "sgdisk", "lnxboot", "netboot.xyz"} {
		if strings.Contains(base, other) {
			return false
		}
	}
	switch path.Ext(base) {
	case ".lkrn", ".c32", ".com", ".cbt", ".bss", ".bs", ".0":
		return false
	}
	return true
}

// readSyslinux returns the entries of a configuration.
func readSyslinux(text []byte) (out []Entry) {
	c := readConfiguration(text)
	for _, l := range c.labels {
		if l.other || l.loads == nil && !c.linux(l) {
			continue
		}
		title := l.name
		if l.title != nil {
			title = l.title
		}
		e := Entry{Title: strings.Replace(string(c.text[title.from:title.to]), "^", "", 1)}
		if title == l.name {
			e.Title = c.word(l.name).value
		}
		a := l.append
		if a == nil {
			a = l.inherits
		}
		var words []word
		switch {
		case l.loads == nil:
			e.Kernel = c.word(l.name).value
		case l.loads.key == "kernel" && (c.linux(l) || !strings.HasSuffix(strings.ToLower(c.word(l.loads).value), ".c32")),
			l.loads.key == "linux":
			image := c.word(l.loads)
			e.Kernel = image.value
			words = plainWords(text, image.end, l.loads.to)
		default:
			a = nil
		}
		if a != nil {
			if w := c.words(a); len(w) != 1 || w[0].value != "-" {
				words = append(words, w...)
			}
		}
		for _, s := range l.initrds {
			e.Initrd = append(e.Initrd, images(string(text[s.from:s.to]))...)
		}
		for _, w := range words {
			if v, ok := strings.CutPrefix(w.value, "initrd="); ok {
				e.Initrd = append(e.Initrd, images(v)...)
				continue
			}
			e.Args = append(e.Args, quoted(w.value))
		}
		out = append(out, e)
	}
	return out
}

// images parts a list of initrds.
func images(list string) (out []string) {
	for p := range strings.SplitSeq(list, ",") {
		if p != "" {
			out = append(out, p)
		}
	}
	return out
}
