package menu

import (
	"bytes"
	"path"
	"slices"
	"strings"
)

// syslinux edits a configuration of SYSLINUX.
func (r *rules) syslinux(file string, text []byte, near *surroundings) (out []splice) {
	c := readConfiguration(text)
	at := r.where(file)
	edited := map[*statement]bool{}
	arguments := func(s *statement, adds bool) {
		if edited[s] {
			return
		}
		edited[s] = true
		words := c.words(s)
		if len(words) == 1 && words[0].value == "-" { // no arguments at all
			if adds && len(r.add) > 0 {
				with := make([]string, len(r.add))
				for i, a := range r.add {
					with[i] = quoted(a)
				}
				out = append(out, splice{start: words[0].start, end: words[0].end, with: strings.Join(with, " ")})
			}
			return
		}
		base := s.from
		if s.from == s.to {
			base = s.keyEnd
		}
		out = append(out, r.args(plain{}, text, list{words: words, base: base, keyword: true, adds: adds, images: true}, at)...)
	}
	for _, s := range c.globals {
		arguments(s, true)
	}
	for _, l := range c.labels {
		out = append(out, r.bootLabel(c, l, at, near, arguments)...)
	}
	for i := range c.all {
		out = append(out, r.statement(c, &c.all[i], c.depth[i], at)...)
	}
	return out
}

// bootLabel edits what boots in a label.
func (r *rules) bootLabel(c *configuration, l *label, at where, near *surroundings, arguments func(*statement, bool)) (out []splice) {
	if !c.linux(l) {
		for _, s := range l.appends {
			if slices.ContainsFunc(c.words(s), func(w word) bool { return r.removes(w.value) }) {
				out = append(out, splice{start: s.from, end: s.to, left: "the entry is not known to boot Linux"})
			}
		}
		return out
	}
	inline := false // arguments stand behind the kernel
	if l.loads != nil {
		image := c.word(l.loads)
		words := plainWords(c.text, image.end, l.loads.to)
		inline = len(words) > 0
		adds := inline && l.append == nil && l.inherits == nil
		out = append(out, r.args(plain{}, c.text, list{words: words, base: image.end, adds: adds, images: true}, at)...)
	}
	for _, s := range l.appends {
		arguments(s, s == l.append)
	}
	if l.append != nil || l.inherits != nil || inline || near.append || len(r.add) == 0 {
		return out
	}
	behind := l.loads
	if behind == nil {
		behind = l.name
	}
	key := "append"
	if k := c.text[behind.start:behind.keyEnd]; bytes.Equal(k, bytes.ToUpper(k)) {
		key = "APPEND"
	}
	begin := bytes.LastIndexByte(c.text[:behind.start], '\n') + 1
	// A carriage return in the midst of a line is blank to SYSLINUX, but ends one for
	// people and their editors.
	indent := bytes.ReplaceAll(c.text[begin:behind.start], []byte("\r"), nil)
	line := newline(c.text, behind.start) + string(indent) + key
	for _, a := range r.add {
		line += " " + quoted(a)
	}
	end := contentEnd(c.text, behind.start)
	return append(out, splice{start: end, end: end, with: line, line: true})
}

// statement edits paths and titles of one line.
func (r *rules) statement(c *configuration, s *statement, depth int, at where) []splice {
	switch s.key {
	case "initrd":
		w := word{start: s.from, end: s.to, value: string(c.text[s.from:s.to])}
		return w.replace(plain{}, r.pathList(w.value, 0, at))
	case "kernel", "linux", "com32", "boot", "bss", "pxe", "fdimage", "comboot", "config", "include", "ui", "display", "font", "kbdmap",
		"menu include", "menu background",
		"f1", "f2", "f3", "f4", "f5", "f6", "f7", "f8", "f9", "f10", "f11", "f12":
		w := c.word(s)
		if now, ok := r.menuPath(w.value, at); ok {
			return w.replace(plain{}, []part{{0, len(w.value), now}})
		}
	case "default", "ontimeout", "onerror":
		image := c.word(s)
		if strings.HasSuffix(strings.ToLower(image.value), ".c32") {
			return nil
		}
		return r.args(plain{}, c.text, list{words: plainWords(c.text, image.end, s.to), base: image.end, images: true}, at)
	case "menu title":
		if depth > 0 {
			return r.relabelRange(c, s)
		}
		if r.title == "" {
			return r.relabelRange(c, s)
		}
		if s.from == s.to {
			return []splice{{start: s.keyEnd, end: s.to, with: " " + r.title}}
		}
		return []splice{{start: s.from, end: s.to, with: r.title}}
	case "menu label":
		return r.relabelRange(c, s)
	}
	return nil
}

func (r *rules) relabelRange(c *configuration, s *statement) []splice {
	w := word{start: s.from, end: s.to, value: string(c.text[s.from:s.to])}
	return w.replace(freely{}, r.relabel(&w))
}

// freely is the dialect of text to the end of a line.
type freely struct{}

func (freely) inside(value string, _ quoting) (string, bool) { return value, true }
func (freely) whole(value string) (string, bool)             { return value, true }

// where returns the directory of a menu, before and after the edits.
func (r *rules) where(file string) where {
	file = rooted(file)
	now := file
	if p, ok := r.path(file); ok {
		now = p
	}
	return where{dir: path.Dir(file), now: path.Dir(now)}
}
