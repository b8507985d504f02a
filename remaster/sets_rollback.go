package remaster

import (
	"context"
	"fmt"
	"slices"
)

// planSets decides what becomes of the sets of antiX: of each that has a former
// rootfs which was written over the former base, that one comes back; one whose
// present rootfs was written over it stays.
func (p *RollbackPlan) planSets(ctx context.Context) error {
	f := p.found
	if !f.Layout.Traits().VersionIDs || !f.OnHost() {
		return nil
	}
	l := &Live{Dir: f.Dir, Layout: f.Layout, at: f.at}
	vid := l.baseVID(p.env, antixBase+".old")
	if vid == "" {
		return nil // checkFormer tells of one that cannot be read
	}
	differ := l.baseVID(p.env, antixBase) != vid // else ids do not tell what lies over which
	names, err := f.setNames(f.bootView(ctx))
	if err != nil {
		return err
	}
	for _, name := range names {
		root := rootOf(name)
		own := slices.Contains(f.files.overlay, root)
		was, err := rootVID(p.path(root + ".old"))
		if err != nil {
			return err
		}
		is, err := rootVID(p.path(root))
		if err != nil {
			return err
		}
		stays := is == vid && (differ || was != vid) // also where there is an older one, as of a reset
		switch {
		case stays && own:
			f.files.overlay = slices.DeleteFunc(slices.Clone(f.files.overlay), func(n string) bool { return n == root })
			p.Warnings = append(p.Warnings, fmt.Sprintf("%s stays: it was written over the former linuxfs", root))
		case stays, was == vid && own, was == "" && is == "":
		case was == vid:
			f.files.follow = append(slices.Clone(f.files.follow), root)
		case own:
		case is != "":
			p.Warnings = append(p.Warnings, fmt.Sprintf("a boot will ignore the rootfs of the set %s: it was not written over the former linuxfs", name))
		}
	}
	return nil
}
