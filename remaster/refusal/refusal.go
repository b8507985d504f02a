package refusal

import (
	"errors"
	"fmt"
)

// Refusal is the error of a step that would be unsafe as things stand. Nothing
// was changed.
type Refusal struct {
	Fact string
	Hint string // what a person can do about it
}

func (r *Refusal) Error() string { return r.Fact }

// New makes a Refusal.
func New(hint, fact string, args ...any) error {
	return &Refusal{Fact: fmt.Sprintf(fact, args...), Hint: hint}
}

// Is reports whether an error is a Refusal, and gives it.
func Is(err error) (*Refusal, bool) {
	var r *Refusal
	ok := errors.As(err, &r)
	return r, ok
}
