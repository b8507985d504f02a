package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"
)

// verdict is what became of a change.
type verdict string

const (
	killed  verdict = "found"
	lived   verdict = "survived"
	unseen  verdict = "survived, no test runs it"
	invalid verdict = "does not compile"
	same    verdict = "equivalent"
)

// suite is the tests of a package.
type suite struct {
	pkg, temp string
	dir       string
	short     bool
	tests     []*test
}

// test is one test: how long it runs, and what of the code.
type test struct {
	name  string
	took  time.Duration
	lines map[string]bool // "file.go:12"
}

// slowest is how long the tests that are run first take together.
const slowest = 3 * time.Second

// measure runs every test once, alone, and notes its time and coverage.
func (s *suite) measure(filter string) error {
	only, err := regexp.Compile(filter)
	if err != nil {
		return err
	}
	out, err := exec.Command("go", "list", "-f", "{{.Dir}}", s.pkg).Output()
	if err != nil {
		return fmt.Errorf("go list %s: %w", s.pkg, err)
	}
	s.dir = strings.TrimSpace(string(out))
	program := filepath.Join(s.temp, "cover.test")
	build := exec.Command("go", "test", "-c", "-vet=off", "-cover", "-o", program, s.pkg)
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("go test -c %s: %w\n%s", s.pkg, err, out)
	}
	list := exec.Command(program, "-test.list", ".")
	list.Dir = s.dir
	names, err := list.Output()
	if err != nil {
		return fmt.Errorf("list of tests: %w", err)
	}
	for _, name := range strings.Fields(string(names)) {
		if strings.HasPrefix(name, "Benchmark") || !only.MatchString(name) {
			continue
		}
		profile := filepath.Join(s.temp, "profile")
		_ = os.Remove(profile)
		began := time.Now()
		if out, err := s.execute(program, "cover", 30*time.Minute, name, "-test.coverprofile="+profile); err != nil {
			return fmt.Errorf("%s fails without any change: %w\n%s", name, err, out)
		}
		t := &test{name: name, took: time.Since(began)}
		if t.lines, err = covered(profile); err != nil {
			return err
		}
		s.tests = append(s.tests, t)
	}
	slices.SortStableFunc(s.tests, func(a, b *test) int { return cmp.Compare(a.took, b.took) })
	return nil
}

// covered reads a profile of coverage.
func covered(profile string) (map[string]bool, error) {
	f, err := os.Open(profile)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	lines := map[string]bool{}
	for in := bufio.NewScanner(f); in.Scan(); {
		// NAME.go:LINE.COLUMN,LINE.COLUMN STATEMENTS COUNT
		name, at, ok := strings.Cut(in.Text(), ".go:")
		if !ok || strings.HasSuffix(at, " 0") {
			continue
		}
		var from, to, c1, c2 int
		if _, err := fmt.Sscanf(at, "%d.%d,%d.%d", &from, &c1, &to, &c2); err != nil {
			return nil, fmt.Errorf("%s: %q: %w", profile, in.Text(), err)
		}
		for l := from; l <= to; l++ {
			lines[fmt.Sprintf("%s.go:%d", filepath.Base(name), l)] = true
		}
	}
	return lines, nil
}

// try runs the tests on a change. Worker is a word that no other call at the
// same time gives.
func (s *suite) try(m *mutant, worker string) (verdict, error) {
	var quick, slow []string
	var quickTime, slowTime time.Duration
	for _, t := range s.tests {
		if !m.constant && !t.lines[fmt.Sprintf("%s:%d", filepath.Base(m.file), m.runs)] {
			continue
		}
		if quickTime+t.took <= slowest {
			quick, quickTime = append(quick, t.name), quickTime+t.took
		} else {
			slow, slowTime = append(slow, t.name), slowTime+t.took
		}
	}
	if len(quick)+len(slow) == 0 {
		return unseen, nil
	}
	changed := filepath.Join(s.temp, worker+".go")
	if err := os.WriteFile(changed, m.apply(), 0o600); err != nil {
		return lived, err
	}
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{filepath.Join(s.dir, filepath.Base(m.file)): changed}})
	if err != nil {
		return lived, err
	}
	list := filepath.Join(s.temp, worker+".json")
	if err := os.WriteFile(list, overlay, 0o600); err != nil {
		return lived, err
	}
	program := filepath.Join(s.temp, worker+".test")
	if err := exec.Command("go", "test", "-c", "-vet=off", "-overlay", list, "-o", program, s.pkg).Run(); err != nil {
		return invalid, nil
	}
	for _, part := range []struct {
		names []string
		took  time.Duration
	}{{quick, quickTime}, {slow, slowTime}} {
		if len(part.names) == 0 {
			continue
		}
		names := "^(" + strings.Join(part.names, "|") + ")$"
		_, err := s.execute(program, worker, 30*time.Second+10*part.took, names, "-test.failfast")
		if err != nil {
			return killed, nil
		}
	}
	return lived, nil
}

// execute runs tests in a name space of mounts and a directory for temporary
// files of their own, so that nothing of a test that fails or is cut off stays
// behind.
func (s *suite) execute(program, worker string, limit time.Duration, names string, args ...string) ([]byte, error) {
	temp, err := os.MkdirTemp(s.temp, "run-"+worker+"-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(temp)
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	args = append(args, "-test.run="+names, "-test.timeout=0")
	if s.short {
		args = append(args, "-test.short")
	}
	c := exec.CommandContext(ctx, program, args...)
	c.Dir = s.dir
	c.Env = append(os.Environ(), "TMPDIR="+temp)
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if os.Geteuid() == 0 {
		c.SysProcAttr.Unshareflags = syscall.CLONE_NEWNS
	}
	// A test's own children go with it.
	c.Cancel = func() error { return syscall.Kill(-c.Process.Pid, syscall.SIGKILL) }
	c.WaitDelay = 5 * time.Second
	err = c.Run()
	if ctx.Err() != nil {
		err = errors.Join(ctx.Err(), err)
	}
	return out.Bytes(), err
}
