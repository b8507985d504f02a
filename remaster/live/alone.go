package live

import (
	"errors"
	"fmt"
	"path/filepath"

	"relive/remaster/job"
	"relive/remaster/packed"
	"relive/remaster/probe"
	"relive/tree"
)

// OpenBase opens a file of the host that holds a base of l's layout, without an
// overlay: one that is to take the place of the present base, or had it.
func (l *Live) OpenBase(e *job.Env, path string) (*Live, error) {
	b, err := l.openBaseAt(e, Host{}, path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	for _, name := range append([]string{"bin", "etc"}, systemDirs...) {
		if n, err := b.Base.Root.Child(name); n != nil && err == nil {
			return b, nil
		} else if err != nil {
			return nil, errors.Join(err, b.Close())
		}
	}
	return nil, errors.Join(tree.Unsupported(path, "root directory", "holds no system: there is neither usr nor bin nor etc nor ostree"),
		b.Close())
}

// OpenFormer opens a base that lies where l does.
func (l *Live) OpenFormer(e *job.Env, path string) (*Live, error) {
	return l.openBaseAt(e, l.Place, path)
}

func (l *Live) openBaseAt(e *job.Env, at Place, path string) (*Live, error) {
	b := &Live{Dir: filepath.Dir(path), Layout: l.Layout, Place: at, Files: Files{Base: filepath.Base(path)}}
	if err := b.openAs(e, path); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	b.Merged = b.Base.Root
	return b, nil
}

// openAs opens a base as the layout has it, whatever it is called.
func (l *Live) openAs(e *job.Env, path string) error {
	c, err := l.open(path)
	if err != nil {
		return err
	}
	res, err := ProbeContent(c, path)
	if err != nil {
		return err
	}
	return l.Layout.openAlone(e, l, path, res.Kind)
}

// IsBase reports whether a path is a file that could be a base of l's layout by
// itself, and no medium.
func (l *Live) IsBase(path string) (bool, error) {
	if !IsFile(Host{}, path) {
		return false, nil
	}
	res, err := ProbeFile(Host{}, path)
	return packed.Holds(res.Kind) && (res.Kind != probe.EROFS || l.Layout.Traits().BootsEROFS) || res.Kind.IsExt() && l.Base.Image == nil,
		err
}
