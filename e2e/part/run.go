package part

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
)

// Do runs a program that must succeed, and returns its standard output.
func (p *Part) Do(name string, args ...string) string {
	p.Helper()
	return p.Finish(exec.Command(name, args...))
}

// Finish is [Part.Do] of a command that has an input, a directory or another output.
func (p *Part) Finish(cmd *exec.Cmd) string {
	p.Helper()
	out, err := p.Try(cmd)
	if err != nil {
		p.Fatalf("%.500q: %v\n%s", cmd.Args, err, Tail(err.said, 40))
	}
	return out
}

// Failure is a program that failed, with what it said.
type Failure struct {
	error
	said string
}

// Try runs a program that may fail, and returns its standard output. Names in what
// programs print are bytes, in the order of bytes.
func (p *Part) Try(cmd *exec.Cmd) (string, *Failure) {
	p.Helper()
	var out, diag bytes.Buffer
	if cmd.Stdout == nil {
		cmd.Stdout = &out
	}
	if cmd.Stderr == nil {
		cmd.Stderr = &diag
	}
	if cmd.Env == nil {
		cmd.Env = os.Environ()
	}
	cmd.Env = append(cmd.Env, "LC_ALL=C", "MTOOLS_SKIP_CHECK=1")
	if err := cmd.Run(); err != nil {
		return out.String(), &Failure{err, out.String() + diag.String()}
	}
	return out.String(), nil
}

// Feed is [Part.Do] with a standard input.
func (p *Part) Feed(stdin, name string, args ...string) string {
	p.Helper()
	cmd := exec.Command(name, args...)
	cmd.Stdin = strings.NewReader(stdin)
	return p.Finish(cmd)
}

// Filter runs a program from a file to another one, which it makes or adds to.
func (p *Part) Filter(from, to string, name string, args ...string) {
	p.Helper()
	in, err := os.Open(from)
	p.Must(err)
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	p.Must(err)
	defer out.Close()
	cmd := exec.Command(name, args...)
	cmd.Stdin, cmd.Stdout = in, out
	p.Finish(cmd)
}

// Tail returns the last lines of a text.
func Tail(text string, lines int) string {
	all := strings.SplitAfter(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "")
}
