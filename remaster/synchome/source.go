package synchome

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"relive/remaster/live"
	"relive/remaster/probe"
	"relive/remaster/refusal"
	"relive/remaster/say"
	"relive/remaster/unmatched"
	"relive/tree"
)

// homeSource is what a boot with persistence of homes mounts at /home or below.
type homeSource struct {
	name   string // for people
	mounts []homeMount
	// users are the homes that a mount lies over, nil for all.
	users []string
	// nested is the directory in the image of homes that is mounted, "" for its
	// root.
	nested string
}

// homeMount is a directory that is mounted.
type homeMount struct {
	dir  string // below /home, "" for that itself
	root *tree.Node
}

// whole reports whether /home itself is mounted.
func (h *homeSource) whole() bool { return len(h.mounts) > 0 && h.mounts[0].dir == "" }

// source finds the homes. With Reverse there may be none yet.
func (p *Plan) source() (*homeSource, error) {
	l := p.live
	h := &homeSource{name: l.Files.Home}
	if l.HomeProblem != nil {
		path := filepath.Join(l.Dir, l.Files.Home)
		if res, err := live.ProbeFile(l.Place, path); err == nil && res.Kind == probe.LUKS {
			return nil, refusal.New(refusal.Encrypted, "boot with it and copy the homes on the running system; relive opens no encrypted "+
				"images", "%s: is encrypted (LUKS)", path)
		}
		return nil, fmt.Errorf("the homes: %w", l.HomeProblem)
	}
	if l.Home != nil {
		root, nested, err := l.HomeRoot()
		if err != nil {
			return nil, err
		}
		h.nested = nested
		h.mounts = []homeMount{{"", root}}
		return h, nil
	}
	for _, b := range l.Binds {
		if b.Dir == live.HomeDir {
			h.mounts = append(h.mounts, homeMount{"", b.Root})
		} else if below, ok := strings.CutPrefix(b.Dir, live.HomeDir+"/"); ok {
			h.mounts = append(h.mounts, homeMount{below, b.Root})
		}
	}
	slices.SortStableFunc(h.mounts, func(a, b homeMount) int { return strings.Compare(a.dir, b.dir) })
	if dir := l.HomesDir(); dir != "" {
		h.name = dir
		return h, nil
	}
	if len(h.mounts) > 0 {
		h.name = l.Rel(l.Overlay.Path) + ", bound at /home"
		if !h.whole() {
			h.users = []string{}
			for _, m := range h.mounts {
				user, _, _ := strings.Cut(m.dir, "/")
				h.users = append(h.users, user)
			}
			h.users = slices.Compact(h.users)
			h.name = l.Rel(l.Overlay.Path) + ", bound below /home"
		}
		return h, nil
	}
	switch {
	case p.o.Reverse && l.Files.Home != "":
		return h, nil
	case p.o.Reverse:
		return nil, refusal.New(refusal.UnsupportedLayout, "copy them on the running system, once persistence.conf has a line: /home bind",
			"%s: a live system of this kind (%s) has no image of homes", l.Dir, l.Layout.Name())
	case l.Files.Home != "":
		return nil, refusal.New(refusal.NotFound, say.SyncHome+" "+say.Reverse+" makes one of the homes that the system has",
			"%s: there is no %s", l.Dir, l.Files.Home)
	}
	return nil, refusal.New(refusal.NotFound, "there is nothing to sync: /home is a part of the system",
		"%s: no homes beside the system (%s)", l.Dir, l.Layout.Name())
}

// over returns the homes as a boot with them shows them, over the system's.
func (h *homeSource) over(system *tree.Node) (*tree.Node, error) {
	at, mounts := system, h.mounts
	if h.whole() {
		at, mounts = mounts[0].root, mounts[1:]
	} else if at == nil {
		at = tree.NewDir(live.HomeDir, 0o755)
	}
	var edits tree.Edits
	for _, m := range mounts {
		c := *m.root
		edits.Put(m.dir, &c)
	}
	return edits.Apply(at)
}

// picked checks that there is what was asked for, and gives the homes without
// what is never brought over.
func (p *Plan) picked(homes *tree.Node, users []string) (*tree.Node, error) {
	var edits tree.Edits
	edits.Remove(live.LostAndFound)
	homes, err := edits.Apply(homes)
	if err != nil {
		return nil, err
	}
	kids, err := homes.Children()
	if err != nil {
		return nil, err
	}
	var names []string
	for _, k := range kids {
		if users == nil || slices.Contains(users, k.Name) {
			names = append(names, tree.Escape(k.Name))
		}
	}
	has := "it holds no homes"
	if len(names) > 0 {
		has = "it holds those of " + strings.Join(names[:min(len(names), 20)], ", ")
	}
	var u unmatched.Names
	for _, name := range p.o.Users {
		if !slices.Contains(names, tree.Escape(name)) {
			u.Name("there is no home of "+tree.Escape(name), name, names)
		}
	}
	if u.Hint = refusal.JoinHints(u.Hint, has); len(u.Facts) == len(p.o.Users) && len(u.Facts) > 0 && p.o.AllowUnmatched {
		return nil, refusal.New(refusal.Unmatched, has, "%s: there is none of the homes that "+say.User+" names", p.Summary.From)
	}
	warnings, err := u.Check(p.Summary.From, p.o.AllowUnmatched)
	if err != nil {
		return nil, err
	}
	p.Summary.Warnings = append(p.Summary.Warnings, warnings...)
	if p.o.Mirror && len(kids) == 0 && !p.o.Force {
		return nil, refusal.New(refusal.NeedsForce, "see that it is the right one; "+say.Force+" goes on", "%s: holds no homes, and "+
			say.Mirror+" would remove all others", p.Summary.From)
	}
	return homes, nil
}

// syncs reports whether a home is one of those that are synced.
func (p *Plan) syncs(name string, users []string) bool {
	if name == live.LostAndFound || users != nil && !slices.Contains(users, name) {
		return false
	}
	return len(p.o.Users) == 0 || slices.Contains(p.o.Users, name)
}
