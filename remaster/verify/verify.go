package verify

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"relive/dmmerge"
	"relive/remaster/checksum"
	"relive/remaster/hostdisk"
	"relive/remaster/job"
	"relive/remaster/live"
	"relive/remaster/packed"
	"relive/remaster/probe"
	"relive/remaster/refusal"
	"relive/remaster/say"
	"relive/remaster/sumlist"
	"relive/tree"
	"relive/tree/hostfs"
)

// Result is what a check of one file found.
type Result struct {
	Path     string   `json:"path"`
	What     string   `json:"what"` // "squashfs", "erofs", "ext", "dm-snapshot", "directory", "md5", "sha512", CheckBoots
	OK       bool     `json:"ok"`
	Skipped  string   `json:"skipped,omitempty"` // why it could not be checked
	Detail   string   `json:"detail,omitempty"`
	Findings []string `json:"findings,omitempty"`
}

// File checks one file by what it is: a SquashFS or EROFS image (its structure,
// every reference, and that every block decodes), an ext image, or the
// copy-on-write store of a device-mapper snapshot. What is of another kind that
// is known is skipped, and the result says what it is.
func File(ctx context.Context, e *job.Env, path string) (Result, error) {
	res, err := live.ProbeFile(live.Host{}, path)
	switch {
	case err != nil:
		return Result{}, err
	case res.Kind == probe.COW, res.Kind == probe.Zeros:
		return verifyCOW(ctx, path)
	case res.Kind == probe.Unknown:
		return Result{}, refusal.WithHint(tree.Unsupported(path, "", "it holds nothing that is known"),
			say.Verify+" checks SquashFS, EROFS and ext images, COWs, and live directories")
	}
	return verifyKnown(ctx, e, path, res)
}

// verifyKnown checks a file that holds that.
func verifyKnown(ctx context.Context, e *job.Env, path string, res probe.Result) (Result, error) {
	switch {
	case res.Kind == probe.SquashFS, res.Kind == probe.SquashFS3:
		return verifyPacked(ctx, e, path, packed.SquashFS)
	case res.Kind == probe.EROFS:
		return verifyPacked(ctx, e, path, packed.EROFS)
	case res.Kind.IsExt():
		return verifyExt(ctx, e, path)
	case res.Kind == probe.COW:
		return verifyCOW(ctx, path)
	}
	out := Result{Path: path, What: "file", Skipped: "it holds " + res.Name() + ", which relive does not check"}
	if res.Kind == probe.ISO9660 {
		out.Skipped += "; " + say.Check + " does"
	}
	return out, nil
}

// verifyBase checks an image that a system boots from: where nothing is known
// in it, it is damaged.
func verifyBase(ctx context.Context, e *job.Env, path string) (Result, error) {
	res, err := live.ProbeFile(live.Host{}, path)
	if err != nil {
		return Result{}, err
	}
	if !res.Kind.Known() {
		return verifyPacked(ctx, e, path, packed.SquashFS)
	}
	return verifyKnown(ctx, e, path, res)
}

// verifyPacked checks a compressed image.
func verifyPacked(ctx context.Context, e *job.Env, path string, format packed.Format) (Result, error) {
	res := Result{Path: path, What: string(format)}
	r, size, open, err := live.OpenPacked(e, path)
	if err != nil {
		return res.failed(ctx, err)
	}
	defer open.Close()
	e.Phase("checking "+filepath.Base(path), size)
	rep, err := r.Verify(ctx, packed.VerifyOptions{Workers: e.Jobs, Progress: func(done, total int64) { e.Done(done) }})
	if err != nil {
		return res, err
	}
	res.Findings, res.OK, res.Detail = rep.Findings, rep.Damage == "", rep.Detail
	return res, nil
}

// verifyCOW checks the metadata of a COW.
func verifyCOW(ctx context.Context, path string) (Result, error) {
	res := Result{Path: path, What: "dm-snapshot"}
	c, err := hostfs.OpenFile(path)
	if err != nil {
		return res, err
	}
	defer c.Close()
	cow, err := dmmerge.Open(c, c.Size(), filepath.Base(path))
	if err != nil {
		return res.failed(ctx, err)
	}
	res.OK = true
	for _, f := range cow.Findings() {
		res.Findings = append(res.Findings, f.String())
		res.OK = res.OK && f.Severity() != dmmerge.Corruption
	}
	if s := cow.State(); s == dmmerge.Invalid || s == dmmerge.Unloadable {
		res.OK = false
		res.Findings = append(res.Findings, "the kernel does not use it: "+s.String())
	}
	res.Detail = fmt.Sprintf("%s sectors, %d exceptions", cow.Status(), cow.Exceptions())
	return res, nil
}

// Dir checks a live directory: the base, every file that has a sum
// beside it, and that the images of persistence can be read from end to end.
func Dir(ctx context.Context, e *job.Env, dir string, opts ...live.Option) ([]Result, error) {
	found, err := live.Find(dir, opts...)
	if err != nil {
		return nil, err
	}
	f := &found.Files
	path := func(name string) string { return filepath.Join(found.Dir, name) }
	var out []Result
	base, err := verifyBase(ctx, e, path(f.Base))
	if err != nil {
		return nil, err
	}
	out = append(out, base)
	for _, name := range f.Stack {
		if name == f.Base {
			continue
		}
		other, err := verifyBase(ctx, e, path(name))
		if err != nil {
			return nil, err
		}
		out = append(out, other)
	}
	for _, l := range f.Sums {
		res, err := verifyList(ctx, e, found, l)
		if err != nil {
			return nil, err
		}
		out = append(out, res)
	}
	for _, name := range f.Foreign {
		out = append(out, Result{Path: path(name), What: checksum.Foreign(name), Skipped: "sums of this kind are not known here"})
	}
	for _, name := range append(slices.Clone(f.Overlay), f.Home) {
		if name == "" || !hostdisk.Exists(path(name)) {
			continue
		}
		res, err := verifyPersistence(ctx, e, path(name), mayBeCOW(f, name))
		if err != nil {
			return nil, err
		}
		out = append(out, res)
	}
	if !slices.ContainsFunc(out, func(r Result) bool { return !r.OK }) {
		merged, err := verifyMerged(ctx, e, found)
		if err != nil {
			return nil, err
		}
		out = append(out, merged...)
	}
	return out, nil
}

// verifyList checks the lines of a list of sums that are about files of the live
// directory.
func verifyList(ctx context.Context, e *job.Env, found *live.Found, l *sumlist.List) (Result, error) {
	res := Result{Path: filepath.Join(found.Dir, l.Name), What: string(l.Kind), OK: true}
	own := append(found.Files.Together(), found.Files.Stack...)
	fact := func(format string, args ...any) {
		res.OK = false
		res.Findings = append(res.Findings, fmt.Sprintf(format, args...))
	}
	if why := l.Unread(); why != "" {
		fact("%s: %s", filepath.Base(l.Name), why)
	}
	n, last := 0, ""
	for i, name := range l.Targets {
		line := &l.Lines[i]
		if name == "" || name == l.Name || !slices.Contains(own, name) && name != found.Files.Home && name != sumlist.Stem(l.Name) {
			continue
		}
		if res.What == "" {
			res.What = string(line.Kind)
		}
		n++
		e.Phase("summing "+filepath.Base(name), 0)
		sums, err := checksum.File(ctx, filepath.Join(found.Dir, name), -1, line.Kind)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			fact("%s is not there", filepath.Base(name))
		case err != nil:
			return res, err
		case !line.Is(sums[line.Kind]):
			fact("%s has the sum %s, not %s", filepath.Base(name), sums[line.Kind], strings.ToLower(line.Sum))
		}
		last = sums[line.Kind]
	}
	switch {
	case !res.OK:
	case n == 1:
		res.Detail = last
	default:
		res.Detail = fmt.Sprintf("the sums of %d files", n)
	}
	return res, nil
}

// mayBeCOW reports whether a boot takes an overlay of that name for the store of
// a device-mapper snapshot where it knows nothing in it.
func mayBeCOW(s *live.Files, name string) bool {
	return name != s.Home && (strings.HasPrefix(name, live.LiveosOverlay) || filepath.Base(name) == live.ArchisoCOW)
}

// verifyPersistence checks a file or directory of persistence.
func verifyPersistence(ctx context.Context, e *job.Env, path string, cow bool) (Result, error) {
	res := Result{Path: path, What: "directory"}
	if !live.IsDir(live.Host{}, path) {
		switch held, err := live.ProbeFile(live.Host{}, path); {
		case err != nil:
			return res, err
		case !held.Kind.Known() && cow:
			return verifyCOW(ctx, path)
		case !held.Kind.Known():
			return verifyExt(ctx, e, path) // which tells what it misses
		default:
			return verifyKnown(ctx, e, path, held)
		}
	}
	e.Phase("reading "+filepath.Base(path), 0)
	root, err := live.Host{}.Directory(path)
	if r, ok := refusal.Is(err); ok {
		res.Skipped = r.Fact
		return res, nil
	}
	if err != nil {
		return res, err
	}
	n, err := readTree(ctx, root)
	return res.readTo(ctx, n, err)
}

// verifyMerged checks what only base and overlay together show: the file system
// on a merged snapshot.
func verifyMerged(ctx context.Context, e *job.Env, found *live.Found) ([]Result, error) {
	l, err := found.Open(ctx, e, "")
	if r, ok := refusal.Is(err); ok {
		return []Result{{Path: found.Dir, What: "merged", Skipped: r.Fact}}, nil
	}
	if err != nil {
		res, err := Result{Path: found.Dir, What: "merged"}.failed(ctx, err)
		return []Result{res}, err
	}
	defer l.Close()
	boots, err := verifyBoots(ctx, l)
	if err != nil {
		if ctx.Err() != nil {
			return nil, err
		}
		boots = []Result{{Path: found.Dir, What: CheckBoots, Findings: []string{err.Error()}}}
	}
	s := l.COW()
	if s == nil {
		return boots, nil
	}
	res := Result{Path: l.Rel(l.Overlay.Path) + " over " + l.Base.Name(), What: "merged"}
	e.Phase("reading the merged file system", 0)
	n, err := readTree(ctx, l.Merged)
	res, err = res.readTo(ctx, n, err)
	return append([]Result{res}, boots...), err
}

// verifyExt walks an ext image and reads its files.
func verifyExt(ctx context.Context, e *job.Env, path string) (Result, error) {
	res := Result{Path: path, What: "ext"}
	e.Phase("reading "+filepath.Base(path), 0)
	nodes, err := func() (int, error) {
		root, img, err := live.OpenRoot(path)
		if err != nil {
			return 0, err
		}
		defer img.Close()
		return readTree(ctx, root)
	}()
	return res.readTo(ctx, nodes, err)
}

// readTo completes the result of a check that has read so many nodes of a tree,
// or has failed.
func (res Result) readTo(ctx context.Context, nodes int, err error) (Result, error) {
	if err != nil {
		return res.failed(ctx, err)
	}
	res.OK, res.Detail = true, fmt.Sprintf("%d files and directories", nodes)
	return res, nil
}

// failed completes the result of a check that has failed: what uses something
// that relive does not read may be sound, and is skipped.
func (res Result) failed(ctx context.Context, err error) (Result, error) {
	var paths *unreadableError
	switch {
	case ctx.Err() != nil:
		return res, err
	case errors.As(err, &paths):
		if res.Findings = append(res.Findings, paths.Warnings()...); paths.damaged == 0 {
			res.Skipped, res.Findings = strings.Join(res.Findings, "; "), nil
		}
	case errors.Is(err, tree.ErrUnsupported):
		res.Skipped = err.Error()
	default:
		res.Findings = append(res.Findings, err.Error())
	}
	return res, nil
}

// unreadableError is the error of a check that read all but some paths of a tree.
type unreadableError struct {
	tree.Unreadable
	damaged int // not only of what is not supported
}

func (u *unreadableError) note(path string, err error) error {
	if !errors.Is(err, tree.ErrUnsupported) {
		u.damaged++
	}
	return u.Add(path, err)
}

func (u *unreadableError) Error() string { return strings.Join(u.Warnings(), "; ") }

// readTree reads all of a tree and counts its nodes. What cannot be read is an
// *unreadableError at the end.
func readTree(ctx context.Context, root *tree.Node) (n int, err error) {
	buf := make([]byte, 1<<20)
	var bad unreadableError
	err = tree.WalkReadable(ctx, root, func(p string, node *tree.Node) error {
		n++
		if node.Type != tree.Regular {
			return nil
		}
		if err := readThrough(node, buf); err != nil {
			return bad.note(p, err)
		}
		return ctx.Err()
	}, bad.note)
	if err == nil && bad.N > 0 {
		err = &bad
	}
	return n, err
}

// readThrough reads all data of a file.
func readThrough(n *tree.Node, buf []byte) error {
	c, err := n.Open()
	if err != nil {
		return err
	}
	defer c.Close()
	for off := int64(0); ; {
		start, end, err := c.NextData(off)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		for start < end {
			p := buf[:min(int64(len(buf)), end-start)]
			if err := tree.ReadFull(c, p, start); err != nil {
				return err
			}
			start += int64(len(p))
		}
		off = end
	}
}
