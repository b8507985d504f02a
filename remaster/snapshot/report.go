package snapshot

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"unicode"

	"relive/remaster/accounts"
	"relive/remaster/bytesize"
	"relive/remaster/hostdisk"
	"relive/remaster/refusal"
	"relive/remaster/say"
)

// sideSuffixes are behind the names of all files that may be made beside an
// ISO.
var sideSuffixes = []string{".packages", ".report.txt", ".report.json", ".md5", ".sha256", ".sha512"}

// planBeside decides which files are made beside the ISO. None of them replaces
// another.
func (p *Plan) planBeside(ctx context.Context) error {
	if !p.o.NoPackages {
		if err := p.packageList(ctx); err != nil {
			return err
		}
	}
	if !p.o.NoReport {
		p.beside = append(p.beside,
			sidecar{".report.txt", func() ([]byte, error) { return p.Report().Text() }},
			sidecar{".report.json", func() ([]byte, error) { return p.Report().JSON() }})
	}
	var suffixes []string
	for _, f := range p.beside {
		suffixes = append(suffixes, f.suffix)
	}
	for _, kind := range p.o.Sums {
		suffixes = append(suffixes, "."+kind)
	}
	for _, suffix := range suffixes {
		name := p.o.Output + suffix
		if hostdisk.Exists(name) && !p.o.Force {
			return refusal.New(refusal.OutputExists, "name another ISO, or use "+say.Force+" to replace it", "%s: exists already", name)
		}
		p.Summary.Beside = append(p.Summary.Beside, name)
	}
	return nil
}

// Report tells what a snapshot leaves out, changes and makes in the system,
// for a person to check before it is given away.
type Report struct {
	ISO      string           `json:"iso"`
	Homes    []string         `json:"homes"`
	Accounts *accounts.Report `json:"accounts"`
	Excludes []ExcludeReport  `json:"excludes"`
	Left     []string         `json:"not_copied"`
	Menus    []string         `json:"menu_changes"`
	Initrds  []string         `json:"initrd_changes"`
}

// ExcludeReport is what one exclude took out.
type ExcludeReport struct {
	Pattern string `json:"pattern"`
	Source  string `json:"source"` // file:line, or "command line"
	Matches int64  `json:"matches"`
	Entries int64  `json:"entries"`
	Bytes   int64  `json:"bytes"`
}

// Report tells what the plan does to the system.
func (p *Plan) Report() *Report {
	// Where it lay is nobody's business who gets the report.
	r := &Report{ISO: filepath.Base(p.o.Output), Homes: p.Summary.Homes, Accounts: p.sys.plan.Report, Excludes: []ExcludeReport{},
		Left: p.Summary.Left, Menus: p.Summary.Menus, Initrds: p.Summary.Initrds}
	for _, c := range p.sys.counts {
		r.Excludes = append(r.Excludes, ExcludeReport{c.Rule.Pattern, c.Rule.Source, c.Matches, c.Entries, c.Bytes})
	}
	return r
}

// Text is the report for a person.
func (r *Report) Text() ([]byte, error) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# %s\n\nWhat was left out, changed and made in the system, for you to check before you give the ISO away.\nThis "+
		"report names people and files: keep it for yourself.\n\n## Accounts and traces\n", r.ISO)
	if err := r.Accounts.WriteText(&b); err != nil {
		return nil, err
	}
	for _, h := range r.Homes {
		fmt.Fprintf(&b, "%s comes along as a boot mounts it\n", h)
	}
	b.WriteString("\n## Left out by excludes: files and directories, their size, the rule\n")
	var entries, size int64
	for _, e := range r.Excludes {
		// What an earlier rule took out is counted there.
		if e.Entries > 0 {
			fmt.Fprintf(&b, "%8d %12s  %s (%s)\n", e.Entries, bytesize.Format(e.Bytes), shown(e.Pattern), shown(e.Source))
			entries, size = entries+e.Entries, size+e.Bytes
		}
	}
	fmt.Fprintf(&b, "%8d %12s  in all, of %d rules\n", entries, bytesize.Format(size), len(r.Excludes))
	for _, part := range []struct {
		title string
		lines []string
	}{{"Left on the medium", r.Left}, {"Boot menus", r.Menus}, {"Initrds", r.Initrds}} {
		if len(part.lines) > 0 {
			fmt.Fprintf(&b, "\n## %s\n", part.title)
		}
		for _, line := range part.lines {
			fmt.Fprintln(&b, shown(line))
		}
	}
	return b.Bytes(), nil
}

// shown keeps control characters of names off a terminal.
func shown(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }) {
		return strconv.Quote(s)
	}
	return s
}

// JSON is the report for machines.
func (r *Report) JSON() ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	err := enc.Encode(r)
	return b.Bytes(), err
}
