package menu

import (
	"fmt"
	"slices"
	"strings"
)

// opaque stands in the value of a word for what is not known before the boot: a
// variable. A NUL in a text is taken for the same, and so never matched.
const opaque = 0

// quoting is how a byte of a word is quoted where it stands.
type quoting uint8

// The quotings. The kernel's arguments know bare and double alone.
const (
	bare quoting = iota
	single
	double
)

// atom is one byte of a word's value and where it stands.
type atom struct {
	start, end uint32
	mode       quoting
	// variable tells that it is a variable, which is one opaque byte.
	variable bool
}

// word is an argument as it stands in a text.
type word struct {
	start, end int // in the text, with quotes
	// value is what it means, without quotes; opaque where a variable stands.
	value string
	// atoms are those of value, byte by byte; nil where value stands in the text
	// as it is.
	atoms []atom
	// vars are the names of the variables, in order.
	vars []string
}

// dialect is how words are written.
type dialect interface {
	// inside writes a value within a word, in the quoting that is there; ok is
	// false where that cannot hold it.
	inside(value string, mode quoting) (text string, ok bool)
	// whole writes a word; ok is false where none has that value.
	whole(value string) (text string, ok bool)
}

func (w *word) at(i int) atom {
	if w.atoms == nil {
		return atom{start: uint32(w.start + i), end: uint32(w.start + i + 1), mode: bare}
	}
	return w.atoms[i]
}

// part is a range of a word's value that becomes another.
type part struct {
	from, to int
	with     string
}

// replace returns the splices that put other values into the place of parts of
// the word, which are in order and not empty, by as small changes as the quotes
// allow. Variables in a part go with it.
func (w *word) replace(d dialect, parts []part) []splice {
	out := make([]splice, 0, len(parts))
	for _, p := range parts {
		first, last := w.at(p.from), w.at(p.to-1)
		together := true
		for i := p.from + 1; i < p.to && together; i++ {
			together = w.at(i).mode == first.mode && w.at(i).start == w.at(i-1).end
		}
		if together {
			if text, ok := d.inside(p.with, first.mode); ok {
				out = append(out, splice{start: int(first.start), end: int(last.end), with: text})
				continue
			}
		}
		var b strings.Builder
		at := 0
		for _, p := range parts {
			b.WriteString(w.value[at:p.from] + p.with)
			at = p.to
		}
		b.WriteString(w.value[at:])
		text, ok := d.whole(b.String())
		if !ok || strings.IndexByte(b.String(), opaque) >= 0 {
			return []splice{{start: w.start, end: w.end, left: "the quotes and variables of the word do not allow it"}}
		}
		return []splice{{start: w.start, end: w.end, with: text}}
	}
	return out
}

// plain is the dialect of the kernel itself, which SYSLINUX and the Boot Loader
// Specification hand arguments on to as they are: blanks part them, but for
// those within double quotes (Linux lib/cmdline.c, next_arg).
type plain struct{}

func (plain) inside(value string, mode quoting) (string, bool) {
	return value, !strings.ContainsRune(value, '"') && (mode == double || !strings.ContainsFunc(value, isBlank))
}

func (plain) whole(value string) (string, bool) {
	if strings.ContainsAny(value, "\"\n\r\x00") {
		return "", false
	}
	return quoted(value), value != ""
}

// quoted writes an argument as the kernel reads it.
func quoted(value string) string {
	if !strings.ContainsFunc(value, isBlank) {
		return value
	}
	if name, v, ok := strings.Cut(value, "="); ok && !strings.ContainsFunc(name, isBlank) {
		return name + `="` + v + `"`
	}
	return `"` + value + `"`
}

func isBlank(r rune) bool { return r == ' ' || r == '\t' || r == '\r' || r == '\v' || r == '\f' }

// plainWords parts a range of a text into the kernel's arguments.
func plainWords(text []byte, from, to int) (words []word) {
	for at := from; at < to; {
		if isBlank(rune(text[at])) {
			at++
			continue
		}
		w := word{start: at}
		inside, any := false, false
		for ; at < to && (inside || !isBlank(rune(text[at]))); at++ {
			if text[at] == '"' {
				inside, any = !inside, true
			}
		}
		w.end = at
		w.value = string(text[w.start:w.end])
		if any {
			w.unquote(text)
		}
		words = append(words, w)
	}
	return words
}

// unquote takes the double quotes out of the word's value.
func (w *word) unquote(text []byte) {
	value := make([]byte, 0, w.end-w.start)
	w.atoms = make([]atom, 0, w.end-w.start)
	mode := bare
	for i := w.start; i < w.end; i++ {
		if text[i] == '"' {
			mode = double - mode
			continue
		}
		value = append(value, text[i])
		w.atoms = append(w.atoms, atom{start: uint32(i), end: uint32(i + 1), mode: mode})
	}
	w.value = string(value)
}

// canonical returns an argument's value without quotes, as words have it.
func canonical(arg string) (string, error) {
	if err := oneLine("argument", arg); err != nil {
		return "", err
	}
	words := plainWords([]byte(arg), 0, len(arg))
	switch {
	case len(words) != 1 || words[0].value == "":
		return "", fmt.Errorf("%w: %q is not one argument of a kernel", ErrEdits, arg)
	case strings.Count(arg, `"`)%2 != 0:
		return "", fmt.Errorf("%w: the argument %q has a quote that is not closed", ErrEdits, arg)
	}
	return words[0].value, nil
}

// separator returns the index of the first "--" or "---" among words, or their
// number.
func separator(words []word) int {
	if i := slices.IndexFunc(words, func(w word) bool { return w.value == "--" || w.value == "---" }); i >= 0 {
		return i
	}
	return len(words)
}
