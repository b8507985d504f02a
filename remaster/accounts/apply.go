package accounts

import (
	"bytes"
	"fmt"
	"slices"

	"relive/tree"
)

// dropped is a path that is not in the new tree.
type dropped struct {
	rule  *rule
	links []link // files with several names, at the path or below
}

// covered reports whether a path is dropped, itself or by a directory above it.
func (w *work) covered(path string) bool {
	for {
		if w.drops[path] != nil {
			return true
		}
		if path == "" {
			return false
		}
		path = parent(path)
	}
}

// activeRules are those of the mode and the family.
func (w *work) activeRules() []*rule {
	var out []*rule
	for _, r := range w.rules.rules {
		if r.secure && w.o.Mode != Secure {
			continue
		}
		if len(r.families) > 0 && !slices.ContainsFunc(r.families, func(f string) bool { return slices.Contains(w.lineage, f) }) {
			continue
		}
		out = append(out, r)
	}
	return out
}

// applyRules does what the rules say in the order: what is kept, what is
// dropped, what is edited. Among equals the order is that of the rules.
func (w *work) applyRules() error {
	rules := w.activeRules()
	for _, r := range rules {
		for _, s := range r.does {
			if s.op == opKeep {
				if err := w.paths(s, nil, w.keepPath); err != nil {
					return err
				}
			}
		}
	}
	for _, dropping := range []bool{true, false} {
		for _, r := range rules {
			except, err := w.exceptions(r)
			if err != nil {
				return err
			}
			for _, s := range r.does {
				if (s.op == opDrop || s.op == opDropFile) != dropping {
					continue
				}
				if err := w.applyStatement(r, s, except); err != nil {
					return fmt.Errorf("rule %s: %w", r.name, err)
				}
			}
		}
	}
	return nil
}

// paths calls fn for the paths that a statement names.
func (w *work) paths(s *statement, except map[string]bool, fn func(real string, n *tree.Node) error) error {
	var all [][]string
	for _, p := range s.patterns {
		all = append(all, withPeople(p, &w.values)...)
	}
	return w.sys.globAll(all, s.op.follows(), func(real string, n *tree.Node) error {
		if except[real] {
			return nil
		}
		return fn(real, n)
	})
}

func (w *work) exceptions(r *rule) (map[string]bool, error) {
	var except map[string]bool
	for _, s := range r.does {
		if s.op != opExcept {
			continue
		}
		if except == nil {
			except = map[string]bool{}
		}
		if err := w.paths(s, nil, func(real string, _ *tree.Node) error { except[real] = true; return nil }); err != nil {
			return nil, err
		}
	}
	return except, nil
}

func (w *work) keepPath(real string, _ *tree.Node) error {
	w.keep[real] = true
	for dir := parent(real); dir != ""; dir = parent(dir) {
		w.keepAbove[dir] = true
	}
	return nil
}

// isKept reports whether a path, or a directory above it, is kept.
func (w *work) isKept(path string) bool {
	for ; path != ""; path = parent(path) {
		if w.keep[path] {
			return true
		}
	}
	return false
}

func (w *work) applyStatement(r *rule, s *statement, except map[string]bool) error {
	switch s.op {
	case opDrop, opDropFile:
		return w.paths(s, except, func(real string, n *tree.Node) error {
			if s.op == opDropFile && n.Type != tree.Regular {
				return nil
			}
			return w.drop(r, real, n, except)
		})
	case opEmpty, opContent:
		content := []byte(w.values.inText(s.content))
		return w.paths(s, except, func(real string, n *tree.Node) error {
			if n.Type != tree.Regular || w.covered(real) || w.isKept(real) {
				return nil
			}
			return w.replaceContent(r, s.op, real, n, content)
		})
	case opHosts:
		return w.paths(s, except, func(real string, n *tree.Node) error {
			if n.Type != tree.Regular || w.covered(real) || w.isKept(real) {
				return nil
			}
			return w.editHosts(r, real, n)
		})
	case opDropLine, opReplace:
		return w.editLines(r, s, except)
	}
	return nil
}

// drop takes a path out of the tree, but for what is kept below it.
func (w *work) drop(r *rule, real string, n *tree.Node, except map[string]bool) error {
	if w.isKept(real) || except[real] || w.covered(real) {
		return nil
	}
	spared := w.keepAbove[real]
	for x := range except {
		spared = spared || len(x) > len(real) && x[:len(real)] == real && x[len(real)] == '/'
	}
	if n.Type == tree.Directory && spared {
		kids, err := w.sys.list(real)
		if err != nil {
			return err
		}
		for _, k := range kids {
			if err := w.drop(r, tree.Join(real, k.Name), k, except); err != nil {
				return err
			}
		}
		return nil
	}
	d := &dropped{rule: r}
	e := Entry{Path: real, Action: Dropped, Rule: r.name, Reason: r.why}
	err := tree.Walk(w.ctx, n, func(_ string, k *tree.Node) error {
		e.Entries++
		if k.Type == tree.Regular {
			e.Bytes += k.Size
		}
		if k.Type != tree.Directory && k.Nlink != 1 && k.Inode != (tree.Inode{}) {
			d.links = append(d.links, link{k.Inode, k.Nlink})
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("%s: %w", tree.Quote(real), err)
	}
	w.drops[real] = d
	w.edits.Remove(real)
	w.report.add(e)
	return nil
}

// replaceContent returns a file other content. What is to be emptied may be of
// any size; nobody reads it.
func (w *work) replaceContent(r *rule, o op, real string, n *tree.Node, content []byte) error {
	detail := "new content"
	if o == opEmpty {
		detail = "emptied"
	}
	t := w.texts[real]
	if t == nil && n.Size > maxText || o == opEmpty && t == nil {
		if n.Size == 0 && o == opEmpty {
			return nil
		}
		t = &text{path: real, node: n, was: nil, now: content}
		if len(content) == 0 {
			t.was = []byte{0} // of which only counts that it differs
		}
		w.texts[real] = t
	} else {
		var err error
		if t, err = w.text(real, n); err != nil {
			return err
		}
		if bytes.Equal(t.now, content) {
			return nil
		}
		t.now = content
	}
	w.changed(real, r.name, r.why, "%s", detail)
	return nil
}
