package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"relive/docs"
	"relive/internal/manual"
	"relive/tree/systest"
)

// eachVerb calls fn for every verb that is shown, and those below it.
func eachVerb(c *cobra.Command, fn func(c *cobra.Command)) {
	if c.Hidden {
		return
	}
	fn(c)
	for _, sub := range c.Commands() {
		eachVerb(sub, fn)
	}
}

// TestGroups: every verb is in a group of the overview, every flag in one of its
// verb's, and no group names what is not there.
func TestGroups(t *testing.T) {
	root := (&app{}).command()
	in := map[string]int{}
	for _, g := range verbGroups {
		for _, name := range g.verbs {
			if in[name]++; child(root, name) == nil && name != "help" {
				t.Errorf("%s: there is no verb %s", g.title, name)
			}
		}
	}
	for _, c := range root.Commands() {
		if !c.Hidden && in[c.Name()] != 1 {
			t.Errorf("%s is in %d groups", c.Name(), in[c.Name()])
		}
	}
	paths := map[string]bool{}
	eachVerb(root, func(c *cobra.Command) {
		paths[verbPath(c)] = true
		shown := map[string]int{}
		for _, g := range groupsOf(c) {
			for _, name := range g.flags {
				shown[name]++
			}
		}
		c.Flags().VisitAll(func(f *pflag.Flag) {
			if want := map[bool]int{true: 0, false: 1}[f.Hidden || f.Name == "help"]; shown[f.Name] != want {
				t.Errorf("%s: --%s is shown %d times", verbPath(c), f.Name, shown[f.Name])
			}
			if valueOf(c, f) == "VALUE" {
				t.Errorf("%s: nothing says what --%s takes", verbPath(c), f.Name)
			}
		})
		for _, g := range flagGroups[verbPath(c)] {
			for _, name := range g.flags {
				if flagOf(c, name) == nil {
					t.Errorf("%s: %s: there is no --%s", verbPath(c), g.title, name)
				}
			}
		}
	})
	for path := range flagGroups {
		if !paths[path] {
			t.Errorf("flagGroups: there is no verb %s", path)
		}
	}
}

// calls are the calls in a verb's examples, word by word, as a shell splits them where
// nothing is quoted but whole words.
func calls(path string) (out [][]string) {
	for line := range strings.Lines(verbExamples[path]) {
		line, _, _ = strings.Cut(strings.TrimSpace(line), " >")
		words := strings.Fields(line)
		if len(words) > 0 && words[0] == "relive" {
			out = append(out, words[1:])
		}
	}
	return out
}

// TestExamples: every verb has examples, with words for what; each call names a verb and
// options that are there, and as many arguments as it takes.
func TestExamples(t *testing.T) {
	root := (&app{}).command()
	eachVerb(root, func(c *cobra.Command) {
		path := verbPath(c)
		if c.HasParent() && c.Parent().Name() == "completion" {
			return
		}
		if len(calls(path)) == 0 || !strings.HasPrefix(strings.TrimSpace(verbExamples[path]), "# ") {
			t.Errorf("%s has no examples, or none with words", path)
		}
		for _, words := range calls(path) {
			at, rest, err := (&app{}).command().Find(words)
			if err == nil {
				err = at.ParseFlags(rest)
			}
			if err == nil && at.Args != nil {
				err = at.Args(at, at.Flags().Args())
			}
			if err != nil {
				t.Errorf("%s: relive %q: %v", path, words, err)
			}
		}
	})
	for path := range verbExamples {
		if at, _, err := root.Find(strings.Fields(path)); err != nil || verbPath(at) != path {
			t.Errorf("there is no verb %q", path)
		}
	}
}

// TestPages: every flag is in its verb's page and help, mandoc and groff have nothing
// to say about a page, and each page that another names is there.
func TestPages(t *testing.T) {
	systest.NeedTools(t, "mandoc", "groff")
	root := (&app{}).command()
	texts, dir := map[string]string{}, systest.TempDir(t)
	pages := manPages(root, time.Unix(1_700_000_000, 0))
	for _, p := range pages {
		name := p.Name + "." + string(rune('0'+p.Section))
		texts[name] = p.String()
		file := filepath.Join(dir, name)
		systest.Must(t, os.WriteFile(file, []byte(p.String()), 0o600))
		for _, args := range [][]string{{"mandoc", "-T", "lint", "-W", "warning"}, {"groff", "-mdoc", "-Tutf8", "-ww", "-z"}} {
			if out, err := exec.Command(args[0], append(args[1:], file)...).CombinedOutput(); err != nil || len(out) > 0 {
				t.Errorf("%s: %v\n%s", args[0], err, out)
			}
		}
	}
	eachVerb(root, func(c *cobra.Command) {
		page, help := texts[pageName(c)+".1"], helpText(c, 80)
		for _, g := range groupsOf(c) {
			for _, name := range g.flags {
				if !strings.Contains(page, strings.ReplaceAll("--"+name, "-", `\-`)) || !strings.Contains(help, "--"+name) {
					t.Errorf("%s: --%s is not in its page, or its help", verbPath(c), name)
				}
			}
		}
		for _, line := range strings.Split(help, "\n") {
			if len(line) > 80 && !strings.HasPrefix(line, "  relive ") {
				t.Errorf("%s: wider than 80 columns: %q", verbPath(c), line)
			}
		}
	})
	for name, text := range texts {
		for line := range strings.Lines(text) {
			if f := strings.Fields(line); len(f) >= 3 && f[0] == ".Xr" && texts[f[1]+"."+f[2]] == "" {
				t.Errorf("%s names %s(%s), which is not there", name, f[1], f[2])
			}
		}
	}
	if len(pages) < 40 {
		t.Errorf("%d pages", len(pages))
	}
}

// TestTopics: what stands in a topic's document is in its page and in its help, and
// the parts of it that the pages of verbs take are there.
func TestTopics(t *testing.T) {
	for _, topic := range docs.Topics {
		blocks := manual.Parse(topic.Text())
		text := manual.Text(blocks, 80)
		for _, b := range blocks {
			words := strings.Fields(manual.PlainText(b.Text))
			if b.Kind == manual.Paragraph && !strings.Contains(strings.Join(strings.Fields(text), " "), strings.Join(words, " ")) {
				t.Errorf("%s: lost: %s", topic.Name, b.Text)
			}
		}
		for _, line := range strings.Split(text, "\n") {
			if len([]rune(line)) > 80 && strings.Contains(strings.TrimSpace(line), " ") && !strings.HasPrefix(line, "    ") {
				t.Errorf("%s: wider than 80 columns: %q", topic.Name, line)
			}
		}
	}
	for _, title := range []string{"Files beside a base", "Exit codes"} {
		if len(under(title)) == 0 {
			t.Errorf("the page on safety has no %q", title)
		}
	}
}
