// Command relive keeps live Linux systems in shape, offline: it folds what a
// live system has written back into its compressed base, without root, mounts
// or loop devices.
//
// Each verb is a file here that holds flags, wiring and printing; what it does
// is in relive/remaster and below.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"syscall"

	"relive/remaster/refusal"
)

// Exit codes.
const (
	exitDone     = 0
	exitFailed   = 1 // and nothing was changed
	exitUsage    = 2
	exitWarnings = 3 // finished, but a person should read the warnings
	exitRefused  = 4 // unsafe as things stand; nothing was changed
)

// memoryLimit is what the garbage collector keeps the program below, in bytes,
// as far as what is in use allows. It trades a little time for a footprint that
// does not grow with the image.
const memoryLimit = 220 << 20

// limitMemory sets it, unless the user does.
func limitMemory() {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
}

func main() {
	limitMemory()
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// run is main with its surroundings given.
func run(args []string, stdout, stderr io.Writer) int {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(signals)
	go func() {
		s, ok := <-signals
		if !ok {
			return
		}
		cancel(fmt.Errorf("stopped by the signal %v", s))
		// A second one ends the program at once; what it leaves is undone by the
		// next run.
		signal.Stop(signals)
	}()

	a := &app{stdout: stdout, stderr: stderr}
	root := a.command()
	typeUsage(root)
	args = longFlags(args)
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := checkSwallowed(root, args)
	if err == nil {
		err = root.ExecuteContext(ctx)
	}
	a.endProgress()
	if cause := context.Cause(ctx); err != nil && cause != nil && errors.Is(err, context.Canceled) {
		err = cause
	}
	return a.report(err)
}

// longFlags gives mksquashfs's -ef, which would be read as -e f, the form that
// the flag parser knows.
func longFlags(args []string) []string {
	out := slices.Clone(args)
	for i, arg := range out {
		if arg == "--" {
			break
		}
		if arg == "-ef" {
			out[i] = "--exclude-from"
		}
	}
	return out
}

// warned is the error of a verb that finished, with warnings.
var errWarned = errors.New("finished with warnings")

// report prints an error and gives the exit code.
func (a *app) report(err error) int {
	if err == nil && a.unused {
		return exitWarnings
	}
	if err == nil {
		return exitDone
	}
	if errors.Is(err, errWarned) {
		return exitWarnings
	}
	exit, code := exitFailed, refusal.CodeOf(err)
	var usage usageError
	if errors.As(err, &usage) {
		code = refusal.WrongOption
	}
	_, refused := refusal.Is(err)
	switch {
	case code == refusal.WrongOption, errors.Is(err, refusal.ErrOption):
		exit = exitUsage
	case refused, slices.Contains([]refusal.Code{refusal.Unreadable, refusal.Busy, refusal.Interrupted, refusal.NotConnected}, code):
		exit = exitRefused // what is unreadable is found before anything is put in place
	}
	hint := cmp.Or(refusal.Hint(err), hints[code])
	if errors.Is(err, os.ErrPermission) {
		hint = hints[refusal.NotPermitted]
	}
	fmt.Fprintln(a.stderr, "error:", inWords(err.Error()))
	if hint != "" {
		fmt.Fprintln(a.stderr, "hint:", inWords(hint))
	}
	return exit
}
