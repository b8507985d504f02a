package menu

import (
	"bytes"
	"path"
	"strings"
)

// Kind is the loader that a menu is for.
type Kind uint8

// The kinds. The zero Kind is invalid.
const (
	// Syslinux is a configuration of SYSLINUX, ISOLINUX, EXTLINUX or PXELINUX.
	Syslinux Kind = iota + 1
	// GRUB is a script of GRUB 2: grub.cfg, loopback.cfg, grub.entry.
	GRUB
	// Loader is an entry of the Boot Loader Specification
	// (loader/entries/*.conf), or systemd-boot's loader.conf, which has none.
	Loader
	// Environment is GRUB's environment block (grubenv), which has no entries.
	Environment
)

// String is the kind's name for a person.
func (k Kind) String() string {
	switch k {
	case Syslinux:
		return "SYSLINUX"
	case GRUB:
		return "GRUB"
	case Loader:
		return "Boot Loader Specification"
	case Environment:
		return "GRUB's environment block"
	}
	return "no kind of menu"
}

// MaxText is the size of the largest menu that is read, in bytes. Menus in the
// field have less than a tenth of it.
const MaxText = 1 << 20

// sniffed is how much of a text is looked at to tell its kind, in bytes.
const sniffed = 64 << 10

// KindOf tells the kind of a menu by its path on the medium and, where that
// leaves it open, by its text; ok is false for what is no menu. The names'
// letters may be of either case.
func KindOf(name string, text []byte) (k Kind, ok bool) {
	k, sure := kindOfPath(name)
	if k == Environment {
		if !bytes.HasPrefix(text, []byte(environmentMark)) {
			return 0, false
		}
		return k, true
	}
	if sure || k == 0 {
		return k, k != 0
	}
	text = text[:min(len(text), sniffed)]
	if bytes.IndexByte(text, 0) >= 0 {
		return 0, false
	}
	if found := sniff(text); found != 0 {
		return found, true
	}
	if k == undecided {
		return 0, false
	}
	return k, true
}

// undecided is the kind of a file that may be a menu, going by its name.
const undecided Kind = 0xff

// kindOfPath tells the kind that a path suggests, and whether the text has no
// say in it.
func kindOfPath(name string) (k Kind, sure bool) {
	name = strings.ToLower(strings.Trim(name, "/"))
	dir, base := path.Split(name)
	dirs := strings.Split(strings.TrimSuffix(dir, "/"), "/")
	parent := dirs[len(dirs)-1]
	ext := path.Ext(base)
	switch {
	case base == "isolinux.cfg" || base == "syslinux.cfg" || base == "extlinux.conf":
		return Syslinux, true
	case parent == "pxelinux.cfg":
		return Syslinux, true
	case base == "grub.entry":
		return GRUB, true
	case base == "grubenv":
		return Environment, false
	case ext == ".conf" && parent == "entries" && len(dirs) > 1 && dirs[len(dirs)-2] == "loader":
		return Loader, true
	case base == "loader.conf" && parent == "loader":
		return Loader, true
	case ext != ".cfg" && ext != ".conf":
		return 0, false
	}
	for _, d := range dirs {
		switch d {
		case "syslinux", "isolinux", "extlinux":
			return Syslinux, false
		case "grub", "grub2":
			return GRUB, ext == ".cfg"
		}
	}
	if base == "grub.cfg" || base == "loopback.cfg" {
		return GRUB, true
	}
	return undecided, false
}

// sniff tells the kind by the words that lines begin with, 0 where they do not
// tell.
func sniff(text []byte) Kind {
	var syslinux, grub int
	for len(text) > 0 {
		var line []byte
		line, text, _ = bytes.Cut(text, []byte("\n"))
		word := bytes.TrimSpace(line)
		if i := bytes.IndexAny(word, " \t"); i >= 0 {
			word = word[:i]
		}
		switch strings.ToLower(string(word)) {
		case "label", "kernel", "append", "ui", "menu", "com32", "localboot", "include", "prompt", "ontimeout":
			syslinux++
		case "menuentry", "submenu", "insmod", "configfile", "linuxefi", "initrdefi":
			grub += 2
		case "set", "search", "if", "function":
			grub++
		}
	}
	switch {
	case syslinux > grub:
		return Syslinux
	case grub > 1:
		return GRUB
	}
	return 0
}
