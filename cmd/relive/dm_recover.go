package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"

	"github.com/spf13/cobra"

	"relive/dmmerge"
	"relive/extfs"
	"relive/remaster/bytesize"
	"relive/remaster/live"
	"relive/remaster/probe"
	"relive/remaster/refusal"
	"relive/tree"
	"relive/tree/hostfs"
)

// dmRecoverFlags are the flags of dm recover.
type dmRecoverFlags struct {
	output, size, chunk    string
	inPlace, dryRun, force bool
}

func (a *app) dmRecoverCommand() *cobra.Command {
	var f dmRecoverFlags
	c := &cobra.Command{
		Use:   "recover COW (-o OUT | --in-place | --dry-run)",
		Short: "make a sound COW of a damaged one",
		Long: `Reads a COW that the kernel calls invalid or refuses: one that overflowed, that
an I/O error invalidated, that was cut short, whose metadata is damaged. Tells
what is wrong, writes a new COW that holds all that is whole, and lists what is
lost. The damaged one is only read.

With --in-place a COW that is only marked invalid is made valid where it stands.

Where the header is lost, --chunk tells the chunk size, 4K in most cases. What a
recovered COW shows is as after a power cut: the file system's journal is to be
replayed.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			n := 0
			for _, given := range []bool{f.output != "", f.inPlace, f.dryRun} {
				if given {
					n++
				}
			}
			if n != 1 {
				return usageError{errors.New("give one of -o OUT, --in-place and --dry-run")}
			}
			return a.dmRecover(c, args[0], &f)
		},
	}
	fl := c.Flags()
	fl.StringVarP(&f.output, "output", "o", "", "write the new COW to this file")
	fl.BoolVar(&f.inPlace, "in-place", false, "make the COW valid where it stands")
	fl.BoolVar(&f.dryRun, "dry-run", false, "only tell what is wrong")
	fl.StringVar(&f.size, "size", "", "how long the new COW is (default as the old one)")
	fl.StringVar(&f.chunk, "chunk", "", "chunk size in bytes where the header is lost")
	fl.BoolVar(&f.force, "force", false, "replace the file given with -o")
	return c
}

func (a *app) dmRecover(c *cobra.Command, path string, f *dmRecoverFlags) error {
	var o dmmerge.RecoverOptions
	var err error
	if o.Chunk, err = parseChunk(f.chunk); err != nil {
		return err
	}
	if f.size != "" {
		if o.Size, err = sizeFlag("--size", f.size); err != nil {
			return err
		}
	}
	if f.inPlace {
		return a.dmActivate(c.Context(), path)
	}
	if err := notWritten(path); err != nil {
		return err
	}
	in, err := hostfs.OpenFile(path)
	if err != nil {
		return err
	}
	defer in.Close()
	// With a chunk size, a lost header is what there is to recover from.
	if err := live.CheckCOW(c.Context(), in, path, f.chunk == ""); err != nil {
		return err
	}
	rep, err := dmmerge.Diagnose(in, in.Size(), path, o)
	if err != nil {
		return badSize(err)
	}
	if !f.dryRun {
		out, err := newOutput(f.output, f.force, 0o600, cowKinds, path)
		if err != nil {
			return err
		}
		if done := a.phase("recovering", int64(rep.Saved)*rep.ChunkBytes); done != nil {
			o.Progress = func(chunks uint64) { done(int64(chunks) * rep.ChunkBytes) }
		}
		rep, err = dmmerge.Recover(c.Context(), in, in.Size(), path, out, o)
		if err := out.finish(c.Context(), err); err != nil {
			return badSize(err)
		}
	}
	if a.json {
		if err := a.printJSON(rep); err != nil {
			return err
		}
	} else {
		a.printReport(path, f.output, rep)
	}
	if len(rep.Lost) > 0 {
		return errWarned
	}
	return nil
}

func (a *app) printReport(path, out string, rep *dmmerge.Report) {
	if rep.Sound() {
		a.printf("%s: nothing is wrong\n", path)
	}
	for _, c := range rep.Conditions {
		a.printf("%s: %s\n", path, c)
	}
	for _, f := range rep.Findings {
		a.printf("  %s\n", f)
	}
	a.printf("whole: %d chunks, %s\n", rep.Saved, bytesize.Format(int64(rep.Saved)*rep.ChunkBytes))
	for _, l := range rep.Lost {
		a.printf("lost: bytes %d to %d (%s): %s\n", l.Start, l.End, l.Place, l.Why)
	}
	if rep.LostChunks > 0 {
		a.warn("%d chunks are lost; the origin shows in their place", rep.LostChunks)
	}
	if out != "" {
		a.printf("%s: a COW of %s\n", out, bytesize.Format(rep.Size))
	}
}

// dmActivate makes a COW valid where it stands.
func (a *app) dmActivate(ctx context.Context, path string) error {
	f, size, err := openInPlace(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := checkCOW(ctx, path, true); err != nil {
		return err
	}
	res, err := dmmerge.Activate(f, size, path)
	if errors.Is(err, tree.ErrCorrupt) {
		return refusal.New(refusal.WrongSize, "write a new COW with -o, or give it room with relive dm grow", "%v", err)
	}
	if err != nil {
		return err
	}
	if a.json {
		return a.printJSON(res)
	}
	if res.Activated {
		a.printf("%s: valid again\n", path)
	} else {
		a.printf("%s: it is valid\n", path)
	}
	return nil
}

// dmRepackFlags are the flags of dm repack.
type dmRepackFlags struct {
	output, size, chunk        string
	keepFree, force, forceBase bool
	sparse                     bool
}

func (a *app) dmRepackCommand() *cobra.Command {
	var f dmRepackFlags
	c := &cobra.Command{
		Use:   "repack ORIGIN COW -o OUT",
		Short: "write a COW anew without what it need not hold",
		Long: `Writes a new COW that shows the same over ORIGIN, without the chunks that equal
it and, where the image holds an ext file system, without chunks of free blocks.
OUT may be COW itself with --force: it is replaced when the new one is whole.

Size and chunk size may be others than before.`,
		Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			if f.output == "" {
				return usageError{errors.New("-o OUT is missing")}
			}
			return a.dmRepack(c, args[0], args[1], &f)
		},
	}
	fl := c.Flags()
	fl.StringVarP(&f.output, "output", "o", "", "write the new COW to this file")
	fl.StringVar(&f.size, "size", "", "how long the new COW is (default as the old one)")
	fl.StringVar(&f.chunk, "chunk", "", "chunk size of the new COW in bytes (default that of the old one)")
	fl.BoolVar(&f.keepFree, "keep-free", false, "keep also the free blocks of the file system")
	fl.BoolVar(&f.force, "force", false, "replace the file given with -o")
	fl.BoolVar(&f.forceBase, "force-base", false, "continue even if COW does not belong to ORIGIN")
	fl.BoolVar(&f.sparse, "sparse", false, "do not set the space aside on the host's disk")
	return c
}

func (a *app) dmRepack(c *cobra.Command, origin, path string, f *dmRepackFlags) error {
	var o dmmerge.RepackOptions
	var err error
	if o.Chunk, err = parseChunk(f.chunk); err != nil {
		return err
	}
	if f.size != "" {
		if o.Size, err = sizeFlag("--size", f.size); err != nil {
			return err
		}
	}
	file, d, warnings, err := a.openReadable(c, origin, path, f.forceBase)
	if err != nil {
		return err
	}
	defer d.Close()
	if !f.keepFree {
		var why string
		if o.Free, why, err = freeExtents(d.Device, path); err != nil {
			return err
		}
		if why != "" {
			warnings = append(warnings, why)
		}
	}
	out, err := newOutput(f.output, f.force, 0o600, cowKinds, file)
	if err != nil {
		return err
	}
	out.reserve = !f.sparse
	if done := a.phase("repacking", 2*int64(d.COW().Chunks())*d.COW().ChunkBytes()); done != nil {
		o.Progress = func(n, _ int64) { done(n) }
	}
	res, err := dmmerge.Repack(c.Context(), d.Device, out, o)
	if err := out.finish(c.Context(), err); err != nil {
		return badSize(err)
	}
	if a.json {
		if err := a.printJSON(res); err != nil {
			return err
		}
	} else {
		a.printf("%s: %d chunks of %s in %s; left out: %d that equal the origin, %d that are free\n", f.output, res.Kept,
			bytesize.Format(res.ChunkBytes), bytesize.Format(res.Size), res.Equal, res.Free)
	}
	return a.showWarnings(warnings, errWarned)
}

// freeExtents gives the free blocks of the ext file system on a device; where
// there is none, nothing. why tells of one that cannot be read.
func freeExtents(d *dmmerge.Device, name string) (free iter.Seq2[dmmerge.Extent, error], why string, err error) {
	res, err := probe.Of(d, d.Size())
	if err != nil || !res.Kind.IsExt() {
		return nil, "", err
	}
	fs, err := extfs.Open(d, d.Size(), strings.TrimSuffix(name, "/"))
	if err == nil {
		// Bitmaps that cannot be trusted show with the first range.
		for _, err = range fs.FreeRanges() {
			break
		}
	}
	if errors.Is(err, tree.ErrCorrupt) || errors.Is(err, tree.ErrUnsupported) {
		return nil, fmt.Sprintf("free blocks are kept: %v", err), nil
	}
	if err != nil {
		return nil, "", err
	}
	return func(yield func(dmmerge.Extent, error) bool) {
		for r, err := range fs.FreeRanges() {
			if !yield(dmmerge.Extent{Start: r.Start, End: r.End()}, err) {
				return
			}
		}
	}, "", nil
}
