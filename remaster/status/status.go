package status

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"relive/dmmerge"
	"relive/remaster/changes"
	"relive/remaster/compact"
	"relive/remaster/hostdisk"
	"relive/remaster/job"
	"relive/remaster/live"
	"relive/remaster/packed"
	"relive/remaster/refusal"
	"relive/remaster/sets"
	"relive/tree"
)

// Status is what there is to know of a live directory.
type Status struct {
	Dir     string         `json:"dir"`
	Layout  string         `json:"layout"`
	Set     string         `json:"set,omitempty"`   // "" for the default one
	HasVIDs bool           `json:"has_version_ids"` // whether the layout knows version ids
	Base    BaseStatus     `json:"base"`
	Overlay *OverlayStatus `json:"overlay,omitempty"`
	// Where says where the overlay was found and what says so, where it is not in
	// the ordinary place. Unused is what looks like an overlay and is not taken.
	Where     *live.Where       `json:"where,omitempty"`
	Unused    []live.Unused     `json:"unused,omitempty"`
	Home      *live.ImageStatus `json:"home,omitempty"`
	HomesDir  string            `json:"homes_dir,omitempty"` // a directory that was named for the homes
	Leftovers []live.Leftover   `json:"leftovers"`
	// Host is empty where the directory is on a stick that is not mounted.
	Host     HostStatus      `json:"host"`
	Compact  *CompactOutlook `json:"compact,omitempty"`
	Warnings []string        `json:"warnings"`
	// Unreadable are the first of the paths that cannot be read, and are among the
	// warnings.
	Unreadable []string `json:"unreadable,omitempty"`
}

// BaseStatus describes the base image.
type BaseStatus struct {
	Path       string        `json:"path"`
	Size       int64         `json:"size"`
	Content    int64         `json:"content_bytes"`    // of all files, each inode once, or in use in the image inside
	Ratio      float64       `json:"ratio"`            // Content by Size
	Format     packed.Format `json:"format,omitempty"` // of the image, "" where it is a file system image as it is
	Codec      string        `json:"codec"`            // "" where the base is not compressed
	BlockSize  int           `json:"block_size"`
	Inodes     uint32        `json:"inodes"`
	Fragments  uint32        `json:"fragments"`
	Exportable bool          `json:"exportable"`
	Built      time.Time     `json:"built"`
	VID        string        `json:"vid"`
	Wrapped    bool          `json:"wrapped"`
	Below      []string      `json:"below,omitempty"`      // other images of a base that is several
	Inner      string        `json:"inner,omitempty"`      // path of the image inside
	InnerSize  int64         `json:"inner_size,omitempty"` // bytes
	InUse      string        `json:"in_use,omitempty"`
}

// OverlayStatus describes the overlay.
type OverlayStatus struct {
	live.ImageStatus
	Form     live.Form      `json:"form"`
	Empty    bool           `json:"empty"`
	VID      string         `json:"vid"`
	VIDState live.VIDState  `json:"vid_state"`
	Changes  changes.Totals `json:"changes"`
	// COW is the state of a device-mapper snapshot. The figures of
	// ImageStatus are then of the merged file system, but for the path and the
	// sizes, which are the overlay's.
	COW *COWStatus `json:"snapshot,omitempty"`
	// Kept tells of what lies in the overlay's file and is not folded in.
	Kept []string `json:"kept,omitempty"`
}

// COWStatus describes the COW of a device-mapper snapshot.
type COWStatus struct {
	Line string `json:"line"` // as dmsetup status prints it
	dmmerge.Status
	Findings []dmmerge.Finding `json:"findings"`
}

// HostStatus describes the file system that the directory is on.
type HostStatus struct {
	FileSystem string `json:"filesystem"`
	Free       int64  `json:"free"`
	MaxFile    int64  `json:"max_file_size"`
}

// CompactOutlook is what a compaction would cost.
type CompactOutlook struct {
	Copy     int64        `json:"bytes_to_copy"`
	Compress int64        `json:"bytes_to_compress"`
	Size     int64        `json:"size_estimate"`
	Need     int64        `json:"space_needed"`
	Nothing  string       `json:"nothing,omitempty"` // why there is nothing to fold in
	Refused  string       `json:"refused,omitempty"`
	Code     refusal.Code `json:"code,omitempty"` // of Refused
	Hint     string       `json:"hint,omitempty"`
}

// Of gathers what there is to know. It reads the overlay's changed files to
// tell changes from copies.
func Of(ctx context.Context, e *job.Env, l *live.Live) (*Status, error) {
	s := &Status{Dir: l.Dir, Layout: l.Layout.Name(), Set: l.Set, HasVIDs: l.Layout.Traits().VersionIDs, Leftovers: []live.Leftover{},
		Warnings: []string{}, Unused: l.Unused}
	if l.Where.Source != "" {
		s.Where = &l.Where
	}
	vids, err := l.VIDs()
	if err != nil {
		return nil, err
	}
	if s.Base, err = baseStatus(l, vids); err != nil {
		return nil, err
	}
	var unreadable tree.Unreadable
	if l.Overlay != nil {
		if s.Overlay, err = overlayStatus(ctx, e, l, vids, &unreadable); err != nil {
			return nil, err
		}
		rep, err := l.OverlayWarnings()
		if err != nil {
			return nil, err
		}
		s.Unreadable = unreadable.Warnings()
		s.Warnings = append(append(s.Warnings, rep...), s.Unreadable...)
		if !vids.State.Used() {
			s.Warnings = append(s.Warnings, fmt.Sprintf("a boot ignores %s: its version id is %s, that of linuxfs %s", l.Files.Overlay[0],
				live.OrNone(vids.Overlay), live.OrNone(vids.Base)))
		}
	}
	if l.Home != nil {
		h := live.StatusOf(l.Home)
		if h.InUse, err = l.InUse(l.Home.Path); err != nil {
			return nil, err
		}
		s.Home = &h
	}
	s.HomesDir = l.HomesDir()
	if l.HomeProblem != nil {
		s.Warnings = append(s.Warnings, filepath.Base(l.Files.Home)+" cannot be read: "+l.HomeProblem.Error())
	}
	sets, err := sets.Warnings(ctx, e, l)
	if err != nil {
		return nil, err
	}
	s.Warnings = append(s.Warnings, sets...)
	if s.Leftovers, err = l.Leftovers(); err != nil {
		return nil, err
	}
	if l.OnHost() {
		if err := s.Host.look(l.Dir); err != nil {
			return nil, err
		}
	}
	s.Compact, err = outlook(ctx, e, l)
	return s, err
}

func (h *HostStatus) look(dir string) (err error) {
	if h.FileSystem, err = hostdisk.FilesystemType(dir); err != nil {
		return err
	}
	if h.Free, err = hostdisk.FreeSpace(dir); err != nil {
		return err
	}
	h.MaxFile, err = hostdisk.MaxFileSize(dir)
	return err
}

func baseStatus(l *live.Live, vids live.VIDs) (BaseStatus, error) {
	b := l.Base
	s := BaseStatus{Path: b.Path, Size: b.Size, VID: string(vids.Base), Below: b.Below, Wrapped: b.Inner != nil}
	if b.Inner != nil {
		s.Inner, s.InnerSize = b.Inner.Path, b.Inner.Content.Size()
	}
	if b.Image != nil {
		f := b.Image.Facts()
		s.Format, s.Codec, s.BlockSize = b.Image.Format(), f.Codec, f.BlockSize
		s.Fragments, s.Exportable = f.Fragments, f.Numbered
		s.Built = f.Built.Time().UTC()
	}
	if b.Image == nil {
		s.Built = b.Inner.FS.Info().Created.Time().UTC()
	}
	var inodes int64
	var err error
	if s.Content, inodes, err = b.Content(); err != nil {
		return s, err
	}
	s.Inodes = uint32(inodes)
	if s.Size > 0 {
		s.Ratio = float64(s.Content) / float64(s.Size)
	}
	s.InUse, err = l.InUse(b.Path)
	return s, err
}

func overlayStatus(ctx context.Context, e *job.Env, l *live.Live, vids live.VIDs, unreadable *tree.Unreadable) (*OverlayStatus, error) {
	o := l.Overlay
	s := &OverlayStatus{Form: o.Form, Empty: o.Empty, Kept: o.Kept, VID: string(vids.Overlay), VIDState: vids.State}
	var err error
	switch {
	case o.Image != nil:
		s.ImageStatus = live.StatusOf(o.Image)
	case o.COW != nil:
		c := o.COW
		s.ImageStatus = live.StatusOf(&live.Image{Path: o.Path, Size: c.Size, Allocated: c.Allocated, FS: c.FS})
		st := c.Store.Status()
		s.COW = &COWStatus{Line: st.Line(c.Device.Size()), Status: st, Findings: c.Store.Findings()}
		if s.COW.Findings == nil {
			s.COW.Findings = []dmmerge.Finding{}
		}
	default:
		s.Path, s.Clean = o.Path, true
		if l.OnHost() {
			if s.FileSystem, err = hostdisk.FilesystemType(o.Path); err != nil {
				return nil, err
			}
		}
		if s.Size, err = live.ContentSize(ctx, o.Upper); err != nil {
			return nil, err
		}
		s.Allocated, s.UsedBytes = s.Size, s.Size
	}
	if s.InUse, err = l.InUse(o.Path); err != nil {
		return nil, err
	}
	e.Phase("comparing "+o.Name()+" with "+l.Base.Name(), 0)
	err = changes.Readable(ctx, l, func(c changes.Change) error {
		s.Changes.Add(&c)
		return nil
	}, unreadable.Add)
	return s, err
}

// outlook plans a compaction and tells what it would cost, or why it would be
// refused.
func outlook(ctx context.Context, e *job.Env, l *live.Live) (*CompactOutlook, error) {
	p, err := compact.New(ctx, e, l, compact.Options{KeepOld: 1})
	if r, ok := refusal.Is(err); ok {
		return &CompactOutlook{Refused: r.Fact, Code: r.Code, Hint: r.Hint}, nil
	}
	if ctx.Err() == nil && tree.IsDamage(err) {
		return &CompactOutlook{Refused: err.Error(), Code: refusal.CodeOf(err), Hint: refusal.Hint(err)}, nil
	}
	if err != nil {
		return nil, err
	}
	s := p.Summary
	return &CompactOutlook{Copy: s.Copy, Compress: s.Compress, Size: s.Estimate, Need: s.Need, Nothing: s.Nothing}, nil
}
