package menu

import (
	"bytes"
	"slices"
	"strings"
)

// several reports whether the kernel, or what reads its command line, takes an
// argument of that name more than once. (Linux
// Documentation/admin-guide/kernel-parameters.txt; dracut.cmdline(7);
// kernel-command-line(7) of systemd.)
func several(name string) bool {
	switch name {
	case "console", "earlycon", "earlyprintk", "memmap", "hugepages", "hugepagesz", "video", "acpi_osi", "initrd", "dyndbg",
		"module_blacklist",
		"ip", "nameserver", "bridge", "bond", "vlan", "team", "rd.route", "ifname", "netroot", "iscsi_initiator",
		"inst.addrepo", "inst.dd", "inst.ks.sendmac", "preseed", "fstab", "systemd.wants", "systemd.mask", "systemd.setenv",
		"systemd.mount-extra", "systemd.swap-extra",
		"modprobe.blacklist", "udev.event_timeout", "rootflags.add":
		return true
	}
	for _, prefix := range []string{"rd.driver.", "rd.luks", "rd.lvm.", "rd.md.", "rd.dm.", "rd.zfcp", "rd.znet", "rd.iscsi.param",
		"rd.systemd."} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return strings.HasSuffix(name, ".dyndbg")
}

// removal is what arguments are to be taken out.
type removal struct {
	names  map[string]bool // with and without a value
	valued map[string]bool // with any value
	whole  map[string]bool // just that
	globs  []string        // patterns with '*'
}

func (m *removal) none() bool { return len(m.names)+len(m.valued)+len(m.whole)+len(m.globs) == 0 }

// add takes up a pattern in canonical form.
func (m *removal) add(pattern string) {
	put := func(to *map[string]bool, s string) {
		if *to == nil {
			*to = map[string]bool{}
		}
		(*to)[s] = true
	}
	name, value, valued := strings.Cut(pattern, "=")
	switch {
	case strings.Contains(pattern, "*"):
		m.globs = append(m.globs, pattern)
	case !valued:
		put(&m.names, name)
	case value == "":
		put(&m.valued, name)
	default:
		put(&m.whole, pattern)
	}
}

// removes reports whether an argument is to be taken out. Of one with variables
// only what stands before the first one is known.
func (r *rules) removes(value string) bool {
	if r.remove.none() || value == "" || value == "--" || value == "---" {
		return false
	}
	name, _, has := strings.Cut(value, "=")
	if strings.IndexByte(name, opaque) >= 0 {
		return false
	}
	known := strings.IndexByte(value, opaque) < 0
	begins, _, _ := strings.Cut(value, "\x00")
	found := r.remove.names[name] || has && r.remove.valued[name] || known && r.remove.whole[value]
	for _, p := range r.remove.globs {
		if found {
			break
		}
		pn, pv, valued := strings.Cut(p, "=")
		switch {
		case !valued:
			found = glob(p, name)
		case pv == "":
			found = has && glob(pn, name)
		default:
			found = known && glob(p, value)
			if head, ok := strings.CutSuffix(p, "*"); ok && !known && !strings.Contains(head, "*") && pv != "*" {
				found = strings.HasPrefix(begins, head)
			}
		}
	}
	return found && !slices.Contains(r.add, value)
}

// glob reports whether a pattern in which '*' stands for any bytes matches a
// text.
func glob(pattern, s string) bool {
	first, rest, star := strings.Cut(pattern, "*")
	if !star {
		return pattern == s
	}
	s, ok := strings.CutPrefix(s, first)
	for ok {
		var piece string
		piece, rest, star = strings.Cut(rest, "*")
		if !star {
			return strings.HasSuffix(s, piece)
		}
		i := strings.Index(s, piece)
		if i < 0 {
			return false
		}
		s = s[i+len(piece):]
	}
	return false
}

// list is where arguments stand: behind a keyword or behind a kernel's path.
type list struct {
	words []word
	// base is the end of what stands before the arguments.
	base int
	// keyword tells that this is no word of its own, so that blanks behind it
	// belong to it.
	keyword bool
	// adds tells whether arguments are added here.
	adds bool
	// images tells that the value of initrd= is a list of paths on the medium.
	images bool
}

// where is what is needed to read a path in a menu.
type where struct {
	// dir is the directory that relative paths start from, empty where they
	// have no meaning, and now what it is called after the edits.
	dir, now string
}

// gluedReason is why a word is left that may hold an argument behind a variable.
const gluedReason = "what is to be removed stands behind a variable with no blank between"

// args edits a list of arguments.
func (r *rules) args(d dialect, text []byte, l list, at where) (out []splice) {
	if d == (plain{}) && len(l.words) > 0 {
		if w := l.words[len(l.words)-1]; bytes.Count(text[w.start:w.end], []byte{'"'})%2 != 0 {
			return []splice{{start: w.start, end: w.end, left: "a quote in the arguments is not closed"}}
		}
	}
	drop := make([]bool, len(l.words))
	sep := separator(l.words)
	init := len(l.words) // where the arguments of init begin
	if sep < init && l.words[sep].value == "--" {
		init = sep
	}
	var missing []string
	replaced := map[int]string{}
	if l.adds {
		missing = r.missing(l.words, init, drop, replaced)
	}
	names := r.argumentNames(l.words)
	for i := range l.words {
		w := &l.words[i]
		if drop[i] = drop[i] || replaced[i] == "" && r.removes(w.value); drop[i] {
			continue
		}
		if with, ok := r.swapped(d, w.value, names); ok && replaced[i] == "" {
			replaced[i] = with
		}
		if with, ok := replaced[i]; ok {
			if text, ok := d.whole(with); ok {
				out = append(out, splice{start: w.start, end: w.end, with: text})
			} else {
				out = append(out, splice{start: w.start, end: w.end, left: "the new argument cannot be written there"})
			}
			continue
		}
		if r.glued(w.value) {
			out = append(out, splice{start: w.start, end: w.end, left: gluedReason})
		}
		if parts := r.argument(w.value, at, l.images); len(parts) > 0 {
			out = append(out, w.replace(d, parts)...)
		}
	}
	out = append(out, dropped(text, l, drop)...)
	if len(missing) == 0 {
		return out
	}
	var b strings.Builder
	for i, m := range missing {
		text, ok := d.whole(m)
		if !ok {
			return append(out, splice{start: l.base, end: l.base, left: "the new argument cannot be written there"})
		}
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(text)
	}
	last := -1
	for i := range sep {
		if !drop[i] {
			last = i
		}
	}
	place := l.base
	with := " " + b.String()
	switch {
	case last >= 0:
		place = l.words[last].end
	case l.keyword && len(l.words) > 0:
		place = l.words[0].start
		with = b.String()
		if sep < len(l.words) {
			with += " "
		}
	}
	return append(out, splice{start: place, end: place, with: with})
}

// missing returns the arguments to be added that a list lacks, and marks words
// whose place one of them takes.
func (r *rules) missing(words []word, init int, drop []bool, replaced map[int]string) (out []string) {
	for _, a := range r.add {
		if slices.ContainsFunc(words[:init], func(w word) bool { return w.value == a }) {
			if name, _, has := strings.Cut(a, "="); has && !several(name) {
				for i := range words[:init] {
					drop[i] = drop[i] || words[i].value != a && strings.HasPrefix(words[i].value, name+"=")
				}
			}
			continue
		}
		name, _, has := strings.Cut(a, "=")
		took := false
		if has && !several(name) {
			for i := range words[:init] {
				if !strings.HasPrefix(words[i].value, name+"=") {
					continue
				}
				if took {
					drop[i] = true
				} else {
					replaced[i], took = a, true
				}
			}
		}
		if !took {
			out = append(out, a)
		}
	}
	return out
}

// glued reports whether something to be removed stands in a word behind a
// variable, so that nobody can tell whether it is an argument of its own.
func (r *rules) glued(value string) bool {
	if r.remove.none() {
		return false
	}
	name, _, _ := strings.Cut(value, "=")
	i := strings.LastIndexByte(name, opaque)
	if i < 0 {
		return false
	}
	rest := value[i+1:]
	if j := strings.IndexByte(rest, opaque); j >= 0 && !strings.Contains(rest[:j], "=") {
		return false
	}
	return r.removes(rest)
}

// dropped takes words out, each run of them with the blanks before it, or
// behind it where it is the first.
func dropped(text []byte, l list, drop []bool) (out []splice) {
	for i := 0; i < len(drop); i++ {
		if !drop[i] {
			continue
		}
		j := i
		for j+1 < len(drop) && drop[j+1] {
			j++
		}
		from, to := l.words[i].start, l.words[j].end
		switch {
		case i > 0:
			from = l.words[i-1].end
		case !l.keyword:
			from = l.base
		case j+1 < len(l.words):
			to = l.words[j+1].start
		}
		if bytes.IndexByte(text[from:to], '\n') >= 0 {
			for k := i; k <= j; k++ {
				out = append(out, splice{start: l.words[k].start, end: l.words[k].end})
			}
		} else {
			out = append(out, splice{start: from, end: to})
		}
		i = j
	}
	return out
}
