package main

import (
	"cmp"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// verbGroup is a task, and the verbs for it in the order in which people need
// them.
type verbGroup struct {
	title string
	verbs []string
}

var verbGroups = []verbGroup{
	{"Look", []string{"status", "diff", "ls", "verify", "doctor"}},
	{"Compact, renew, go back", []string{"compact", "update", "rebase", "rollback", "recover"}},
	{"Persistence, homes and sets", []string{"save", "reset", "resize", "sync-home", "sets"}},
	{"ISO images", []string{"snapshot", "iso"}},
	{"Device-mapper snapshots", []string{"dm"}},
	{"More", []string{"help", "version", "completion"}},
}

// flagGroup is what some flags of a verb are about, the common ones first.
type flagGroup struct {
	title string
	flags []string
}

// Titles of groups that several verbs have.
const (
	groupPlan  = "What happens"
	groupLive  = "Which live system"
	groupBase  = "The new base"
	groupUser  = "Accounts"
	groupBoot  = "How it boots"
	groupISO   = "The ISO and what stands beside it"
	groupOther = "Options"
	groupAll   = "Options of every verb"
)

// flagGroups are the groups of verbs that have many flags, by what stands behind
// "relive". Flags that are in none go into a group of their own.
var flagGroups = map[string][]flagGroup{
	"compact": {
		{groupPlan, []string{"dry-run", "output", "image", "stage", "no-reset", "keep-old", "full-verify", "force", "allow-unmatched"}},
		{groupBase, []string{"exclude", "exclude-from", "format", "comp", "level", "block-size", "flatten", "keep-free"}},
	},
	"snapshot": {
		{groupPlan, []string{"output", "dry-run", "full-verify", "force", "allow-unmatched"}},
		{groupUser, []string{"accounts", "user", "password-file", "full-name", "groups", "root-password", "hostname", "rules", "no-homes"}},
		{"What goes on it", []string{"exclude", "exclude-from", "no-default-excludes", "include"}},
		{groupBoot, []string{"boot", "template", "kernel", "initrd", "add-arg", "remove-arg", "keep-persistence", "title"}},
		{groupISO, []string{"volid", "name", "sums", "implant-md5", "no-report", "no-package-list", "application", "preparer",
			"publisher"}},
		{groupBase, []string{"format", "comp", "level", "block-size", "flatten", "keep-free"}},
	},
	"update": {
		{groupPlan, []string{"from", "dry-run", "overlay", "no-kernel", "stage", "keep-old", "force"}},
	},
	"rebase": {
		{groupPlan, []string{"onto", "base", "dry-run", "prefer", "decisions", "grow", "no-kernel", "keep-old", "force"}},
	},
	"save": {
		{groupPlan, []string{"from", "dry-run", "exclude", "all", "grow", "plain", "keep-old", "force", "allow-unmatched"}},
	},
	"reset": {
		{"What is kept", []string{"keep", "keep-from", "preset", "list-presets"}},
		{groupPlan, []string{"preview", "dry-run", "undo", "grow", "keep-old", "force", "allow-unmatched"}},
	},
	"sync-home": {
		{groupPlan, []string{"dry-run", "reverse", "user", "exclude", "no-delete", "delete", "mirror", "size", "grow", "keep-old", "force",
			"allow-unmatched"}},
	},
	"iso rebuild": {
		{groupPlan, []string{"output", "dry-run", "force"}},
		{"What changes", []string{"replace", "add", "remove", "volid", "add-arg", "remove-arg", "implant-md5"}},
	},
}

// liveFlags tell which live system is meant.
var liveFlags = []string{"on", "set", "overlay", "home"}

// groupsOf are the groups of a verb's flags that are shown, those of every verb
// last. "help" is not among them.
func groupsOf(c *cobra.Command) (out []flagGroup) {
	seen := map[string]bool{"help": true}
	local := map[string]bool{}
	c.NonInheritedFlags().VisitAll(func(f *pflag.Flag) {
		if local[f.Name] = !f.Hidden; f.Hidden {
			seen[f.Name] = true
		}
	})
	add := func(title string, names []string) {
		names = slices.DeleteFunc(slices.Clone(names), func(name string) bool { return seen[name] || !local[name] })
		for _, name := range names {
			seen[name] = true
		}
		if len(names) > 0 {
			out = append(out, flagGroup{title, names})
		}
	}
	for _, g := range flagGroups[verbPath(c)] {
		add(g.title, g.flags)
	}
	var rest []string
	c.NonInheritedFlags().VisitAll(func(f *pflag.Flag) {
		if !slices.Contains(liveFlags, f.Name) || verbPath(c) == "resize" {
			rest = append(rest, f.Name)
		}
	})
	if c.HasParent() {
		add(groupOther, rest)
		add(groupLive, liveFlags)
	} else {
		add(groupAll, rest)
	}
	var all []string
	c.InheritedFlags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			all = append(all, f.Name)
			local[f.Name] = true
		}
	})
	add(groupAll, all)
	return out
}

// verbPath is what stands behind "relive".
func verbPath(c *cobra.Command) string {
	path := c.Name()
	if !c.HasParent() {
		return ""
	}
	for c = c.Parent(); c.HasParent(); c = c.Parent() {
		path = c.Name() + " " + path
	}
	return path
}

// values are what the flags take, where the name of the flag does not tell.
var values = map[string]string{
	"add": "PATH=FILE", "add-arg": "ARGUMENT", "accounts": "MODE", "application": "TEXT", "base": "FILE", "block-size": "SIZE",
	"boot": "SOURCE", "chunk": "SIZE", "codecs": "KIND", "comp": "CODEC", "decisions": "FILE", "directory": "DIR", "exclude": "PATTERN",
	"exclude-from": "FILE", "format": "FORMAT", "for": "ORIGIN", "from": "SOURCE", "full-name": "TEXT", "groups": "GROUPS", "home": "PATH",
	"homefs":   "SIZE",
	"hostname": "NAME", "image": "FILE", "include": "PATH=FILE", "initrd": "FILE", "jobs": "N", "keep": "PATTERN", "keep-from": "FILE",
	"keep-old": "N", "kernel": "FILE", "kind": "KINDS", "layer": "LAYER", "level": "N", "mode": "MODE", "name": "TEXT", "names": "KIND",
	"on": "PARTITION/DIR", "onto": "SOURCE", "origin": "FILE", "output": "FILE", "overlay": "PATH", "password-file": "FILE",
	"prefer": "SIDE", "preparer": "TEXT", "preset": "NAMES", "publisher": "TEXT", "remove": "PATH", "remove-arg": "ARGUMENT",
	"replace": "PATH=FILE", "resize overlay": "SIZE", "resize home": "SIZE", "root-password": "HOW", "rootfs": "SIZE", "rules": "FILE",
	"set": "SET", "size": "SIZE", "sort": "ORDER",
	"sums": "KINDS", "template": "ISO", "title": "TEXT", "user": "USER", "volid": "LABEL", "write-entry": "MENU",
}

// valueOf is what a flag of a verb takes, "" where it takes nothing.
func valueOf(c *cobra.Command, f *pflag.Flag) string {
	if f.NoOptDefVal != "" {
		return ""
	}
	return cmp.Or(values[verbPath(c)+" "+f.Name], values[f.Name], "VALUE")
}
