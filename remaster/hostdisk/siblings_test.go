package hostdisk

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

// TestSiblings: the other partitions of a disk, their labels by udev's links and
// where they are mounted. A file system that is on no partition has none.
func TestSiblings(t *testing.T) {
	root := fakeHost(t, "30 1 8:18 / /mnt/changes rw - ext4 /dev/sdb2 rw\n31 1 8:19 /sub /mnt/bound rw - ext4 /dev/sdb3 rw\n", nil, "")
	put := func(name, text string) {
		t.Helper()
		at := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	link := func(name, to string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Join(root, filepath.Dir(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(to, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	for part, dev := range map[string]string{"sdb1": "8:17", "sdb2": "8:18", "sdb3": "8:19"} {
		put("sys/devices/usb/sdb/"+part+"/partition", "1\n")
		put("sys/devices/usb/sdb/"+part+"/dev", dev+"\n")
		link("sys/dev/block/"+dev, "../../devices/usb/sdb/"+part)
	}
	put("sys/devices/usb/sdb/queue/rotational", "0\n")
	put("sys/devices/virtual/loop0/dev", "7:0\n")
	link("sys/dev/block/7:0", "../../devices/virtual/loop0")
	link("dev/disk/by-label/persistence", "../../sdb2")
	link("dev/disk/by-uuid/1234", "../../sdb2")
	link("dev/disk/by-partlabel/cow", "../../sdb3")
	want := []Sibling{
		{Device: "/dev/sdb2", Label: "persistence", UUID: "1234", FileSystem: "ext4", Mounted: "/mnt/changes"},
		{Device: "/dev/sdb3", PartLabel: "cow"}, // only a directory of it is mounted
	}
	if got := siblings(root, "8:17"); !reflect.DeepEqual(got, want) {
		t.Errorf("siblings of sdb1: %+v, want %+v", got, want)
	}
	for _, dev := range []string{"7:0", "0:35"} {
		if got := siblings(root, dev); got != nil {
			t.Errorf("siblings of %s: %+v", dev, got)
		}
	}
}
