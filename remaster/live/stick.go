package live

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"relive/remaster/hostdisk"
	"relive/remaster/job"
	"relive/remaster/nearest"
	"relive/remaster/packed"
	"relive/remaster/probe"
	"relive/remaster/refusal"
	"relive/remaster/say"
	"relive/remaster/stick"
	"relive/tree"
)

// Stick is a block device, or an image of one, and the live systems on it. It
// is only read.
type Stick struct {
	Disk  *stick.Stick
	Lives []FoundOnStick
	// Problems are what kept a partition from being searched, or a live system
	// from being told from another.
	Problems []string
	InUse    string // how the host uses it, "" where it does not

	refused []error // of Problems, those of live systems that are there
}

// FoundOnStick is a live system on a partition.
type FoundOnStick struct {
	*Found
	Partition *stick.Partition
}

// OpenStick opens a device or image and looks for live systems on it: in the
// root of each file system and down to two directories below it.
func OpenStick(ctx context.Context, path string) (*Stick, error) {
	switch res, err := ProbeFile(Host{}, path); {
	case err != nil:
		return nil, err
	case packed.Holds(res.Kind), res.Kind == probe.COW:
		return nil, refusal.WithHint(fmt.Errorf("%s: %w: it holds %s alone", path, ErrNoLayout, res.Name()),
			"only a live directory, or a stick with one, has a base and an overlay; "+say.Verify+" and "+say.List+" look at single files")
	}
	disk, err := stick.Open(path)
	if err != nil {
		return nil, err
	}
	s := &Stick{Disk: disk}
	if s.InUse, err = hostdisk.InUse("/", path); err != nil {
		disk.Close()
		return nil, err
	}
	for _, p := range disk.Partitions {
		if p.Extended || p.SameAs != nil {
			continue
		}
		if err := s.search(ctx, p); err != nil {
			if ctx.Err() != nil {
				disk.Close()
				return nil, err
			}
			if p.FileSystem != "" || p.Err == nil {
				s.Problems = append(s.Problems, err.Error())
			}
		}
	}
	return s, nil
}

// Close closes the device or file.
func (s *Stick) Close() error { return s.Disk.Close() }

// How far a file system is searched.
const (
	searchDepth = 2    // directories below the root
	searchDirs  = 4096 // directories in all
)

func (s *Stick) search(ctx context.Context, p *stick.Partition) error {
	root, err := p.Root()
	if err != nil {
		return err
	}
	return SearchLives(ctx, Tree{Name: s.partitionPath(p), Root: root, stick: s},
		func(f *Found) { s.Lives = append(s.Lives, FoundOnStick{f, p}) },
		func(err error) {
			s.Problems = append(s.Problems, err.Error())
			if _, ok := refusal.Is(err); ok {
				s.refused = append(s.refused, err)
			}
		})
}

// SearchLives looks for live systems in the root of a file system and down to
// two directories below it. problem is told what kept one from being told from
// another.
func SearchLives(ctx context.Context, at Tree, found func(*Found), problem func(error)) error {
	seen, left := map[string]bool{}, searchDirs
	var look func(dir string, n *tree.Node, depth int) error
	look = func(dir string, n *tree.Node, depth int) error {
		if left--; left < 0 || ctx.Err() != nil {
			return context.Cause(ctx)
		}
		f, err := FindAt(at, dir, "")
		if err != nil {
			problem(err)
		} else if f != nil && !seen[f.Dir] {
			seen[f.Dir] = true
			found(f)
		}
		if f != nil || depth == searchDepth {
			return nil
		}
		kids, bad, err := n.Readable()
		if err != nil {
			return fmt.Errorf("%s: %w", dir, err)
		}
		for _, b := range bad {
			problem(fmt.Errorf("%s: %w", filepath.Join(dir, b.Name), b.Err))
		}
		for _, k := range kids {
			if k.Type == tree.Directory {
				if err := look(filepath.Join(dir, k.Name), k, depth+1); err != nil {
					return err
				}
			}
		}
		return nil
	}
	return look(at.Name, at.Root, 0)
}

// Open opens one of the live systems on the stick.
func (s *Stick) Open(ctx context.Context, e *job.Env, f FoundOnStick, opts ...Option) (*Live, error) {
	found := f.Found
	if sel := selected(opts); sel != (selection{}) {
		var err error
		if found, err = find(f.Place, f.Dir, "", sel); err != nil {
			return nil, err
		}
	}
	l, err := found.Open(ctx, e, "")
	if err != nil {
		return nil, err
	}
	l.Stick, l.Partition = s, f.Partition
	return l, nil
}

// OpenOnStick opens the live system on a device or image of a stick: the only
// one, or the one whose path there is where, as "1/antiX" or "1". It is closed
// with the Live.
func OpenOnStick(ctx context.Context, e *job.Env, path, where string, opts ...Option) (*Live, error) {
	s, err := OpenStick(ctx, path)
	if err != nil {
		return nil, err
	}
	l, err := s.choose(ctx, e, where, opts)
	if err != nil {
		s.Close()
		return nil, err
	}
	// Closed last, since what is open reads from it.
	l.Closers = slices.Insert(l.Closers, 0, interface{ Close() error }(s))
	return l, nil
}

func (s *Stick) choose(ctx context.Context, e *job.Env, where string, opts []Option) (*Live, error) {
	fit := s.Lives
	if where != "" {
		fit = slices.DeleteFunc(slices.Clone(fit), func(f FoundOnStick) bool {
			at := f.Where()
			return at != where && !strings.HasPrefix(at, strings.TrimSuffix(where, "/")+"/")
		})
	}
	switch len(fit) {
	case 1:
		return s.Open(ctx, e, fit[0], opts...)
	case 0:
		if len(s.Lives) == 0 && len(s.refused) == 1 {
			return nil, s.refused[0]
		}
		hint := say.Status + " " + s.Disk.Path + " shows what is on it"
		if len(s.Problems) > 0 {
			hint += "; " + s.Problems[0]
		}
		if len(s.Lives) > 0 {
			var all []string
			for _, f := range s.Lives {
				all = append(all, f.Where())
			}
			return nil, refusal.New(refusal.NotFound, refusal.JoinHints(nearest.DidYouMean(where, all), "there are "+strings.Join(all,
				", ")), "%s: there is no live system at %s", s.Disk.Path, where)
		}
		return nil, refusal.WithHint(fmt.Errorf("%s: %w", s.Disk.Path, ErrNoLayout), hint)
	}
	var all []string
	for _, f := range fit {
		all = append(all, f.Where())
	}
	return nil, refusal.New(refusal.Ambiguous, "name one of them with "+say.On, "%s: there are %d live systems: %s", s.Disk.Path, len(fit),
		strings.Join(all, ", "))
}

// Where is the path of the live system on the stick: the number of the
// partition, and the directory in it.
func (f FoundOnStick) Where() string {
	dir := f.Dir[len(f.Place.(Tree).Name):]
	return fmt.Sprintf("%d%s", f.Partition.Number, dir)
}
