package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"relive/overlay"
	"relive/remaster/bytesize"
	"relive/remaster/job"
	"relive/remaster/live"
	"relive/remaster/refusal"
	"relive/remaster/say"
	"relive/remaster/sets"
	"relive/remaster/swap"
	"relive/tree"
)

// Confidence is how sure a finding is.
type Confidence string

// The degrees.
const (
	Certain  Confidence = "certain"  // it is so
	Likely   Confidence = "likely"   // a healthy system hardly gets there
	Possible Confidence = "possible" // a person may have done so on purpose
)

// Finding is a sign of ill health in a live directory.
type Finding struct {
	Kind       string     `json:"kind"` // "marks-lost", "capability-lost" ...
	Confidence Confidence `json:"confidence"`
	Summary    string     `json:"summary"`
	Action     string     `json:"action"` // what a person can do
	Count      int        `json:"count,omitempty"`
	Paths      []string   `json:"paths,omitempty"` // the first of them, in the system or the directory
}

// Diagnosis is what a look at a live directory found.
type Diagnosis struct {
	Dir      string    `json:"dir"`
	Layout   string    `json:"layout"`
	Findings []Finding `json:"findings"`
	Notes    []string  `json:"notes"`
}

// doctorPaths is how many paths a finding names.
const doctorPaths = 8

// doctor gathers findings.
type doctor struct {
	e     *job.Env
	l     *live.Live
	found map[string]*Finding
	order []string
	notes []string
	// told are files of which is told that they lost capabilities or bits.
	told map[string]bool
}

// symptom says what a kind of finding means. In Summary, %d is the count.
type symptom struct {
	kind string
	sure Confidence
	what string
	do   string
}

// add counts one more place of an symptom.
func (d *doctor) add(a *symptom, path string) {
	f := d.found[a.kind]
	if f == nil {
		f = &Finding{Kind: a.kind, Confidence: a.sure, Action: a.do}
		d.found[a.kind] = f
		d.order = append(d.order, a.kind)
	}
	if f.Count++; path != "" && len(f.Paths) < doctorPaths {
		f.Paths = append(f.Paths, path)
	}
	f.Summary = a.what
	if strings.Contains(a.what, "%d") {
		f.Summary = fmt.Sprintf(a.what, f.Count)
	}
}

// tell adds a finding in its own words, or more words to one.
func (d *doctor) tell(kind string, sure Confidence, do, what string, args ...any) {
	text := fmt.Sprintf(what, args...)
	if f := d.found[kind]; f != nil {
		f.Summary += "; " + text
		return
	}
	d.found[kind] = &Finding{Kind: kind, Confidence: sure, Summary: text, Action: do}
	d.order = append(d.order, kind)
}

// Diagnose looks for the traces that lossy saves leave in an overlay, and for
// other ill health. It changes nothing. What it finds are signs: each tells how
// sure it is.
func Diagnose(ctx context.Context, e *job.Env, l *live.Live) (*Diagnosis, error) {
	d := &doctor{e: e, l: l, found: map[string]*Finding{}, told: map[string]bool{}}
	for _, step := range []struct {
		name string
		look func(context.Context) error
	}{{"looking at the directory", d.directory}, {"looking at the images", d.images}, {"looking at what tells of the base", d.aboutBase},
		{"looking at the layers", d.layers}, {"looking at packages", d.packages}, {"looking at what boots", d.system}} {
		e.Phase(step.name, 0)
		err := step.look(ctx)
		if ctx.Err() == nil && tree.IsDamage(err) {
			d.tell("unreadable", Certain, unreadableDo, "%s: %v", step.name, err)
			err = nil
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", step.name, err)
		}
	}
	out := &Diagnosis{Dir: l.Dir, Layout: l.Layout.Name(), Findings: []Finding{}, Notes: append([]string{}, d.notes...)}
	for _, kind := range d.order {
		out.Findings = append(out.Findings, *d.found[kind])
	}
	slices.SortStableFunc(out.Findings, func(a, b Finding) int { return rank(a.Confidence) - rank(b.Confidence) })
	return out, nil
}

// unreadableDo is what a person can do about what cannot be read.
const unreadableDo = say.Verify + " lists all that cannot be read; what writes leaves it out where it is named (" + say.Exclude + " PATH)"

// unreadable notes a path that cannot be read.
func (d *doctor) unreadable(path string, err error) {
	d.add(&cannotRead, "/"+tree.Escape(path))
	if d.found[cannotRead.kind].Count == 1 {
		d.notes = append(d.notes, fmt.Sprintf("%s cannot be read: %v", tree.Quote(path), err))
	}
}

var cannotRead = symptom{"unreadable-paths", Certain, "%d paths cannot be read", unreadableDo}

func rank(s Confidence) int { return slices.Index([]Confidence{Certain, Likely, Possible}, s) }

// directory looks at the files of the live directory: version ids, what is
// pending and what is left over.
func (d *doctor) directory(ctx context.Context) error {
	l := d.l
	vids, err := l.VIDs()
	if err != nil {
		return err
	}
	if !vids.State.Used() && vids.State != live.VIDNoOverlay {
		root := l.Files.Overlay[0]
		d.tell("version-ids", Certain, fmt.Sprintf("if %s belongs to another linuxfs, bring that back ("+say.Rollback+"), carry it over "+
			"("+say.RebaseSet+") or reset it; if it belongs to this one, it lost its stamp", root),
			"the version ids of linuxfs (%s) and %s (%s) do not match: boots ignore %s", live.OrNone(vids.Base), root,
			live.OrNone(vids.Overlay), root)
	}
	if !l.OnHost() {
		return nil
	}
	for _, dir := range live.JournalDirs(l.Dir) {
		state, err := swap.Inspect(swap.OS{}, dir)
		if errors.Is(err, fs.ErrNotExist) || err == nil && (state == nil || state.Running) {
			continue
		}
		if err != nil {
			d.notes = append(d.notes, fmt.Sprintf("whether a run was interrupted in %s is not known: %v", dir, err))
			continue
		}
		d.tell("interrupted-run", Certain, say.Recover+" "+l.Dir+" finishes or undoes it", "%s: %s", dir, state)
	}
	left, err := l.Leftovers()
	if err != nil {
		return err
	}
	var staged, bad, old []string
	for _, f := range left {
		switch filepath.Ext(f.Name) {
		case ".new":
			staged = append(staged, f.Name)
		case ".bad", ".bak":
			bad = append(bad, f.Name)
		default:
			old = append(old, f.Name)
		}
	}
	if len(staged) > 0 {
		what, do := "%s: staged, and the next boot takes it up", "boot once, or remove it"
		if slices.Contains(staged, live.AntixBase+".new") && (slices.Contains(old, live.AntixBase+".old") ||
			slices.Contains(bad, live.AntixBase+".bad")) {
			what, do = "%s: staged, but boots refuse it while linuxfs.old or linuxfs.bad is there",
				"move these away and boot once, or remove the .new files"
		}
		d.tell("staged", Certain, do, what, strings.Join(staged, ", "))
	}
	if bad, err = d.hidden(ctx, bad); err != nil {
		return err
	}
	if len(bad) > 0 {
		d.tell("set-aside", Certain, "remove them when the present state is sound",
			"%s: set aside by a rollback, and in the way of the next update", strings.Join(bad, ", "))
	}
	if len(old) > 0 {
		d.notes = append(d.notes, "former states are kept: "+strings.Join(old, ", "))
	}
	return nil
}

// hidden tells of the rootfs of sets of antiX that were set aside and are the only
// ones of their sets, or belong to a base that is kept. It gives those of bad that
// are neither, which nobody misses.
func (d *doctor) hidden(ctx context.Context, bad []string) (rest []string, err error) {
	l := d.l
	if l.Layout.Traits().Sets != live.SetDirectories {
		return bad, nil
	}
	f := l.Found()
	names, err := sets.SetNames(f, sets.ReadBootMenus(ctx, f))
	if err != nil {
		return nil, err
	}
	rest = bad
	for _, name := range names {
		asides, err := sets.Asides(l, d.e, name)
		if err != nil {
			return nil, err
		}
		for _, a := range asides {
			switch back := a.Back(l, name); {
			case back == "":
				continue
			case a.Only:
				d.tell("set-hidden", Certain, back,
					"the set %s has no rootfs, and %s is its own: it was written over %s, and the init or a roll-back has set it aside",
					name, a.Name, a.Base)
			case slices.Contains(rest, a.Name):
				d.notes = append(d.notes, fmt.Sprintf("%s was written over %s and goes with it", a.Name, a.Base))
			}
			rest = slices.DeleteFunc(slices.Clone(rest), func(n string) bool { return n == a.Name })
		}
	}
	return rest, nil
}

// images looks at the files that hold file systems.
func (d *doctor) images(context.Context) error {
	l := d.l
	const fatMax = 4<<30 - 1
	if l.Base.Size > fatMax {
		d.tell("beyond-fat", Possible, "keep it on ext4, or compact with a stronger codec",
			"%s has %s, more than a FAT stick can hold in one file", l.Base.Name(), bytesize.Format(l.Base.Size))
	}
	if l.HomeProblem != nil {
		d.tell("home-unreadable", Certain, cmp.Or(refusal.Hint(l.HomeProblem), "look at a copy of it"), "%v", l.HomeProblem)
	}
	if o := l.Overlay; o != nil && o.Image != nil {
		if err := d.image(o.Image, l.Layout.Traits().RootLabel); err != nil {
			return err
		}
		if err := d.work(); err != nil {
			return err
		}
	}
	if l.Home != nil {
		label := ""
		if t := l.Layout.Traits(); t.RootLabel != "" { // whose tools label both
			label = t.HomeLabel
		}
		return d.image(l.Home, label)
	}
	return nil
}

// image looks at an ext image; label is what it should have, "" for any.
func (d *doctor) image(img *live.Image, label string) error {
	info := img.FS.Info()
	kind, name := filepath.Base(img.Path), filepath.Base(img.Path)
	if rel, err := filepath.Rel(d.l.Dir, img.Path); err == nil {
		name = rel
	}
	if info.HasErrors {
		d.tell(kind+"-errors", Certain, "make a copy, then e2fsck -f "+img.Path, "%s", live.ErrorsRecorded(name, &info))
	}
	switch {
	case info.NeedsRecovery:
		d.tell(kind+"-journal", Certain, "the next boot replays it; until then nothing is lost",
			"%s was not unmounted: its journal is pending", name)
	case !info.Clean && !info.HasErrors:
		d.tell(kind+"-unclean", Certain, "make a copy, then e2fsck -f "+img.Path,
			"%s was not unmounted cleanly and has no journal; what was written last may be incomplete", name)
	}
	if label != "" && info.Label != label {
		d.tell(kind+"-label", Possible, "e2label "+img.Path+" "+label, "%s has the label %q, and antiX's tools give it %q", name,
			info.Label, label)
	}
	// Of a little image a few per cent are too few for the next package.
	if free := info.FreeBlocks * info.BlockSize; free < img.Size/20 || free < 4<<20 {
		d.tell(kind+"-full", Certain, "remove what is not needed, fold it into the base ("+say.Compact+"), or make it larger",
			"%s is nearly full: %s of %s are free", name, bytesize.Format(free), bytesize.Format(img.Size))
	}
	if info.FreeInodes < info.Inodes/50 {
		d.tell(kind+"-inodes", Certain, "remove what is not needed, fold it into the base ("+say.Compact+"), or make it larger",
			"%s is nearly out of inodes: %d of %d are free", name, info.FreeInodes, info.Inodes)
	}
	return nil
}

// work looks for what overlayfs was doing when it was cut off.
func (d *doctor) work() error {
	o := d.l.Overlay
	works := []string{"work"}
	if o.Form == live.FormAufs {
		return nil
	}
	if o.WorkDir != "" {
		works = []string{o.WorkDir}
	}
	for _, u := range o.UnionLayers {
		works = append(works, u.Work)
	}
	root, err := o.Image.FS.Root()
	if err != nil {
		return err
	}
	for _, work := range works {
		at, err := live.DirectoryAt(root, work+"/work")
		if err != nil || at == nil {
			if err != nil {
				return err
			}
			continue
		}
		kids, err := at.Children()
		if err != nil {
			return err
		}
		for _, k := range kids {
			if overlay.IsWhiteout(k) {
				continue // which the kernel keeps there to make others of it by links
			}
			d.add(&workLeft, work+"/work/"+tree.Escape(k.Name))
		}
	}
	return nil
}

var workLeft = symptom{"work-left", Certain, "%d files are left in the overlay's work directory: a copy or removal was cut off",
	"nothing: the next mount removes them"}

// unionReports counts what the overlay's layers hold.
func (d *doctor) unionReports(fn func(*overlay.Report)) error {
	o := d.l.Overlay
	unions := o.Unions
	if len(unions) == 0 && o.Union != nil {
		unions = []*overlay.Merged{o.Union}
	}
	for _, u := range unions {
		rep, err := u.Report()
		if err != nil {
			return err
		}
		fn(rep)
	}
	return nil
}
