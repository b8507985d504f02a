package menu

import "strings"

// entryLines parts an entry of the Boot Loader Specification into its lines: a
// key, blanks, a value. It has no quotes and no line goes on in the next.
func entryLines(text []byte) (out []statement) {
	for at := 0; at < len(text); {
		end := lineEnd(text, at)
		s := statement{start: at, to: end}
		at = end + 1
		for s.to > s.start && isBlank(rune(text[s.to-1])) {
			s.to--
		}
		for s.start < s.to && isBlank(rune(text[s.start])) {
			s.start++
		}
		if s.start == s.to || text[s.start] == '#' {
			continue
		}
		s.keyEnd = s.start
		for s.keyEnd < s.to && !isBlank(rune(text[s.keyEnd])) {
			s.keyEnd++
		}
		s.key = string(text[s.start:s.keyEnd])
		s.from = s.keyEnd
		for s.from < s.to && isBlank(rune(text[s.from])) {
			s.from++
		}
		out = append(out, s)
	}
	return out
}

// entryBoots reports whether an entry boots Linux, and which line says so.
func entryBoots(text []byte, lines []statement) (loads int, linux bool) {
	loads = -1
	initrd := false
	for i, s := range lines {
		switch s.key {
		case "linux", "efi":
			loads = i
		case "initrd":
			initrd = true
		case "options":
			for _, w := range plainWords(text, s.from, s.to) {
				initrd = initrd || strings.HasPrefix(w.value, "initrd=")
			}
		}
	}
	if loads < 0 {
		return loads, false
	}
	s := lines[loads]
	// A kernel with an EFI stub may be started as a program.
	return loads, bootsLinux(string(text[s.from:s.to])) && (s.key == "linux" || initrd)
}

func (r *rules) loader(file string, text []byte) (out []splice) {
	lines := entryLines(text)
	loads, linux := entryBoots(text, lines)
	last := -1
	for i, s := range lines {
		if s.key == "options" {
			last = i
		}
	}
	for i, s := range lines {
		w := word{start: s.from, end: s.to, value: string(text[s.from:s.to])}
		switch s.key {
		case "title":
			out = append(out, w.replace(freely{}, r.relabel(&w))...)
		case "linux", "efi", "initrd", "devicetree", "uki":
			if w.value == "" {
				continue
			}
			if now, ok := r.argumentPath(w.value); ok {
				out = append(out, w.replace(freely{}, []part{{0, len(w.value), now}})...)
			}
		case "options":
			if !linux {
				continue
			}
			base := s.from
			if s.from == s.to {
				base = s.keyEnd
			}
			words := plainWords(text, s.from, s.to)
			markVariables(words)
			out = append(out, r.args(plain{}, text, list{words: words, base: base, keyword: true, adds: i == last, images: true},
				where{})...)
		}
	}
	if linux && last < 0 && len(r.add) > 0 {
		s := lines[loads]
		for _, l := range lines[loads:] {
			if l.key == "initrd" {
				s = l
			}
		}
		line := newline(text, s.start) + "options" + blanks(text, s)
		for i, a := range r.add {
			if i > 0 {
				line += " "
			}
			line += quoted(a)
		}
		end := contentEnd(text, s.start)
		out = append(out, splice{start: end, end: end, with: line, line: true})
	}
	return out
}

// blanks returns what parts "options" from its value so that it stands in the
// column of another line's value.
func blanks(text []byte, s statement) string {
	gap := text[s.keyEnd:s.from]
	if n := s.from - s.start - len("options"); n > 0 && strings.Trim(string(gap), " ") == "" {
		return strings.Repeat(" ", min(n, 40))
	}
	return " "
}

// markVariables makes the variables opaque that GRUB's reader of such entries
// puts in ("$kernelopts").
func markVariables(words []word) {
	for i := range words {
		w := &words[i]
		if strings.HasPrefix(w.value, "$") && w.atoms == nil {
			w.vars = []string{strings.Trim(w.value, "${}")}
			w.atoms = make([]atom, len(w.value))
			for k := range w.atoms {
				w.atoms[k] = atom{start: uint32(w.start + k), end: uint32(w.start + k + 1), variable: true}
			}
			w.value = strings.Repeat("\x00", len(w.value))
		}
	}
}

func readLoader(text []byte) []Entry {
	lines := entryLines(text)
	loads, linux := entryBoots(text, lines)
	if loads < 0 {
		return nil
	}
	var e Entry
	for i, s := range lines {
		value := string(text[s.from:s.to])
		switch {
		case s.key == "title":
			e.Title = value
		case i == loads && (s.key == "linux" || linux):
			e.Kernel = value
		case s.key == "initrd":
			e.Initrd = append(e.Initrd, value)
		case s.key == "options":
			for _, w := range plainWords(text, s.from, s.to) {
				if p, ok := strings.CutPrefix(w.value, "initrd="); ok && linux {
					e.Initrd = append(e.Initrd, strings.ReplaceAll(p, `\`, "/"))
					continue
				}
				e.Args = append(e.Args, quoted(w.value))
			}
		}
	}
	return []Entry{e}
}
