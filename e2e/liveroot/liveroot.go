package liveroot

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"relive/e2e/debian"
	"relive/e2e/machine"
	"relive/e2e/part"
)

// Suffix tells images of another kernel or Debian apart.
func Suffix(k machine.Kernel, base debian.Image) string { return k.Release + "-" + base.Name }

// Make unpacks the small Debian. Its /sbin/init starts a script that the initrd leaves in
// /run, so that the images need not be made anew for other steps.
func Make(p *part.Part, base debian.Image, root string) {
	p.Helper()
	base.Unpack(p, root)
	keepOnly(p, filepath.Join(root, "usr/share/locale"), "de")
	keepOnly(p, filepath.Join(root, "usr/share/man"), "man1")
	p.RemoveTree(filepath.Join(root, "usr/share/zoneinfo"), filepath.Join(root, "usr/share/perl"))
	init := filepath.Join(root, "usr/sbin/init")
	p.Write(init, "#!/bin/sh\nexec /bin/sh /run/e2e/init\n")
	p.Do("chmod", "0755", init)
}

// keepOnly removes all of a directory but one name, which must be there.
func keepOnly(p *part.Part, dir, name string) {
	p.Helper()
	p.Expect(part.Exists(filepath.Join(dir, name)), "%s has no %s", dir, name)
	for _, other := range p.Names(dir) {
		if other != name {
			p.RemoveTree(filepath.Join(dir, other))
		}
	}
}

// Pack packs a folder as Fedora and Debian do but with zstd, which a machine without KVM
// reads in an acceptable time.
func Pack(p *part.Part, folder, image string) {
	p.Helper()
	p.RemoveTree(image + ".part")
	p.Do("mksquashfs", folder, image+".part", "-comp", "zstd", "-Xcompression-level", "3", "-noappend", "-no-progress", "-quiet")
	p.Move(image+".part", image)
}

// Enter runs a command in a root, with what tools that make an initrd need: devices, the
// kernel's folders, empty temporary ones. What it prints is kept in ROOT.log.
func Enter(p *part.Part, root string, command ...string) {
	p.Helper()
	before := p.Mounts()
	p.Mount("proc", "", "proc", filepath.Join(root, "proc"))
	p.Mount("", "bind", "/sys", filepath.Join(root, "sys"))
	p.Mount("", "bind", "/dev", filepath.Join(root, "dev"))
	p.Mount("tmpfs", "", "tmpfs", filepath.Join(root, "var/tmp"))
	var log strings.Builder
	cmd := exec.Command("chroot", append([]string{root}, command...)...)
	cmd.Stdout, cmd.Stderr = &log, &log
	_, err := p.Try(cmd)
	p.Write(root+".log", log.String())
	if err != nil {
		p.Fatalf("%s failed: %v\n%s\nhint: all that it said is in %s", command[0], err, part.Tail(log.String(), 20), root+".log")
	}
	p.UnmountDownTo(before)
}

// ExpectModules wants an initrd, which is not compressed, to have some modules, or the
// kernel to have them built in.
func ExpectModules(p *part.Part, k machine.Kernel, initrd string, modules ...string) {
	p.Helper()
	names := p.Read(filepath.Join(k.Modules(), "modules.builtin")) + Names(p, initrd)
	for _, module := range modules {
		pattern := "/" + strings.ReplaceAll(module, "_", "[-_]") + `\.ko`
		p.Expect(regexp.MustCompile(pattern).MatchString(names), "%s has no module %s", filepath.Base(initrd), module)
	}
}

// Names returns the paths in an initrd that is not compressed, a line each.
func Names(p *part.Part, initrd string) string {
	p.Helper()
	return p.Do("cpio", "--quiet", "-t", "-F", initrd)
}
