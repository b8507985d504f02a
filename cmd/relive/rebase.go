package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"relive/remaster/bytesize"
	"relive/remaster/job"
	"relive/remaster/live"
	"relive/remaster/newfile"
	"relive/remaster/rebase"
	"relive/remaster/refusal"
	"relive/remaster/update"
)

// preferAskFile is what --prefer asks for decisions in a file with.
const preferAskFile = "ask-file"

// rebaseFlags are those of a rebase.
type rebaseFlags struct {
	onto, on, base    string
	prefer, decisions string
	grow, noKernel    bool
	force, dryRun     bool
	keepOld           int
}

func (a *app) rebaseCommand() *cobra.Command {
	var f rebaseFlags
	c := &cobra.Command{
		Use:   "rebase DIR --onto NEWBASE",
		Short: "carry the changes of the overlay over to a newer base",
		Long: `Takes a newer base, as relive update does, and puts over it an overlay with the
changes that the present one made to the present base. NEWBASE is an ISO, a
stick, another live directory, or a file that is a base (linuxfs, squashfs.img).

Present base, new base, and what the overlay shows over the present one are
merged by path. What only one of them changed is taken from that; where one
changed the content of a file and the other its mode, owner or attributes, both
count. What both changed is a conflict, which --prefer decides: ours is what
shows now, theirs the new base's. Without it the conflicts are listed, and it is
refused (exit code 4). --prefer ask-file writes them to the file that --decisions
names; decide there by path or directory, and give it again. Lines of that file
count with ours and theirs, too, before what is preferred.

The database of installed packages is one whole and never merged by file; it is
told which packages the one that is taken does not know of.

Without --onto the base stays: the overlay of an antiX or MX system (--set) that
was written over a former base is carried over to the present one.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := f.check(); err != nil {
				return err
			}
			return a.rebase(c.Context(), args[0], &f)
		},
	}
	fl := c.Flags()
	a.setFlag(c)
	a.placeFlags(c)
	fl.StringVar(&f.onto, "onto", "", "the ISO, the stick, the live directory or the file with the new base")
	fl.StringVar(&f.on, "on", "", "of a NEWBASE with several live systems: which, by partition and directory, as 0/antiX")
	fl.StringVar(&f.base, "base", "", "without --onto: the base that the overlay was written over (default: found by its version id)")
	fl.StringVar(&f.prefer, "prefer", "", "decide conflicts: ours, theirs, or ask-file")
	fl.StringVar(&f.decisions, "decisions", "", "a file of decisions by path")
	fl.BoolVar(&f.grow, "grow", false, "make the overlay's image larger where the changes do not fit")
	fl.BoolVar(&f.noKernel, "no-kernel", false, "leave kernel and initrd as they are")
	fl.IntVar(&f.keepOld, "keep-old", 1, "how many former states to keep beside the new one")
	fl.BoolVar(&f.force, "force", false, "continue even if version ids, architectures or the source's sums do not match")
	fl.BoolVar(&f.dryRun, "dry-run", false, "show the plan and change nothing")
	return c
}

func (f *rebaseFlags) check() error {
	if err := checkKeepOld(f.keepOld); err != nil {
		return err
	}
	switch {
	case f.prefer != "" && f.prefer != string(rebase.PreferOverlay) && f.prefer != string(rebase.PreferBase) && f.prefer != preferAskFile:
		return usageError{errFlag("--prefer", f.prefer, "ours, theirs or ask-file")}
	case f.prefer == preferAskFile && f.decisions == "":
		return usageError{errors.New("--prefer ask-file needs --decisions FILE, to which the conflicts are written")}
	case f.onto != "" && f.base != "":
		return usageError{errors.New("--base names the base of an overlay that does not fit the present one, and --onto replaces the " +
			"present one: do the first without --onto")}
	case f.onto == "" && (f.on != "" || f.noKernel || f.force):
		return usageError{errors.New("--on, --no-kernel and --force are about the source that --onto names")}
	}
	return nil
}

// askFile is a file of decisions that conflicts are added to.
type askFile struct {
	path   string
	former []byte       // what it holds
	asked  bytes.Buffer // what is to be added
}

// readDecisions reads the file of decisions into the options. It gives the file that
// what is open is to be asked in, nil for none.
func (f *rebaseFlags) readDecisions(o *rebase.Options) (*askFile, error) {
	ask := &askFile{path: f.decisions}
	if f.decisions != "" {
		var err error
		if ask.former, err = os.ReadFile(f.decisions); err == nil {
			o.Decisions, err = rebase.ReadDecisions(bytes.NewReader(ask.former), f.decisions)
		} else if errors.Is(err, fs.ErrNotExist) && f.prefer == preferAskFile {
			err = nil
		}
		if err != nil {
			return nil, err
		}
	}
	if f.prefer != preferAskFile {
		o.Prefer = rebase.Prefer(f.prefer)
		return nil, nil
	}
	o.Conflict = func(c rebase.Conflict) error {
		if c.Decided == "" && !o.Decisions.Has(c.Path) {
			ask.asked.WriteString(c.Line())
		}
		return nil
	}
	return ask, nil
}

func (a *app) rebase(ctx context.Context, dir string, f *rebaseFlags) error {
	o := rebase.Options{Grow: f.grow}
	ask, err := f.readDecisions(&o)
	if err != nil {
		return err
	}
	e, l, err := a.open(ctx, dir, "", mustSettle.or(lookOnly, f.dryRun))
	if err != nil {
		return err
	}
	defer l.Close()
	if f.onto == "" {
		return a.restamp(ctx, e, l, rebase.RestampOptions{Base: f.base, KeepOld: f.keepOld, Rebase: o}, f.dryRun, ask)
	}
	source, bare, err := a.openSource(ctx, e, l, f.onto, f.on)
	if err != nil {
		return err
	}
	defer source.Close()
	plan, err := update.New(ctx, e, l, source, update.Options{
		Overlay: update.OverlayRebase, Rebase: o, NoKernel: f.noKernel || bare, KeepOld: f.keepOld, Force: f.force})
	if err != nil {
		return a.showConflicts(err, ask)
	}
	if f.dryRun {
		return a.showUpdate(plan)
	}
	res, err := plan.Run(ctx)
	if err != nil {
		return err
	}
	return a.showUpdated(res)
}

// openSource opens what a new base comes from; bare tells that it is a file with
// nothing but a base.
func (a *app) openSource(ctx context.Context, e *job.Env, l *live.Live, path, on string) (source *live.Live, bare bool, err error) {
	if on == "" {
		if bare, err = l.IsBase(path); err != nil {
			return nil, false, fmt.Errorf("the source: %w", err)
		}
	}
	if bare {
		source, err = l.OpenBase(e, path)
	} else {
		_, source, err = a.openWith(ctx, path, on, lookOnly)
	}
	if err != nil {
		return nil, false, fmt.Errorf("the source: %w", err)
	}
	return source, bare, nil
}

// restamp carries a set over to the present base.
func (a *app) restamp(ctx context.Context, e *job.Env, l *live.Live, o rebase.RestampOptions, dryRun bool, ask *askFile) error {
	p, err := rebase.NewRestamp(ctx, e, l, o)
	if err != nil {
		return a.showConflicts(err, ask)
	}
	defer p.Close()
	if !dryRun {
		if err := p.Run(ctx); err != nil {
			return err
		}
	}
	return a.showRestamp(p, dryRun)
}

// showConflicts lists the conflicts that an error carries, or asks for decisions
// in a file where ask is not nil, and gives the error back.
func (a *app) showConflicts(err error, ask *askFile) error {
	var r *rebase.Conflicts
	if !errors.As(err, &r) {
		return err
	}
	if a.json {
		if jerr := a.printJSON(r); jerr != nil {
			return jerr
		}
	}
	if ask != nil {
		if werr := ask.write(); werr != nil {
			return werr
		}
		r.Hint = "decide in " + ask.path + ", by ours or theirs in place of ask, and give it again"
		return err
	}
	if a.json {
		return err
	}
	for _, c := range r.Conflicts {
		database := ""
		if c.Database != "" {
			database = " (the database of " + c.Database + ", never merged by file)"
		}
		a.printf("%s%s: %s in the overlay, %s in the new base\n", escaped(c.Path), database, c.Overlay, c.Base)
	}
	if more := r.Count - len(r.Conflicts); more > 0 {
		a.printf("and %d more\n", more)
	}
	return err
}

// write adds what is asked to the file, of which every line stays.
func (k *askFile) write() (err error) {
	if k.asked.Len() == 0 {
		return nil
	}
	text := bytes.Clone(k.former)
	switch {
	case len(text) == 0:
		text = []byte(rebase.DecisionsHead)
	case text[len(text)-1] != '\n':
		text = append(text, '\n')
	}
	o := newfile.Options{Force: true, Perm: 0o644}
	if _, err := os.Stat(k.path); err == nil {
		o.Like = k.path
	}
	f, err := newfile.Create(k.path, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Discard()) }()
	// What other runs write is known from here on.
	now, err := os.ReadFile(f.Path())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if !bytes.Equal(now, k.former) {
		return refusal.New(refusal.Changed, "begin again", "%s: changed while the conflicts were looked for", k.path)
	}
	if _, err := f.Write(append(text, k.asked.Bytes()...)); err != nil {
		return err
	}
	return f.Commit(context.Background(), nil)
}

// showRebase tells how changes were carried over.
func (a *app) showRebase(s *rebase.Summary) {
	if s == nil {
		return
	}
	if s.Conflicts == 0 {
		a.printf("no conflicts\n")
	} else {
		a.printf("conflicts: %d, of which %d are decided for the overlay, %d for the new base\n", s.Conflicts, s.Overlay, s.NewBase)
	}
	for _, path := range s.Records {
		a.printf("%s: the changes of both sides are merged account by account\n", escaped(path))
	}
	if s.Size > 0 {
		a.printf("overlay: %s of %s in use, was %s of %s\n", bytesize.Format(s.After.Bytes), bytesize.Format(s.Size),
			bytesize.Format(s.Before.Bytes), bytesize.Format(s.OldSize))
	}
}
