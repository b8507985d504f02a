package remaster

import (
	"path/filepath"

	"relive/remaster/swap"
)

// twins are the files that init renames with linuxfs and that are to exist on
// both sides of a roll-back, by name.
func (p *CompactPlan) twins() (names []string) {
	for _, name := range antixMakeOld {
		if name == antixRoot || name == antixMD5 {
			continue
		}
		if exists(filepath.Join(p.live.Dir, name)) {
			names = append(names, name)
		}
	}
	return names
}

// newFiles are the names of the temporary files, relative to the directory.
type newFiles struct{ base, md5, info, root string }

var placeholders = newFiles{"(new linuxfs)", "(new linuxfs.md5)", "(new linuxfs.info)", "(new rootfs)"}

// steps gives what is renamed, in the order in which it is safe.
func (p *CompactPlan) steps(f newFiles) []swap.Step {
	if p.o.Stage {
		return p.stageSteps(f)
	}
	var steps []swap.Step
	dir, keep := p.live.Dir, p.o.KeepOld
	kept := func(name string) string {
		if keep == 0 {
			return ""
		}
		return generation(name, 1)
	}
	names := append([]string{antixBase, antixInfo}, antixMakeOld...)
	for _, name := range names {
		steps = append(steps, rotate(dir, name, keep)...)
	}
	steps = append(steps, swap.Replace{New: f.base, Target: antixBase, Keep: kept(antixBase)},
		swap.Replace{New: f.md5, Target: antixMD5, Keep: kept(antixMD5)},
		swap.Replace{New: f.info, Target: antixInfo, Keep: kept(antixInfo)})
	if p.fresh != nil {
		steps = append(steps, swap.Replace{New: f.root, Target: antixRoot, Keep: kept(antixRoot)})
	}
	if keep > 0 {
		for _, name := range p.twins() {
			steps = append(steps, swap.Copy{From: name, To: generation(name, 1)})
		}
	}
	return steps
}

// rotate makes room for a new first generation, by moving each kept one a place
// on and removing what is beyond keep. A generation need not have every file.
func rotate(dir, name string, keep int) (steps []swap.Step) {
	for n := MaxKeepOld; n >= 1; n-- {
		if !exists(filepath.Join(dir, generation(name, n))) {
			continue
		}
		if n >= keep {
			steps = append(steps, swap.Remove{Path: generation(name, n)})
		} else {
			steps = append(steps, swap.Move{From: generation(name, n), To: generation(name, n+1)})
		}
	}
	return steps
}

// stageSteps puts the .new files in place; linuxfs.new, which a boot looks for,
// comes last.
func (p *CompactPlan) stageSteps(f newFiles) []swap.Step {
	var steps []swap.Step
	if exists(filepath.Join(p.live.Dir, "state")) {
		if exists(filepath.Join(p.live.Dir, "state.new")) {
			steps = append(steps, swap.Remove{Path: "state.new"})
		}
		steps = append(steps, swap.Copy{From: "state", To: "state.new"})
	}
	if p.fresh != nil {
		steps = append(steps, swap.Replace{New: f.root, Target: antixRoot + ".new"})
	}
	return append(steps,
		swap.Replace{New: f.info, Target: antixInfo},
		swap.Replace{New: f.md5, Target: antixMD5 + ".new"},
		swap.Replace{New: f.base, Target: antixBase + ".new"})
}
