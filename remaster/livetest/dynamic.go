package livetest

import (
	"os"
	"testing"

	"relive/tree/systest"
)

// Dynamic is a live system with dynamic root persistence: rootfs is copied to
// RAM and written to there.
type Dynamic struct {
	Live
	RAM     string
	Options string
}

// DynamicOf makes the live system of a directory, in which fn is done before it
// is copied to RAM.
func DynamicOf(t testing.TB, d, options string, fn func(mnt string)) *Dynamic {
	t.Helper()
	base := systest.TempDir(t) + "/base"
	systest.Run(t, "mksquashfs", d, base, "-noappend", "-quiet", "-no-progress", "-comp", "gzip")
	y := &Dynamic{Live: *NewLive(t, base), RAM: systest.MemDir(t), Options: options}
	y.Boot(false, fn)
	root, drop := systest.Mount(t, "ext4", "loop,ro", y.Path("rootfs"))
	systest.Run(t, "cp", "-a", root+"/upper", y.RAM)
	drop()
	systest.Must(t, os.Mkdir(y.RAM+"/work", 0o755))
	return y
}

// Run runs fn in what the layer in RAM shows over the base.
func (y *Dynamic) Run(fn func(mnt string)) {
	y.T.Helper()
	lower, dropLower := systest.Mount(y.T, "squashfs", "loop,ro", y.Path("linuxfs"))
	o := "lowerdir=" + lower + ",upperdir=" + y.RAM + "/upper,workdir=" + y.RAM + "/work"
	if y.Options != "" {
		o += "," + y.Options
	}
	mnt, drop := systest.Mount(y.T, "overlay", o, "overlay")
	fn(mnt)
	drop()
	dropLower()
}
