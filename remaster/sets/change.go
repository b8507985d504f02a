package sets

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"relive/extfs"
	"relive/remaster/bytesize"
	"relive/remaster/hostdisk"
	"relive/remaster/job"
	"relive/remaster/live"
	"relive/remaster/refusal"
	"relive/remaster/replace"
	"relive/remaster/say"
	"relive/remaster/swap"
	"relive/tree"
	"relive/tree/hostfs"
)

// Remove looks what is lost when a set is removed. It changes nothing.
// Without yes that is a Refusal that tells it.
func Remove(ctx context.Context, e *job.Env, dir, name string, yes bool) (*Change, error) {
	p, err := findForSets(e, "sets remove", dir)
	if err != nil {
		return nil, err
	}
	if p.Set, err = p.named(name); err != nil {
		return nil, err
	}
	directories := p.found.Layout.Traits().Sets == live.SetDirectories
	if err := live.RefuseInUse("", p.images(p.Set)...); err != nil {
		return nil, err
	}
	switch {
	case directories && p.Set == live.DefaultSet:
		err = p.removeDefault()
	case directories:
		err = p.removeDirectory(ctx)
	default:
		p.done = []swap.Step{swap.Remove{Path: p.Set}}
		err = p.lose(p.Set)
	}
	if err != nil {
		return nil, err
	}
	if p.Steps, err = replace.ShowSteps(p.found.Dir, p.done); err != nil {
		return nil, err
	}
	if !yes {
		what := "the set " + p.Set
		if p.Set == live.DefaultSet {
			what = "the default set"
		}
		return nil, refusal.New(refusal.LosesData, "give "+say.Yes+" if that is what you want", "%s: removing %s loses %s", dir, what,
			strings.Join(p.Lost, "; "))
	}
	p.tellEntries(ctx, "boots without persistence then")
	return p, nil
}

// removeDefault removes the images beside the base. What is kept as .old stays:
// a rollback needs it.
func (p *Change) removeDefault() error {
	for _, name := range []string{live.AntixRoot, live.AntixHome} {
		if !hostdisk.Exists(p.path(name)) {
			continue
		}
		p.done = append(p.done, swap.Remove{Path: name})
		if err := p.lose(name); err != nil {
			return err
		}
	}
	if len(p.done) == 0 {
		return refusal.New(refusal.NotFound, "", "%s: the default set has neither rootfs nor homefs", p.Dir)
	}
	return nil
}

// removeDirectory removes a set's directory, in which there must be nothing
// else.
func (p *Change) removeDirectory(ctx context.Context) error {
	at := p.path(p.Set)
	if err := notLinked(at, p.Set); err != nil {
		return err
	}
	entries, err := os.ReadDir(at)
	if err != nil {
		return err
	}
	var others []string
	for _, d := range entries {
		switch {
		case !isSetFile(d.Name()) || d.IsDir():
			others = append(others, d.Name())
		default:
			if err := p.lose(path.Join(p.Set, d.Name())); err != nil {
				return err
			}
		}
	}
	if len(others) > 0 {
		return refusal.New(refusal.LosesData, "move them away first", "%s: holds more than persistence files: %s", at,
			tree.Escape(strings.Join(others, ", ")))
	}
	v := ReadBootMenus(ctx, p.found)
	names, err := SetNames(p.found, v)
	if err != nil {
		return err
	}
	if i := slices.IndexFunc(names, func(n string) bool { return strings.HasPrefix(n, p.Set+"/") }); i >= 0 {
		return refusal.New(refusal.InTheWay, "remove or move that one first", "%s: the set %s lies in it", at, names[i])
	}
	p.done = []swap.Step{swap.Remove{Path: p.Set}}
	return nil
}

// notLinked refuses a directory that is reached through symlinks: what would
// change lies elsewhere.
func notLinked(at, name string) error {
	for parts := strings.Count(strings.TrimPrefix(name, "../"), "/") + 1; parts > 0; parts-- {
		st, err := os.Lstat(at)
		if err != nil {
			return err
		}
		if st.Mode().Type() != fs.ModeDir {
			return refusal.New(refusal.WrongKind, "name the directory that it leads to, or remove the link by hand",
				"%s: is a symlink, and what it leads to is left alone", at)
		}
		at = filepath.Dir(at)
	}
	return nil
}

// isSetFile tells the names of persistence files and of their former states.
func isSetFile(name string) bool {
	if stem := live.StemOfOld(name); stem != "" {
		name = stem
	}
	switch ext := filepath.Ext(name); ext {
	case ".old", ".bad", ".bak", ".new":
		name = strings.TrimSuffix(name, ext)
	}
	return name == live.AntixRoot || name == live.AntixHome
}

// lose notes what is in a file that is removed.
func (p *Change) lose(name string) error {
	at := p.path(name)
	st, err := os.Lstat(at)
	if err != nil {
		return err
	}
	if !st.Mode().IsRegular() {
		p.Lost = append(p.Lost, name+" (no file of its own)")
		return nil
	}
	words, written := "", st.ModTime()
	if c, err := hostfs.OpenFile(at); err == nil {
		if img, err := extfs.Open(c, c.Size(), name); err == nil {
			s := live.StatusOf(&live.Image{Path: at, Size: c.Size(), FS: img})
			words = fmt.Sprintf("%s in %d files and directories, ", bytesize.Format(s.UsedBytes), s.UsedInodes)
			if t := lastWritten(img); t != (tree.Time{}) {
				written = t.Time()
			}
		}
		if err := c.Close(); err != nil {
			return err
		}
	} else if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	p.Lost = append(p.Lost, fmt.Sprintf("%s (%swritten %s)", name, words, written.UTC().Format(time.DateOnly)))
	return nil
}

// tellEntries warns of the boot entries that name the set.
func (p *Change) tellEntries(ctx context.Context, then string) {
	if p.found.Layout.Traits().Sets != live.SetDirectories || p.Set == live.DefaultSet {
		return
	}
	v := ReadBootMenus(ctx, p.found)
	for i := range v.entries {
		e := &v.entries[i]
		if name, ok := v.set(e); ok && name == p.Set {
			p.Warnings = append(p.Warnings, fmt.Sprintf("the entry %q in %s names the set %s, and %s", e.Title, e.file, p.Set, then))
		}
	}
}

// Rename looks whether a set can get another name. It changes nothing.
func Rename(ctx context.Context, e *job.Env, dir, name, now string) (*Change, error) {
	p, err := findForSets(e, "sets rename", dir)
	if err != nil {
		return nil, err
	}
	if p.Set, err = p.named(name); err != nil {
		return nil, err
	}
	if p.Set == live.DefaultSet {
		return nil, refusal.New(refusal.InvalidName, say.Clone+" makes a set of its own of it",
			"%s: the default set is what lies beside the linuxfs, and has no name to change", dir)
	}
	if now, err = p.found.CheckNewSet(now); err != nil {
		return nil, err
	}
	if strings.HasPrefix(now, p.Set+"/") {
		return nil, refusal.New(refusal.InvalidName, "give it another name", "%s: lies in the set itself", now)
	}
	if err := notLinked(p.path(p.Set), p.Set); err != nil {
		if p.found.Layout.Traits().Sets == live.SetDirectories {
			return nil, err
		}
	}
	if err := live.RefuseInUse("", p.images(p.Set)...); err != nil {
		return nil, err
	}
	p.tellEntries(ctx, "finds no persistence files there: change it, or make one with "+say.Entry)
	p.done = []swap.Step{swap.Move{From: p.Set, To: now}}
	if p.Steps, err = replace.ShowSteps(p.found.Dir, p.done); err != nil {
		return nil, err
	}
	p.Pdir, _ = ReadBootMenus(ctx, p.found).path(now)
	return p, nil
}
