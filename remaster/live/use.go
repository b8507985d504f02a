package live

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"relive/remaster/hostdisk"
	"relive/remaster/newfile"
	"relive/remaster/refusal"
	"relive/remaster/say"
)

// InUse tells how the host uses a file of the live directory, "" where it does
// not. Of what is on a stick it is the stick that is or is not in use.
func (l *Live) InUse(path string) (string, error) {
	if l.Stick != nil {
		return l.Stick.InUse, nil
	}
	return hostdisk.InUse("/", path)
}

// RefuseInUse refuses while one of the files is mounted or attached. more is what
// can be done besides, "" for nothing.
func (l *Live) RefuseInUse(more string, paths ...string) error {
	return refuseInUse(l.InUse, more, paths)
}

// RefuseInUse is that of Live for files that are the host's. Those that are not
// there are in nobody's use.
func RefuseInUse(more string, paths ...string) error {
	there := slices.DeleteFunc(slices.Clone(paths), func(path string) bool { return !hostdisk.Exists(path) })
	return refuseInUse(func(path string) (string, error) { return hostdisk.InUse("/", path) }, more, there)
}

func refuseInUse(inUse func(path string) (string, error), more string, paths []string) error {
	for _, path := range paths {
		why, err := inUse(path)
		if err != nil {
			return err
		}
		if why != "" {
			hint := "shut the live system down and do it from another one, or unmount it"
			return refusal.New(refusal.InUse, refusal.JoinHints(hint, more), "%s: in use: %s", path, why)
		}
	}
	return nil
}

// OverlayPaths are the files and directories of the overlay.
func (l *Live) OverlayPaths() (paths []string) {
	if o := l.Overlay; o != nil {
		paths = append(paths, o.Path)
		if o.WorkPath != "" {
			paths = append(paths, o.WorkPath)
		}
	}
	return paths
}

// RefuseOnStick refuses what would replace files on a stick that is not mounted.
// more is what can be done besides, "" for nothing.
func (l *Live) RefuseOnStick(more string) error {
	if l.OnHost() {
		return nil
	}
	return refusal.New(refusal.NotMounted, cmp.Or(more, "mount it and give the directory"),
		"%s: lies on a stick that is not mounted, and files in there cannot be replaced in a way that survives a crash", l.Dir)
}

// CheckOutput refuses an output that is a part of the live directory itself, or
// that cannot be made.
func (l *Live) CheckOutput(path string, o newfile.Options) error {
	if name := l.isPartOf(path); name != "" {
		return refusal.New(refusal.SameFile, "name another file, or do it without "+say.Output,
			"%s: is the %s of the live directory itself", path, name)
	}
	err := newfile.Check(path, o)
	if errors.Is(err, fs.ErrNotExist) {
		return refusal.WithHint(err, "make the directory first, or name another file")
	}
	return err
}

// isPartOf returns the name of the image that path is, by whatever name, or "".
func (l *Live) isPartOf(path string) string {
	st, err := os.Stat(path)
	if err != nil {
		return ""
	}
	if l.Stick != nil {
		if own, err := os.Stat(l.Stick.Disk.Path); err == nil && os.SameFile(st, own) {
			return "stick"
		}
		return ""
	}
	for _, name := range append(l.Files.Together(), l.Files.Home) {
		if own, err := os.Stat(filepath.Join(l.Dir, name)); name != "" && err == nil && os.SameFile(st, own) {
			return name
		}
	}
	return ""
}
