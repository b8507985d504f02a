package erofs

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"relive/internal/hostcopy"
	"relive/internal/progress"
	"relive/tree"
)

// writer writes an image.
//
// Three parties work on it. The feeder goes through the tree and makes a job of each
// run of content, each inode and each directory. Content is read and compressed in
// goroutines of its own, which borrow one of as many compressors as there are workers.
// The collector takes the jobs in their order, writes extents, fills packed data, and
// writes inodes and directories. Beside them ranges are copied whose places the plan
// knows. What is written depends on the order of tasks alone, not on which is done
// first.
type writer struct {
	plan   *Plan
	ctx    context.Context
	cancel context.CancelCauseFunc
	out    io.WriterAt
	base   int64
	pos    int64 // where the next block goes, from base
	// started is up to where the kernel was asked to begin writing to the disk.
	started int64
	sum     hash.Hash // of all that was written, but what was copied

	encoders chan *encoder
	budget   *semaphore.Weighted
	copies   chan copied // of packed data; their places were found

	slab      *slab
	inodes    uint64
	metaBytes int64
	dataBytes int64
	pack      packer
	dirs      dirWriter
	packedNID uint64
	uuid      [16]byte
	progress  *progress.Meter
}

// copied is a range that is to be copied.
type copied struct {
	source *origin
	hostcopy.Range
}

// flightBytes bounds the content that is read and not yet written, and what it
// becomes.
const flightBytes = 64 << 20

func newWriter(ctx context.Context, p *Plan, out io.WriterAt, base int64) *writer {
	w := &writer{plan: p, ctx: ctx, out: out, base: base, pos: p.places.rest, sum: sha256.New()}
	w.started = w.pos
	w.progress = progress.NewMeter(p.Stats.CopyBytes, p.Stats.CompressBytes, p.o.Progress)
	w.budget = semaphore.NewWeighted(flightBytes)
	w.pack.w = w
	w.dirs = dirWriter{w: w, inodes: p.places.inodes, blocks: p.places.blocks}
	return w
}

func (w *writer) run() (*WriteReport, error) {
	p := w.plan
	for _, l := range p.links {
		l.nid, l.fed = 0, false
	}
	w.encoders = make(chan *encoder, p.o.Workers)
	if len(p.o.Compressions) > 0 {
		for range p.o.Workers {
			e, err := newEncoder(&p.o)
			if err != nil {
				return nil, err
			}
			defer e.f.Close()
			w.encoders <- e
		}
	}
	if err := w.sources(); err != nil {
		return nil, err
	}
	// The collector cancels at its first error and then takes the remaining tasks, so
	// that none is left running.
	g, ctx := errgroup.WithContext(w.ctx)
	w.ctx, w.cancel = context.WithCancelCause(ctx)
	defer w.cancel(nil)
	order := make(chan *task, 64)
	w.copies = make(chan copied, 256)
	g.Go(w.copySources)
	g.Go(w.copyPacked)
	g.Go(func() error {
		defer close(order)
		return w.feed(order)
	})
	g.Go(func() error {
		defer close(w.copies)
		return w.collect(order)
	})
	if err := g.Wait(); err != nil {
		return nil, err
	}
	if err := w.superblock(); err != nil {
		return nil, err
	}
	w.progress.Finish()
	return &WriteReport{Size: w.pos, DataBytes: w.dataBytes + p.places.shared - p.places.copied, MetaBytes: w.metaBytes,
		Packed: w.pack.size, Inodes: p.Stats.Inodes, UUID: w.uuid}, nil
}

// sources has the sum tell what is copied: from which images, and what of them.
func (w *writer) sources() error {
	for _, s := range w.plan.sources {
		head := make([]byte, min(BlockSize, s.img.size))
		if err := s.img.read(head, 0); err != nil {
			return err
		}
		w.sum.Write(head)
		for _, e := range s.extents {
			fmt.Fprintln(w.sum, e.Src, e.Len, e.Dst)
		}
	}
	return nil
}

// writeAt writes what is at a place that was set aside for it.
func (w *writer) writeAt(p []byte, at int64) error {
	if len(p) == 0 {
		return nil
	}
	w.sum.Write(p)
	_, err := w.out.WriteAt(p, w.base+at)
	return err
}

// append writes whole blocks behind all others, and gives the first of them.
func (w *writer) append(p []byte) (block uint32, err error) {
	block = uint32(w.pos >> writeBits)
	if len(p) == 0 {
		return block, nil
	}
	if err := w.writeAt(p, w.pos); err != nil {
		return 0, err
	}
	w.advance(int64(len(p)))
	return block, nil
}

func (w *writer) advance(n int64) {
	w.pos += n
	w.dataBytes += n
	if w.pos-w.started >= hostcopy.WritebackStep {
		hostcopy.StartWriteback(w.out, w.base+w.started, w.pos-w.started)
		w.started = w.pos
	}
}

// task is what the collector does next.
type task struct {
	kind taskKind
	file *writtenFile
	dir  *openDir
	// entry is the place of the name in the directory, of a leaf.
	entry int
	node  *tree.Node
	link  *link

	run    run
	raw    []byte
	weight int64
	err    error
	done   chan struct{} // nil where nothing is to be waited for
}

type taskKind uint8

const (
	compressTask taskKind = iota // content in extents
	rawTask                      // content in blocks as it is, but its end
	packTask                     // content that goes to packed data as a whole
	keptTask                     // extents that are copied
	inodeTask                    // all of a file's content is there; or it has none
	nameTask                     // another name of an inode
	dirTask                      // all below a directory is there
)

// writtenFile is a file whose content is on its way.
type writtenFile struct {
	file    *file
	layout  *fileLayout
	content tree.Content
	runs    int // that were taken
	one     bool
	inline  int // how much of an uncompressed end may be beside the inode
}

// openDir is a directory whose children are on their way.
type openDir struct {
	number  int
	node    *tree.Node
	entries []dirEntry
}

// collect does the tasks, in their order.
func (w *writer) collect(order <-chan *task) error {
	err := w.begin()
	if err != nil {
		w.cancel(err)
	}
	for j := range order {
		if j.done != nil {
			<-j.done
		}
		if err == nil {
			err = j.err
		}
		if err == nil {
			if err = w.take(j); err != nil && j.file != nil {
				err = fmt.Errorf("%s: %w", j.file.file.describe(), err)
			}
		}
		if err != nil {
			w.cancel(err)
		}
		if j.kind == inodeTask && j.file != nil && j.file.content != nil {
			if cerr := j.file.content.Close(); err == nil && cerr != nil {
				err = fmt.Errorf("%s: %w", j.file.file.describe(), cerr)
			}
		}
		if j.weight > 0 {
			w.budget.Release(j.weight)
		}
	}
	if err == nil {
		err = context.Cause(w.ctx)
	}
	if err == nil {
		err = w.end()
	}
	w.pack.wait()
	return err
}

// begin writes what stands before everything else.
func (w *writer) begin() error {
	if b := w.plan.xattrs.encode(); len(b) > 0 {
		b = append(b, make([]byte, up(int64(len(b)), BlockSize)-int64(len(b)))...)
		w.metaBytes += int64(len(b))
		if err := w.writeAt(b, w.plan.places.shared); err != nil {
			return err
		}
	}
	return w.pack.begin()
}

// end writes packed data and its inode.
func (w *writer) end() error {
	if w.inodes != w.plan.Stats.Inodes {
		return errChanged
	}
	if err := w.dirs.finish(); err != nil {
		return err
	}
	l, err := w.pack.finish()
	if err != nil {
		return err
	}
	if l != nil {
		e, err := w.inode(&tree.Node{Meta: tree.Meta{Type: tree.Regular, Mtime: w.plan.o.Epoch}}, 1, l)
		if err != nil {
			return err
		}
		if w.packedNID, err = w.putInode(e); err != nil {
			return err
		}
	}
	if s := w.slab; s != nil && s.at+int64(len(s.b)) == w.pos {
		s.b = s.b[:up(s.used, BlockSize)]
		w.pos = s.at + int64(len(s.b))
	}
	return w.flushSlab()
}

var errChanged = errors.New("the tree changed while it was written")

// take does one task.
func (w *writer) take(j *task) error {
	switch j.kind {
	case compressTask:
		return w.takeRun(j)
	case rawTask:
		return w.takeRaw(j)
	case packTask:
		l := j.file.layout
		off, err := w.pack.add(j.raw)
		if j.run.start == 0 {
			l.fragment = off
		}
		w.progress.Compressed(int64(len(j.raw)))
		return err
	case keptTask:
		j.file.layout.exts = append(j.file.layout.exts, j.run.exts...)
		j.file.runs += 2
		return nil
	case nameTask:
		j.dir.entries[j.entry].nid = j.link.nid
		return nil
	case inodeTask:
		return w.takeInode(j)
	}
	return w.dirs.write(j.dir)
}

// takeRun writes a run of extents.
func (w *writer) takeRun(j *task) error {
	r, l := &j.run, j.file.layout
	w.progress.Compressed(r.end - r.start)
	if j.file.one && r.flatten(l, j.file.inline) {
		var err error
		l.block, err = w.append(r.out)
		return err
	}
	j.file.runs++
	block, err := w.append(r.out)
	if err != nil {
		return err
	}
	for _, e := range r.exts {
		e.block += block
		l.exts = append(l.exts, e)
	}
	switch l.end = r.ends; r.ends {
	case inlineTail:
		l.tail = r.tail
	case fragmentTail:
		if l.fragment, err = w.pack.add(r.tail); err != nil {
			return err
		}
		if len(l.exts) == 1 {
			l.kind, l.exts = packedLayout, nil
		}
	}
	return nil
}

// flatten makes a file that does not shrink one that is not compressed: its blocks are
// the same, and need no index. r is all of it.
func (r *run) flatten(l *fileLayout, inline int) bool {
	if r.ends == fragmentTail {
		return false
	}
	for i := range r.exts {
		if r.exts[i].typ != 0 {
			return false
		}
	}
	l.kind = flatLayout
	tail := int(r.end % BlockSize)
	switch {
	case r.ends == inlineTail:
		l.tail = r.tail
	case tail > 0 && tail <= inline:
		at := len(r.out) - BlockSize
		l.tail = append([]byte(nil), r.out[at:at+tail]...)
		r.out = r.out[:at]
	}
	return true
}

// takeRaw writes a run of blocks.
func (w *writer) takeRaw(j *task) error {
	l, b := j.file.layout, j.raw
	w.progress.Compressed(int64(len(b)))
	if tail := len(b) % BlockSize; tail > 0 {
		whole := len(b) - tail
		if l.kind == flatLayout && tail <= j.file.inline {
			l.tail = append([]byte(nil), b[whole:]...)
			b = b[:whole]
		} else {
			b = append(b, make([]byte, BlockSize-tail)...)
		}
	}
	block, err := w.append(b)
	if l.kind == chunkLayout {
		l.setChunks(j.run.start, j.run.end, block)
	} else if j.run.start == 0 {
		l.block = block
	}
	return err
}

// takeInode writes an inode and, now that no extents of a file are on their way,
// packed data that is ready.
func (w *writer) takeInode(j *task) error {
	var l *fileLayout
	if f := j.file; f != nil {
		if l = f.layout; f.file.kind == sameFile {
			l = w.plan.files.at(f.file.more.same).more.layout
		}
		if f.file.more != nil && f.file.more.shared {
			f.file.more.layout = l
		}
		l.flattenRuns(f)
	} else if j.node.Type == tree.Symlink {
		l = &fileLayout{size: int64(len(j.node.Target)), tail: []byte(j.node.Target)}
		if len(l.tail) > inlineMax {
			b := make([]byte, BlockSize)
			copy(b, l.tail)
			var err error
			if l.block, err = w.append(b); err != nil {
				return err
			}
			l.tail = nil
		}
	}
	nlink := uint32(1)
	if j.link != nil {
		nlink = j.link.names
	}
	e, err := w.inode(j.node, nlink, l)
	if err != nil {
		return err
	}
	nid, err := w.putInode(e)
	if err != nil {
		return err
	}
	j.dir.entries[j.entry].nid = nid
	if j.link != nil {
		j.link.nid = nid
	}
	return w.pack.write(w.pack.inFlight())
}

// inlineMax is the longest tail that has a place in a block wherever it begins in one.
const inlineMax = BlockSize - 64

// flattenRuns is flatten for a file of several runs, which are written.
func (l *fileLayout) flattenRuns(f *writtenFile) {
	if l.kind != extentLayout || l.end != noTail || f.runs < 2 || f.file.kind != freshFile {
		return
	}
	for i := range l.exts {
		e := &l.exts[i]
		if e.typ != 0 || e.block != l.exts[0].block+uint32(i) || e.start != int64(i)<<writeBits {
			return
		}
	}
	l.kind, l.block, l.exts = flatLayout, l.exts[0].block, nil
}

// dirWriter writes directories, which come in the order in which their inodes and
// blocks lie: both are written by large pieces.
type dirWriter struct {
	w              *writer
	inodes, blocks int64 // where the next bytes go
	ib, bb         []byte
}

const dirPiece = 256 << 10

// write writes a directory.
func (d *dirWriter) write(od *openDir) error {
	w := d.w
	pd := &w.plan.dirs[od.number]
	b := encodeDir(od.entries)
	if int64(len(b)) != pd.size {
		return errChanged
	}
	l := &fileLayout{size: pd.size, block: pd.block}
	whole := b
	if pd.inline {
		at := (pd.size - 1) / BlockSize * BlockSize
		whole, l.tail = b[:at], b[at:]
	}
	e, err := w.inode(od.node, pd.nlink, l)
	if err != nil {
		return err
	}
	if want := inodeSize(pd.compact) + w.plan.xattrs.bodySize(pd.xattrs); int64(len(e.head)) != want {
		return errChanged
	}
	at := w.plan.places.inodes + int64(pd.nid)*32
	b = append(e.head, e.tail...)
	if od.number == 0 {
		if err := d.flush(&d.inodes, &d.ib); err != nil {
			return err
		}
		// The root is the first of them, and done last. The last block is a whole one.
		if err := w.writeAt(b, at); err != nil {
			return err
		}
		end := max(d.inodes, at+int64(len(b)))
		if err := w.writeAt(make([]byte, w.plan.places.blocks-end), end); err != nil {
			return err
		}
	} else {
		if d.inodes == w.plan.places.inodes {
			d.inodes = at
		}
		d.ib = append(append(d.ib, make([]byte, at-d.inodes-int64(len(d.ib)))...), b...)
		if len(d.ib) >= dirPiece {
			if err := d.flush(&d.inodes, &d.ib); err != nil {
				return err
			}
		}
	}
	d.bb = append(append(d.bb, whole...), make([]byte, up(int64(len(whole)), BlockSize)-int64(len(whole)))...)
	if od.number == 0 || len(d.bb) >= dirPiece {
		return d.flush(&d.blocks, &d.bb)
	}
	return nil
}

func (d *dirWriter) flush(at *int64, b *[]byte) error {
	if len(*b) == 0 {
		return nil
	}
	if err := d.w.writeAt(*b, *at); err != nil {
		return err
	}
	d.w.metaBytes += int64(len(*b))
	*at += int64(len(*b))
	*b = (*b)[:0]
	return nil
}

// finish looks whether the directories are those of the plan.
func (d *dirWriter) finish() error {
	if d.w.plan.places.rest != d.blocks {
		return errChanged
	}
	return nil
}

// copySources copies the ranges whose places the plan found.
func (w *writer) copySources() error {
	c := hostcopy.Copier{Ctx: w.ctx, Out: w.out, Base: w.base, Done: w.progress.Copied}
	for _, s := range w.plan.sources {
		for _, e := range s.extents {
			if err := c.Copy(&s.img.stored, e); err != nil {
				return err
			}
		}
	}
	c.Finish()
	return nil
}

// copyPacked copies packed data, whose places the collector finds one by one.
func (w *writer) copyPacked() error {
	c := hostcopy.Copier{Ctx: w.ctx, Out: w.out, Base: w.base, Done: w.progress.Copied}
	for r := range w.copies {
		if err := c.Copy(&r.source.img.stored, r.Range); err != nil {
			return err
		}
	}
	c.Finish()
	return nil
}
