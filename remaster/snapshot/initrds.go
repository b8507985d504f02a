package snapshot

import (
	"context"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"relive/remaster/kernel"
	"relive/remaster/live"
	"relive/remaster/say"
	"relive/tree"
)

// readInitrds reads all initrds of the ISO. Of one that cannot be inspected, told is
// why.
func (p *Plan) readInitrds(ctx context.Context) (read map[string]kernel.Ramdisk, told map[string]error, err error) {
	wanted := slices.Concat([]string{live.IdentityConf}, slices.Sorted(maps.Keys(p.form.InitrdFiles)), p.form.InitrdPrivate)
	paths, err := globAll(p.root, p.form.Initrds)
	if err != nil {
		return nil, nil, err
	}
	if !slices.Contains(paths, p.Summary.Initrd) {
		paths = append(paths, p.Summary.Initrd)
	}
	read, told = map[string]kernel.Ramdisk{}, map[string]error{}
	for _, at := range paths {
		rd, err := readNode(p.root, at, func(c tree.Content) (kernel.Ramdisk, error) { return kernel.Initrd(ctx, c, at, wanted...) })
		switch {
		case tree.IsDamage(err):
			told[at] = err
		case err != nil:
			return nil, nil, err
		default:
			read[at] = rd
		}
	}
	return read, told, nil
}

// initrds adapts the initrds to the ISO, and the ISO to them: what they have
// otherwise there, what they may carry that is private, and the files by which
// they know their medium.
func (p *Plan) initrds(read map[string]kernel.Ramdisk, unread bool) error {
	var edits tree.Edits
	for _, at := range slices.Sorted(maps.Keys(read)) {
		rd := read[at]
		n, err := p.root.Lookup(at)
		if err != nil {
			return err
		}
		data := n.Data
		size := n.Size
		for _, file := range slices.Sorted(maps.Keys(p.form.InitrdFiles)) {
			want := p.form.InitrdFiles[file]
			first, _, _ := strings.Cut(string(rd.Files[file]), "\n")
			if first = strings.TrimSpace(first); first == "" || first == want {
				continue
			}
			p.Summary.Initrds = append(p.Summary.Initrds, fmt.Sprintf("%s: /%s says %q, not %q", at, file, want, first))
			more := kernel.Segment(file, []byte(want+"\n"))
			data, size = kernel.Behind(data, size, more), size+int64(len(more))
		}
		if size != n.Size {
			c := *n
			c.Data, c.Size = data, size
			edits.Put(at, &c)
		}
		if len(rd.Below) > 0 {
			p.warn("%s carries files of its own, which a boot copies into the system, and which may be private: %s; give another with "+
				say.Initrd, at, listed(rd.Below))
		}
	}
	if p.form.Marker != nil {
		n := tree.NewFile("", 0o444, nil)
		n.Mtime = p.base.Now
		edits.Put(p.form.Marker(p.uuid()), n)
	}
	if begins := p.live.Layout.Traits().Identity; begins != "" {
		if err := p.identity(begins, read, unread, &edits); err != nil {
			return err
		}
	}
	var err error
	p.root, err = edits.Apply(p.root)
	return err
}

// identity sees to it that the ISO is a medium that its initrds take for theirs, and
// that others do not.
func (p *Plan) identity(begins string, read map[string]kernel.Ramdisk, unread bool, edits *tree.Edits) error {
	var needed []string
	for _, at := range slices.Sorted(maps.Keys(read)) {
		if id := strings.TrimRight(string(read[at].Files[live.IdentityConf]), "\n"); id != "" && !slices.Contains(needed, id) {
			needed = append(needed, id)
		}
	}
	have, err := live.Identities(live.Tree{Name: "/", Root: p.root}, "/", begins)
	if err != nil {
		return err
	}
	own, err := live.Identities(p.live.Place, p.form.Root, begins)
	if err != nil {
		return err
	}
	prefer := map[string]string{}
	for name, id := range own {
		prefer[id] = name
	}
	put, stale := live.FitIdentities(begins, have, needed, prefer, unread)
	for name, id := range put {
		n := tree.NewFile("", 0o444, []byte(id+"\n"))
		n.Mtime = p.base.Now
		edits.Put(name, n)
	}
	for _, name := range stale {
		if !p.included(name) {
			edits.Remove(name)
		}
	}
	return nil
}

// listed names some paths for a person.
func listed(paths []string) string {
	const most = 3
	var out []string
	for _, at := range paths[:min(len(paths), most)] {
		out = append(out, "/"+tree.Escape(path.Clean(at)))
	}
	text := strings.Join(out, ", ")
	if n := len(paths) - most; n > 0 {
		text += fmt.Sprintf(" and %d more", n)
	}
	return text
}
