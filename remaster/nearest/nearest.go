package nearest

import (
	"slices"
	"strings"

	"relive/tree"
)

// Name returns the one of names that is nearest to want, "" where none is near
// enough to be meant: one that differs in capitals only, or else in few bytes
// that are missing, too many, others, or swapped with their neighbour. At most a
// third of the bytes may be wrong. Of several that are as near it is the first in
// byte order.
func Name(want string, names []string) string {
	if want == "" {
		return ""
	}
	best, least := "", max(1, len(want)/3)+1
	for _, n := range slices.Sorted(slices.Values(names)) {
		d := distance(want, n, least)
		if strings.EqualFold(want, n) {
			d = 0
		}
		if d < least {
			best, least = n, d
		}
	}
	return best
}

// maxName bounds the names that are compared, in bytes: no file has a longer one.
const maxName = 255

// distance is how many bytes must be put in, taken out, changed, or swapped with
// the next to make b of a (the optimal string alignment distance); limit where it
// is not less.
func distance(a, b string, limit int) int {
	if len(a) > maxName || len(b) > maxName || len(a)-len(b) >= limit || len(b)-len(a) >= limit {
		return limit
	}
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return min(last[len(b)], limit)
}

// Path returns the path nearest to one that exists in none of the trees, without
// a slash before it. Where no name is near it is "", and above the deepest
// directory on the way that exists, "" for the root. Parts that are too many at
// the beginning, as those of the directory that a tree is mounted at, may be left
// out.
//
// What cannot be read is taken for not there: a suggestion is no reason to fail.
func Path(path string, trees ...*tree.Node) (near, above string) {
	parts := split(path)
	for i := 1; i < len(parts); i++ {
		if rest := strings.Join(parts[i:], "/"); exists(rest, trees) {
			return rest, ""
		}
	}
	for _, t := range trees {
		got, whole := walk(t, parts)
		if whole {
			return got, ""
		}
	}
	if len(parts) == 1 {
		if at := below(parts[0], trees); at != "" {
			return at, ""
		}
	}
	for i := len(parts) - 1; i > 0; i-- {
		if at := strings.Join(parts[:i], "/"); exists(at, trees) {
			return "", at
		}
	}
	return "", ""
}

func split(path string) []string {
	return slices.DeleteFunc(strings.Split(path, "/"), func(s string) bool { return s == "" || s == "." })
}

func exists(path string, trees []*tree.Node) bool {
	return slices.ContainsFunc(trees, func(t *tree.Node) bool {
		n, err := t.Lookup(path)
		return err == nil && n != nil
	})
}

// walk follows the parts, each by its own or the nearest name.
func walk(n *tree.Node, parts []string) (path string, whole bool) {
	for _, part := range parts {
		next := child(n, part)
		if next == nil {
			var names []string
			for _, k := range children(n) {
				names = append(names, k.Name)
			}
			if part = Name(part, names); part == "" {
				return path, false
			}
			if next = child(n, part); next == nil {
				return path, false
			}
		}
		n, path = next, tree.Join(path, part)
	}
	return path, true
}

// below looks for a single name in the directories of the root.
func below(name string, trees []*tree.Node) string {
	for _, t := range trees {
		for _, k := range children(t) {
			if child(k, name) != nil {
				return tree.Join(k.Name, name)
			}
		}
	}
	return ""
}

func child(n *tree.Node, name string) *tree.Node {
	if n.Type != tree.Directory {
		return nil
	}
	k, err := n.Child(name)
	if err != nil {
		return nil
	}
	return k
}

func children(n *tree.Node) []*tree.Node {
	if n.Type != tree.Directory {
		return nil
	}
	kids, err := n.Children()
	if err != nil {
		return nil
	}
	return kids
}

// Pattern is Path for a path whose parts may be patterns: the parts before the
// first that holds one of '*', '?', '[', '(' or a backslash are looked for, and
// the others follow as they are.
func Pattern(pattern string, trees ...*tree.Node) (near, above string) {
	parts := split(pattern)
	i := slices.IndexFunc(parts, func(s string) bool { return strings.ContainsAny(s, `*?[(\`) })
	if i < 0 {
		return Path(pattern, trees...)
	}
	head := strings.Join(parts[:i], "/")
	if i == 0 || exists(head, trees) {
		return "", head
	}
	near, above = Path(head, trees...)
	if near != "" {
		near = tree.Join(near, strings.Join(parts[i:], "/"))
	}
	return near, above
}
