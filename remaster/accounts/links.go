package accounts

import (
	"fmt"
	"maps"

	"relive/tree"
)

// link is a dropped name of a file that has several, and how many.
type link struct {
	inode tree.Inode
	names uint32
}

// linked is a file with several names, of which at least one is dropped or
// edited.
type linked struct {
	first string // that name
	edit  *text  // nil where it is dropped
	rule  *rule  // that dropped it
	gone  uint32 // names that are dropped
	names uint32 // names that the source counts, of which some may be hidden
}

// findLinks gathers the dropped files that may have names elsewhere.
func (w *work) findLinks() {
	for path, d := range w.drops {
		for _, k := range d.links {
			l := w.links[k.inode]
			if l == nil {
				l = &linked{first: path, rule: d.rule, names: k.names}
				w.links[k.inode] = l
			}
			l.gone++
			if path < l.first {
				l.first = path
			}
			if d.rule.allNames {
				l.rule = d.rule
			}
		}
	}
	maps.DeleteFunc(w.links, func(_ tree.Inode, l *linked) bool { return l.names != 0 && l.gone >= l.names })
}

// followLinks looks for the other names of files that were dropped or edited.
// It walks the tree's metadata, which it does only where there is such a file.
func (w *work) followLinks() error {
	if len(w.links) == 0 {
		return nil
	}
	// One identity for each edited file keeps its names linked.
	nodes := map[*text]*tree.Node{}
	return tree.Walk(w.ctx, w.sys.root, func(path string, n *tree.Node) error {
		if n.Type == tree.Directory && w.drops[path] != nil {
			return tree.SkipDir
		}
		if n.Type == tree.Directory || w.drops[path] != nil || n.Nlink == 1 || n.Inode == (tree.Inode{}) {
			return nil
		}
		l := w.links[n.Inode]
		if l == nil {
			return nil
		}
		switch {
		case l.edit != nil:
			shared := nodes[l.edit]
			if shared == nil {
				shared = edited(n, l.edit.now)
				shared.Inode, shared.Nlink = tree.Inode{Source: l.edit, Number: 1}, n.Nlink
				nodes[l.edit] = shared
			}
			w.edits.Put(path, shared)
			if path != l.edit.path {
				w.changed(path, accountsRule, "another name of a file that is edited", "%s", tree.Quote(l.edit.path))
			}
		case l.rule.allNames && !w.isKept(path):
			w.drops[path] = &dropped{rule: l.rule}
			w.edits.Remove(path)
			w.report.add(Entry{Path: path, Action: Dropped, Rule: l.rule.name, Reason: l.rule.why,
				Detail: fmt.Sprintf("another name of what was at %s", tree.Quote(l.first)), Entries: 1, Bytes: n.Size})
		default:
			w.doubt(path, l.rule.name, "another name of a file that was dropped", "%s", tree.Quote(l.first))
		}
		return nil
	})
}
