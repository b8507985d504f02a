package snapshot_test

import (
	"path/filepath"
	"strings"
	"testing"

	"relive/codec"
	"relive/remaster/exclude"
	"relive/remaster/livetest"
	"relive/remaster/snapshot"
	"relive/tree"
	"relive/tree/systest"
)

// TestStaticNodes: scripts of a boot write to /dev/null before /dev is mounted, so
// that the excludes leave it, and a file that was made in its place is no more.
func TestStaticNodes(t *testing.T) {
	node := func(name string, minor uint32) *tree.Node {
		return &tree.Node{Name: name, Nlink: 1, Meta: tree.Meta{Type: tree.CharDevice, Perm: 0o666, Rdev: tree.Rdev{Major: 1, Minor: minor},
			Mtime: tree.Time{Sec: 1_600_000_000}}}
	}
	dev := livetest.Dir("dev", node("null", 3), node("zero", 5), node("console", 1), node("mem", 1), livetest.File("tty", nil),
		livetest.Dir("pts"))
	base := livetest.SmallBase(livetest.With(dev, func(*tree.Node) {}))
	kernel, initrd := kernelFiles(t)
	for _, c := range []struct {
		name    string
		upper   []*tree.Node // of dev
		o       snapshot.Options
		want    string // type and name of what is in dev
		warning string
	}{
		{"as they were", nil, snapshot.Options{}, "char console, char null, char zero", ""},
		{"a file that a script made", []*tree.Node{livetest.File("null", []byte("noise\n")), livetest.File("random", nil)},
			snapshot.Options{}, "char console, char null, char zero", ""},
		{"everything", nil, snapshot.Options{NoDefaultExcludes: true}, "char console, char mem, char null, dir pts, file tty, char zero",
			""},
		{"somebody's own list", nil, snapshot.Options{NoDefaultExcludes: true,
			Excludes: []exclude.Rule{{Pattern: "dev/*", Source: "command line"}}}, "", "the excludes take /dev/null"},
	} {
		var upper []*tree.Node
		if c.upper != nil {
			upper = append(upper, livetest.Dir("dev", c.upper...))
		}
		l := livetest.Craft(t, base, livetest.Overlaid(append(upper, livetest.Etc("rootfs.ver"))...),
			livetest.LikeMksquashfs(codec.Gzip, 128<<10))
		o := c.o
		o.Output, o.Template, o.Kernel, o.Initrd, o.NoPackages, o.NoReport = systest.TempDir(t)+"/out.iso", bootable(t, "OLD"), kernel,
			initrd, true, true
		res := runSnapshot(t, l.Dir, o)
		root := livetest.OpenTree(t, filepath.Join(inISO(t, res.Path), "antiX/linuxfs"), "")
		n, err := root.Lookup("dev")
		systest.Must(t, err)
		var got []string
		kids, err := n.Children()
		systest.Must(t, err)
		for _, k := range kids {
			got = append(got, map[tree.Type]string{tree.CharDevice: "char", tree.Regular: "file", tree.Directory: "dir"}[k.Type]+" "+k.Name)
		}
		if strings.Join(got, ", ") != c.want {
			t.Errorf("%s: dev holds %q, not %q", c.name, got, c.want)
		}
		if told := livetest.HasWarning(res.Warnings, "/dev/null"); told != (c.warning != "") || told && !livetest.HasWarning(res.Warnings,
			c.warning) {
			t.Errorf("%s: %q", c.name, res.Warnings)
		}
	}
}
