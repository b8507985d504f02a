package part

import (
	"encoding/json"
	"errors"
	"os/exec"
	"slices"
	"strings"
)

// Said is what a run of relive printed.
type Said struct {
	p        *Part
	Out, Err string
}

// Relive runs relive, which must succeed.
func (p *Part) Relive(args ...string) Said {
	p.Helper()
	return p.ReliveEnds([]int{0}, args...)
}

// ReliveMayWarn is [Part.Relive] where it may end with a warning.
func (p *Part) ReliveMayWarn(args ...string) Said {
	p.Helper()
	return p.ReliveEnds([]int{0, 3}, args...)
}

// ReliveFails runs relive, which must end with an error.
func (p *Part) ReliveFails(args ...string) Said {
	p.Helper()
	return p.ReliveEnds([]int{1, 2, 3, 4, 5, 6, 7, 8, 9}, args...)
}

// ReliveEnds runs relive, which must end with one of the statuses.
func (p *Part) ReliveEnds(wanted []int, args ...string) Said {
	p.Helper()
	var out, diag strings.Builder
	cmd := p.ReliveCommand(args...)
	cmd.Stdout, cmd.Stderr = &out, &diag
	err := cmd.Run()
	said := Said{p, out.String(), diag.String()}
	p.Write(p.In("relive.log"), said.Out)
	p.Write(p.In("relive.err"), said.Err)
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		p.Fatal(err)
	}
	if status := cmd.ProcessState.ExitCode(); !slices.Contains(wanted, status) {
		p.Fatalf("relive %s ended with %d, not with one of %d\nhint: the command was: %s\n%s%s", args[0], status, wanted,
			strings.Join(cmd.Args, " "), Tail(said.Out, 40), Tail(said.Err, 40))
	}
	return said
}

// ReliveCommand is relive, not run.
func (p *Part) ReliveCommand(args ...string) *exec.Cmd {
	words := slices.Concat(p.As, []string{p.relive}, args)
	return exec.Command(words[0], words[1:]...)
}

// Tells wants a text in the output.
func (s Said) Tells(texts ...string) {
	s.p.Helper()
	for _, text := range texts {
		if !strings.Contains(s.Out, text) {
			s.p.Fatalf("relive does not say: %s\n%s", text, Tail(s.Out, 40))
		}
	}
}

// Warns wants a text among the warnings.
func (s Said) Warns(text string) {
	s.p.Helper()
	if !strings.Contains(s.Err, text) {
		s.p.Fatalf("relive does not warn: %s\n%s", text, Tail(s.Err, 40))
	}
}

// IsJSON wants JSON.
func (s Said) IsJSON() {
	s.p.Helper()
	if !json.Valid([]byte(s.Out)) {
		s.p.Fatalf("relive did not print JSON\n%s", Tail(s.Out, 40))
	}
}
