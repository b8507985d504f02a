package accounts

import (
	"maps"
	"slices"
	"strings"

	"relive/tree"
)

// newUser is the account that is made, with all that is known of it.
type newUser struct {
	name, fullName, home, shell, hash string
	uid, gid                          uint32
	groups                            []string
}

// planUser settles what the new account looks like.
func (w *work) planUser(g *[2]accountFiles) error {
	o := w.o.User
	if w.o.NoUser {
		return nil
	}
	if o == nil {
		o = Demo()
	}
	if w.people.kept[o.Name] {
		return refuse("user %s: the system has an account of that name, which is kept", o.Name)
	}
	groups, err := w.keptGroups(g)
	if err != nil {
		return err
	}
	if _, ok := groups.gid[o.Name]; ok {
		return refuse("user %s: the system has a group of that name, which is kept", o.Name)
	}
	u := &newUser{name: o.Name, fullName: o.FullName, home: "/home/" + o.Name, uid: o.UID}
	if u.uid == 0 {
		taken := maps.Clone(w.people.keptUIDs)
		for _, uid := range w.o.Reserved {
			taken[uid] = true
		}
		u.uid = free(w.defs.uids, taken)
		if u.uid == 0 {
			return refuse("user %s: no uid from %d to %d is free", o.Name, w.defs.uids[0], w.defs.uids[1])
		}
	} else if w.people.keptUIDs[u.uid] {
		return refuse("user %s: uid %d belongs to an account that is kept", o.Name, u.uid)
	}
	u.gid = u.uid
	if groups.taken[u.gid] {
		if u.gid = free(w.defs.gids, groups.taken); u.gid == 0 {
			return refuse("user %s: no gid from %d to %d is free", o.Name, w.defs.gids[0], w.defs.gids[1])
		}
	}
	if u.shell, err = w.findShell(o.Shell); err != nil {
		return err
	}
	switch {
	case o.Groups != nil:
		for _, name := range o.Groups {
			if _, ok := groups.gid[name]; !ok {
				return refuse("user %s: there is no group %q", o.Name, name)
			}
		}
		u.groups = slices.Clone(o.Groups)
	default:
		for _, name := range w.family.groups {
			if _, ok := groups.gid[name]; ok && (w.people.first == "" || groups.ofFirst[name]) {
				u.groups = append(u.groups, name)
			}
		}
	}
	slices.Sort(u.groups)
	u.groups = slices.Compact(u.groups)
	if u.hash, err = o.Password.hash(w.scheme, w.family.guessed, w.o.Rand); err != nil {
		return err
	}
	w.user = u
	w.values.user = u.name
	return nil
}

// free is the lowest number of a range that is not taken, 0 where all are.
func free(span [2]uint32, taken map[uint32]bool) uint32 {
	for n := uint64(span[0]); n <= uint64(span[1]); n++ {
		if !taken[uint32(n)] {
			return uint32(n)
		}
	}
	return 0
}

// keptGroups are the groups that stay.
type keptGroups struct {
	gid     map[string]uint32
	taken   map[uint32]bool // gids in either generation
	ofFirst map[string]bool // those that the former first user was in
}

func (w *work) keptGroups(g *[2]accountFiles) (*keptGroups, error) {
	k := &keptGroups{gid: map[string]uint32{}, taken: map[uint32]bool{}, ofFirst: map[string]bool{}}
	for gid := range w.people.keptGIDs {
		k.taken[gid] = true
	}
	for i := range g {
		if g[i].group == nil {
			continue
		}
		for _, l := range splitLines(g[i].group.was) {
			if kindOf(l.text) != entryLine {
				continue
			}
			f := fields(l.text)
			if w.dropsGroup(f) {
				continue
			}
			name := string(f[groupName])
			gid, ok := number(field(f, groupGID))
			if ok {
				k.taken[gid] = true
			}
			if i > 0 || !ok || len(f) != groupCount {
				continue // nobody can be made a member of it
			}
			k.gid[name] = gid
			if w.people.first != "" && slices.Contains(members(field(f, groupMembers)), w.people.first) {
				k.ofFirst[name] = true
			}
		}
	}
	return k, nil
}

// findShell checks that the shell is there.
func (w *work) findShell(asked string) (string, error) {
	for _, shell := range []string{asked, w.family.shell, "/bin/sh"} {
		if shell == "" {
			continue
		}
		_, n, err := w.sys.resolve(shell, true)
		if err != nil {
			return "", err
		}
		if n != nil && n.Type == tree.Regular {
			return shell, nil
		}
		if asked != "" {
			return "", refuse("shell %s: the system has no such file", asked)
		}
	}
	return "", refuse("the system has no shell at %s and none at /bin/sh", w.family.shell)
}

// makeHome puts the new user's home into the tree: what etc/skel has, owned by
// the user.
func (w *work) makeHome() error {
	u := w.user
	if u == nil {
		return nil
	}
	real, n, err := w.sys.resolve(u.home, false)
	if err != nil {
		return err
	}
	if n != nil && !w.covered(real) {
		return refuse("user %s: %s is kept by a rule and in the way of the new home", u.name, tree.Quote(real))
	}
	_, skel, err := w.sys.resolve("etc/skel", true)
	if err != nil {
		return err
	}
	home := tree.NewDir("", w.defs.homeMode)
	home.Mtime = w.o.Now
	detail := "empty: there is no /etc/skel"
	if skel != nil && skel.Type == tree.Directory {
		s := &skeleton{uid: u.uid, gid: u.gid, label: w.family.selinux[1]}
		home = s.node(skel)
		home.Perm = w.defs.homeMode
		home.Xattrs = relabel(skel.Xattrs, w.family.selinux[0])
		detail = "from /etc/skel"
	}
	home.UID, home.GID = u.uid, u.gid
	w.edits.Put(real, home)
	w.report.add(Entry{Path: real, Action: Made, Rule: accountsRule, Reason: "the home of the new account", Detail: detail})
	w.made[real] = true
	return nil
}

// skeleton shows etc/skel as a home: the same files with another owner, as
// they are listed.
type skeleton struct {
	uid, gid uint32
	label    string
}

func (s *skeleton) node(n *tree.Node) *tree.Node {
	c := *n
	c.UID, c.GID = s.uid, s.gid
	c.Xattrs = relabel(n.Xattrs, s.label)
	// Hard links within stay, those to the original are no more.
	switch {
	case n.Type == tree.Directory:
		c.Inode = tree.Inode{}
		c.Dir = skeletonDir{s, n}
	case n.Inode != (tree.Inode{}):
		c.Inode = tree.Inode{Source: skeletonInode{s, n.Inode.Source}, Number: n.Inode.Number}
	}
	return &c
}

// skeletonInode sets the inodes of a home apart from those that it was made of.
type skeletonInode struct {
	of     *skeleton
	source any
}

type skeletonDir struct {
	of *skeleton
	n  *tree.Node
}

// Children implements tree.Dir.
func (d skeletonDir) Children() ([]*tree.Node, error) {
	kids, err := d.n.Children()
	if err != nil {
		return nil, err
	}
	out := make([]*tree.Node, len(kids))
	for i, k := range kids {
		out[i] = d.of.node(k)
	}
	return out, nil
}

// relabel returns attributes with the SELinux label that files in homes have, if
// they have one.
func relabel(x tree.Xattrs, label string) tree.Xattrs {
	const name = "security.selinux"
	old, ok := x.Get(name)
	if !ok {
		return x
	}
	if label == "" {
		// No label is better than a wrong one.
		return x.Filter(func(a tree.Xattr) bool { return a.Name != name })
	}
	if strings.HasSuffix(old, "\x00") {
		label += "\x00"
	}
	out := slices.Clone(x)
	for i := range out {
		if out[i].Name == name {
			out[i].Value = label
		}
	}
	return out
}
