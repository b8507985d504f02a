package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"relive/remaster/job"
	"relive/remaster/live"
	"relive/remaster/replace"
	"relive/remaster/swap"
)

// app is what the verbs share: where they print and the flags that all have.
type app struct {
	stdout, stderr io.Writer
	quiet          bool
	json           bool
	codecs         string // which implementations, as codec.ParseMode takes it
	jobs           int
	set            string // which persistence set is meant
	overlay, home  string // where the overlay and the image of homes are, "" where a boot has them
	unused         bool   // a boot uses an overlay that was not opened
	progress       *progress
}

// command makes the tree of commands.
func (a *app) command() *cobra.Command {
	root := &cobra.Command{
		Use:   "relive",
		Short: "keep live Linux systems in shape, offline",
		Long: `relive folds what a live Linux system has written back into its compressed
base image. It reads and writes the images themselves: no root, no mounts, no
loop devices.`,
		Version:       build().String(),
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetVersionTemplate("{{.Name}} {{.Version}}\n")
	root.Flags().BoolP("version", "V", false, "print the version")
	f := root.PersistentFlags()
	f.BoolVarP(&a.quiet, "quiet", "q", false, "no progress")
	f.BoolVar(&a.json, "json", false, "print JSON for machines")
	f.IntVarP(&a.jobs, "jobs", "j", 0, "how many CPUs to compress on (default all)")
	f.StringVar(&a.codecs, "codecs", "",
		"which codecs compress: native, those of the system's libraries, go, or auto, native where they load (default auto)")
	root.AddCommand(
		a.statusCommand(),
		a.diffCommand(),
		a.compactCommand(),
		a.snapshotCommand(),
		a.updateCommand(),
		a.rebaseCommand(),
		a.saveCommand(),
		a.resetCommand(),
		a.syncHomeCommand(),
		a.setsCommand(),
		a.resizeCommand(),
		a.verifyCommand(),
		a.doctorCommand(),
		a.rollbackCommand(),
		a.recoverCommand(),
		a.lsCommand(),
		a.isoCommand(),
		a.dmCommand(),
		a.versionCommand(),
		a.generateCommand(root),
	)
	a.setHelp(root)
	root.InitDefaultCompletionCmd()
	if c := child(root, "completion"); c != nil {
		c.Short = "write a script with which a shell completes verbs and options"
	}
	root.InitDefaultHelpCmd()
	setExamples(root)
	a.setCompletion(root)
	return root
}

// env makes what the pipelines need.
func (a *app) env() (*job.Env, error) {
	lib, err := a.library()
	if err != nil {
		return nil, err
	}
	if a.jobs < 0 {
		return nil, usageError{fmt.Errorf("--jobs %d", a.jobs)}
	}
	e := &job.Env{Library: lib, Jobs: a.jobs, Tool: "relive " + build().Version}
	if s := os.Getenv("SOURCE_DATE_EPOCH"); s != "" {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil || n < 0 {
			return nil, usageError{fmt.Errorf("SOURCE_DATE_EPOCH=%q is no number of seconds", s)}
		}
		e.SourceDate = &n
	}
	if !a.quiet {
		a.progress = newProgress(a.stderr)
		e.Progress = a.progress
	}
	return e, nil
}

func (a *app) endProgress() {
	if a.progress != nil {
		a.progress.end()
	}
}

// printJSON prints a value as indented JSON.
func (a *app) printJSON(v any) error {
	a.endProgress()
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return err
	}
	_, err := a.stdout.Write(jsonInWords(b.Bytes()))
	return err
}

func (a *app) printf(format string, args ...any) {
	a.endProgress()
	fmt.Fprint(a.stdout, inWords(fmt.Sprintf(format, args...)))
}

func (a *app) warn(format string, args ...any) {
	a.endProgress()
	fmt.Fprintln(a.stderr, "warning:", inWords(fmt.Sprintf(format, args...)))
}

// settling says what to do about a run that was interrupted.
type settling int

const (
	mustSettle settling = iota // finish or undo it, or fail
	maySettle                  // finish or undo it where the directory can be written
	lookOnly                   // only tell of it
)

// or gives t where it holds, else s.
func (s settling) or(t settling, holds bool) settling {
	if holds {
		return t
	}
	return s
}

// settle looks for what an interrupted run has left in a live directory, and
// finishes or undoes it.
func (a *app) settle(ctx context.Context, dir string, how settling) error {
	for _, d := range live.JournalDirs(dir) {
		if err := a.settleIn(ctx, d, how); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) settleIn(ctx context.Context, dir string, how settling) error {
	state, err := swap.Inspect(swap.OS{}, dir)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || state == nil && err == nil {
		return nil // what is wrong with dir, the verb itself tells
	}
	if err != nil {
		return err
	}
	if state.Running {
		if how != mustSettle {
			a.warn("%s", state)
			return nil
		}
		return fmt.Errorf("%s: %w: %s", dir, swap.ErrBusy, state)
	}
	a.warn("%s", state)
	if how == lookOnly || how == maySettle && errors.Is(state.Problem, swap.ErrMissing) {
		return nil
	}
	done, err := swap.Recover(ctx, swap.OS{}, dir)
	if how == maySettle && (errors.Is(err, os.ErrPermission) || errors.Is(err, syscall.EROFS)) {
		a.warn("it is left as it is: %v", err)
		return nil
	}
	if err != nil {
		return err
	}
	a.warn("%s", outcomeWords(done))
	return nil
}

// outcomeWords tells what a recovery did.
func outcomeWords(o *swap.Outcome) string {
	words := "the interrupted run is undone"
	if o.Finished {
		words = "the interrupted run is finished"
	}
	for _, list := range []struct {
		what  string
		names []string
	}{{"removed", o.Removed}, {"changed by another program meanwhile", o.Changed}, {"kept", o.Kept}} {
		if len(list.names) > 0 {
			words += "; " + list.what + ": " + strings.Join(list.names, ", ")
		}
	}
	return words
}

// onFlag adds the flag that tells which of several live systems on a stick is
// meant.
func onFlag(c *cobra.Command, on *string) {
	c.Flags().StringVar(on, "on", "", "live system on an unmounted stick: PARTITION/DIR, such as 1/antiX")
}

// allowFlag adds the flag with which scripts name what need not be there.
func allowFlag(c *cobra.Command, to *bool) {
	c.Flags().BoolVar(to, "allow-unmatched", false, "warn of what is named and not there, and go on without it")
}

// setFlag adds the flag that tells which persistence set takes the place of the
// default one; open, and options, heed it.
func (a *app) setFlag(c *cobra.Command) {
	c.Flags().StringVar(&a.set, "set", "", "the persistence set that is meant (relive sets lists them)")
}

// setArg is the flag as it was given, to stand in a command that is named.
func (a *app) setArg() string {
	if a.set == "" {
		return ""
	}
	return " --set " + a.set
}

// placeFlags adds the flags that tell where the overlay and the homes are; options
// heed them.
func (a *app) placeFlags(c *cobra.Command) {
	c.Flags().StringVar(&a.overlay, "overlay", "", "the file or the mounted directory that holds the overlay, where it is not on the "+
		"medium; on an unmounted stick its partition (2, 2/FILE)")
	c.Flags().StringVar(&a.home, "home", "", "the file that holds the image of homes, or the mounted directory of them, likewise")
}

// placeArgs are these flags as they were given, to stand in a command that is named.
func (a *app) placeArgs() (args string) {
	for _, f := range []struct{ name, value string }{{"overlay", a.overlay}, {"home", a.home}} {
		if f.value != "" {
			args += " --" + f.name + " " + f.value
		}
	}
	return args
}

// options are those of the live directory that the flags name.
func (a *app) options() []live.Option {
	return []live.Option{live.WithSet(a.set), live.WithOverlay(a.overlay), live.WithHome(a.home)}
}

// tellUnused tells of what looks like an overlay and was not opened.
func (a *app) tellUnused(l *live.Live) {
	for _, u := range l.Unused {
		text := u.String()
		if u.Hint != "" {
			text += "; " + u.Hint
		}
		a.warn("%s", text)
		a.unused = a.unused || u.Boots
	}
}

// tellParts tells of runs that were interrupted and take part where the overlay
// is, with another base.
func (a *app) tellParts(l *live.Live) error {
	if !l.OnHost() {
		return nil
	}
	dirs, err := replace.OverlayDirs(l.Dir, &l.Files)
	for _, dir := range dirs {
		state, serr := swap.Inspect(swap.OS{}, dir)
		if errors.Is(serr, os.ErrPermission) {
			continue // who replaces something there will be told
		}
		if err = errors.Join(err, serr); state != nil {
			a.warn("%s: %s", dir, state)
		}
	}
	return err
}

// open settles a live directory and opens it, or opens the live system on a
// device or image of a stick, with the set that the flags name.
func (a *app) open(ctx context.Context, path, on string, how settling) (*job.Env, *live.Live, error) {
	return a.openWith(ctx, path, on, how, a.options()...)
}

// openWith is open with options that are given.
func (a *app) openWith(ctx context.Context, path, on string, how settling, opts ...live.Option) (*job.Env, *live.Live, error) {
	e, err := a.env()
	if err != nil {
		return nil, nil, err
	}
	if st, err := os.Stat(path); err == nil && !st.IsDir() {
		l, err := live.OpenOnStick(ctx, e, path, on, opts...)
		if err == nil {
			a.tellUnused(l)
		}
		return e, l, err
	}
	if on != "" {
		return nil, nil, usageError{fmt.Errorf("--on names a live system on a device or image; %s is neither", path)}
	}
	if err := a.settle(ctx, path, how); err != nil {
		return nil, nil, err
	}
	l, err := live.Open(ctx, e, path, opts...)
	if err == nil {
		a.tellUnused(l)
		err = a.tellParts(l)
	}
	return e, l, err
}
