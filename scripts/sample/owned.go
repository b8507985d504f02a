package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
)

// owned is the antiX sample as its owner has it, in dir/antiX, with files in the
// place of a kernel and an initrd that tell their version and do nothing else.
func owned(dir string) error {
	base, err := load("data/base.txtar")
	if err != nil {
		return err
	}
	owner, err := load("data/owner.txtar")
	if err != nil {
		return err
	}
	for name, content := range owner.content {
		perm := uint16(0o644)
		if name == "bin/sh" {
			perm = 0o755
		}
		base.add(name, perm, content)
	}
	fill(base)
	dir = filepath.Join(dir, "antiX")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := writeAntiX(dir, base); err != nil {
		return err
	}
	const version = "6.12.0-sample"
	for name, content := range map[string][]byte{
		"vmlinuz":   []byte("This is no kernel, but tells its version as one: Linux version " + version + " (sample)\n"),
		"initrd.gz": initrd(version),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// initrd is a cpio archive with the directory of a kernel's modules, and nothing
// in it.
func initrd(version string) []byte {
	var b bytes.Buffer
	for _, name := range []string{"lib", "lib/modules", "lib/modules/" + version, "TRAILER!!!"} {
		b.WriteString("070701")
		for _, field := range []int{1, 0o040755, 0, 0, 2, 0, 0, 0, 0, 0, 0, len(name) + 1, 0} {
			fmt.Fprintf(&b, "%08x", field)
		}
		b.WriteString(name + "\x00")
		for b.Len()%4 != 0 {
			b.WriteByte(0)
		}
	}
	return b.Bytes()
}
