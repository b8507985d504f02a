package update

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"relive/remaster/kernel"
	"relive/remaster/live"
	"relive/remaster/refusal"
	"relive/remaster/say"
	"relive/tree"
)

// bootFile is a kernel or an initrd, or what stands beside one, that an update
// takes over. Names are relative to the live directory and to the source's.
type bootFile struct {
	target, source string
	size           int64
	text           []byte // what it holds, where that is not what the source's does
}

// planKernels finds the kernels and initrds of the source that are others.
func (p *Plan) planKernels(ctx context.Context) error {
	l, from := p.live, p.from
	pairs, err := l.Found().Kernels()
	if err != nil {
		return err
	}
	if p.o.NoKernel {
		return p.checkModules(ctx, pairs, nil)
	}
	theirs, err := from.Found().Kernels()
	if err != nil {
		return err
	}
	if len(pairs) == 0 && p.base {
		p.warn("no kernel was found beside %s; if the boot's is of another version, put the new one in its place by hand", l.Files.Base)
	}
	matched := 0
	var stay []string
	taken := map[string]string{} // the source's initrd for each that is replaced
	for _, pair := range pairs {
		their := counterpart(pair, pairs, theirs)
		if their == (live.KernelPair{}) {
			stay = append(stay, pair.Kernel)
			continue
		}
		matched++
		// A kernel with another's initrd need not boot, so that nothing comes
		// between the two.
		var sides []bootFile
		for _, f := range [][2]string{{pair.Kernel, their.Kernel}, {pair.Initrd, their.Initrd}} {
			beside, err := p.planBootFile(ctx, f[0], f[1])
			if err != nil {
				return err
			}
			sides = append(sides, beside...)
		}
		if slices.ContainsFunc(p.files, func(f bootFile) bool { return f.target == pair.Initrd }) {
			taken[pair.Initrd] = their.Initrd
		}
		p.files = append(p.files, sides...)
	}
	if err := p.planIdentity(ctx, pairs, taken); err != nil {
		return err
	}
	if err := p.compareInitrds(ctx, taken); err != nil {
		return err
	}
	if len(pairs) > 0 && len(theirs) > 0 && matched == 0 && p.base {
		return refusal.New(refusal.Ambiguous, say.NoKernel+" leaves them as they are, to be put in place by hand",
			"%s: it is unknown which of the source's kernels is to replace %s: %s",
			l.Dir, strings.Join(stay, ", "), strings.Join(live.KernelsOf(theirs), ", "))
	}
	return p.checkModules(ctx, pairs, stay)
}

// checkModules tells of kernels that the new base has no modules for: of those
// that are taken over, and of those that stay.
func (p *Plan) checkModules(ctx context.Context, pairs []live.KernelPair, stay []string) error {
	if !p.base {
		return nil
	}
	modules, err := kernel.Modules(p.from.Base.Root)
	if err != nil {
		return err
	}
	for _, pair := range pairs {
		name := pair.Kernel
		at, path := p.live.Place, filepath.Join(p.live.Dir, name)
		if i := slices.IndexFunc(p.files, func(f bootFile) bool { return f.target == name }); i >= 0 {
			at, path = p.from.Place, filepath.Join(p.from.Dir, p.files[i].source)
		}
		image, err := live.ReadKernel(ctx, at, path)
		unknown := errors.Is(err, tree.ErrUnsupported) || errors.Is(err, tree.ErrCorrupt)
		switch {
		case err != nil && !unknown:
			return err
		case len(modules) > 0 && err == nil:
			for _, w := range kernel.Check(image, kernel.Ramdisk{}, modules) {
				p.warn("%s: %s", name, w)
			}
		case slices.Contains(stay, name):
			p.warn("%s stays: the source has none of that name, and the new base need not have its modules", name)
		case len(modules) > 0:
			p.note("whether the new base has modules for %s is not known: %v", name, err)
		}
	}
	return nil
}

// counterpart finds the pair that is to take the place of another: of the same
// path, of the same name in another directory, or, where either side has kernels
// of one name only, the one that there is. (Debian's names have the version.)
func counterpart(pair live.KernelPair, ours, theirs []live.KernelPair) live.KernelPair {
	name := filepath.Base(pair.Kernel)
	for _, t := range theirs {
		if t.Kernel == pair.Kernel {
			return t
		}
	}
	for _, t := range theirs {
		if filepath.Base(t.Kernel) == name {
			return t
		}
	}
	one := func(pairs []live.KernelPair) bool {
		return len(pairs) > 0 && !slices.ContainsFunc(pairs,
			func(q live.KernelPair) bool { return filepath.Base(q.Kernel) != filepath.Base(pairs[0].Kernel) })
	}
	if one(ours) && one(theirs) {
		return theirs[0]
	}
	return live.KernelPair{}
}

// planBootFile plans to take a file over where it is another, and gives what is
// to be put in the place of what stands beside the present one.
func (p *Plan) planBootFile(ctx context.Context, target, source string) (sides []bootFile, err error) {
	l, from := p.live, p.from
	same, err := p.same(ctx, target, source)
	if err != nil {
		return nil, err
	}
	was, err := l.Place.Stat(filepath.Join(l.Dir, target))
	if err != nil {
		return nil, err
	}
	is, err := from.Place.Stat(filepath.Join(from.Dir, source))
	if err != nil {
		return nil, err
	}
	p.Summary.Kernel = append(p.Summary.Kernel, File{Name: target, From: source, Size: is.Size, OldSize: was.Size, Changed: !same})
	if same {
		return nil, nil
	}
	p.files = append(p.files, bootFile{target: target, source: source, size: is.Size})
	if !live.Has(l.Place, filepath.Join(l.Dir, target+".ver")) {
		return sides, nil
	}
	ver, err := from.Place.Stat(filepath.Join(from.Dir, source+".ver"))
	if errors.Is(err, fs.ErrNotExist) {
		p.warn("%s stays and may tell of the former %s: the source has none", target+".ver", filepath.Base(target))
		return sides, nil
	}
	return append(sides, bootFile{target: target + ".ver", source: source + ".ver", size: ver.Size}), err
}

// tellOfKernels notes what a person should know of the ways back.
func (p *Plan) tellOfKernels() {
	var names []string
	for _, f := range p.Summary.Kernel {
		if f.Changed {
			names = append(names, filepath.Base(f.Name))
		}
	}
	if len(names) == 0 || p.o.KeepOld == 0 {
		return
	}
	if !p.base {
		p.note("the base is the same, so that "+say.Rollback+" has nothing to bring back; the former %s are kept as .old",
			strings.Join(names, ", "))
		return
	}
	if p.live.Layout.Traits().BootRollback {
		p.note(say.Rollback+" brings the former %s back with linuxfs; the boot option rollback brings back linuxfs and rootfs alone, "+
			"and "+say.Rollback+" afterwards the rest: until then name %s.old at the boot menu",
			strings.Join(names, ", "), names[0])
	}
}
