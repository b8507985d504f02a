package snapshot_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"relive/remaster/livetest"
	"relive/remaster/snapshot"
	"relive/tree/systest"
)

// TestRaw: of an ISO that is written to a disk, a partition is the volume, so that a
// boot does not take the whole disk for its medium; and each tool adds a partition
// behind, by which the first stays what it is. That one is read as an ISO by itself,
// by xorriso.
func TestRaw(t *testing.T) {
	systest.NeedTools(t, "sgdisk", "sfdisk", "parted", "blkid", "xorriso", "dd")
	l := livetest.Small(t)
	kernel, initrd := kernelFiles(t)
	iso := runSnapshot(t, l.Dir, snapshot.Options{Output: systest.TempDir(t) + "/out.iso", Template: bootable(t, "OLD"), Kernel: kernel,
		Initrd: initrd, VolumeID: "RAW"}).Path
	for name, add := range map[string]string{
		"as it is": "true",
		"sgdisk":   `sgdisk -e "$1" && sgdisk -n 0:0:0 -c 0:persistence "$1"`,
		"sfdisk":   `echo ',,L' | sfdisk -q --append "$1"`,
		"parted": `sgdisk -e "$1" && end=$(sgdisk -E "$1" | tail -1) &&
			parted -s "$1" unit s mkpart persistence ext4 $((end - 65535)) $end`,
	} {
		disk := systest.TempDir(t) + "/disk"
		systest.CopyFile(t, iso, disk)
		systest.Must(t, os.Truncate(disk, 64<<20))
		systest.Run(t, "sh", "-ec", add, "sh", disk)
		if out := systest.Output(t, "sgdisk", "-v", disk); name != "as it is" && !strings.Contains(out, "No problems found") {
			t.Errorf("%s: %s", name, out)
		}
		start, size := partitionPlace(t, disk, 1)
		part := disk + ".1"
		systest.Run(t, "dd", "if="+disk, "of="+part, "bs=512", fmt.Sprintf("skip=%d", start/512), fmt.Sprintf("count=%d", size/512),
			"status=none")
		dir := inISO(t, part)
		for _, file := range []string{"antiX/linuxfs", "boot/isolinux/isolinux.cfg"} {
			if _, err := os.Stat(filepath.Join(dir, file)); err != nil {
				t.Errorf("%s: partition 1: %v", name, err)
			}
		}
		systest.Run(t, "sh", "-ec", `cd "$1/antiX" && md5sum --quiet -c linuxfs.md5`, "sh", dir)
		if label := systest.Output(t, "blkid", "-p", "-O", strconv.FormatInt(start, 10), "-s", "LABEL", "-o", "value",
			disk); strings.TrimSpace(label) != "RAW" {
			t.Errorf("%s: partition 1 is called %q", name, label)
		}
		if name == "as it is" {
			continue
		}
		if start, size := partitionPlace(t, disk, 4); start < 8<<20 && size < 16<<20 {
			t.Errorf("%s: partition 4 lies at %d and has %d bytes", name, start, size)
		}
	}
}

// partitionPlace returns where a partition begins and its size, in bytes.
func partitionPlace(t *testing.T, disk string, number int) (start, size int64) {
	t.Helper()
	for line := range strings.Lines(systest.Output(t, "sgdisk", "-p", disk)) {
		f := strings.Fields(line)
		if len(f) < 3 || f[0] != strconv.Itoa(number) {
			continue
		}
		first, err := strconv.ParseInt(f[1], 10, 64)
		systest.Must(t, err)
		last, err := strconv.ParseInt(f[2], 10, 64)
		systest.Must(t, err)
		return first * 512, (last - first + 1) * 512
	}
	t.Fatalf("%s has no partition %d", disk, number)
	return 0, 0
}
