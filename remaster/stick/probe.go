package stick

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf16"

	"relive/remaster/stick/fat"
	"relive/tree"
)

var le = binary.LittleEndian

// signature is a kind of file system, or of other content, and how it is told.
type signature struct {
	kind  string
	at    int64  // of the magic number
	magic string // any of several of the same length may follow
	// base and size are of what id decodes: the superblock.
	base, size int64
	id         func(b []byte) (label, uuid string)
	// is decides further, where the magic number alone does not.
	is func(b []byte) bool
}

// signatures are in the order in which they are looked for. What encrypts or
// holds volumes comes first, and FAT, which has no magic number, is not in here.
func signatures() []signature {
	out := []signature{
		{kind: "crypto_LUKS", magic: "LUKS\xBA\xBE", size: 512, id: idLUKS},
		{kind: "BitLocker", at: 3, magic: "-FVE-FS-"},
		{kind: "ntfs", at: 3, magic: "NTFS    ", size: 512, id: idNTFS},
		{kind: "xfs", magic: "XFSB", size: 512, id: idXFS},
		{kind: "squashfs", magic: "hsqs"},
		{kind: "erofs", at: 1024, magic: "\xE2\xE1\xF5\xE0", base: 1024, size: 128, id: idEROFS},
		{kind: "f2fs", at: 1024, magic: "\x10\x20\xF5\xF2", base: 1024, size: 2048, id: idF2FS},
		{kind: "btrfs", at: 64<<10 + 64, magic: "_BHRfS_M", base: 64 << 10, size: 1024, id: idBtrfs},
		{kind: "bcachefs", at: 4096 + 24, magic: "\xC6\x85\x73\xF6\x4E\x1A\x45\xCA\x82\x65\xF5\x7F\x48\xBA\x6D\x81"},
		{kind: "linux_raid_member", at: 4096, magic: "\xFC\x4E\x2B\xA9"},
		{kind: "linux_raid_member", at: 0, magic: "\xFC\x4E\x2B\xA9"},
		{kind: "DM_snapshot_cow", magic: "SnAp"},
	}
	for sector := range int64(4) {
		out = append(out, signature{kind: "LVM2_member", at: sector * 512, magic: "LABELONE", base: sector * 512, size: 512, id: idLVM, is: isLVM})
	}
	for _, page := range []int64{4096, 8192, 16384, 65536} {
		for _, magic := range []string{"SWAPSPACE2", "SWAP-SPACE"} {
			out = append(out, signature{kind: "swap", at: page - 10, magic: magic, base: 1024, size: 128, id: idSwap})
		}
	}
	return append(out,
		signature{kind: "ext", at: 1024 + 56, magic: "\x53\xEF", base: 1024, size: 1024, id: idExt},
		signature{kind: isoKind, at: isoFirst + 1, magic: "CD001", base: isoFirst, size: 2048, id: idISO},
		signature{kind: "udf", at: isoFirst + 1, magic: "BEA01"},
		signature{kind: "hfsplus", at: 1024, magic: "H+"},
		signature{kind: "hfsplus", at: 1024, magic: "HX"},
		signature{kind: "hfs", at: 1024, magic: "BD"},
		signature{kind: "apfs", at: 32, magic: "NXSB"},
		signature{kind: "jfs", at: 32 << 10, magic: "JFS1"},
		signature{kind: "reiserfs", at: 64<<10 + 52, magic: "ReIsEr"},
		signature{kind: "minix", at: 1024 + 24, magic: "\x5A\x4D"},
	)
}

// probe finds out what the partition holds. What is wrong with it goes into Err;
// only errors of the disk itself are returned.
func (p *Partition) probe(diskSize int64) error {
	r := io.NewSectionReader(p.disk, p.Start, min(p.Size, diskSize-p.Start))
	read := func(n int64, at int64) ([]byte, error) {
		if at+n > r.Size() {
			return nil, nil
		}
		b := make([]byte, n)
		if err := tree.ReadFull(r, b, at); err != nil {
			return nil, fmt.Errorf("%s: read %d bytes at %d: %w", p.name, n, at, err)
		}
		return b, nil
	}
	boot, err := read(512, 0)
	if err != nil {
		return err
	}
	if fat.IsExFAT(boot) {
		p.FileSystem = "exfat"
		return p.probeFAT(r)
	}
	for _, s := range signatures() {
		have, err := read(int64(len(s.magic)), s.at)
		if err != nil {
			return err
		}
		if have == nil || string(have) != s.magic {
			continue
		}
		super, err := read(s.size, s.base)
		if err != nil {
			return err
		}
		if super == nil || s.is != nil && !s.is(super) {
			continue
		}
		p.FileSystem = s.kind
		if s.id != nil {
			p.Label, p.UUID = s.id(super)
		}
		switch s.kind {
		case "ext":
			p.FileSystem = extKind(super)
		case isoKind:
			return p.probeJoliet(read)
		}
		break
	}
	if p.FileSystem == "" && fat.IsFAT(boot) {
		p.FileSystem = "vfat"
		return p.probeFAT(r)
	}
	if !readable(p.FileSystem) {
		p.Err = unreadable(p.FileSystem, p.name)
	}
	return nil
}

// readable tells the kinds that openFileSystem opens.
func readable(kind string) bool {
	switch kind {
	case "vfat", "exfat", "ext2", "ext3", "ext4", isoKind:
		return true
	}
	return false
}

// probeFAT reads the label, which is a file of its own.
func (p *Partition) probeFAT(r *io.SectionReader) error {
	fs, err := fat.Open(r, r.Size(), p.name)
	if err == nil {
		p.UUID, p.Dirty = fs.UUID(), fs.Dirty()
		p.Label, err = fs.Label()
	}
	if errors.Is(err, tree.ErrCorrupt) || errors.Is(err, tree.ErrUnsupported) {
		p.Err, err = fsckHint(err, "fsck."+p.FileSystem), nil
	}
	return err
}

func idLUKS(b []byte) (label, uuid string) {
	if b[7] == 2 {
		label = text(b[24:72])
	}
	return label, text(b[168:208])
}

func idNTFS(b []byte) (label, uuid string) { return "", fmt.Sprintf("%016X", le.Uint64(b[72:])) }

func idXFS(b []byte) (label, uuid string) { return text(b[108:120]), uuidText(b[32:]) }

func idEROFS(b []byte) (label, uuid string) { return text(b[64:80]), uuidText(b[48:]) }

func idBtrfs(b []byte) (label, uuid string) { return text(b[299:555]), uuidText(b[32:]) }

func idF2FS(b []byte) (label, uuid string) {
	var units []uint16
	for i := 124; i < 124+1024; i += 2 {
		u := le.Uint16(b[i:])
		if u == 0 {
			break
		}
		units = append(units, u)
	}
	return string(utf16.Decode(units)), uuidText(b[108:])
}

func idSwap(b []byte) (label, uuid string) { return text(b[28:44]), uuidText(b[12:]) }

// isLVM tells a label of LVM2 from other uses of its first word.
func isLVM(b []byte) bool { return string(b[24:32]) == "LVM2 001" }

func idLVM(b []byte) (label, uuid string) {
	if at := int(le.Uint32(b[20:])); at <= len(b)-32 {
		id := string(b[at:][:32])
		var parts []string
		for _, n := range []int{6, 4, 4, 4, 4, 4, 6} {
			parts, id = append(parts, id[:n]), id[n:]
		}
		uuid = strings.Join(parts, "-")
	}
	return "", uuid
}

func idExt(b []byte) (label, uuid string) { return text(b[120:136]), uuidText(b[104:]) }

// extKind tells the three apart by their features, as libblkid does.
func extKind(b []byte) string {
	const (
		hasJournal = 0x4
		incompat3  = 0x2 | 0x4 | 0x10 // filetype, recover, meta_bg
		ro3        = 0x1 | 0x2 | 0x4  // sparse_super, large_file, btree_dir
	)
	compat, incompat, ro := le.Uint32(b[92:]), le.Uint32(b[96:]), le.Uint32(b[100:])
	switch {
	case incompat&^incompat3 != 0, ro&^ro3 != 0:
		return "ext4"
	case compat&hasJournal != 0:
		return "ext3"
	}
	return "ext2"
}

// text is what stands before the first NUL, without blanks at the end.
func text(b []byte) string {
	s, _, _ := strings.Cut(string(b), "\x00")
	return strings.TrimRight(s, " \t\n")
}

// uuidText is the text form of a UUID, or "" where it is all zeros.
func uuidText(b []byte) string {
	if tree.IsZero(b[:16]) {
		return ""
	}
	h := hex.EncodeToString(b[:16])
	return strings.Join([]string{h[:8], h[8:12], h[12:16], h[16:20], h[20:]}, "-")
}
