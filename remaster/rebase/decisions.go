package rebase

import (
	"bufio"
	"fmt"
	"io"
	"net/url"
	"strings"

	"relive/remaster/refusal"
	"relive/tree"
)

// Decisions tell by path which side conflicts are decided for. The nil
// *Decisions decides nothing.
//
// As a file, a line holds ours, theirs or ask, blanks, and a path from the root
// of the system, which is for all that lies below it as well; of several paths
// the longest counts, and of the same one the last. In paths, bytes outside of
// 0x21 to 0x7e and '%' are written as %XX. What follows the path, and lines that
// are empty or begin with '#', are for people.
type Decisions struct{ sides map[string]Prefer }

// preferAsk leaves a path to be decided.
const preferAsk Prefer = "ask"

// maxDecisions bounds the lines that are read.
const maxDecisions = 1 << 22

// ReadDecisions reads decisions; name is that of the file, for errors.
func ReadDecisions(r io.Reader, name string) (*Decisions, error) {
	d := &Decisions{sides: map[string]Prefer{}}
	in := bufio.NewScanner(r)
	in.Buffer(make([]byte, 1<<12), 1<<15)
	n := 0
	for in.Scan() {
		if n++; n > maxDecisions {
			return nil, fmt.Errorf("%s: more than %d lines", name, maxDecisions)
		}
		fields := strings.Fields(in.Text())
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		bad := func(fact string) error {
			return refusal.WithHint(fmt.Errorf("%s: line %d: %s", name, n, fact), "a line is ours, theirs or ask, and a path")
		}
		side := Prefer(fields[0])
		switch {
		case side != PreferOverlay && side != PreferBase && side != preferAsk:
			return nil, bad(fmt.Sprintf("%q is neither ours nor theirs nor ask", fields[0]))
		case len(fields) < 2 || !strings.HasPrefix(fields[1], "/"):
			return nil, bad("there is no path, which begins with a slash")
		}
		path, err := url.PathUnescape(fields[1])
		if err != nil {
			return nil, bad(fmt.Sprintf("%s: %v", fields[1], err))
		}
		d.sides[strings.Trim(path, "/")] = side
	}
	if err := in.Err(); err != nil {
		return nil, fmt.Errorf("%s: line %d: %w", name, n+1, err)
	}
	return d, nil
}

// of returns what is decided for a path, "" for nothing.
func (d *Decisions) of(path string) Prefer {
	if d == nil {
		return ""
	}
	for {
		if side, ok := d.sides[path]; ok {
			if side == preferAsk {
				return ""
			}
			return side
		}
		if path == "" {
			return ""
		}
		if i := strings.LastIndexByte(path, '/'); i >= 0 {
			path = path[:i]
		} else {
			path = ""
		}
	}
}

// Has reports whether there is a line for this very path.
func (d *Decisions) Has(path string) bool {
	if d == nil {
		return false
	}
	_, ok := d.sides[path]
	return ok
}

// Line is the line of Decisions that leaves the conflict to be decided.
func (c *Conflict) Line() string {
	what := ""
	if c.Database != "" {
		what = "the database of " + c.Database + ", taken whole; "
	}
	return fmt.Sprintf("%s /%s  # %soverlay: %s; new base: %s\n", preferAsk, tree.Escape(c.Path), what, c.Overlay, c.Base)
}

// DecisionsHead is what a file of decisions begins with.
const DecisionsHead = `# Both the overlay and the new base change these paths. Write ours (what base and
# overlay show now) or theirs (what the new base has) in place of ask, and give
# this file again. A line for a directory decides for all below it that has no
# line of its own: theirs /usr
`
