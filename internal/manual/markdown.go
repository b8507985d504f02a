package manual

import (
	"regexp"
	"strings"
)

// Kind is the kind of a Block.
type Kind int

// The kinds of blocks.
const (
	Heading   Kind = iota // Level 1 is the title, 2 a section, 3 a part of one
	Paragraph             // Text
	Bullets               // Items
	Numbers               // Items, counted from 1
	Example               // Lines, as they are
	Table                 // Header and Rows
)

// Block is a part of a document. Texts are inline Markdown in one line.
type Block struct {
	Kind   Kind
	Level  int
	Text   string
	Items  []Item
	Lines  []string
	Header []string
	Rows   [][]string
}

// Item is an entry of a list, with what stands below it.
type Item struct {
	Text string
	More []Block
}

var (
	bullet = regexp.MustCompile(`^[-*] +`)
	number = regexp.MustCompile(`^[0-9]+\. +`)
	rule   = regexp.MustCompile(`^\|[-:| ]+\|$`)
)

// Parse reads a document.
func Parse(text string) []Block {
	return parse(strings.Split(strings.TrimRight(text, "\n"), "\n"))
}

// Prose reads a text that has paragraphs, and examples that are indented by two
// blanks, and no other marks.
func Prose(text string) (out []Block) {
	for _, part := range strings.Split(strings.TrimSpace(text), "\n\n") {
		lines := strings.Split(part, "\n")
		if strings.HasPrefix(part, "  ") {
			for i := range lines {
				lines[i] = strings.TrimPrefix(lines[i], "  ")
			}
			out = append(out, Block{Kind: Example, Lines: lines})
			continue
		}
		out = append(out, Block{Kind: Paragraph, Text: Literal(strings.Join(strings.Fields(part), " "))})
	}
	return out
}

func parse(lines []string) (out []Block) {
	for i := 0; i < len(lines); {
		line := lines[i]
		switch trimmed := strings.TrimSpace(line); {
		case trimmed == "":
			i++
		case strings.HasPrefix(trimmed, "```"):
			var b Block
			b, i = fenced(lines, i)
			out = append(out, b)
		case strings.HasPrefix(line, "    "):
			b := Block{Kind: Example}
			for ; i < len(lines) && (strings.HasPrefix(lines[i], "    ") || strings.TrimSpace(lines[i]) == ""); i++ {
				b.Lines = append(b.Lines, strings.TrimPrefix(lines[i], "    "))
			}
			b.Lines = trimEnd(b.Lines)
			out = append(out, b)
		case strings.HasPrefix(trimmed, "#"):
			words := strings.TrimLeft(trimmed, "#")
			out = append(out, Block{Kind: Heading, Level: len(trimmed) - len(words), Text: strings.TrimSpace(words)})
			i++
		case strings.HasPrefix(trimmed, "|"):
			var b Block
			b, i = table(lines, i)
			out = append(out, b)
		case bullet.MatchString(line), number.MatchString(line):
			var b Block
			b, i = list(lines, i)
			out = append(out, b)
		default:
			var words []string
			for ; i < len(lines) && isProse(lines[i]); i++ {
				words = append(words, strings.TrimSpace(lines[i]))
			}
			if words == nil { // what no rule takes is prose
				words = append(words, trimmed)
				i++
			}
			out = append(out, Block{Kind: Paragraph, Text: strings.Join(words, " ")})
		}
	}
	return out
}

func isProse(line string) bool {
	t := strings.TrimSpace(line)
	return t != "" && !strings.HasPrefix(t, "```") && !strings.HasPrefix(t, "#") && !strings.HasPrefix(t, "|") &&
		!bullet.MatchString(line) && !number.MatchString(line)
}

func trimEnd(lines []string) []string {
	for len(lines) > 0 && strings.TrimSpace(lines[len(lines)-1]) == "" {
		lines = lines[:len(lines)-1]
	}
	return lines
}

func fenced(lines []string, i int) (Block, int) {
	b := Block{Kind: Example}
	indent := len(lines[i]) - len(strings.TrimLeft(lines[i], " "))
	for i++; i < len(lines) && !strings.HasPrefix(strings.TrimSpace(lines[i]), "```"); i++ {
		line := lines[i]
		for n := 0; n < indent && strings.HasPrefix(line, " "); n++ {
			line = line[1:]
		}
		b.Lines = append(b.Lines, line)
	}
	return b, i + 1
}

func table(lines []string, i int) (Block, int) {
	b := Block{Kind: Table}
	for ; i < len(lines) && strings.HasPrefix(strings.TrimSpace(lines[i]), "|"); i++ {
		line := strings.TrimSpace(lines[i])
		if rule.MatchString(line) {
			continue
		}
		if row := cells(line); b.Header == nil {
			b.Header = row
		} else {
			b.Rows = append(b.Rows, row)
		}
	}
	return b, i
}

// cells are those of a row. A bar that belongs to a text has a backslash before it.
func cells(line string) (out []string) {
	line = strings.TrimSuffix(strings.TrimPrefix(line, "|"), "|")
	for _, c := range strings.Split(strings.ReplaceAll(line, `\|`, "\x00"), "|") {
		out = append(out, strings.ReplaceAll(strings.TrimSpace(c), "\x00", "|"))
	}
	return out
}

func list(lines []string, i int) (Block, int) {
	b := Block{Kind: Bullets}
	mark := bullet
	if number.MatchString(lines[i]) {
		b.Kind, mark = Numbers, number
	}
	for i < len(lines) && mark.MatchString(lines[i]) {
		first := mark.FindString(lines[i])
		own := []string{lines[i][len(first):]}
		for i++; i < len(lines); i++ {
			rest, in := strings.CutPrefix(lines[i], strings.Repeat(" ", len(first)))
			if strings.TrimSpace(lines[i]) == "" {
				if i+1 == len(lines) || !strings.HasPrefix(lines[i+1], strings.Repeat(" ", len(first))) {
					break
				}
			} else if !in {
				break
			}
			own = append(own, rest)
		}
		item := Item{}
		if parts := parse(own); len(parts) > 0 && parts[0].Kind == Paragraph {
			item.Text, item.More = parts[0].Text, parts[1:]
		} else {
			item.More = parts
		}
		b.Items = append(b.Items, item)
		for i < len(lines) && strings.TrimSpace(lines[i]) == "" && i+1 < len(lines) && mark.MatchString(lines[i+1]) {
			i++
		}
	}
	return b, i
}

// Style is how a Span is set.
type Style int

// The styles of spans.
const (
	Plain Style = iota
	Code
	Stress
	Strong
)

// Span is a piece of a line in one style.
type Span struct {
	Style Style
	Text  string
}

var inline = regexp.MustCompile("(`[^`]+`)|(\\*\\*[^*]+\\*\\*)|(\\*[^* ][^*]*\\*)|(\\[[^\\]]+\\]\\([^)]+\\))")

// literal begins a text in which no sign means anything.
const literal = "\x01"

// Literal makes an inline text of one in which no sign means anything.
func Literal(text string) string { return literal + text }

// Spans splits an inline text. Of a link its words remain, and its address where
// that leads out of the documents.
func Spans(text string) (out []Span) {
	if words, ok := strings.CutPrefix(text, literal); ok {
		return []Span{{Plain, words}}
	}
	plain := func(s string) {
		if s != "" {
			out = append(out, Span{Plain, s})
		}
	}
	for text != "" {
		at := inline.FindStringIndex(text)
		if at == nil {
			break
		}
		plain(text[:at[0]])
		switch found := text[at[0]:at[1]]; {
		case found[0] == '`':
			out = append(out, Span{Code, strings.Trim(found, "`")})
		case strings.HasPrefix(found, "**"):
			out = append(out, Span{Strong, strings.Trim(found, "*")})
		case found[0] == '*':
			out = append(out, Span{Stress, strings.Trim(found, "*")})
		default:
			words, address, _ := strings.Cut(strings.TrimSuffix(found[1:], ")"), "](")
			out = append(out, Spans(words)...)
			if strings.Contains(address, "://") && address != words {
				plain(" <" + address + ">")
			}
		}
		text = text[at[1]:]
	}
	plain(text)
	return out
}
