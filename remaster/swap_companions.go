package remaster

import (
	"bytes"
	"context"
	"fmt"
	"path"
	"path/filepath"
	"relive/remaster/checksum"
	"relive/remaster/sumlist"
	"relive/tree"
	"slices"
	"strings"
)

// planCompanions decides what is made anew of what tells of the new files, and
// what is set aside with a warning. system is what the new base shows; nil where
// the base stays.
func (s *Swap) planCompanions(ctx context.Context, system *tree.Node) error {
	f := &s.live.files
	changed := map[string]bool{}
	for _, name := range s.more {
		changed[name] = true
	}
	s.companions, s.void = nil, nil
	if system != nil {
		changed[f.base] = true
		var err error
		if s.packages, err = s.live.packages(ctx, system); err != nil {
			return err
		}
		for _, c := range f.companions {
			switch {
			case c.list != nil:
				continue
			case c.packages && !changed[c.name]:
				text := packageText(s.packages, c.former)
				if text == nil {
					s.warn("%s is set aside: it lists the packages of the former %s, and none can be listed in its form", c.name, path.Base(f.base))
					s.void = append(s.void, c.name)
					changed[c.name] = true
					continue
				}
				if bytes.Equal(text, c.former) {
					continue
				}
			case changed[c.name]:
				continue // it is taken over from elsewhere
			}
			s.companions = append(s.companions, c)
			changed[c.name] = true
		}
		s.void = append(s.void, f.retired...)
		for _, name := range s.void {
			changed[name] = true
		}
		if err := s.tellOfTied(ctx); err != nil {
			return err
		}
		for _, name := range f.foreign {
			s.warn("%s: it has a sum of the former %s of a kind that is not known here, and is not made anew", name, path.Base(f.base))
		}
	}
	lists := f.concerned(changed)
	if s.stage {
		for _, c := range lists {
			s.warn("%s stays as it is, and does not fit any more when a boot has taken the new files up", c.name)
		}
		return nil
	}
	s.companions = append(s.companions, lists...)
	return nil
}

// tellOfTied warns of what is tied to the bytes of the former base and is set
// aside with it, and of the arguments by which a boot insists on it.
func (s *Swap) tellOfTied(ctx context.Context) error {
	told := false
	for _, t := range s.live.files.tied {
		if slices.Contains(s.more, t.name) || !has(s.live.at, filepath.Join(s.live.Dir, t.name)) {
			continue
		}
		told = true
		if s.stage {
			s.warn("%s stays as it is: it is a %s of the present %s, and does not fit the new one", t.name, t.what, path.Base(t.base))
			continue
		}
		s.warn("%s is set aside: it is a %s of the former %s, and the new one has none", t.name, t.what, path.Base(t.base))
	}
	if !told {
		return nil
	}
	args, err := s.live.insistence(ctx)
	if err != nil {
		return err
	}
	if len(args) > 0 {
		s.warn("a boot with these arguments does not take the new %s without it; take them out of the menus: %s", s.live.Base.Name(), strings.Join(args, ", "))
	}
	return nil
}

// sumKinds are the digests of a new file that its companions need.
func (s *Swap) sumKinds(name string) (kinds []checksum.Kind) {
	for _, c := range s.companions {
		switch {
		case c.list != nil:
			for i, target := range c.list.Targets {
				if target == name {
					kinds = append(kinds, c.list.Lines[i].Kind)
				}
			}
		case c.sum != "" && name == s.live.files.base:
			kinds = append(kinds, c.sum)
		}
	}
	slices.Sort(kinds)
	return slices.Compact(kinds)
}

// companionTexts makes the companions: text those that tell of the base, the
// rest from the sums of the new files.
func (s *Swap) companionTexts(sums map[string]map[checksum.Kind]string, text func(c companion) ([]byte, error)) (map[string][]byte, error) {
	texts := map[string][]byte{}
	changed := map[string]bool{}
	for name := range sums {
		changed[name] = true
	}
	for _, name := range s.void {
		changed[name] = true
	}
	var lists []*sumlist.List
	for _, c := range s.companions {
		if c.list != nil {
			lists = append(lists, c.list.Copy())
			continue
		}
		var err error
		if texts[c.name], err = text(c); err != nil {
			return nil, err
		}
		changed[c.name] = true
	}
	_, circle, err := sumlist.Follow(lists, changed, func(name string, kind checksum.Kind) (string, bool, error) {
		if text, ok := texts[name]; ok {
			return checksum.Bytes(kind, text), false, nil
		}
		if sum := sums[name][kind]; sum != "" {
			return sum, false, nil
		}
		if sums[name] != nil {
			return "", false, fmt.Errorf("%s: its %s sum was not found out", name, kind)
		}
		return "", true, nil
	})
	if circle {
		s.warn("lists of sums list each other in a circle; not all can be right")
	}
	for _, l := range lists {
		texts[l.Name] = l.Bytes()
	}
	return texts, err
}

// putCompanions makes the companions; see companionTexts.
func (s *Swap) putCompanions(t *transaction, sums map[string]map[checksum.Kind]string, text func(c companion) ([]byte, error)) error {
	texts, err := s.companionTexts(sums, text)
	if err != nil {
		return err
	}
	for _, c := range s.companions {
		if err := t.text(c.name, texts[c.name]); err != nil {
			return err
		}
	}
	return nil
}
