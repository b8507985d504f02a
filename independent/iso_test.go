package independent

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	diskfs "github.com/diskfs/go-diskfs/filesystem/iso9660"
	"github.com/diskfs/go-diskfs/partition/gpt"
	"github.com/diskfs/go-diskfs/partition/mbr"
	kdomanski "github.com/kdomanski/iso9660"

	"relive/iso"
	"relive/tree"
	"relive/tree/systest"
)

// writeISO writes an image.
func writeISO(t *testing.T, root *tree.Node, r iso.Recipe) (path string, size int64) {
	t.Helper()
	r.VolumeID, r.Time = "RELIVE", stamp
	plan, err := iso.NewPlan(t.Context(), root, r)
	systest.Must(t, err)
	return written(t, func(f *os.File) {
		_, err := plan.Write(t.Context(), f, nil)
		systest.Must(t, err)
	})
}

// TestISODiskfs: go-diskfs finds the volume, and refuses its directories: it
// takes PX of 36 bytes alone where the extension is RRIP_1991A, and of 44 where
// it is of 1.12. Media of mkisofs and xorriso have it as relive's, the serial
// number of 1.12 under the name of 1991A, and Linux, the BSDs and libisofs take
// PX for as long as it says it is.
func TestISODiskfs(t *testing.T) {
	path, size := writeISO(t, withLinks(), iso.Recipe{})
	image, err := diskfs.Read(opened(t, path), size, 0, 2048)
	systest.Must(t, err)
	if strings.TrimRight(image.Label(), " ") != "RELIVE" {
		t.Errorf("label %q", image.Label())
	}
	if _, err := image.ReadDir("."); err == nil || !strings.Contains(err.Error(), "PX extension must be 36 bytes, but received 44") {
		t.Errorf("directories: %v", err)
	}
}

// TestISOKdomanski: kdomanski/iso9660 reads the same, but for directories of
// more than 2 KiB: it reads each further sector of one into the buffer that the
// records before still point into, so names are lost or are the plain ones.
func TestISOKdomanski(t *testing.T) {
	root := sample()
	path, _ := writeISO(t, root, iso.Recipe{})
	f, err := os.Open(path)
	systest.Must(t, err)
	defer f.Close()
	image, err := kdomanski.OpenImage(f)
	systest.Must(t, err)
	top, err := image.RootDir()
	systest.Must(t, err)
	got, want := seenByKdomanski(t, top, ""), wanted(t, root)
	long := func(path string) bool { return strings.HasPrefix(path, "many/") || strings.HasPrefix(path, "sizes/") }
	same(t, got, want, long)
	lost := 0
	for path := range want {
		if _, ok := got[path]; long(path) && !ok {
			lost++
		}
	}
	if lost == 0 {
		t.Error("no name is lost: the reader is right now")
	}
	label, err := image.Label()
	if err != nil || strings.TrimSpace(label) != "RELIVE" {
		t.Errorf("label %q, %v", label, err)
	}
}

func seenByKdomanski(t *testing.T, dir *kdomanski.File, at string) facts {
	t.Helper()
	f := facts{}
	kids, err := dir.GetChildren()
	systest.Must(t, err)
	for _, k := range kids {
		path := at + k.Name()
		if k.IsDir() {
			f[path] = "directory"
			maps.Copy(f, seenByKdomanski(t, k, path+"/"))
			continue
		}
		b, err := io.ReadAll(k.Reader())
		systest.Must(t, err)
		f[path] = fact("file", k.Size(), b)
	}
	return f
}

// TestTables: go-diskfs finds the partitions that iso writes, and iso those that
// it wrote, with the same ids, types, names and flags.
func TestTables(t *testing.T) {
	root := dated(tree.NewDir("", 0o755, tree.NewFile("isolinux.bin", 0o644, content(30_000)),
		tree.NewFile("efi.img", 0o644, content(1<<20))))
	boot := []iso.BootImage{{Path: "isolinux.bin", BootInfo: true}, {Path: "efi.img", Platform: 0xef}}
	for _, c := range []struct {
		name     string
		table    iso.DiskTable
		mbr, gpt int // partitions
	}{{"MBR", iso.TableMBR, 2, 0}, {"GPT", iso.TableGPT, 1, 3}, {"both", iso.TableBoth, 2, 3}} {
		t.Run(c.name, func(t *testing.T) {
			disk := &iso.Disk{Code: bytes.Repeat([]byte{0x90}, 440), Table: c.table}
			path, size := writeISO(t, root, iso.Recipe{Boot: boot, Disk: disk})
			f, err := os.Open(path)
			systest.Must(t, err)
			defer f.Close()
			image, err := iso.Open(f, size, "image")
			systest.Must(t, err)
			area, err := image.SystemArea()
			systest.Must(t, err)

			var ours, theirs []string
			for _, p := range area.MBR.Partitions {
				ours = append(ours, fmt.Sprintf("%d %v %#x %d+%d", p.Number, p.Active, p.Type, p.Start, p.Sectors))
			}
			sectors, err := mbr.Read(opened(t, path), 512, 512)
			systest.Must(t, err)
			for _, p := range sectors.Partitions {
				if p.Type != mbr.Empty || p.Size > 0 {
					theirs = append(theirs, fmt.Sprintf("%d %v %#x %d+%d", p.Index, p.Bootable, p.Type, p.Start, p.Size))
				}
			}
			if !slices.Equal(ours, theirs) || len(ours) != c.mbr {
				t.Errorf("MBR: go-diskfs sees %q, iso %q", theirs, ours)
			}
			if id := fmt.Sprintf("%08x", area.MBR.DiskID); sectors.UUID() != id {
				t.Errorf("disk id %s, go-diskfs sees %s", id, sectors.UUID())
			}
			if area.GPT == nil {
				if _, err := gpt.Read(opened(t, path), 512, 512); err == nil || c.gpt > 0 {
					t.Errorf("iso sees no GPT; go-diskfs: %v", err)
				}
				return
			}

			ours, theirs = nil, nil
			for _, p := range area.GPT.Partitions {
				ours = append(ours, fmt.Sprintf("%d %d-%d %s %s %q %#x", p.Number, p.First, p.Last, p.Type, p.GUID, p.Name, p.Flags))
			}
			table, err := gpt.Read(opened(t, path), 512, 512)
			systest.Must(t, err)
			for _, p := range table.Partitions {
				theirs = append(theirs, fmt.Sprintf("%d %d-%d %s %s %q %#x", p.Index, p.Start, p.End,
					strings.ToLower(string(p.Type)), strings.ToLower(p.GUID), p.Name, p.Attributes))
			}
			if !slices.Equal(ours, theirs) || len(ours) != c.gpt {
				t.Errorf("GPT: go-diskfs sees %q, iso %q", theirs, ours)
			}
			if id := area.GPT.DiskGUID.String(); strings.ToLower(table.GUID) != id {
				t.Errorf("disk id %s, go-diskfs sees %s", id, table.GUID)
			}
			if err := table.Verify(opened(t, path), uint64(size)); err != nil || table.RecoveredFromBackup {
				t.Errorf("not sound: %v, read from the backup: %v", err, table.RecoveredFromBackup)
			}
		})
	}
}
