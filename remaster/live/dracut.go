package live

import (
	"context"
	"path"
	"path/filepath"
	"regexp"
	"strconv"

	"relive/remaster/kernel"
)

// dracutReleases are where an initrd says which dracut made it
// (modules.d/99base/module-setup.sh: initrd-release).
var dracutReleases = []string{"usr/lib/initrd-release", "lib/initrd-release", "etc/initrd-release"}

var dracutVersion = regexp.MustCompile(`(?m)^VERSION="?.*dracut-0*([0-9]+)`)

// Dracut tells by which version of dracut the initrds of the live system were made:
// the initrd, relative to the live directory, and the version of the newest; 0
// where none tells one. An initrd that cannot be read tells none.
func (f *Found) Dracut(ctx context.Context) (initrd string, version int, err error) {
	pairs, err := f.Kernels()
	if err != nil {
		return "", 0, err
	}
	for _, p := range pairs {
		v := initrdDracut(ctx, f.Place, filepath.Join(f.Dir, p.Initrd))
		if err := ctx.Err(); err != nil {
			return "", 0, context.Cause(ctx)
		}
		if v > version {
			initrd, version = p.Initrd, v
		}
	}
	return initrd, version, nil
}

func initrdDracut(ctx context.Context, at Place, file string) int {
	c, err := at.Open(file)
	if err != nil {
		return 0
	}
	defer c.Close()
	rd, err := kernel.Initrd(ctx, c, file, dracutReleases...)
	if err != nil {
		return 0
	}
	for _, name := range dracutReleases {
		if m := dracutVersion.FindSubmatch(rd.Files[name]); m != nil {
			v, _ := strconv.Atoi(string(m[1]))
			return v
		}
	}
	return 0
}

// noExt3fs is the first dracut that does not look for ext3fs.img (dracut-ng
// bbd26137).
const noExt3fs = 110

// BootMisses tells what an initrd does not find of the base: "" where nothing is
// known to be missed.
func (l *Live) BootMisses(ctx context.Context) (string, error) {
	const old = "ext3fs.img"
	if l.Layout != Layout(liveOS{}) || l.Files.Base != old && (l.Base.Inner == nil || path.Base(l.Base.Inner.Path) != old) {
		return "", nil
	}
	initrd, version, err := l.Found().Dracut(ctx)
	if err != nil || version < noExt3fs {
		return "", err
	}
	return initrd + " is of dracut " + strconv.Itoa(version) + ", which does not look for " + old + " any more", nil
}
