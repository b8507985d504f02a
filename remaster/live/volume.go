package live

import (
	"os"
	"path/filepath"
	"syscall"

	"relive/remaster/bootedit"
	"relive/remaster/menu"
)

// Volume names a file system as boot menus do.
type Volume struct{ Label, UUID string }

// VolumeID is the label, where an ISO can have it.
func (v Volume) VolumeID() string {
	if bootedit.CheckVolumeID(v.Label) != nil {
		return ""
	}
	return v.Label
}

// Volume tells of the file system that the live directory lies on, as far as
// that is known. On the host it is told of media alone: the names of a disk that
// holds other things too are not the live system's.
func (l *Live) Volume(medium bool) Volume {
	if part := l.Partition; part != nil {
		return Volume{part.Label, part.UUID}
	}
	if !medium || !l.OnHost() {
		return Volume{}
	}
	return mountedVolume("/dev/disk", l.Dir)
}

// mountedVolume looks a directory's file system up among the links that udev
// makes. Reading the device itself takes root.
func mountedVolume(links, dir string) (v Volume) {
	st, err := os.Stat(dir)
	if err != nil {
		return v
	}
	sys, ok := st.Sys().(*syscall.Stat_t)
	if !ok {
		return v
	}
	find := func(kind string) string {
		entries, err := os.ReadDir(filepath.Join(links, kind))
		if err != nil {
			return ""
		}
		for _, e := range entries {
			st, err := os.Stat(filepath.Join(links, kind, e.Name()))
			if err != nil {
				continue
			}
			if dev, ok := st.Sys().(*syscall.Stat_t); ok && st.Mode()&os.ModeDevice != 0 && dev.Rdev == sys.Dev {
				return e.Name()
			}
		}
		return ""
	}
	return Volume{menu.DecodeLabel(find("by-label")), find("by-uuid")}
}
