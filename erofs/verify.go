package erofs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"relive/erofs/internal/ondisk"
	"relive/tree"
)

// VerifyOptions say how Verify works.
type VerifyOptions struct {
	// Workers decode extents at the same time; 0 is one for each processor.
	Workers int
	// MaxFindings bounds the list of findings; 0 is 1000.
	MaxFindings int
	// Progress, if set, is told how many of the image's bytes are checked. Calls do
	// not overlap.
	Progress func(done, total int64)
}

// Finding is something that is wrong with an image.
type Finding struct {
	Place string // "inode 17: extent at 4096"
	Fact  string
	// Warning marks what no reader trips over: odd, but not damage.
	Warning bool
}

// String joins place and fact.
func (f Finding) String() string {
	if f.Place == "" {
		return f.Fact
	}
	return f.Place + ": " + f.Fact
}

// VerifyReport is what Verify found. It does not depend on the number of workers.
type VerifyReport struct {
	// Findings, in the order superblock, directories, extents.
	Findings []Finding
	// More is the number of findings beyond the limit.
	More int

	Inodes, Dirs, Files int64
	Entries             int64 // names in directories
	Extents             int64 // compressed ones; those that files share are counted once
	Stored, Decoded     int64 // their bytes
}

// Damaged tells whether there is a finding that is more than a warning.
func (v *VerifyReport) Damaged() bool {
	return slices.ContainsFunc(v.Findings, func(f Finding) bool { return !f.Warning })
}

// Verify checks a whole image: every directory entry with the inode that it names, its
// attributes and its link target, "." and "..", link counts, every index, and that
// every extent decodes to the length that it must have. Damage is no error but a
// finding in the report; the error is that of a cancelled context.
//
// Memory: some 100 bytes for each inode, and 64 MiB for the places of extents, which
// are read in their order.
func Verify(ctx context.Context, r *Reader, o VerifyOptions) (*VerifyReport, error) {
	if o.Workers <= 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	if o.MaxFindings <= 0 {
		o.MaxFindings = 1000
	}
	v := &verifier{r: r, o: o, ctx: ctx, links: map[uint64]links{}}
	for _, check := range []func(){v.checkBlocks, v.checkPacked, v.checkTree, v.checkLinks, v.run} {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		check()
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	for _, f := range v.found {
		v.report.Findings = append(v.report.Findings, f.Finding)
	}
	return &v.report, nil
}

// links are the names of an inode that was found.
type links struct {
	names, nlink uint32
	directory    bool
}

// verifier is the state of one Verify.
type verifier struct {
	r      *Reader
	o      VerifyOptions
	ctx    context.Context
	report VerifyReport

	links map[uint64]links

	jobs []job // whose bytes are still to be read

	mu    sync.Mutex // of found, seq, the report and done
	found []orderedFinding
	seq   int64 // of the last finding, or of the first job
	done  int64
}

// orderedFinding is a finding, and where in the list it belongs.
type orderedFinding struct {
	Finding
	order int64
}

// job is a run of stored bytes.
type job struct {
	key    extentKey
	nid    uint64
	start  int64 // in the file
	stream bool  // it decodes
}

// jobsMax is how many are gathered before they are run.
const jobsMax = 1 << 20

func (v *verifier) next() int64 {
	v.seq++
	return v.seq
}

// add puts a finding in its place.
func (v *verifier) add(order int64, f Finding) {
	v.mu.Lock()
	defer v.mu.Unlock()
	at, _ := slices.BinarySearchFunc(v.found, order, func(f orderedFinding, order int64) int { return cmp.Compare(f.order, order) })
	v.found = slices.Insert(v.found, at, orderedFinding{f, order})
	if len(v.found) > v.o.MaxFindings {
		v.found = v.found[:v.o.MaxFindings]
		v.report.More++
	}
}

// fault adds damage, and warn what is none.
func (v *verifier) fault(err error) { v.add(v.next(), finding(err)) }

func (v *verifier) warn(place string, err error) {
	f := finding(err)
	v.add(v.next(), Finding{Place: place, Fact: f.Fact, Warning: true})
}

// finding makes a finding of an error.
func finding(err error) Finding {
	var f *tree.FormatError
	if !errors.As(err, &f) {
		return Finding{Fact: err.Error()}
	}
	g := *f
	g.File, g.Place = "", ""
	return Finding{Place: f.Place, Fact: g.Error()}
}

// checkBlocks compares the length of the file with that which the image has.
func (v *verifier) checkBlocks() {
	r := v.r
	if want := r.blockAt(uint64(r.super.Blocks)); want > r.size {
		v.warn("superblock", r.corrupt("", "the image has %d blocks, %d bytes, and the file %d: it may be cut short", r.super.Blocks,
			want, r.size))
	}
}

// checkPacked notes what the packed inode is made of.
func (v *verifier) checkPacked() {
	if c, ok := v.r.packed.(*content); ok {
		v.content(c)
	}
}

// checkTree reads every directory with all that it names, and notes what files are
// made of.
func (v *verifier) checkTree() {
	r := v.r
	type level struct {
		nid, parent uint64
		depth       int
	}
	todo := []level{{r.root, r.root, 0}}
	v.links[r.root] = links{names: 1, directory: true}
	for len(todo) > 0 && v.ctx.Err() == nil {
		l := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		n, err := r.readInode(l.nid)
		if err == nil && n.typ != tree.Directory {
			err = r.corrupt(n.place(), "is a %s, no directory", n.typ) // the root
		}
		if err == nil && l.depth >= tree.MaxDepth {
			err = tree.Unsupported(r.name, "directory "+n.place(), "directories nest deeper than %d", tree.MaxDepth)
		}
		if err == nil {
			_, err = (&nodeMaker{r: r}).node("", &n)
		}
		if err != nil {
			v.fault(err)
			continue
		}
		v.report.Inodes++
		v.report.Dirs++
		below := len(todo)
		if err := v.directory(&n, l.parent, func(child *inode) {
			todo = append(todo, level{child.nid, l.nid, l.depth + 1})
		}); err != nil {
			v.fault(err)
		}
		slices.Reverse(todo[below:]) // the first is read first
	}
}

// directory checks a directory, and calls sub for those in it.
func (v *verifier) directory(n *inode, parent uint64, sub func(*inode)) error {
	r := v.r
	d := dir{data: *r.fileData(n)}
	if err := v.dots(&d, n, parent); err != nil {
		return err
	}
	o, err := d.open()
	if err != nil {
		return err
	}
	m := nodeMaker{r: r}
	return o.each(func(e entry) error {
		v.report.Entries++
		child, err := d.inode(&e)
		known := v.links[child.nid]
		if err == nil {
			_, err = m.node(e.name, &child)
		}
		if err != nil {
			v.fault(tree.Within(err, "%s: entry %q", d.place(), e.name))
			return nil
		}
		known.nlink, known.directory = child.nlink, child.typ == tree.Directory
		known.names++
		v.links[child.nid] = known
		if known.names > 1 {
			return v.ctx.Err()
		}
		switch child.typ {
		case tree.Directory:
			sub(&child)
		case tree.Regular:
			v.report.Inodes++
			v.report.Files++
			c, err := r.fileData(&child).open(false)
			if err != nil {
				v.fault(err)
				return nil
			}
			v.content(c.(*content))
		default:
			v.report.Inodes++
		}
		return v.ctx.Err()
	})
}

// dots looks at "." and "..", which nothing but the kernel's own callers ask for.
func (v *verifier) dots(d *dir, n *inode, parent uint64) error {
	o, err := d.open()
	if err != nil {
		return err
	}
	want := map[string]uint64{".": n.nid, "..": parent}
	if n.Format&ondisk.FormatShort != 0 {
		delete(want, ".")
	}
	if o.blocks() > 0 {
		entries, err := o.block(0)
		if err != nil {
			return err
		}
		for _, e := range entries {
			nid, ok := want[e.name]
			if ok && nid != e.nid {
				v.warn(d.place(), v.r.corrupt("", "%q is inode %d, not %d", e.name, e.nid, nid))
			}
			delete(want, e.name)
		}
	}
	for _, name := range []string{".", ".."} {
		if _, ok := want[name]; ok {
			v.warn(d.place(), v.r.corrupt("", "has no entry %q in its first block", name))
		}
	}
	return nil
}

// checkLinks compares link counts with names.
func (v *verifier) checkLinks() {
	var odd []uint64
	for nid, l := range v.links {
		if !l.directory && l.names != l.nlink {
			odd = append(odd, nid)
		}
	}
	slices.Sort(odd)
	for _, nid := range odd {
		l := v.links[nid]
		v.warn(inodePlace(nid), v.r.corrupt("", "counts %d links and has %d names", l.nlink, l.names))
	}
	v.links = nil
}

// content notes what is to be read of a file.
func (v *verifier) content(c *content) {
	d := c.d
	for off := int64(0); off < d.size && v.ctx.Err() == nil; {
		end, err := v.piece(c, off)
		if err != nil {
			v.fault(tree.Within(err, "%s", d.place()))
			return
		}
		off = end
	}
}

// piece notes the bytes of a piece, and gives where it ends.
func (v *verifier) piece(c *content, off int64) (end int64, err error) {
	switch f := c.pieces.(type) {
	case *compressed:
		e, err := f.at(off)
		if err != nil {
			return 0, err
		}
		switch e.form {
		case formStream:
			v.job(job{extentKey{e.pos, e.stored, int(e.len()), e.algo, e.partial}, c.d.nid, e.start, true})
		case formPlain, formInterlaced:
			v.job(job{extentKey{pos: e.pos, stored: e.stored}, c.d.nid, e.start, false})
		}
		return e.end, nil
	case *flat:
		switch {
		case f.d.hole:
			return c.d.size, nil
		case off < f.blocks:
			return v.stored(c.d.nid, off, f.start+off, f.blocks-off)
		}
		return v.stored(c.d.nid, off, f.d.tail, c.d.size-off)
	case *chunks:
		i := off >> f.bits
		at, hole, err := f.chunk(i)
		if err != nil {
			return 0, err
		}
		if i == (c.d.size-1)>>f.bits {
			end = c.d.size
		} else {
			end = (i + 1) << f.bits
		}
		if hole {
			return end, nil
		}
		return v.stored(c.d.nid, off, at, end-off)
	}
	return c.d.size, nil
}

// readSize is how much is read at once of what is stored as it is.
const readSize = 1 << 20

// stored notes bytes that are stored as they are, and gives where in the file they
// end.
func (v *verifier) stored(nid uint64, off, pos, n int64) (end int64, err error) {
	if pos < 0 || pos > v.r.size || n > v.r.size-pos {
		return 0, v.r.corrupt(fmt.Sprintf("offset %d", pos), "%d bytes reach past the end of the image at %d", n, v.r.size)
	}
	for done := int64(0); done < n; done += readSize {
		v.job(job{extentKey{pos: pos + done, stored: int(min(n-done, readSize))}, nid, off + done, false})
	}
	return off + n, nil
}

func (v *verifier) job(j job) {
	if v.jobs = append(v.jobs, j); len(v.jobs) == jobsMax {
		v.run()
	}
}

// run reads what was noted, in the order of the image, and what is equal once.
func (v *verifier) run() {
	slices.SortFunc(v.jobs, func(a, b job) int {
		x, y := &a.key, &b.key
		streams := 0
		if a.stream != b.stream {
			if streams = 1; a.stream {
				streams = -1
			}
		}
		partial := 0
		if x.partial != y.partial {
			if partial = 1; y.partial {
				partial = -1
			}
		}
		return cmp.Or(cmp.Compare(x.pos, y.pos), streams, cmp.Compare(x.stored, y.stored), cmp.Compare(x.size, y.size),
			cmp.Compare(x.algo, y.algo), partial, cmp.Compare(a.nid, b.nid), cmp.Compare(a.start, b.start))
	})
	jobs := slices.CompactFunc(v.jobs, func(a, b job) bool { return a.key == b.key && a.stream == b.stream })
	first := v.seq + 1
	v.seq += int64(len(jobs))
	var taken atomic.Int64
	var wg sync.WaitGroup
	for range min(v.o.Workers, len(jobs)) {
		wg.Go(func() {
			var buf []byte
			for v.ctx.Err() == nil {
				i := taken.Add(1) - 1
				if i >= int64(len(jobs)) {
					return
				}
				buf = v.read(&jobs[i], first+i, buf)
			}
		})
	}
	wg.Wait()
	v.jobs = v.jobs[:0]
}

// read reads the bytes of a job, through a buffer which it may replace.
func (v *verifier) read(j *job, order int64, buf []byte) []byte {
	n := j.key.stored
	if j.stream {
		n = j.key.size
	}
	if n > cap(buf) {
		buf = make([]byte, n)
	}
	var err error
	if j.stream {
		err = v.r.decode(buf[:n], j.key)
	} else {
		err = v.r.read(buf[:n], j.key.pos)
	}
	if err != nil {
		v.add(order, finding(tree.Within(err, "%s: extent at %d", inodePlace(j.nid), j.start)))
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if j.stream {
		v.report.Extents++
		v.report.Stored += int64(j.key.stored)
		v.report.Decoded += int64(j.key.size)
	}
	v.done += int64(j.key.stored)
	if v.o.Progress != nil {
		v.o.Progress(min(v.done, v.r.size), v.r.size)
	}
	return buf
}
