package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"unicode/utf8"
)

// commands are those of the session, typed where the sample is.
var commands = []string{
	"relive status antiX",
	"relive compact antiX",
	"relive verify antiX",
	"relive rollback antiX",
}

const (
	columns     = 100
	timeToType  = 0.04 // seconds a letter
	timeToWait  = 0.4  // from a command to its output
	timeToRead  = 0.25 // seconds a line
	fontWidth   = 7.83 // of a letter of 13 px in the fonts named below
	lineHeight  = 18
	margin      = 16
	promptColor = "#7ee787"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 2 {
		return errors.New("usage: session PROGRAM DIR")
	}
	lines, err := record(args[0])
	if err != nil {
		return err
	}
	for name, text := range map[string]string{"session.cast": cast(lines), "session.svg": picture(lines)} {
		if err := os.WriteFile(filepath.Join(args[1], name), []byte(text), 0o644); err != nil { //nolint:gosec // documents
			return err
		}
	}
	return nil
}

// line is a line of the screen, and when it comes up.
type line struct {
	at      float64 // seconds
	command bool
	text    string
}

// record makes the sample and runs the commands.
func record(program string) (lines []line, err error) {
	dir, err := os.MkdirTemp("", "relive-session-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	program, err = filepath.Abs(program)
	if err != nil {
		return nil, err
	}
	if out, err := exec.Command("go", "run", "relive/scripts/sample", "antix", filepath.Join(dir, "antiX")).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("the sample: %w: %s", err, out)
	}
	at := 0.5
	for _, words := range commands {
		at += float64(len(words)) * timeToType
		lines = append(lines, line{at, true, words})
		at += timeToWait
		c := exec.Command(program, strings.Fields(words)[1:]...)
		c.Dir = dir
		// Go's codecs make the same sizes on every machine.
		c.Env = append(os.Environ(), "RELIVE_CODECS=go", "SOURCE_DATE_EPOCH=", "TERM=dumb")
		out, err := c.CombinedOutput()
		if err != nil {
			return nil, fmt.Errorf("%s: %w: %s", words, err, out)
		}
		for text := range strings.Lines(string(out)) {
			for _, part := range wrap(strings.TrimRight(text, "\n")) {
				lines = append(lines, line{at, false, part})
				at += timeToRead
			}
		}
		at += 1
	}
	return lines, nil
}

// wrap breaks a line as a terminal does.
func wrap(text string) (parts []string) {
	runes := []rune(text)
	for len(runes) > columns {
		parts, runes = append(parts, string(runes[:columns])), runes[columns:]
	}
	return append(parts, string(runes))
}

// cast is the session as asciicast, version 2:
// https://docs.asciinema.org/manual/asciicast/v2/
func cast(lines []line) string {
	var b strings.Builder
	header, _ := json.Marshal(struct { // no field of it can fail
		Version int    `json:"version"`
		Width   int    `json:"width"`
		Height  int    `json:"height"`
		Title   string `json:"title"`
	}{2, columns, len(lines), "relive: a compaction"})
	b.Write(append(header, '\n'))
	for _, l := range lines {
		text := l.text + "\r\n"
		if l.command {
			text = "$ " + text
		}
		quoted, _ := json.Marshal(text) // a string cannot fail
		fmt.Fprintf(&b, "[%.2f, \"o\", %s]\n", l.at, quoted)
	}
	return b.String()
}

// picture is the session as SVG: lines come up one after the other, or stand there from
// the beginning for whoever wants no motion. The screen is dark on any page.
func picture(lines []line) string {
	width := columns
	for _, l := range lines {
		width = max(width, utf8.RuneCountInString(l.text)+2)
	}
	w, h := int(float64(width)*fontWidth)+2*margin, len(lines)*lineHeight+2*margin
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img">
<title>A session of relive: status, compact, verify, rollback</title>
<style>
  text { font: 13px "DejaVu Sans Mono", Menlo, Consolas, monospace; fill: #d0d7de; white-space: pre }
  .c { fill: %s }
  .l { animation: show 0.01s linear both }
  @keyframes show { from { opacity: 0 } to { opacity: 1 } }
  @media (prefers-reduced-motion: reduce) { .l { animation: none } }
</style>
<rect width="%d" height="%d" rx="8" fill="#161b22" stroke="#57606a"/>
`, w, h, w, h, promptColor, w, h)
	for i, l := range lines {
		class, text := "l", l.text
		if l.command {
			class, text = "l c", "$ "+text
		}
		fmt.Fprintf(&b, "<text class=%q style=\"animation-delay: %.2fs\" x=\"%d\" y=\"%d\" xml:space=\"preserve\">%s</text>\n",
			class, l.at, margin, margin+lineHeight*(i+1)-5, html.EscapeString(text))
	}
	b.WriteString("</svg>\n")
	return b.String()
}
