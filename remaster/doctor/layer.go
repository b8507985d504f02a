package doctor

import (
	"context"
	"regexp"
	"strings"

	"relive/overlay"
	"relive/remaster/live"
	"relive/remaster/say"
	"relive/tree"
)

// What a copy without attributes, links or times leaves in a layer.
var (
	capabilityLost = symptom{"capability-lost", Likely,
		"%d files have capabilities in the base, and the same files in the overlay have none",
		"give them back with setcap, or reinstall the packages; " + say.Diff + " shows the files"}
	aclLost = symptom{"acl-lost", Likely, "%d files have ACLs in the base, and in the overlay none",
		"give them back with setfacl"}
	setuidLost = symptom{"setuid-lost", Possible,
		"%d programs are setuid or setgid in the base, and the same programs in the overlay are not",
		"if it was not done on purpose, chmod them as in the base, or reinstall the packages"}
	linksSplit = symptom{"links-split", Possible, "%d names are links of one file in the base, and separate equal files in the overlay",
		"nothing is lost but space: link them again, or reinstall the packages"}
	rsyncLeft = symptom{"rsync-left", Likely, "%d files have names as rsync gives to those it is writing: a save was cut off",
		"remove them, and save again"}
)

// timesTell is how many directories it takes to tell something by their times.
const timesTell = 8

// layers looks for the traces of lossy copies in the overlay's layers.
func (d *doctor) layers(ctx context.Context) error {
	o := d.l.Overlay
	if o == nil || o.Upper == nil && len(o.UnionLayers) == 0 {
		return nil
	}
	err := d.unionReports(func(r *overlay.Report) {
		if n := r.MaybeLostOpaque; n > 0 {
			d.tell("marks-lost", Likely, "look whether deleted files show again ("+say.Diff+" lists what the overlay changes); save with "+
				say.Save+", not with rsync",
				"%d directories of the overlay lie over some of the base without the mark that the kernel leaves: the overlay was likely "+
					"copied without its attributes, and what was deleted before may show again", n)
		}
		if n := r.OriginMismatches; n > 0 {
			d.tell("base-replaced", Likely, "bring the base back that the overlay was written over, or reset the overlay",
				"%d files of the overlay were made over other ones than the base has in their place: the base was likely replaced below it",
				n)
		}
		if n := r.DeadWhiteouts; n > 0 {
			d.tell("dead-whiteouts", Possible, "nothing: they take little room, and "+say.Compact+" drops them",
				"%d whiteouts hide nothing: the base was replaced, or the layer was put together by hand", n)
		}
		if n := r.AufsPlinks; n > 0 {
			d.tell("aufs-plinks", Likely, "shut down cleanly, so that aufs writes them out",
				"%d pseudo-links of aufs were not written out: hard links of these files are separate", n)
		}
	})
	if err != nil {
		return err
	}
	layers := o.UnionLayers
	if len(layers) == 0 {
		layers = []live.UnionLayer{{Layer: o.Upper}}
	}
	for _, u := range layers {
		if u.Layer == nil {
			continue
		}
		below, err := live.DirectoryAt(d.l.Base.Root, u.Dir)
		if err != nil {
			return err
		}
		w := layerWalk{d: d, ctx: ctx, aufs: o.Form == live.FormAufs, groups: map[tree.Inode][]*linked{}}
		if err := w.pair(u.Dir, u.Layer, below, true); err != nil {
			return err
		}
		if err := w.end(); err != nil {
			return err
		}
	}
	return nil
}

// layerWalk goes through a layer beside what lies below it.
type layerWalk struct {
	d      *doctor
	ctx    context.Context
	aufs   bool
	groups map[tree.Inode][]*linked // names in the layer of what is one file in the base

	dirs  int // that were changed
	whole int // among them, with a time of whole seconds
}

type linked struct {
	path string
	node *tree.Node
}

// rsyncName is a name that rsync gives to a file that it is writing.
var rsyncName = regexp.MustCompile(`^\..+\.([A-Za-z0-9]{6})$`)

func isRsyncName(name string) bool {
	m := rsyncName.FindStringSubmatch(name)
	// Names such as .bashrc.backup are people's: of six random letters and digits
	// hardly ever all are small letters or digits, or all capitals.
	return m != nil && strings.ToLower(m[1]) != m[1] && strings.ToUpper(m[1]) != m[1]
}

// pair looks at a file of the layer and what it lies over, nil for nothing. marked
// tells whether the directory that it is in has the mark that the kernel leaves.
func (w *layerWalk) pair(path string, n, below *tree.Node, marked bool) error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	shown := "/" + tree.Escape(path)
	if n.Type == tree.Regular && isRsyncName(n.Name) {
		w.d.add(&rsyncLeft, shown)
	}
	if below != nil && below.Type == n.Type {
		if err := w.compare(path, n, below, marked); err != nil {
			return err
		}
	}
	if n.Type != tree.Directory {
		return nil
	}
	kids, bad, err := n.Readable()
	if err != nil {
		w.d.unreadable(path, err)
		return nil
	}
	for _, b := range bad {
		w.d.unreadable(tree.Join(path, b.Name), b.Err)
	}
	_, opaque := n.Xattrs.Get(overlay.MarkPrefix + "opaque")
	_, moved := n.Xattrs.Get(overlay.MarkPrefix + "redirect")
	if w.aufs {
		opaque = tree.Find(kids, ".wh..wh..opq") != nil
	}
	_, marked = n.Xattrs.Get(overlay.MarkPrefix + "origin")
	marked = marked && !w.aufs
	if opaque || moved || below != nil && below.Type != tree.Directory {
		below = nil // what lies below it is elsewhere
	}
	if len(kids) > 0 && (below == nil || below.Mtime.Whole() != n.Mtime.Whole()) {
		w.dirs++
		if n.Mtime.Nsec == 0 {
			w.whole++
		}
	}
	for _, k := range kids {
		if w.aufs && strings.HasPrefix(k.Name, ".wh.") || overlay.IsWhiteout(k) {
			continue
		}
		var b *tree.Node
		if below != nil {
			if b, err = below.Child(k.Name); err != nil {
				w.d.unreadable(tree.Join(path, k.Name), err)
			}
		}
		if err := w.pair(tree.Join(path, k.Name), k, b, marked); err != nil {
			return err
		}
	}
	return nil
}

// compare looks at what a file of the layer has lost against the one that it
// lies over.
func (w *layerWalk) compare(path string, n, below *tree.Node, marked bool) error {
	shown := "/" + tree.Escape(path)
	if lost(n, below, tree.Xattr.IsACL) {
		w.d.add(&aclLost, shown)
	}
	if n.Type != tree.Regular {
		return nil
	}
	capability := lost(n, below, func(x tree.Xattr) bool { return x.Name == "security.capability" })
	const setID = 0o6000
	suid := below.Perm&setID&^n.Perm != 0
	// The kernel splits links, too, when it copies a file up without an index; so
	// only where marks are lost as well do they tell of another copy.
	group := below.Nlink > 1 && below.Inode != tree.Inode{} && !marked && n.Nlink == 1
	if !capability && !suid && !group {
		return nil
	}
	// A change of the owner takes both away, and so does writing.
	if n.UID != below.UID || n.GID != below.GID {
		return nil
	}
	if same, err := w.same(n, below); err != nil || !same {
		return err
	}
	if capability || suid {
		w.d.told[shown] = true
	}
	if capability {
		w.d.add(&capabilityLost, shown)
	}
	if suid {
		w.d.add(&setuidLost, shown)
	}
	if group {
		w.groups[below.Inode] = append(w.groups[below.Inode], &linked{path, n})
	}
	return nil
}

// same reports whether a file of the layer has the content of the one below. One
// that has metadata only has.
func (w *layerWalk) same(n, below *tree.Node) (bool, error) {
	if _, ok := n.Xattrs.Get(overlay.MarkPrefix + "metacopy"); ok {
		return true, nil
	}
	return tree.SameContent(w.ctx, n, below)
}

// lost reports whether a file lacks an attribute that the one below has.
func lost(n, below *tree.Node, is func(tree.Xattr) bool) bool {
	has := func(x tree.Xattrs) bool { return len(x.Filter(is)) > 0 }
	return has(below.Xattrs) && !has(n.Xattrs)
}

// end tells what only the whole of a layer shows.
func (w *layerWalk) end() error {
	for _, names := range w.groups {
		if len(names) > 1 {
			for _, n := range names {
				w.d.add(&linksSplit, "/"+tree.Escape(n.path))
			}
		}
	}
	// That one has is chance, one in ten million; a few a script may have touched.
	if w.whole == w.dirs && w.dirs >= timesTell {
		w.d.tell("times-cut", Possible,
			"nothing is lost but the fractions; the overlay was likely copied by a tool or over a file system that drops them",
			"all %d directories that were changed have times of whole seconds", w.dirs)
	}
	return nil
}
