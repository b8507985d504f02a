package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"relive/iso"
	"relive/remaster/accounts"
	"relive/remaster/baseimage"
	"relive/remaster/bootedit"
	"relive/remaster/exclude"
	"relive/remaster/hostdisk"
	"relive/remaster/job"
	"relive/remaster/live"
	"relive/remaster/newfile"
	"relive/remaster/osrelease"
	"relive/remaster/packages"
	"relive/remaster/packed"
	"relive/remaster/probe"
	"relive/remaster/refusal"
	"relive/remaster/say"
	"relive/remaster/sourcecheck"
	"relive/tree"
)

// BootSource says where an ISO's boot files come from.
type BootSource string

// The sources.
const (
	// BootAuto is the template where one is given, else the live directory's own
	// medium, else the packages of the system.
	BootAuto     BootSource = ""
	BootTemplate BootSource = "template"
	BootMedium   BootSource = "medium"
	// BootSystem are packages that are installed in the live system, BootHost
	// those of the system that relive runs on.
	BootSystem BootSource = "system"
	BootHost   BootSource = "host"
)

// BootSources are the names that the command line takes.
var BootSources = []BootSource{BootTemplate, BootMedium, BootSystem, BootHost}

// Options say what a snapshot ISO is to be.
type Options struct {
	// Output is the file that is made, or a directory in which it gets a name.
	// "" is the working directory.
	Output string
	// BaseName begins a name that is made, "" for the system's id.
	BaseName string
	// Force replaces Output, and goes on where version ids do not match.
	Force bool

	// Accounts say how much of the system's owner leaves with it.
	Accounts accounts.Options
	// NoHomes leaves out the homes that a boot mounts over the system. Without
	// Preserve they never come along.
	NoHomes bool
	// Excludes leave paths out of the system, beside those of the default lists.
	Excludes []exclude.Rule
	// AllowUnmatched goes on where one of Excludes matches nothing.
	AllowUnmatched bool
	// NoDefaultExcludes leaves the default lists alone.
	NoDefaultExcludes bool

	// Codec, Level, BlockSize, Flatten, KeepFree and FullVerify are those of
	// CompactOptions.
	packed.Wish                   // what the system's image is to be like, where not like the base's
	Flatten, KeepFree, FullVerify bool

	Boot BootSource
	// Template is an ISO whose boot set-up and files are taken.
	Template string
	// Kernel and Initrd are files of the host that take the place of the live
	// directory's, "" for none.
	Kernel, Initrd string
	// Include are further files and directories of the host, by their paths on
	// the ISO.
	Include map[string]string

	// AddArgs and RemoveArgs are kernel arguments, as menu.Edits has them.
	AddArgs, RemoveArgs []string
	// KeepPersistence leaves arguments about persistence in the menus.
	KeepPersistence bool
	// Title is that of the menus, "" for the one that they have.
	Title string

	// VolumeID is the ISO's label, "" for that of the template or medium, or one
	// that is made of the system's id and date.
	VolumeID                         string
	Publisher, Preparer, Application string

	// Sums are the checksums that are written beside the ISO: "md5", "sha256",
	// "sha512".
	Sums []string
	// ImplantMD5 puts the sum into the ISO that checkisomd5 verifies.
	ImplantMD5 bool
	// NoPackages and NoReport leave out the list of packages and the report
	// beside the ISO.
	NoPackages, NoReport bool
}

// Plan is what making a snapshot ISO will do.
type Plan struct {
	live *live.Live
	env  *job.Env
	o    Options
	base *baseimage.Plan // of the system's image
	form live.Medium
	sys  *isoSystem
	// root is the ISO's tree, in which the late files have no content yet.
	root   *tree.Node
	recipe iso.Recipe
	left   []string // what the template's set-up lacks already
	plan   *iso.Plan
	late   *lateFiles
	volume live.Volume         // that the medium is
	swaps  []bootedit.FileSwap // of kernel and initrd
	open   tree.Closers
	beside []sidecar
	// packages are those of the system, where a file of the ISO lists them.
	packages []packages.List
	// taken is what comes from medium or template and has sums there.
	taken []sourcecheck.File

	Summary Summary
}

// SystemSummary tells of the system's image.
type SystemSummary struct {
	Dir    string `json:"dir"`
	Layout string `json:"layout"`
	Mode   string `json:"mode"` // "iso"
	Output string `json:"output"`
	baseimage.Summary
}

// Summary is the part of a plan that is shown.
type Summary struct {
	System   SystemSummary `json:"system"`
	Output   string        `json:"output"`
	VolumeID string        `json:"volume_id"`
	UUID     string        `json:"uuid"`
	Accounts string        `json:"accounts"`
	Family   string        `json:"family"` // of the system, as rules for accounts tell it
	User     string        `json:"user,omitempty"`
	People   int           `json:"people_taken_out"`
	Dropped  int           `json:"paths_dropped"`
	Changed  int           `json:"paths_changed"`
	Made     int           `json:"paths_made"`
	Doubtful int           `json:"paths_kept_uncertain"`
	Homes    []string      `json:"homes"`
	Lists    []string      `json:"exclude_lists"`
	Boot     string        `json:"boot_files"` // where they come from
	Firmware []string      `json:"firmware"`   // "BIOS", "UEFI"
	Kernel   string        `json:"kernel"`     // its path on the ISO
	Initrd   string        `json:"initrd"`
	Version  string        `json:"kernel_version,omitempty"`
	Menus    []string      `json:"menu_changes"`
	Initrds  []string      `json:"initrd_changes"`
	Left     []string      `json:"not_copied"`
	Base     string        `json:"base"` // its path on the ISO
	Size     int64         `json:"size_estimate"`
	Need     int64         `json:"space_needed"`
	Free     int64         `json:"space_free"`
	Beside   []string      `json:"sidecars"`
	Warnings []string      `json:"warnings"`
}

func (p *Plan) warn(format string, args ...any) {
	p.Summary.Warnings = append(p.Summary.Warnings, fmt.Sprintf(format, args...))
}

// New looks at everything that a snapshot depends on and decides what it
// will hold. It writes nothing. The plan is closed with Close.
func New(ctx context.Context, e *job.Env, l *live.Live, o Options) (_ *Plan, err error) {
	p := &Plan{live: l, env: e, o: o, sys: &isoSystem{}}
	p.sys.o = &p.o
	defer func() {
		if err != nil {
			err = errors.Join(err, p.Close())
		}
	}()
	if err := p.checkOptions(); err != nil {
		return nil, err
	}
	if err := p.nameOutput(); err != nil {
		return nil, err
	}
	p.form = l.Layout.Medium(l)
	if err := p.planSystem(ctx); errors.Is(err, accounts.ErrOptions) {
		return nil, refusal.Option(err)
	} else if err != nil {
		return nil, err
	}
	if err := p.planMedium(ctx); err != nil {
		return nil, err
	}
	if err := p.planTied(ctx); err != nil {
		return nil, err
	}
	if err := p.planCheck(); err != nil {
		return nil, err
	}
	if err := p.planImage(ctx); err != nil {
		return nil, err
	}
	if err := p.planBeside(ctx); err != nil {
		return nil, err
	}
	return p, p.checkSpace()
}

// Close closes what the plan has opened.
func (p *Plan) Close() error {
	open := p.open
	p.open = nil
	return open.Close()
}

// checkOptions refuses what contradicts itself.
func (p *Plan) checkOptions() error {
	o := &p.o
	switch {
	case o.Boot == BootTemplate && o.Template == "":
		return refusal.WithHint(refusal.Option(errors.New(say.Boot+" template needs an ISO to take boot files from")),
			"give it with "+say.Template)
	case o.Template != "" && o.Boot != BootAuto && o.Boot != BootTemplate:
		return refusal.WithHint(refusal.Option(fmt.Errorf(say.Template+" and "+say.Boot+" %s both say where boot files come from", o.Boot)),
			"give one of them")
	case o.Boot != BootAuto && !slices.Contains(BootSources, o.Boot):
		return refusal.WithHint(refusal.Option(fmt.Errorf(say.Boot+" %s", o.Boot)), fmt.Sprintf("one of %v", BootSources))
	}
	if o.Template != "" {
		o.Boot = BootTemplate
	}
	if o.VolumeID != "" {
		if err := bootedit.CheckVolumeID(o.VolumeID); err != nil {
			return err
		}
	}
	for _, text := range []struct{ flag, value string }{{say.Publisher, o.Publisher}, {say.Preparer, o.Preparer},
		{say.Application, o.Application}} {
		if len(text.value) > maxVolumeText {
			return refusal.WithHint(refusal.Option(fmt.Errorf("%s: %d bytes", text.flag, len(text.value))),
				fmt.Sprintf("there is room for %d", maxVolumeText))
		}
	}
	for _, kind := range o.Sums {
		if !slices.Contains([]string{"md5", "sha256", "sha512"}, kind) {
			return refusal.WithHint(refusal.Option(fmt.Errorf(say.Sums+" %s", kind)), "md5, sha256, sha512 or none")
		}
	}
	return nil
}

// maxVolumeText is the length of the texts of a volume descriptor, in bytes
// (ECMA-119, 8.4.20 to 8.4.22).
const maxVolumeText = 128

// nameOutput returns the ISO its name. A name that is made is one that is free,
// also of the files beside the ISO.
func (p *Plan) nameOutput() error {
	o := &p.o
	st, err := os.Stat(o.Output)
	dir := o.Output
	switch {
	case o.Output == "":
		dir = "."
	case err == nil && st.IsDir():
	case err == nil && !st.Mode().IsRegular():
		return refusal.New(refusal.WrongKind, "name a file with "+say.Output+"; what is in it can be written to a stick by cp or dd",
			"%s: is no regular file, but %v", o.Output, st.Mode().Type())
	case strings.HasSuffix(o.Output, "/"):
		return refusal.WithHint(fmt.Errorf("%s: %w", o.Output, fs.ErrNotExist), "make the directory first")
	default:
		return nil
	}
	name := o.BaseName
	if name == "" {
		if name, err = p.systemID(); err != nil {
			return err
		}
	}
	now := time.Now()
	if p.env.SourceDate != nil {
		now = time.Unix(*p.env.SourceDate, 0).UTC()
	}
	name += now.Format("-20060102_1504")
	for i := 1; ; i++ {
		o.Output = filepath.Join(dir, name+".iso")
		if i > 1 {
			o.Output = filepath.Join(dir, fmt.Sprintf("%s-%d.iso", name, i))
		}
		taken := hostdisk.Exists(o.Output) || hostdisk.Exists(newfile.TempName(o.Output))
		for _, suffix := range sideSuffixes {
			taken = taken || hostdisk.Exists(o.Output+suffix)
		}
		if !taken {
			return nil
		}
	}
}

var nameOfSystem = regexp.MustCompile(`^[A-Za-z0-9._-]+$`)

// systemID is what the system calls itself, for names.
func (p *Plan) systemID() (string, error) {
	release, err := osrelease.Read(p.live.Merged)
	if err != nil || !nameOfSystem.MatchString(release["ID"]) {
		return "live", err
	}
	return release["ID"], nil
}

// planSystem plans the system's image.
func (p *Plan) planSystem(ctx context.Context) error {
	o := &p.o
	if err := p.excludes(); err != nil {
		return err
	}
	l := p.live
	if err := l.Check(ctx, p.env, live.Intent{Force: o.Force, ReadOnly: true}); err != nil {
		return err
	}
	warnings, err := l.OverlayWarnings()
	if err != nil {
		return err
	}
	p.Summary.Warnings = append(p.Summary.Warnings, warnings...)
	if err := l.CheckOutput(o.Output, p.newFile()); err != nil {
		return err
	}
	if err := l.RefuseInUse("what it writes meanwhile would be half in the ISO", l.OverlayPaths()...); err != nil {
		return err
	}
	p.base, err = baseimage.New(ctx, p.env, l, baseimage.Options{Wish: o.Wish, Flatten: o.Flatten,
		KeepFree:   o.KeepFree,
		FullVerify: o.FullVerify, Force: o.Force, Medium: p.sys.medium()}, p.warn)
	if err != nil {
		return err
	}
	s, r := &p.Summary, p.sys.plan.Report
	s.Output, s.Base, s.Accounts, s.Family, s.User = o.Output, p.form.Base, r.Mode.String(), r.Family, r.User
	s.People, s.Dropped, s.Changed, s.Made, s.Doubtful = len(r.People), r.Count(accounts.Dropped), r.Count(accounts.Changed),
		r.Count(accounts.Made), r.Count(accounts.KeptByDoubt)
	s.Homes = p.sys.homes
	s.System = SystemSummary{Dir: l.Dir, Layout: l.Layout.Name(), Mode: "iso", Output: o.Output, Summary: p.base.Summary}
	return nil
}

// newFile says how the ISO is made.
func (p *Plan) newFile() newfile.Options {
	return newfile.Options{Force: p.o.Force, Kinds: probe.IsoKinds}
}

// excludes gathers the rules by which paths are left out of the system.
func (p *Plan) excludes() error {
	s := p.sys
	if !p.o.NoDefaultExcludes {
		lists, err := exclude.ListsFor(p.live.Merged, p.o.Accounts.Mode != accounts.Preserve)
		if err != nil {
			return err
		}
		if s.rules, err = exclude.Default(lists...); err != nil {
			return err
		}
		p.Summary.Lists = lists
		s.listed = len(s.rules)
	}
	s.rules = append(s.rules, p.o.Excludes...)
	return nil
}
