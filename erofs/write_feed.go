package erofs

import (
	"context"
	"fmt"

	"relive/internal/filedata"
	"relive/tree"
)

// feeder makes the tasks. It walks the tree in the order of Plan.scan, and meets the
// files and directories in the order in which the plan lists them.
type feeder struct {
	w         *writer
	order     chan<- *task
	file, dir int // the next ones
}

func (w *writer) feed(order chan<- *task) error {
	f := &feeder{w: w, order: order}
	if err := f.directory("", w.plan.root, w.plan.dirs[0].nid, 0); err != nil {
		return err
	}
	if f.file != w.plan.files.n || f.dir != len(w.plan.dirs) {
		return errChanged
	}
	return nil
}

func (f *feeder) push(j *task) error {
	select {
	case f.order <- j:
		return nil
	case <-f.w.ctx.Done():
		return context.Cause(f.w.ctx)
	}
}

func (f *feeder) directory(path string, n *tree.Node, parent uint64, depth int) error {
	if depth > tree.MaxDepth {
		return tree.TooDeep(path)
	}
	kids, err := n.ChildrenAt(path)
	if err != nil {
		return err
	}
	p := f.w.plan
	if f.dir >= len(p.dirs) {
		return errChanged
	}
	d := &openDir{number: f.dir, node: n, entries: dirEntries(kids)}
	f.dir++
	nid := p.dirs[d.number].nid
	at := -1
	next := func() {
		for at++; at < len(d.entries); at++ {
			switch d.entries[at].name {
			case ".":
				d.entries[at].nid = nid
			case "..":
				d.entries[at].nid = parent
			default:
				return
			}
		}
	}
	for _, k := range kids {
		next()
		if k.Type == tree.Directory {
			if f.dir >= len(p.dirs) {
				return errChanged
			}
			d.entries[at].nid = p.dirs[f.dir].nid
			if err := f.directory(tree.Join(path, k.Name), k, nid, depth+1); err != nil {
				return err
			}
		} else if err := f.leaf(k, d, at); err != nil {
			return fmt.Errorf("%s: %w", tree.Quote(tree.Join(path, k.Name)), err)
		}
	}
	next()
	return f.push(&task{kind: dirTask, dir: d})
}

// leaf makes the tasks of anything but a directory, unless another name of it came
// before.
func (f *feeder) leaf(n *tree.Node, d *openDir, entry int) error {
	p := f.w.plan
	j := &task{kind: inodeTask, dir: d, entry: entry, node: n}
	if n.Nlink > 1 {
		if l := p.links[n.Inode]; l != nil {
			j.link = l
			if l.fed {
				j.kind = nameTask
				return f.push(j)
			}
			l.fed = true
		}
	}
	if n.Type != tree.Regular {
		return f.push(j)
	}
	if f.file >= p.files.n || p.files.at(f.file).size != n.Size {
		return errChanged
	}
	file := p.files.at(f.file)
	f.file++
	o := &writtenFile{file: file, layout: &fileLayout{size: file.size}}
	j.file = o
	var err error
	switch file.kind {
	case freshFile, mixedFile:
		err = f.content(o, n)
	case storedFile:
		var ok bool
		stored, _ := n.Data.(*fileData)
		if file.more != nil && file.more.stored != nil {
			stored = file.more.stored
		}
		if stored == nil || stored.size != file.size {
			return errChanged
		}
		if o.layout, ok, err = file.source.layout(&p.o, stored); err == nil && !ok {
			err = errChanged
		}
	}
	// Jobs that are under way still read the content where the feeder gives up, so the
	// collector closes it in any case; it takes tasks until there are none.
	if err != nil && o.content != nil {
		f.order <- &task{kind: inodeTask, file: o, err: err}
		return err
	}
	if err != nil {
		return err
	}
	if o.content != nil {
		f.order <- j
		return nil
	}
	return f.push(j)
}

// runBytes is how much of a file is compressed as one.
func (o *WriteOptions) runBytes() int64 {
	return int64(min(max(16*o.PclusterSize, 4<<20), 16<<20))
}

// content makes the tasks of a file's content.
func (f *feeder) content(of *writtenFile, n *tree.Node) error {
	o := &f.w.plan.o
	file := of.file
	c, err := file.more.data.Open()
	if err != nil {
		return err
	}
	of.content = c
	if c.Size() != file.size {
		return fmt.Errorf("content of %d bytes where the file has %d", c.Size(), file.size)
	}
	if !o.NoInline {
		of.inline = inlineMax
	}
	if file.kind == mixedFile {
		return f.mixed(of)
	}
	data := filedata.Ranges{Content: c}
	if o.ChunkSize > 0 {
		if hole, err := data.Holed(file.size); err != nil {
			return err
		} else if hole {
			return f.chunked(of)
		}
	}
	l := of.layout
	switch {
	case o.AllFragments:
		l.kind = packedLayout
		return f.pieces(of, packTask, 0, file.size, true, &data)
	case len(o.Compressions) == 0 || file.size <= BlockSize && !o.packs() && !o.Tails:
		return f.pieces(of, rawTask, 0, file.size, true, &data)
	}
	l.kind, l.algo, l.interlaced = extentLayout, o.Compressions[0].Algorithm, o.interlaced()
	of.one = file.size <= o.runBytes()
	return f.pieces(of, compressTask, 0, file.size, true, &data)
}

// pieces makes the tasks of a range. Runs end where its end is in an lcluster.
func (f *feeder) pieces(of *writtenFile, kind taskKind, start, end int64, last bool, data *filedata.Ranges) error {
	o := &f.w.plan.o
	size := o.runBytes()
	for start < end {
		stop := end
		if end-start > size {
			stop = (start+size)&^(BlockSize-1) + end&(BlockSize-1)
			if last {
				stop = (start + size) &^ (BlockSize - 1)
			}
		}
		j := &task{kind: kind, file: of, done: make(chan struct{})}
		j.run = run{start: start, end: stop, last: last && stop == end, interlaced: of.layout.interlaced}
		j.run.packs = o.packs()
		if o.Tails {
			j.run.inline = inlineMax
		}
		has, err := data.Has(start, stop)
		if err != nil {
			return err
		}
		if err := f.start(j, of.content, has); err != nil {
			return err
		}
		start = stop
	}
	return nil
}

// start hands a task to the collector and to a goroutine.
func (f *feeder) start(j *task, c tree.Content, data bool) error {
	w := f.w
	n := j.run.end - j.run.start
	j.weight = min(2*n+int64(w.plan.o.PclusterSize), flightBytes)
	if err := w.budget.Acquire(w.ctx, j.weight); err != nil {
		j.weight = 0
		return context.Cause(w.ctx)
	}
	if err := f.push(j); err != nil {
		w.budget.Release(j.weight)
		return err
	}
	go func() {
		defer close(j.done)
		j.raw = make([]byte, n, n+BlockSize)
		if data {
			j.err = tree.ReadFull(c, j.raw, j.run.start)
		}
		if j.err == nil && j.kind == compressTask {
			j.err = w.compress(&j.run, j.raw)
		}
		if j.err == errDense {
			j.err = errChanged // the plan saw that it has a bridge
		}
		if j.err != nil {
			j.err = fmt.Errorf("%s: %w", j.file.file.describe(), j.err)
		}
		if j.kind == compressTask && j.run.ends != fragmentTail {
			j.raw = nil
		}
	}()
	return nil
}

// compress compresses a run with one of the compressors.
func (w *writer) compress(r *run, raw []byte) error {
	e := <-w.encoders
	defer func() { w.encoders <- e }()
	return e.compress(r, raw)
}
