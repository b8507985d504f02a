package isoedit

import (
	"context"
	"fmt"
	"path"
	"path/filepath"
	"strings"

	"relive/iso"
	"relive/remaster/hostdisk"
	"relive/remaster/live"
	"relive/remaster/refusal"
	"relive/remaster/say"
	"relive/remaster/unmatched"
	"relive/tree"
)

// ISO is an ISO image of the host, opened to be read.
type ISO struct {
	Path  string
	Image *iso.Image
	// Root is the tree in the name space that was asked for.
	Root *tree.Node

	content tree.Content
	stamp   hostdisk.Stamp
}

// Open opens an image, or a device that holds one.
func Open(file string, names iso.Names) (*ISO, error) {
	st, err := hostdisk.StampOf(file)
	if err != nil {
		return nil, err
	}
	c, err := live.Host{}.Open(file)
	if err != nil {
		return nil, err
	}
	o := &ISO{Path: file, content: c, stamp: st}
	if err := o.open(names); err != nil {
		c.Close()
		return nil, err
	}
	return o, nil
}

func (o *ISO) open(names iso.Names) (err error) {
	if !iso.Is(o.content, o.content.Size()) {
		err := fmt.Errorf("%s: no ISO 9660 image", o.Path)
		if res, perr := live.ProbeContent(o.content, o.Path); perr == nil && res.Kind.Known() {
			return refusal.WithHint(fmt.Errorf("%w, but %s", err, res.Name()), say.List+" and "+say.Status+" look at other images")
		}
		return err
	}
	if o.Image, err = iso.Open(o.content, o.content.Size(), filepath.Base(o.Path), iso.WithNames(names)); err != nil {
		return err
	}
	o.Root, err = o.Image.Root()
	return err
}

// Close closes the file; nothing of the image may be used after that.
func (o *ISO) Close() error { return o.content.Close() }

// unchanged is an error where the file was written to since it was opened.
func (o *ISO) unchanged() error {
	now, err := hostdisk.StampOf(o.Path)
	if err == nil && now != o.stamp {
		err = refusal.New(refusal.Changed, "begin again when nothing writes to it", "%s: changed while it was read", o.Path)
	}
	return err
}

// Node returns what is at a path, which must exist.
func (o *ISO) Node(p string) (*tree.Node, error) {
	n, err := o.Root.Lookup(strings.Trim(path.Clean("/"+p), "/"))
	if err == nil && n == nil {
		err = o.missing(p, "no %s in it", tree.Quote(p))
	}
	return n, err
}

// missing is the refusal of a path or pattern that the image does not have.
func (o *ISO) missing(pattern, fact string, args ...any) error {
	var u unmatched.Names
	u.Path("", pattern, "", o.Root)
	hint := u.Hint
	if hint == "" {
		hint = u.Mild
	}
	return refusal.New(refusal.Unmatched, refusal.JoinHints(hint, say.ListISO+" "+o.Path+" lists it; names with other capitals are other "+
		"names"), "%s: "+fact, append([]any{o.Path}, args...)...)
}

// Select returns the tree of the paths that patterns name, with the directories
// that lead there: all of it where there are no patterns. A pattern is a path,
// which takes what is below it too, or a shell pattern whose '*' stops at
// slashes. One that matches nothing is a Refusal.
func (o *ISO) Select(ctx context.Context, patterns []string) (*tree.Node, error) {
	if len(patterns) == 0 {
		return o.Root, nil
	}
	keep := map[string]bool{}
	for _, pattern := range patterns {
		n, err := unmatched.KeepMatches(ctx, o.Root, pattern, keep)
		if err != nil {
			return nil, err
		}
		if n == 0 {
			return nil, o.missing(pattern, "nothing in the image matches %s", tree.Quote(pattern))
		}
	}
	return pruned(o.Root, "", keep), nil
}

// pruned returns the tree of what keep names, with all below, and what leads
// there.
func pruned(n *tree.Node, at string, keep map[string]bool) *tree.Node {
	if keep[at] {
		return n
	}
	leads := map[string]bool{}
	for p := range keep {
		if at == "" || strings.HasPrefix(p, at+"/") {
			name, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(p, at), "/"), "/")
			leads[name] = true
		}
	}
	c := *n
	c.Inode, c.Dir = tree.Inode{}, prunedDir{n, at, leads, keep}
	return &c
}

type prunedDir struct {
	n     *tree.Node
	at    string
	leads map[string]bool
	keep  map[string]bool
}

// Children implements tree.Dir.
func (d prunedDir) Children() ([]*tree.Node, error) {
	kids, unread, err := d.n.Readable()
	if err != nil {
		return nil, err
	}
	var out []*tree.Node
	for _, k := range kids {
		if d.leads[k.Name] {
			out = append(out, pruned(k, tree.Join(d.at, k.Name), d.keep))
		}
	}
	var bad []tree.BadEntry
	for _, b := range unread {
		if d.leads[b.Name] {
			bad = append(bad, b)
		}
	}
	return tree.Partial(out, bad)
}

// Live is a live system in an image.
type Live struct {
	Layout string `json:"layout"`
	Dir    string `json:"dir"`
	// Base is the path of what the system boots from, and Size its size in bytes.
	Base string `json:"base"`
	Size int64  `json:"size"`
}

// Lives finds the live systems in the image, and what kept one from being told
// from another.
func (o *ISO) Lives(ctx context.Context) (lives []Live, problems []string, err error) {
	at := live.Tree{Name: "/", Root: o.Root}
	err = live.SearchLives(ctx, at, func(f *live.Found) {
		base := path.Join(f.Dir, f.Files.Base)
		l := Live{Layout: f.Layout.Name(), Dir: f.Dir, Base: base}
		if st, err := at.Stat(base); err == nil {
			l.Size = st.Size
		}
		lives = append(lives, l)
	}, func(err error) { problems = append(problems, err.Error()) })
	return lives, problems, err
}
