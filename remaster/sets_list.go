package remaster

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"relive/extfs"
	"relive/remaster/job"
	"relive/remaster/refusal"
	"relive/tree"
)

// SetList is what there is to know of a live directory's persistence sets.
type SetList struct {
	Dir     string      `json:"dir"`
	Layout  string      `json:"layout"`
	HasVIDs bool        `json:"has_version_ids"`
	VID     string      `json:"vid,omitempty"` // of the base
	Sets    []SetStatus `json:"sets"`
	// Note tells how a boot is told of another set, where relive knows only one.
	Note string `json:"note,omitempty"`
}

// SetStatus describes a set.
type SetStatus struct {
	Name string `json:"name"`
	Dir  string `json:"dir"`
	// Pdir is the set's directory from the root of its file system, as the boot
	// argument pdir= has it; "" where it has none.
	Pdir string `json:"pdir,omitempty"`
	// Root and Home are its images, nil where there is none, or none that can be
	// read: Problems tells. Of a snapshot's root the bytes are those of the COW,
	// which is what fills up, and the inodes those of the file system.
	Root  *ImageStatus `json:"rootfs,omitempty"`
	Home  *ImageStatus `json:"homefs,omitempty"`
	Form  Form         `json:"form,omitempty"`
	Empty bool         `json:"empty"` // nothing was written to the root
	// VIDState tells whether a boot uses the root. Fits names the former base that
	// it was written over, where that is still there.
	VID      string    `json:"vid,omitempty"`
	VIDState VIDState  `json:"vid_state"`
	Fits     string    `json:"fits,omitempty"`
	Written  time.Time `json:"written,omitzero"` // when one of its images was last written
	InUse    string    `json:"in_use,omitempty"`
	Entries  []string  `json:"entries"` // of boot menus, that name it
	Problems []string  `json:"problems"`
}

// Used tells whether a boot uses the set's root.
func (s *SetStatus) Used() bool { return s.Root != nil && s.VIDState.Used() }

// Sets lists the persistence sets of the live directory.
func (l *Live) Sets(ctx context.Context, e *job.Env) (*SetList, error) {
	list := &SetList{Dir: l.Dir, Layout: l.Layout.Name(), Sets: []SetStatus{}, Note: l.Layout.Traits().OtherSets}
	f := &Found{Dir: l.Dir, Layout: l.Layout, Set: l.Set, at: l.at, files: l.files}
	if f.at == nil {
		f.at = host{}
	}
	v := f.bootView(ctx)
	names := []string{DefaultSet}
	var err error
	list.HasVIDs = l.Layout.Traits().VersionIDs
	switch l.Layout.Traits().Sets {
	case SetDirectories:
		vids, err := l.VIDs()
		if err != nil {
			return nil, err
		}
		list.VID = string(vids.Base)
		if names, err = f.setNames(v); err != nil {
			return nil, err
		}
	case SetOverlays:
		if names, err = liveosOverlayNames(f.at, f.Dir, ""); err != nil {
			return nil, err
		}
	}
	for _, name := range names {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		s, err := l.setStatus(ctx, e, f, name)
		if err != nil {
			return nil, err
		}
		if l.Layout.Traits().Sets == SetDirectories {
			if p, ok := v.path(name); ok && name != DefaultSet {
				s.Pdir = p
			}
			for i := range v.entries {
				if set, ok := v.set(&v.entries[i]); ok && set == name && v.entries[i].Title != "" && !slices.Contains(s.Entries, v.entries[i].Title) {
					s.Entries = append(s.Entries, v.entries[i].Title)
				}
			}
		}
		list.Sets = append(list.Sets, *s)
	}
	return list, nil
}

// setStatus looks at one set. What is wrong with its images is noted, and no
// error.
func (l *Live) setStatus(ctx context.Context, e *job.Env, f *Found, name string) (*SetStatus, error) {
	s := &SetStatus{Name: name, Dir: filepath.Join(l.Dir, name), Entries: []string{}, Problems: []string{}}
	if name == DefaultSet {
		s.Dir = l.Dir
	}
	set, err := l.openSet(f, name)
	if err != nil {
		if r, ok := refusal.Is(err); ok {
			err = r
		}
		s.Problems = append(s.Problems, err.Error())
	}
	if set == nil {
		return s, nil
	}
	defer set.closers.Close()
	note := func(image *ImageStatus, img *Image) error {
		if t := lastWritten(img.FS); t != (tree.Time{}) && s.Written.Before(t.Time()) {
			s.Written = t.Time().UTC()
		}
		why, err := l.inUse(img.Path)
		if err == nil && why != "" {
			s.InUse, image.InUse = why, why
		}
		return err
	}
	if o := set.Overlay; o != nil {
		s.Form, s.Empty = o.Form, o.Empty
		vids, err := set.VIDs()
		if err != nil {
			s.Problems = append(s.Problems, err.Error())
		}
		s.VID, s.VIDState = string(vids.Overlay), vids.State
		switch {
		case o.Image != nil:
			st := imageStatus(o.Image)
			s.Root = &st
			if err := note(s.Root, o.Image); err != nil {
				return nil, err
			}
		case o.Snapshot != nil:
			c := o.Snapshot
			st := imageStatus(&Image{Path: o.Path, Size: c.Size, Allocated: c.Allocated, FS: c.FS})
			const sector = 512
			cow := c.COW.Status()
			st.Capacity, st.UsedBytes = int64(cow.Total)*sector, int64(cow.Allocated)*sector
			st.UsedPercent = percent(st.UsedBytes, st.Capacity)
			s.Root = &st
			if err := note(s.Root, &Image{Path: o.Path, FS: c.FS}); err != nil {
				return nil, err
			}
		default:
			s.Root = &ImageStatus{Path: o.Path, Clean: true}
			if s.Root.Size, err = contentSize(ctx, o.Upper); err != nil {
				return nil, err
			}
			s.Root.Allocated, s.Root.UsedBytes = s.Root.Size, s.Root.Size
		}
		if vids.State == VIDMismatch {
			s.Fits = l.formerWith(e, vids.Overlay)
		}
	} else if l.Layout.Traits().VersionIDs {
		s.VIDState = VIDNoOverlay
	}
	if h := set.Home; h != nil {
		st := imageStatus(h)
		s.Home = &st
		if err := note(s.Home, h); err != nil {
			return nil, err
		}
	}
	if set.HomeProblem != nil {
		s.Problems = append(s.Problems, set.HomeProblem.Error())
	}
	return s, nil
}

// openSet opens a set over the base that is open; only its own files are closed
// with it. Where only its root cannot be read it is there as well.
func (l *Live) openSet(f *Found, name string) (*Live, error) {
	found := f
	if l.Layout.Traits().Sets != NoSets {
		g, err := findSetAt(f.at, f.Dir, "", name)
		if err != nil {
			return nil, err
		}
		if g == nil {
			return nil, fmt.Errorf("%s: %w", f.Dir, ErrNoLayout)
		}
		found = g
	}
	set := &Live{Dir: l.Dir, Layout: l.Layout, Set: found.Set, at: l.at, stick: l.stick, files: found.files, Base: l.Base, Merged: l.Base.Root, stack: l.stack, lowers: l.lowers}
	var err error
	switch l.Layout.Traits().Sets {
	case SetDirectories:
		err = set.openRootfs()
	case SetOverlays:
		if len(set.files.overlay) > 0 {
			err = set.openLiveOSOverlay()
		}
	default:
		set.Overlay = l.Overlay
	}
	if err != nil {
		set.Overlay = nil
	}
	if set.files.home != "" {
		set.openHome(set.files.home)
	}
	return set, err
}

// generations are the former bases that may lie beside the present one.
func (l *Live) generations() (names []string) {
	base := l.files.base
	for _, name := range []string{base + ".old", base + ".bad", base + ".bak"} {
		if isFile(l.at, filepath.Join(l.Dir, name)) {
			names = append(names, name)
		}
	}
	for n := 2; n <= MaxKeepOld; n++ {
		if name := generation(base, n); isFile(l.at, filepath.Join(l.Dir, name)) {
			names = append(names, name)
		}
	}
	return names
}

// formerWith names the former base with that version id, "" where there is none
// that can be read.
func (l *Live) formerWith(e *job.Env, vid VID) string {
	for _, name := range l.generations() {
		if vid != "" && l.baseVID(e, name) == vid {
			return name
		}
	}
	return ""
}

// setWarnings tells of the other sets that a boot would ignore.
func (l *Live) setWarnings(ctx context.Context, e *job.Env) (out []string, err error) {
	if !l.Layout.Traits().VersionIDs {
		return nil, nil
	}
	list, err := l.Sets(ctx, e)
	if err != nil {
		return nil, err
	}
	for i := range list.Sets {
		s := &list.Sets[i]
		if s.Name == l.setName() || s.Root == nil || s.Used() {
			continue
		}
		if strings.HasPrefix(s.Name, "../") && s.Fits == "" && len(s.Entries) == 0 {
			continue // it may be another live directory's
		}
		text := fmt.Sprintf("a boot ignores the rootfs of the set %s: its version id is %s, that of linuxfs %s", s.Name, orNone(VID(s.VID)), orNone(VID(list.VID)))
		if s.Fits != "" {
			text += "; it was written over " + s.Fits + ", and relive sets restamp carries it over where its changes still apply"
		}
		out = append(out, text)
	}
	return out, nil
}

// setName is the name of the set that is open.
func (l *Live) setName() string {
	if l.Set == "" {
		return DefaultSet
	}
	return l.Set
}

// lastWritten is when a file system was last written to, or made where it never
// was.
func lastWritten(fs *extfs.FS) tree.Time {
	if info := fs.Info(); info.LastWrite != (tree.Time{}) {
		return info.LastWrite
	}
	return fs.Info().Created
}

// setChecks say what is about to be done to the base that sets lie over.
type setChecks struct {
	stage bool // it is left for the next boot
	force bool // go on where sets are destroyed
	warn  func(format string, args ...any)
}

// checkSets tells of the other sets, which were written over the present base,
// and refuses where they would destroy what lies over another one.
func checkSets(ctx context.Context, e *job.Env, l *Live, o setChecks) error {
	switch l.Layout.Traits().Sets {
	case SetDirectories:
		list, err := l.Sets(ctx, e)
		if err != nil {
			return err
		}
		if o.stage && l.setName() != DefaultSet {
			o.warn("the next boot has to have pdir= for the set %s: another one takes the linuxfs up, but not the set's rootfs", l.Set)
		}
		for i := range list.Sets {
			if s := &list.Sets[i]; s.Name != l.setName() && s.Used() {
				o.warn("the rootfs of the set %s was written over the present linuxfs, and a boot will ignore it: relive sets restamp %s %s carries it over where its changes still apply", s.Name, l.Dir, s.Name)
			}
		}
	case SetOverlays:
		names, err := liveosOverlayNames(l.at, l.Dir, "")
		if err != nil {
			return err
		}
		names = slices.DeleteFunc(names, func(name string) bool { return len(l.files.overlay) > 0 && name == l.files.overlay[0] })
		if len(names) > 0 && !o.force {
			return refusal.New("move them away first, or remove them with relive sets rm; --force goes on all the same",
				"%s: %s lie over the present base, and over another one they show a damaged system", l.Dir, strings.Join(names, ", "))
		}
	}
	return nil
}
