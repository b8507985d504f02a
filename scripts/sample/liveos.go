package main

import (
	"os"
	"path/filepath"

	"relive/codec"
	"relive/tree"
	"relive/tree/hostfs"
)

// liveOS makes the directory LiveOS of a Fedora stick in dir: squashfs.img with
// a file system image inside, and a device-mapper snapshot of what was written
// to that.
func liveOS(dir string) error {
	at := filepath.Join(dir, "LiveOS")
	if err := os.Mkdir(at, 0o755); err != nil {
		return err
	}
	was, now := filepath.Join(dir, "was.img"), filepath.Join(dir, "now.img")
	defer os.Remove(was)
	defer os.Remove(now)
	for name, change := range map[string]bool{was: false, now: true} {
		system, err := liveOSSystem(change)
		if err != nil {
			return err
		}
		if err := writeExt(name, "Anaconda", system); err != nil {
			return err
		}
	}
	image, err := hostfs.OpenFile(was)
	if err != nil {
		return err
	}
	defer image.Close()
	rootfs := &tree.Node{Name: "rootfs.img", Nlink: 1, Meta: tree.Meta{Type: tree.Regular, Perm: 0o644, Size: image.Size(), Mtime: made},
		Data: open{image}}
	inside := tree.NewDir("LiveOS", 0o755, rootfs)
	if err := writeBase(filepath.Join(at, "squashfs.img"), tree.NewDir("", 0o755, inside), codec.Zstd, 5); err != nil {
		return err
	}
	return writeSnapshot(filepath.Join(at, "overlay-SAMPLE-12AB-34CD"), was, now)
}

// liveOSSystem is the sample's system, before or after it was changed. What
// changes keeps its length or comes last: a builder of file systems would
// otherwise put all that follows elsewhere, as the kernel does not.
func liveOSSystem(change bool) (*tree.Node, error) {
	system, err := load("data/base.txtar")
	if err != nil {
		return nil, err
	}
	fill(system)
	if !change {
		system.add("var/lib/old-tool/state", 0o644, []byte("removed in the running system\n"))
		return system.tree(), nil
	}
	upper, err := load("data/upper.txtar")
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"etc/hostname", "home/demo/notes.txt", "var/log/boot.log"} {
		system.add(name, 0o644, upper.content[name])
	}
	part := append([]byte(nil), system.content["usr/lib/part-11.dat"]...)
	copy(part[len(part)/2:], "a few bytes in the middle are new")
	system.add("usr/lib/part-11.dat", 0o644, part)
	system.put("var/lib/new-tool/program", tree.NewFile("", 0o755, upper.content["usr/bin/new-tool"]))
	owned := *system.at("usr/lib/part-07.dat")
	owned.UID = 1000
	system.put("usr/lib/part-07.dat", &owned)
	return system.tree(), nil
}

// open is a content that stays open, as data.
type open struct{ tree.Content }

// Open implements tree.Data.
func (o open) Open() (tree.Content, error) { return still(o), nil }

// still is a content that another closes.
type still struct{ tree.Content }

// Close implements tree.Content.
func (still) Close() error { return nil }
