package main

import (
	"bufio"
	"fmt"

	"github.com/spf13/cobra"

	"relive/dmmerge"
	"relive/remaster/bytesize"
	"relive/remaster/hostdisk"
	"relive/remaster/live"
)

// dmStatus is the status of a COW as JSON.
type dmStatus struct {
	File string `json:"file"`
	Size int64  `json:"size"`
	Line string `json:"line"`
	dmmerge.Status
	Base *dmmerge.BaseCheck `json:"base,omitempty"`
	// DataAt is where data begins behind a header that is zero, -1 where there is
	// none, or the header is not zero.
	DataAt   int64       `json:"data_at"`
	InUse    string      `json:"in_use,omitempty"`
	Findings []dmFinding `json:"findings"`
	Warnings []string    `json:"warnings"`
}

// dmFinding is a finding as JSON.
type dmFinding struct {
	dmmerge.Finding
	Severity dmmerge.Severity `json:"severity"`
	Text     string           `json:"text"`
}

func (a *app) dmStatusCommand() *cobra.Command {
	var origin string
	c := &cobra.Command{
		Use:   "status COW",
		Short: "show how full a COW is and what is wrong with it",
		Long: `Prints first what dmsetup status would show of the snapshot after a fresh
load: "A/T M" (allocated, total and metadata sectors) or "Invalid"; with
--origin the whole line. A summary in words follows.

Ends with 3 where there is something to warn of.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			cow, err := openCOW(c.Context(), args[0], false)
			if err != nil {
				return err
			}
			defer cow.Close()
			s := &dmStatus{File: args[0], Size: cow.Size(), Status: cow.Status(), Findings: []dmFinding{}, Warnings: []string{}}
			s.Line = s.String()
			if s.InUse, err = hostdisk.InUse("/", args[0]); err != nil {
				return err
			}
			if s.DataAt, err = live.DataBehind(c.Context(), cow.content); err != nil {
				return err
			}
			findings := cow.Findings()
			if origin != "" {
				d, err := a.over(c, cow, origin)
				if err != nil {
					return err
				}
				defer d.Close()
				s.Line = s.Status.Line(d.Size())
				check, err := d.CheckBase()
				if err != nil {
					return err
				}
				s.Base = &check
				findings = append(findings[:len(findings):len(findings)], d.Outside()...)
			}
			for _, f := range findings {
				s.Findings = append(s.Findings, dmFinding{f, f.Severity(), f.String()})
			}
			s.warn()
			if a.json {
				if err := a.printJSON(s); err != nil || len(s.Warnings) == 0 {
					return err
				}
				return errWarned
			}
			a.printf("%s\n", s.Line)
			a.printDMStatus(s)
			return a.showWarnings(s.Warnings, errWarned)
		},
	}
	c.Flags().StringVar(&origin, "origin", "", "the image below: gives the whole line, and tells whether it is the right one")
	return c
}

// warn gathers what to warn of.
func (s *dmStatus) warn() {
	add := func(format string, args ...any) { s.Warnings = append(s.Warnings, fmt.Sprintf(format, args...)) }
	switch s.State {
	case dmmerge.Invalid:
		add("it is marked invalid: it overflowed, or an I/O error or lack of memory struck. What was flushed is intact; " +
			"relive dm recover or grow bring it back")
	case dmmerge.Unloadable:
		add("the kernel refuses to load it; relive dm recover or grow bring it back")
	}
	if s.DataAt >= 0 && s.DataAt < dmmerge.ResetBytes {
		add("its header is zero, but there is data in it from byte %d on: its header is lost, or it is no COW; relive dm recover --chunk "+
			"4K --dry-run tells whether there is anything to save", s.DataAt)
	}
	if s.Full && s.State == dmmerge.Valid {
		add("it is full: the next write to a chunk that it does not hold fails; relive dm grow enlarges it")
	}
	if s.Trap {
		add("its size of %d bytes is a trap: when the last area of metadata is full, the kernel writes past the end and invalidates it; "+
			"relive dm grow makes it a chunk larger", s.Size)
	}
	const most = 20
	for i, f := range s.Findings {
		if i == most {
			add("and %d more; --json lists all", len(s.Findings)-most)
			break
		}
		add("%s", f.Text)
	}
	if s.Base != nil && s.Base.Verdict == dmmerge.BaseDiffers {
		add("wrong origin: %s", s.Base.Reason)
	}
}

func (a *app) printDMStatus(s *dmStatus) {
	row := func(name, format string, args ...any) {
		a.printf("%-12s "+format+"\n", append([]any{name}, args...)...)
	}
	words := map[dmmerge.State]string{dmmerge.New: "new: never used, or only by a transient snapshot", dmmerge.Valid: "valid",
		dmmerge.Invalid: "marked invalid", dmmerge.Unloadable: "refused by the kernel"}
	row("cow", "%s, %s in chunks of %s, %s", s.File, bytesize.Format(s.Size), bytesize.Format(s.ChunkBytes), words[s.State])
	a.printInUse(s.InUse)
	row("holds", "%d chunks, %s of %s", s.Exceptions, bytesize.Format(int64(s.Exceptions)*s.ChunkBytes),
		bytesize.Format(int64(s.CapacityBytes)))
	row("left", "%d chunks, %s", s.ChunksLeft, bytesize.Format(int64(s.BytesLeft)))
	if s.DataAt >= dmmerge.ResetBytes {
		row("behind", "data from byte %d on, as in a COW that was emptied; no other verb but reset --force takes it for one", s.DataAt)
	}
	if s.Leaked > 0 {
		row("leaked", "%d chunks, %s: set aside when the power went; relive dm repack gives them back", s.Leaked,
			bytesize.Format(int64(s.Leaked)*s.ChunkBytes))
	}
	if s.Base != nil {
		row("origin", "%s: %s", s.Base.Verdict, s.Base.Reason)
	}
}

// dmRun is a run of chunks as JSON.
type dmRun struct {
	dmmerge.Run
	Start int64 `json:"start"` // in bytes of the device
	Bytes int64 `json:"bytes"`
}

func (a *app) dmLsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "ls COW",
		Short: "list the chunks that a COW holds",
		Long: `Lists the chunks that a COW holds by their place in the origin, a run of
neighbours a line: first chunk of the origin, first chunk of the COW, number of
chunks, first entry in the metadata. Of several entries for a chunk the earliest
is listed, which is the one that counts.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			cow, err := openCOW(c.Context(), args[0], false)
			if err != nil {
				return err
			}
			defer cow.Close()
			if a.json {
				runs := []dmRun{}
				for r := range cow.Runs {
					runs = append(runs, dmRun{r, int64(r.Old) * cow.ChunkBytes(), int64(r.Count) * cow.ChunkBytes()})
				}
				return a.printJSON(map[string]any{"chunk_bytes": cow.ChunkBytes(), "chunks": cow.Chunks(), "runs": runs})
			}
			out := bufio.NewWriterSize(a.stdout, 64<<10)
			for r := range cow.Runs {
				fmt.Fprintf(out, "%12d %12d %10d %10d\n", r.Old, r.New, r.Count, r.Entry)
			}
			return out.Flush()
		},
	}
}
