package lists

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"relive/e2e/part"
)

// Dir is a folder of lists.
type Dir struct {
	p    *part.Part
	path string
}

// At returns a folder of lists.
func At(p *part.Part, path string) Dir { return Dir{p, path} }

// Path returns where the folder is.
func (d Dir) Path() string { return d.path }

// Fresh makes an empty disk without a file system to which the next machine writes its
// lists as a tar archive, for guests that have no place for them: lists.img. It returns
// the device as QEMU's arguments; the guest finds it by the serial number.
func Fresh(p *part.Part) (devices []string) {
	p.Helper()
	disk := p.In("lists.img")
	p.Blank(disk, 32<<20)
	return []string{"-drive", "file=" + disk + ",format=raw,if=none,id=lists,cache=unsafe",
		"-device", "virtio-blk-pci,drive=lists,serial=e2e-lists"}
}

// Collect takes what the guest has written to the disk of [Fresh].
func (d Dir) Collect() {
	d.p.Helper()
	d.p.MkdirAll(d.path)
	if _, err := d.p.Try(exec.Command("tar", "-C", d.path, "-xf", d.p.In("lists.img"))); err != nil {
		d.p.Fatalf("the guest has written no lists: %v", err)
	}
}

// Same wants two lists to be alike, with some filters, in their order, on both.
func (d Dir) Same(before, after string, filters ...Filter) {
	d.p.Helper()
	was, is := d.filtered(before, filters), d.filtered(after, filters)
	// A filter that leaves nothing would make everything alike.
	if was == "" {
		d.p.Fatalf("nothing is left of %s to compare", before)
	}
	if was == is {
		return
	}
	d.p.Write(d.p.In("before.list"), was)
	d.p.Write(d.p.In("after.list"), is)
	log := d.p.In("diff.log")
	d.p.RemoveTree(log)
	out, err := d.p.Try(exec.Command("diff", "-a", d.p.In("before.list"), d.p.In("after.list")))
	if err == nil {
		d.p.Fatalf("diff finds %s and %s alike, which differ", before, after)
	}
	d.p.Write(log, out)
	shown := strings.SplitAfter(out, "\n")
	d.p.Fatalf("%s does not show what %s does\n%s\nhint: < is %[2]s, > is %[1]s; all differences are in %[4]s",
		after, before, strings.Join(shown[:min(40, len(shown))], ""), log)
}

// filtered returns a list as the filters leave it.
func (d Dir) filtered(name string, filters []Filter) string {
	d.p.Helper()
	var b strings.Builder
	for line := range d.Lines(name) {
		if line, ok := pass(line, filters); ok {
			b.WriteString(line + "\n")
		}
	}
	return b.String()
}

// Lines returns the lines of a list, which must not be empty.
func (d Dir) Lines(name string) func(func(string) bool) {
	d.p.Helper()
	text, err := os.ReadFile(filepath.Join(d.path, name))
	if err != nil || len(text) == 0 {
		d.p.Fatalf("the guest wrote no list %s: %v", name, err)
	}
	return func(yield func(string) bool) {
		for line := range strings.Lines(string(text)) {
			if !yield(strings.TrimSuffix(line, "\n")) {
				return
			}
		}
	}
}
