package manual

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// Page is a page of the manual.
type Page struct {
	Name    string // as it is called with man: relive-compact
	Section int
	Short   string // what it is, in a line
	Date    time.Time
	Version string
	b       strings.Builder
}

// Begin writes the head of the page, and the section NAME.
func (p *Page) Begin() {
	p.line(fmt.Sprintf(".Dd %s", p.Date.UTC().Format("January 2, 2006")))
	p.line(fmt.Sprintf(".Dt %s %d", strings.ToUpper(p.Name), p.Section))
	p.line(".Os relive " + p.Version)
	p.line(".Sh NAME")
	p.line(".Nm " + p.Name)
	p.line(".Nd " + escape(p.Short))
}

// String is the page.
func (p *Page) String() string { return p.b.String() }

func (p *Page) line(s string) { p.b.WriteString(s + "\n") }

// Heading begins a section; names are in capitals.
func (p *Page) Heading(name string) { p.line(".Sh " + escape(strings.ToUpper(name))) }

// Part begins a part of a section.
func (p *Page) Part(name string) { p.line(".Ss " + escape(name)) }

// Macro writes a line of mdoc as it is.
func (p *Page) Macro(line string) { p.line(line) }

// Words writes an inline text in lines of its own.
func (p *Page) Words(text string) { p.lines(Spans(text)) }

// lines writes spans, one sentence or so a line as mdoc has it: a line breaks
// after the end of a sentence.
func (p *Page) lines(spans []Span) {
	var b strings.Builder
	for _, s := range spans {
		words := escape(s.Text)
		switch s.Style {
		case Code, Strong:
			words = `\fB` + words + `\fP`
		case Stress:
			words = `\fI` + words + `\fP`
		}
		b.WriteString(words)
	}
	for _, line := range strings.Split(sentences(b.String()), "\n") {
		for _, part := range folded(strings.TrimSpace(line)) {
			if strings.HasPrefix(part, ".") || strings.HasPrefix(part, "'") {
				part = `\&` + part
			}
			p.line(part)
		}
	}
}

// folded breaks a line of source where it is long, which means nothing to who
// reads the page.
func folded(line string) (out []string) {
	const most = 78
	for len(line) > most {
		at := strings.LastIndexByte(line[:most], ' ')
		if at <= 0 {
			if at = strings.IndexByte(line, ' '); at < 0 {
				break
			}
		}
		out, line = append(out, line[:at]), line[at+1:]
	}
	return append(out, line)
}

// sentences breaks after the end of each.
func sentences(s string) string {
	for _, end := range []string{". ", "? ", "! "} {
		s = strings.ReplaceAll(s, end, end[:1]+"\n")
	}
	return s
}

// escape gives text its form in roff.
func escape(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '\\':
			b.WriteString(`\e`)
		case r == '-':
			b.WriteString(`\-`)
		case r == '~':
			b.WriteString(`\(ti`)
		case r == '^':
			b.WriteString(`\(ha`)
		case r == '`':
			b.WriteString(`\(ga`)
		case r == '\'':
			b.WriteString(`\(aq`)
		case r >= utf8.RuneSelf:
			fmt.Fprintf(&b, `\[u%04X]`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// argument is text as the argument of a macro.
func argument(s string) string {
	return `"` + strings.ReplaceAll(escape(s), `"`, `\(dq`) + `"`
}

// Blocks writes a document, without its title, behind a heading.
func (p *Page) Blocks(blocks []Block) { p.blocks(blocks, true) }

// blocks writes a document; after tells that nothing stands before that a paragraph
// would have to be set apart from.
func (p *Page) blocks(blocks []Block, after bool) {
	for _, b := range blocks {
		switch b.Kind {
		case Heading:
			switch b.Level {
			case 1:
				continue
			case 2:
				p.Heading(PlainText(b.Text))
			default:
				p.Part(PlainText(b.Text))
			}
			after = true
			continue
		case Paragraph:
			if !after {
				p.line(".Pp")
			}
			p.Words(b.Text)
		case Example:
			p.Example(b.Lines)
		case Bullets, Numbers:
			p.items(b)
		case Table:
			p.table(b)
		}
		after = false
	}
}

// Example writes lines as they are.
func (p *Page) Example(lines []string) {
	p.line(".Bd -literal -offset indent")
	for _, line := range lines {
		line = escape(strings.TrimRight(line, " "))
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, `\(aq`) {
			line = `\&` + line
		}
		p.line(line)
	}
	p.line(".Ed")
}

func (p *Page) items(b Block) {
	kind := "-bullet"
	if b.Kind == Numbers {
		kind = "-enum"
	}
	p.line(".Bl " + kind)
	for _, item := range b.Items {
		p.line(".It")
		if item.Text != "" {
			p.Words(item.Text)
		}
		p.blocks(item.More, item.Text == "")
	}
	p.line(".El")
}

// table writes the rows as a list, since few terminals are wide enough.
func (p *Page) table(b Block) {
	p.line(".Bl -tag -width Ds")
	for _, row := range b.Rows {
		p.Term(PlainText(row[0]))
		if rest := rowText(b.Header, row); rest != "" {
			p.Words(rest)
		}
	}
	p.line(".El")
}

// Term begins an entry of a list with a text.
func (p *Page) Term(text string) { p.line(".It " + argument(text)) }
