package machine

import (
	"os/exec"
	"path/filepath"

	"relive/e2e/part"
)

// Pack makes an initrd of a folder; the kernel also takes several of them in one file,
// one after the other. Without a compression it is as cpio writes it.
func Pack(p *part.Part, tree, file string) {
	p.Helper()
	p.RemoveTree(file)
	cmd := exec.Command("sh", "-c", `find . | cpio --quiet -o -H newc -R 0:0 >"$1"`, "pack", file)
	cmd.Dir = tree
	p.Finish(cmd)
}

// Busybox puts busybox into the folder of an initrd, which is its shell too.
func Busybox(p *part.Part, tree string) {
	p.Helper()
	p.MkdirAll(filepath.Join(tree, "bin"))
	path, err := exec.LookPath("busybox")
	p.Must(err)
	p.Copy(path, filepath.Join(tree, "bin/busybox"))
	p.Do("ln", "-s", "busybox", filepath.Join(tree, "bin/sh"))
}

// Guest copies files of e2e/guest into a folder.
func Guest(p *part.Part, folder string, names ...string) {
	p.Helper()
	p.MkdirAll(folder)
	for _, name := range names {
		p.Do("cp", filepath.Join("e2e/guest", name), folder+"/")
	}
}

// InstallGuest puts an executable file of e2e/guest in place.
func InstallGuest(p *part.Part, name, to string) {
	p.Helper()
	p.Do("install", "-D", "-m", "0755", filepath.Join("e2e/guest", name), to)
}
