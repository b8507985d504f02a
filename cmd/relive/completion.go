package main

import (
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"relive/remaster/live"
	"relive/remaster/reset"
	"relive/remaster/sets"
)

// completions are the scripts for shells, and where each looks for them below
// PREFIX/share.
var completions = []struct {
	file  string
	write func(root *cobra.Command, w io.Writer) error
}{
	{"bash-completion/completions/relive", func(c *cobra.Command, w io.Writer) error { return c.GenBashCompletionV2(w, true) }},
	{"zsh/site-functions/_relive", func(c *cobra.Command, w io.Writer) error { return c.GenZshCompletion(w) }},
	{"fish/vendor_completions.d/relive.fish", func(c *cobra.Command, w io.Writer) error { return c.GenFishCompletion(w, true) }},
}

// flagWords are what a flag may be given where that is one of a few words, or nothing
// where only who gives it knows. A verb before the name makes it that verb's alone.
var flagWords = map[string][]string{
	"accounts":           {"preserve", "reset", "secure"},
	"boot":               {"template", "medium", "system", "host"},
	"codecs":             {"auto", "native", "go"},
	"comp":               codecNames(),
	"format":             {"squashfs", "erofs"},
	"block-size":         {"4K", "8K", "16K", "32K", "64K", "128K", "256K", "512K", "1M"},
	"diff kind":          {"added", "deleted", "content", "metadata", "replaced"},
	"sets entry kind":    {"grub", "syslinux", "grub.entry"},
	"layer":              {"merged", "base", "overlay"},
	"mode":               {"persist_all", "persist_root", "persist_static", "p_static_root", "persist_home"},
	"names":              {"best", "rock", "joliet", "plain"},
	"prefer":             {"ours", "theirs", "ask-file"},
	"sort":               {"path", "size"},
	"sums":               {"sha256", "sha512", "md5", "none"},
	"homefs":             {"min", "max"},
	"rootfs":             {"min", "max"},
	"root-password":      {"lock", "keep", "file:"},
	"user":               nil,
	"add-arg":            nil,
	"remove-arg":         nil,
	"title":              nil,
	"volid":              nil,
	"level":              nil,
	"jobs":               nil,
	"keep-old":           nil,
	"size":               nil,
	"chunk":              nil,
	"hostname":           nil,
	"full-name":          nil,
	"groups":             nil,
	"name":               nil,
	"publisher":          nil,
	"preparer":           nil,
	"application":        nil,
	"exclude":            nil,
	"keep":               nil,
	"save exclude":       nil,
	"sync-home exclude":  nil,
	"iso rebuild remove": nil,
}

// setCompletion has shells complete the values of flags and the arguments of a verb
// and all below it.
func (a *app) setCompletion(c *cobra.Command) {
	for _, sub := range c.Commands() {
		a.setCompletion(sub)
	}
	for name, some := range flagWords {
		verb, flag := "", name
		if i := strings.LastIndexByte(name, ' '); i >= 0 {
			verb, flag = name[:i], name[i+1:]
		}
		f := c.Flags().Lookup(flag)
		if f == nil {
			f = c.PersistentFlags().Lookup(flag)
		}
		if f == nil || verb != "" && verb != verbPath(c) {
			continue
		}
		d := cobra.ShellCompDirectiveNoFileComp
		if slices.Contains(some, "file:") {
			d |= cobra.ShellCompDirectiveNoSpace
		}
		_ = c.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(some, d)) // an error is of a flag that has one
	}
	if c.Flags().Lookup("set") != nil {
		_ = c.RegisterFlagCompletionFunc("set", a.completeSets)
	}
	if c.Flags().Lookup("on") != nil {
		_ = c.RegisterFlagCompletionFunc("on", a.completeOn)
	}
	if c.Flags().Lookup("preset") != nil {
		_ = c.RegisterFlagCompletionFunc("preset", func(*cobra.Command, []string, string) (names []string, d cobra.ShellCompDirective) {
			presets, err := reset.Presets()
			if err != nil {
				return nil, cobra.ShellCompDirectiveError
			}
			for _, p := range presets {
				names = append(names, p.Name+"\t"+p.Title)
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		})
	}
	for _, flag := range []string{"from", "onto", "template", "base", "output", "image", "kernel", "initrd", "decisions", "rules"} {
		if c.Flags().Lookup(flag) != nil {
			_ = c.RegisterFlagCompletionFunc(flag, files)
		}
	}
	if c.ValidArgsFunction == nil && c.Runnable() {
		c.ValidArgsFunction = argumentsOf(c)
	}
}

func files(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveDefault
}

// argumentsOf completes arguments by what the usage line calls them: of DIR
// directories first, or a stick where a verb reads one; of others files.
func argumentsOf(c *cobra.Command) cobra.CompletionFunc {
	_, usage, _ := strings.Cut(c.Use, " ")
	directory := strings.HasPrefix(usage, "DIR") && c.Flags().Lookup("on") == nil
	return func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if directory && len(args) == 0 {
			return nil, cobra.ShellCompDirectiveFilterDirs
		}
		return nil, cobra.ShellCompDirectiveDefault
	}
}

// completeSets lists the sets of the live directory that stands on the line.
func (a *app) completeSets(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	found, err := live.Find(args[0], live.AnySet())
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []string
	switch found.Layout.Traits().Sets {
	case live.SetDirectories:
		names, err = sets.SetNames(found, sets.ReadBootMenus(c.Context(), found))
		names = append([]string{live.DefaultSet}, names...)
	case live.SetOverlays:
		names, err = live.LiveosOverlayNames(found.Place, found.Dir, "")
	}
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return slices.Compact(names), cobra.ShellCompDirectiveNoFileComp
}

// completeOn lists the live systems on the stick that stands on the line.
func (a *app) completeOn(c *cobra.Command, args []string, _ string) (names []string, _ cobra.ShellCompDirective) {
	if len(args) == 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	s, err := live.OpenStick(c.Context(), args[0])
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	defer s.Close()
	for _, f := range s.Lives {
		names = append(names, f.Where()+"\t"+f.Layout.Name())
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
