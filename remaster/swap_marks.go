package remaster

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"relive/overlay"
	"relive/remaster/refusal"
	"relive/tree"

	"golang.org/x/sys/unix"
)

// keepLayer plans an overlay that lies over a base in which its marks would lead
// to other files: without them. An image is made anew; of a directory the marks
// are emptied where they are, which changes nothing that it shows over the old
// base, but for inode numbers.
func (s *Swap) keepLayer(now tree.Time) ([]part, error) {
	l := s.live
	o := l.Overlay
	if o.Image == nil {
		layers, err := l.marked()
		if err != nil {
			return nil, err
		}
		for _, m := range layers {
			if len(m.marks) > 0 {
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
	for _, work := range o.works() {
		edits.Remove(path.Join(work, "work"))
		edits.Remove(path.Join(work, "index"))
	}
	if root, err = edits.Apply(root); err != nil {
		return nil, err
	}
	pt, err := (&freshOverlay{live: l, now: now, keep: true, warn: s.warn}).image(o, l.files.overlay[0], overlay.WithoutOrigins(root))
	pt.need = max(pt.need, o.Image.Allocated)
	return []part{pt}, err
}

// emptyMarks empties the marks of layers that are directories of the host and
// makes that durable. A cut in between leaves some of them as they were, which
// is as good over the old base.
func (s *Swap) emptyMarks() error {
	for _, m := range s.emptied {
		if err := m.empty(); err != nil {
			return refusal.WithHint(err, "nothing was changed but marks that name inodes of the base")
		}
	}
	return nil
}

// marksEmptied tells of emptyMarks in a plan that is shown.
func (s *Swap) marksEmptied() (out []string) {
	for _, m := range s.emptied {
		out = append(out, fmt.Sprintf("empty the marks in %s that name %d inodes of the old base", s.live.rel(m.at), len(m.marks)))
	}
	return out
}

func (m *markedLayer) empty() error {
	top, err := os.OpenRoot(m.at)
	if err != nil {
		return err
	}
	defer top.Close()
	name := m.layer.Namespace.Prefix() + "origin"
	for _, o := range m.marks {
		if err := setXattrAt(top, o.Path, name, ""); err != nil {
			return err
		}
	}
	dir, err := top.Open(".")
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := unix.Syncfs(int(dir.Fd())); err != nil {
		return &os.PathError{Op: "syncfs", Path: m.at, Err: err}
	}
	return nil
}

// setXattrAt sets an attribute of a file below an open directory, without
// following a symlink.
func setXattrAt(top *os.Root, name, attr, value string) error {
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
