package replace

import (
	"fmt"
	"os"
	"path"
	"path/filepath"

	"golang.org/x/sys/unix"

	"relive/overlay"
	"relive/remaster/live"
	"relive/remaster/refusal"
	"relive/tree"
)

// KeepLayer plans an overlay that lies over a base in which its marks would lead
// to other files: without them. An image is made anew; of a directory the marks
// are emptied where they are, which changes nothing that it shows over the old
// base, but for inode numbers.
func (s *Swap) KeepLayer(now tree.Time) ([]Part, error) {
	l := s.Live
	o := l.Overlay
	if o.Image == nil {
		layers, err := l.Marked()
		if err != nil {
			return nil, err
		}
		for _, m := range layers {
			if len(m.Marks) > 0 {
				s.emptied = append(s.emptied, m)
			}
		}
		return nil, nil
	}
	root, err := o.Image.FS.Root()
	if err != nil {
		return nil, err
	}
	var edits tree.Edits
	for _, work := range o.Works() {
		edits.Remove(path.Join(work, "work"))
		edits.Remove(path.Join(work, "index"))
	}
	if root, err = edits.Apply(root); err != nil {
		return nil, err
	}
	pt, err := (&Fresh{Live: l, Now: now, Keep: true, Warn: s.Warn}).image(o, l.Files.Overlay[0], overlay.WithoutOrigins(root))
	pt.Need = max(pt.Need, o.Image.Allocated)
	return []Part{pt}, err
}

// emptyMarks empties the marks of layers that are directories of the host and
// makes that durable. A cut in between leaves some of them as they were, which
// is as good over the old base.
func (s *Swap) emptyMarks() error {
	for _, m := range s.emptied {
		if err := empty(&m); err != nil {
			return refusal.WithHint(err, "nothing was changed but marks that name inodes of the base")
		}
	}
	return nil
}

// MarksEmptied tells of emptyMarks in a plan that is shown.
func (s *Swap) MarksEmptied() (out []string) {
	for _, m := range s.emptied {
		out = append(out, fmt.Sprintf("empty the marks in %s that name %d inodes of the old base", s.Live.Rel(m.At), len(m.Marks)))
	}
	return out
}

func empty(m *live.MarkedLayer) error {
	top, err := os.OpenRoot(m.At)
	if err != nil {
		return err
	}
	defer top.Close()
	name := m.Layer.Namespace.Prefix() + "origin"
	for _, o := range m.Marks {
		if err := SetXattrAt(top, o.Path, name, ""); err != nil {
			return err
		}
	}
	dir, err := top.Open(".")
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := unix.Syncfs(int(dir.Fd())); err != nil {
		return &os.PathError{Op: "syncfs", Path: m.At, Err: err}
	}
	return nil
}

// SetXattrAt sets an attribute of a file below an open directory, without
// following a symlink.
func SetXattrAt(top *os.Root, name, attr, value string) error {
	in, err := top.Open(path.Dir("./" + name))
	if err != nil {
		return err
	}
	defer in.Close()
	at := fmt.Sprintf("/proc/self/fd/%d/%s", in.Fd(), path.Base(name))
	if name == "" {
		at = fmt.Sprintf("/proc/self/fd/%d/.", in.Fd())
	}
	if err := unix.Lsetxattr(at, attr, []byte(value), 0); err != nil {
		return &os.PathError{Op: "setxattr " + attr, Path: filepath.Join(top.Name(), name), Err: err}
	}
	return nil
}
