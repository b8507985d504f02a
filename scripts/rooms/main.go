// Command rooms draws which package below remaster stands on which, as levels: a
// package imports only from lines above its own. docs/architecture.md holds the
// picture.
//
//	rooms        prints it
//	rooms -w     puts it into docs/architecture.md
//	rooms -check fails where docs/architecture.md has another
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
	root  = "relive/remaster/"
	page  = "docs/architecture.md"
	begin = "<!-- rooms: made by scripts/rooms -->\n"
	end   = "<!-- /rooms -->\n"
)

func main() {
	write := flag.Bool("w", false, "put the picture into "+page)
	check := flag.Bool("check", false, "fail where "+page+" has another picture")
	flag.Parse()
	if err := run(*write, *check); err != nil {
		fmt.Fprintln(os.Stderr, "rooms:", err)
		os.Exit(1)
	}
}

func run(write, check bool) error {
	picture, err := draw()
	if err != nil {
		return err
	}
	if !write && !check {
		_, err := os.Stdout.Write(picture)
		return err
	}
	text, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	head, rest, ok := bytes.Cut(text, []byte(begin))
	_, tail, closed := bytes.Cut(rest, []byte(end))
	if !ok || !closed {
		return fmt.Errorf("%s: no place for the picture: %q and %q are to be in it", page, strings.TrimSpace(begin), strings.TrimSpace(end))
	}
	now := slices.Concat(head, []byte(begin), picture, []byte(end), tail)
	switch {
	case bytes.Equal(now, text):
		return nil
	case check:
		return fmt.Errorf("%s does not show the packages as they are: go run ./scripts/rooms -w", page)
	}
	return os.WriteFile(page, now, 0o644)
}

// draw lists the packages by levels. One that imports nothing below remaster is
// on level 0, any other one level above the highest that it imports.
func draw() ([]byte, error) {
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
		if !ok {
			continue // the page that shows the picture
		}
		imports[name] = nil
		for _, i := range f[1:] {
			if below, ok := strings.CutPrefix(i, root); ok {
				imports[name] = append(imports[name], below)
			}
		}
	}
	levels := map[string]int{}
	var level func(name string) int
	level = func(name string) int {
		n, known := levels[name]
		if !known {
			for _, below := range imports[name] {
				n = max(n, level(below)+1)
			}
			levels[name] = n
		}
		return n
	}
	var rows [][]string
	for name := range imports {
		n := level(name)
		for len(rows) <= n {
			rows = append(rows, nil)
		}
		rows[n] = append(rows[n], name)
	}
	var b bytes.Buffer
	fmt.Fprintln(&b, "```")
	for n, names := range rows {
		slices.Sort(names)
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
	return b.Bytes(), nil
}
