package remaster

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"relive/remaster/accounts"
)

// planBeside decides which files are made beside the ISO. None of them replaces
// another.
func (p *ISOPlan) planBeside(ctx context.Context) error {
	if !p.o.NoPackages {
		if err := p.packageList(ctx); err != nil {
			return err
		}
	}
	if !p.o.NoReport {
		p.beside = append(p.beside,
			sideFile{".report.txt", func() ([]byte, error) { return p.Report().Text() }},
			sideFile{".report.json", func() ([]byte, error) { return p.Report().JSON() }})
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
		if exists(name) && !p.o.Force {
			return refuse("name another ISO, or use --force to replace it", "%s: exists already", name)
		}
		p.Summary.Beside = append(p.Summary.Beside, name)
	}
	return nil
}

// ISOReport tells what a snapshot leaves out, changes and makes in the system,
// for a person to check before it is given away.
type ISOReport struct {
	ISO      string           `json:"iso"`
	Homes    []string         `json:"homes"`
	Accounts *accounts.Report `json:"accounts"`
	Excludes []ExcludeReport  `json:"excludes"`
	Left     []string         `json:"left_on_medium"`
	Menus    []string         `json:"menu_changes"`
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
func (p *ISOPlan) Report() *ISOReport {
	r := &ISOReport{ISO: p.o.Output, Homes: p.Summary.Homes, Accounts: p.sys.plan.Report, Excludes: []ExcludeReport{}, Left: p.Summary.Left, Menus: p.Summary.Menus}
	for _, c := range p.sys.counts {
		r.Excludes = append(r.Excludes, ExcludeReport{c.Rule.Pattern, c.Rule.Source, c.Matches, c.Entries, c.Bytes})
	}
	return r
}

// Text is the report for a person.
func (r *ISOReport) Text() ([]byte, error) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# %s\n\n## Accounts and traces\n", r.ISO)
	if err := r.Accounts.WriteText(&b); err != nil {
		return nil, err
	}
	for _, h := range r.Homes {
		fmt.Fprintf(&b, "%s comes along as a boot mounts it\n", h)
	}
	b.WriteString("\n## Left out by excludes\n")
	for _, e := range r.Excludes {
		if e.Matches > 0 {
			fmt.Fprintf(&b, "%-48s %8d files and directories, %s (%s)\n", e.Pattern, e.Entries, Bytes(e.Bytes), e.Source)
		}
	}
	for _, part := range []struct {
		title string
		lines []string
	}{{"Left on the medium", r.Left}, {"Boot menus", r.Menus}} {
		if len(part.lines) > 0 {
			fmt.Fprintf(&b, "\n## %s\n", part.title)
		}
		for _, line := range part.lines {
			fmt.Fprintln(&b, line)
		}
	}
	return b.Bytes(), nil
}

// JSON is the report for machines.
func (r *ISOReport) JSON() ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	err := enc.Encode(r)
	return b.Bytes(), err
}
