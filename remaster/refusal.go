package remaster

import (
	"errors"

	"relive/remaster/refusal"
)

// Refusal is the error of a step that would be unsafe as things stand. Nothing
// was changed.
type Refusal = refusal.Refusal

// refuse makes a Refusal.
func refuse(hint, fact string, args ...any) error { return refusal.New(hint, fact, args...) }

// IsRefusal tells whether an error is a Refusal, and gives it.
func IsRefusal(err error) (*Refusal, bool) { return refusal.Is(err) }

// ErrOption is the error of options that are wrong whatever the directory holds.
var ErrOption = errors.New("wrong option")

// optionError is an ErrOption with its own words.
type optionError struct{ error }

func (o *optionError) Unwrap() []error { return []error{o.error, ErrOption} }

// hinted is an error with a hint for the person who reads it.
type hinted struct {
	error
	hint string
}

func (h *hinted) Unwrap() error { return h.error }

// Hint gives what a person can do.
func (h *hinted) Hint() string { return h.hint }

// withHint adds a hint to an error.
func withHint(err error, hint string) error { return &hinted{err, hint} }

// Hint gives the hint that an error carries, or "".
func Hint(err error) string {
	if r, ok := IsRefusal(err); ok {
		return r.Hint
	}
	var h interface{ Hint() string }
	if errors.As(err, &h) {
		return h.Hint()
	}
	return ""
}
