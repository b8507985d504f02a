package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"relive/dmmerge"
	"relive/remaster/bytesize"
	"relive/remaster/probe"
	"relive/remaster/refusal"
	"relive/remaster/written"
	"relive/tree"
	"relive/tree/hostfs"
)

// dmMergeFlags are the flags of dm merge.
type dmMergeFlags struct {
	output                    string
	inPlace, force, forceBase bool
	sparse                    bool
}

func (a *app) dmMergeCommand() *cobra.Command {
	var f dmMergeFlags
	c := &cobra.Command{
		Use:   "merge ORIGIN COW (-o OUT | --in-place)",
		Short: "merge a COW with its origin",
		Long: `With -o writes what ORIGIN and COW show together to a new image and changes
neither.

With --in-place copies the chunks of the COW into ORIGIN and empties the COW. It
may be interrupted at any time, by a power cut too: what both show together stays
the same, and running it again finishes it. It also finishes what the kernel's
snapshot-merge left half done.`,
		Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			switch {
			case (f.output != "") == f.inPlace:
				return usageError{errors.New("give either -o OUT or --in-place")}
			case f.inPlace && (f.sparse || f.force):
				return usageError{errors.New("--sparse and --force go with -o")}
			}
			if f.inPlace {
				return a.dmMergeInPlace(c, args[0], args[1], &f)
			}
			return a.dmMergeTo(c, args[0], args[1], &f)
		},
	}
	fl := c.Flags()
	fl.StringVarP(&f.output, "output", "o", "", "write the merged image to this file")
	fl.BoolVar(&f.inPlace, "in-place", false, "merge into ORIGIN and empty COW")
	fl.BoolVar(&f.sparse, "sparse", false, "leave holes for blocks that are zero")
	fl.BoolVar(&f.force, "force", false, "replace the file given with -o")
	fl.BoolVar(&f.forceBase, "force-base", false, "continue even if COW does not belong to ORIGIN")
	return c
}

func (a *app) dmMergeTo(c *cobra.Command, origin, path string, f *dmMergeFlags) error {
	file, d, warnings, err := a.openReadable(c, origin, path, f.forceBase)
	if err != nil {
		return err
	}
	defer d.Close()
	kinds, err := kindOf(d.Device)
	if err != nil {
		return err
	}
	out, err := newOutput(f.output, f.force, 0o644, kinds, path, file)
	if err != nil {
		return err
	}
	out.check = func(path string) error { return a.showsSame(c.Context(), d.Device, path) }
	res, err := dmmerge.MergeTo(c.Context(), out, d.Device, dmmerge.MergeOptions{ZerosToHoles: f.sparse,
		Progress: a.phase("merging", d.Size())})
	if err := out.finish(c.Context(), err); err != nil {
		return err
	}
	if a.json {
		if err := a.printJSON(res); err != nil {
			return err
		}
	} else {
		a.printf("%s: %s, %s of them from the COW\n", f.output, bytesize.Format(res.Size), bytesize.Format(res.FromCOW))
	}
	return a.showWarnings(warnings, errWarned)
}

// kindOf gives the kind of what a new file will hold.
func kindOf(c tree.Content) ([]probe.Kind, error) {
	res, err := probe.Of(c, c.Size())
	return []probe.Kind{res.Kind}, err
}

// cowKinds are the kinds that an empty or used COW has.
var cowKinds = []probe.Kind{probe.COW}

// showsSame compares a merged image with the device that it was made of.
func (a *app) showsSame(ctx context.Context, d *dmmerge.Device, path string) error {
	c, err := hostfs.OpenFile(path)
	if err != nil {
		return err
	}
	defer c.Close()
	a.phase("reading "+filepath.Base(path)+" back", d.Size())
	same, err := tree.SameBytes(ctx, d, c)
	if err == nil && !same {
		err = fmt.Errorf("%s: %w", path, written.ErrDiffers)
	}
	return err
}

// openReadable opens a COW over its origin for reading all of it, as dmReadable
// has it. file is the origin's.
func (a *app) openReadable(c *cobra.Command, origin, path string, forceBase bool) (file string, d *device, warnings []string, err error) {
	if file, err = a.notWritten(path, origin); err != nil {
		return "", nil, nil, err
	}
	if d, err = a.openDevice(c, origin, path); err != nil {
		return "", nil, nil, err
	}
	if warnings, err = a.dmReadable(d.Device, forceBase); err != nil {
		d.Close()
		return "", nil, nil, err
	}
	return file, d, warnings, nil
}

// dmReadable refuses a device that cannot be read whole or is of the wrong
// origin, and gives what to warn of.
func (a *app) dmReadable(d *dmmerge.Device, forceBase bool) (warnings []string, err error) {
	cow := d.COW()
	const hint = "relive dm recover makes a sound COW of what is whole"
	for _, f := range cow.Findings() {
		if f.What == dmmerge.PastEnd {
			return nil, refusal.New(refusal.Damaged, hint, "%s: %v", cow.Name(), f)
		}
		warnings = append(warnings, fmt.Sprintf("%s: %v", cow.Name(), f))
	}
	if err := a.checkBase(d, forceBase); err != nil {
		return nil, err
	}
	if cow.State() == dmmerge.Invalid {
		warnings = append(warnings, fmt.Sprintf("%s: it is marked invalid; what was flushed is taken, as after a power cut", cow.Name()))
	}
	return warnings, nil
}

// notWritten refuses a COW and an origin that the running system may be writing
// to, and gives the file that the origin is or lies in. What lies inside another
// file does not change.
func (a *app) notWritten(cow, origin string) (file string, err error) {
	file, inner := splitOrigin(origin)
	if err := notWritten(cow); err != nil || inner != "" {
		return file, err
	}
	return file, notWritten(file)
}

// notWritten refuses a file that the running system may be writing to.
func notWritten(path string) error {
	var r *refusal.Refusal
	err := notInUse(path)
	if errors.As(err, &r) {
		// A file on a medium that cannot be written, as a live system's own base
		// is, does not change while it is read.
		if f, werr := os.OpenFile(path, os.O_WRONLY, 0); werr != nil {
			return nil
		} else if err := f.Close(); err != nil {
			return err
		}
	}
	return err
}

func (a *app) dmMergeInPlace(c *cobra.Command, origin, path string, f *dmMergeFlags) error {
	if file, inner := splitOrigin(origin); inner != "" {
		return refusal.New(refusal.UnsupportedForm, "write the merged image to a file with -o",
			"%s: %s inside it cannot be changed in place", file, inner)
	}
	cow, cowSize, err := openInPlace(path)
	if err != nil {
		return err
	}
	defer cow.Close()
	base, size, err := openInPlace(origin)
	if err != nil {
		return err
	}
	defer base.Close()
	if err := a.checkInPlace(c, origin, path, f); err != nil {
		return err
	}
	opened, err := dmmerge.Open(cow, cowSize, path)
	if err != nil {
		return err
	}
	progress := a.phase("merging in place", int64(opened.Chunks())*opened.ChunkBytes())
	res, err := dmmerge.MergeInPlace(c.Context(), base, size, cow, cowSize, path, dmmerge.InPlaceOptions{Progress: progress})
	if err != nil {
		return err
	}
	if a.json {
		return a.printJSON(res)
	}
	a.printf("%s: %d chunks, %s, merged; %s is empty\n", origin, res.Chunks, bytesize.Format(res.Bytes), path)
	return nil
}

// checkInPlace refuses before a merge in place what it would refuse, with a
// hint.
func (a *app) checkInPlace(c *cobra.Command, origin, path string, f *dmMergeFlags) error {
	d, err := a.openDevice(c, origin, path)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := a.checkBase(d.Device, f.forceBase); err != nil {
		return err
	}
	cow := d.COW()
	const hint = "write a merged image with -o, or make a sound COW with relive dm recover"
	if s := cow.State(); s == dmmerge.Invalid || s == dmmerge.Unloadable {
		return refusal.New(refusal.Damaged, hint, "%s: %s", path, map[dmmerge.State]string{dmmerge.Invalid: "it is marked invalid",
			dmmerge.Unloadable: "the kernel refuses to load it"}[s])
	}
	for _, finding := range append(cow.Findings(), d.Outside()...) {
		if finding.Severity() == dmmerge.Corruption {
			return refusal.New(refusal.Damaged, hint, "%s: %v", path, finding)
		}
	}
	return nil
}
