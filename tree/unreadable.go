package tree

import (
	"fmt"
)

// Unreadable gathers the paths that cannot be read, for those who only look at a
// tree and go on without them. The zero value is ready.
type Unreadable struct {
	first []string
	N     int
}

// unreadableShown bounds how many paths are named.
const unreadableShown = 20

// Add notes a path of a tree. Its error is nil.
func (u *Unreadable) Add(path string, err error) error {
	if u.N++; len(u.first) < unreadableShown {
		u.first = append(u.first, fmt.Sprintf("%s cannot be read: %v", Quote(path), err))
	}
	return nil
}

// Warnings are a line a path, of many of them for the first.
func (u *Unreadable) Warnings() []string {
	out := u.first
	if more := u.N - len(u.first); more > 0 {
		out = append(out[:len(out):len(out)], fmt.Sprintf("and %d more paths cannot be read", more))
	}
	return out
}
