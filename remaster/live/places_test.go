package live_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"relive/codec"
	"relive/extfs/mkfs"
	"relive/remaster/doctor"
	"relive/remaster/job"
	"relive/remaster/kernel"
	"relive/remaster/live"
	"relive/remaster/status"
	"relive/squash"
	"relive/tree"
	"relive/tree/systest"
)

// file and dir make trees of what is on a partition: "a/b" lies in a directory a.
type files map[string][]byte

// node makes a tree of files; a name that ends in a slash is a directory.
func (fs files) node() *tree.Node {
	type dir struct {
		kids map[string]*dir
		data []byte
		file bool
	}
	top := &dir{kids: map[string]*dir{}}
	for name, data := range fs {
		at := top
		parts := strings.Split(strings.TrimSuffix(name, "/"), "/")
		for i, p := range parts {
			next := at.kids[p]
			if next == nil {
				next = &dir{kids: map[string]*dir{}}
				at.kids[p] = next
			}
			if at = next; i == len(parts)-1 && !strings.HasSuffix(name, "/") {
				at.data, at.file = data, true
			}
		}
	}
	var make func(name string, d *dir) *tree.Node
	make = func(name string, d *dir) *tree.Node {
		if d.file {
			return tree.NewFile(name, 0o644, d.data)
		}
		var kids []*tree.Node
		for n, k := range d.kids {
			kids = append(kids, make(n, k))
		}
		slices.SortFunc(kids, func(a, b *tree.Node) int { return strings.Compare(a.Name, b.Name) })
		return tree.NewDir(name, 0o755, kids...)
	}
	return make("", top)
}

// ext makes an ext4 image.
func ext(t *testing.T, label string, fs files) []byte {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "ext"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	size := int64(4 << 20)
	for _, data := range fs {
		size += int64(len(data))
	}
	if _, err := mkfs.Build(t.Context(), f, fs.node(), mkfs.Options{Name: "ext", Size: (size + 1<<20) &^ (1<<20 - 1), Label: label,
		Features: mkfs.DefaultFeatures()}); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// fat makes a FAT file system.
func fat(t *testing.T, label string, fs files) []byte {
	t.Helper()
	systest.NeedTools(t, "mkfs.vfat", "mcopy")
	at := filepath.Join(t.TempDir(), "fat")
	systest.BlankAt(t, at, 24<<20)
	systest.Run(t, "mkfs.vfat", "-n", label, at)
	src := t.TempDir()
	write(t, src, fs)
	entries, err := os.ReadDir(src)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		systest.Run(t, "mcopy", "-s", "-i", at, filepath.Join(src, e.Name()), "::/")
	}
	b, err := os.ReadFile(at)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// write puts files into a directory of the host.
func write(t *testing.T, dir string, fs files) {
	t.Helper()
	for name, data := range fs {
		at := filepath.Join(dir, name)
		if strings.HasSuffix(name, "/") {
			if err := os.MkdirAll(at, 0o755); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// part is a partition: its bytes, and its name in a GPT.
type part struct {
	data []byte
	name string
}

// stickOf makes an image of a stick: with an MBR, or a GPT where a partition has a
// name.
func stickOf(t *testing.T, parts ...part) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "S.img")
	const first = 2048
	var disk []byte
	disk = append(disk, make([]byte, first*512)...)
	var script strings.Builder
	gpt := false
	for i, p := range parts {
		start := len(disk) / 512
		disk = append(disk, p.data...)
		disk = append(disk, make([]byte, -len(disk)&(1<<20-1))...)
		e := disk[446+16*i:]
		e[4] = 0x83
		binary.LittleEndian.PutUint32(e[8:], uint32(start))
		binary.LittleEndian.PutUint32(e[12:], uint32(len(p.data)/512))
		gpt = gpt || p.name != ""
		script.WriteString("start=" + strconv.Itoa(start) + ", size=" + strconv.Itoa(len(p.data)/512) + `, name="` + p.name + "\"\n")
	}
	disk[510], disk[511] = 0x55, 0xaa
	disk = append(disk, make([]byte, 1<<20)...)
	if gpt {
		clear(disk[:512])
	}
	if err := os.WriteFile(path, disk, 0o644); err != nil {
		t.Fatal(err)
	}
	if gpt {
		systest.NeedTools(t, "sfdisk")
		systest.Feed(t, "label: gpt\n"+script.String(), "sfdisk", "-q", path)
	}
	return path
}

// place is a situation of docs/places.md.
type place struct {
	medium files   // without the base, which is put in
	fat    bool    // the medium is on FAT
	others []part  // partitions behind it
	home   bool    // it is about homes
	dir    *string // what a directory with the medium's files gives, where that is not what the stick gives
}

// The overlay of every place has a file mine.
func overlayOf(upper, work string, more ...string) files {
	fs := files{upper + "/mine": []byte("mine"), work + "/": nil}
	for i := 0; i+1 < len(more); i += 2 {
		fs[more[i]] = []byte(more[i+1])
	}
	return fs
}

func merged(all ...files) files {
	out := files{}
	for _, fs := range all {
		for name, data := range fs {
			out[name] = data
		}
	}
	return out
}

// below puts files into a directory.
func below(dir string, fs files) files {
	out := files{}
	for name, data := range fs {
		out[dir+"/"+name] = data
	}
	return out
}

// grub is a menu of one entry with these arguments.
func grub(kernel, args string) files {
	return files{"boot/grub/grub.cfg": []byte("menuentry \"Live\" {\n linux " + kernel + " " + args + "\n initrd /initrd\n}\n")}
}

func str(s string) *string { return &s }

// places are the cases of docs/places.md by their names.
func places(t *testing.T) map[string]func() place {
	debian := overlayOf("rw", "work", "persistence.conf", "/ union\n")
	ubuntu := overlayOf("upper", "work")
	arch := overlayOf("upperdir", "workdir")
	dracut := overlayOf("overlayfs", "ovlwork")
	luks := append([]byte("LUKS\xba\xbe\x00\x02"), make([]byte, 1<<20-8)...)
	image := func(label string, fs files) []byte { return ext(t, label, fs) }
	newer := kernel.Segment("lib/live/boot/9990-misc-helpers.sh",
		[]byte("for d in /run/live/medium /run/live/rootfs/* /run/live/findiso\n"))
	live := func(args string) files { return grub("/live/vmlinuz", "boot=live "+args) }
	return map[string]func() place{
		"debian-dracut": func() place { return place{medium: files{"live/overlay-L-1234-ABCD": image("", dracut)}} },
		"debian-label":  func() place { return place{others: []part{{data: image("persistence", debian)}}} },
		"debian-gpt":    func() place { return place{others: []part{{data: image("x", debian), name: "persistence"}}} },
		"debian-label-menu": func() place {
			return place{medium: live("persistence persistence-label=mydata"), others: []part{{data: image("mydata", debian)}}}
		},
		"debian-file-elsewhere": func() place {
			return place{others: []part{{data: image("data", files{"persistence": image("", debian)})}}}
		},
		"debian-file": func() place { return place{medium: files{"persistence": image("", debian)}} },
		"debian-file-new": func() place {
			return place{medium: files{"persistence": image("", debian), "live/initrd.img": newer}, dir: str("used")}
		},
		"debian-path-menu": func() place {
			return place{medium: merged(live("persistence persistence-path=sub"), files{"sub/persistence": image("", debian)})}
		},
		"debian-path-other": func() place {
			return place{medium: merged(live("persistence persistence-path=sub"),
				files{"persistence": image("", debian), "sub/persistence": image("", debian)})}
		},
		"debian-path-missing": func() place {
			return place{medium: merged(live("persistence persistence-path=sub"), files{"persistence": image("", debian)})}
		},
		"debian-directory": func() place {
			return place{medium: merged(live("persistence persistence-storage=directory"), below("persistence", debian))}
		},
		"debian-luks": func() place { return place{others: []part{{data: luks, name: "persistence"}}} },
		"debian-two": func() place {
			return place{others: []part{{data: image("persistence", debian)}, {data: image("persistence", debian)}}}
		},
		"debian-mac":   func() place { return place{medium: files{"live/0011223344ff/x.ext4": image("", debian)}} },
		"casper-label": func() place { return place{others: []part{{data: image("writable", ubuntu)}}} },
		"casper-both": func() place {
			return place{fat: true, medium: files{"writable": image("", ubuntu)}, others: []part{{data: image("writable", ubuntu)}}}
		},
		"casper-file-fat": func() place { return place{fat: true, medium: files{"writable": image("", ubuntu)}} },
		"casper-file-ext": func() place { return place{medium: files{"writable": image("", ubuntu)}, dir: str("used")} },
		"casper-path-menu": func() place {
			return place{fat: true, medium: merged(grub("/casper/vmlinuz", "persistent persistent-path=save"),
				files{"save/writable": image("", ubuntu)})}
		},
		"casper-home": func() place {
			return place{others: []part{{data: image("home-rw", files{"me/mine": nil})}}, home: true}
		},
		"archiso-partition": func() place { return place{others: []part{{data: image("COW", below("persistent_/x86_64", arch))}}} },
		"archiso-directory": func() place {
			return place{medium: grub("/arch/boot/vmlinuz-linux", "cow_label=COW cow_directory=my/changes"),
				others: []part{{data: image("COW", below("my/changes", arch))}}}
		},
		"archiso-own":     func() place { return place{medium: below("persistent_A/x86_64", arch)} },
		"archiso-missing": func() place { return place{medium: grub("/arch/boot/vmlinuz-linux", "cow_label=GONE")} },
		"liveos-own":      func() place { return place{medium: files{"LiveOS/overlay-L-1234": image("", dracut)}} },
		"liveos-root":     func() place { return place{medium: overlayOf("overlay", "ovlwork")} },
		"liveos-both": func() place {
			return place{medium: merged(files{"LiveOS/overlay-L-1234": image("", dracut)}, overlayOf("overlay", "ovlwork"))}
		},
		"liveos-empty":     func() place { return place{medium: files{"overlay/": nil, "ovlwork/": nil}} },
		"liveos-partition": func() place { return place{others: []part{{data: image("OVL", overlayOf("overlay", "ovlwork"))}}} },
		"liveos-elsewhere": func() place {
			return place{others: []part{{data: image("OVL", files{"LiveOS/overlay-L-1234": image("", dracut)})}}}
		},
		"liveos-kiwi":      func() place { return place{others: []part{{data: image("cow", overlayOf("rw", "work"))}}} },
		"liveos-kiwi-file": func() place { return place{medium: files{"live_system.cow": image("cow", overlayOf("rw", "work"))}} },
		"antix-own":        func() place { return place{medium: files{"antiX/rootfs": image("rootfs", overlayOf("upper", "work"))}} },
		"antix-partition": func() place {
			return place{others: []part{{data: image("data", files{"antiX/rootfs": image("rootfs", overlayOf("upper", "work"))})}}}
		},
	}
}

var layoutBases = map[string]string{
	"debian": "live/filesystem.squashfs", "casper": "casper/filesystem.squashfs", "archiso": "arch/x86_64/airootfs.sfs",
	"liveos": "LiveOS/squashfs.img", "antix": "antiX/linuxfs",
}

// TestPlaces walks the tables of docs/places.md: what relive does with each place,
// on a stick that is not mounted and, where that says the same or less, in a
// directory with the medium's files.
func TestPlaces(t *testing.T) {
	text, err := os.ReadFile("../../docs/places.md")
	if err != nil {
		t.Fatal(err)
	}
	made := places(t)
	row := regexp.MustCompile(`(?m)^\| .* \| .* \| (.*) \| (.*) \| ([a-z]+-[a-z-]+) \|$`)
	seen := map[string]bool{}
	e := &job.Env{}
	if e.Library, err = codec.Open(codec.Go); err != nil {
		t.Fatal(err)
	}
	base := squashOf(t, e.Library)
	for _, m := range row.FindAllSubmatch(text, -1) {
		stick, name := strings.TrimSpace(string(m[1])), string(m[3])
		seen[name] = true
		make, ok := made[name]
		if !ok {
			t.Errorf("%s: the table has it, and this test does not", name)
			continue
		}
		t.Run(name, func(t *testing.T) {
			p := make()
			layout, _, _ := strings.Cut(name, "-")
			medium := merged(p.medium, files{layoutBases[layout]: base})
			own := part{}
			if p.fat {
				own.data = fat(t, "STICK", medium)
			} else {
				own.data = ext(t, "STICK", medium)
			}
			if got := openedAs(t, e, p.home, stickOf(t, append([]part{own}, p.others...)...)); got != stick {
				t.Errorf("on a stick: %q, the table says %q", got, stick)
			}
			if len(p.others) > 0 {
				return
			}
			if layout == "archiso" && stick == "used" || name == "liveos-root" || name == "liveos-both" {
				// Directories as overlays, whose marks only root sees.
				systest.NeedRoot(t)
			}
			dir := t.TempDir()
			write(t, dir, medium)
			at := dir
			if layout == "antix" {
				at = filepath.Join(dir, "antiX")
			}
			want := stick
			if p.dir != nil {
				want = *p.dir
			}
			if got := openedAs(t, e, p.home, at); got != want {
				t.Errorf("in a directory: %q, want %q", got, want)
			}
		})
	}
	for name := range made {
		if !seen[name] {
			t.Errorf("%s: this test has it, and no table does", name)
		}
	}
}

// openedAs tells in the words of the tables what relive does with what is there.
func openedAs(t *testing.T, e *job.Env, home bool, path string) string {
	t.Helper()
	var l *live.Live
	var err error
	if st, serr := os.Stat(path); serr == nil && st.IsDir() {
		l, err = live.Open(t.Context(), e, path)
	} else {
		l, err = live.OpenOnStick(t.Context(), e, path, "")
	}
	if err != nil {
		if strings.Contains(err.Error(), "there are 2 overlays") {
			return "refused"
		}
		t.Fatal(err)
	}
	defer l.Close()
	if home {
		if l.Home != nil && l.HomeProblem == nil {
			return "used"
		}
		return ""
	}
	n, err := l.Merged.Child("mine")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := status.Of(t.Context(), e, l); err != nil {
		t.Errorf("status: %v", err)
	}
	if _, err := doctor.Diagnose(t.Context(), e, l); err != nil {
		t.Errorf("doctor: %v", err)
	}
	refused := l.Check(context.Background(), e, live.Intent{ReadOnly: true}) != nil
	switch {
	case refused && len(l.Unused) > 0:
		return "refused"
	case refused:
		t.Error("refused without a word of what is not used")
		return ""
	case len(l.Unused) > 0 && n != nil:
		return "other"
	case len(l.Unused) > 0:
		if l.Overlay != nil {
			t.Errorf("%s is opened all the same", l.Overlay.Path)
		}
		return "ignored"
	case n != nil:
		return "used"
	}
	return "none"
}

// squashOf is a small base.
func squashOf(t *testing.T, lib *codec.Library) []byte {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "base"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	root := files{"etc/hostname": []byte("live\n"), "usr/bin/sh": []byte("sh")}.node()
	plan, err := squash.NewPlan(t.Context(), root, squash.WriteOptions{Library: lib, Codec: codec.DefaultOptions(codec.Gzip, 128<<10),
		BlockSize: 128 << 10})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := plan.Write(t.Context(), f, 0); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Clone(b)
}
