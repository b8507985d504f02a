package changelog

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"relive/internal/manual"
)

// Entry is what changed in one version.
type Entry struct {
	Version string    // "" of what is not released
	Date    time.Time // zero of what is not released
	Changes []Change
}

// Change is one change: what kind of change it is, such as "Added", and a text
// without marks.
type Change struct{ Kind, Text string }

var heading = regexp.MustCompile(`^## \[(Unreleased|\d+\.\d+\.\d+)\](?: - (\d{4}-\d{2}-\d{2}))?$`)

// Parse reads a changelog: the entries from the newest on. What stands before the
// first one is left out.
func Parse(text string) (entries []Entry, err error) {
	var kind string
	var item []string
	flush := func() {
		if item != nil {
			last := &entries[len(entries)-1]
			last.Changes = append(last.Changes, Change{kind, manual.PlainText(strings.Join(item, " "))})
		}
		item = nil
	}
	number := 0
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		number++
		begin, isItem := strings.CutPrefix(line, "- ")
		more, goesOn := strings.CutPrefix(line, "  ")
		title, isTitle := strings.CutPrefix(line, "### ")
		switch {
		case strings.HasPrefix(line, "## "):
			flush()
			e, err := entryOf(line)
			if err != nil {
				return nil, fmt.Errorf("line %d: %w", number, err)
			}
			entries, kind = append(entries, e), ""
		case len(entries) == 0 || line == "":
			if len(entries) > 0 {
				flush()
			}
		case isTitle:
			flush()
			kind = title
		case isItem:
			flush()
			item = []string{begin}
		case goesOn && item != nil:
			item = append(item, more)
		default:
			return nil, fmt.Errorf("line %d: %q is neither a heading nor in a list", number, line)
		}
	}
	if len(entries) == 0 {
		return nil, errors.New("no version")
	}
	flush()
	return entries, nil
}

func entryOf(line string) (e Entry, err error) {
	m := heading.FindStringSubmatch(line)
	if m == nil {
		return e, fmt.Errorf("%q is no heading of a version, as \"## [1.2.3] - 2006-01-02\"", line)
	}
	if m[1] == "Unreleased" {
		return e, nil
	}
	e.Version = m[1]
	if e.Date, err = time.Parse(time.DateOnly, m[2]); err != nil {
		return e, fmt.Errorf("version %s has no date", e.Version)
	}
	return e, nil
}

// Newest is the newest entry that is released, and false where there is none.
func Newest(entries []Entry) (Entry, bool) {
	i := slices.IndexFunc(entries, func(e Entry) bool { return e.Version != "" })
	if i < 0 {
		return Entry{}, false
	}
	return entries[i], true
}

// For are the entries of a package: those of its version and older ones, or, where
// there is none of this version, those not released as its own, of a date.
func For(entries []Entry, version string, date time.Time) []Entry {
	if i := slices.IndexFunc(entries, func(e Entry) bool { return e.Version == version }); i >= 0 {
		return entries[i:]
	}
	out := slices.Clone(entries)
	if out[0].Version != "" {
		out = slices.Insert(out, 0, Entry{})
	}
	out[0].Version, out[0].Date = version, date
	return out
}

// Debian writes entries as deb-changelog(5) has them.
func Debian(entries []Entry, name, maintainer string) string {
	var b strings.Builder
	for i, e := range entries {
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "%s (%s) unstable; urgency=medium\n\n", name, e.Version)
		for _, text := range e.texts() {
			b.WriteString(manual.Wrap(text, "  * ", "    ", 79))
		}
		fmt.Fprintf(&b, "\n -- %s  %s\n", maintainer, e.Date.Format(time.RFC1123Z))
	}
	return b.String()
}

// RPM writes entries as nfpm takes them for rpm: YAML, of which JSON is a part.
func RPM(entries []Entry, maintainer string) string {
	var b strings.Builder
	for _, e := range entries {
		fmt.Fprintf(&b, "- semver: %q\n  date: %s\n  packager: %q\n  changes:\n",
			e.Version+"-1", e.Date.Format(time.RFC3339), maintainer)
		for _, text := range e.texts() {
			fmt.Fprintf(&b, "    - note: %q\n", text)
		}
	}
	return b.String()
}

// texts are the changes, each with its kind. A version without any has one that says
// so: an entry must have one.
func (e Entry) texts() (out []string) {
	for _, c := range e.Changes {
		text := c.Text
		if c.Kind != "" {
			text = c.Kind + ": " + text
		}
		out = append(out, text)
	}
	if out == nil {
		return []string{"No change that users see."}
	}
	return out
}
