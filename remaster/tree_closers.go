package remaster

import (
	"errors"
	"io"
	"relive/tree"
)

// closers closes several things, the last opened first.
type closers []io.Closer

// Close implements io.Closer.
func (c closers) Close() error {
	var errs []error
	for i := len(c) - 1; i >= 0; i-- {
		errs = append(errs, c[i].Close())
	}
	return errors.Join(errs...)
}

// shared is the Data of a content that is open already and stays so.
func shared(c tree.Content) tree.Data { return sharedData{c} }

type sharedData struct{ c tree.Content }

// Open implements tree.Data.
func (s sharedData) Open() (tree.Content, error) { return unclosed{Content: s.c}, nil }

// unclosed is a content that another closes.
type unclosed struct{ tree.Content }

// Close implements tree.Content.
func (unclosed) Close() error { return nil }
