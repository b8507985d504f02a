package main

import (
	"cmp"
	"fmt"
	"os"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"relive/docs"
	"relive/internal/manual"
)

// setHelp has the texts of help grouped by task, and help show topics of the manual
// as well.
func (a *app) setHelp(root *cobra.Command) {
	root.SetHelpFunc(func(c *cobra.Command, _ []string) { a.printf("%s", helpText(c, a.columns())) })
	root.SetUsageFunc(func(c *cobra.Command) error {
		a.printf("%s", helpText(c, a.columns()))
		return nil
	})
	root.SetHelpCommand(a.helpCommand(root))
}

// columns is how wide texts are set: as the terminal is, but not so wide that a line
// is hard to follow.
func (a *app) columns() int {
	const usual, most = 80, 120
	width, _ := strconv.Atoi(os.Getenv("COLUMNS"))
	if f, ok := a.stdout.(*os.File); ok && width == 0 {
		if ws, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ); err == nil {
			width = int(ws.Col)
		}
	}
	return min(max(cmp.Or(width, usual), 40), most)
}

func (a *app) helpCommand(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use:   "help [VERB | TOPIC]",
		Short: "show how a verb is used, or a topic of the manual",
		Long: `Shows the help of a verb, or a topic of the manual where man is not at hand:
layouts (which live systems, and where their boots have the changes), safety
(the order of writes, and what survives a crash), exclude (the lists of what is
left out).`,
		ValidArgsFunction: func(c *cobra.Command, args []string, _ string) (names []string, d cobra.ShellCompDirective) {
			at, _, err := root.Find(args)
			if err != nil {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			for _, sub := range at.Commands() {
				if !sub.Hidden {
					names = append(names, sub.Name()+"\t"+sub.Short)
				}
			}
			if at == root {
				for _, t := range docs.Topics {
					names = append(names, t.Name+"\t"+t.Short)
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 1 {
				if t, ok := docs.TopicOf(args[0]); ok {
					a.printf("%s", manual.Text(manual.Parse(t.Text()), a.columns()))
					return nil
				}
			}
			at, rest, err := root.Find(args)
			if err != nil || len(rest) > 0 {
				return usageError{fmt.Errorf("there is no verb or topic %q", strings.Join(args, " "))}
			}
			at.InitDefaultHelpFlag()
			return at.Help()
		},
	}
}

// helpText is the help of a verb: what it is for, how it is called, and its options
// in groups.
func helpText(c *cobra.Command, width int) string {
	var b strings.Builder
	b.WriteString(manual.Text(manual.Prose(cmp.Or(c.Long, c.Short)), width) + "\nUsage:\n")
	if c.Runnable() && c.HasParent() {
		b.WriteString("  " + usageLine(c) + "\n")
	}
	if c.HasAvailableSubCommands() {
		b.WriteString("  " + c.CommandPath() + " VERB [options]\n")
	}
	if c.Example != "" {
		b.WriteString("\nExamples:\n" + c.Example + "\n")
	}
	if !c.HasParent() {
		for _, g := range verbGroups {
			var rows [][2]string
			for _, name := range g.verbs {
				if sub := child(c, name); sub != nil {
					rows = append(rows, [2]string{name, sub.Short})
				}
			}
			section(&b, g.title, rows, width)
		}
		var rows [][2]string
		for _, t := range docs.Topics {
			rows = append(rows, [2]string{"help " + t.Name, t.Short})
		}
		section(&b, "Topics", rows, width)
	} else if c.HasAvailableSubCommands() {
		var rows [][2]string
		for _, sub := range c.Commands() {
			if sub.IsAvailableCommand() {
				rows = append(rows, [2]string{sub.Name(), sub.Short})
			}
		}
		section(&b, "Verbs", rows, width)
	}
	for _, g := range groupsOf(c) {
		var rows [][2]string
		for _, name := range g.flags {
			f := flagOf(c, name)
			rows = append(rows, [2]string{flagHead(c, f), flagUsage(f)})
		}
		section(&b, g.title, rows, width)
	}
	if c.HasAvailableSubCommands() {
		b.WriteString("\n\"" + c.CommandPath() + " VERB --help\" tells more of a verb.\n")
	}
	return b.String()
}

// usageLine is how a verb is called.
func usageLine(c *cobra.Command) string {
	return strings.Replace(c.UseLine(), "[flags]", "[options]", 1)
}

func child(c *cobra.Command, name string) *cobra.Command {
	for _, sub := range c.Commands() {
		if sub.Name() == name {
			return sub
		}
	}
	return nil
}

func flagOf(c *cobra.Command, name string) *pflag.Flag {
	if f := c.Flags().Lookup(name); f != nil {
		return f
	}
	return c.InheritedFlags().Lookup(name)
}

// flagHead is a flag as it is given: "-b, --block-size SIZE".
func flagHead(c *cobra.Command, f *pflag.Flag) string {
	head := "    --" + f.Name
	if f.Shorthand != "" {
		head = "-" + f.Shorthand + ", --" + f.Name
	}
	if v := valueOf(c, f); v != "" {
		head += " " + v
	}
	return head
}

// flagUsage tells what a flag does, and what holds without it.
func flagUsage(f *pflag.Flag) string {
	if f.DefValue == "" || f.DefValue == "[]" || f.DefValue == "false" || f.DefValue == "0" || strings.Contains(f.Usage, "(default") {
		return f.Usage
	}
	return f.Usage + " (default " + f.DefValue + ")"
}

// section writes rows in two columns, the second wrapped.
func section(b *strings.Builder, title string, rows [][2]string, width int) {
	if len(rows) == 0 {
		return
	}
	const widest = 30
	left := 0
	for _, r := range rows {
		if n := utf8.RuneCountInString(r[0]); n <= widest {
			left = max(left, n)
		}
	}
	b.WriteString("\n" + title + ":\n")
	indent := strings.Repeat(" ", left+4)
	for _, r := range rows {
		if n := utf8.RuneCountInString(r[0]); n > left {
			b.WriteString("  " + r[0] + "\n" + manual.Wrap(r[1], indent, indent, width))
			continue
		}
		b.WriteString(manual.Wrap(r[1], fmt.Sprintf("  %-*s  ", left, r[0]), indent, width))
	}
}
