package remaster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"relive/remaster/newfile"
	"relive/remaster/probe"
)

// checkState refuses what would be unsafe.
func (p *CompactPlan) checkState(ctx context.Context) error {
	l, o := p.live, &p.o
	if !l.onHost() && o.Output == "" {
		return refuse("mount it and give the directory; with -o the new base is written to a file of its own",
			"%s: lies on a stick that is not mounted, and files in there cannot be replaced in a way that survives a crash", l.Dir)
	}
	if _, ok := l.Layout.(stager); o.Stage && !ok {
		return withHint(&optionError{errors.New("--stage leaves files for antiX's init to take up, and this is " + l.Layout.Name())}, "compact without --stage")
	}
	if err := l.Layout.check(ctx, p); err != nil {
		return err
	}
	warnings, err := l.overlayWarnings()
	if err != nil {
		return err
	}
	p.Summary.Warnings = append(p.Summary.Warnings, warnings...)
	if o.Output != "" {
		if name := l.isPartOf(o.Output); name != "" {
			return refuse("name another file, or compact without -o", "%s: is the %s of the live directory itself", o.Output, name)
		}
		if err := newfile.Check(o.Output, p.newFile()); errors.Is(err, fs.ErrNotExist) {
			return withHint(err, "make the directory first, or name another file")
		} else if err != nil {
			return err
		}
		return p.checkInUse(false)
	}
	if err := p.checkInUse(!o.Stage); err != nil {
		return err
	}
	if o.NoReset && l.Overlay != nil && l.Overlay.Union != nil {
		rep, err := l.Overlay.Union.Report()
		if err != nil {
			return fmt.Errorf("%s: %w", l.Overlay.Name(), err)
		}
		if rep.Redirects+rep.Metacopies+rep.IndexEntries > 0 {
			return refuse("compact without --no-reset", "%s: %s refers to files of its base (%d redirects, %d metacopies, %d index entries), so it cannot go on above another",
				l.Dir, l.Overlay.Name(), rep.Redirects, rep.Metacopies, rep.IndexEntries)
		}
	}
	return nil
}

// newFile says how the file of -o or --image is made.
func (p *CompactPlan) newFile() newfile.Options {
	kinds := []probe.Kind{probe.SquashFS}
	switch {
	case p.forISO != nil:
		kinds = isoKinds
	case p.o.Image != "" || p.live.Base.Image == nil:
		kinds = []probe.Kind{probe.Ext4} // or another of its family
	}
	return newfile.Options{Force: p.o.Force, Kinds: kinds}
}

// isoKinds are what an ISO is taken for.
var isoKinds = []probe.Kind{probe.ISO9660, probe.UDF}

func orNone(v VID) string {
	if v == "" {
		return "none"
	}
	return string(v)
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// checkInUse refuses while the files are mounted. A mounted base can still be
// read and staged for, but not replaced.
func (p *CompactPlan) checkInUse(base bool) error {
	l := p.live
	var paths []string
	if o := l.Overlay; o != nil {
		paths = append(paths, o.Path)
		if o.WorkPath != "" {
			paths = append(paths, o.WorkPath)
		}
	}
	if base {
		paths = append(paths, l.Base.Path)
		for _, name := range l.files.retired {
			if path := filepath.Join(l.Dir, name); l.onHost() && exists(path) {
				paths = append(paths, path)
			}
		}
	}
	for _, path := range paths {
		why, err := l.inUse(path)
		if err != nil {
			return err
		}
		if why == "" {
			continue
		}
		hint := "shut the live system down and begin again from another one, or unmount it"
		if p.forISO != nil {
			hint = "shut the live system down and make the ISO on another one, or unmount it: what it writes meanwhile would be half in the ISO"
		}
		if _, ok := l.Layout.(stager); ok && path == l.Base.Path {
			hint += "; --stage prepares files for the next boot instead"
		}
		return refuse(hint, "%s: in use: %s", path, why)
	}
	return nil
}
