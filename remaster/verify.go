package remaster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"relive/squash"
	"relive/tree"
)

// CheckResult is what a check of one file found.
type CheckResult struct {
	Path     string   `json:"path"`
	What     string   `json:"what"` // "squashfs", "md5", "ext"
	OK       bool     `json:"ok"`
	Detail   string   `json:"detail,omitempty"`
	Findings []string `json:"findings,omitempty"`
}

// ErrDamaged is the error of a check that found something.
var ErrDamaged = errors.New("damaged")

// VerifyFile checks one SquashFS image: its structure, every reference, and
// that every block decodes.
func VerifyFile(ctx context.Context, e *Env, path string) (CheckResult, error) {
	res := CheckResult{Path: path, What: "squashfs"}
	r, size, open, err := e.openSquash(path)
	if err != nil {
		if errors.Is(err, tree.ErrCorrupt) || errors.Is(err, tree.ErrUnsupported) {
			res.Findings = append(res.Findings, err.Error())
			return res, nil
		}
		return res, err
	}
	defer open.Close()
	e.phase("checking "+filepath.Base(path), size)
	rep, err := squash.Verify(ctx, r, squash.VerifyOptions{Workers: e.Jobs, Progress: func(done, total int64) { e.done(done) }})
	if err != nil {
		return res, err
	}
	for _, f := range rep.Findings {
		res.Findings = append(res.Findings, f.String())
	}
	res.OK = !rep.Damaged()
	sb := r.Superblock()
	res.Detail = fmt.Sprintf("%s, %d inodes, %d fragments, %s", r.Options().ID, sb.InodeCount, sb.FragmentCount, Bytes(size))
	return res, nil
}

// verifyImage is VerifyFile for an opened image, with an error for damage.
func verifyImage(ctx context.Context, e *Env, r *squash.Reader, progress func(done, total int64)) error {
	rep, err := squash.Verify(ctx, r, squash.VerifyOptions{Workers: e.Jobs, Progress: progress})
	if err != nil {
		return err
	}
	for _, f := range rep.Findings {
		if !f.Warning {
			return fmt.Errorf("%w: %s (%d findings)", ErrDamaged, f, len(rep.Findings)+rep.More)
		}
	}
	return nil
}

// VerifyDir checks a live directory: the base, every file that has a sum
// beside it, and that the images of persistence can be read from end to end.
func VerifyDir(ctx context.Context, e *Env, dir string) ([]CheckResult, error) {
	found, err := Find(dir)
	if err != nil {
		return nil, err
	}
	f := &found.files
	path := func(name string) string { return filepath.Join(found.Dir, name) }
	var out []CheckResult
	base, err := VerifyFile(ctx, e, path(f.base))
	if err != nil {
		return nil, err
	}
	out = append(out, base)
	sums := map[string]string{} // by the name of the file with the sum, the name of the hash
	if c, ok := f.sum(); ok && exists(path(c.name)) {
		sums[c.name] = c.sum
	}
	at := filepath.Dir(f.base)
	entries, err := os.ReadDir(path(at))
	if err != nil {
		return nil, err
	}
	for _, d := range entries {
		if name, ok := strings.CutSuffix(d.Name(), ".md5"); ok && name != "" && !d.IsDir() {
			sums[filepath.Join(at, d.Name())] = "md5"
		}
	}
	for _, name := range sortedKeys(sums) {
		of := strings.TrimSuffix(name, filepath.Ext(name))
		if c, ok := f.sum(); ok && c.name == name {
			of = f.base
		}
		res, err := verifySum(ctx, e, path(of), path(name), sums[name])
		if err != nil {
			return nil, err
		}
		out = append(out, res)
	}
	for _, name := range append(f.overlay[:len(f.overlay):len(f.overlay)], f.home) {
		if name == "" || !exists(path(name)) {
			continue
		}
		res, err := verifyExt(ctx, e, path(name))
		if err != nil {
			return nil, err
		}
		out = append(out, res)
	}
	return out, nil
}

// verifySum compares a file with the sum beside it.
func verifySum(ctx context.Context, e *Env, path, sumPath, kind string) (CheckResult, error) {
	res := CheckResult{Path: sumPath, What: kind}
	want, err := readSum(sumPath, kind)
	if err != nil {
		res.Findings = append(res.Findings, err.Error())
		return res, nil
	}
	e.phase("summing "+filepath.Base(path), 0)
	got, err := sumOf(ctx, path, kind)
	if errors.Is(err, fs.ErrNotExist) {
		res.Findings = append(res.Findings, fmt.Sprintf("%s is not there", filepath.Base(path)))
		return res, nil
	}
	if err != nil {
		return res, err
	}
	if got != want {
		res.Findings = append(res.Findings, fmt.Sprintf("%s has the sum %s, not %s", filepath.Base(path), got, want))
	} else {
		res.OK, res.Detail = true, got
	}
	return res, nil
}

// verifyExt walks an ext image and reads its files.
func verifyExt(ctx context.Context, e *Env, path string) (CheckResult, error) {
	res := CheckResult{Path: path, What: "ext"}
	var l Live
	defer l.Close()
	e.phase("reading "+filepath.Base(path), 0)
	nodes, err := func() (int, error) {
		img, err := l.openImage(path)
		if err != nil {
			return 0, err
		}
		root, err := img.FS.Root()
		if err != nil {
			return 0, err
		}
		n := 0
		buf := make([]byte, 1<<20)
		err = tree.Walk(ctx, root, func(p string, node *tree.Node) error {
			n++
			if node.Type != tree.Regular {
				return nil
			}
			if err := readThrough(node, buf); err != nil {
				return fmt.Errorf("%s: %w", tree.Quote(p), err)
			}
			return nil
		})
		return n, err
	}()
	if err != nil {
		if ctx.Err() != nil {
			return res, err
		}
		res.Findings = append(res.Findings, err.Error())
		return res, nil
	}
	res.OK, res.Detail = true, fmt.Sprintf("%d files and directories", nodes)
	return res, nil
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
