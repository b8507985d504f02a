package update

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"relive/remaster/kernel"
	"relive/remaster/live"
	"relive/remaster/say"
	"relive/tree"
)

// planIdentity plans that the medium is the one that the new initrds take for
// theirs: a boot passes over any other. pairs are the kernels of the live
// directory, taken the source's initrd for each that is replaced.
//
// The file changes before the initrds do. Its former content, set aside, still
// begins as the initrds look for it, so that a boot in between finds the medium with
// either.
func (p *Plan) planIdentity(ctx context.Context, pairs []live.KernelPair, taken map[string]string) error {
	l, from := p.live, p.from
	begins := l.Layout.Traits().Identity
	if begins == "" || len(taken) == 0 {
		return nil
	}
	here, err := live.Identities(l.Place, l.Dir, begins)
	if err != nil {
		return err
	}
	there, err := live.Identities(from.Place, from.Dir, begins)
	if err != nil {
		return err
	}
	var needed, new []string // identities that all and that new initrds look for
	fixed := false           // one that stays cannot be read
	for _, pair := range pairs {
		at, source := l, pair.Initrd
		theirs, replaced := taken[pair.Initrd]
		if replaced {
			at, source = from, theirs
		}
		f := at.Found()
		id, unread, err := f.PairIdentity(ctx, live.KernelPair{Kernel: pair.Kernel, Initrd: source})
		var ids []string
		switch {
		case err != nil:
			return err
		case unread != nil && replaced:
			ids = slices.Sorted(maps.Values(there)) // what it takes its own medium has
		case id != "":
			ids = []string{id}
		}
		fixed = fixed || unread != nil && !replaced
		needed = append(needed, ids...)
		if replaced {
			new = append(new, ids...)
		}
	}
	prefer := map[string]string{}
	for name, id := range there {
		prefer[id] = name
	}
	// One that an initrd which stays looks for in vain is not what an update is about.
	said := slices.Collect(maps.Values(here))
	needed = slices.DeleteFunc(needed, func(id string) bool { return !slices.Contains(new, id) && !slices.Contains(said, id) })
	put, _ := live.FitIdentities(begins, here, needed, prefer, fixed)
	var ids []bootFile
	for _, name := range slices.Sorted(maps.Keys(put)) {
		text := []byte(put[name] + "\n")
		ids = append(ids, bootFile{target: name, size: int64(len(text)), text: text})
		p.note("%s is made anew: the new initrd takes no medium but the one that it names", name)
	}
	p.files = append(ids, p.files...)
	return nil
}

// compareInitrds tells where a new initrd looks for the medium in another way than
// the present one: that of an encrypted stick of antiX for an encrypted volume.
func (p *Plan) compareInitrds(ctx context.Context, taken map[string]string) error {
	files := p.live.Layout.Medium(p.live).InitrdFiles
	if len(files) == 0 {
		return nil
	}
	read := func(l *live.Live, name string) (rd kernel.Ramdisk, err error) {
		c, err := l.Place.Open(filepath.Join(l.Dir, name))
		if err != nil {
			return rd, err
		}
		defer func() { err = errors.Join(err, c.Close()) }()
		rd, err = kernel.Initrd(ctx, c, name, slices.Sorted(maps.Keys(files))...)
		if tree.IsDamage(err) {
			err = nil // nothing is known of it
		}
		return rd, err
	}
	for _, target := range slices.Sorted(maps.Keys(taken)) {
		was, err := read(p.live, target)
		if err != nil {
			return err
		}
		is, err := read(p.from, taken[target])
		if err != nil {
			return err
		}
		for _, file := range slices.Sorted(maps.Keys(files)) {
			says := func(rd kernel.Ramdisk) string {
				first, _, _ := strings.Cut(string(rd.Files[file]), "\n")
				return cmp.Or(strings.TrimSpace(first), files[file])
			}
			if says(was) != says(is) {
				p.warn("%s: /%s says %q in the new one and %q in the present one, so that a boot looks for the medium in another way; "+
					say.NoKernel+" leaves it as it is", target, file, says(is), says(was))
			}
		}
	}
	return nil
}
