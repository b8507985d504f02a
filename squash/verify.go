package squash

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"

	"relive/squash/internal/ondisk"
	"relive/tree"
)

// VerifyOptions say how Verify works.
type VerifyOptions struct {
	// Workers decode blocks at the same time; 0 is one for each processor.
	Workers int
	// MaxFindings bounds the list of findings; 0 is 1000.
	MaxFindings int
	// Progress, if set, is told how many of the stored bytes of data and
	// fragment blocks are checked. Calls do not overlap.
	Progress func(done, total int64)
}

// Finding is something that is wrong with an image.
type Finding struct {
	Place string // "inode 17: block 3"
	Fact  string
	// Warning marks what no reader trips over: wasted or odd, but not damage.
	Warning bool
}

// String joins place and fact.
func (f Finding) String() string {
	if f.Place == "" {
		return f.Fact
	}
	return f.Place + ": " + f.Fact
}

// VerifyReport is what Verify found. It does not depend on the number of
// workers.
type VerifyReport struct {
	// Findings, in the order tables, inodes, directories, attributes, blocks.
	Findings []Finding
	// More is the number of findings beyond the limit. At least that many: what
	// is past the limit may cut a check short.
	More int

	Inodes, Dirs, Files  int64
	Entries              int64 // names in directories
	XattrSets            int64 // entries of the xattr id table
	Blocks, Holes        int64 // data blocks, with shared ones counted once, and holes
	Fragments            int64 // fragment blocks
	Stored, DecodedBytes int64 // bytes of these blocks in the image and decoded
}

// Damaged reports whether there is a finding that is more than a warning.
func (v *VerifyReport) Damaged() bool {
	return slices.ContainsFunc(v.Findings, func(f Finding) bool { return !f.Warning })
}

// Verify checks a whole image: the order and the exact sizes of tables that
// Linux insists on when it mounts one, every metadata block, every inode,
// whether a directory names it or not, every directory entry with the inode
// that it names, link counts, parents, directory indexes, the export table, all
// extended attributes, and that every data and fragment block decodes to the
// length that it must have. Damage is no error but a finding in the report; the
// error is that of a cancelled context.
//
// Memory: some 100 bytes for each inode.
func Verify(ctx context.Context, r *Reader, o VerifyOptions) (*VerifyReport, error) {
	if o.Workers <= 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	if o.MaxFindings <= 0 {
		o.MaxFindings = 1000
	}
	v := &verifier{r: r, o: o, ctx: ctx, numbers: map[uint32]uint64{}, needs: make(map[uint32]tailNeed)}
	for _, check := range []func(){
		v.checkMount, v.checkTables, v.scanInodes, v.checkDirs, v.checkLinks, v.checkExports, v.checkXattrs, v.checkBlocks,
	} {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		v.phase++
		check()
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	v.trim()
	for _, f := range v.found {
		v.report.Findings = append(v.report.Findings, f.Finding)
	}
	return &v.report, nil
}

// verifier is the state of one Verify.
type verifier struct {
	r      *Reader
	o      VerifyOptions
	ctx    context.Context
	report VerifyReport
	phase  int

	mu     sync.Mutex // of found, nFound, seq and the report's counts of blocks
	found  []orderedFinding
	nFound int
	seq    int64

	progressMu  sync.Mutex
	done, total int64 // stored bytes

	dirChain blockChain // of the directory table
	pairs    blockChain // of the xattr pairs

	inodes   []scannedInode    // in the order of the table, so sorted by ref
	numbers  map[uint32]uint64 // bitmap of the inode numbers that were seen
	complete bool              // the scan read the whole inode table
	listed   int64             // bytes of all listings that were read
	barrier  ondisk.Ref        // all of the inode table before it is scanned or lost
	runs     []blockRun
	needs    map[uint32]tailNeed // by fragment
	xattrUse []uint64            // bitmap of the xattr ids that inodes name
}

// orderedFinding is a finding and its place in the report.
type orderedFinding struct {
	Finding
	phase int
	seq   int64
}

// add notes a finding. seq orders those of one phase; a negative one puts it
// behind all before.
func (v *verifier) add(seq int64, f Finding) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if seq < 0 {
		v.seq++
		seq = v.seq
	}
	v.nFound++
	v.found = append(v.found, orderedFinding{f, v.phase, seq})
	if len(v.found) >= 2*v.o.MaxFindings+1000 {
		v.trimLocked()
	}
}

// trim sorts the findings and drops those over the limit.
func (v *verifier) trim() {
	v.mu.Lock()
	v.trimLocked()
	v.mu.Unlock()
}

func (v *verifier) trimLocked() {
	slices.SortStableFunc(v.found, func(a, b orderedFinding) int {
		if a.phase != b.phase {
			return a.phase - b.phase
		}
		return int(max(min(a.seq-b.seq, 1), -1))
	})
	v.found = v.found[:min(len(v.found), v.o.MaxFindings)]
	v.report.More = v.nFound - len(v.found)
}

// full tells that so much is wrong that a table need not be read on.
func (v *verifier) full() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.nFound >= 10*v.o.MaxFindings
}

// stop tells that a check should end.
func (v *verifier) stop() bool { return v.ctx.Err() != nil || v.full() }

func (v *verifier) fault(place, fact string, args ...any) {
	v.add(-1, Finding{Place: place, Fact: fmt.Sprintf(fact, args...)})
}

func (v *verifier) warn(place, fact string, args ...any) {
	v.add(-1, Finding{Place: place, Fact: fmt.Sprintf(fact, args...), Warning: true})
}

// err notes an error as a finding.
func (v *verifier) err(err error) { v.add(-1, findingOf(err)) }

// findingOf takes the image's name out of an error, which the report is about.
func findingOf(err error) Finding {
	var f *tree.FormatError
	if !errors.As(err, &f) {
		return Finding{Fact: err.Error()}
	}
	g := *f
	g.File, g.Place = "", ""
	return Finding{Place: f.Place, Fact: g.Error()}
}
