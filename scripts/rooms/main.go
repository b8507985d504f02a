package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
)

const (
	root = "relive/remaster/"
	// rig is what tests of the rooms share. It is none of them, and a rule of its own
	// keeps it to tests.
	rig = root + "livetest"
)

// place is where a text made here stands in a file.
type place struct{ file, begin, end string }

var (
	page  = place{"docs/architecture.md", "<!-- rooms: made by scripts/rooms -->\n", "<!-- /rooms -->\n"}
	rules = place{".golangci.yml", "        # rooms: made by scripts/rooms\n", "        # /rooms\n"}
)

func main() {
	write := flag.Bool("w", false, "put picture and rules in place")
	check := flag.Bool("check", false, "fail where others are there")
	flag.Parse()
	if err := run(*write, *check); err != nil {
		fmt.Fprintln(os.Stderr, "rooms:", err)
		os.Exit(1)
	}
}

func run(write, check bool) error {
	rows, err := levels()
	if err != nil {
		return err
	}
	if !write && !check {
		_, err := os.Stdout.Write(draw(rows))
		return err
	}
	if err := page.put(draw(rows), check); err != nil {
		return err
	}
	return rules.put(guard(rows), check)
}

// put puts a text in its place, or with check only looks whether it is there.
func (p *place) put(what []byte, check bool) error {
	text, err := os.ReadFile(p.file)
	if err != nil {
		return err
	}
	head, rest, ok := bytes.Cut(text, []byte(p.begin))
	_, tail, closed := bytes.Cut(rest, []byte(p.end))
	if !ok || !closed {
		return fmt.Errorf("%s: %q and %q are to be in it", p.file, strings.TrimSpace(p.begin), strings.TrimSpace(p.end))
	}
	now := slices.Concat(head, []byte(p.begin), what, []byte(p.end), tail)
	switch {
	case bytes.Equal(now, text):
		return nil
	case check:
		return fmt.Errorf("%s does not have the packages as they are: go run ./scripts/rooms -w", p.file)
	}
	return os.WriteFile(p.file, now, 0o644)
}

// levels lists the packages by levels. One that imports nothing below remaster is
// on level 0, any other one level above the highest that it imports.
func levels() (rows [][]string, err error) {
	cmd := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "./remaster/...")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, err
	}
	imports := map[string][]string{}
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		name, ok := strings.CutPrefix(f[0], root)
		if !ok || f[0] == rig {
			continue // the page that shows the picture, or no room
		}
		if slices.Contains(f[1:], rig) {
			return nil, fmt.Errorf("%s imports %s, which is for tests alone", f[0], rig)
		}
		imports[name] = nil
		for _, i := range f[1:] {
			if below, ok := strings.CutPrefix(i, root); ok {
				imports[name] = append(imports[name], below)
			}
		}
	}
	known := map[string]int{}
	var level func(name string) int
	level = func(name string) int {
		n, ok := known[name]
		if !ok {
			for _, below := range imports[name] {
				n = max(n, level(below)+1)
			}
			known[name] = n
		}
		return n
	}
	for name := range imports {
		n := level(name)
		for len(rows) <= n {
			rows = append(rows, nil)
		}
		rows[n] = append(rows[n], name)
	}
	for _, names := range rows {
		slices.Sort(names)
	}
	return rows, nil
}

// draw is the picture.
func draw(rows [][]string) []byte {
	var b bytes.Buffer
	fmt.Fprintln(&b, "```")
	for n, names := range rows {
		line := fmt.Sprintf("%d ", n)
		for _, name := range names {
			if len(line)+1+len(name) > 90 {
				fmt.Fprintln(&b, line)
				line = "  "
			}
			line += " " + name
		}
		fmt.Fprintln(&b, line)
	}
	fmt.Fprintln(&b, "```")
	return b.Bytes()
}

// guard is a rule of depguard for each level: what is on it imports nothing from
// there or above.
func guard(rows [][]string) []byte {
	var b bytes.Buffer
	for n, names := range rows {
		fmt.Fprintf(&b, "        remaster-%d:\n          list-mode: lax\n          files:\n            - \"!$test\"\n", n)
		for _, name := range names {
			fmt.Fprintf(&b, "            - \"${base-path}/remaster/%s/*.go\"\n", name)
		}
		fmt.Fprintf(&b, "          deny:\n")
		for _, above := range slices.Sorted(slices.Values(slices.Concat(rows[n:]...))) {
			fmt.Fprintf(&b, "            - { pkg: relive/remaster/%s$, desc: "+
				"\"it is on this level or above: see docs/architecture.md\" }\n", above)
		}
	}
	return b.Bytes()
}
