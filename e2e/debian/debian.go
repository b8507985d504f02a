package debian

import (
	"crypto/md5"
	"fmt"
	"os"
	"path/filepath"

	"relive/e2e/part"
)

// Packages is what the small Debian has beyond the essential packages, for most parts:
// tools of the steps, and live-boot with what makes its initrd.
const Packages = "libcap2-bin,attr,acl,dmsetup,live-boot,live-boot-initramfs-tools,busybox,uuid-runtime"

// Image is a small Debian as a SquashFS file, so that owners, modes and attributes stay
// together.
type Image struct{ Path, Name string }

// Make makes the small Debian with some packages, separated by commas, once. The
// environment's DEBIAN_PACKAGES are others.
func Make(p *part.Part, packages string) Image {
	p.Helper()
	if others := os.Getenv("DEBIAN_PACKAGES"); others != "" {
		packages = others
	}
	name := fmt.Sprintf("debian-%x", md5.Sum([]byte(packages)))[:len("debian-")+8]
	i := Image{filepath.Join(p.Shared, name+".sqfs"), name}
	p.OneAtATime(func() {
		if part.Exists(i.Path) {
			return
		}
		p.Say("making a small Debian")
		root := filepath.Join(p.Shared, "_root")
		p.RemoveTree(root)
		Root(p, root, "", packages)
		p.Do("mksquashfs", root, i.Path+".part", "-comp", "zstd", "-Xcompression-level", "1", "-noappend", "-no-progress", "-quiet")
		p.RemoveTree(root)
		p.Move(i.Path+".part", i.Path)
	})
	return i
}

// Unpack puts its files into a new directory.
func (i Image) Unpack(p *part.Part, dir string) {
	p.Helper()
	p.RemoveTree(dir)
	p.Do("unsquashfs", "-quiet", "-no-progress", "-d", dir, i.Path)
}

// Root makes a minimal Debian with some packages in a directory, of this machine's
// release unless a suite is named.
func Root(p *part.Part, dir, suite, packages string) {
	p.Helper()
	root(p, dir, "minbase", suite, packages)
}

// Extract unpacks packages of a suite, with those that they depend on, into a directory;
// nothing of them is run.
func Extract(p *part.Part, dir, suite, packages string) {
	p.Helper()
	root(p, dir, "extract", suite, packages)
}

func root(p *part.Part, dir, variant, suite, packages string) {
	p.Helper()
	p.Do("env", "SETUP_GROUP=e2e", "DEBIAN_SUITE="+suite, "bash", "-euo", "pipefail", "-c",
		`. scripts/lib/say.sh; . scripts/lib/debian.sh; debian_root "$1" "$2" "$3"`, "debian_root", dir, variant, packages)
}
