package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// inputMax bounds the size of an input that is kept, in bytes: what is larger
// would weigh on the repository more than it adds.
const inputMax = 16 << 10

func main() {
	kept := 0
	for _, arg := range os.Args[1:] {
		pkg, name, ok := strings.Cut(arg, " ")
		if !ok {
			fatal(fmt.Errorf("%q: not PACKAGE TARGET", arg))
		}
		n, err := keep(pkg, name)
		if err != nil {
			fatal(fmt.Errorf("%s %s: %w", pkg, name, err))
		}
		kept += n
	}
	fmt.Printf("%d inputs kept\n", kept)
}

func fatal(err error) {
	fmt.Fprintln(os.Stderr, "error:", err)
	os.Exit(1)
}

// target is a fuzz target with its tests built for coverage.
type target struct {
	name string
	bin  string
	dir  string // of the package
	tmp  string
}

// keep copies the inputs of one target and returns their number.
func keep(pkg, name string) (int, error) {
	cache, err := output("go", "env", "GOCACHE")
	if err != nil {
		return 0, err
	}
	found, err := filepath.Glob(filepath.Join(cache, "fuzz", pkg, name, "*"))
	if err != nil || len(found) == 0 {
		return 0, err
	}
	t := &target{name: name}
	if t.dir, err = output("go", "list", "-f", "{{.Dir}}", pkg); err != nil {
		return 0, err
	}
	if t.tmp, err = os.MkdirTemp("", "corpus"); err != nil {
		return 0, err
	}
	defer os.RemoveAll(t.tmp)
	t.bin = filepath.Join(t.tmp, "test")
	if _, err := output("go", "test", "-c", "-cover", "-o", t.bin, pkg); err != nil {
		return 0, err
	}
	reached, err := t.reached("^" + name + "$")
	if err != nil {
		return 0, err
	}
	slices.SortFunc(found, bySize)
	candidates := slices.DeleteFunc(found, func(path string) bool {
		st, err := os.Stat(path)
		return err != nil || st.Size() > inputMax || t.has(path)
	})
	n, err := t.choose(candidates, reached)
	// Where nothing was kept no empty directories stay.
	for dir := t.corpus(); os.Remove(dir) == nil && dir != t.dir; {
		dir = filepath.Dir(dir)
	}
	return n, err
}

// bySize sorts small inputs first: of two that reach the same code the smaller
// is kept.
func bySize(a, b string) int {
	size := func(path string) int64 {
		st, err := os.Stat(path)
		if err != nil {
			return 0
		}
		return st.Size()
	}
	if d := size(a) - size(b); d != 0 {
		return int(d)
	}
	return strings.Compare(a, b)
}

// choose keeps those of the candidates that reach more than what was reached.
// Many are tried at once, and halved where they add something.
func (t *target) choose(candidates []string, reached map[string]bool) (int, error) {
	if len(candidates) == 0 {
		return 0, nil
	}
	adds, now, err := t.adds(candidates, reached)
	if err != nil || !adds {
		return 0, err
	}
	if len(candidates) == 1 {
		for block := range now {
			reached[block] = true
		}
		return 1, t.copy(candidates[0])
	}
	half := len(candidates) / 2
	a, err := t.choose(candidates[:half], reached)
	if err != nil {
		return a, err
	}
	b, err := t.choose(candidates[half:], reached)
	return a + b, err
}

// adds reports whether these inputs reach code that was not reached, and what
// they reach. They lie in the package's testdata for that long.
func (t *target) adds(candidates []string, reached map[string]bool) (adds bool, now map[string]bool, err error) {
	var names []string
	for _, path := range candidates {
		names = append(names, filepath.Base(path))
		defer os.Remove(filepath.Join(t.corpus(), filepath.Base(path)))
		if err := t.copy(path); err != nil {
			return false, nil, err
		}
	}
	if now, err = t.reached("^" + t.name + "$/^(" + strings.Join(names, "|") + ")$"); err != nil {
		return false, nil, err
	}
	for block := range now {
		if !reached[block] {
			return true, now, nil
		}
	}
	return false, now, nil
}

func (t *target) corpus() string { return filepath.Join(t.dir, "testdata", "fuzz", t.name) }

func (t *target) has(path string) bool {
	_, err := os.Stat(filepath.Join(t.corpus(), filepath.Base(path)))
	return err == nil
}

// copy copies an input to the package.
func (t *target) copy(path string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(t.corpus(), 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(t.corpus(), filepath.Base(path)), b, 0o644)
}

// reached runs tests in their package and returns the blocks of code that they
// reached.
func (t *target) reached(run string) (map[string]bool, error) {
	profile := filepath.Join(t.tmp, "profile")
	cmd := exec.Command(t.bin, "-test.run", run, "-test.coverprofile", profile, "-test.timeout", (5 * time.Minute).String())
	cmd.Dir = t.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, out)
	}
	b, err := os.ReadFile(profile)
	if err != nil {
		return nil, err
	}
	blocks := map[string]bool{}
	for s := bufio.NewScanner(bytes.NewReader(b)); s.Scan(); {
		if block, count, ok := strings.Cut(s.Text(), " "); ok && !strings.HasSuffix(count, " 0") {
			blocks[block] = true
		}
	}
	return blocks, nil
}

func output(name string, args ...string) (string, error) {
	out, err := exec.Command(name, args...).Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w", name, strings.Join(args, " "), err)
	}
	return strings.TrimSpace(string(out)), nil
}
