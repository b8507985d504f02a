package menu

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"relive/tree"
)

// command is a command of a script of GRUB.
type command struct {
	words []word
	// block is the index of the block that it stands in, -1 outside of all, body
	// that of the block behind it, -1 for none.
	block, body int
}

// block is what stands between '{' and '}'.
type block struct {
	parent  int // -1 outside of all
	command int // what the block is the body of; -1 for none
	entry   int // the innermost block that is the body of an entry; -1 for none
}

// script is a script of GRUB, in commands.
type script struct {
	text     []byte
	commands []command
	blocks   []block
}

// maxBlocks bounds how deep blocks nest.
const maxBlocks = 1000

// readScript parts a script into commands by the rules of GRUB's lexer
// (yylex.l). It does not look at the grammar: keywords are commands of their own.
func readScript(file string, text []byte) (*script, error) {
	s := &script{text: text}
	at, depth := -1, 0 // the open block
	var words []word
	end := func() {
		for len(words) > 0 && leads(&words[0]) {
			words = words[1:]
		}
		if len(words) > 0 {
			s.commands = append(s.commands, command{words: slices.Clip(words), block: at, body: -1})
		}
		words = nil
	}
	for i := 0; i < len(text); {
		switch c := text[i]; c {
		case ' ', '\t':
			i++
		case '\r':
			// GRUB leaves these out wherever they stand.
			i++
		case '\n', ';', '&', '|', '<', '>':
			end()
			i++
		case '#':
			i = lineEnd(text, i)
		case '{':
			n := len(s.commands)
			end()
			of := -1
			if len(s.commands) > n {
				of = n
			}
			if depth++; depth > maxBlocks {
				return nil, tree.Corrupt(file, lineOf(text, i), "blocks nest deeper than %d", maxBlocks)
			}
			s.blocks = append(s.blocks, block{parent: at, command: of, entry: s.enclosing(at)})
			at = len(s.blocks) - 1
			if of >= 0 {
				s.commands[of].body = at
			}
			if of >= 0 && s.commands[of].entry() {
				s.blocks[at].entry = at
			}
			i++
		case '}':
			end()
			if at >= 0 {
				at = s.blocks[at].parent
				depth--
			}
			i++
		default:
			if n := continued(text, i); n > 0 {
				i += n
				continue
			}
			w, err := scriptWord(file, text, i)
			if err != nil {
				return nil, err
			}
			words = append(words, w)
			i = w.end
		}
	}
	end()
	return s, nil
}

// leads reports whether a word is a keyword that a command may follow.
func leads(w *word) bool {
	switch w.value {
	case "if", "then", "else", "elif", "while", "until", "do", "!":
		return w.end-w.start == len(w.value)
	}
	return false
}

// continued returns the length of a backslash and the line end that it takes
// away, or 0.
func continued(text []byte, i int) int {
	rest := text[i:]
	switch {
	case bytes.HasPrefix(rest, []byte("\\\n")):
		return 2
	case bytes.HasPrefix(rest, []byte("\\\r\n")):
		return 3
	}
	return 0
}

// scriptWord reads the word that begins at a place.
func scriptWord(file string, text []byte, start int) (word, error) {
	w := word{start: start}
	value := make([]byte, 0, 32)
	put := func(c byte, from, to int, mode quoting) {
		value = append(value, c)
		w.atoms = append(w.atoms, atom{start: uint32(from), end: uint32(to), mode: mode})
	}
	name := func(i int, mode quoting) int { // the length of a variable that begins at i, or 0
		n, length := variableAt(text[i:])
		if length > 0 {
			w.vars = append(w.vars, n)
			put(opaque, i, i+length, mode)
			w.atoms[len(w.atoms)-1].variable = true
		}
		return length
	}
	i := start
loop:
	for i < len(text) {
		switch c := text[i]; c {
		case ' ', '\t', '\n', ';', '&', '|', '<', '>', '{', '}':
			break loop
		case '\r':
			if lineEnd(text, i) == i+1 || i+1 == len(text) {
				break loop
			}
			put(c, i, i+1, bare)
			i++
		case '\'':
			n := bytes.IndexByte(text[i+1:], '\'')
			if n < 0 {
				return w, tree.Corrupt(file, lineOf(text, i), "the quote is not closed")
			}
			for k := i + 1; k < i+1+n; k++ {
				put(text[k], k, k+1, single)
			}
			i += n + 2
		case '"':
			open := i
			translated := i > start && text[i-1] == '$' && len(value) > 0 && w.atoms[len(value)-1] == atom{start: uint32(i - 1),
				end: uint32(i)}
			if translated { // $"...": the dollar is part of the quote
				value, w.atoms = value[:len(value)-1], w.atoms[:len(w.atoms)-1]
			}
			i++
			for {
				if i >= len(text) {
					return w, tree.Corrupt(file, lineOf(text, open), "the quote is not closed")
				}
				c := text[i]
				if c == '"' {
					i++
					break
				}
				if n := continued(text, i); n > 0 {
					i += n
					continue
				}
				if c == '\\' && i+1 < len(text) && (text[i+1] == '\\' || text[i+1] == '"' || text[i+1] == '$' && !translated) {
					put(text[i+1], i, i+2, double)
					i += 2
					continue
				}
				if c == '$' && !translated {
					if n := name(i, double); n > 0 {
						i += n
						continue
					}
				}
				put(c, i, i+1, double)
				i++
			}
		case '\\':
			switch n := continued(text, i); {
			case n > 0:
				i += n
			case isHexEscape(text[i:]):
				put(c, i, i+1, bare)
				i++
			case i+1 < len(text):
				put(text[i+1], i, i+2, bare)
				i += 2
			default:
				return w, tree.Corrupt(file, lineOf(text, i), "the script ends in a backslash")
			}
		case '$':
			if n := name(i, bare); n > 0 {
				i += n
				continue
			}
			put(c, i, i+1, bare)
			i++
		default:
			put(c, i, i+1, bare)
			i++
		}
	}
	w.end = i
	w.value = string(value)
	return w, nil
}

// isHexEscape reports whether a text begins with \xHH, which GRUB of Fedora, RHEL and
// their kin hands on as it is, also outside of quotes: udev's names of volumes
// have it (rhboot/grub2, "Pass \x[[:hex:]][[:hex:]] straight through
// unmolested"). Other GRUBs take the backslash away, so that no menu for them has
// it bare.
func isHexEscape[T []byte | string](text T) bool {
	return len(text) >= 4 && text[0] == '\\' && text[1] == 'x' && hexDigit(text[2]) >= 0 && hexDigit(text[3]) >= 0
}

// variableAt returns the name of the variable that a text begins with, and the
// length of what stands for it, or 0.
func variableAt(text []byte) (name string, length int) {
	if len(text) < 2 {
		return "", 0
	}
	braces := text[1] == '{'
	from := 1
	if braces {
		from = 2
	}
	to := from
	for to < len(text) && (isName(text[to]) || to > from && isDigit(text[to])) {
		to++
	}
	if to == from {
		for to < len(text) && isDigit(text[to]) {
			to++
		}
	}
	if to == from && to < len(text) && strings.IndexByte("?#*@", text[to]) >= 0 {
		to++
	}
	if to == from {
		return "", 0
	}
	name = string(text[from:to])
	if braces {
		if to == len(text) || text[to] != '}' {
			return "", 0
		}
		to++
	}
	return name, to
}

func isName(c byte) bool  { return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }
func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func lineOf(text []byte, at int) string {
	return fmt.Sprintf("line %d", bytes.Count(text[:at], []byte("\n"))+1)
}

// grubWords is the dialect of GRUB's scripts.
type grubWords struct{}

func (grubWords) inside(value string, mode quoting) (string, bool) {
	switch mode {
	case single:
		return value, !strings.Contains(value, "'")
	case double:
		return inDoubleQuotes(value), true
	}
	var b strings.Builder
	for i := 0; i < len(value); i++ {
		if strings.IndexByte(special, value[i]) >= 0 && !isHexEscape(value[i:]) {
			b.WriteByte('\\')
		}
		b.WriteByte(value[i])
	}
	return b.String(), true
}

func (grubWords) whole(value string) (string, bool) {
	switch {
	case strings.ContainsAny(value, "\n\r\x00"):
		return "", false
	case value == "":
		return "''", true
	case value[0] != '#' && !strings.ContainsAny(value, special):
		return value, true
	case !strings.Contains(value, "'"):
		return "'" + value + "'", true
	}
	return `"` + inDoubleQuotes(value) + `"`, true
}

// special are the bytes that do not stand for themselves outside of quotes.
const special = "{}|&$;<> \t\n'\"\\"

// inDoubleQuotes writes a value as it stands between double quotes; \xHH needs no
// second backslash.
func inDoubleQuotes(value string) string {
	var b strings.Builder
	for i := 0; i < len(value); i++ {
		if strings.IndexByte("\\\"$", value[i]) >= 0 && !isHexEscape(value[i:]) {
			b.WriteByte('\\')
		}
		b.WriteByte(value[i])
	}
	return b.String()
}
