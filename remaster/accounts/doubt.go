package accounts

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"

	"relive/tree"
)

const (
	// maxScan is how much of a file is searched, in bytes. What looks like a
	// secret stands in short files, or near the beginning.
	maxScan = 256 << 10
	// maxSearched is how much is searched below one path of a rule, in bytes;
	// each file counts for at least fileCost. Where there is more, the report
	// says so.
	maxSearched = 32 << 20
	fileCost    = 4 << 10
	// sniffed is how much is read to tell text from other data, in bytes.
	sniffed = 512
)

// doubts looks at the new tree for what a person should look at: what the rules
// name, and files that look as if they held a secret.
func (w *work) doubts(root *tree.Node) error {
	view := *w
	view.sys = newSystem(w.ctx, root)
	for _, r := range w.activeRules() {
		if err := view.doubtRule(r); err != nil {
			return fmt.Errorf("rule %s: %w", r.name, err)
		}
	}
	// Homes of people that are not in /home.
	for _, name := range w.people.names {
		home := w.people.homes[name]
		real, n, err := view.sys.resolve(home, true)
		if _, loop := err.(errLinks); loop {
			continue
		}
		if err != nil {
			return err
		}
		if n == nil || real == "" || view.isMade(real) || n.Type != tree.Directory {
			continue
		}
		w.doubt(real, accountsRule, "the home of a person, outside of /home", "%s", name)
	}
	return nil
}

// isMade reports whether a path is in what the plan made.
func (w *work) isMade(path string) bool {
	for ; path != ""; path = parent(path) {
		if w.made[path] {
			return true
		}
	}
	return false
}

func (w *work) doubtRule(r *rule) error {
	except, err := w.exceptions(r)
	if err != nil {
		return err
	}
	skip := map[string]bool{}
	for _, s := range r.does {
		if s.op == opSkip {
			if err := w.paths(s, nil, func(real string, _ *tree.Node) error { skip[real] = true; return nil }); err != nil {
				return err
			}
		}
	}
	for _, s := range r.does {
		switch s.op {
		case opDoubt:
			err = w.paths(s, except, func(real string, n *tree.Node) error {
				if !w.isMade(real) && !(n.Type == tree.Regular && n.Size == 0) {
					w.doubt(real, r.name, r.why, "")
				}
				return nil
			})
		case opScan:
			err = w.scan(r, s, skip)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// scan searches the regular files at and below the paths of a statement.
func (w *work) scan(r *rule, s *statement, skip map[string]bool) error {
	var all []*regexp.Regexp
	for _, e := range s.expressions {
		re, err := e.compile(&w.values)
		if err != nil {
			return err
		}
		if re != nil {
			all = append(all, re)
		}
	}
	if len(all) == 0 {
		return nil
	}
	var buf []byte
	seen := map[string]bool{}
	return w.paths(s, nil, func(real string, n *tree.Node) error {
		left := int64(maxSearched)
		err := tree.Walk(w.ctx, n, func(below string, k *tree.Node) error {
			path := real
			if below != "" {
				path = tree.Join(real, below)
			}
			switch {
			case k.Type == tree.Directory && (skip[path] || seen[path] || w.made[path]):
				return tree.SkipDir
			case k.Type == tree.Directory:
				seen[path] = true
				return nil
			case k.Type != tree.Regular || k.Size == 0 || skip[path] || seen[path] || w.isMade(path):
				return nil
			}
			seen[path] = true
			if left -= fileCost; left < 0 {
				return errSearched
			}
			if buf == nil {
				buf = make([]byte, maxScan)
			}
			text, err := readText(w.ctx, k, buf)
			if err != nil {
				return fmt.Errorf("%s: %w", tree.Quote(path), err)
			}
			left -= max(int64(len(text))-fileCost, 0)
			for _, re := range all {
				if m := re.FindIndex(text); m != nil {
					w.doubt(path, r.name, r.why, "line %d", 1+bytes.Count(text[:m[0]], lf))
					break
				}
			}
			return nil
		})
		if err == errSearched {
			w.doubt(real, r.name, "there is too much below it; not all was searched for: "+r.why, "")
			return nil
		}
		return err
	})
}

// errSearched ends a walk that has searched as much as it may.
var errSearched = errors.New("searched enough")

// readText reads the beginning of a file into buf, or nothing where it is no
// text: where a NUL is near its beginning.
func readText(ctx context.Context, n *tree.Node, buf []byte) ([]byte, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	c, err := n.Open()
	if err != nil {
		return nil, err
	}
	defer c.Close()
	size := int(min(n.Size, maxScan))
	head := min(size, sniffed)
	if err := tree.ReadFull(c, buf[:head], 0); err != nil {
		return nil, err
	}
	if bytes.IndexByte(buf[:head], 0) >= 0 {
		return nil, nil
	}
	return buf[:size], tree.ReadFull(c, buf[head:size], int64(head))
}

// Families are the names of the families that rules know, sorted.
func (r *Rules) Families() []string {
	var names []string
	for _, f := range r.families {
		names = append(names, f.name)
	}
	slices.Sort(names)
	return names
}

// Names are the names of the rules, in their order.
func (r *Rules) Names() []string {
	var names []string
	for _, x := range r.rules {
		names = append(names, x.name)
	}
	return names
}
