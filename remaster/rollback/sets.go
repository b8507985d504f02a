package rollback

import (
	"context"
	"fmt"
	"slices"

	"relive/remaster/live"
	"relive/remaster/sets"
)

// planSets decides what becomes of the sets of antiX: of each that has a former
// rootfs which was written over the former base, that one comes back; one whose
// present rootfs was written over it stays.
func (p *Plan) planSets(ctx context.Context) error {
	f := p.found
	if !f.Layout.Traits().VersionIDs || !f.OnHost() {
		return nil
	}
	l := &live.Live{Dir: f.Dir, Layout: f.Layout, Place: f.Place}
	vid := sets.BaseVID(l, p.env, live.AntixBase+".old")
	if vid == "" {
		return nil // checkFormer tells of one that cannot be read
	}
	differ := sets.BaseVID(l, p.env, live.AntixBase) != vid // else ids do not tell what lies over which
	names, err := sets.SetNames(f, sets.ReadBootMenus(ctx, f))
	if err != nil {
		return err
	}
	for _, name := range names {
		root := sets.RootOf(name)
		own := slices.Contains(f.Files.Overlay, root)
		was, err := sets.RootVID(p.path(root + ".old"))
		if err != nil {
			return err
		}
		is, err := sets.RootVID(p.path(root))
		if err != nil {
			return err
		}
		stays := is == vid && (differ || was != vid) // also where there is an older one, as of a reset
		switch {
		case stays && own:
			f.Files.Overlay = slices.DeleteFunc(slices.Clone(f.Files.Overlay), func(n string) bool { return n == root })
			p.Warnings = append(p.Warnings, fmt.Sprintf("%s stays: it was written over the former linuxfs", root))
		case stays, was == vid && own, was == "" && is == "":
		case was == vid:
			f.Files.Follow = append(slices.Clone(f.Files.Follow), root)
		case own:
		case is != "":
			p.Warnings = append(p.Warnings,
				fmt.Sprintf("a boot will ignore the rootfs of the set %s: it was not written over the former linuxfs", name))
		}
	}
	return nil
}
