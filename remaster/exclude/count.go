package exclude

import (
	"fmt"

	"relive/tree"
)

// RuleCount is what one rule does to a tree.
type RuleCount struct {
	Rule Rule
	// Matches is the number of names that the rule matches, those included that
	// another rule removes as well. A rule with none is likely a mistake.
	Matches int64
	// Entries and Bytes are the nodes, directories and all below them, and the
	// Bytes of regular files that the rule removes. What several rules match is
	// counted for the first of them in the list, and for the one that removes a
	// directory above. A file with several hard links counts at each.
	Entries, Bytes int64
}

// Count tells what each rule removes from a tree, in the order of the rules. It
// walks all that some rule can reach.
func (s *Set) Count(root *tree.Node) ([]RuleCount, error) {
	counts := make([]RuleCount, len(s.rules))
	for i := range counts {
		counts[i].Rule = s.rules[i]
	}
	if err := s.count(root, "", s.top(), -1, counts, 0); err != nil {
		return nil, err
	}
	return counts, nil
}

// maxDepth bounds the recursion on a damaged source.
const maxDepth = 4096

func (s *Set) count(n *tree.Node, path string, l live, removed int, counts []RuleCount, depth int) error {
	if n.Dir == nil || len(l) == 0 && removed < 0 {
		return nil
	}
	if depth > maxDepth {
		return fmt.Errorf("%s: directories more than %d deep", path, maxDepth)
	}
	kids, bad, err := n.Readable()
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	kids = kids[:len(kids):len(kids)]
	for _, b := range bad {
		kids = append(kids, &tree.Node{Name: b.Name}) // of which only the name is known
	}
	for _, k := range kids {
		rule := removed
		first := -1
		var below live
		l.each(k.Name, func(b *branch) {
			for _, r := range b.rules {
				counts[r].Matches++
			}
			if b.rule >= 0 && (first < 0 || b.rule < first) {
				first = b.rule
			}
			if b.next != nil {
				below = append(below, b.next)
			}
		})
		if rule < 0 {
			rule = first
		}
		if rule >= 0 {
			counts[rule].Entries++
			if k.Type == tree.Regular {
				counts[rule].Bytes += k.Size
			}
		}
		if s.sticky != nil {
			below = append(below, s.sticky)
		}
		if err := s.count(k, path+"/"+k.Name, below, rule, counts, depth+1); err != nil {
			return err
		}
	}
	return nil
}
