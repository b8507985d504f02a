package main

import (
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

	"relive/tree/systest"
)

var (
	flagNamed = regexp.MustCompile(`(?:^|[\s("'])--([a-z][a-z0-9-]+)`)
	verbNamed = regexp.MustCompile(`\brelive ((?:[a-z][a-z-]* ?)+)`)
)

// TestHints: every flag and verb of relive that a message names is there, so that
// whoever follows a hint gets somewhere.
func TestHints(t *testing.T) {
	root := (&app{}).command()
	flags, verbs := map[string]bool{"help": true, "version": true}, map[string]bool{}
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
	collect(root)
	literals, named := 0, 0
	for _, dir := range []string{".", "../../remaster"} {
		systest.Must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
				return err
			}
			set := token.NewFileSet()
			f, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			ast.Inspect(f, func(n ast.Node) bool {
				lit, ok := n.(*ast.BasicLit)
				if !ok || lit.Kind != token.STRING {
					return true
				}
				text, err := strconv.Unquote(lit.Value)
				systest.Must(t, err)
				literals++
				for _, m := range flagNamed.FindAllStringSubmatch(text, -1) {
					if named++; !flags[m[1]] && !foreign[m[1]] {
						t.Errorf("%s: no verb has a flag --%s: %q", set.Position(lit.Pos()), m[1], text)
					}
				}
				for _, m := range verbNamed.FindAllStringSubmatch(text, -1) {
					if name, _, _ := strings.Cut(m[1], " "); verbs[name] {
						named++
					} else if !prose[name] {
						t.Errorf("%s: there is no relive %s: %q", set.Position(lit.Pos()), name, text)
					}
				}
				return true
			})
			return nil
		}))
	}
	if literals < 1000 || named < 200 {
		t.Errorf("%d texts that name %d flags and verbs: the test looks past them", literals, named)
	}
}

// prose are words that follow relive's name in sentences, foreign the flags of
// GRUB's commands and of package managers.
var (
	prose   = wordSet("folds runs is as does takes knows writes gives opens")
	foreign = wordSet("no-floppy file label fs-label fs-uuid class users hotkey source id submenu setcaps setperms rebuilddb")
)

func wordSet(list string) map[string]bool {
	out := map[string]bool{}
	for _, w := range strings.Fields(list) {
		out[w] = true
	}
	return out
}
