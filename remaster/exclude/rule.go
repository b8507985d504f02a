package exclude

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
)

// maxLine is the longest line of an exclude file in bytes, as mksquashfs has
// it.
const maxLine = 16384

// Rule is one exclude.
type Rule struct {
	// Pattern is the rule as the user wrote it.
	Pattern string
	// Source is where: "file:line", or "command line".
	Source string
	// Sticky rules match in every directory, not just from the root.
	Sticky bool
	// Plain rules match their bytes; no character is special.
	Plain bool

	path string // the pattern without what only introduces it
}

// String names the rule for messages.
func (r Rule) String() string { return fmt.Sprintf("%q (%s)", r.Pattern, r.Source) }

// ParsePattern reads a rule as it stands on the command line. An error names
// the source.
func ParsePattern(p, source string) (Rule, error) {
	r := Rule{Pattern: p, Source: source, path: p}
	if rest, ok := strings.CutPrefix(p, "... "); ok {
		r.Sticky, r.path = true, rest
	}
	return r.checked()
}

// Plain makes the rule that excludes one path and what is below it; no
// character of the path is special.
func Plain(path, source string) (Rule, error) {
	return Rule{Pattern: path, Source: source, Plain: true, path: path}.checked()
}

func (r Rule) checked() (Rule, error) {
	path := r.path
	for {
		short := strings.TrimPrefix(strings.TrimLeft(path, "/"), "./")
		if short == path {
			break
		}
		path = short
	}
	path = strings.TrimRight(path, "/")
	r.path = path
	fact := ""
	switch {
	case path == "" || path == ".":
		fact = "names no file"
	case path == ".." || strings.HasPrefix(path, "../"):
		fact = "leads out of the tree"
	case strings.Contains(path, "\x00"):
		fact = "holds a NUL"
	case len(path) > maxLine:
		fact = fmt.Sprintf("has more than %d bytes", maxLine)
	default:
		return r, nil
	}
	shown := r.Pattern
	if len(shown) > 80 {
		shown = shown[:80] + "…"
	}
	return Rule{}, fmt.Errorf("%s: exclude %q: %s", r.Source, shown, fact)
}

// components splits the rule's path at its slashes. That comes before anything
// else: a slash within brackets or parentheses splits too.
func (r Rule) components() []string {
	var parts []string
	for part := range strings.SplitSeq(r.path, "/") {
		if part != "" {
			parts = append(parts, part)
		}
	}
	return parts
}

// Parse reads an exclude file: one rule a line; white space before it, empty
// lines and lines that begin with '#' are skipped; one backslash at the
// beginning is dropped, so that a rule can begin with '#' or a space. name is
// the file's, for errors and for Rule.Source.
func Parse(r io.Reader, name string) ([]Rule, error) {
	var rules []Rule
	br := bufio.NewReaderSize(r, maxLine+2)
	for line := 1; ; line++ {
		text, err := br.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) || len(bytes.TrimSuffix(text, []byte("\n"))) > maxLine {
			return nil, fmt.Errorf("%s:%d: the line has more than %d bytes", name, line, maxLine)
		}
		if err != nil && err != io.EOF {
			return nil, fmt.Errorf("%s:%d: %w", name, line, err)
		}
		s := strings.TrimLeft(strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r"), " \t\n\v\f\r")
		if !strings.HasPrefix(s, "#") {
			if s = strings.TrimPrefix(s, "\\"); s != "" {
				rule, perr := ParsePattern(s, fmt.Sprintf("%s:%d", name, line))
				if perr != nil {
					return nil, perr
				}
				rules = append(rules, rule)
			}
		}
		if err == io.EOF {
			return rules, nil
		}
	}
}
