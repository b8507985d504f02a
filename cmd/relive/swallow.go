package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// checkSwallowed refuses an option that takes another option for its value, as
// "-e -q" and "-o --force" do, and one with an empty value, as an unset variable
// of a script leaves it: the first would do something else than was asked for,
// and the second something that was not asked for at all, such as to change the
// live directory where a file was to be written. "-e=-q" says that -q is meant.
func checkSwallowed(root *cobra.Command, args []string) error {
	c, rest, err := root.Find(args)
	if err != nil {
		return nil // cobra tells
	}
	c.InheritedFlags() // which makes the inherited ones known below
	for i := 0; i < len(rest); i++ {
		arg := rest[i]
		if arg == "--" {
			return nil
		}
		name, value, joined := optionOf(c, arg)
		if name == nil || name.NoOptDefVal != "" {
			continue
		}
		if !joined {
			if i++; i == len(rest) {
				return nil // pflag tells
			}
			value = rest[i]
			if other := isOption(c, value); other != "" {
				return usageError{fmt.Errorf("%s takes the option %s for its value; give it one, or write %s=%s if that is meant",
					shownFlag(name), other, shownFlag(name), value)}
			}
		}
		if value == "" {
			return usageError{fmt.Errorf("%s: the value is empty", shownFlag(name))}
		}
	}
	return nil
}

func shownFlag(f *pflag.Flag) string { return "--" + f.Name }

// optionOf returns the last flag of an argument and its value, where that is in
// the same argument; nil for what is no flag.
func optionOf(c *cobra.Command, arg string) (f *pflag.Flag, value string, joined bool) {
	if long, ok := strings.CutPrefix(arg, "--"); ok {
		name, value, joined := strings.Cut(long, "=")
		return c.Flags().Lookup(name), value, joined
	}
	letters, ok := strings.CutPrefix(arg, "-")
	for ok && letters != "" {
		if f = c.Flags().ShorthandLookup(letters[:1]); f == nil {
			return nil, "", false
		}
		letters = letters[1:]
		if f.NoOptDefVal != "" && !strings.HasPrefix(letters, "=") {
			continue
		}
		if letters == "" {
			return f, "", false
		}
		return f, strings.TrimPrefix(letters, "="), true
	}
	return f, "", false
}

// isOption returns the option that an argument would be, "" for none. A number
// with a sign before it is none.
func isOption(c *cobra.Command, arg string) string {
	if arg == "--" {
		return arg
	}
	if long, ok := strings.CutPrefix(arg, "--"); ok {
		name, _, _ := strings.Cut(long, "=")
		if c.Flags().Lookup(name) != nil || name == "help" {
			return "--" + name
		}
		return ""
	}
	letter, ok := strings.CutPrefix(arg, "-")
	if !ok || letter == "" || c.Flags().ShorthandLookup(letter[:1]) == nil && letter[0] != 'h' {
		return ""
	}
	return arg
}
