package main

import (
	"cmp"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"relive/docs"
	"relive/internal/manual"
)

// generateCommand makes what is installed beside the program. It is for make.
func (a *app) generateCommand(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use:    "generate DIR",
		Short:  "write the pages of the manual and completions below a directory, as in PREFIX/share",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			date, err := pageDate()
			if err != nil {
				return err
			}
			for _, p := range manPages(root, date) {
				section := strconv.Itoa(p.Section)
				if err := writeBelow(args[0], filepath.Join("man/man"+section, p.Name+"."+section), p.String()); err != nil {
					return err
				}
			}
			for _, c := range completions {
				var text strings.Builder
				if err := c.write(root, &text); err != nil {
					return err
				}
				if err := writeBelow(args[0], c.file, text.String()); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

func writeBelow(dir, name, text string) error {
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(text), 0o644)
}

// pageDate is the date of the pages: that of the sources.
func pageDate() (time.Time, error) {
	if s := os.Getenv("SOURCE_DATE_EPOCH"); s != "" {
		n, err := strconv.ParseInt(s, 10, 64)
		return time.Unix(n, 0), err
	}
	if t, err := time.Parse(time.RFC3339, build().Date); err == nil {
		return t, nil
	}
	return time.Time{}, errors.New("the date of the sources is not known: set SOURCE_DATE_EPOCH")
}

// manPages makes all pages: an overview, one for each verb, and the topics.
func manPages(root *cobra.Command, date time.Time) (pages []*manual.Page) {
	var add func(c *cobra.Command)
	add = func(c *cobra.Command) {
		if c.Hidden {
			return
		}
		p := &manual.Page{Name: pageName(c), Section: 1, Short: c.Short, Date: date, Version: build().Version}
		verbPage(p, c)
		pages = append(pages, p)
		for _, sub := range c.Commands() {
			add(sub)
		}
	}
	add(root)
	for _, t := range docs.Topics {
		p := &manual.Page{Name: "relive-" + t.Name, Section: t.Section, Short: t.Short, Date: date, Version: build().Version}
		p.Begin()
		blocks := manual.Parse(t.Text())
		if i := slices.IndexFunc(blocks, func(b manual.Block) bool { return b.Kind == manual.Heading && b.Level == 2 }); i > 1 {
			p.Heading("description")
		}
		p.Blocks(blocks)
		seeAlso(p, root, "relive")
		pages = append(pages, p)
	}
	return pages
}

func pageName(c *cobra.Command) string { return strings.ReplaceAll(c.CommandPath(), " ", "-") }

func verbPage(p *manual.Page, c *cobra.Command) {
	p.Begin()
	p.Heading("synopsis")
	if c.Runnable() && c.HasParent() {
		synopsis(p, usageLine(c))
	}
	if c.HasAvailableSubCommands() {
		synopsis(p, c.CommandPath()+" VERB [options]")
	}
	p.Heading("description")
	p.Blocks(manual.Prose(cmp.Or(c.Long, c.Short+".")))
	switch {
	case !c.HasParent():
		for _, g := range verbGroups {
			p.Part(g.title)
			verbList(p, c, g.verbs)
		}
	case c.HasAvailableSubCommands():
		var names []string
		for _, sub := range c.Commands() {
			if sub.IsAvailableCommand() {
				names = append(names, sub.Name())
			}
		}
		verbList(p, c, names)
	}
	if groups := groupsOf(c); len(groups) > 0 {
		p.Heading("options")
		for _, g := range groups {
			p.Part(g.title)
			p.Macro(".Bl -tag -width Ds")
			for _, name := range g.flags {
				f := flagOf(c, name)
				p.Term(strings.TrimSpace(flagHead(c, f)))
				p.Words(manual.Literal(sentence(flagUsage(f))))
			}
			p.Macro(".El")
		}
	}
	p.Heading("environment")
	p.Blocks(manual.Parse(environment))
	if onLive(c) {
		p.Heading("files")
		p.Blocks(under("Files beside a base"))
	}
	p.Heading("exit status")
	p.Blocks(under("Exit codes"))
	if c.Example != "" {
		p.Heading("examples")
		p.Blocks(examples(c.Example))
	}
	seeAlso(p, c.Root(), verbPath(c))
}

func synopsis(p *manual.Page, line string) {
	name, rest, _ := strings.Cut(line, " ")
	p.Macro(".Nm " + name)
	p.Macro(".Ar " + strings.ReplaceAll(rest, "|", "\\*(Ba"))
}

// examples are calls, of which each may have a comment before it.
func examples(text string) (out []manual.Block) {
	var calls []string
	flush := func() {
		if calls != nil {
			out = append(out, manual.Block{Kind: manual.Example, Lines: calls})
		}
		calls = nil
	}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if words, ok := strings.CutPrefix(line, "# "); ok {
			flush()
			out = append(out, manual.Block{Kind: manual.Paragraph, Text: manual.Literal(sentence(words))})
			continue
		}
		calls = append(calls, line)
	}
	flush()
	return out
}

func verbList(p *manual.Page, c *cobra.Command, names []string) {
	p.Macro(".Bl -tag -width Ds")
	for _, name := range names {
		if sub := child(c, name); sub != nil {
			p.Term(strings.TrimPrefix(sub.CommandPath(), "relive "))
			p.Words(manual.Literal(sentence(sub.Short)))
		}
	}
	p.Macro(".El")
}

// sentence is a text with a full stop, and a capital where it begins with a word.
func sentence(s string) string {
	if s == "" {
		return s
	}
	word, _, _ := strings.Cut(s, " ")
	if strings.ToLower(word) == word && !strings.ContainsAny(word, "=.:_'/") {
		s = strings.ToUpper(s[:1]) + s[1:]
	}
	if strings.HasSuffix(s, ".") {
		return s
	}
	return s + "."
}

// under is what stands below a heading of the page on safety.
func under(title string) (out []manual.Block) {
	t, _ := docs.TopicOf("safety")
	in := false
	for _, b := range manual.Parse(t.Text()) {
		if b.Kind == manual.Heading {
			in = b.Text == title
			continue
		}
		if in {
			out = append(out, b)
		}
	}
	return out
}

// onLive reports whether a verb acts on a live directory, beside whose base lie files.
func onLive(c *cobra.Command) bool {
	return !c.HasParent() || c.Flags().Lookup("overlay") != nil || verbPath(c) == "sets" ||
		c.HasParent() && verbPath(c.Parent()) == "sets"
}

const environment = `
| variable | what it does |
|---|---|
| RELIVE_CODECS | what --codecs says, where that is not given |
| SOURCE_DATE_EPOCH | the time of what has no time of its own, in seconds since 1970, for output that can be made again |
| GOMEMLIMIT | how much memory the program tries not to exceed (default 220MiB) |
| COLUMNS | how wide help is set |
`

// seeAlso names the pages of verbs for the same task, and all topics. mdoc has them
// by section and name.
func seeAlso(p *manual.Page, root *cobra.Command, path string) {
	type page struct {
		name    string
		section int
	}
	pages := []page{{"relive", 1}}
	for _, t := range docs.Topics {
		pages = append(pages, page{"relive-" + t.Name, t.Section})
	}
	verb, _, _ := strings.Cut(path, " ")
	for _, g := range verbGroups {
		if path != "" && !slices.Contains(g.verbs, verb) {
			continue
		}
		for _, name := range g.verbs {
			if c := child(root, name); c != nil {
				pages = append(pages, page{pageName(c), 1})
			}
		}
	}
	if c := child(root, verb); c != nil {
		for _, sub := range c.Commands() {
			if !sub.Hidden {
				pages = append(pages, page{pageName(sub), 1})
			}
		}
	}
	slices.SortFunc(pages, func(a, b page) int {
		return cmp.Or(cmp.Compare(a.section, b.section), strings.Compare(a.name, b.name))
	})
	pages = slices.DeleteFunc(slices.Compact(pages), func(q page) bool { return q.name == p.Name && q.section == p.Section })
	p.Heading("see also")
	for i, q := range pages {
		comma := " ,"
		if i == len(pages)-1 {
			comma = ""
		}
		p.Macro(".Xr " + q.name + " " + strconv.Itoa(q.section) + comma)
	}
}
