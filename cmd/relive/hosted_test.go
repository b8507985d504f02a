package main

import (
	"bytes"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"

	"github.com/rogpeppe/go-internal/testscript"
)

// hosted is a process that runs relive again and again, one for each script: a
// script calls it dozens of times, and to start a process takes longer than most
// of what it is told to do. What is left open, locked or set by one call is there
// for the next; that it may not be is tested so, too.
type hosted struct {
	cmd  *exec.Cmd
	env  []string // the names of the variables that relive sees, as those that exec starts do
	ask  *gob.Encoder
	hear *gob.Decoder
	said bytes.Buffer // outside of what was asked, such as a panic
	end  func() error
}

// call is what the process is asked.
type call struct {
	Dir  string
	Env  []string
	Args []string
}

// outcome is what it answers.
type outcome struct {
	Code           int
	Stdout, Stderr []byte
}

// hostVariable is set for a test program that is to be such a process.
const hostVariable = "RELIVE_TEST_HOST"

// hostCalls runs what it is asked until there is no more, with nothing on its
// standard input, and ends the process.
func hostCalls() {
	limitMemory()
	ask, answer := gob.NewDecoder(os.Stdin), gob.NewEncoder(os.Stdout)
	null, err := os.Open(os.DevNull)
	os.Stdin, os.Stdout = null, os.Stderr
	for err == nil {
		err = hostCall(ask, answer)
	}
	if err != io.EOF {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func hostCall(ask *gob.Decoder, answer *gob.Encoder) error {
	var c call
	if err := ask.Decode(&c); err != nil {
		return err
	}
	if err := os.Chdir(c.Dir); err != nil {
		return err
	}
	os.Clearenv()
	for _, v := range c.Env {
		name, value, _ := strings.Cut(v, "=")
		if err := os.Setenv(name, value); err != nil {
			return err
		}
	}
	var stdout, stderr bytes.Buffer
	code := run(c.Args, &stdout, &stderr)
	return answer.Encode(outcome{code, stdout.Bytes(), stderr.Bytes()})
}

// host starts the process for a script, with whose end it ends.
func host(e *testscript.Env) (*hosted, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	h := &hosted{cmd: exec.Command(exe)}
	for _, v := range e.Vars {
		name, _, _ := strings.Cut(v, "=")
		h.env = append(h.env, name)
	}
	h.cmd.Env = append(os.Environ(), hostVariable+"=1")
	h.cmd.Stderr = &h.said
	from, err := h.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	to, err := h.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	h.ask, h.hear = gob.NewEncoder(to), gob.NewDecoder(from)
	h.end = sync.OnceValue(func() error {
		to.Close()
		err := h.cmd.Wait()
		if err == nil && h.said.Len() == 0 {
			return nil
		}
		return fmt.Errorf("the process that runs relive: %v\n%s", err, &h.said)
	})
	if err := h.cmd.Start(); err != nil {
		return nil, err
	}
	e.Defer(func() {
		if err := h.end(); err != nil {
			e.T().Fatal(err)
		}
	})
	return h, nil
}

type hostedKey struct{}

// runHosted runs relive as an exec of it would, and gives the exit code.
func runHosted(ts *testscript.TestScript, args []string) int {
	h := ts.Value(hostedKey{}).(*hosted)
	c := call{Dir: ts.MkAbs("."), Args: args}
	for _, name := range h.env {
		c.Env = append(c.Env, name+"="+ts.Getenv(name))
	}
	var o outcome
	if err := errors.Join(h.ask.Encode(c), h.hear.Decode(&o)); err != nil {
		ts.Fatalf("relive %q: %v", args, errors.Join(err, h.end()))
	}
	_, err := ts.Stdout().Write(o.Stdout)
	_, more := ts.Stderr().Write(o.Stderr)
	ts.Check(errors.Join(err, more))
	return o.Code
}

// relive ARGUMENT... runs relive in a process that goes on after it; exec relive
// starts the program.
func reliveCommand(ts *testscript.TestScript, neg bool, args []string) {
	if code := runHosted(ts, args); (code != exitDone) != neg {
		ts.Fatalf("exit code %d", code)
	}
}
