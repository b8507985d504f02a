package frugal

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"

	"relive/e2e/debian"
	"relive/e2e/part"
)

// owners are those of the homes that linuxfs has, with uid 1000 and 1001.
var owners = []string{"anna", "ben"}

// makeLinuxfs packs the small Debian with homes and a version id, as the live system,
// once for each codec and small Debian, and what else is in this file.
func makeLinuxfs(p *part.Part, base debian.Image, codec string) string {
	p.Helper()
	all := filepath.Join(p.Shared, "linuxfs-"+codec+"-")
	linuxfs := all + base.Name + "-" + p.Stamp("e2e/frugal/linuxfs.go")
	p.OneAtATime(func() {
		if part.Exists(linuxfs) {
			return
		}
		p.Say("making linuxfs")
		p.Remove(all + "*")
		root := p.In("_root")
		base.Unpack(p, root)
		p.MkdirAll(filepath.Join(root, "live"), filepath.Join(root, "etc/live/version"))
		id := make([]byte, 16)
		rand.Read(id)
		p.Write(filepath.Join(root, "etc/live/version/linuxfs.ver"), "==== "+hex.EncodeToString(id)+"\n\ntitle: e2e\n")
		for _, user := range owners {
			makeHome(p, root, user)
		}
		args := []string{root, linuxfs + ".part", "-comp", codec, "-b", "262144", "-noappend", "-no-progress", "-quiet"}
		if codec == "zstd" {
			args = append(args, "-Xcompression-level", "3")
		}
		p.Do("mksquashfs", args...)
		p.RemoveTree(root)
		p.Move(linuxfs+".part", linuxfs)
	})
	return linuxfs
}

// makeHome makes a home with something in it that can be changed.
func makeHome(p *part.Part, root, user string) {
	p.Helper()
	p.Do("chroot", root, "useradd", "--create-home", "--shell", "/bin/bash", user)
	home := filepath.Join(root, "home", user)
	for _, dir := range []string{"Documents/notes", "Documents/old/older", "Pictures", ".config/app"} {
		p.MkdirAll(filepath.Join(home, dir))
	}
	for _, name := range []string{"Documents/letter", "Documents/notes/one", "Documents/notes/two", "Documents/notes/three",
		"Documents/old/older/deep", "Pictures/1", "Pictures/2", "Pictures/3", ".config/app/settings", "plain", "tool"} {
		p.Write(filepath.Join(home, name), fmt.Sprintf("%s of the base\n", name))
	}
	p.Must(os.Link(filepath.Join(home, "Documents/letter"), filepath.Join(home, "Documents/letter-too")))
	p.Must(os.Symlink("Documents/letter", filepath.Join(home, "link")))
	p.Do("chroot", root, "chown", "-hR", user+":"+user, "/home/"+user)
	p.Do("setcap", "cap_net_raw+ep", filepath.Join(home, "tool"))
	p.Do("setfattr", "-n", "user.base", "-v", "yes", filepath.Join(home, "plain"))
	p.Must(os.Chmod(home, 0o750))
}
