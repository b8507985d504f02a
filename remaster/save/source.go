package save

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"relive/remaster/live"
	"relive/remaster/refusal"
	"relive/remaster/say"
	"relive/tree"
	"relive/tree/hostfs"
)

// saveSource is the layer of a system that may be running. Its tree is listed
// once, into memory, so that all passes over it see the same; contents are read
// as they are needed, which tells when they are others by then.
type saveSource struct {
	path       string // of the layer
	form       live.Form
	scratchDir string

	root  *tree.Node // as it was listed
	index *tree.Node // overlayfs's index of hard links, nil where it has none
	held  map[string]*tree.Node

	scratch *os.File // contents of the files that are held
	end     int64
}

// saveTries is how often a plan is made again, and how often a file is copied,
// until it holds still.
const saveTries = 8

// untilStable runs a step that reads the source. Where files have changed meanwhile
// they are copied aside, each at one moment, and the step is done again.
func (s *saveSource) untilStable(ctx context.Context, step func() error) error {
	var err error
	for range saveTries {
		if err = step(); !errors.Is(err, hostfs.ErrChanged) {
			return err
		}
		if err := s.holdChanged(ctx); err != nil {
			return err
		}
	}
	return refusal.WithHint(err, "stop the program that writes there, or leave the file out with "+say.Exclude+"; nothing was changed")
}

// freeze lists the layer.
func (s *saveSource) freeze(ctx context.Context) error {
	at, err := s.open()
	if err != nil {
		return err
	}
	s.index = nil
	if at.index != nil {
		if s.index, err = s.list(ctx, "", at.index, false); err != nil {
			return err
		}
	}
	if s.root, err = s.list(ctx, "", at.layer, true); err != nil || s.form != live.FormAufs {
		return err
	}
	var edits tree.Edits
	for _, name := range append(slices.Clone(aufsOwn), "lost+found") {
		edits.Remove(name)
	}
	s.root, err = edits.Apply(s.root)
	return err
}

// listed is the layer as the host has it.
type listed struct{ layer, index *tree.Node }

// open opens the layer, and the index where one is in use: entries are names of
// files of the layer, so that both must be seen as one tree.
func (s *saveSource) open() (listed, error) {
	if s.form == live.FormOverlayFS && filepath.Base(s.path) == "upper" {
		above := filepath.Dir(s.path)
		if entries, err := os.ReadDir(filepath.Join(above, "work", "index")); err == nil && len(entries) > 0 {
			root, err := hostfs.Open(above, hostfs.RefuseMounts())
			if err != nil {
				return listed{}, err
			}
			var l listed
			if l.layer, err = live.DirectoryAt(root, "upper"); err != nil {
				return listed{}, err
			}
			if l.index, err = live.DirectoryAt(root, "work/index"); err != nil {
				return listed{}, err
			}
			if l.layer == nil {
				return listed{}, fmt.Errorf("%s: %w", s.path, hostfs.ErrChanged)
			}
			layer := *l.layer
			layer.Name = ""
			l.layer = &layer
			return l, nil
		}
	}
	root, err := hostfs.Open(s.path, hostfs.RefuseMounts())
	return listed{layer: root}, err
}

// list lists a directory and all below it. What is held stands in for the
// file that it was copied from.
func (s *saveSource) list(ctx context.Context, path string, n *tree.Node, layer bool) (*tree.Node, error) {
	if layer {
		if h := s.held[path]; h != nil && n.Type == tree.Regular {
			c := *h
			c.Inode, c.Nlink = n.Inode, n.Nlink
			return &c, nil
		}
	}
	if n.Type != tree.Directory {
		return n, nil
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	kids, err := n.Children()
	for range saveTries { // a name may go between being read and being looked at
		if !errors.Is(err, hostfs.ErrChanged) {
			break
		}
		kids, err = n.Children()
	}
	if err != nil {
		return nil, err
	}
	out := make(tree.List, 0, len(kids))
	for _, k := range kids {
		k, err := s.list(ctx, tree.Join(path, k.Name), k, layer)
		if err != nil {
			return nil, err
		}
		out = append(out, k)
	}
	c := *n
	c.Dir = out
	return &c, nil
}

// holdChanged copies the files aside that are not any more what they were when
// they were listed. Those that are gone need none.
func (s *saveSource) holdChanged(ctx context.Context) error {
	if s.root == nil {
		return nil // the listing itself failed
	}
	changed := map[tree.Inode]bool{}
	var paths []string
	err := tree.Walk(ctx, s.root, func(path string, n *tree.Node) error {
		if n.Type != tree.Regular || s.held[path] != nil {
			return nil
		}
		linked := n.Nlink > 1 && n.Inode != tree.Inode{}
		if linked && changed[n.Inode] {
			paths = append(paths, path)
			return nil
		}
		c, err := n.Open()
		if err == nil {
			return c.Close()
		}
		if !errors.Is(err, hostfs.ErrChanged) {
			return err
		}
		changed[n.Inode] = linked
		paths = append(paths, path)
		return nil
	})
	if err != nil && !errors.Is(err, hostfs.ErrChanged) {
		return err
	}
	at, err := s.open()
	if err != nil {
		return err
	}
	// Names of one file get the same copy of it.
	copies := map[tree.Inode]*tree.Node{}
	for _, path := range paths {
		n, err := lookupHere(at.layer, path)
		if err != nil {
			return err
		}
		if n == nil || n.Type != tree.Regular {
			continue
		}
		h := copies[n.Inode]
		if h == nil {
			if h, err = s.hold(ctx, at.layer, path); err != nil {
				return err
			}
			copies[n.Inode] = h
		}
		if h == nil {
			continue
		}
		if s.held == nil {
			s.held = map[string]*tree.Node{}
		}
		c := *h
		c.Name = n.Name
		s.held[path] = &c
	}
	return nil
}

// lookupHere looks a path up; what is gone by now is nil.
func lookupHere(root *tree.Node, path string) (n *tree.Node, err error) {
	for range saveTries {
		if n, err = root.Lookup(path); !errors.Is(err, hostfs.ErrChanged) {
			return n, err
		}
	}
	return nil, err
}

// hold copies a file to the scratch file as it is at one moment; nil where it is
// gone.
func (s *saveSource) hold(ctx context.Context, root *tree.Node, path string) (*tree.Node, error) {
	var err error
	for try := range saveTries {
		var n *tree.Node
		if n, err = lookupHere(root, path); err != nil || n == nil || n.Type != tree.Regular {
			return nil, err
		}
		var h *tree.Node
		if h, err = s.copied(ctx, n); err == nil {
			return h, nil
		}
		if !errors.Is(err, hostfs.ErrChanged) {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(time.Duration(try+1) * 10 * time.Millisecond):
		}
	}
	return nil, refusal.New(refusal.Changed, "stop the program that writes to it, or leave the file out with "+say.Exclude,
		"%s: is written to all the time, and did not hold still for being read (%v)", filepath.Join(s.path, path), err)
}

// copied returns a file with the content that it has now.
func (s *saveSource) copied(ctx context.Context, n *tree.Node) (h *tree.Node, err error) {
	if s.scratch == nil {
		s.scratch, err = os.CreateTemp(s.scratchDir, ".relive-save-*")
		if err != nil { // of a plan that is only shown the directory may be read-only
			s.scratch, err = os.CreateTemp("", "relive-save-*")
		}
		if err != nil {
			return nil, err
		}
		// Without a name it goes with the process, however that ends.
		if err = os.Remove(s.scratch.Name()); err != nil {
			return nil, err
		}
	}
	c, err := n.Open()
	if err != nil {
		return nil, err
	}
	defer func() {
		if cerr := c.Close(); err == nil {
			err = cerr
		}
	}()
	start := s.end
	buf := make([]byte, 256<<10)
	for off := int64(0); off < n.Size; {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		b := buf[:min(int64(len(buf)), n.Size-off)]
		if err := tree.ReadFull(c, b, off); err != nil {
			return nil, err
		}
		// What is zero stays a hole.
		if !tree.IsZero(b) {
			if _, err := s.scratch.WriteAt(b, start+off); err != nil {
				return nil, err
			}
		}
		off += int64(len(b))
	}
	s.end += n.Size
	if err := s.scratch.Truncate(s.end); err != nil {
		return nil, err
	}
	out := *n
	out.Data = heldData{io.NewSectionReader(s.scratch, start, n.Size)}
	return &out, nil
}

// heldData is the content of a file that is held.
type heldData struct{ *io.SectionReader }

func (d heldData) Open() (tree.Content, error) { return d, nil }
func (heldData) Close() error                  { return nil }
func (d heldData) NextData(off int64) (start, end int64, err error) {
	return tree.WholeData(off, d.Size())
}

// pinned are the paths that are held, in order.
func (s *saveSource) pinned() []string {
	names := []string{}
	for _, p := range slices.Sorted(maps.Keys(s.held)) {
		names = append(names, "/"+p)
	}
	return names
}

// Close returns up what is held.
func (s *saveSource) Close() error {
	if s.scratch == nil {
		return nil
	}
	return s.scratch.Close()
}
