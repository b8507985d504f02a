package isoedit

import (
	"context"
	"fmt"
	"path/filepath"

	"relive/iso"
	"relive/tree"
)

// Info is what an image says of itself. Sizes are in bytes.
type Info struct {
	Path          string   `json:"path"`
	Size          int64    `json:"size"`
	VolumeSize    int64    `json:"volume_size"`
	VolumeID      string   `json:"volume_id"`
	UUID          string   `json:"uuid,omitempty"`
	Created       string   `json:"created,omitempty"`
	Modified      string   `json:"modified,omitempty"`
	SystemID      string   `json:"system_id,omitempty"`
	VolumeSetID   string   `json:"volume_set_id,omitempty"`
	Publisher     string   `json:"publisher,omitempty"`
	Preparer      string   `json:"preparer,omitempty"`
	Application   string   `json:"application,omitempty"`
	Names         string   `json:"names"` // of the tree that is shown
	RockRidge     bool     `json:"rock_ridge"`
	Joliet        int      `json:"joliet,omitempty"` // level
	UDF           bool     `json:"udf,omitempty"`
	Boot          []Boot   `json:"boot"`
	Catalog       string   `json:"boot_catalog,omitempty"` // its path, where it is a file
	Disk          *Disk    `json:"disk,omitempty"`
	ImplantedMD5  string   `json:"implanted_md5,omitempty"`
	Lives         []Live   `json:"live"`
	Problems      []string `json:"problems"`
	NotReplayable string   `json:"not_rebuildable,omitempty"` // why relive iso rebuild refuses it
	Left          []string `json:"rebuild_leaves_out,omitempty"`
}

// Boot is an entry of the boot catalogue.
type Boot struct {
	Platform  string `json:"platform"`
	Emulation string `json:"emulation"`
	// Path is that of the boot image; where it is no file, Sector alone tells where
	// it lies, in units of 2048 bytes.
	Path     string `json:"path,omitempty"`
	Sector   uint32 `json:"sector"`
	Load     uint16 `json:"load_sectors"` // of 512 bytes
	Bootable bool   `json:"bootable"`
	BootInfo bool   `json:"boot_info_table"`
	Grub2    bool   `json:"grub2_boot_info"`
}

// Disk is what makes an image a disk. Places are in units of 512 bytes.
type Disk struct {
	Code       string      `json:"code"` // what BIOS firmware starts
	DiskID     string      `json:"disk_id"`
	MBR        []Partition `json:"mbr"`
	GPT        []Partition `json:"gpt,omitempty"`
	GPTID      string      `json:"gpt_id,omitempty"`
	Apple      []Partition `json:"apple,omitempty"`
	AppleBlock int         `json:"apple_block,omitempty"` // bytes; the map's unit
}

// Partition is an entry of a partition table.
type Partition struct {
	Number int    `json:"number"`
	Type   string `json:"type"`
	Start  int64  `json:"start"`
	Blocks int64  `json:"blocks"`
	Active bool   `json:"active,omitempty"`
	Name   string `json:"name,omitempty"`
}

// Info tells what the image says of itself. What is damaged is among Problems.
func (o *ISO) Info(ctx context.Context) (*Info, error) {
	i := o.Image.Info()
	out := &Info{Path: o.Path, Size: i.ImageSize, VolumeSize: i.VolumeSize, VolumeID: i.VolumeID, UUID: i.UUID, SystemID: i.SystemID,
		VolumeSetID: i.VolumeSetID,
		Publisher:   i.Publisher, Preparer: i.Preparer, Application: i.Application, Names: o.Image.Names().String(), RockRidge: i.RockRidge,
		Joliet: i.JolietLevel,
		UDF:    i.UDF, Boot: []Boot{}, Lives: []Live{}, Problems: []string{}, Created: timeText(i.Created), Modified: timeText(i.Modified)}
	problem := func(err error) { out.Problems = append(out.Problems, err.Error()) }
	if i.VolumeSize > i.ImageSize {
		problem(fmt.Errorf("the image has %d bytes, and its volume %d: it is cut short", i.ImageSize, i.VolumeSize))
	}
	c, err := o.Image.ElTorito()
	if err != nil {
		problem(err)
	}
	if c != nil {
		if err := o.bootInfo(ctx, out, c); err != nil {
			if ctx.Err() != nil {
				return nil, err
			}
			problem(err)
		}
	}
	a, err := o.Image.SystemArea()
	if err != nil {
		problem(err)
	} else {
		out.Disk = diskInfo(a)
	}
	m, err := o.Image.ImplantedMD5()
	if err != nil {
		problem(err)
	}
	if m != nil {
		out.ImplantedMD5 = m.Sum
	}
	lives, problems, err := o.Lives(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil, err
		}
		problem(err)
	}
	out.Lives, out.Problems = append(out.Lives, lives...), append(out.Problems, problems...)
	if len(out.Problems) == 0 {
		_, left, err := o.Image.Replay(ctx)
		if ctx.Err() != nil {
			return nil, err
		}
		out.Left = left
		if err == nil {
			err = o.rebuildable()
		}
		if err != nil {
			out.NotReplayable = err.Error()
		}
	}
	return out, nil
}

// rebuildable refuses an image whose content is not, or not all, what the tree
// shows.
func (o *ISO) rebuildable() error {
	if o.Image.Info().UDF {
		return tree.Unsupported(filepath.Base(o.Path), "volume descriptors",
			"a UDF file system shares the image, and what it holds is not read")
	}
	return nil
}

func timeText(t tree.Time) string {
	if t == (tree.Time{}) {
		return ""
	}
	return t.Time().Format("2006-01-02 15:04:05 MST")
}

func (o *ISO) bootInfo(ctx context.Context, out *Info, c *iso.ElTorito) error {
	sectors := []uint32{c.Catalog}
	for _, e := range c.Entries {
		sectors = append(sectors, e.Block)
	}
	paths, err := o.Image.PathsAt(ctx, sectors...)
	if err != nil && ctx.Err() != nil {
		return err
	}
	if p := paths[c.Catalog]; p != "" {
		out.Catalog = "/" + p
	}
	for _, e := range c.Entries {
		b := Boot{Platform: platformName(e.Platform), Emulation: emulationName(e.Emulation), Sector: e.Block, Load: e.Sectors,
			Bootable: e.Bootable,
			BootInfo: e.BootInfo != nil, Grub2: e.Grub2Info}
		if p := paths[e.Block]; p != "" {
			b.Path = "/" + p
		}
		out.Boot = append(out.Boot, b)
	}
	return err
}

func platformName(p uint8) string {
	switch p {
	case iso.PlatformBIOS:
		return "BIOS"
	case iso.PlatformPowerPC:
		return "PowerPC"
	case iso.PlatformMac:
		return "Mac"
	case iso.PlatformEFI:
		return "UEFI"
	}
	return fmt.Sprintf("platform 0x%02x", p)
}

func emulationName(e uint8) string {
	names := []string{"none", "diskette of 1.2 MB", "diskette of 1.44 MB", "diskette of 2.88 MB", "hard disk"}
	if int(e) < len(names) {
		return names[e]
	}
	return fmt.Sprintf("emulation %d", e)
}

// diskInfo tells of the partition tables, nil where there is none.
func diskInfo(a *iso.SystemArea) *Disk {
	if a.MBR == nil && a.GPT == nil && a.APM == nil {
		return nil
	}
	d := &Disk{MBR: []Partition{}}
	if a.MBR != nil {
		d.Code, d.DiskID = a.MBR.Code.String(), fmt.Sprintf("%08x", a.MBR.DiskID)
		for _, p := range a.MBR.Partitions {
			d.MBR = append(d.MBR, Partition{Number: p.Number, Type: mbrType(p.Type), Start: int64(p.Start), Blocks: int64(p.Sectors),
				Active: p.Active})
		}
	}
	if a.GPT != nil {
		d.GPTID = a.GPT.DiskGUID.String()
		for _, p := range a.GPT.Partitions {
			d.GPT = append(d.GPT, Partition{Number: p.Number, Type: gptType(p.Type), Start: p.First, Blocks: p.Last - p.First + 1,
				Name: p.Name})
		}
	}
	if a.APM != nil {
		d.AppleBlock = a.APM.BlockSize
		for i, p := range a.APM.Partitions {
			d.Apple = append(d.Apple, Partition{Number: i + 1, Type: p.Type, Name: p.Name, Start: int64(p.Start), Blocks: int64(p.Blocks)})
		}
	}
	return d
}

func mbrType(t uint8) string {
	names := map[uint8]string{0: "empty", 0x17: "hidden NTFS, as isohybrid has it", 0x83: "Linux", 0xCD: "ISO 9660",
		0xEE: "protective, of a GPT", 0xEF: "EFI system partition"}
	if n, ok := names[t]; ok {
		return fmt.Sprintf("0x%02x (%s)", t, n)
	}
	return fmt.Sprintf("0x%02x", t)
}

func gptType(g iso.GUID) string {
	switch g {
	case iso.GUIDBasicData:
		return "basic data"
	case iso.GUIDEFISystem:
		return "EFI system partition"
	case iso.GUIDHFSPlus:
		return "HFS+"
	}
	return g.String()
}
