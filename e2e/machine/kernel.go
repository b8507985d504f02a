package machine

import (
	"os"
	"path/filepath"
	"strings"

	"relive/e2e/debian"
	"relive/e2e/part"
)

// Kernels of Debian, by the name of the package without linux-image-. That for clouds
// is small and quick to boot, but has no drivers for USB and AHCI.
const (
	ForClouds   = "cloud-amd64"
	ForHardware = "amd64"
)

// Kernel is a Debian kernel, unpacked, not installed.
type Kernel struct{ Dir, Release string }

// Fetch unpacks the package that the archive's linux-image-FLAVOUR depends on, once. The
// environment's KERNEL_FLAVOUR is another flavour.
func Fetch(p *part.Part, flavour string) Kernel {
	p.Helper()
	if other := os.Getenv("KERNEL_FLAVOUR"); other != "" {
		flavour = other
	}
	dir := filepath.Join(p.Shared, "kernel-"+flavour)
	p.OneAtATime(func() {
		if !part.Exists(dir) {
			fetch(p, flavour, dir)
		}
	})
	return Kernel{dir, release(p, dir)}
}

func fetch(p *part.Part, flavour, dir string) {
	p.Helper()
	var name string
	for line := range strings.Lines(p.Do("apt-cache", "depends", "linux-image-"+flavour)) {
		if f := strings.Fields(line); len(f) == 2 && f[0] == "Depends:" && strings.HasPrefix(f[1], "linux-image-") {
			name = f[1]
			break
		}
	}
	if name == "" {
		p.Fatalf("the archive has no linux-image-%s", flavour)
	}
	p.Say("fetching %s", name)
	at := p.Fresh(dir + ".part")
	p.Do("env", "-C", at, "apt-get", "-qq", "download", name)
	packages, err := filepath.Glob(filepath.Join(at, name+"_*.deb"))
	p.Must(err)
	if len(packages) != 1 {
		p.Fatalf("apt-get download %s made %q, not one package", name, packages)
	}
	p.Do("dpkg-deb", "-x", packages[0], at)
	p.RemoveTree(packages[0])
	p.Do("depmod", "--basedir", at, release(p, at))
	p.Move(at, dir)
}

// FetchFrom unpacks the newest kernel of a suite of Debian's, once.
func FetchFrom(p *part.Part, suite, flavour string) Kernel {
	p.Helper()
	dir := filepath.Join(p.Shared, "kernel-"+suite+"-"+flavour)
	p.OneAtATime(func() {
		if part.Exists(dir) {
			return
		}
		p.Say("fetching linux-image-%s of %s", flavour, suite)
		at, root := p.Fresh(dir+".part"), dir+".root"
		p.RemoveTree(root)
		debian.Extract(p, root, suite, "linux-image-"+flavour)
		p.MkdirAll(filepath.Join(at, "lib"))
		p.Move(filepath.Join(root, "usr/lib/modules"), filepath.Join(at, "lib/modules"))
		name := release(p, at)
		// Debian 14 has the kernel beside its modules.
		image := filepath.Join(at, "lib/modules", name, "vmlinuz")
		if !part.Exists(image) {
			image = filepath.Join(root, "boot/vmlinuz-"+name)
		}
		p.MkdirAll(filepath.Join(at, "boot"))
		p.Copy(image, filepath.Join(at, "boot/vmlinuz-"+name))
		p.RemoveTree(root)
		p.Do("depmod", "--basedir", at, name)
		p.Move(at, dir)
	})
	return Kernel{dir, release(p, dir)}
}

// release returns the kernel's name for itself.
func release(p *part.Part, dir string) string {
	p.Helper()
	names := p.Names(filepath.Join(dir, "lib/modules"))
	if len(names) != 1 {
		p.Fatalf("%s has modules of the kernels %q, not of one", dir, names)
	}
	return names[0]
}

// Image returns the kernel's own file.
func (k Kernel) Image() string { return filepath.Join(k.Dir, "boot/vmlinuz-"+k.Release) }

// Modules returns the folder of its modules.
func (k Kernel) Modules() string { return filepath.Join(k.Dir, "lib/modules", k.Release) }

// CopyModules puts some modules and what they need, unpacked, into a folder; its file
// "order" lists them as they must be loaded. The kernel may have some built in.
func (k Kernel) CopyModules(p *part.Part, folder string, modules ...string) {
	p.Helper()
	p.MkdirAll(folder)
	var order strings.Builder
	seen := map[string]bool{}
	for _, module := range modules {
		shown := p.Do("modprobe", "--dirname", k.Dir, "--set-version", k.Release, "--show-depends", module)
		for line := range strings.Lines(shown) {
			f := strings.Fields(line)
			if len(f) < 2 || f[0] != "insmod" || seen[f[1]] {
				continue
			}
			seen[f[1]] = true
			order.WriteString(unpack(p, f[1], folder) + "\n")
		}
	}
	p.Write(filepath.Join(folder, "order"), order.String())
}

// unpack copies a module that may be compressed and returns its name.
func unpack(p *part.Part, file, folder string) string {
	p.Helper()
	name := filepath.Base(file)
	switch filepath.Ext(name) {
	case ".ko":
		p.Copy(file, filepath.Join(folder, name))
		return name
	case ".xz":
		name = strings.TrimSuffix(name, ".xz")
		p.Filter(file, filepath.Join(folder, name), "xz", "-dc")
	case ".zst":
		name = strings.TrimSuffix(name, ".zst")
		p.Filter(file, filepath.Join(folder, name), "zstd", "-dcq")
	default:
		p.Fatalf("a module of unknown compression: %s", file)
	}
	return name
}

// InstallModules makes the folder of modules of a live system: some of the kernel's,
// and its lists of all.
func (k Kernel) InstallModules(p *part.Part, root string, modules ...string) {
	p.Helper()
	at := filepath.Join(root, "lib/modules", k.Release)
	k.CopyModules(p, filepath.Join(at, "kernel"), modules...)
	p.Must(os.Remove(filepath.Join(at, "kernel/order")))
	for _, list := range []string{"modules.builtin", "modules.builtin.modinfo", "modules.order"} {
		p.Copy(filepath.Join(k.Modules(), list), at)
	}
	p.Do("depmod", "--basedir", root, k.Release)
}
