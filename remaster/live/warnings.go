package live

import (
	"context"
	"fmt"
	"time"

	"relive/extfs"
	"relive/tree"
)

// OverlayWarnings tells what in an overlay a person should know.
func (l *Live) OverlayWarnings() (out []string, err error) {
	o := l.Overlay
	if o == nil {
		return nil, nil
	}
	if o.Image != nil {
		info := o.Image.FS.Info()
		if info.HasErrors {
			out = append(out, ErrorsRecorded(o.Name(), &info))
		}
		if !info.Clean && !info.NeedsRecovery {
			out = append(out, o.Name()+" was not unmounted cleanly and has no journal; what was written last may be incomplete")
		}
	}
	if o.COW != nil {
		told, err := o.COW.warnings()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", o.Name(), err)
		}
		out = append(out, told...)
		if info := o.COW.FS.Info(); info.HasErrors {
			out = append(out, ErrorsRecorded("the merged file system", &info))
		}
	}
	if o.Union == nil {
		return out, nil
	}
	rep, err := o.Union.Report()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o.Name(), err)
	}
	return append(out, rep.Warnings()...), nil
}

// ErrorsRecorded tells of the errors that the kernel has noted in a file system.
func ErrorsRecorded(name string, info *extfs.Info) string {
	s := fmt.Sprintf("the kernel has recorded %d errors in %s", info.ErrorCount, name)
	if t := info.LastError.Time; t != (tree.Time{}) {
		s += ", the last at " + t.Time().Format(time.DateTime)
	}
	return s + "; e2fsck -f repairs what can be repaired"
}

// ImageStatus describes an ext image.
type ImageStatus struct {
	Path           string  `json:"path"`
	Size           int64   `json:"size"`
	Allocated      int64   `json:"allocated"`
	FileSystem     string  `json:"filesystem"`
	Label          string  `json:"label"`
	Capacity       int64   `json:"capacity_bytes"` // of the file system in it, which UsedBytes are of
	UsedBytes      int64   `json:"used_bytes"`
	UsedPercent    float64 `json:"used_percent"`
	Inodes         int64   `json:"inodes"`
	UsedInodes     int64   `json:"used_inodes"`
	Clean          bool    `json:"clean"`
	JournalPending bool    `json:"journal_pending"`
	Errors         bool    `json:"errors"`
	InUse          string  `json:"in_use,omitempty"`
}

// StatusOf describes an image.
func StatusOf(img *Image) ImageStatus {
	info := img.FS.Info()
	used := (info.Blocks - info.FreeBlocks) * info.BlockSize
	s := ImageStatus{
		Path: img.Path, Size: img.Size, Allocated: img.Allocated, FileSystem: info.Kind, Label: info.Label, UsedBytes: used,
		Inodes: info.Inodes, UsedInodes: info.Inodes - info.FreeInodes,
		Clean: info.Clean && !info.NeedsRecovery, JournalPending: info.NeedsRecovery, Errors: info.HasErrors,
	}
	s.Capacity = info.Blocks * info.BlockSize
	s.UsedPercent = Percent(used, s.Capacity)
	return s
}

// Percent is used in percent of total, 0 of nothing.
func Percent(used, total int64) float64 {
	if total <= 0 {
		return 0
	}
	return 100 * float64(used) / float64(total)
}

// ContentSize is the size of all files of a layer, in bytes.
func ContentSize(ctx context.Context, root *tree.Node) (n int64, err error) {
	if root == nil {
		return 0, nil
	}
	err = tree.WalkReadable(ctx, root, func(_ string, node *tree.Node) error {
		if node.Type == tree.Regular {
			n += node.Size
		}
		return nil
	}, func(string, error) error { return nil })
	return n, err
}
