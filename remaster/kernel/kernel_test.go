package kernel

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"

	"relive/tree"
	"relive/tree/systest"
)

func content(t testing.TB, b []byte) tree.Content {
	t.Helper()
	c, err := tree.Bytes(b).Open()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// kind tells an error's kind.
func kind(err error) string {
	switch {
	case err == nil:
		return "none"
	case errors.Is(err, tree.ErrCorrupt):
		return "corrupt"
	case errors.Is(err, tree.ErrUnsupported):
		return "unsupported"
	}
	return "other: " + err.Error()
}

// bz is a bzImage's setup: the version's text at an offset from the file's
// beginning, protocol 2.15, of 64 bits.
func bz(at int, text string) []byte {
	b := make([]byte, 5*512)
	b[0x1f1] = 4
	copy(b[0x1fe:], "\x55\xaa\xeb\x6aHdrS\x0f\x02")
	if at > 0 {
		binary.LittleEndian.PutUint16(b[0x20e:], uint16(at-0x200))
		copy(b[at:], text)
	}
	b[0x211], b[0x236] = 1, 1
	return b
}

func arm64(text string) []byte {
	b := bytes.Repeat([]byte("code"), 400<<10)
	copy(b[56:], "ARM\x64")
	copy(b[700<<10:], "%s version %s (%s) %s\x00Linux version %s (%s)\x00"+text+"\x00")
	return b
}

func gzipped(t testing.TB, b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	w.Write(b)
	systest.Must(t, w.Close())
	return out.Bytes()
}

func zstded(t testing.TB, b []byte) []byte {
	w, err := zstd.NewWriter(nil)
	systest.Must(t, err)
	return w.EncodeAll(b, nil)
}

func xzed(t testing.TB, b []byte) []byte {
	var out bytes.Buffer
	w, err := xz.WriterConfig{DictCap: 1 << 16, BlockSize: 40000}.NewWriter(&out)
	systest.Must(t, err)
	_, err = w.Write(b)
	systest.Must(t, err)
	systest.Must(t, w.Close())
	return out.Bytes()
}

func zbooted(t testing.TB, b []byte) []byte {
	payload := gzipped(t, b)
	out := make([]byte, 4096)
	copy(out, "MZ\x00\x00zimg")
	binary.LittleEndian.PutUint32(out[8:], 4096)
	binary.LittleEndian.PutUint32(out[12:], uint32(len(payload)))
	copy(out[24:], "gzip")
	return append(append(out, payload...), "the rest of the EFI image"...)
}

func TestRead(t *testing.T) {
	const text = "6.1.0-56-amd64 (debian-kernel@lists.debian.org) #1 SMP PREEMPT_DYNAMIC Debian"
	const banner = "Linux version 6.6.1+rpt-rpi-v8 (serge@raspberrypi.com) (gcc 12) #1 SMP"
	bzImage := Image{"6.1.0-56-amd64", text, "bzImage", "x86_64"}
	for _, c := range []struct {
		name string
		b    []byte
		want Image
		kind string
	}{
		{"bzImage", bz(0x300, text+"\x00"), bzImage, "none"},
		{"at the end of the setup", bz(5*512-15, "6.1.0-56-amd64\x00"), Image{"6.1.0-56-amd64", "6.1.0-56-amd64", "bzImage", "x86_64"},
			"none"},
		{"not ended", bz(5*512-14, "6.1.0-56-amd64"), Image{}, "corrupt"},
		{"past the setup", func() []byte {
			b := append(bz(0x300, ""), "6.1.0\x00 and more"...)
			binary.LittleEndian.PutUint16(b[0x20e:], 5*512-0x200)
			return b
		}(), Image{}, "corrupt"},
		{"no version text", bz(0x300, "garbage\x00"), Image{}, "corrupt"},
		{"a path", bz(0x300, "6/../../x\x00"), Image{}, "corrupt"},
		{"no pointer", append(bz(0, ""), banner+"\x00"...), Image{"6.6.1+rpt-rpi-v8", banner, "", ""}, "none"},
		{"no pointer, no text", bz(0, ""), Image{}, "unsupported"},
		{"32 bit", func() []byte { b := bz(0x300, text+"\x00"); b[0x236] = 0; return b }(), Image{"6.1.0-56-amd64", text, "bzImage",
			"i386"}, "none"},
		{"protocol 2.11", func() []byte { b := bz(0x300, text+"\x00"); b[0x206] = 11; return b }(), Image{"6.1.0-56-amd64", text, "bzImage",
			"i386"}, "none"},
		{"zImage", func() []byte { b := bz(0x300, text+"\x00"); b[0x211], b[0x206] = 0, 0; return b }(),
			Image{"6.1.0-56-amd64", text, "zImage", "i386"}, "none"},
		{"arm64", arm64(banner), Image{"6.6.1+rpt-rpi-v8", banner, "arm64 Image", "aarch64"}, "none"},
		{"arm64 gzip", gzipped(t, arm64(banner+"\n")), Image{"6.6.1+rpt-rpi-v8", banner, "gzip arm64 Image", "aarch64"}, "none"},
		{"arm64 zstd", zstded(t, arm64(banner)), Image{"6.6.1+rpt-rpi-v8", banner, "zstd arm64 Image", "aarch64"}, "none"},
		{"arm64 xz", xzed(t, arm64(banner)), Image{"6.6.1+rpt-rpi-v8", banner, "xz arm64 Image", "aarch64"}, "none"},
		{"zboot", zbooted(t, arm64(banner)), Image{"6.6.1+rpt-rpi-v8", banner, "EFI zboot", "aarch64"}, "none"},
		{"gzip, cut", gzipped(t, arm64("nothing"))[:300], Image{}, "corrupt"},
		{"empty", nil, Image{}, "unsupported"},
		{"text", []byte("Linux version x\x00Linux version 6"), Image{}, "unsupported"},
	} {
		got, err := Read(context.Background(), content(t, c.b), "vmlinuz")
		if got != c.want || kind(err) != c.kind {
			t.Errorf("%s: %+v, %v", c.name, got, err)
		}
		if err != nil && !strings.HasPrefix(err.Error(), "vmlinuz: ") {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if _, err := Read(context.Background(), repeated{[]byte{0}, 1 << 40}, "vmlinuz"); kind(err) != "unsupported" {
		t.Error(err)
	}
	// The text is found wherever the buffer that it is looked for in ends.
	const tail = banner + "\x00"
	for at := 256<<10 - len(tail) - 5; at < 256<<10+5; at++ {
		b := make([]byte, at+len(tail)+3)
		copy(b[at:], tail)
		if v, text, _, err := findBanner(bytes.NewReader(b)); v != "6.6.1+rpt-rpi-v8" || text != banner || err != nil {
			t.Fatalf("at %d: %q, %v", at, v, err)
		}
	}
}

// TestReadReal reads the header of Debian's kernel.
func TestReadReal(t *testing.T) {
	head := systest.Unpack(t, "testdata/bzimage-6.1.0-56-amd64.head.zst")
	img, err := Read(context.Background(), content(t, head), "vmlinuz")
	if err != nil || img.Version != "6.1.0-56-amd64" || img.Format != "bzImage" || img.Arch != "x86_64" ||
		!strings.HasSuffix(img.Banner, "Debian 6.1.192-2 (2026-11-16)") {
		t.Errorf("%+v, %v", img, err)
	}
}

type file struct {
	name string
	mode int
	data string
}

const (
	dirMode  = 0o40755
	fileMode = 0o100644
)

func entry(f file) []byte {
	pad := func(b []byte) []byte { return append(b, make([]byte, -len(b)&3)...) }
	b := fmt.Appendf(nil, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%s\x00", 1, f.mode, 0, 0, 1, 0, len(f.data), 0, 0, 0,
		0, len(f.name)+1, 0, f.name)
	return pad(append(pad(b), f.data...))
}

func cpio(files ...file) []byte {
	var b []byte
	for _, f := range append(files, file{name: "TRAILER!!!"}) {
		b = append(b, entry(f)...)
	}
	return append(b, make([]byte, -len(b)&511)...)
}

func TestInitrd(t *testing.T) {
	micro := cpio(file{"kernel", dirMode, ""}, file{"kernel/x86/microcode/GenuineIntel.bin", fileMode, strings.Repeat("m", 5001)})
	main := cpio(file{".", dirMode, ""}, file{"usr/lib/modules/6.1.0-56-amd64/kernel/x.ko", fileMode, strings.Repeat("ko", 70000)},
		file{"init", 0o100755, "#!"})
	lib := cpio(file{"lib/modules", dirMode, ""}, file{"./lib/modules/5.10.0-1", dirMode, ""},
		file{"/lib/modules/6.12.1/modules.dep", fileMode, ""})
	none := cpio(file{"init", 0o100755, "x"}, file{"lib/modules/6.1-file", fileMode, "x"}, file{"lib/modules/keys/x", fileMode, ""},
		file{"etc/lib/modules/6.1/x", fileMode, ""}, file{"lib/modules/6.1", 0o120777, "x"})
	all := []string{"5.10.0-1", "6.1.0-56-amd64", "6.12.1"}
	one := all[1:2]
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	aligned := func(b []byte) []byte { return append(slices.Clone(b), make([]byte, -len(b)&3)...) }
	zeros := make([]byte, 9000)
	for _, c := range []struct {
		name string
		b    []byte
		want []string
		kind string
	}{
		{"plain", main, one, "none"},
		{"no trailer", entry(file{"lib/modules/6.12.1/x", fileMode, "y"}), all[2:], "none"},
		{"no padding", entry(file{"lib/modules/6.12.1/x", fileMode, "y"})[:132+1], all[2:], "none"},
		{"no modules", none, nil, "none"},
		{"gzip", gzipped(t, main), one, "none"},
		{"zstd", zstded(t, main), one, "none"},
		{"xz", xzed(t, main), one, "none"},
		{"microcode first", join(micro, zeros, zstded(t, main)), one, "none"},
		{"zeros first", join(zeros, gzipped(t, main)), one, "none"},
		{"several", join(micro, gzipped(t, main), zeros[:3], xzed(t, lib)), all, "none"},
		{"gzip, then plain", join(aligned(gzipped(t, main)), lib), all, "none"},
		{"zstd, then gzip", join(zstded(t, main), gzipped(t, lib)), all, "none"},
		{"xz, then zstd", join(xzed(t, main), zstded(t, lib)), all, "none"},
		{"zstd twice", join(zstded(t, main[:4000]), zstded(t, main[4000:]), zeros[:2], zstded(t, lib)), all, "none"},
		{"two archives in a stream", gzipped(t, join(main, zeros, lib)), all, "none"},
		{"padding to the end", join(main, zeros), one, "none"},
		{"empty", nil, nil, "unsupported"},
		{"zeros", zeros, nil, "unsupported"},
		{"no archive", []byte("something else"), nil, "unsupported"},
		{"no archive within", gzipped(t, []byte("something else")), nil, "unsupported"},
		{"old cpio", []byte("070707" + strings.Repeat("0", 200)), nil, "unsupported"},
		{"junk behind", join(main, []byte("junk")), nil, "corrupt"},
		{"junk within", gzipped(t, join(main, []byte("junk"))), nil, "corrupt"},
		{"not aligned", join(gzipped(t, main), zeros[:(5-len(gzipped(t, main))&3)&3], lib), nil, "corrupt"},
		{"cut in a name", main[:300], nil, "corrupt"},
		{"cut in a header", main[:200], nil, "corrupt"},
		{"gzip cut", gzipped(t, main)[:90], nil, "corrupt"},
		{"zstd cut", zstded(t, main)[:90], nil, "corrupt"},
		{"xz cut", xzed(t, main)[:90], nil, "corrupt"},
		{"long name", bytes.Replace(slices.Clone(main), []byte("00000002"), []byte("00002000"), 1), nil, "corrupt"},
		{"no number", bytes.Replace(slices.Clone(main), []byte("00000002"), []byte("0000000g"), 1), nil, "corrupt"},
	} {
		got, err := Initrd(context.Background(), content(t, c.b), "initrd")
		if !slices.Equal(got.Versions, c.want) || kind(err) != c.kind || got.Nested {
			t.Errorf("%s: %+v, %v", c.name, got, err)
		}
		if err != nil && !strings.HasPrefix(err.Error(), "initrd: ") {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if got, err := Initrd(context.Background(), content(t, cpio(file{"squashfs-root.img", fileMode, "hsqs"})), "initrd"); err != nil ||
		!got.Nested || got.Versions != nil {
		t.Errorf("nested: %+v, %v", got, err)
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(errors.New("enough"))
	if _, err := Initrd(ctx, content(t, gzipped(t, main)), "initrd"); err == nil || !strings.Contains(err.Error(), "enough") {
		t.Error(err)
	}
}

// TestInitrdTools reads what cpio and each compressor that an initrd may be made
// with write, one archive and two, one behind the other.
func TestInitrdTools(t *testing.T) {
	systest.NeedTools(t, "cpio", "find", "sh", "gzip", "bzip2", "lzma", "xz", "lzop", "lz4", "zstd")
	dir := systest.TempDir(t)
	src := filepath.Join(dir, "src")
	for i, name := range []string{"usr/lib/modules/6.1.0-56-amd64/kernel/a.ko", "bin/busybox", "init"} {
		systest.Must(t, os.MkdirAll(filepath.Dir(filepath.Join(src, name)), 0o755))
		data := make([]byte, 90000*i+7)
		for k := range data {
			data[k] = byte(k * k >> 7)
		}
		systest.Must(t, os.WriteFile(filepath.Join(src, name), data, 0o644))
	}
	systest.Must(t, os.Symlink("usr/lib", filepath.Join(src, "lib")))
	systest.Run(t, "sh", "-c", "cd '"+src+"' && find . | cpio --quiet -o -H newc > ../plain")
	systest.Run(t, "sh", "-c", "cd '"+src+"' && find . | cpio --quiet -o -H crc > ../crc")
	plain := filepath.Join(dir, "plain")
	want := []string{"6.1.0-56-amd64"}
	more := gzipped(t, cpio(file{"lib/modules/6.12.1/x", fileMode, ""}))
	for _, cmd := range []string{"cat", "cat ../crc #", "gzip -9 -c", "bzip2 -c", "lzma -c", "lzma -9 -c", "xz -c",
		"xz --check=crc32 -9 -c", "xz --check=sha256 --block-size=100000 -c", "xz --check=none -c",
		"lzop -9 -c", "lzop -c", "lz4 -l -c", "lz4 -l -9 -c", "sh -c 'head -c 5000 | lz4 -l -c; tail -c +5001 ../plain | lz4 -l -c'",
		"zstd -19 -c -q", "zstd --ultra -22 --long=27 -c -q", "zstd --no-check -c -q"} {
		out := []byte(systest.Output(t, "sh", "-c", "cd '"+src+"' && "+cmd+" < '"+plain+"'"))
		got, err := Initrd(context.Background(), content(t, out), "initrd")
		if err != nil || !slices.Equal(got.Versions, want) {
			t.Errorf("%s: %+v, %v", cmd, got, err)
		}
		if strings.HasPrefix(cmd, "bzip2") {
			continue
		}
		out = append(append(out, make([]byte, 8)...), more...)
		got, err = Initrd(context.Background(), content(t, out), "initrd")
		if err != nil || !slices.Equal(got.Versions, append(want[:1:1], "6.12.1")) {
			t.Errorf("%s, another behind it: %+v, %v", cmd, got, err)
		}
		// Cut anywhere, it is an error or has its versions, and never hangs.
		for n := 1; n < 6; n++ {
			if d, err := Initrd(context.Background(), content(t, out[:len(out)*n/6]), "initrd"); err == nil && len(d.Versions) == 0 {
				t.Errorf("%s, cut to %d of 6: no version, no error", cmd, n)
			}
		}
	}
	// What lzop calls the checksum of packed data; it writes none itself.
	lzo := []byte(systest.Output(t, "sh", "-c", "lzop -c < '"+plain+"'"))
	if got, err := Initrd(context.Background(), content(t, withPackedSums(t, lzo)), "initrd"); err != nil ||
		!slices.Equal(got.Versions, want) {
		t.Errorf("lzop with more checksums: %+v, %v", got, err)
	}
	bcj := systest.Output(t, "sh", "-c", "xz --x86 --lzma2 -c < '"+plain+"'")
	if _, err := Initrd(context.Background(), content(t, []byte(bcj)), "initrd"); kind(err) != "unsupported" {
		t.Error(err)
	}
}

// withPackedSums puts a checksum of the packed data before each block of an
// lzop file, which has none in its name and one of the unpacked data.
func withPackedSums(t testing.TB, b []byte) []byte {
	const header = 9 + 7 + 1 + 4 + 4 + 4 + 4 + 1 + 4
	flags := binary.BigEndian.Uint32(b[17:])
	if flags&(lzopAdlerD|lzopAdlerC|lzopCRCD|lzopCRCC|lzopFilter|lzopExtra) != lzopAdlerD || b[33] != 0 {
		t.Fatalf("lzop wrote flags %#x", flags)
	}
	out := slices.Clone(b[:header])
	binary.BigEndian.PutUint32(out[17:], flags|lzopAdlerC)
	for b = b[header:]; len(b) > 4; {
		size, packed := binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])
		out = append(out, b[:12]...)
		if packed < size {
			out = append(out, "sums"...)
		}
		out = append(out, b[12:12+packed]...)
		b = b[12+packed:]
	}
	return append(out, b...)
}

// repeated is a file that only seems large.
type repeated struct {
	b    []byte
	size int64
}

func (r repeated) ReadAt(p []byte, off int64) (int, error) {
	n := 0
	for n < len(p) && off+int64(n) < r.size {
		n += copy(p[n:min(int64(len(p)), r.size-off)], r.b[(off+int64(n))%int64(len(r.b)):])
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}
func (r repeated) Size() int64  { return r.size }
func (r repeated) Close() error { return nil }
func (r repeated) NextData(off int64) (int64, int64, error) {
	return tree.WholeData(off, r.size)
}

// TestBombs: small files that unpack to much, or ask for much.
func TestBombs(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	var z bytes.Buffer
	w, err := zstd.NewWriter(&z)
	systest.Must(t, err)
	w.Write(bytes.Replace(entry(file{"a", fileMode, "12345678"}), []byte("00000008"), []byte("fffffff0"), 1))
	mb := make([]byte, 1<<20)
	for range maxUnpacked>>20 + 1 {
		w.Write(mb)
	}
	systest.Must(t, w.Close())
	dict := xzed(t, []byte("x"))
	big := slices.Clone(dict)
	big[16] = 40 // the dictionary: 4 GiB
	binary.LittleEndian.PutUint32(big[20:], crc(big[12:20]))
	lz := []byte("\x5d\x00\x00\x00\x40\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00\x00\x00") // 1 GiB
	empty := gzipped(t, nil)
	for _, c := range []struct {
		name string
		c    tree.Content
		kind string
	}{
		{"zstd of zeros", content(t, z.Bytes()), "unsupported"},
		{"xz that asks for a dictionary", content(t, big), "unsupported"},
		{"lzma that asks for a dictionary", content(t, lz), "corrupt"},
		{"a file of a TiB", repeated{[]byte{0}, 1 << 40}, "unsupported"},
		{"a million empty streams", repeated{empty, int64(len(empty)) << 20}, "unsupported"},
	} {
		start := time.Now()
		_, err := Initrd(context.Background(), c.c, "initrd")
		if kind(err) != c.kind {
			t.Errorf("%s: %v", c.name, err)
		}
		t.Logf("%s: %v in %v", c.name, err, time.Since(start))
	}
}

func TestModules(t *testing.T) {
	build := func(links map[string]string, files ...string) *tree.Node {
		var e tree.Edits
		for _, f := range files {
			if strings.HasSuffix(f, "/") {
				e.Put(strings.TrimSuffix(f, "/"), tree.NewDir("", 0o755))
			} else {
				e.Put(f, tree.NewFile("", 0o644, nil))
			}
		}
		for at, to := range links {
			e.Put(at, tree.NewSymlink("", to))
		}
		root, err := e.Apply(tree.NewDir("", 0o755))
		systest.Must(t, err)
		return root
	}
	for _, c := range []struct {
		name string
		root *tree.Node
		want string
	}{
		{"none", build(nil), ""},
		{"plain", build(nil, "lib/modules/6.1.0/modules.dep", "lib/modules/5.10/kernel/", "lib/modules/6.9/updates/x",
			"lib/modules/x/kernel/"), "5.10 6.1.0"},
		{"merged", build(map[string]string{"lib": "usr/lib"}, "usr/lib/modules/6.1.0/modules.dep.bin"), "6.1.0"},
		{"merged, absolute", build(map[string]string{"lib": "/usr/lib"}, "usr/lib/modules/6.1.0/kernel/x"), "6.1.0"},
		{"absolute, deeper", build(map[string]string{"lib/modules": "/opt/m"}, "opt/m/6.1.0/kernel/x", "lib/x"), "6.1.0"},
		{"both", build(nil, "lib/modules/6.1.0/modules.dep", "usr/lib/modules/6.5.0/modules.dep"), "6.1.0 6.5.0"},
		{"link to a version", build(map[string]string{"lib/modules/6.2": "../../opt/m"}, "opt/m/modules.dep"), "6.2"},
		{"loops", build(map[string]string{"lib": "lib", "usr/lib": "../usr/lib"}), ""},
		{"out of the tree", build(map[string]string{"lib": "../../../usr/lib"}, "usr/lib/modules/6.1.0/modules.dep"), "6.1.0"},
	} {
		got, err := Modules(c.root)
		if strings.Join(got, " ") != c.want || err != nil {
			t.Errorf("%s: %q, %v", c.name, got, err)
		}
	}
}

func TestCheck(t *testing.T) {
	k := Image{Version: "6.1"}
	ram := func(v ...string) Ramdisk { return Ramdisk{Versions: v} }
	for _, c := range []struct {
		ram     Ramdisk
		modules []string
		want    string
	}{
		{ram("6.1"), []string{"5.10", "6.1"}, ""},
		{ram(), []string{"6.1"}, ""},
		{ram("5.10", "6.1"), []string{"6.1"}, ""},
		{ram("6.1"), []string{"5.10"},
			"the kernel is 6.1, but the system has modules of 5.10: it would start without drivers that are not in the initrd"},
		{ram("6.2"), []string{
			"6.1",
		}, "the kernel is 6.1, but the initrd has modules of 6.2: it may not find the medium that it starts from"},
		{ram("6.2"), []string{"6.3"}, "the kernel is 6.1, but the system has modules of 6.3: it would start without drivers that are not " +
			"in the initrd\nthe kernel is 6.1, but the initrd has modules of 6.2: it may not find the medium that it starts from"},
		{ram(), nil, "the system has no kernel modules, nor has the initrd: that is right only for a kernel with all its drivers built " +
			"in (6.1)"},
		{ram("6.1"), nil, "the system has no kernel modules: once it is started, the kernel 6.1 finds no more drivers than the initrd " +
			"has loaded"},
		{ram(), []string{"1", "2", "3", "4", "5", "6", "7"}, "the kernel is 6.1, but the system has modules of 1, 2, 3, 4, 5 and 2 more: " +
			"it would start without drivers that are not in the initrd"},
	} {
		if got := strings.Join(Check(k, c.ram, c.modules), "\n"); got != c.want {
			t.Errorf("%v, %v: %s", c.ram, c.modules, got)
		}
	}
}

func FuzzRead(f *testing.F) {
	for _, b := range [][]byte{bz(0x300, "6.1 x\x00"), bz(0, ""), zbooted(f, []byte("Linux version 6.1 x\x00")),
		gzipped(f, []byte("Linux version 6.1 x\x00")), []byte("Linux version 6.1\x00")} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		img, err := Read(context.Background(), content(t, b), "fuzz")
		if err == nil && !isRelease(img.Version) || err != nil && img != (Image{}) {
			t.Errorf("%+v, %v", img, err)
		}
	})
}

func FuzzInitrd(f *testing.F) {
	a := cpio(file{"lib/modules/6.1/x", fileMode, "data"})
	for _, b := range [][]byte{a, gzipped(f, a), zstded(f, a), xzed(f, a), append(slices.Clone(a), gzipped(f, a)...)} {
		f.Add(b)
	}
	if found, err := filepath.Glob("testdata/initrd.*"); err == nil {
		for _, p := range found {
			b, err := os.ReadFile(p)
			systest.Must(f, err)
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := Initrd(context.Background(), content(t, b), "fuzz")
		if err != nil && kind(err) != "corrupt" && kind(err) != "unsupported" {
			t.Error(err)
		}
		if !slices.IsSorted(d.Versions) {
			t.Error(d.Versions)
		}
	})
}

func crc(b []byte) uint32 { return crc32.ChecksumIEEE(b) }
