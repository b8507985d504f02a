package tree

import (
	"errors"
	"fmt"
	"strings"
)

// What is wrong with a source, told apart by errors.Is.
var (
	// ErrCorrupt: the bytes break the rules of their format.
	ErrCorrupt = errors.New("corrupt")
	// ErrUnsupported: the bytes may be right, but use something that relive
	// does not read.
	ErrUnsupported = errors.New("not supported")
)

// FormatError is the error of a decoder: which file, where in it, and the fact.
type FormatError struct {
	File  string // name of the image, as the user knows it
	Place string // "fragment table: entry 17", "inode 1234"
	Fact  string // "points past the end of the image"
	Kind  error  // ErrCorrupt or ErrUnsupported
	Err   error  // the cause, may be nil
}

func (e *FormatError) Error() string {
	parts := make([]string, 0, 4)
	for _, s := range []string{e.File, e.Place, e.Fact} {
		if s != "" {
			parts = append(parts, s)
		}
	}
	if e.Err != nil {
		parts = append(parts, e.Err.Error())
	}
	return strings.Join(parts, ": ")
}

// Unwrap returns the kind and the cause.
func (e *FormatError) Unwrap() []error {
	if e.Err == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Err}
}

// Corrupt makes the FormatError of a broken format.
func Corrupt(file, place, fact string, args ...any) error {
	return &FormatError{File: file, Place: place, Fact: fmt.Sprintf(fact, args...), Kind: ErrCorrupt}
}

// TooDeep makes the FormatError of directories that nest deeper than MaxDepth at a
// path, of which it shows the beginning.
func TooDeep(path string) error {
	const shown = 200 // bytes
	if len(path) > shown {
		path = path[:shown] + "…"
	}
	return Unsupported(Quote(path), "", "directories nest deeper than %d", MaxDepth)
}

// Unsupported makes the FormatError of a format that relive does not read.
func Unsupported(file, place, fact string, args ...any) error {
	return &FormatError{File: file, Place: place, Fact: fmt.Sprintf(fact, args...), Kind: ErrUnsupported}
}

// Within puts a wider place before that of a FormatError; any other error it gives
// back as it is.
func Within(err error, place string, args ...any) error {
	var f *FormatError
	if !errors.As(err, &f) {
		return err
	}
	g := *f
	g.Place = fmt.Sprintf(place, args...)
	if f.Place != "" {
		g.Place += ": " + f.Place
	}
	return &g
}
