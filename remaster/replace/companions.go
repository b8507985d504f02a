package replace

import (
	"bytes"
	"context"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"relive/remaster/checksum"
	"relive/remaster/live"
	"relive/remaster/sumlist"
	"relive/tree"
)

// PlanCompanions decides what is made anew of what tells of the new files, and
// what is set aside with a warning. system is what the new base shows; nil where
// the base stays.
func (s *Swap) PlanCompanions(ctx context.Context, system *tree.Node) error {
	f := &s.Live.Files
	changed := map[string]bool{}
	for _, name := range s.More {
		changed[name] = true
	}
	s.Companions, s.void, s.pairs = nil, nil, nil
	if system != nil {
		changed[f.Base] = true
		var err error
		if s.pairs, err = s.planPairs(); err != nil {
			return err
		}
		if s.Packages, err = s.Live.Packages(ctx, system); err != nil {
			return err
		}
		for _, c := range f.Companions {
			switch {
			case c.List != nil:
				continue
			case c.Packages && !changed[c.Name]:
				text := live.PackageText(s.Packages, c.Former)
				if text == nil {
					s.Warn("%s is set aside: it lists the packages of the former %s, and none can be listed in its form", c.Name,
						path.Base(f.Base))
					s.void = append(s.void, c.Name)
					changed[c.Name] = true
					continue
				}
				if bytes.Equal(text, c.Former) {
					continue
				}
			case changed[c.Name]:
				continue // it is taken over from elsewhere
			}
			s.Companions = append(s.Companions, c)
			changed[c.Name] = true
		}
		s.void = append(s.void, f.Retired...)
		for _, name := range s.void {
			changed[name] = true
		}
		if err := s.tellOfTied(ctx); err != nil {
			return err
		}
		for _, name := range f.Foreign {
			s.Warn("%s: it has a sum of the former %s of a kind that is not known here, and is not made anew", name, path.Base(f.Base))
		}
	}
	lists := f.Concerned(changed)
	if s.Stage {
		for _, c := range lists {
			s.Warn("%s stays as it is, and does not fit any more when a boot has taken the new files up", c.Name)
		}
		return nil
	}
	s.Companions = append(s.Companions, lists...)
	return nil
}

// tellOfTied warns of what is tied to the bytes of the former base and is set
// aside with it, and of the arguments by which a boot insists on it.
func (s *Swap) tellOfTied(ctx context.Context) error {
	told := false
	for _, t := range s.Live.Files.Tied {
		if slices.Contains(s.More, t.Name) || !live.Has(s.Live.Place, filepath.Join(s.Live.Dir, t.Name)) {
			continue
		}
		told = true
		if s.Stage {
			s.Warn("%s stays as it is: it is a %s of the present %s, and does not fit the new one", t.Name, t.What, path.Base(t.Base))
			continue
		}
		s.Warn("%s is set aside: it is a %s of the former %s, and the new one has none", t.Name, t.What, path.Base(t.Base))
	}
	if !told {
		return nil
	}
	args, err := s.Live.Insistence(ctx)
	if err != nil {
		return err
	}
	if len(args) > 0 {
		s.Warn("a boot with these arguments does not take the new %s without it; take them out of the menus: %s", s.Live.Base.Name(),
			strings.Join(args, ", "))
	}
	return nil
}

// SumKinds are the digests of a new file that its companions need.
func (s *Swap) SumKinds(name string) (kinds []checksum.Kind) {
	for _, c := range s.Companions {
		switch {
		case c.List != nil:
			for i, target := range c.List.Targets {
				if target == name {
					kinds = append(kinds, c.List.Lines[i].Kind)
				}
			}
		case c.Sum != "" && name == s.Live.Files.Base:
			kinds = append(kinds, c.Sum)
		}
	}
	slices.Sort(kinds)
	return slices.Compact(kinds)
}

// companionTexts makes the companions: text those that tell of the base, the
// rest from the sums of the new files.
func (s *Swap) companionTexts(sums map[string]map[checksum.Kind]string, text func(c live.Companion) ([]byte, error)) (map[string][]byte,
	error) {
	texts := map[string][]byte{}
	changed := map[string]bool{}
	for name := range sums {
		changed[name] = true
	}
	for _, name := range s.void {
		changed[name] = true
	}
	var lists []*sumlist.List
	for _, c := range s.Companions {
		if c.List != nil {
			lists = append(lists, c.List.Copy())
			continue
		}
		var err error
		if texts[c.Name], err = text(c); err != nil {
			return nil, err
		}
		changed[c.Name] = true
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
		s.Warn("lists of sums list each other in a circle; not all can be right")
	}
	for _, l := range lists {
		texts[l.Name] = l.Bytes()
	}
	return texts, err
}

// PutCompanions makes the companions; see companionTexts.
func (s *Swap) PutCompanions(t *Transaction, sums map[string]map[checksum.Kind]string, text func(c live.Companion) ([]byte, error)) error {
	texts, err := s.companionTexts(sums, text)
	if err != nil {
		return err
	}
	for _, c := range s.Companions {
		if err := t.Text(c.Name, texts[c.Name]); err != nil {
			return err
		}
	}
	return nil
}
