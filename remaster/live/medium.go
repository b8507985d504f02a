package live

import (
	"path"
	"path/filepath"
	"slices"
	"strings"

	"relive/remaster/menu"
	"relive/remaster/sumlist"
)

// Medium is how the system of a live directory is laid out on an ISO. Paths
// are those on the ISO, unless said otherwise.
type Medium struct {
	// Root is the root of the medium that the live directory lies on, a path of
	// its place. On a disk that holds other things too it is where the names
	// begin that are looked at.
	Root string
	// Rename is a directory of the medium and its name on the ISO; both are
	// empty where it keeps its name.
	Rename [2]string
	// Own are patterns of what is taken of the medium whatever makes the ISO boot,
	// relative to its root; Whole of what else is taken of a medium that boots.
	Own, Whole []string
	// Base is where the new base lies, and beside the files that tell of it.
	Base     string
	Sidecars []Companion
	// EmptyImages are images that lie over the base and hold nothing any more.
	EmptyImages []string
	// Missed are files of the medium that a boot or an installer uses and that do not
	// come along.
	Missed []Missed
	// Kernels and initrds are patterns of where they lie, best first.
	Kernels, Initrds []string
	// InitrdFiles are files of an initrd that say how a medium boots, by their
	// paths, and what they have to say on an ISO, where an initrd has them.
	// InitrdPrivate are directories of an initrd, with a slash behind, that may hold
	// files of the owner.
	InitrdFiles   map[string]string
	InitrdPrivate []string
	// Machine are patterns of arguments that no other medium has, such as those that
	// name a disk of the machine that a medium was in.
	Machine []string
	// Marker is the path of an empty file by which a boot may know the medium of a
	// UUID, nil where there is none.
	Marker func(uuid string) string
	// Values are arguments that tell the medium in ways that an ISO does not have,
	// and those that take their place. The label is as udev names the volume.
	Values func(label, uuid string) []menu.ValueEdit
	// Arguments are what a kernel is told so that the medium boots. The label is
	// written as udev names the volume; where it is "" the volume is told by its
	// UUID.
	Arguments func(label, uuid string) []string
}

// Missed are patterns of paths on a medium and what it means that they do not come
// along to an ISO.
type Missed struct {
	Patterns []string
	Why      string
	// System: what a boot puts into the system, so that it is missed where all of it
	// is to come along.
	System bool
}

// mediumMarks are the directories by which a medium that boots is known.
var mediumMarks = []string{"boot/grub", "boot/grub2", "boot/isolinux", "boot/syslinux", "boot/loader", "isolinux", "syslinux", "EFI/BOOT", "EFI/boot", "efi/boot", "loader/entries", "images/pxeboot"}

// IsMedium tells whether a directory is the root of a medium that boots, and
// not that of an installed system.
func IsMedium(at Place, dir string) bool {
	if IsDir(at, filepath.Join(dir, "etc")) && IsDir(at, filepath.Join(dir, "usr")) {
		return false
	}
	return slices.ContainsFunc(mediumMarks, func(name string) bool { return IsDir(at, filepath.Join(dir, name)) })
}

// BootTakes are taken of every medium.
var BootTakes = []string{"boot", "EFI", "efi", "isolinux", "syslinux", "loader", ".disk", "autorun.inf", "autorun.ico", "cdrom.ico", "shellx64.efi", "shellia32.efi", "efi.img"}

// AboveDir gives the directory that the live directory is in, and its name
// there. A live directory that is the root of a file system has none.
func (l *Live) AboveDir() (root, name string) {
	if at, ok := l.Place.(Tree); ok && l.Dir == at.Name {
		return l.Dir, ""
	}
	dir := l.Absolute()
	return filepath.Dir(dir), filepath.Base(dir)
}

// Absolute is the live directory's path, as long as there is one that does not
// depend on where relive runs.
func (l *Live) Absolute() string {
	if l.OnHost() {
		if dir, err := filepath.Abs(l.Dir); err == nil {
			return dir
		}
	}
	return l.Dir
}

func (antiX) Medium(l *Live) Medium {
	root, name := l.AboveDir()
	const dir = "antiX"
	f := Medium{Root: root, Base: dir + "/" + AntixBase}
	own := []string{"vmlinuz*", "initrd*.gz*", "initrd*.xz*", "initrd*.img*", "memtest*", "linuxfs.ver", "delete.list"}
	for i := range own {
		own[i] = path.Join(literally(name), own[i])
	}
	f.Own, f.Whole = own, []string{"version"}
	if name != dir {
		f.Rename = [2]string{name, dir}
	}
	for _, c := range l.Files.Companions {
		if c.List == nil {
			c.Name = dir + "/" + c.Name
			f.Sidecars = append(f.Sidecars, c)
		}
	}
	in := literally(name)
	f.Missed = []Missed{{[]string{path.Join(in, "xtra"), path.Join(in, "xtra.tgz"), path.Join(in, "deb")}, "a boot puts what is in it into the system, which the ISO lacks", true}}
	f.Kernels = []string{dir + "/vmlinuz", dir + "/vmlinuz[0-9]"}
	f.Initrds = []string{dir + "/initrd.gz", dir + "/initrd[0-9].gz", dir + "/initrd*"}
	// With another word than this, which live-usb-maker writes for an encrypted stick,
	// init looks for an encrypted volume alone (ENCRYPT_MODE_FILE). live/xtra is what
	// unpack-initrd --xtra puts there.
	f.InitrdFiles, f.InitrdPrivate = map[string]string{"etc/encrypt": "disable"}, []string{"live/xtra/"}
	// init finds another disk by itself, but not where it is told of one.
	f.Machine = menu.Machine(l.Layout.Traits().Key)
	f.Arguments = func(string, string) []string { return []string{"quiet"} }
	return f
}

func (liveOS) Medium(l *Live) Medium {
	root, name := l.AboveDir()
	f := Medium{Root: root, Base: LiveosDir + "/" + liveosBase}
	own := literally(name)
	f.Own = []string{path.Join(own, "vmlinuz*"), path.Join(own, "initrd*"), path.Join(own, "initramfs*")}
	f.Whole = []string{"images", ".discinfo", ".treeinfo", "GPL", "LICENSE", "Fedora-Legal-README.txt", "media.repo"}
	if name != LiveosDir {
		// The base lies in the directory that was given.
		f.Rename = [2]string{name, LiveosDir}
	}
	for _, dir := range []string{"images/pxeboot", "isolinux", "boot/*/loader", "syslinux", "boot/*", "boot", "EFI/BOOT", LiveosDir} {
		f.Kernels = append(f.Kernels, dir+"/vmlinuz", dir+"/vmlinuz*", dir+"/linux")
		f.Initrds = append(f.Initrds, dir+"/initrd.img", dir+"/initrd*", dir+"/initramfs*")
	}
	f.Arguments = func(label, uuid string) []string {
		root := "root=live:CDLABEL=" + label
		if label == "" {
			root = "root=live:UUID=" + uuid
		}
		return []string{root, "rd.live.image", "quiet"}
	}
	f.Machine, f.Values = menu.Machine(l.Layout.Traits().Key), dracutRoot
	return f
}

// dracutRoot is for the forms of root=live: that name a partition or a device, which
// another medium has not (parse-dmsquash-live.sh). With rd.live.image, or liveimg,
// live: may be missing.
func dracutRoot(label, uuid string) []menu.ValueEdit {
	e := menu.ValueEdit{Old: []string{"root=live:PARTUUID=", "root=live:PARTLABEL=", "root=live:/dev/"}, New: "root=live:CDLABEL=" + label}
	if strings.Contains(label, `\`) {
		e.GRUB = "root=live:UUID=" + uuid
	}
	bare := e
	bare.Old, bare.Beside = []string{"root=PARTUUID=", "root=PARTLABEL=", "root=/dev/"}, []string{"rd.live.image", "liveimg"}
	return []menu.ValueEdit{e, bare}
}

func (archiso) Medium(l *Live) Medium {
	arch := filepath.Dir(l.Files.Base) // arch/x86_64
	dir := filepath.Dir(arch)
	f := Medium{Root: l.Absolute(), Base: l.Files.Base}
	own := literally(dir)
	f.Own = []string{own + "/boot", own + "/version", own + "/grubenv"}
	f.Sidecars = besideBase(l, f.Base)
	f.Kernels = []string{own + "/boot/" + filepath.Base(arch) + "/vmlinuz*", own + "/boot/vmlinuz*", own + "/boot/*/vmlinuz*"}
	f.Initrds = []string{own + "/boot/" + filepath.Base(arch) + "/initramfs*", own + "/boot/initramfs*", own + "/boot/*/initramfs*"}
	f.Arguments = func(label, uuid string) []string {
		medium := "archisolabel=" + label
		if label == "" {
			medium = "archisodevice=/dev/disk/by-uuid/" + uuid
		}
		return []string{"archisobasedir=" + dir, medium}
	}
	// archisosearchuuid= is such a file's name, and not looked for as a UUID
	// (hooks/archiso: _search_for_archisodevice). Others stay: loaders may have theirs
	// linked in.
	f.Marker = func(uuid string) string { return "boot/" + uuid + ".uuid" }
	f.Values = func(_, uuid string) []menu.ValueEdit {
		// /dev/loop0 stays: menus for booting the image from a file have it.
		var old []string
		for _, begins := range []string{"UUID=", "LABEL=", "PARTUUID=", "PARTLABEL=", "/dev/disk/", "/dev/sd", "/dev/hd", "/dev/vd", "/dev/xvd", "/dev/nvme", "/dev/mmcblk"} {
			old = append(old, "archisodevice="+begins)
		}
		return []menu.ValueEdit{{Old: old, New: "archisodevice=/dev/disk/by-uuid/" + uuid, Known: true}}
	}
	return f
}

func (liveBoot) Medium(l *Live) Medium {
	f := Medium{Root: l.Absolute(), Base: livebootDir + "/" + livebootBase}
	f.Own = []string{livebootDir + "/vmlinuz*", livebootDir + "/initrd*", l.Layout.Traits().Identity + "*"}
	f.Whole = []string{"d-i", "dists", "pool", "pool-udeb", "install", "win32-loader.ini", "g2ldr", "setup.exe", "README*", "doc", "css"}
	f.Sidecars = besideBase(l, f.Base)
	f.Kernels = []string{livebootDir + "/vmlinuz", livebootDir + "/vmlinuz*"}
	f.Initrds = []string{livebootDir + "/initrd.img", livebootDir + "/initrd*"}
	f.Arguments = func(string, string) []string { return []string{"boot=live", "components", "quiet"} }
	f.Machine, f.Values = menu.Machine(l.Layout.Traits().Key), dracutRoot // live-build has dracut, too
	return f
}

func (casper) Medium(l *Live) Medium {
	// Which of the stack's images are booted, arguments and files in the initrd
	// tell. So all of them stay, by name: the lowest is the new base, and nothing
	// is in the others.
	f := Medium{Root: l.Absolute(), Base: l.Files.Stack[0], EmptyImages: l.Files.Stack[1:]}
	f.Own = []string{casperDir + "/vmlinuz*", casperDir + "/initrd*", casperDir + "/hwe-vmlinuz*", casperDir + "/hwe-initrd*", l.Layout.Traits().Identity + "*"}
	f.Own = append(f.Own, casperDir+"/*.manifest-*") // which packages an installer takes out
	f.Whole = []string{"dists", "pool", "install", "preseed", "pics", "README.diskdefines", "ubuntu"}
	f.Sidecars = besideStack(l)
	f.Missed = []Missed{
		{[]string{casperDir + "/install-sources.yaml"}, "it tells the installer of images that are one on the ISO, whose installer finds nothing to install without it", false},
		{[]string{casperDir + "/*.squashfs"}, "it lies over the former images, such as those of a language, which are one on the ISO", false},
		{[]string{"casper-sn*", "home-sn*"}, "a boot copies it into the system, which the ISO lacks", true},
	}
	f.Kernels = []string{casperDir + "/vmlinuz", casperDir + "/vmlinuz.efi", casperDir + "/vmlinuz*", casperDir + "/hwe-vmlinuz*"}
	f.Initrds = []string{casperDir + "/initrd", casperDir + "/initrd.*", casperDir + "/initrd*", casperDir + "/hwe-initrd*"}
	f.Arguments = func(string, string) []string { return []string{"boot=casper", "quiet"} }
	f.Machine = menu.Machine(l.Layout.Traits().Key)
	return f
}

// besideBase are the files that tell of the new base's size and, where there
// are several images, of their order.
func besideBase(l *Live, base string) (out []Companion) {
	for _, c := range l.Files.Companions {
		if c.List != nil {
			continue // lists of sums are made of all that is on the ISO
		}
		if rest, ok := strings.CutPrefix(c.Name, sumlist.Stem(l.Files.Base)); ok {
			c.Name = sumlist.Stem(base) + rest
		}
		if filepath.Base(c.Name) == livebootModules {
			own := filepath.Base(base)
			c.Text = func(Facts) string { return own + "\n" }
		}
		out = append(out, c)
	}
	return out
}

// besideStack are the files that tell of the images of a stack, of which all is in
// the lowest now: each told of what it and those below it showed.
func besideStack(l *Live) (out []Companion) {
	for _, image := range l.Files.Stack {
		for i := range Ties {
			t := &Ties[i]
			name, ok := strings.CutPrefix(t.name, "STEM")
			if name = sumlist.Stem(image) + name; !ok || !t.Made() || !IsFile(l.Place, filepath.Join(l.Dir, name)) {
				continue
			}
			c := Companion{Name: name, Sum: t.Sum, Text: t.text, Packages: t.packages}
			if t.packages {
				former, err := ReadSmall(l.Place, filepath.Join(l.Dir, name), maxPackageList)
				if err != nil {
					continue // what cannot be read has no form to be listed in
				}
				c.Former = former
			}
			out = append(out, c)
		}
	}
	return out
}

// literally is a pattern that matches the name itself.
func literally(name string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(name)
}
