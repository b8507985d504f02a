package kernel

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"strings"

	"relive/tree"
)

// Image is what a kernel image tells of itself.
type Image struct {
	// Version is the release that "uname -r" would tell, such as
	// "6.1.0-56-amd64": the name of the directory of its modules.
	Version string
	// Banner is the whole text that the version stands in, with who built it and
	// when.
	Banner string
	// Format is the form of the file: "bzImage", "zImage", "arm64 Image", "EFI
	// zboot", with the compression before it where the whole file is compressed.
	// It is empty where only the text was found.
	Format string
	// Arch is the machine as uname names it, empty where the file does not tell.
	Arch string
}

// maxHeader is how much of an image its header is looked for in, in bytes.
const maxHeader = 64 << 10

// Read tells a kernel image's version. An x86 image has it in its setup header;
// of others, and of an x86 image whose header names none, the text "Linux
// version" is looked for, in what the file unpacks to where it is compressed.
// name is the file's, for errors. A file without a version is
// tree.ErrUnsupported.
func Read(ctx context.Context, c tree.Content, name string) (Image, error) {
	head := make([]byte, min(c.Size(), maxHeader))
	if err := tree.ReadFull(c, head, 0); err != nil {
		return Image{}, fmt.Errorf("%s: %w", name, err)
	}
	if hasSetup(head) {
		img, err := readSetup(head, name)
		if err != nil || img.Version != "" {
			return img, err
		}
	}
	u, err := newUnpacker(ctx, c, name)
	if err != nil {
		return Image{}, err
	}
	defer u.close()
	var img Image
	at := int64(0)
	if off, size, ok := zboot(head, c.Size()); ok {
		img.Format, at = "EFI zboot", off
		u.end = off + size
	}
	r, form, err := u.open(at)
	if err != nil {
		return Image{}, err
	}
	img.Version, img.Banner, img.Arch, err = findBanner(r)
	if err != nil {
		return Image{}, err
	}
	if img.Format == "" && img.Arch == "aarch64" {
		img.Format = "arm64 Image"
		if form != formNone {
			img.Format = form.String() + " arm64 Image"
		}
	}
	if img.Version == "" {
		return Image{}, tree.Unsupported(name, "",
			"no Linux kernel whose version can be told: neither an x86 setup header nor the text \"Linux version\"")
	}
	return img, nil
}

// hasSetup tells an image with the setup header of x86 (boot.rst, "The Real-Mode
// Kernel Header"), of protocol 2.00 or later.
func hasSetup(b []byte) bool {
	return len(b) >= 0x210 && binary.LittleEndian.Uint16(b[0x1fe:]) == 0xaa55 && string(b[0x202:0x206]) == "HdrS" &&
		binary.LittleEndian.Uint16(b[0x206:]) >= 0x200
}

// readSetup reads the setup header. The version is empty where kernel_version
// is zero.
func readSetup(b []byte, name string) (Image, error) {
	img := Image{Format: "zImage", Arch: "i386"}
	if len(b) > 0x211 && b[0x211]&1 != 0 { // loadflags, LOADED_HIGH
		img.Format = "bzImage"
	}
	// xloadflags came with protocol 2.12; its first bit is XLF_KERNEL_64.
	if binary.LittleEndian.Uint16(b[0x206:]) >= 0x20c && len(b) >= 0x238 && b[0x236]&1 != 0 {
		img.Arch = "x86_64"
	}
	at := int(binary.LittleEndian.Uint16(b[0x20e:]))
	if at == 0 {
		return img, nil
	}
	sects := int(b[0x1f1])
	if sects == 0 {
		sects = 4
	}
	at += 0x200
	if end := min(len(b), (sects+1)*0x200); at < end {
		text, _, ended := bytes.Cut(b[at:end], []byte{0})
		version, _, _ := strings.Cut(string(text), " ")
		if ended && isRelease(version) {
			img.Version, img.Banner = version, string(text)
			return img, nil
		}
	}
	return Image{}, tree.Corrupt(name, "setup header: kernel_version", "points to no version")
}

// zboot tells where the kernel lies within an EFI image that unpacks itself, by
// zboot-header.S: "MZ", "zimg" at 4, the payload's offset and size at 8 and 12.
func zboot(b []byte, size int64) (off, length int64, ok bool) {
	if len(b) < 64 || string(b[:2]) != "MZ" || string(b[4:8]) != "zimg" {
		return 0, 0, false
	}
	off, length = int64(binary.LittleEndian.Uint32(b[8:])), int64(binary.LittleEndian.Uint32(b[12:]))
	return off, length, off+length <= size && length > 0
}

const (
	bannerMark = "Linux version "
	maxBanner  = 1024 // bytes of the text
	arm64Magic = "ARM\x64"
)

// findBanner looks for linux_banner, which begins with "Linux version " and a
// digit; the text of /proc/version has a format in that place. It also tells
// arm64 by the magic of its header (booting.rst), 56 bytes into the image.
func findBanner(r io.Reader) (version, banner, arch string, err error) {
	buf := make([]byte, 256<<10)
	have, first := 0, true
	for {
		n, err := io.ReadFull(r, buf[have:])
		ended := err == io.EOF || err == io.ErrUnexpectedEOF
		if err != nil && !ended {
			return "", "", arch, err
		}
		have += n
		b := buf[:have]
		if first && len(b) >= 64 && string(b[56:60]) == arm64Magic {
			arch = "aarch64"
		}
		first = false
		for from := 0; ; {
			i := bytes.Index(b[from:], []byte(bannerMark))
			if i < 0 {
				break
			}
			i += from
			if len(b)-i < maxBanner && !ended {
				break // the rest comes with the next round
			}
			text := b[i:min(len(b), i+maxBanner)]
			if k := bytes.IndexAny(text, "\x00\n"); k >= 0 {
				v, _, _ := strings.Cut(string(text[len(bannerMark):k]), " ")
				if isRelease(v) {
					return v, string(text[:k]), arch, nil
				}
			}
			from = i + 1
		}
		if ended {
			return "", "", arch, nil
		}
		have = copy(buf, b[len(b)-maxBanner:])
	}
}

// maxRelease is the longest release, in bytes: __NEW_UTS_LEN.
const maxRelease = 64

// isRelease reports whether a text can be a kernel's release: it begins with a
// digit, as the version of the sources does, and all of it can stand in a name.
func isRelease(s string) bool {
	if s == "" || len(s) > maxRelease || s[0] < '0' || s[0] > '9' {
		return false
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f || s[i] == '/' {
			return false
		}
	}
	return true
}
