package manual

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// Text sets a document for a terminal of that width, in columns.
func Text(blocks []Block, width int) string {
	var b strings.Builder
	setText(&b, blocks, "", max(width, 40))
	return b.String()
}

func setText(b *strings.Builder, blocks []Block, indent string, width int) {
	for i, block := range blocks {
		if i > 0 {
			b.WriteByte('\n')
		}
		switch block.Kind {
		case Heading:
			words := PlainText(block.Text)
			if block.Level <= 2 {
				words = strings.ToUpper(words)
			}
			b.WriteString(words + "\n")
		case Paragraph:
			b.WriteString(Wrap(PlainText(block.Text), indent, indent, width))
		case Example:
			for _, line := range block.Lines {
				b.WriteString(strings.TrimRight(indent+"    "+line, " ") + "\n")
			}
		case Bullets, Numbers:
			for n, item := range block.Items {
				mark := "- "
				if block.Kind == Numbers {
					mark = strconv.Itoa(n+1) + ". "
				}
				below := indent + strings.Repeat(" ", len(mark))
				b.WriteString(Wrap(PlainText(item.Text), indent+mark, below, width))
				if len(item.More) > 0 {
					b.WriteByte('\n')
					setText(b, item.More, below, width)
				}
			}
		case Table:
			for _, row := range block.Rows {
				b.WriteString(Wrap(PlainText(row[0]), indent, indent+"  ", width))
				if rest := rowText(block.Header, row); rest != "" {
					b.WriteString(Wrap(PlainText(rest), indent+"    ", indent+"    ", width))
				}
			}
		}
	}
}

// rowText is a row of a table but for its first cell, each of the others with the
// head of its column where there are several. A column with the head "case" is for
// tests, which know the row by it.
func rowText(header, row []string) string {
	type cell struct{ head, text string }
	var cells []cell
	for i := 1; i < len(row); i++ {
		head := ""
		if i < len(header) {
			head = header[i]
		}
		if row[i] != "" && head != "case" {
			cells = append(cells, cell{head, row[i]})
		}
	}
	var parts []string
	for _, c := range cells {
		if c.head != "" && len(cells) > 1 {
			c.text = c.head + ": " + c.text
		}
		parts = append(parts, c.text)
	}
	return strings.Join(parts, ". ")
}

// PlainText is an inline text without its marks; code that holds a blank is in
// quotes.
func PlainText(text string) string {
	var b strings.Builder
	for _, s := range Spans(text) {
		if s.Style == Code && strings.Contains(s.Text, " ") {
			b.WriteString(`"` + s.Text + `"`)
		} else {
			b.WriteString(s.Text)
		}
	}
	return b.String()
}

// Wrap breaks a text into lines, of which the first begins in one way and those
// after it in another. It ends in a line feed.
func Wrap(text, first, rest string, width int) string {
	var b strings.Builder
	b.WriteString(first)
	column, begun := utf8.RuneCountInString(first), false
	for _, word := range strings.Fields(text) {
		n := utf8.RuneCountInString(word)
		if begun && column+1+n > width {
			b.WriteString("\n" + rest)
			column, begun = utf8.RuneCountInString(rest), false
		}
		if begun {
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += n
		begun = true
	}
	return strings.TrimRight(b.String(), " ") + "\n"
}
