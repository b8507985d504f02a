package accounts

import (
	"bytes"
	"context"
	"fmt"
	"regexp"
	"slices"

	"relive/tree"
)

// maxScan is how much of a file is searched, in bytes.
const maxScan = 1 << 20

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

// isMade tells whether a path is in what the plan made.
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
		return tree.Walk(w.ctx, n, func(below string, k *tree.Node) error {
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
			size := int(min(k.Size, maxScan))
			if cap(buf) < size {
				buf = make([]byte, max(size, 64<<10))
			}
			if err := readStart(w.ctx, k, buf[:size]); err != nil {
				return fmt.Errorf("%s: %w", tree.Quote(path), err)
			}
			for _, re := range all {
				if m := re.FindIndex(buf[:size]); m != nil {
					w.doubt(path, r.name, r.why, "line %d", 1+bytes.Count(buf[:m[0]], lf))
					break
				}
			}
			return nil
		})
	})
}

func readStart(ctx context.Context, n *tree.Node, p []byte) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	c, err := n.Open()
	if err != nil {
		return err
	}
	defer c.Close()
	return tree.ReadFull(c, p, 0)
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
