package probe

import (
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"strings"
	"unicode/utf16"

	"relive/tree"
)

// Offsets are into the superblock, as the kernel's or libblkid's structures have
// them.

func luks(_ *prober, b []byte, res *Result) bool {
	version := be.Uint16(b[6:])
	res.Version, res.UUID = fmt.Sprint(version), text(b[168:208])
	if version == 2 {
		res.Label = text(b[24:72])
	}
	return true
}

// bitLockerToGo is BitLocker on a stick, which shows a small FAT to others.
func bitLockerToGo(_ *prober, b []byte, _ *Result) bool { return string(b[3:11]) == "MSWIN4.1" }

func verity(_ *prober, b []byte, res *Result) bool {
	res.UUID = uuidText(b[16:])
	return true
}

// raid1 is a superblock of version 1, which holds its own place.
func raid1(p *prober, b []byte, res *Result) bool {
	at := le.Uint64(b[128:])
	if le.Uint32(b[4:]) != 1 || at > uint64(p.size)/512 || !p.has(int64(at)*512, raidMagic) {
		return false
	}
	res.UUID, res.Label = uuidText(b[16:]), text(b[32:64])
	return true
}

// raid0 is one of version 0.90, in the byte order of the machine.
func raid0(_ *prober, b []byte, res *Result) bool {
	u := make([]byte, 0, 16)
	for _, at := range []int{20, 52, 56, 60} {
		if string(b[:4]) == raidMagic {
			u = be.AppendUint32(u, le.Uint32(b[at:]))
		} else {
			u = append(u, b[at:at+4]...)
		}
	}
	res.UUID = uuidText(u)
	return true
}

func lvm(_ *prober, b []byte, res *Result) bool {
	// Other things begin with the same word.
	if string(b[24:32]) != "LVM2 001" {
		return false
	}
	if at := int64(le.Uint32(b[20:])); at <= int64(len(b)-32) {
		id := string(b[at:][:32])
		var parts []string
		for _, n := range []int{6, 4, 4, 4, 4, 4, 6} {
			parts, id = append(parts, id[:n]), id[n:]
		}
		res.UUID = strings.Join(parts, "-")
	}
	return true
}

// bcachefs and bcache share their first magic number; bcache's version is a small
// number in 64 bits.
func bcachefs(_ *prober, b []byte, res *Result) bool {
	res.Label, res.UUID = text(b[72:104]), uuidText(b[56:])
	if le.Uint64(b[16:]) <= 6 && string(b[24:40]) == bcacheMagic {
		res.Kind, res.UUID = Bcache, uuidText(b[40:])
	}
	return true
}

func squash(_ *prober, b []byte, res *Result) bool {
	major := le.Uint16(b[28:])
	if res.Version = fmt.Sprintf("%d.%d", major, le.Uint16(b[30:])); major < 4 {
		res.Kind = SquashFS3
	}
	return true
}

func xfs(_ *prober, b []byte, res *Result) bool {
	res.Label, res.UUID = text(b[108:120]), uuidText(b[32:])
	return true
}

// ntfs reads the label from the volume's own file, number 3 of the master table.
func ntfs(p *prober, b []byte, res *Result) bool {
	res.UUID = fmt.Sprintf("%016X", le.Uint64(b[72:]))
	sector, perCluster := int64(le.Uint16(b[11:])), int64(b[13])
	if perCluster > 0x80 { // a negative power of two
		perCluster = 1 << min(256-perCluster, 16)
	}
	record := int64(int8(b[64]))
	if record < 0 {
		record = 1 << min(-record, 16)
	} else {
		record *= perCluster * sector
	}
	cluster := int64(le.Uint64(b[48:]))
	if record < 64 || record > 64<<10 || cluster < 0 || cluster > p.size/512 {
		return true
	}
	volume := p.at(cluster*perCluster*sector+3*record, record)
	if volume == nil || string(volume[:4]) != "FILE" {
		return p.err == nil
	}
	for at := int64(le.Uint16(volume[20:])); at+24 <= record; {
		a := volume[at:]
		length := int64(le.Uint32(a[4:]))
		if length < 24 || length > int64(len(a)) || le.Uint32(a) == 0xFFFFFFFF {
			break
		}
		if start, n := int64(le.Uint16(a[20:])), int64(le.Uint32(a[16:])); le.Uint32(a) == 0x60 && a[8] == 0 && start+n <= length {
			res.Label = strings.TrimRight(utf16Text(a[start:start+n], false), " ")
			break
		}
		at += length
	}
	return true
}

func exFAT(p *prober, b []byte, res *Result) bool {
	if le.Uint16(b[510:]) != 0xAA55 {
		return false
	}
	*res = p.fat(ExFAT)
	return true
}

func romFS(_ *prober, b []byte, res *Result) bool {
	res.Label = text(b[16:])
	return true
}

func cramFS(_ *prober, b []byte, res *Result) bool {
	res.Label = text(b[48:64])
	return string(b[16:32]) == "Compressed ROMFS"
}

// bfs is SCO's boot file system, whose magic number is that of little.
func bfs(_ *prober, b []byte, _ *Result) bool { return le.Uint32(b[4:]) >= 512 }

func erofs(_ *prober, b []byte, res *Result) bool {
	res.Label, res.UUID = text(b[64:80]), uuidText(b[48:])
	return true
}

func f2fs(_ *prober, b []byte, res *Result) bool {
	res.Label, res.UUID = utf16Text(b[124:124+1024], false), uuidText(b[108:])
	return true
}

// swap is given the beginning of the device. Label and UUID are of the newer form
// alone, and are behind the first KiB.
func swap(_ *prober, b []byte, res *Result) bool {
	if h := b[1024:]; le.Uint32(h) == 1 || be.Uint32(h) == 1 {
		res.Label, res.UUID = text(h[28:44]), uuidText(h[12:])
	}
	return true
}

func btrfs(_ *prober, b []byte, res *Result) bool {
	res.Label, res.UUID = text(b[299:555]), uuidText(b[32:])
	return true
}

// reiserFS has label and UUID since its version 3.6.
func reiserFS(_ *prober, b []byte, res *Result) bool {
	switch {
	case string(b[52:61]) == "ReIsEr2Fs", string(b[52:61]) == "ReIsEr3Fs":
		res.Label, res.UUID = text(b[100:116]), uuidText(b[84:])
	case string(b[52:60]) != "ReIsErFs":
		return false
	}
	return true
}

func jfs(_ *prober, b []byte, res *Result) bool {
	res.Label, res.UUID = text(b[152:168]), uuidText(b[136:])
	return true
}

func apfs(_ *prober, b []byte, res *Result) bool {
	res.UUID = uuidText(b[72:])
	return true
}

func hfsPlus(_ *prober, b []byte, res *Result) bool {
	res.UUID = appleUUID(b[104:112])
	return true
}

// hfs may be a wrapper around HFS+.
func hfs(_ *prober, b []byte, res *Result) bool {
	if string(b[124:126]) == "H+" {
		res.Kind = HFSPlus
		return true
	}
	// The size of an allocation block, by which blkid tells it from other uses of
	// two letters.
	if size := be.Uint32(b[20:]); size == 0 || size%512 != 0 {
		return false
	}
	if n := int(b[36]); n <= 27 {
		res.Label = text(b[37 : 37+n])
	}
	res.UUID = appleUUID(b[116:124])
	return true
}

// appleUUID makes a UUID of version 3 of the eight bytes in which Apple has one.
func appleUUID(id []byte) string {
	if tree.IsZero(id) {
		return ""
	}
	namespace := "\xB3\xE2\x0F\x39\xF2\x92\x11\xD6\x97\xA4\x00\x30\x65\x43\xEC\xAC"
	u := md5.Sum(append([]byte(namespace), id...))
	u[6], u[8] = 0x30|u[6]&0x0F, 0x80|u[8]&0x3F
	return uuidText(u[:])
}

// nilfs has the same two bytes for a magic number as text may; the rest of a
// superblock of its only version tells.
func nilfs(_ *prober, b []byte, res *Result) bool {
	length := le.Uint16(b[8:])
	if le.Uint32(b) != 2 || length < 248 || length > 1024 || le.Uint32(b[20:]) > 6 {
		return false
	}
	res.Label, res.UUID = text(b[168:248]), uuidText(b[152:])
	return true
}

// ext tells the three apart by their features, as libblkid does.
func ext(_ *prober, b []byte, res *Result) bool {
	const (
		hasJournal = 0x4
		journalDev = 0x8
		incompat3  = 0x2 | 0x4 | 0x10 // filetype, recover, meta_bg
		ro3        = 0x1 | 0x2 | 0x4  // sparse_super, large_file, btree_dir
	)
	res.Label, res.UUID = text(b[120:136]), uuidText(b[104:])
	compat, incompat, ro := le.Uint32(b[92:]), le.Uint32(b[96:]), le.Uint32(b[100:])
	switch {
	case incompat&journalDev != 0:
		res.Kind = JBD
	case incompat&^incompat3 != 0, ro&^ro3 != 0:
		res.Kind = Ext4
	case compat&hasJournal != 0:
		res.Kind = Ext3
	}
	return true
}

// minix has no more than two bytes for a magic number; the maps must have room
// for what they map.
func minix(_ *prober, b []byte, _ *Result) bool {
	inodes, imaps, zmaps, first := uint64(le.Uint16(b)), uint64(le.Uint16(b[4:])), uint64(le.Uint16(b[6:])), uint64(le.Uint16(b[8:]))
	zones, block := uint64(le.Uint16(b[2:])), uint64(1024)
	switch magic := le.Uint16(b[16:]); {
	case le.Uint16(b[24:]) == 0x4D5A && magic != 0x137F && magic != 0x138F && magic != 0x2468 && magic != 0x2478:
		inodes, imaps, zmaps, first = uint64(le.Uint32(b)), uint64(le.Uint16(b[6:])), uint64(le.Uint16(b[8:])), uint64(le.Uint16(b[10:]))
		zones, block = uint64(le.Uint32(b[20:])), uint64(le.Uint16(b[28:]))
	case magic == 0x2468 || magic == 0x2478:
		zones = uint64(le.Uint32(b[20:]))
	}
	return inodes > 0 && zones > first && first > 0 && imaps*block*8 >= inodes+1 && zmaps*block*8 >= zones-first+1
}

// zfs looks for uberblocks, which lie at multiples of 1 KiB in the ring.
func zfs(_ *prober, b []byte, _ *Result) bool {
	for at := 112 << 10; at+8 <= len(b); at += 1 << 10 {
		if le.Uint64(b[at:]) == 0x00BAB10C || be.Uint64(b[at:]) == 0x00BAB10C {
			return true
		}
	}
	return false
}

// bzip2 begins its first block with a number, or ends without any.
func bzip2(_ *prober, b []byte, _ *Result) bool {
	return b[3] >= '1' && b[3] <= '9' && (string(b[4:10]) == "1AY&SY" || string(b[4:10]) == "\x17\x72\x45\x38\x50\x90")
}

// lzma has no magic number; a file has a dictionary of some power of two, and
// nearly all have no size.
func lzma(_ *prober, b []byte, _ *Result) bool {
	dict, size := le.Uint32(b[1:]), le.Uint64(b[5:])
	return dict&(dict-1) == 0 && dict >= 64<<10 && (size == 1<<64-1 || size < 1<<40)
}

// text is what is before the first NUL, without blanks at the end.
func text(b []byte) string {
	s, _, _ := strings.Cut(string(b), "\x00")
	return strings.TrimRight(s, " \t\n")
}

// utf16Text is what is before the first NUL.
func utf16Text(b []byte, big bool) string {
	var units []uint16
	for ; len(b) >= 2; b = b[2:] {
		u := le.Uint16(b)
		if big {
			u = be.Uint16(b)
		}
		if u == 0 {
			break
		}
		units = append(units, u)
	}
	return string(utf16.Decode(units))
}

// uuidText is the text form of a UUID, or "" where it is all zeros.
func uuidText(b []byte) string {
	if tree.IsZero(b[:16]) {
		return ""
	}
	h := hex.EncodeToString(b[:16])
	return strings.Join([]string{h[:8], h[8:12], h[12:16], h[16:20], h[20:]}, "-")
}
