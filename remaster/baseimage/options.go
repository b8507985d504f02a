package baseimage

import (
	"context"
	"fmt"

	"relive/remaster/packed"
	"relive/remaster/refusal"
	"relive/remaster/replace"
	"relive/remaster/say"
	"relive/tree"
)

// Salt is what decides a new base besides the old one and the overlay.
func (p *Plan) Salt() string {
	s := fmt.Sprint(p.Summary.Codec, p.o.Level, p.Summary.BlockSize, p.o.Excludes)
	if f := p.Summary.Format; f != packed.SquashFS {
		s += string(f)
	}
	if p.o.Medium != nil {
		s += p.o.Medium.Salt()
	}
	return s
}

// WriteOptions join what was asked for with what the base has.
func (p *Plan) WriteOptions() (packed.WriteOptions, error) {
	wo, err := packed.Options(p.Live.Base.Image, p.o.Wish, p.Env.Library)
	if err != nil {
		return wo, err
	}
	if p.o.Medium == nil && (p.Live.Base.Inner == nil || p.keepsImage()) {
		numbers, err := p.Live.Numbers()
		if err != nil {
			return wo, err
		}
		wo.SetNumbers(numbers)
	}
	wo.SetWorkers(p.Env.Jobs)
	// What was taken out of a system that is given away must not lie about in it.
	wo.SetNoDead(p.o.Medium != nil && p.o.Medium.NoDead)
	return wo, nil
}

// warnLosses tells what the new base cannot hold.
func (p *Plan) warnLosses(st *packed.Stats) {
	format := p.Summary.Format.Name()
	acls := uint64(0)
	for name, n := range st.DroppedXattrs {
		if (tree.Xattr{Name: name}).IsACL() {
			acls += n
		} else {
			p.Warn("%s cannot hold the attribute %s, which %d files lose", format, name, n)
		}
	}
	if acls > 0 {
		p.Warn("%s cannot hold POSIX ACLs: %d are lost", format, acls)
	}
	if text := replace.FlagsLost(st.DroppedFlags, st.FirstFlagged); text != "" {
		p.Warn("%s cannot hold flags that chattr sets: %s", format, text)
	}
	if st.TimesOutOfRange > 0 {
		p.Warn("%s cannot hold times before 1970 and after 2106: %d are set to the nearest", format, st.TimesOutOfRange)
	}
}

// checkFormat refuses an image that the boot would not mount. What it mounts now it
// goes on mounting.
func (p *Plan) checkFormat(ctx context.Context, f packed.Format) error {
	l := p.Live
	traits := l.Layout.Traits()
	if l.Base.Image == nil || l.Base.Image.Format() == f {
		return nil
	}
	refused := func(hint, fact string, args ...any) error {
		return refusal.New(refusal.UnsupportedLayout, hint, "%s: "+fact, append([]any{l.Dir}, args...)...)
	}
	if f == packed.EROFS && !traits.BootsEROFS {
		return refused("leave out "+say.Format+": such a boot mounts SquashFS", "a boot of %s does not mount EROFS", l.Layout.Name())
	}
	if traits.FormatInName {
		return refused("leave out "+say.Format, "a boot of %s takes the format from the name of %s, which stays", l.Layout.Name(),
			l.Base.Name())
	}
	if f != packed.EROFS {
		return nil
	}
	initrd, version, err := l.Found().Dracut(ctx)
	if err != nil {
		return err
	}
	if version > 0 && version < dracutEROFS && !p.o.Force {
		return refused("a newer initrd is needed first; "+say.Force+" goes on", "%s is of dracut %d, which does not mount EROFS", initrd,
			version)
	}
	p.Warn("the initrd must have the kernel's module for EROFS (erofs.ko, or it is built in), or the system does not boot")
	return nil
}

// dracutEROFS is the first dracut whose dmsquash-live mounts EROFS
// (dracut-ng 103: modules.d/90dmsquash-live/dmsquash-live-root.sh).
const dracutEROFS = 103
