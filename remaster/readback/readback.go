package readback

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"relive/remaster/written"
	"relive/tree"
)

// Err is the error of a new image that does not hold what it was made
// from.
var Err = errors.New("what was written does not read back")

// Equal compares a new image's tree with the one it was made from.
func Equal(ctx context.Context, what string, want, got *tree.Node, o tree.CompareOptions) error {
	f := &Findings{What: what}
	if err := tree.Compare(ctx, want, got, o, f.Add); err != nil {
		return fmt.Errorf("%s: %w: %w", what, Err, err)
	}
	return f.Err()
}

// Findings gathers differences for an error.
type Findings struct {
	What string
	mu   sync.Mutex
	text []string
	n    int
}

// findingsShown is how many differences the error names.
const findingsShown = 5

// Add notes a difference; its error is nil.
func (f *Findings) Add(c tree.Change) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.n++; f.n <= findingsShown {
		f.text = append(f.text, fmt.Sprintf("%s: %v", tree.Quote(c.Path), c.Diff))
	}
	return nil
}

// Err is an error of the package that names the differences, nil where there are none.
func (f *Findings) Err() error {
	if f.n == 0 {
		return nil
	}
	if more := f.n - len(f.text); more > 0 {
		f.text = append(f.text, fmt.Sprintf("and %d more", more))
	}
	return fmt.Errorf("%s: %w: %s", f.What, Err, strings.Join(f.text, "; "))
}

// SameBytes compares a new file, byte for byte, with what was written to it.
func SameBytes(ctx context.Context, file *written.File, path string) error {
	if err := file.Check(ctx, path); err != nil {
		return fmt.Errorf("%w: %w", Err, err)
	}
	return nil
}
