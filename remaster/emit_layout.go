package remaster

import (
	"path"
	"path/filepath"
	"slices"
	"strings"

	"relive/remaster/sumlist"
)

// isoForm is how the system of a live directory is laid out on an ISO. Paths
// are those on the ISO, unless said otherwise.
type isoForm struct {
	// root is the root of the medium that the live directory lies on, a path of
	// its place. On a disk that holds other things too it is where the names
	// begin that are looked at.
	root string
	// rename is a directory of the medium and its name on the ISO; both are
	// empty where it keeps its name.
	rename [2]string
	// own are patterns of what is taken of the medium whatever makes the ISO boot,
	// relative to its root; whole of what else is taken of a medium that boots.
	own, whole []string
	// base is where the new base lies, and beside the files that tell of it.
	base   string
	beside []companion
	// hollow are images that lie over the base and hold nothing any more.
	hollow []string
	// kernels and initrds are patterns of where they lie, best first.
	kernels, initrds []string
	// machine are arguments that name a disk of the machine that a medium was in.
	machine []string
	// arguments are what a kernel is told so that the medium boots.
	arguments func(volumeID string) []string
}

// mediumMarks are the directories by which a medium that boots is known.
var mediumMarks = []string{"boot/grub", "boot/grub2", "boot/isolinux", "boot/syslinux", "boot/loader", "isolinux", "syslinux", "EFI/BOOT", "EFI/boot", "efi/boot", "loader/entries", "images/pxeboot"}

// isMedium tells whether a directory is the root of a medium that boots, and
// not that of an installed system.
func isMedium(at place, dir string) bool {
	if isDir(at, filepath.Join(dir, "etc")) && isDir(at, filepath.Join(dir, "usr")) {
		return false
	}
	return slices.ContainsFunc(mediumMarks, func(name string) bool { return isDir(at, filepath.Join(dir, name)) })
}

// bootTakes are taken of every medium.
var bootTakes = []string{"boot", "EFI", "efi", "isolinux", "syslinux", "loader", ".disk", "autorun.inf", "autorun.ico", "cdrom.ico", "shellx64.efi", "shellia32.efi", "efi.img"}

// aboveDir gives the directory that the live directory is in, and its name
// there. A live directory that is the root of a file system has none.
func (l *Live) aboveDir() (root, name string) {
	if at, ok := l.at.(onStick); ok && l.Dir == at.name {
		return l.Dir, ""
	}
	dir := l.absolute()
	return filepath.Dir(dir), filepath.Base(dir)
}

// absolute is the live directory's path, as long as there is one that does not
// depend on where relive runs.
func (l *Live) absolute() string {
	if l.onHost() {
		if dir, err := filepath.Abs(l.Dir); err == nil {
			return dir
		}
	}
	return l.Dir
}

func (AntiX) iso(l *Live) isoForm {
	root, name := l.aboveDir()
	const dir = "antiX"
	f := isoForm{root: root, base: dir + "/" + antixBase}
	own := []string{"vmlinuz*", "initrd*.gz*", "initrd*.xz*", "initrd*.img*", "memtest*", "linuxfs.ver"}
	for i := range own {
		own[i] = path.Join(literally(name), own[i])
	}
	f.own, f.whole = own, []string{"version"}
	if name != dir {
		f.rename = [2]string{name, dir}
	}
	for _, c := range l.files.companions {
		if c.list == nil {
			c.name = dir + "/" + c.name
			f.beside = append(f.beside, c)
		}
	}
	f.kernels = []string{dir + "/vmlinuz", dir + "/vmlinuz[0-9]"}
	f.initrds = []string{dir + "/initrd.gz", dir + "/initrd[0-9].gz", dir + "/initrd*"}
	// init finds another disk by itself, but not where it is told of one.
	f.machine = []string{"bdev", "bootdev"}
	f.arguments = func(string) []string { return []string{"quiet"} }
	return f
}

func (LiveOS) iso(l *Live) isoForm {
	root, name := l.aboveDir()
	f := isoForm{root: root, base: liveosDir + "/" + liveosBase}
	own := literally(name)
	f.own = []string{path.Join(own, "vmlinuz*"), path.Join(own, "initrd*"), path.Join(own, "initramfs*")}
	f.whole = []string{"images", ".discinfo", ".treeinfo", "GPL", "LICENSE", "Fedora-Legal-README.txt", "media.repo"}
	if name != liveosDir {
		// The base lies in the directory that was given.
		f.rename = [2]string{name, liveosDir}
	}
	for _, dir := range []string{"images/pxeboot", "isolinux", "boot/*/loader", "syslinux", "boot/*", "boot", liveosDir} {
		f.kernels = append(f.kernels, dir+"/vmlinuz", dir+"/vmlinuz*", dir+"/linux")
		f.initrds = append(f.initrds, dir+"/initrd.img", dir+"/initrd*", dir+"/initramfs*")
	}
	f.arguments = func(id string) []string {
		return []string{"root=live:CDLABEL=" + escapeLabel(id), "rd.live.image", "quiet"}
	}
	return f
}

func (Archiso) iso(l *Live) isoForm {
	arch := filepath.Dir(l.files.base) // arch/x86_64
	dir := filepath.Dir(arch)
	f := isoForm{root: l.absolute(), base: l.files.base}
	own := literally(dir)
	f.own = []string{own + "/boot", own + "/version", own + "/grubenv"}
	f.beside = besideBase(l, f.base)
	f.kernels = []string{own + "/boot/" + filepath.Base(arch) + "/vmlinuz*", own + "/boot/vmlinuz*", own + "/boot/*/vmlinuz*"}
	f.initrds = []string{own + "/boot/" + filepath.Base(arch) + "/initramfs*", own + "/boot/initramfs*", own + "/boot/*/initramfs*"}
	f.arguments = func(id string) []string {
		return []string{"archisobasedir=" + dir, "archisolabel=" + escapeLabel(id)}
	}
	return f
}

func (LiveBoot) iso(l *Live) isoForm {
	f := isoForm{root: l.absolute(), base: livebootDir + "/" + livebootBase}
	f.own = []string{livebootDir + "/vmlinuz*", livebootDir + "/initrd*"}
	f.whole = []string{"d-i", "dists", "pool", "pool-udeb", "install", "win32-loader.ini", "g2ldr", "setup.exe", "README*", "doc", "css"}
	f.beside = besideBase(l, f.base)
	f.kernels = []string{livebootDir + "/vmlinuz", livebootDir + "/vmlinuz*"}
	f.initrds = []string{livebootDir + "/initrd.img", livebootDir + "/initrd*"}
	f.arguments = func(string) []string { return []string{"boot=live", "components", "quiet"} }
	return f
}

func (Casper) iso(l *Live) isoForm {
	// Which of the stack's images are booted, arguments and files in the initrd
	// tell. So all of them stay, by name: the lowest is the new base, and nothing
	// is in the others.
	f := isoForm{root: l.absolute(), base: l.files.stack[0], hollow: l.files.stack[1:]}
	f.own = []string{casperDir + "/vmlinuz*", casperDir + "/initrd*"}
	f.whole = []string{"dists", "pool", "install", "preseed", "pics", "README.diskdefines", "ubuntu"}
	f.beside = besideBase(l, f.base)
	f.kernels = []string{casperDir + "/vmlinuz", casperDir + "/vmlinuz.efi", casperDir + "/vmlinuz*"}
	f.initrds = []string{casperDir + "/initrd", casperDir + "/initrd.*", casperDir + "/initrd*"}
	f.arguments = func(string) []string { return []string{"boot=casper", "quiet"} }
	return f
}

// besideBase are the files that tell of the new base's size and, where there
// are several images, of their order.
func besideBase(l *Live, base string) (out []companion) {
	for _, c := range l.files.companions {
		if c.list != nil {
			continue // lists of sums are made of all that is on the ISO
		}
		if rest, ok := strings.CutPrefix(c.name, sumlist.Stem(l.files.base)); ok {
			c.name = sumlist.Stem(base) + rest
		}
		if filepath.Base(c.name) == livebootModules {
			own := filepath.Base(base)
			c.text = func(baseFacts) string { return own + "\n" }
		}
		out = append(out, c)
	}
	return out
}

// literally is a pattern that matches the name itself.
func literally(name string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(name)
}

// escapeLabel writes a label as dracut and archiso take it from the kernel's
// arguments, which spaces end.
func escapeLabel(s string) string {
	return strings.NewReplacer(" ", `\x20`, "/", `\x2f`, `\`, `\x5c`).Replace(s)
}
