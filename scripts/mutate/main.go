package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// options are the flags.
type options struct {
	n     int
	seed  uint64
	files string
	lines string
	tests string
	again string
	jobs  int
	nice  int
	short bool
}

func main() {
	var o options
	flag.IntVar(&o.n, "n", 60, "how many changes are tried; 0 tries all")
	flag.Uint64Var(&o.seed, "seed", 1, "which changes are chosen")
	flag.StringVar(&o.files, "files", "", "a regular expression of the names of files to change")
	flag.StringVar(&o.lines, "lines", "", "a regular expression of FILE:LINE to change")
	flag.StringVar(&o.tests, "tests", "", "a regular expression of the tests to run")
	flag.StringVar(&o.again, "again", "", "the output of a former run: try what survived in it")
	flag.IntVar(&o.jobs, "jobs", runtime.NumCPU(), "how many changes are tried at once")
	flag.IntVar(&o.nice, "nice", 15, "the niceness of what runs")
	flag.BoolVar(&o.short, "short", true, "run the tests with -short")
	flag.Parse()
	if flag.NArg() != 1 {
		flag.Usage()
		os.Exit(2)
	}
	survived, err := run(flag.Arg(0), o)
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutate:", err)
		os.Exit(2)
	}
	if survived > 0 {
		os.Exit(1)
	}
}

func run(pkg string, o options) (survived int, err error) {
	if err := nice(o.nice); err != nil {
		return 0, err
	}
	all, err := candidates(pkg, o)
	if err != nil {
		return 0, err
	}
	temp, err := os.MkdirTemp("", "mutate")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(temp)
	s := &suite{pkg: pkg, temp: temp, short: o.short}
	if err := s.measure(o.tests); err != nil {
		return 0, err
	}

	var mu sync.Mutex
	count := map[verdict]int{}
	next := make(chan *mutant)
	var wg sync.WaitGroup
	for i := range o.jobs {
		wg.Go(func() {
			for m := range next {
				v, e := s.try(m, fmt.Sprint(i))
				mu.Lock()
				if e != nil {
					err = errors.Join(err, e)
				}
				if count[v]++; v == lived || v == unseen {
					fmt.Printf("%s:%d: %s\n\t- %s\n\t+ %s\n", m.file, m.line, v, m.before(), m.after())
				}
				mu.Unlock()
			}
		})
	}
	// Changes that do not compile are no loss of the sample: others follow.
	valid := func() int {
		mu.Lock()
		defer mu.Unlock()
		return count[lived] + count[unseen] + count[killed] + count[same]
	}
	for _, m := range all {
		if o.n > 0 && valid() >= o.n {
			break
		}
		if m.same {
			mu.Lock()
			count[same]++
			mu.Unlock()
			continue
		}
		next <- m
	}
	close(next)
	wg.Wait()
	survived = count[lived] + count[unseen]
	fmt.Printf("%s: %d changes, %d found, %d equivalent, %d survived (of them %d in code that no test runs); %d did not compile\n",
		pkg, count[killed]+count[same]+survived, count[killed], count[same], survived, count[unseen], count[invalid])
	return survived, err
}

// nice gives the program, and with it all that it starts, that niceness. Linux
// has one for each thread, which new ones take over.
func nice(n int) error {
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	for _, t := range threads {
		id, err := strconv.Atoi(t.Name())
		if err != nil {
			return err
		}
		if err := syscall.Setpriority(syscall.PRIO_PROCESS, id, n); err != nil && !errors.Is(err, syscall.ESRCH) {
			return err
		}
	}
	return nil
}

// candidates returns the changes to try, in a random order that the seed gives.
func candidates(pkg string, o options) ([]*mutant, error) {
	files, err := regexp.Compile(o.files)
	if err != nil {
		return nil, err
	}
	lines, err := regexp.Compile(o.lines)
	if err != nil {
		return nil, err
	}
	out, err := exec.Command("go", "list", "-f", `{{$d := .Dir}}{{range .GoFiles}}{{$d}}/{{.}}{{"\n"}}{{end}}`, pkg).Output()
	if err != nil {
		return nil, fmt.Errorf("go list %s: %w", pkg, err)
	}
	here, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	var all []*mutant
	for _, name := range strings.Fields(string(out)) {
		if !files.MatchString(filepath.Base(name)) {
			continue
		}
		rel, err := filepath.Rel(here, name)
		if err != nil {
			return nil, err
		}
		found, err := mutants(rel)
		if err != nil {
			return nil, err
		}
		for _, m := range found {
			if lines.MatchString(fmt.Sprintf("%s:%d", m.file, m.line)) {
				all = append(all, m)
			}
		}
	}
	same, err := listed("scripts/mutate/equivalent.txt")
	if err != nil {
		return nil, err
	}
	for _, m := range chosen(all, same) {
		m.same = true
	}
	if o.again != "" {
		again, err := listed(o.again)
		return chosen(all, again), err
	}
	r := rand.New(rand.NewPCG(o.seed, 0))
	r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all, nil
}

// change names a change wherever in the file it stands.
type change struct{ file, before, after string }

func (m *mutant) change() change { return change{m.file, m.before(), m.after()} }

// listed reads a list of changes, and gives the lines in which they stood, 0 for
// any: for each the file or FILE:LINE, the line as it is, which begins with "- ",
// and as it becomes, which begins with "+ ". Comments begin with "#".
func listed(name string) (map[change][]int, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	list := map[change][]int{}
	var c change
	var line int
	for l := range strings.Lines(string(text)) {
		l = strings.TrimSpace(l)
		switch {
		case strings.HasPrefix(l, "- "):
			c.before = l[2:]
		case strings.HasPrefix(l, "+ "):
			c.after = l[2:]
			list[c] = append(list[c], line)
		case l != "" && !strings.HasPrefix(l, "#"):
			file, at, _ := strings.Cut(l, ":")
			at, _, _ = strings.Cut(at, ":")
			c.file = file
			line, _ = strconv.Atoi(at)
		}
	}
	return list, nil
}

// chosen gives the changes that a list means: those of a text that may stand
// anywhere, and else the one that is nearest to where it stood, since lines move.
func chosen(all []*mutant, list map[change][]int) (out []*mutant) {
	like := map[change][]*mutant{}
	for _, m := range all {
		like[m.change()] = append(like[m.change()], m)
	}
	for c, lines := range list {
		for _, line := range lines {
			switch {
			case len(like[c]) == 0:
			case line == 0:
				out = append(out, like[c]...)
			default:
				out = append(out, slices.MinFunc(like[c], func(a, b *mutant) int {
					return cmp.Compare(max(a.line-line, line-a.line), max(b.line-line, line-b.line))
				}))
			}
		}
	}
	return out
}
