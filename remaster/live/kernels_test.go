package live_test

import (
	"slices"
	"testing"

	"relive/remaster/live"
)

// TestInitrds: kernels are told by their names, and their initrds by theirs.
func TestInitrds(t *testing.T) {
	for kernel, initrd := range map[string]string{
		"vmlinuz":               "initrd.gz",
		"vmlinuz1":              "initrd1.gz",
		"vmlinuz0":              "initrd0.img",
		"linux":                 "initrd",
		"vmlinuz.efi":           "initrd.lz",
		"hwe-vmlinuz":           "hwe-initrd",
		"vmlinuz-linux":         "initramfs-linux.img",
		"vmlinuz-linux-lts":     "initramfs-linux-lts.img",
		"vmlinuz-6.1.0-9-amd64": "initrd.img-6.1.0-9-amd64",
		"linux.c32":             "",
		"vmlinuz10":             "",
		"vmlinuz.md5":           "",
		"memtest":               "",
	} {
		got := live.Initrds(kernel)
		if initrd == "" && len(got) > 0 || initrd != "" && !slices.Contains(got, initrd) {
			t.Errorf("%s: %q, without %q", kernel, got, initrd)
		}
	}
}
