package refusal

import (
	"errors"
	"strings"
)

// ErrOption is the error of options that are wrong whatever the directory holds.
var ErrOption = errors.New("wrong option")

// Option makes an ErrOption with the words of another error.
func Option(err error) error { return &optionError{err} }

type optionError struct{ error }

func (o *optionError) Unwrap() []error { return []error{o.error, ErrOption} }

// hinted is an error with a hint for the person who reads it.
type hinted struct {
	error
	hint string
}

func (h *hinted) Unwrap() error { return h.error }

// Hint returns what a person can do.
func (h *hinted) Hint() string { return h.hint }

// WithHint adds a hint to an error.
func WithHint(err error, hint string) error { return &hinted{err, hint} }

// Hint returns the hint that an error carries, or "".
func Hint(err error) string {
	if r, ok := Is(err); ok {
		return r.Hint
	}
	var h interface{ Hint() string }
	if errors.As(err, &h) {
		return h.Hint()
	}
	return ""
}

// JoinHints puts hints into one line; empty ones are left out.
func JoinHints(hints ...string) string {
	out := ""
	for _, h := range hints {
		switch {
		case h == "":
		case out == "":
			out = h
		case strings.HasSuffix(out, "?"):
			out += " " + h
		default:
			out += "; " + h
		}
	}
	return out
}
