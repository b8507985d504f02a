package remaster

import (
	"fmt"
	"os"
	"path/filepath"

	"relive/remaster/hostdisk"
)

// checkState refuses what would be unsafe.
func (p *CompactPlan) checkState() error {
	l, o := p.live, &p.o
	if l.Overlay == nil && len(o.Excludes) == 0 && o.Codec == nil && o.BlockSize == 0 && o.Output == "" {
		return refuse("there is nothing to fold in; --comp, -b or -e rebuild the base all the same", "%s: there is no rootfs", l.Dir)
	}
	vids, err := l.VIDs()
	if err != nil {
		return err
	}
	if !vids.State.Used() && vids.State != VIDNoOverlay && !o.Force {
		return refuse("the rootfs was written over another linuxfs, and a boot ignores it; if you know that it belongs to this one, use --force",
			"%s: the version ids of linuxfs (%s) and rootfs (%s) do not match", l.Dir, orNone(vids.Base), orNone(vids.Overlay))
	}
	if l.Overlay != nil {
		info := l.Overlay.FS.Info()
		warnings, err := l.overlayWarnings()
		if err != nil {
			return err
		}
		p.Summary.Warnings = append(p.Summary.Warnings, warnings...)
		if !info.Clean && !info.NeedsRecovery {
			p.warn("rootfs was not unmounted cleanly and has no journal; what was written last may be incomplete")
		}
	}
	if o.Output != "" {
		if name := l.isPartOf(o.Output); name != "" {
			return refuse("name another file, or compact without -o", "%s: is the %s of the live directory itself", o.Output, name)
		}
		if _, err := os.Lstat(o.Output); err == nil && !o.Force {
			return refuse("name another file, or use --force to replace it", "%s: exists already", o.Output)
		}
		return p.checkInUse(false)
	}
	if err := p.checkInUse(!o.Stage); err != nil {
		return err
	}
	for _, name := range []string{antixBase + ".new", antixRoot + ".new"} {
		if exists(filepath.Join(l.Dir, name)) {
			return refuse("boot once so that it is taken up, or remove the .new files", "%s: %s is pending: the next boot would take it up", l.Dir, name)
		}
	}
	if o.Stage {
		for _, name := range []string{antixBase + ".old", antixBase + ".bad"} {
			if exists(filepath.Join(l.Dir, name)) {
				return refuse("move it away, or compact without --stage", "%s: %s is there, and a boot takes up a staged linuxfs only where it is not", l.Dir, name)
			}
		}
	}
	if o.NoReset && l.Overlay != nil && l.Overlay.Union != nil {
		rep, err := l.Overlay.Union.Report()
		if err != nil {
			return fmt.Errorf("rootfs: %w", err)
		}
		if rep.Redirects+rep.Metacopies+rep.IndexEntries > 0 {
			return refuse("compact without --no-reset", "%s: rootfs refers to files of its base (%d redirects, %d metacopies, %d index entries), so it cannot go on above another",
				l.Dir, rep.Redirects, rep.Metacopies, rep.IndexEntries)
		}
	}
	return nil
}

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
	paths := []string{}
	if p.live.Overlay != nil {
		paths = append(paths, p.live.Overlay.Path)
	}
	if base {
		paths = append(paths, p.live.Base.Path)
	}
	for _, path := range paths {
		why, err := hostdisk.InUse("/", path)
		if err != nil {
			return err
		}
		if why == "" {
			continue
		}
		hint := "shut the live system down and compact from another one, or unmount it"
		if path == p.live.Base.Path {
			hint += "; --stage prepares files for the next boot instead"
		}
		return refuse(hint, "%s: in use: %s", path, why)
	}
	return nil
}
