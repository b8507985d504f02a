package remaster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"relive/remaster/exclude"
	"relive/squash"
	"relive/squash/codec"
	"relive/tree"
)

// CompactOptions say how a live directory is compacted.
type CompactOptions struct {
	// Codec is the compressor, nil for that of the base with its options.
	Codec *codec.ID
	// Level is the compressor's level, 0 for the base's or its default.
	Level int
	// BlockSize in bytes, 0 for the base's.
	BlockSize int
	// Excludes leave paths out of the new base.
	Excludes []exclude.Rule
	// KeepOld is how many former states are kept beside the new one.
	KeepOld int
	// NoReset keeps the overlay as it is, stamped for the new base.
	NoReset bool
	// Stage leaves the new files for the next boot to take up.
	Stage bool
	// Output, where not empty, is a file that the new base is written to, and
	// nothing else is changed.
	Output string
	// Force goes on where the version ids do not match, and replaces Output.
	Force bool
	// FullVerify decodes all of the new base, also what was copied as stored.
	FullVerify bool
}

// MaxKeepOld is the most former states that can be kept.
const MaxKeepOld = 99

// CompactPlan is what a compaction will do.
type CompactPlan struct {
	live  *Live
	env   *Env
	o     CompactOptions
	root  *tree.Node // of the new base
	write *squash.Plan
	// resets take the place of the overlay; none where it stays or there is none.
	resets []part
	rules  []exclude.RuleCount
	// state is the hash of the overlay's state, now the time that all that is
	// made carries.
	state []byte
	now   tree.Time
	// version is the text of antiX's version files.
	version []byte

	Summary PlanSummary
}

// PlanSummary is the part of a plan that is shown.
type PlanSummary struct {
	Dir       string   `json:"dir"`
	Layout    string   `json:"layout"`
	Mode      string   `json:"mode"` // "swap", "stage" or "output"
	Output    string   `json:"output,omitempty"`
	KeepOld   int      `json:"keep_old"` // former states that are there afterwards, at most
	Codec     string   `json:"codec"`
	BlockSize int      `json:"block_size"`
	VID       string   `json:"vid,omitempty"`
	Inodes    uint64   `json:"inodes"`
	Bytes     int64    `json:"bytes"`
	Reused    uint64   `json:"files_reused"`
	Mixed     uint64   `json:"files_partly_reused"`
	Duplicate uint64   `json:"files_duplicate"`
	Copy      int64    `json:"bytes_to_copy"`
	Compress  int64    `json:"bytes_to_compress"`
	Repacked  int      `json:"fragment_blocks_repacked"`
	Dead      int64    `json:"dead_bytes_kept"`
	Estimate  int64    `json:"size_estimate"`
	Need      int64    `json:"space_needed"`
	Free      int64    `json:"space_free"`
	Excluded  int64    `json:"excluded_entries"`
	Steps     []string `json:"steps"`
	Warnings  []string `json:"warnings"`
}

// CompactResult is what a compaction did.
type CompactResult struct {
	Plan     PlanSummary `json:"plan"`
	OldSize  int64       `json:"old_size"`
	NewSize  int64       `json:"new_size"`
	Path     string      `json:"path"`
	MD5      string      `json:"md5,omitempty"`
	Seconds  float64     `json:"seconds"`
	Warnings []string    `json:"warnings"`
}

// PlanCompact looks at everything that a compaction depends on and decides
// what it will do. It changes nothing. What makes the compaction unsafe is a
// Refusal.
func (l *Live) PlanCompact(ctx context.Context, e *Env, o CompactOptions) (*CompactPlan, error) {
	p := &CompactPlan{live: l, env: e, o: o}
	p.Summary = PlanSummary{Dir: l.Dir, Layout: l.Layout.Name(), Mode: "swap", Output: o.Output, KeepOld: o.KeepOld, Steps: []string{}, Warnings: []string{}}
	switch {
	case o.Output != "" && (o.Stage || o.NoReset):
		return nil, withHint(&optionError{errors.New("--output writes one file and changes nothing, so that --stage and --no-reset have no meaning with it")}, "give one of them")
	case o.Output != "":
		p.Summary.Mode = "output"
	case o.Stage:
		p.Summary.Mode = "stage"
	}
	if err := p.checkState(); err != nil {
		return nil, err
	}
	if err := p.planTree(ctx); err != nil {
		return nil, err
	}
	if err := p.checkSpace(); err != nil {
		return nil, err
	}
	if p.Summary.Mode != "output" {
		for _, s := range p.steps(p.placeholders()) {
			p.Summary.Steps = append(p.Summary.Steps, s.String())
		}
	}
	return p, nil
}

func (p *CompactPlan) warn(format string, args ...any) {
	p.Summary.Warnings = append(p.Summary.Warnings, fmt.Sprintf(format, args...))
}

// isPartOf gives the name of the image that path is, by whatever name, or "".
func (l *Live) isPartOf(path string) string {
	st, err := os.Stat(path)
	if err != nil {
		return ""
	}
	for _, name := range append(l.files.together(), l.files.home) {
		if own, err := os.Stat(filepath.Join(l.Dir, name)); name != "" && err == nil && os.SameFile(st, own) {
			return name
		}
	}
	return ""
}

// planTree decides what the new base holds and how it is written.
func (p *CompactPlan) planTree(ctx context.Context) error {
	l, e, s := p.live, p.env, &p.Summary
	wo, err := p.writeOptions()
	if err != nil {
		return err
	}
	var newest tree.Time
	if p.state, newest, err = l.state(ctx); err != nil {
		return err
	}
	wo.MkfsTime = max(wo.MkfsTime, uint32(newest.Whole().Sec))
	if e.SourceDate != nil {
		wo.MkfsTime = uint32(tree.Time{Sec: *e.SourceDate}.Whole().Sec)
	}
	p.now = tree.Time{Sec: int64(wo.MkfsTime)}
	s.Codec, s.BlockSize = wo.Codec.ID.String(), wo.BlockSize

	root := l.Merged
	if len(p.o.Excludes) > 0 {
		set, err := exclude.New(p.o.Excludes)
		if err != nil {
			return err
		}
		e.phase("excludes", 0)
		if p.rules, err = set.Count(root); err != nil {
			return err
		}
		for _, r := range p.rules {
			s.Excluded += r.Entries
			if r.Matches == 0 {
				p.warn("the exclude %q (%s) matches nothing", r.Rule.Pattern, r.Rule.Source)
			}
		}
		root = set.Apply(root)
	}
	if p.root, err = l.Layout.system(p, root); err != nil {
		return err
	}

	e.phase("looking for what can be reused", 0)
	if p.write, err = squash.NewPlan(ctx, p.root, wo); err != nil {
		return err
	}
	st := &p.write.Stats
	s.Inodes, s.Bytes = st.Inodes, st.Bytes
	s.Reused, s.Mixed, s.Duplicate = st.ReusedFiles, st.MixedFiles, st.DuplicateFiles
	s.Copy, s.Compress, s.Repacked, s.Dead = st.CopyBytes, st.CompressBytes, st.RepackedBlocks, st.DeadBytes
	p.warnLosses(st)

	if l.Overlay == nil || p.o.Output != "" {
		return nil
	}
	p.resets, err = l.Layout.resets(p)
	return err
}

// salt is what decides a new base besides the old one and the overlay.
func (p *CompactPlan) salt() string {
	return fmt.Sprint(p.Summary.Codec, p.o.Level, p.Summary.BlockSize, p.o.Excludes)
}

// warnLosses tells what the new base cannot hold.
func (p *CompactPlan) warnLosses(st *squash.PlanStats) {
	acls := uint64(0)
	for name, n := range st.DroppedXattrs {
		if (tree.Xattr{Name: name}).IsACL() {
			acls += n
		} else {
			p.warn("SquashFS cannot hold the attribute %s, which %d files lose", name, n)
		}
	}
	if acls > 0 {
		p.warn("SquashFS cannot hold POSIX ACLs: %d are lost", acls)
	}
	if st.TimesOutOfRange > 0 {
		p.warn("SquashFS cannot hold times before 1970 and after 2106: %d are set to the nearest", st.TimesOutOfRange)
	}
}

// writeOptions joins what was asked for with what the base has.
func (p *CompactPlan) writeOptions() (squash.WriteOptions, error) {
	wo := squash.WriteOptionsLike(p.live.Base.Image)
	wo.Library, wo.Workers = p.env.Library, p.env.Jobs
	blockSize := wo.BlockSize
	if p.o.BlockSize != 0 {
		wo.BlockSize = p.o.BlockSize
	}
	if wo.BlockSize < squash.MinBlockSize || wo.BlockSize > squash.MaxBlockSize || wo.BlockSize&(wo.BlockSize-1) != 0 {
		return wo, withHint(&optionError{fmt.Errorf("block size %d", wo.BlockSize)}, "SquashFS knows 4K, 8K, 16K and so on to 1M")
	}
	switch {
	case p.o.Codec != nil && *p.o.Codec != wo.Codec.ID:
		wo.Codec = codec.DefaultOptions(*p.o.Codec, wo.BlockSize)
	case wo.BlockSize != blockSize && wo.Codec.ID == codec.XZ:
		filters := wo.Codec.Filters
		wo.Codec = codec.DefaultOptions(codec.XZ, wo.BlockSize)
		wo.Codec.Filters = filters
	}
	if p.o.Level != 0 {
		wo.Codec.Level = p.o.Level
	}
	if err := wo.Codec.Validate(wo.BlockSize); err != nil {
		return wo, withHint(&optionError{err}, "relive compact --help tells of --comp, --level and --block-size")
	}
	return wo, nil
}
