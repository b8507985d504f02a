package reset

import (
	"bufio"
	"embed"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"relive/remaster/refusal"
	"relive/remaster/say"
)

// Rule tells of paths that a reset keeps, or with '!' before it that it does
// not. The last rule that matches a path, or a directory above it, decides.
//
// A pattern is a path from the root of the system, whose parts are shell
// patterns: '*' is any number of bytes in a name, '?' one character, [...] one of
// a set, a backslash takes a meaning away; a leading dot is nothing special. A
// part that is "**" stands for any number of directories, as the last part for
// all that is below. A slash at the end asks for a directory.
type Rule struct {
	// Pattern is the rule as it was written, Source where: "--keep", "FILE:line",
	// "preset NAME".
	Pattern string `json:"pattern"`
	Source  string `json:"source"`

	drop    bool
	dirOnly bool
	preset  bool
	parts   []string
}

// maxKeepLine is the longest line of a file of rules, in bytes.
const maxKeepLine = 16384

// ParseRule reads a rule.
func ParseRule(pattern, source string) (Rule, error) {
	r := Rule{Pattern: pattern, Source: source}
	p := pattern
	if rest, ok := strings.CutPrefix(p, "!"); ok {
		r.drop, p = true, rest
	}
	r.dirOnly = strings.HasSuffix(p, "/")
	fail := func(fact string) (Rule, error) {
		return Rule{}, refusal.WithHint(refusal.Option(fmt.Errorf("%s: %.80q %s", source, pattern, fact)),
			"a pattern is a path from the root of the system, as /etc/ssh/ssh_host_* or /home/**/.ssh")
	}
	if len(pattern) > maxKeepLine {
		return fail("is too long")
	}
	for part := range strings.SplitSeq(p, "/") {
		switch {
		case part == "" || part == ".":
			continue
		case part == "..":
			return fail("leads upwards")
		case part == "**" && len(r.parts) > 0 && r.parts[len(r.parts)-1] == "**":
			continue
		}
		if _, err := path.Match(part, ""); err != nil {
			return fail("is not a pattern")
		}
		r.parts = append(r.parts, part)
	}
	switch {
	case len(r.parts) == 0:
		return fail("names no file")
	case len(r.parts) > maxKeepParts:
		return fail("has too many parts")
	}
	return r, nil
}

// maxKeepParts bounds the parts of a pattern, and maxKeepRules their number.
const (
	maxKeepParts = 512
	maxKeepRules = 100_000
)

// ReadRules reads a file of rules: one a line. Empty lines and lines that begin
// with '#' are skipped; a backslash at the beginning takes the meaning of '#' and
// '!' away. name is the file's, for messages.
func ReadRules(r io.Reader, name string) (rules []Rule, err error) {
	s := bufio.NewScanner(r)
	s.Buffer(nil, maxKeepLine+2)
	for line := 1; s.Scan(); line++ {
		text := strings.TrimLeft(strings.TrimSuffix(s.Text(), "\r"), " \t")
		if text == "" || strings.HasPrefix(text, "#") {
			continue
		}
		rule, err := ParseRule(text, fmt.Sprintf("%s:%d", name, line))
		if err != nil {
			return nil, err
		}
		if rules = append(rules, rule); len(rules) > maxKeepRules {
			return nil, fmt.Errorf("%s:%d: more than %d patterns", name, line, maxKeepRules)
		}
	}
	if errors.Is(s.Err(), bufio.ErrTooLong) {
		return nil, fmt.Errorf("%s: a line has more than %d bytes", name, maxKeepLine)
	}
	if s.Err() != nil {
		return nil, fmt.Errorf("%s: %w", name, s.Err())
	}
	return rules, nil
}

//go:embed presets/*.keep
var presetFiles embed.FS

// Preset is a list of rules that comes with relive.
type Preset struct {
	Name     string   `json:"name"`
	Title    string   `json:"title"`
	Patterns []string `json:"patterns"`
}

// Presets returns all presets, by name.
func Presets() ([]Preset, error) {
	files, err := presetFiles.ReadDir("presets")
	if err != nil {
		return nil, err
	}
	var out []Preset
	for _, f := range files {
		text, err := presetFiles.ReadFile("presets/" + f.Name())
		if err != nil {
			return nil, err
		}
		p := Preset{Name: strings.TrimSuffix(f.Name(), ".keep")}
		first, _, _ := strings.Cut(string(text), "\n")
		p.Title = strings.TrimPrefix(first, "# ")
		rules, err := ReadRules(strings.NewReader(string(text)), f.Name())
		if err != nil {
			return nil, err
		}
		for _, r := range rules {
			p.Patterns = append(p.Patterns, r.Pattern)
		}
		out = append(out, p)
	}
	return out, nil
}

// PresetRules returns the rules of a preset.
func PresetRules(name string) (rules []Rule, err error) {
	all, err := Presets()
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(all, func(p Preset) bool { return p.Name == name })
	if i < 0 {
		var known []string
		for _, p := range all {
			known = append(known, p.Name)
		}
		return nil, refusal.WithHint(refusal.Option(fmt.Errorf("there is no preset %q", name)), "there are "+strings.Join(known, ", ")+
			"; "+say.Reset+" "+say.ListPresets+" tells what is in them")
	}
	for _, p := range all[i].Patterns {
		r, err := ParseRule(p, "preset "+name)
		if err != nil {
			return nil, err
		}
		r.preset = true
		rules = append(rules, r)
	}
	return rules, nil
}
