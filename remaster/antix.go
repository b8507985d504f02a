package remaster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"relive/overlay"
	"relive/tree"
)

// AntiX is the layout of antiX and MX Linux: linuxfs, rootfs and homefs in one
// directory (MX-Linux/mx-iso-template, initrd/init).
type AntiX struct{}

// Files of the layout.
const (
	antixBase = "linuxfs"
	antixRoot = "rootfs"
	antixHome = "homefs"
	antixMD5  = "linuxfs.md5"
	antixInfo = "linuxfs.info"
)

// antixMakeOld are the files that init renames together with linuxfs when it
// takes up a new one or rolls back (initrd/init: MAKE_OLD).
var antixMakeOld = []string{"rootfs", "xtra", "deb", "xtra.tgz", "linuxfs.md5", "state"}

// antixDropped are the files of a running system that no merged image holds.
var antixDropped = []string{rootVIDFile, "etc/live/protect/remaster"}

// Name implements Layout.
func (AntiX) Name() string { return "antiX/MX" }

func (AntiX) match(dir string) bool {
	st, err := os.Stat(filepath.Join(dir, antixBase))
	return err == nil && st.Mode().IsRegular()
}

func (AntiX) open(ctx context.Context, e *Env, l *Live) error {
	path := filepath.Join(l.Dir, antixBase)
	if err := l.openBase(e, path); err != nil {
		return withHint(err, "relive verify "+path+" tells more; if linuxfs.old is sound, relive rollback "+l.Dir+" brings it back")
	}
	var err error
	if err := l.openRootfs(antixRoot); err != nil {
		return err
	}
	// What is wrong with homefs concerns those who use it, not the base.
	if l.Home, err = l.openHomefs(); err != nil {
		l.HomeProblem = err
	}
	return nil
}

// openRootfs opens the overlay and merges it with the base.
func (l *Live) openRootfs(name string) error {
	l.Merged = l.Base.Root
	path := filepath.Join(l.Dir, name)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	img, err := l.openImage(path)
	if err != nil {
		return err
	}
	root, err := img.FS.Root()
	if err != nil {
		return err
	}
	found, err := overlay.Detect(root)
	if err != nil {
		return fmt.Errorf("rootfs: %w", err)
	}
	o := &Overlay{Image: *img, Form: found.Form, Upper: found.Upper, Empty: found.Empty}
	l.Overlay = o
	if o.Upper == nil {
		return nil
	}
	if o.Empty, err = neverWritten(o.Upper); err != nil {
		return fmt.Errorf("rootfs: %w", err)
	}
	layer, err := found.Layer()
	if err != nil {
		return fmt.Errorf("rootfs: %w", err)
	}
	if o.Form == overlay.Aufs {
		// There the layer is the root of the file system, with what mkfs puts in
		// it.
		var e tree.Edits
		e.Remove("lost+found")
		if layer.Root, err = e.Apply(layer.Root); err != nil {
			return err
		}
	}
	// init mounts as root and without userxattr, so marks are in the trusted
	// namespace; those under user are content, as of rootless containers. Marks
	// that are escaped for a nested overlay stay so: the merged tree becomes a
	// lower layer again, where the kernel takes the escape away.
	if o.Form == overlay.OverlayFS {
		layer.Namespace = overlay.Trusted
	}
	o.Union, err = overlay.Merge([]overlay.Layer{layer, {Root: l.Base.Root}}, overlay.KeepEscaped(),
		overlay.MadeBefore("etc", "etc/live", versionDir))
	if err != nil {
		return fmt.Errorf("rootfs: %w", err)
	}
	l.Merged = o.Union.Root()
	return nil
}

func (l *Live) openHomefs() (*Image, error) {
	path := filepath.Join(l.Dir, antixHome)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return l.openImage(path)
}

// neverWritten tells whether a layer holds nothing but what a boot itself puts
// there: the version file that check_vid copies.
func neverWritten(upper *tree.Node) (bool, error) {
	empty := true
	err := tree.Walk(context.Background(), upper, func(path string, n *tree.Node) error {
		switch {
		case path == "lost+found" && n.Type == tree.Directory:
			return tree.SkipDir
		case n.Type == tree.Directory && (path == "" || path == "etc" || path == "etc/live" || path == versionDir):
		case path == rootVIDFile:
		default:
			empty = false
			return fs.SkipAll
		}
		return nil
	})
	if errors.Is(err, fs.SkipAll) {
		err = nil
	}
	return empty, err
}

// VIDs are the version ids of a base and an overlay, and what init makes of
// them.
type VIDs struct {
	Base, Overlay VID
	State         VIDState
}

// VIDState is what init's check_vid finds.
type VIDState string

// The states. In all but the first three init boots without the overlay.
const (
	VIDMatch       VIDState = "match"
	VIDNone        VIDState = "none"     // neither has one
	VIDUnstamped   VIDState = "empty"    // the overlay is empty: init stamps it
	VIDMismatch    VIDState = "mismatch" // they differ
	VIDMissing     VIDState = "missing"  // the overlay is not empty, but has none
	VIDBaseMissing VIDState = "base has none"
	VIDNoOverlay   VIDState = "no overlay"
)

// Used tells whether a boot uses the overlay.
func (s VIDState) Used() bool { return s == VIDMatch || s == VIDNone || s == VIDUnstamped }

// VIDs reads the version ids.
func (l *Live) VIDs() (VIDs, error) {
	var v VIDs
	text, err := readVersionFile(l.Base.Root, baseVIDFile)
	if err != nil {
		return v, fmt.Errorf("linuxfs: %w", err)
	}
	v.Base = parseVID(text)
	if l.Overlay == nil {
		v.State = VIDNoOverlay
		return v, nil
	}
	if text, err = readVersionFile(l.Overlay.Upper, rootVIDFile); err != nil {
		return v, fmt.Errorf("rootfs: %w", err)
	}
	v.Overlay = parseVID(text)
	switch {
	case v.Base != "" && v.Overlay != "":
		v.State = VIDMismatch
		if v.Base == v.Overlay {
			v.State = VIDMatch
		}
	case v.Base != "":
		empty, err := looksEmpty(l.Overlay.Upper)
		if err != nil {
			return v, fmt.Errorf("rootfs: %w", err)
		}
		v.State = VIDMissing
		if empty {
			v.State = VIDUnstamped
		}
	case v.Overlay != "":
		v.State = VIDBaseMissing
	default:
		v.State = VIDNone
	}
	return v, nil
}

// looksEmpty follows check_vid: no name in the layer's root contains etc, bin,
// lib, var or usr.
func looksEmpty(upper *tree.Node) (bool, error) {
	if upper == nil {
		return true, nil
	}
	kids, err := upper.Children()
	if err != nil {
		return false, err
	}
	for _, k := range kids {
		if vidNames.MatchString(k.Name) {
			return false, nil
		}
	}
	return true, nil
}

// Leftover is a file beside the live ones that an earlier step has left.
type Leftover struct {
	Name  string `json:"name"`
	Bytes int64  `json:"bytes"`
	Means string `json:"means"`
}

// leftovers lists linuxfs.old and the like.
func (AntiX) leftovers(dir string) ([]Leftover, error) {
	meaning := map[string]string{
		".old": "the state before the last change: relive rollback brings it back",
		".new": "staged: the next boot takes it up",
		".bad": "set aside by a rollback",
		".bak": "set aside by an earlier rollback",
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var out []Leftover
	for _, e := range entries {
		ext := filepath.Ext(e.Name())
		stem := e.Name()[:len(e.Name())-len(ext)]
		means, ok := meaning[ext]
		if !ok && oldGeneration(e.Name()) != "" {
			means, ok, stem = "an older state that --keep-old has kept", true, oldGeneration(e.Name())
		}
		if !ok || !antixFile(stem) {
			continue
		}
		info, err := e.Info()
		if err != nil {
			return nil, err
		}
		out = append(out, Leftover{e.Name(), info.Size(), means})
	}
	return out, nil
}

// antixFile tells whether a name is one of the files that are replaced
// together.
func antixFile(name string) bool {
	if name == antixBase || name == antixHome || name == antixInfo {
		return true
	}
	for _, f := range antixMakeOld {
		if name == f {
			return true
		}
	}
	return false
}

// allocated is what the host has set aside for a file, in bytes.
func allocated(path string) int64 {
	var st syscall.Stat_t
	if syscall.Stat(path, &st) != nil {
		return 0
	}
	return st.Blocks * 512
}
