package main

import (
	"encoding/json"
	"encoding/xml"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"relive/tree/systest"
)

// What is another at every run, or on another machine: durations, room on a disk.
var changing = regexp.MustCompile(`in [0-9.]+ m?s|(?m:^disk +.*$)|[0-9.]+ [KMGT]?i?B(/s| free)`)

// TestSession: docs/session.cast shows what the program of today prints, but for times
// and the room on the disk, and docs/session.svg shows the same.
func TestSession(t *testing.T) {
	systest.NeedTools(t, "go")
	program := filepath.Join(systest.TempDir(t), "relive")
	systest.Run(t, "go", "build", "-o", program, "relive/cmd/relive")
	now, err := record(program)
	systest.Must(t, err)
	text, err := os.ReadFile("../../docs/session.cast")
	systest.Must(t, err)
	var recorded []line
	for i, l := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		if i == 0 {
			continue
		}
		var event []any
		systest.Must(t, json.Unmarshal([]byte(l), &event))
		shown := strings.TrimSuffix(event[2].(string), "\r\n")
		words, command := strings.CutPrefix(shown, "$ ")
		recorded = append(recorded, line{event[0].(float64), command, words})
	}
	screen := func(lines []line) string {
		var b strings.Builder
		for _, l := range lines {
			b.WriteString(l.text + "\n")
		}
		return b.String()
	}
	if got, want := changing.ReplaceAllString(screen(recorded), "…"), changing.ReplaceAllString(screen(now), "…"); got != want {
		t.Errorf("docs/session.cast is of another program: make docs. It shows\n%s\nand not\n%s", got, want)
	}
	if cast(recorded) != string(text) {
		t.Error("docs/session.cast is not as it would be written")
	}
	svg, err := os.ReadFile("../../docs/session.svg")
	systest.Must(t, err)
	if picture(recorded) != string(svg) {
		t.Error("docs/session.svg shows something else than docs/session.cast: make docs")
	}
	d := xml.NewDecoder(strings.NewReader(string(svg)))
	for {
		if _, err := d.Token(); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
}
