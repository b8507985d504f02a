package sets

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"

	"relive/remaster/hostdisk"
	"relive/remaster/job"
	"relive/remaster/live"
	"relive/remaster/readback"
	"relive/remaster/refusal"
	"relive/remaster/replace"
	"relive/remaster/say"
	"relive/remaster/swap"
	"relive/remaster/written"
	"relive/tree"
	"relive/tree/hostfs"
)

// Change is what a change of persistence sets will do.
type Change struct {
	found *live.Found
	env   *job.Env
	verb  string
	// copies are the files that are copied, by their names in the set.
	from   string
	copies []setCopy
	done   []swap.Step

	Dir      string   `json:"dir"`
	Set      string   `json:"set"`
	Pdir     string   `json:"pdir,omitempty"` // of the set afterwards
	Need     int64    `json:"space_needed"`   // bytes, where the file system cannot share them
	Free     int64    `json:"space_free"`
	Shared   bool     `json:"shared"` // the file system shares the copies' blocks with the originals
	Lost     []string `json:"lost"`   // what a removal takes away
	Steps    []string `json:"steps"`
	Warnings []string `json:"warnings"`
}

// setCopy is a file that a clone copies.
type setCopy struct {
	name, path string
	size       int64
}

// findForSets finds a live directory whose sets are to be changed.
func findForSets(e *job.Env, verb, dir string) (*Change, error) {
	f, err := live.Find(dir, live.AnySet())
	if err != nil {
		return nil, err
	}
	if f.Layout.Traits().Sets == live.NoSets {
		return nil, refusal.New(refusal.UnsupportedLayout, f.Layout.Traits().OtherSets, "%s: relive knows no persistence sets of %s", dir,
			f.Layout.Name())
	}
	return &Change{found: f, env: e, verb: verb, Dir: f.Dir, Lost: []string{}, Steps: []string{}, Warnings: []string{}}, nil
}

// named returns the name of a set that is there.
func (p *Change) named(name string) (string, error) {
	f := p.found
	if f.Layout.Traits().Sets == live.SetDirectories {
		name, err := live.SetName(f.Dir, name)
		if err != nil || name == live.DefaultSet {
			return name, err
		}
		g, err := live.FindSetAt(f.Place, f.Dir, "", name)
		if err == nil && g != nil {
			name = g.Set
		}
		return name, err
	}
	all, err := live.LiveosOverlayNames(f.Place, f.Dir, "")
	if err == nil && !slices.Contains(all, name) {
		if name == live.DefaultSet && len(all) == 1 {
			return all[0], nil
		}
		err = refusal.New(refusal.NotFound, say.ListSets+" "+f.Dir+" lists those that are there", "%s: there is no overlay %s", f.Dir, name)
	}
	return name, err
}

func (p *Change) path(name string) string { return filepath.Join(p.found.Dir, name) }

// images are the paths of a set's files that are there.
func (p *Change) images(set string) (paths []string) {
	if p.found.Layout.Traits().Sets != live.SetDirectories {
		return []string{p.path(set)}
	}
	if set == live.DefaultSet {
		set = "."
	}
	for _, name := range []string{live.AntixRoot, live.AntixHome} {
		if at := p.path(path.Join(set, name)); hostdisk.Exists(at) {
			paths = append(paths, at)
		}
	}
	return paths
}

// Clone looks whether a set can be copied to a new one. It changes
// nothing. from is the name of the set to copy, "" the default one.
func Clone(ctx context.Context, e *job.Env, dir, name, from string) (*Change, error) {
	p, err := findForSets(e, "sets clone", dir)
	if err != nil {
		return nil, err
	}
	if p.Set, err = p.found.CheckNewSet(name); err != nil {
		return nil, err
	}
	if from == "" {
		from = live.DefaultSet
	}
	if p.from, err = p.named(from); err != nil {
		return nil, err
	}
	images := p.images(p.from)
	if len(images) == 0 {
		return nil, refusal.New(refusal.NotFound, "name another one with "+say.From, "%s: the set %s has neither rootfs nor homefs", dir,
			p.from)
	}
	for _, at := range images {
		st, err := os.Stat(at)
		if err != nil {
			return nil, err
		}
		if !st.Mode().IsRegular() {
			return nil, refusal.New(refusal.WrongKind, "copy it by hand, as root and with all attributes (cp -a)",
				"%s: is no file, and only files can be cloned", at)
		}
		p.copies = append(p.copies, setCopy{filepath.Base(at), at, st.Size()})
	}
	if err := live.RefuseInUse("", images...); err != nil {
		return nil, err
	}
	if err := p.checkRoom(); err != nil {
		return nil, err
	}
	p.done = []swap.Step{swap.Move{From: "(new " + p.Set + ")", To: p.Set}}
	p.Steps = []string{fmt.Sprintf("copy the set %s to %s", p.from, p.Set)}
	v := ReadBootMenus(ctx, p.found)
	p.Pdir, _ = v.path(p.Set)
	return p, nil
}

// checkRoom refuses where the copies cannot fit.
func (p *Change) checkRoom() error {
	target := filepath.Dir(p.path(p.Set))
	holes, err := hostdisk.HoldsHoles(target)
	if err != nil {
		return err
	}
	r := replace.Room{Dir: target, More: "make room on it", Less: "make the image smaller first"}
	for _, c := range p.copies {
		need := c.size
		if holes {
			if need, err = dataBytes(c.path); err != nil {
				return err
			}
		}
		r.Need += need + 64<<10
		if c.size > r.Size {
			r.File, r.Size = c.name, c.size
		}
	}
	p.Need = r.Need
	if p.Shared = p.shares(target); p.Shared {
		r.Need = 0
	}
	p.Free, err = r.Check()
	return err
}

// shares reports whether the copies can share blocks with the originals: it tries
// with a file that has no name.
func (p *Change) shares(dir string) bool {
	f, err := os.OpenFile(dir, unix.O_TMPFILE|os.O_RDWR, 0o600)
	if err != nil {
		return false
	}
	defer f.Close()
	for _, c := range p.copies {
		from, err := os.Open(c.path)
		if err != nil {
			return false
		}
		err = unix.IoctlFileClone(int(f.Fd()), int(from.Fd()))
		from.Close()
		if err != nil {
			return false
		}
	}
	return true
}

// dataBytes is how many bytes of a file are no hole.
func dataBytes(at string) (n int64, err error) {
	c, err := hostfs.OpenFile(at)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	err = eachData(c, func(start, end int64) error {
		n += end - start
		return nil
	})
	return n, err
}

// eachData calls fn for every range of a content that is no hole.
func eachData(c tree.Content, fn func(start, end int64) error) error {
	for off := int64(0); off < c.Size(); {
		start, end, err := c.NextData(off)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := fn(start, end); err != nil {
			return err
		}
		off = end
	}
	return nil
}

// Run does what the plan says.
func (p *Change) Run(ctx context.Context) (err error) {
	t, err := replace.Begin(p.env, p.found.Dir, p.verb, p.done)
	if err != nil {
		return err
	}
	defer func() { err = refusal.DiskFull(t.End(err), refusal.NothingChanged, "", "") }()
	steps := p.done
	if len(p.copies) > 0 {
		if err := p.clone(ctx, t); err != nil {
			return err
		}
		steps = []swap.Step{swap.Move{From: t.Made[p.Set], To: p.Set}}
	}
	p.env.Phase("putting it in place", 0)
	return t.Commit(ctx, steps)
}

// clone copies the files beside the place of the new set.
func (p *Change) clone(ctx context.Context, t *replace.Transaction) error {
	at, err := t.Temp(p.Set)
	if err != nil {
		return err
	}
	directories := p.found.Layout.Traits().Sets == live.SetDirectories
	if directories {
		if err := os.Mkdir(at, 0o755); err != nil {
			return err
		}
		if st, err := os.Stat(p.found.Dir); err == nil {
			if own, ok := st.Sys().(*syscall.Stat_t); ok {
				_ = os.Chown(at, int(own.Uid), int(own.Gid)) // as the files of the live directory, where that may be
			}
		}
	}
	for _, c := range p.copies {
		to := at
		if directories {
			to = filepath.Join(at, c.name)
		}
		if err := p.copy(ctx, c, to); err != nil {
			return fmt.Errorf("copying %s: %w", c.path, err)
		}
	}
	return nil
}

// copy copies one file. Where the file system can, the copy shares its blocks;
// otherwise it is written, synced, and read back from the disk.
func (p *Change) copy(ctx context.Context, c setCopy, to string) (err error) {
	before, err := hostdisk.StampOf(c.path)
	if err != nil {
		return err
	}
	in, err := hostfs.OpenFile(c.path)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := hostdisk.CreateLike(to, c.path)
	if err != nil {
		return err
	}
	defer out.Close()
	from, err := os.Open(c.path)
	if err != nil {
		return err
	}
	shared := unix.IoctlFileClone(int(out.Fd()), int(from.Fd())) == nil
	if err := from.Close(); err != nil {
		return err
	}
	var parts []dataPart
	if !shared {
		if parts, err = p.copyData(ctx, out, in, c); err != nil {
			return err
		}
	}
	if err := written.Settle(ctx, out); err != nil {
		return err
	}
	if err := out.Close(); err != nil {
		return err
	}
	if after, err := hostdisk.StampOf(c.path); err != nil {
		return err
	} else if after != before {
		return refusal.New(refusal.Changed, "see that no live system runs from it, and begin again", "%s: changed while it was read",
			c.path)
	}
	if err := live.RefuseInUse("", c.path); err != nil {
		return err
	}
	if shared {
		if st, err := os.Stat(to); err != nil || st.Size() != c.size {
			return fmt.Errorf("%s: %w", to, errors.Join(readback.Err, err))
		}
		return nil
	}
	return p.checkCopy(ctx, to, c, parts)
}

// dataPart is a range of a file and the sum of what was read there.
type dataPart struct {
	start, end int64
	sum        [sha256.Size]byte
}

// copyData copies what is no hole, and sums it on the way.
func (p *Change) copyData(ctx context.Context, out *os.File, in tree.Content, c setCopy) (parts []dataPart, err error) {
	holes, err := hostdisk.HoldsHoles(filepath.Dir(p.path(p.Set)))
	if err != nil {
		return nil, err
	}
	if err := out.Truncate(c.size); err != nil {
		return nil, err
	}
	p.env.Phase("copying "+c.name, c.size)
	b := make([]byte, hostdisk.CopyBuffer)
	for off := int64(0); off < c.size; {
		start, end, err := in.NextData(off)
		if errors.Is(err, io.EOF) {
			start, end, err = c.size, c.size, nil
		}
		if err != nil {
			return nil, err
		}
		if !holes {
			start, end = off, c.size // all of it is written, so that the space is there
		}
		part := dataPart{start: start, end: end}
		h := sha256.New()
		for at := start; at < end; {
			if err := ctx.Err(); err != nil {
				return nil, context.Cause(ctx)
			}
			piece := b[:min(int64(len(b)), end-at)]
			if err := tree.ReadFull(in, piece, at); err != nil {
				return nil, err
			}
			h.Write(piece)
			if holes {
				err = hostdisk.WriteSparse(out, piece, at)
			} else {
				_, err = out.WriteAt(piece, at)
			}
			if err != nil {
				return nil, err
			}
			at += int64(len(piece))
			p.env.Done(at)
		}
		if end > start {
			h.Sum(part.sum[:0])
			parts = append(parts, part)
		}
		off = end
	}
	return parts, nil
}

// checkCopy reads a copy back: every range holds what was read there, and
// between them there is nothing.
func (p *Change) checkCopy(ctx context.Context, at string, c setCopy, parts []dataPart) error {
	in, err := hostfs.OpenFile(at)
	if err != nil {
		return fmt.Errorf("%w: %w", readback.Err, err)
	}
	defer in.Close()
	if in.Size() != c.size {
		return fmt.Errorf("%s: %w: it has %d bytes, not %d", at, readback.Err, in.Size(), c.size)
	}
	p.env.Phase("reading "+c.name+" back", c.size)
	b := make([]byte, hostdisk.CopyBuffer)
	read := func(start, end int64, fn func(p []byte) error) error {
		for off := start; off < end; {
			if err := ctx.Err(); err != nil {
				return context.Cause(ctx)
			}
			piece := b[:min(int64(len(b)), end-off)]
			if err := tree.ReadFull(in, piece, off); err != nil {
				return fmt.Errorf("%w: %w", readback.Err, err)
			}
			if err := fn(piece); err != nil {
				return err
			}
			off += int64(len(piece))
			p.env.Done(off)
		}
		return nil
	}
	for _, part := range parts {
		h := sha256.New()
		if err := read(part.start, part.end, func(p []byte) error { _, err := h.Write(p); return err }); err != nil {
			return err
		}
		if !bytes.Equal(h.Sum(nil), part.sum[:]) {
			return fmt.Errorf("%s: %w: bytes %d to %d", at, readback.Err, part.start, part.end)
		}
	}
	// What the copy has between these ranges must be zeros.
	zeros := func(p []byte) error {
		if !tree.IsZero(p) {
			return fmt.Errorf("%s: %w: there is data in a hole", at, readback.Err)
		}
		return nil
	}
	next := 0
	return eachData(in, func(start, end int64) error {
		for start < end {
			for next < len(parts) && parts[next].end <= start {
				next++
			}
			if next < len(parts) && parts[next].start <= start {
				start = parts[next].end
				continue
			}
			stop := end
			if next < len(parts) {
				stop = min(end, parts[next].start)
			}
			if err := read(start, stop, zeros); err != nil {
				return err
			}
			start = stop
		}
		return nil
	})
}
