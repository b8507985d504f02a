package snapshot

import (
	"context"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"path"

	"relive/remaster/accounts"
	"relive/remaster/baseimage"
	"relive/remaster/exclude"
	"relive/remaster/live"
	"relive/remaster/refusal"
	"relive/remaster/say"
	"relive/remaster/unmatched"
	"relive/tree"
)

// isoSystem makes the system that a snapshot ISO holds: what base and overlay
// show, with the homes that a boot mounts over it, without what the excludes
// name, its accounts dealt with.
type isoSystem struct {
	o *Options
	// rules are the excludes, those of the default lists first; listed tells how
	// many of them are from lists, which need not match.
	rules  []exclude.Rule
	listed int

	counts []exclude.RuleCount
	plan   *accounts.Plan
	// homes are the directories that were mounted over the system's.
	homes []string
}

// salt tells what decides the system besides base and overlay.
func (s *isoSystem) salt() string {
	a := &s.o.Accounts
	text := fmt.Sprint("iso ", a.Mode, a.Hostname, a.NoUser, s.rules, s.homes)
	if a.User != nil {
		text += fmt.Sprint(a.User.Name, a.User.UID, a.User.Groups)
	}
	return text
}

// medium is what makes the system.
func (s *isoSystem) medium() *baseimage.MediumSystem {
	return &baseimage.MediumSystem{System: s.system, Salt: s.salt, NoDead: s.o.Accounts.Mode != accounts.Preserve}
}

func (s *isoSystem) system(ctx context.Context, p *baseimage.Plan, merged *tree.Node) (*tree.Node, error) {
	l := p.Live
	root := merged
	var err error
	if s.o.Accounts.Mode == accounts.Preserve && !s.o.NoHomes {
		if root, err = s.withHomes(l, root); err != nil {
			return nil, err
		}
	}
	if len(s.rules) > 0 {
		if root, err = s.exclude(p, root); err != nil {
			return nil, err
		}
		if root, err = s.staticNodes(p, merged, root); err != nil {
			return nil, err
		}
	}
	o := s.o.Accounts
	if err := s.liveUser(l, root, &o); err != nil {
		return nil, err
	}
	o.Now = p.Now
	if o.Rand == nil {
		o.Rand = s.salts(p)
	}
	p.Env.Phase("accounts", 0)
	if s.plan, err = accounts.New(ctx, root, o); err != nil {
		return nil, err
	}
	root = s.plan.Root()
	p.Touched = p.Touched || o.Mode != accounts.Preserve || len(s.homes) > 0
	if l.Layout.Traits().VersionIDs {
		return p.Stamped(ctx, root)
	}
	return root, nil
}

// liveUser leaves the uid of the user that a boot makes by itself to that, which
// would not be made otherwise. Where no other account is asked for, none is made.
func (s *isoSystem) liveUser(l *live.Live, root *tree.Node, o *accounts.Options) error {
	traits := l.Layout.Traits()
	made := len(traits.LiveUIDs) > 0 && traits.LiveUserFiles == nil
	for _, at := range traits.LiveUserFiles {
		n, err := root.Lookup(at)
		if err != nil {
			return err
		}
		made = made || n != nil
	}
	if made {
		o.Reserved = traits.LiveUIDs
		o.NoUser = o.NoUser || o.User == nil
	}
	return nil
}

// salts returns the salts of passwords: not secret, but others in every snapshot,
// and the same when the same snapshot is made again.
func (s *isoSystem) salts(p *baseimage.Plan) *rand.ChaCha8 {
	h := sha256.New()
	h.Write(p.State)
	fmt.Fprint(h, p.Now, p.Salt(), p.Live.Base.Size)
	return rand.NewChaCha8([32]byte(h.Sum(nil)))
}

// withHomes puts what a boot mounts over the system into it.
func (s *isoSystem) withHomes(l *live.Live, root *tree.Node) (*tree.Node, error) {
	if l.HomeProblem != nil {
		return nil, refusal.WithHint(fmt.Errorf("the homes: %w", l.HomeProblem), say.NoHomes+" leaves them out, and so does "+say.Accounts+
			" reset")
	}
	var edits tree.Edits
	put := func(dir string, n *tree.Node) {
		c := *n
		edits.Put(dir, &c)
		s.homes = append(s.homes, "/"+dir)
	}
	for _, b := range l.Binds {
		put(b.Dir, b.Root)
	}
	if l.Home != nil {
		home, _, err := l.HomeRoot()
		if err != nil {
			return nil, err
		}
		put("home", home)
		edits.Remove("home/lost+found")
	}
	root, err := edits.Apply(root)
	for _, b := range l.Links {
		if err == nil {
			root, err = linked(root, b.Dir, b.Root)
		}
		s.homes = append(s.homes, "/"+b.Dir)
	}
	return root, err
}

// linked puts the files of a directory of the persistence where a boot puts links
// to them: in the place of what is there, and into the directories of the system,
// which keep what they have besides (live-boot's link_files).
func linked(root *tree.Node, dir string, files *tree.Node) (*tree.Node, error) {
	var edits tree.Edits
	err := tree.Walk(context.Background(), files, func(name string, n *tree.Node) error {
		at := path.Join(dir, name)
		c := *n
		if n.Type != tree.Directory {
			edits.Put(at, &c)
			return nil
		}
		if have, err := live.DirectoryAt(root, at); err != nil || have != nil {
			return err
		}
		c.Dir = tree.List(nil)
		edits.Put(at, &c)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return edits.Apply(root)
}

// exclude leaves paths out of the tree and counts what each rule took.
func (s *isoSystem) exclude(p *baseimage.Plan, root *tree.Node) (*tree.Node, error) {
	set, err := exclude.New(s.rules)
	if err != nil {
		return nil, err
	}
	p.Env.Phase("excludes", 0)
	if s.counts, err = set.Count(root); err != nil {
		return nil, err
	}
	for _, c := range s.counts {
		p.Summary.Excluded += c.Entries
		p.Touched = p.Touched || c.Entries > 0
	}
	var u unmatched.Names
	u.Excludes(s.counts, s.listed, "", root)
	warnings, err := u.Check(p.Live.Dir, s.o.AllowUnmatched)
	for _, w := range warnings {
		p.Warn("%s", w)
	}
	return set.Apply(root), err
}

// staticNodes puts the device files of the base in the place of what programs left
// in the overlay that wrote to them before /dev was mounted, and tells where the
// excludes took one that boots need.
func (s *isoSystem) staticNodes(p *baseimage.Plan, merged, root *tree.Node) (*tree.Node, error) {
	var edits tree.Edits
	for _, name := range []string{"null", "zero", "full", "random", "urandom", "tty", "console", "ptmx"} {
		at := "dev/" + name
		was, err := merged.Lookup(at)
		if err != nil {
			return nil, err
		}
		base, err := p.Live.Base.Root.Lookup(at)
		if err != nil {
			return nil, err
		}
		now, err := root.Lookup(at)
		if err != nil {
			return nil, err
		}
		switch {
		case s.listed > 0 && now != nil && now.Type == tree.Regular:
			p.Touched = true
			if edits.Remove(at); base != nil && base.Type == tree.CharDevice {
				c := *base
				c.Inode = tree.Inode{}
				edits.Put(at, &c)
			}
		case now == nil && was != nil && was.Type == tree.CharDevice && name == "null":
			p.Warn("the excludes take /%s, without which scripts of a boot make a file of it before /dev is mounted", at)
		}
	}
	return edits.Apply(root)
}
