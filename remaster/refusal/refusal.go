package refusal

import (
	"errors"
	"fmt"
	"strings"
)

// Refusal is the error of a step that would be unsafe as things stand. Nothing
// was changed.
type Refusal struct {
	Code Code `json:"code"`
	// Path is the file or directory that it is about, "" where that is none.
	Path string `json:"path,omitempty"`
	Fact string
	// Hint is what a person can do about it. As in Fact, verbs and options of relive
	// stand in it as package say has them.
	Hint string
}

func (r *Refusal) Error() string { return r.Fact }

// RefusalCode is the code, for CodeOf.
func (r *Refusal) RefusalCode() Code { return r.Code }

// New makes a Refusal. A fact that begins with %s is about the file that is the
// first of args.
func New(code Code, hint, fact string, args ...any) error {
	r := &Refusal{Code: code, Fact: fmt.Sprintf(fact, args...), Hint: hint}
	if rest, about := strings.CutPrefix(fact, "%s"); about && rest != "" && len(args) > 0 {
		r.Path, _ = args[0].(string)
	}
	return r
}

// Is reports whether an error is a Refusal, and gives it.
func Is(err error) (*Refusal, bool) {
	var r *Refusal
	ok := errors.As(err, &r)
	return r, ok
}
