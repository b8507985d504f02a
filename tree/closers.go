package tree

import (
	"errors"
	"io"
)

// Closers closes several things, the last opened first.
type Closers []io.Closer

// Close implements io.Closer.
func (c Closers) Close() error {
	var errs []error
	for i := len(c) - 1; i >= 0; i-- {
		errs = append(errs, c[i].Close())
	}
	return errors.Join(errs...)
}

// Shared is the Data of a content that is open already and stays so.
func Shared(c Content) Data { return sharedData{c} }

type sharedData struct{ c Content }

// Open implements tree.Data.
func (s sharedData) Open() (Content, error) { return Unclosed{Content: s.c}, nil }

// Unclosed is a content that another closes.
type Unclosed struct{ Content }

// Close implements tree.Content.
func (Unclosed) Close() error { return nil }
