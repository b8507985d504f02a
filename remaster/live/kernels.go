package live

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"

	"relive/remaster/hostdisk"
	"relive/remaster/kernel"
)

// KernelPair is a kernel and the initrd that it is booted with, by their names
// relative to the live directory.
type KernelPair struct{ Kernel, Initrd string }

// KernelName tells names of kernels: vmlinuz and linux, with a number (antiX,
// older Fedora), a version (Debian), a flavour (Arch) or none.
var KernelName = regexp.MustCompile(`^(hwe-)?(vmlinuz|linux)([0-9]|-.+)?(\.efi)?$`)

// Initrds are the names that the initrd of a kernel may have.
func Initrds(kernel string) []string {
	m := KernelName.FindStringSubmatch(kernel)
	if m == nil {
		return nil
	}
	stem, version := m[1]+"initrd", m[3]
	return []string{stem + version + ".gz", stem + version + ".img", stem + version, stem + ".img" + version, stem + version + ".lz",
		stem + version + ".xz",
		m[1] + "initramfs" + version + ".img"}
}

// kernelSides are what may stand beside a kernel or an initrd: its sum, and
// which version it is.
var kernelSides = []string{".md5", ".ver"}

// Kernels finds the kernels that the boot of a live system uses, each with its
// initrd.
func (f *Found) Kernels() (pairs []KernelPair, err error) {
	for _, dir := range f.Layout.bootDirs(f) {
		at := filepath.Join(f.Dir, dir)
		if !IsDir(f.Place, at) {
			continue
		}
		names, err := f.Place.List(at)
		if errors.Is(err, fs.ErrPermission) {
			continue // what cannot be seen is no part of it
		}
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			if isExtra(name) || filepath.Ext(name) == ".ver" || !KernelName.MatchString(name) || !IsFile(f.Place, filepath.Join(at, name)) {
				continue
			}
			for _, initrd := range Initrds(name) {
				if slices.Contains(names, initrd) && IsFile(f.Place, filepath.Join(at, initrd)) {
					pairs = append(pairs, KernelPair{filepath.Join(dir, name), filepath.Join(dir, initrd)})
					break
				}
			}
		}
	}
	return pairs, nil
}

// kernelNames are the names of all files of pairs and of what may stand beside
// them.
func kernelNames(pairs []KernelPair) (names []string) {
	for _, p := range pairs {
		for _, name := range []string{p.Kernel, p.Initrd} {
			names = append(names, name)
			for _, side := range kernelSides {
				names = append(names, name+side)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// mediumOf is the directory above a LiveOS directory, where kernels are; "" of
// any other directory.
func mediumOf(dir string) string {
	if hostdisk.BaseName(dir) != LiveosDir {
		return ""
	}
	return filepath.Join(dir, "..")
}

// ReadKernel reads what a kernel says of itself.
func ReadKernel(ctx context.Context, at Place, path string) (image kernel.Image, err error) {
	c, err := at.Open(path)
	if err != nil {
		return image, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	return kernel.Read(ctx, c, path)
}

// KernelsOf names the kernels of pairs.
func KernelsOf(pairs []KernelPair) (names []string) {
	for _, p := range pairs {
		names = append(names, p.Kernel)
	}
	return names
}
