package main

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"relive/remaster/refusal"
	"relive/remaster/say"
	"relive/tree/systest"
)

var (
	flagNamed = regexp.MustCompile(`(?:^|[\s("'])--([a-z][a-z0-9-]+)`)
	verbNamed = regexp.MustCompile(`\brelive ((?:[a-z][a-z-]* ?)+)`)
)

// goFile is a Go file that is no test.
type goFile struct {
	path string
	set  *token.FileSet
	*ast.File
}

// literals calls fn for every string literal of the file.
func (f *goFile) literals(fn func(where token.Position, text string)) {
	ast.Inspect(f.File, func(n ast.Node) bool {
		if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			text, _ := strconv.Unquote(lit.Value)
			fn(f.set.Position(lit.Pos()), text)
		}
		return true
	})
}

// goFiles are the Go files below directories, without tests and what they share.
func goFiles(t *testing.T, dirs ...string) (out []*goFile) {
	t.Helper()
	for _, dir := range dirs {
		systest.Must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() && (d.Name() == "systest" || d.Name() == "livetest") {
				return fs.SkipDir
			}
			if err != nil || d.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
				return err
			}
			set := token.NewFileSet()
			f, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
			out = append(out, &goFile{path, set, f})
			return err
		}))
	}
	return out
}

// TestHints: every flag and verb of relive that a message names is there, so that
// whoever follows a hint gets somewhere.
func TestHints(t *testing.T) {
	flags, verbs := flagsAndVerbs()
	literals, named := 0, 0
	for _, f := range goFiles(t, ".", "../../remaster") {
		f.literals(func(where token.Position, text string) {
			literals++
			for _, m := range flagNamed.FindAllStringSubmatch(text, -1) {
				if named++; !flags[m[1]] && !foreign[m[1]] {
					t.Errorf("%s: no verb has a flag --%s: %q", where, m[1], text)
				}
			}
			for _, m := range verbNamed.FindAllStringSubmatch(text, -1) {
				if name, _, _ := strings.Cut(m[1], " "); verbs[name] {
					named++
				} else if !prose[name] {
					t.Errorf("%s: there is no relive %s: %q", where, name, text)
				}
			}
		})
	}
	if literals < 1000 || named < 200 {
		t.Errorf("%d texts that name %d flags and verbs: the test looks past them", literals, named)
	}
}

func flagsAndVerbs() (flags, verbs map[string]bool) {
	flags, verbs = map[string]bool{"help": true, "version": true}, map[string]bool{"help": true}
	var collect func(c *cobra.Command)
	collect = func(c *cobra.Command) {
		verbs[c.Name()] = true
		for _, set := range []*pflag.FlagSet{c.Flags(), c.PersistentFlags()} {
			set.VisitAll(func(f *pflag.Flag) { flags[f.Name] = true })
		}
		for _, sub := range c.Commands() {
			collect(sub)
		}
	}
	collect((&app{}).command())
	return flags, verbs
}

// TestCoreNamesNoFlags: what is no command line has no text that speaks of one, but
// names verbs and options by package say.
func TestCoreNamesNoFlags(t *testing.T) {
	_, verbs := flagsAndVerbs()
	short := regexp.MustCompile(`(?:^|\s)-[beo](?:[\s,;:)]|$)`)
	core := goFiles(t, "../../remaster", "../../overlay", "../../squash", "../../dmmerge", "../../iso", "../../extfs", "../../tree")
	if len(core) < 300 {
		t.Fatalf("%d files", len(core))
	}
	for _, f := range core {
		f.literals(func(where token.Position, text string) {
			wrong := short.FindString(text)
			for _, m := range flagNamed.FindAllStringSubmatch(text, -1) {
				if !foreign[m[1]] && !grub[m[1]] {
					wrong = m[0]
				}
			}
			for _, m := range verbNamed.FindAllStringSubmatch(text, -1) {
				if name, _, _ := strings.Cut(m[1], " "); verbs[name] {
					wrong = m[0]
				}
			}
			if wrong != "" {
				t.Errorf("%s: names %q; see package say: %q", where, strings.TrimSpace(wrong), text)
			}
		})
	}
}

// constants are the string constants of a file whose values begin with a prefix, by name.
func constants(t *testing.T, path, prefix string) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, f := range goFiles(t, path) {
		for _, d := range f.Decls {
			decl, ok := d.(*ast.GenDecl)
			if !ok || decl.Tok != token.CONST {
				continue
			}
			for _, s := range decl.Specs {
				spec := s.(*ast.ValueSpec)
				lit, ok := spec.Values[0].(*ast.BasicLit)
				if !ok {
					continue
				}
				if v, err := strconv.Unquote(lit.Value); err == nil && strings.HasPrefix(v, prefix) {
					out[spec.Names[0].Name] = v
				}
			}
		}
	}
	return out
}

// used are the names of a package that other files use, with how often.
func used(files []*goFile, pkg string) map[string]int {
	out := map[string]int{}
	for _, f := range files {
		ast.Inspect(f.File, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok {
				if x, ok := s.X.(*ast.Ident); ok && x.Name == pkg {
					out[s.Sel.Name]++
				}
			}
			return true
		})
	}
	return out
}

// TestTerms: every verb and option that the core can name has a name here, no
// other has, and none is there for nothing.
func TestTerms(t *testing.T) {
	named := constants(t, "../../remaster/say", "\x00")
	if len(named) < 70 || len(terms) != len(named) {
		t.Errorf("%d constants, and %d terms", len(named), len(terms))
	}
	uses := used(goFiles(t, "../../remaster"), "say")
	for name, ref := range named {
		if terms[ref] == "" {
			t.Errorf("say.%s has no term", name)
		}
		if uses[name] == 0 {
			t.Errorf("nothing names say.%s", name)
		}
	}
}

// TestCodes: every code is given by some error, and an error without a hint of its
// own has one by its code, or nothing can be done about it.
func TestCodes(t *testing.T) {
	codes := constants(t, "../../remaster/refusal", "")
	delete(codes, "NothingChanged")
	nothing := map[string]bool{"NotFound": true}
	files := goFiles(t, "../../remaster", ".")
	uses := used(files, "refusal")
	own := goFiles(t, "../../remaster/refusal")[0]
	for _, f := range goFiles(t, "../../remaster/refusal") {
		if strings.HasSuffix(f.path, "code.go") {
			own = f
		}
	}
	ast.Inspect(own.File, func(n ast.Node) bool { // CodeOf gives the rest
		if r, ok := n.(*ast.ReturnStmt); ok && len(r.Results) == 1 {
			if id, ok := r.Results[0].(*ast.Ident); ok {
				uses[id.Name]++
			}
		}
		return true
	})
	if len(codes) < 30 {
		t.Fatalf("%d codes", len(codes))
	}
	seen, calls := map[string]string{}, 0
	for name, code := range codes {
		if uses[name] == 0 {
			t.Errorf("no error has the code %s", name)
		}
		if seen[code] != "" || strings.Trim(code, "abcdefghijklmnopqrstuvwxyz-") != "" {
			t.Errorf("%s: %q", name, code)
		}
		seen[code] = name
	}
	for _, f := range files {
		ast.Inspect(f.File, func(n ast.Node) bool {
			c, ok := n.(*ast.CallExpr)
			if !ok || len(c.Args) < 3 {
				return true
			}
			fn, _ := c.Fun.(*ast.SelectorExpr)
			code, _ := c.Args[0].(*ast.SelectorExpr)
			hint, _ := c.Args[1].(*ast.BasicLit)
			if fn == nil || code == nil || fn.Sel.Name != "New" || codes[code.Sel.Name] == "" {
				return true
			}
			calls++
			if hint != nil && hint.Value == `""` && !nothing[code.Sel.Name] && hints[refusal.Code(codes[code.Sel.Name])] == "" {
				t.Errorf("%s: %s without a hint", f.set.Position(c.Pos()), code.Sel.Name)
			}
			return true
		})
	}
	if calls < 200 {
		t.Errorf("%d refusals", calls)
	}
}

// TestJSONInWords: references in JSON are replaced, and nothing that looks like one.
func TestJSONInWords(t *testing.T) {
	for text, want := range map[string]string{
		"use " + say.Force + " or " + say.Verify + " /x": "use --force or relive verify /x",
		`a\u0000option force\u0000`:                      `a\u0000option force\u0000`,
		"bytes \x00 and \x00 and \"" + say.Output + "\"": "bytes \x00 and \x00 and \"-o\"",
		"option force \x00option force":                  "option force \x00option force",
		"\\" + say.Force + "\x00":                        "\\--force\x00",
	} {
		b, err := json.Marshal([]string{text})
		systest.Must(t, err)
		var got []string
		systest.Must(t, json.Unmarshal(jsonInWords(b), &got))
		if got[0] != want {
			t.Errorf("%q shows as %q, want %q", text, got[0], want)
		}
	}
}

// prose are words that follow relive's name in sentences, foreign the flags of
// GRUB's commands and of package managers, grub those that relive has, too.
var (
	prose   = wordSet("folds runs is as does takes knows writes gives opens")
	grub    = wordSet("set")
	foreign = wordSet("no-floppy file label fs-label fs-uuid class users hotkey source id submenu setcaps setperms rebuilddb")
)

func wordSet(list string) map[string]bool {
	out := map[string]bool{}
	for _, w := range strings.Fields(list) {
		out[w] = true
	}
	return out
}
