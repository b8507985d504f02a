package menu

import (
	"bytes"
	"cmp"
	"slices"
	"strings"
)

// splice puts other bytes into the place of some of a text.
type splice struct {
	start, end int
	with       string
	// line tells that with is a line end and a line, put in behind a line.
	line bool
	// left is why nothing is changed there; with has no meaning then.
	left string
}

// splices are changes of a text that do not overlap.
type splices []splice

// apply returns the text with the splices, and what changes line by line. Where
// nothing changes it gives the text itself.
func (s splices) apply(path string, text []byte) (out []byte, changes []Change) {
	slices.SortStableFunc(s, func(a, b splice) int { return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(a.end, b.end)) })
	at := 0            // how much of text is in out
	line, from := 1, 0 // a line, and where it begins
	for i := 0; i < len(s); {
		for {
			n := bytes.IndexByte(text[from:], '\n')
			if n < 0 || from+n >= s[i].start {
				break
			}
			line, from = line+1, from+n+1
		}
		// All that begin on this line, and on those that they reach into.
		end := lineEnd(text, s[i].end)
		var after []byte
		var lines, left []string
		p := from
		for ; i < len(s) && s[i].start <= end; i++ {
			c := s[i]
			if c.left != "" {
				if !slices.Contains(left, c.left) {
					left = append(left, c.left)
				}
				continue
			}
			if c.end > end {
				end = lineEnd(text, c.end)
			}
			out = append(append(out, text[at:c.start]...), c.with...)
			at = c.end
			if c.line {
				lines = append(lines, strings.TrimLeft(c.with, "\r\n"))
				continue
			}
			after = append(append(after, text[p:c.start]...), c.with...)
			p = c.end
		}
		before := withoutCR(string(text[from:end]))
		now := withoutCR(string(append(after, text[p:end]...)))
		if now != before {
			changes = append(changes, Change{File: path, Line: line, Before: before, After: now})
		}
		for _, l := range lines {
			changes = append(changes, Change{File: path, Line: line, After: l})
		}
		for _, why := range left {
			changes = append(changes, Change{File: path, Line: line, Before: before, After: before, Left: why})
		}
	}
	if out == nil {
		return text, changes
	}
	return append(out, text[at:]...), changes
}

func withoutCR(line string) string { return strings.TrimSuffix(line, "\r") }

// lineEnd returns the place of the line feed that ends the line of a place, or
// the end of the text.
func lineEnd(text []byte, at int) int {
	if n := bytes.IndexByte(text[at:], '\n'); n >= 0 {
		return at + n
	}
	return len(text)
}

// contentEnd returns the end of the line of a place without its CR LF.
func contentEnd(text []byte, at int) int {
	end := lineEnd(text, at)
	if end > at && end < len(text) && text[end-1] == '\r' {
		end--
	}
	return end
}

// newline returns the line end that the line of a place has, that of the first
// line where it is the last one and has none.
func newline(text []byte, at int) string {
	end := lineEnd(text, at)
	if end == len(text) {
		end = lineEnd(text, 0)
	}
	if end > 0 && end < len(text) && text[end-1] == '\r' {
		return "\r\n"
	}
	return "\n"
}
