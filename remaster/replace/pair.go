package replace

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"relive/remaster/hostdisk"
	"relive/remaster/live"
	"relive/remaster/refusal"
	"relive/remaster/say"
	"relive/remaster/swap"
	"relive/tree/hostfs"
)

// A former state whose base and overlay lie on two file systems can be torn: the
// second partition, or the stick that it is on, may be another one when somebody
// goes back. So a base that is kept and an overlay that is kept with it each have a
// record beside them, the same text. It has the name that stands for it with the
// ending of the generation, live/filesystem.squashfs.relive-pair.old, and moves on
// with that. What is live needs none: no roll-back leads there.

// pairSuffix ends the name that stands for a record.
const pairSuffix = ".relive-pair"

const pairMagic = "relive-pair 1"

// maxPair bounds a record, in bytes.
const maxPair = 64 << 10

// PairNames are the names that stand for records of the base and of the overlay:
// what is kept of them goes from generation to generation with these.
func PairNames(f *live.Files) []string {
	names := []string{f.Base + pairSuffix}
	for _, name := range f.Overlay {
		names = append(names, name+pairSuffix)
	}
	return names
}

// planPairs finds the names for the records that a run makes: none where it keeps
// no overlay that lies on another file system, else the base's, and one for each
// directory with such an overlay.
func (s *Swap) planPairs() (names []string, err error) {
	if s.Stage || s.KeepOld == 0 {
		return nil, nil
	}
	var dirs []string
	for _, name := range s.Live.Files.Overlay {
		made := slices.ContainsFunc(s.Parts, func(p Part) bool { return p.Target == name })
		if !made || slices.Contains(dirs, path.Dir(name)) || !hostdisk.Exists(filepath.Join(s.Live.Dir, name)) {
			continue
		}
		at, err := Elsewhere(s.Live.Dir, name)
		if err != nil {
			return nil, err
		}
		if at != "" {
			dirs = append(dirs, path.Dir(name))
			names = append(names, name+pairSuffix)
		}
	}
	if len(names) > 0 {
		names = append([]string{s.Live.Files.Base + pairSuffix}, names...)
	}
	return names, nil
}

// putPairs makes the records of a base and an overlay that are about to be kept.
func (s *Swap) putPairs(ctx context.Context, t *Transaction) error {
	if len(s.pairs) == 0 {
		return nil
	}
	text, err := s.pairText(ctx)
	if err != nil {
		return err
	}
	for _, name := range s.pairs {
		if err := t.Text(name, text); err != nil {
			return err
		}
	}
	return nil
}

// pairText tells which base and which overlay belong together. Its id comes from
// what they hold, so that the same state has the same record.
func (s *Swap) pairText(ctx context.Context) ([]byte, error) {
	l, h := s.Live, sha256.New()
	state, _, err := l.State(ctx)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(h, "%s\n%x\n", pairMagic, state)
	var lines strings.Builder
	for _, name := range s.pairs {
		name = strings.TrimSuffix(name, pairSuffix)
		at := filepath.Join(l.Dir, name)
		print, err := swap.FingerprintOf(swap.OS{}, at)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(h, "%s %d %s\n", print.Kind, print.Size, print.Sum)
		on, err := hostfs.FilesystemOf(filepath.Dir(at))
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&lines, "%s: %s\n", filepath.Base(name), on)
	}
	return fmt.Appendf(nil, "%s\nid: %s\n%s", pairMagic, hex.EncodeToString(h.Sum(nil)), &lines), nil
}

// pairSteps give the records the names of what is kept now.
func (s *Swap) pairSteps(made map[string]string) (steps []swap.Step) {
	for _, name := range s.pairs {
		steps = append(steps, swap.Replace{New: made[name], Target: live.OldName(name, 1)})
	}
	return steps
}

// pair is a record that was read.
type pair struct {
	id    string
	lines []string // of each of the files where it was
}

// readPair reads the record of the first generation of a name; nil where there is
// none.
func readPair(dir, name string) (*pair, error) {
	at := filepath.Join(dir, live.OldName(name+pairSuffix, 1))
	text, err := live.ReadSmall(live.Host{}, at, maxPair)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	if len(lines) < 3 || lines[0] != pairMagic || !strings.HasPrefix(lines[1], "id: ") {
		return nil, refusal.New(refusal.Damaged, "remove it, and go back with "+say.Force+", if you know that the overlay belongs to the "+
			"base", "%s: is no record of a pair", at)
	}
	return &pair{id: lines[1], lines: lines[2:]}, nil
}

// on names the file systems on which a pair was.
func (p *pair) on() string { return strings.Join(p.lines, "; ") }

// CheckPair refuses to go back to a base and an overlay that lies on another file
// system, where the one was not kept with the other.
func CheckPair(dir string, f *live.Files) error {
	base, err := readPair(dir, f.Base)
	if err != nil {
		return err
	}
	old := live.OldName(f.Base, 1)
	records := 0
	var bare string // kept elsewhere, in a directory without a record
	for _, name := range f.Overlay {
		kept := live.OldName(name, 1)
		over, err := readPair(dir, name)
		if err != nil {
			return err
		}
		switch {
		case over == nil:
			if !hostdisk.Exists(filepath.Join(dir, kept)) {
				continue
			}
			at, err := Elsewhere(dir, name)
			if err != nil {
				return err
			}
			if at != "" && bare == "" && !slices.ContainsFunc(f.Overlay, func(o string) bool {
				return path.Dir(o) == path.Dir(name) && hostdisk.Exists(filepath.Join(dir, live.OldName(o+pairSuffix, 1)))
			}) {
				bare = kept
			}
			continue
		case base == nil:
			return unpaired(over, "%s: %s was kept with a base of another place, and nothing tells that %s belongs to it", dir,
				show(dir, kept), old)
		case base.id != over.id:
			return unpaired(base, "%s: %s was not kept with %s", dir, show(dir, kept), old)
		}
		records++
	}
	switch {
	case bare != "":
		return unpaired(base, "%s: nothing tells that %s was kept with %s", dir, show(dir, bare), old)
	case base != nil && records == 0:
		return unpaired(base, "%s: the overlay that was kept with %s is not there", dir, old)
	}
	return nil
}

// unpaired is the refusal of a pair that is torn.
func unpaired(p *pair, fact string, args ...any) error {
	hint := say.Force + " goes back all the same, if you know that they belong together"
	if p != nil {
		hint = "they were on: " + p.on() + "; connect and mount these, and name the overlay with " + say.Overlay +
			" where that is needed. " + hint
	}
	return refusal.New(refusal.UnmatchedVersion, hint, fact, args...)
}

// show is a name for people.
func show(dir, name string) string {
	if strings.HasPrefix(name, "../") {
		return filepath.Join(dir, name)
	}
	return name
}

// DropPairs returns the steps that remove the records of what a roll-back brings
// back.
func DropPairs(dir string, f *live.Files) (steps []swap.Step) {
	for _, name := range PairNames(f) {
		if name = live.OldName(name, 1); hostdisk.Exists(filepath.Join(dir, name)) {
			steps = append(steps, swap.Remove{Path: name})
		}
	}
	return steps
}
