package sets

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"relive/extfs"
	"relive/remaster/hostdisk"
	"relive/remaster/job"
	"relive/remaster/live"
	"relive/remaster/refusal"
	"relive/remaster/say"
	"relive/tree"
)

// Listing is what there is to know of a live directory's persistence sets.
type Listing struct {
	Dir     string   `json:"dir"`
	Layout  string   `json:"layout"`
	HasVIDs bool     `json:"has_version_ids"`
	VID     string   `json:"vid,omitempty"` // of the base
	Sets    []Status `json:"sets"`
	// Note tells how a boot is told of another set, where relive knows only one.
	Note string `json:"note,omitempty"`
}

// Status describes a set.
type Status struct {
	Name string `json:"name"`
	Dir  string `json:"dir"`
	// Pdir is the set's directory from the root of its file system, as the boot
	// argument pdir= has it; "" where it has none.
	Pdir string `json:"pdir,omitempty"`
	// Root and Home are its images, nil where there is none, or none that can be
	// read: Problems tells. Of a snapshot's root the bytes are those of the COW,
	// which is what fills up, and the inodes those of the file system.
	Root  *live.ImageStatus `json:"rootfs,omitempty"`
	Home  *live.ImageStatus `json:"homefs,omitempty"`
	Form  live.Form         `json:"form,omitempty"`
	Empty bool              `json:"empty"` // nothing was written to the root
	// VIDState tells whether a boot uses the root. Fits names the former base that
	// it was written over, where that is still there.
	VID      string        `json:"vid,omitempty"`
	VIDState live.VIDState `json:"vid_state"`
	Fits     string        `json:"fits,omitempty"`
	Written  time.Time     `json:"written,omitzero"` // when one of its images was last written
	InUse    string        `json:"in_use,omitempty"`
	Entries  []string      `json:"entries"` // of boot menus, that name it
	Problems []string      `json:"problems"`
	// Aside are its rootfs that the init, or a roll-back, has set aside.
	Aside []Aside `json:"aside,omitempty"`
}

// Used reports whether a boot uses the set's root.
func (s *Status) Used() bool { return s.Root != nil && s.VIDState.Used() }

// List lists the persistence sets of the live directory.
func List(ctx context.Context, e *job.Env, l *live.Live) (*Listing, error) {
	list := &Listing{Dir: l.Dir, Layout: l.Layout.Name(), Sets: []Status{}, Note: l.Layout.Traits().OtherSets}
	f := l.Found()
	if f.Place == nil {
		f.Place = live.Host{}
	}
	v := ReadBootMenus(ctx, f)
	names := []string{live.DefaultSet}
	var err error
	list.HasVIDs = l.Layout.Traits().VersionIDs
	switch l.Layout.Traits().Sets {
	case live.SetDirectories:
		vids, err := l.VIDs()
		if err != nil {
			return nil, err
		}
		list.VID = string(vids.Base)
		if names, err = SetNames(f, v); err != nil {
			return nil, err
		}
	case live.SetOverlays:
		if names, err = live.LiveosOverlayNames(f.Place, f.Dir, ""); err != nil {
			return nil, err
		}
	}
	for _, name := range names {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		s, err := setStatus(ctx, e, l, f, name)
		if err != nil {
			return nil, err
		}
		if l.Layout.Traits().Sets == live.SetDirectories {
			if p, ok := v.path(name); ok && name != live.DefaultSet {
				s.Pdir = p
			}
			for i := range v.entries {
				if set, ok := v.set(&v.entries[i]); ok && set == name && v.entries[i].Title != "" &&
					!slices.Contains(s.Entries, v.entries[i].Title) {
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
func setStatus(ctx context.Context, e *job.Env, l *live.Live, f *live.Found, name string) (*Status, error) {
	s := &Status{Name: name, Dir: filepath.Join(l.Dir, name), Entries: []string{}, Problems: []string{}}
	if name == live.DefaultSet {
		s.Dir = l.Dir
	}
	var err error
	if s.Aside, err = Asides(l, e, name); err != nil {
		return nil, err
	}
	set, err := openSet(l, f, name)
	if err != nil {
		if r, ok := refusal.Is(err); ok {
			err = r
		}
		s.Problems = append(s.Problems, err.Error())
	}
	if set == nil {
		return s, nil
	}
	defer set.Closers.Close()
	note := func(image *live.ImageStatus, img *live.Image) error {
		if t := lastWritten(img.FS); t != (tree.Time{}) && s.Written.Before(t.Time()) {
			s.Written = t.Time().UTC()
		}
		why, err := l.InUse(img.Path)
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
			st := live.StatusOf(o.Image)
			s.Root = &st
			if err := note(s.Root, o.Image); err != nil {
				return nil, err
			}
		case o.COW != nil:
			c := o.COW
			st := live.StatusOf(&live.Image{Path: o.Path, Size: c.Size, Allocated: c.Allocated, FS: c.FS})
			const sector = 512
			cow := c.Store.Status()
			st.Capacity, st.UsedBytes = int64(cow.Total)*sector, int64(cow.Allocated)*sector
			st.UsedPercent = live.Percent(st.UsedBytes, st.Capacity)
			s.Root = &st
			if err := note(s.Root, &live.Image{Path: o.Path, FS: c.FS}); err != nil {
				return nil, err
			}
		default:
			s.Root = &live.ImageStatus{Path: o.Path, Clean: true}
			if s.Root.Size, err = live.ContentSize(ctx, o.Upper); err != nil {
				return nil, err
			}
			s.Root.Allocated, s.Root.UsedBytes = s.Root.Size, s.Root.Size
		}
		if vids.State == live.VIDMismatch {
			s.Fits = FormerWith(l, e, vids.Overlay)
		}
	} else if l.Layout.Traits().VersionIDs {
		s.VIDState = live.VIDNoOverlay
	}
	if h := set.Home; h != nil {
		st := live.StatusOf(h)
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
func openSet(l *live.Live, f *live.Found, name string) (*live.Live, error) {
	found := f
	if l.Layout.Traits().Sets != live.NoSets {
		g, err := live.FindSetAt(f.Place, f.Dir, "", name)
		if err != nil {
			return nil, err
		}
		if g == nil {
			return nil, fmt.Errorf("%s: %w", f.Dir, live.ErrNoLayout)
		}
		found = g
	}
	set := &live.Live{Dir: l.Dir, Layout: l.Layout, Set: found.Set, Place: l.Place, Stick: l.Stick, Files: found.Files, Base: l.Base,
		Merged: l.Base.Root, Stack: l.Stack, Lowers: l.Lowers}
	var err error
	switch l.Layout.Traits().Sets {
	case live.SetDirectories:
		err = set.OpenRootfs()
	case live.SetOverlays:
		if len(set.Files.Overlay) > 0 {
			err = set.OpenLiveOSOverlay()
		}
	default:
		set.Overlay = l.Overlay
	}
	if err != nil {
		set.Overlay = nil
	}
	if set.Files.Home != "" {
		set.OpenHome(set.Files.Home)
	}
	return set, err
}

// generations are the former bases that may lie beside the present one.
func generations(l *live.Live) (names []string) {
	base := l.Files.Base
	for _, name := range []string{base + ".old", base + ".bad", base + ".bak"} {
		if live.IsFile(l.Place, filepath.Join(l.Dir, name)) {
			names = append(names, name)
		}
	}
	for n := 2; n <= live.MaxKeepOld; n++ {
		if name := live.OldName(base, n); live.IsFile(l.Place, filepath.Join(l.Dir, name)) {
			names = append(names, name)
		}
	}
	return names
}

// FormerWith names the former base with that version id, "" where there is none
// that can be read.
func FormerWith(l *live.Live, e *job.Env, vid live.VID) string {
	for _, name := range generations(l) {
		if vid != "" && BaseVID(l, e, name) == vid {
			return name
		}
	}
	return ""
}

// Warnings tells of the other sets that a boot would ignore.
func Warnings(ctx context.Context, e *job.Env, l *live.Live) (out []string, err error) {
	if !l.Layout.Traits().VersionIDs {
		return nil, nil
	}
	list, err := List(ctx, e, l)
	if err != nil {
		return nil, err
	}
	for i := range list.Sets {
		s := &list.Sets[i]
		for _, a := range s.Aside {
			if back := a.Back(l, s.Name); a.Only && back != "" {
				out = append(out, fmt.Sprintf("the set %s has no rootfs, and %s is its own, which was written over %s: %s", s.Name, a.Name,
					a.Base, back))
			}
		}
		if s.Name == SetName(l) || s.Root == nil || s.Used() {
			continue
		}
		if strings.HasPrefix(s.Name, "../") && s.Fits == "" && len(s.Entries) == 0 {
			continue // it may be another live directory's
		}
		text := fmt.Sprintf("a boot ignores the rootfs of the set %s: its version id is %s, that of linuxfs %s", s.Name,
			live.OrNone(live.VID(s.VID)), live.OrNone(live.VID(list.VID)))
		if s.Fits != "" {
			text += "; it was written over " + s.Fits + ", and " + say.RebaseSet + " carries it over where its changes still apply"
		}
		out = append(out, text)
	}
	return out, nil
}

// SetName is the name of the set that is open.
func SetName(l *live.Live) string {
	if l.Set == "" {
		return live.DefaultSet
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

// Checks say what is about to be done to the base that sets lie over.
type Checks struct {
	Stage bool // it is left for the next boot
	Force bool // go on where sets are destroyed
	Warn  func(format string, args ...any)
}

// Check tells of the other sets, which were written over the present base,
// and refuses where they would destroy what lies over another one.
func Check(ctx context.Context, e *job.Env, l *live.Live, o Checks) error {
	switch l.Layout.Traits().Sets {
	case live.SetDirectories:
		list, err := List(ctx, e, l)
		if err != nil {
			return err
		}
		if o.Stage && SetName(l) != live.DefaultSet {
			o.Warn("the next boot has to have pdir= for the set %s: another one takes the linuxfs up, but not the set's rootfs", l.Set)
		}
		for i := range list.Sets {
			s := &list.Sets[i]
			switch {
			case s.Name == SetName(l) || !s.Used():
			case o.Stage && s.Name == live.DefaultSet:
				o.Warn("the boot that takes the new linuxfs up sets the rootfs of the default set aside and puts a copy in its place, "+
					"which it ignores: "+say.RebaseSet+" %s %s carries it over where its changes still apply", l.Dir, s.Name)
			case o.Stage:
				o.Warn("the rootfs of the set %s was written over the present linuxfs, and a boot will ignore it; one with pdir= for "+
					"that set, as the one that takes the new linuxfs up, sets it aside as %s.old: "+say.ListSets+" %s shows it, and "+
					say.RebaseSet+" %s %s carries it over where its changes still apply", s.Name, RootOf(s.Name), l.Dir, l.Dir, s.Name)
			default:
				o.Warn("the rootfs of the set %s was written over the present linuxfs, and a boot will ignore it: "+say.RebaseSet+" %s "+
					"%s carries it over where its changes still apply", s.Name, l.Dir, s.Name)
			}
		}
		if o.Stage && hostdisk.Exists(filepath.Join(l.Dir, live.OldName(l.Files.Overlay[0], 1))) {
			o.Warn("the boot that takes the new linuxfs up removes %s, which an earlier step has kept", live.OldName(l.Files.Overlay[0], 1))
		}
	case live.SetOverlays:
		names, err := live.LiveosOverlayNames(l.Place, l.Dir, "")
		if err != nil {
			return err
		}
		names = slices.DeleteFunc(names, func(name string) bool { return len(l.Files.Overlay) > 0 && name == l.Files.Overlay[0] })
		if len(names) > 0 && !o.Force {
			return refusal.New(refusal.BoundToBase, "move them away first, or remove them with "+say.RemoveSet+"; "+say.Force+
				" goes on all the same",
				"%s: %s lie over the present base, and over another one they show a damaged system", l.Dir, strings.Join(names, ", "))
		}
	}
	return nil
}
