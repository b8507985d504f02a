package isoedit

import (
	"context"
	"errors"
	"fmt"

	"relive/remaster/bytesize"
	"relive/remaster/extract"
	"relive/remaster/hostdisk"
	"relive/remaster/job"
	"relive/remaster/refusal"
	"relive/remaster/say"
	"relive/tree"
)

// ExtractResult tells what was extracted.
type ExtractResult struct {
	Dir         string   `json:"dir"`
	Files       int      `json:"files"`
	Directories int      `json:"directories"`
	HardLinks   int      `json:"hard_links"`
	Symlinks    int      `json:"symlinks"`
	Special     int      `json:"special"`
	Bytes       int64    `json:"bytes"`
	Warnings    []string `json:"warnings"`
}

// Extract writes what patterns name (see Select), or all, into a directory of
// the host, which is made where it is not there. Where something is there
// already, and force is not set, that is a Refusal, and nothing is written.
func (o *ISO) Extract(ctx context.Context, e *job.Env, patterns []string, dir string, force bool) (*ExtractResult, error) {
	root, err := o.Select(ctx, patterns)
	if err != nil {
		return nil, err
	}
	need, largest, err := extractSize(ctx, root)
	if err != nil {
		return nil, err
	}
	if err := roomFor(dir, need, largest.Size, "extract less with PATH, or to another disk"); err != nil {
		return nil, err
	}
	e.Phase("extracting", need)
	rep, err := extract.Tree(ctx, root, dir, extract.Options{Force: force, Progress: e.Done})
	if errors.Is(err, extract.ErrExists) && (rep == nil || rep.Files+rep.Symlinks+rep.Special+rep.Dirs == 0) {
		return nil, refusal.New(refusal.OutputExists, "name another directory, or use "+say.Force+" to replace files", "%v", err)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o.Path, err)
	}
	res := &ExtractResult{Dir: dir, Files: rep.Files, Directories: rep.Dirs, HardLinks: rep.Links, Symlinks: rep.Symlinks,
		Special: rep.Special, Bytes: rep.Bytes, Warnings: []string{}}
	for _, l := range rep.Left {
		res.Warnings = append(res.Warnings, l.String())
	}
	return res, nil
}

// extractSize adds up the content of a tree, that of linked names once, and
// gives the largest file.
func extractSize(ctx context.Context, root *tree.Node) (sum int64, largest tree.Meta, err error) {
	seen := map[tree.Inode]bool{}
	err = tree.Walk(ctx, root, func(_ string, n *tree.Node) error {
		if n.Type != tree.Regular {
			return nil
		}
		if n.Nlink > 1 && n.Inode != (tree.Inode{}) {
			if seen[n.Inode] {
				return nil
			}
			seen[n.Inode] = true
		}
		if n.Size > largest.Size {
			largest = n.Meta
		}
		if sum += n.Size; sum < 0 {
			return fmt.Errorf("files of more than 8 EiB")
		}
		return nil
	})
	return sum, largest, err
}

// roomFor refuses where what is to be written to a directory cannot fit.
func roomFor(dir string, need, largest int64, hint string) error {
	free, err := hostdisk.FreeSpace(dir)
	if err != nil {
		return err
	}
	if need > free {
		return refusal.New(refusal.NotEnoughSpace, hint, "%s: not enough space: %s needed, %s free", dir, bytesize.Format(need),
			bytesize.Format(free))
	}
	limit, err := hostdisk.MaxFileSize(dir)
	if err != nil {
		return err
	}
	if largest > limit {
		return refusal.New(refusal.FileTooLarge, hint, "%s: a file of %s is more than the %s that this file system holds", dir,
			bytesize.Format(largest), bytesize.Format(limit))
	}
	return nil
}
