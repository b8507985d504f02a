package remaster

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"relive/overlay"
	"relive/remaster/exclude"
	"relive/remaster/hostdisk"
	"relive/remaster/swap"
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
	fresh *freshRootfs // nil where the overlay stays or there is none
	rules []exclude.RuleCount

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
		for _, s := range p.steps(placeholders) {
			p.Summary.Steps = append(p.Summary.Steps, s.String())
		}
	}
	return p, nil
}

func (p *CompactPlan) warn(format string, args ...any) {
	p.Summary.Warnings = append(p.Summary.Warnings, fmt.Sprintf(format, args...))
}

// checkState refuses what would be unsafe.
func (p *CompactPlan) checkState() error {
	l, o := p.live, &p.o
	if l.Overlay == nil && len(o.Excludes) == 0 && o.Codec == nil && o.BlockSize == 0 && o.Output == "" {
		return refuse("there is nothing to fold in; --comp, -b or -e rebuild the base all the same", "%s: there is no rootfs", l.Dir)
	}
	vids, err := l.VIDs()
	if err != nil {
		return err
	}
	if !vids.State.Used() && vids.State != VIDNoOverlay && !o.Force {
		return refuse("the rootfs was written over another linuxfs, and a boot ignores it; if you know that it belongs to this one, use --force",
			"%s: the version ids of linuxfs (%s) and rootfs (%s) do not match", l.Dir, orNone(vids.Base), orNone(vids.Overlay))
	}
	if l.Overlay != nil {
		info := l.Overlay.FS.Info()
		warnings, err := l.overlayWarnings()
		if err != nil {
			return err
		}
		p.Summary.Warnings = append(p.Summary.Warnings, warnings...)
		if !info.Clean && !info.NeedsRecovery {
			p.warn("rootfs was not unmounted cleanly and has no journal; what was written last may be incomplete")
		}
	}
	if o.Output != "" {
		if name := l.isPartOf(o.Output); name != "" {
			return refuse("name another file, or compact without -o", "%s: is the %s of the live directory itself", o.Output, name)
		}
		if _, err := os.Lstat(o.Output); err == nil && !o.Force {
			return refuse("name another file, or use --force to replace it", "%s: exists already", o.Output)
		}
		return p.checkInUse(false)
	}
	if err := p.checkInUse(!o.Stage); err != nil {
		return err
	}
	for _, name := range []string{antixBase + ".new", antixRoot + ".new"} {
		if exists(filepath.Join(l.Dir, name)) {
			return refuse("boot once so that it is taken up, or remove the .new files", "%s: %s is pending: the next boot would take it up", l.Dir, name)
		}
	}
	if o.Stage {
		for _, name := range []string{antixBase + ".old", antixBase + ".bad"} {
			if exists(filepath.Join(l.Dir, name)) {
				return refuse("move it away, or compact without --stage", "%s: %s is there, and a boot takes up a staged linuxfs only where it is not", l.Dir, name)
			}
		}
	}
	if o.NoReset && l.Overlay != nil && l.Overlay.Union != nil {
		rep, err := l.Overlay.Union.Report()
		if err != nil {
			return fmt.Errorf("rootfs: %w", err)
		}
		if rep.Redirects+rep.Metacopies+rep.IndexEntries > 0 {
			return refuse("compact without --no-reset", "%s: rootfs refers to files of its base (%d redirects, %d metacopies, %d index entries), so it cannot go on above another",
				l.Dir, rep.Redirects, rep.Metacopies, rep.IndexEntries)
		}
	}
	return nil
}

// isPartOf gives the name of the image that path is, by whatever name, or "".
func (l *Live) isPartOf(path string) string {
	st, err := os.Stat(path)
	if err != nil {
		return ""
	}
	for _, name := range []string{antixBase, antixRoot, antixHome} {
		if own, err := os.Stat(filepath.Join(l.Dir, name)); err == nil && os.SameFile(st, own) {
			return name
		}
	}
	return ""
}

func orNone(v VID) string {
	if v == "" {
		return "none"
	}
	return string(v)
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// checkInUse refuses while the files are mounted. A mounted base can still be
// read and staged for, but not replaced.
func (p *CompactPlan) checkInUse(base bool) error {
	paths := []string{}
	if p.live.Overlay != nil {
		paths = append(paths, p.live.Overlay.Path)
	}
	if base {
		paths = append(paths, p.live.Base.Path)
	}
	for _, path := range paths {
		why, err := hostdisk.InUse("/", path)
		if err != nil {
			return err
		}
		if why == "" {
			continue
		}
		hint := "shut the live system down and compact from another one, or unmount it"
		if path == p.live.Base.Path {
			hint += "; --stage prepares files for the next boot instead"
		}
		return refuse(hint, "%s: in use: %s", path, why)
	}
	return nil
}

// planTree decides what the new base holds and how it is written.
func (p *CompactPlan) planTree(ctx context.Context) error {
	l, e, s := p.live, p.env, &p.Summary
	wo, err := p.writeOptions()
	if err != nil {
		return err
	}
	oldText, err := readVersionFile(l.Base.Root, baseVIDFile)
	if err != nil {
		return err
	}
	vid, newest, err := l.freshVID(ctx, parseVID(oldText), fmt.Sprint(wo.Codec, wo.BlockSize, p.o.Excludes))
	if err != nil {
		return err
	}
	wo.MkfsTime = max(wo.MkfsTime, uint32(newest.Whole().Sec))
	if e.SourceDate != nil {
		wo.MkfsTime = uint32(tree.Time{Sec: *e.SourceDate}.Whole().Sec)
	}
	now := tree.Time{Sec: int64(wo.MkfsTime)}
	text := versionFile(vid, oldText, now.Time())
	s.VID = string(vid)

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
	var edits tree.Edits
	for _, path := range antixDropped {
		edits.Remove(path)
	}
	stamp := tree.NewFile("", 0o644, text)
	stamp.Mtime = now
	edits.Put(baseVIDFile, stamp)
	if p.root, err = edits.Apply(root); err != nil {
		return err
	}

	e.phase("looking for what can be reused", 0)
	if p.write, err = squash.NewPlan(ctx, p.root, wo); err != nil {
		return err
	}
	st := &p.write.Stats
	s.Codec, s.BlockSize = wo.Codec.ID.String(), wo.BlockSize
	s.Inodes, s.Bytes = st.Inodes, st.Bytes
	s.Reused, s.Mixed, s.Duplicate = st.ReusedFiles, st.MixedFiles, st.DuplicateFiles
	s.Copy, s.Compress, s.Repacked, s.Dead = st.CopyBytes, st.CompressBytes, st.RepackedBlocks, st.DeadBytes
	p.warnLosses(st)

	if l.Overlay == nil || p.o.Output != "" {
		return nil
	}
	if p.o.NoReset {
		tree, err := restamped(l.Overlay, text, now)
		if err != nil {
			return err
		}
		p.fresh, err = planRootfs(l.Overlay, tree, now)
		return err
	}
	p.fresh, err = planFreshRootfs(l.Overlay, p.root, text, now)
	if err == nil && len(p.fresh.dropped) > 0 {
		p.warn("the new rootfs does without the features %v of the old one", p.fresh.dropped)
	}
	return err
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

// estimate foretells the size of the new base: what is copied, what is
// compressed at the base's own ratio and a quarter more, the tables at the
// base's size for each inode.
func (p *CompactPlan) estimate() (int64, error) {
	st := &p.write.Stats
	sb := p.live.Base.Image.Superblock()
	var content int64
	err := p.live.Base.Image.ScanInodes(func(n squash.InodeInfo) error {
		content += n.Size
		return nil
	})
	if err != nil {
		return 0, err
	}
	ratio := 1.0
	if content > 0 {
		ratio = min(1, 1.25*float64(sb.InodeTableStart)/float64(content))
	}
	tables := int64(float64(sb.BytesUsed-sb.InodeTableStart) * 1.25 * float64(st.Inodes) / float64(max(sb.InodeCount, 1)))
	return st.CopyBytes + int64(float64(st.CompressBytes)*ratio) + tables + 64<<10, nil
}

// checkSpace refuses where the new files cannot fit.
func (p *CompactPlan) checkSpace() error {
	s := &p.Summary
	var err error
	if s.Estimate, err = p.estimate(); err != nil {
		return err
	}
	s.Need = s.Estimate
	dir := p.live.Dir
	if p.o.Output != "" {
		dir = filepath.Dir(p.o.Output)
	} else {
		if p.fresh != nil {
			s.Need += p.rootfsNeed()
		}
		for _, name := range p.twins() {
			n, err := treeSize(filepath.Join(dir, name))
			if err != nil {
				return err
			}
			s.Need += n
		}
	}
	if s.Free, err = hostdisk.FreeSpace(dir); err != nil {
		return err
	}
	if s.Need > s.Free {
		hint := "free some space, or use -o to write the new linuxfs to another disk"
		if old := filepath.Join(p.live.Dir, antixBase+".old"); exists(old) && p.o.Output == "" {
			hint = "linuxfs.old and rootfs.old hold a former state; remove them if you do not need to roll back, " + hint
		}
		return refuse(hint, "%s: not enough space: about %s needed, %s free", dir, Bytes(s.Need), Bytes(s.Free))
	}
	limit, err := hostdisk.MaxFileSize(dir)
	if err != nil {
		return err
	}
	if s.Estimate > limit {
		return refuse("choose a stronger codec with --comp, or leave things out with -e",
			"%s: the new linuxfs would have about %s, and a file on this file system cannot have more than %s", dir, Bytes(s.Estimate), Bytes(limit))
	}
	return nil
}

// rootfsNeed is the space that the new rootfs takes on the host.
func (p *CompactPlan) rootfsNeed() int64 {
	o := p.live.Overlay
	sparse, err := hostdisk.HoldsHoles(p.live.Dir)
	if err != nil || !sparse {
		return o.Size
	}
	if p.o.NoReset {
		return o.Allocated
	}
	return min(o.Size, 2<<20+o.Size/16) // the journal, and the tables of a small file system
}

// twins are the files that init renames with linuxfs and that are to exist on
// both sides of a roll-back, by name.
func (p *CompactPlan) twins() (names []string) {
	for _, name := range antixMakeOld {
		if name == antixRoot || name == antixMD5 {
			continue
		}
		if exists(filepath.Join(p.live.Dir, name)) {
			names = append(names, name)
		}
	}
	return names
}

func treeSize(path string) (n int64, err error) {
	err = filepath.WalkDir(path, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil {
			n += info.Size()
		}
		return err
	})
	return n, err
}

// newFiles are the names of the temporary files, relative to the directory.
type newFiles struct{ base, md5, info, root string }

var placeholders = newFiles{"(new linuxfs)", "(new linuxfs.md5)", "(new linuxfs.info)", "(new rootfs)"}

// steps gives what is renamed, in the order in which it is safe.
func (p *CompactPlan) steps(f newFiles) []swap.Step {
	if p.o.Stage {
		return p.stageSteps(f)
	}
	var steps []swap.Step
	dir, keep := p.live.Dir, p.o.KeepOld
	kept := func(name string) string {
		if keep == 0 {
			return ""
		}
		return generation(name, 1)
	}
	names := append([]string{antixBase, antixInfo}, antixMakeOld...)
	for _, name := range names {
		steps = append(steps, rotate(dir, name, keep)...)
	}
	steps = append(steps, swap.Replace{New: f.base, Target: antixBase, Keep: kept(antixBase)},
		swap.Replace{New: f.md5, Target: antixMD5, Keep: kept(antixMD5)},
		swap.Replace{New: f.info, Target: antixInfo, Keep: kept(antixInfo)})
	if p.fresh != nil {
		steps = append(steps, swap.Replace{New: f.root, Target: antixRoot, Keep: kept(antixRoot)})
	}
	if keep > 0 {
		for _, name := range p.twins() {
			steps = append(steps, swap.Copy{From: name, To: generation(name, 1)})
		}
	}
	return steps
}

// rotate makes room for a new first generation, by moving each kept one a place
// on and removing what is beyond keep. A generation need not have every file.
func rotate(dir, name string, keep int) (steps []swap.Step) {
	for n := MaxKeepOld; n >= 1; n-- {
		if !exists(filepath.Join(dir, generation(name, n))) {
			continue
		}
		if n >= keep {
			steps = append(steps, swap.Remove{Path: generation(name, n)})
		} else {
			steps = append(steps, swap.Move{From: generation(name, n), To: generation(name, n+1)})
		}
	}
	return steps
}

// stageSteps puts the .new files in place; linuxfs.new, which a boot looks for,
// comes last.
func (p *CompactPlan) stageSteps(f newFiles) []swap.Step {
	var steps []swap.Step
	if exists(filepath.Join(p.live.Dir, "state")) {
		if exists(filepath.Join(p.live.Dir, "state.new")) {
			steps = append(steps, swap.Remove{Path: "state.new"})
		}
		steps = append(steps, swap.Copy{From: "state", To: "state.new"})
	}
	if p.fresh != nil {
		steps = append(steps, swap.Replace{New: f.root, Target: antixRoot + ".new"})
	}
	return append(steps,
		swap.Replace{New: f.info, Target: antixInfo},
		swap.Replace{New: f.md5, Target: antixMD5 + ".new"},
		swap.Replace{New: f.base, Target: antixBase + ".new"})
}

// Run does what the plan says.
func (p *CompactPlan) Run(ctx context.Context) (*CompactResult, error) {
	start := time.Now()
	res := &CompactResult{Plan: p.Summary, OldSize: p.live.Base.Size, Warnings: p.Summary.Warnings}
	var err error
	if p.o.Output != "" {
		err = p.runOutput(ctx, res)
	} else {
		err = p.runSwap(ctx, res)
	}
	if err != nil {
		return nil, spaceHint(err)
	}
	res.Seconds = time.Since(start).Seconds()
	return res, nil
}

// runOutput writes the new base to a file of its own.
func (p *CompactPlan) runOutput(ctx context.Context, res *CompactResult) error {
	temp := p.o.Output + ".relive-tmp"
	// A file of that name is what an interrupted run has left.
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	_, sum, err := p.makeBase(ctx, temp, res)
	if err == nil {
		err = os.Rename(temp, p.o.Output)
	}
	if err == nil {
		err = swap.OS{}.SyncDir(filepath.Dir(p.o.Output))
	}
	if err != nil {
		os.Remove(temp)
		return err
	}
	res.Path, res.MD5 = p.o.Output, sum
	return nil
}

// runSwap makes all new files and puts them in place in one transaction.
func (p *CompactPlan) runSwap(ctx context.Context, res *CompactResult) (err error) {
	txn, err := swap.Begin(swap.OS{}, p.live.Dir, swap.Info{Verb: "compact", Started: time.Now(), Tool: p.env.Tool})
	if err != nil {
		return err
	}
	defer func() {
		if err != nil && !errors.Is(err, swap.ErrUnfinished) {
			err = errors.Join(err, txn.Abort())
		}
	}()
	var f newFiles
	path, err := txn.Temp(antixBase)
	if err != nil {
		return err
	}
	f.base = txn.Name(path)
	rep, sum, err := p.makeBase(ctx, path, res)
	if err != nil {
		return err
	}
	if f.md5, err = p.small(txn, antixMD5, fmt.Sprintf("%s  %s\n", sum, antixBase)); err != nil {
		return err
	}
	content := p.write.Stats.Bytes + rep.TableBytes
	if f.info, err = p.small(txn, antixInfo, fmt.Sprintf("UncompressedSizeKB=%d\n", (content+1023)/1024)); err != nil {
		return err
	}
	if p.fresh != nil {
		if path, err = txn.Temp(antixRoot); err != nil {
			return err
		}
		f.root = txn.Name(path)
		p.env.phase("new rootfs", 0)
		if err := p.fresh.build(ctx, path, p.live.Overlay.Path); err != nil {
			return err
		}
		if err := p.fresh.check(ctx, path); err != nil {
			return err
		}
	}
	p.env.phase("putting the new files in place", 0)
	txn.Plan(p.steps(f)...)
	if err := txn.Commit(ctx); err != nil {
		return err
	}
	res.Path, res.MD5 = p.live.Base.Path, sum
	if p.o.Stage {
		res.Path += ".new"
	}
	return nil
}

// small writes a small temporary file.
func (p *CompactPlan) small(txn *swap.Txn, name, text string) (string, error) {
	path, err := txn.Temp(name)
	if err != nil {
		return "", err
	}
	return txn.Name(path), os.WriteFile(path, []byte(text), 0o644)
}

// createLike makes a new file with the mode and owner of the one that it is to
// take the place of. Where the file system or the user may not set them, the
// file has what a new file gets.
func createLike(path, former string) (*os.File, error) {
	st, err := os.Stat(former)
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, st.Mode().Perm())
	if err != nil {
		return nil, err
	}
	if owner, ok := st.Sys().(*syscall.Stat_t); ok {
		_ = f.Chown(int(owner.Uid), int(owner.Gid))
	}
	_ = f.Chmod(st.Mode().Perm()) // past the umask
	return f, nil
}

// makeBase writes the new base, makes it durable, reads it back and compares
// it with the tree that it was made from.
func (p *CompactPlan) makeBase(ctx context.Context, path string, res *CompactResult) (*squash.WriteReport, string, error) {
	create := func() (*os.File, error) { return createLike(path, p.live.Base.Path) }
	if p.o.Output != "" {
		create = func() (*os.File, error) { return os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o666) }
	}
	out, err := create()
	if err != nil {
		return nil, "", err
	}
	defer out.Close()
	st := &p.write.Stats
	p.env.phase("writing linuxfs", st.CopyBytes+st.CompressBytes)
	p.write.OnProgress(func(w squash.WriteProgress) { p.env.done(w.Copied + w.Compressed) })
	rep, err := p.write.Write(ctx, out, 0)
	if err != nil {
		return nil, "", fmt.Errorf("writing %s: %w", path, err)
	}
	p.env.phase("syncing", 0)
	if err := out.Sync(); err != nil {
		return nil, "", fmt.Errorf("writing %s: %w", path, err)
	}
	dropCache(out)
	if err := out.Close(); err != nil {
		return nil, "", fmt.Errorf("writing %s: %w", path, err)
	}
	sum, err := p.readBack(ctx, path)
	if err != nil {
		return nil, "", err
	}
	res.NewSize = rep.Size
	return rep, hex.EncodeToString(sum), nil
}

// layerForm names the form of an overlay.
func layerForm(f overlay.Form) string {
	if f == overlay.Aufs {
		return "aufs"
	}
	return "overlayfs"
}
