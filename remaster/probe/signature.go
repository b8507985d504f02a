package probe

// signature is a magic number, and what it is the magic number of.
type signature struct {
	kind  Kind
	at    int64 // of the magic number; with end, see fromEnd
	magic string
	end   bool
	// back is how far before the magic number the superblock begins, and size how
	// long that is, in bytes. decode completes the result from it; where it gives
	// false, it is something else after all.
	back, size int64
	decode     func(p *prober, super []byte, res *Result) bool
}

// base is where the superblock is.
func (s *signature) base(at int64) int64 { return at - s.back }

// fromEnd is the offset of a magic number that is told from the end of a device:
// RAID's superblock of version 0.90 is in the last whole 64 KiB but one, that of
// 1.0 at least 8 KiB before the end, at a multiple of 4 KiB.
func (s *signature) fromEnd(size int64) int64 {
	if s.at == 64<<10 {
		return size&^(64<<10-1) - 64<<10
	}
	return (size - s.at) &^ (4<<10 - 1)
}

const (
	raidMagic    = "\xFC\x4E\x2B\xA9"
	raidMagicBig = "\xA9\x2B\x4E\xFC"
	bcacheMagic  = "\xC6\x85\x73\xF6\x4E\x1A\x45\xCA\x82\x65\xF5\x7F\x48\xBA\x6D\x81"
	bcachefsNew  = "\xC6\x85\x73\xF6\x66\xCE\x90\xA9\xD9\x6A\x60\xCF\x80\x3D\xF7\xEF"
)

// signatures are in the order in which they are looked for, the first that
// matches is it. What encrypts or holds volumes comes first, as with blkid; then
// what has a long magic number at the beginning, since data of theirs may look
// like the short ones of others that follow (ext has two bytes). FAT, whose magic
// number is none, and partition tables are not in here.
func signatures() []signature {
	out := []signature{
		{kind: LUKS, magic: "LUKS\xBA\xBE", size: 512, decode: luks},
		{kind: COW, magic: "SnAp"},
		{kind: BitLocker, at: 3, magic: "-FVE-FS-", back: 3},
		{kind: BitLocker, at: 0x1A8, magic: "\x3B\xD6\x67\x49\x29\x2E\xD8\x4A\x83\x99\xF6\xA3\x39\xE3\xD0\x01", back: 0x1A8, size: 512,
			decode: bitLockerToGo},
		{kind: Verity, magic: "verity\x00\x00", size: 512, decode: verity},
		{kind: Integrity, magic: "integrt\x00"},
		{kind: MDRAID, at: 4096, magic: raidMagic, size: 256, decode: raid1},
		{kind: MDRAID, at: 0, magic: raidMagic, size: 256, decode: raid1},
		{kind: MDRAID, at: 8 << 10, end: true, magic: raidMagic, size: 256, decode: raid1},
		{kind: MDRAID, at: 64 << 10, end: true, magic: raidMagic, size: 256, decode: raid0},
		{kind: MDRAID, at: 64 << 10, end: true, magic: raidMagicBig, size: 256, decode: raid0},
	}
	for sector := range int64(4) {
		out = append(out, signature{kind: LVM, at: sector * 512, magic: "LABELONE", size: 512, decode: lvm})
	}
	for _, magic := range []string{bcacheMagic, bcachefsNew} {
		out = append(out, signature{kind: Bcachefs, at: 4096 + 24, magic: magic, back: 24, size: 256, decode: bcachefs})
	}
	out = append(out,
		signature{kind: SquashFS, magic: "hsqs", size: 96, decode: squash},
		signature{kind: SquashFS3, magic: "sqsh"},
		signature{kind: XFS, magic: "XFSB", size: 512, decode: xfs},
		signature{kind: NTFS, at: 3, magic: "NTFS    ", back: 3, size: 512, decode: ntfs},
		signature{kind: ExFAT, at: 3, magic: "EXFAT   ", back: 3, size: 512, decode: exFAT},
		signature{kind: ReFS, at: 0, magic: "\x00\x00\x00ReFS\x00"},
		signature{kind: RomFS, magic: "-rom1fs-", size: 32, decode: romFS},
		signature{kind: UBI, magic: "UBI#"},
		signature{kind: UBIFS, magic: "\x31\x18\x10\x06"},
		signature{kind: BFS, magic: "\xCE\xFA\xAD\x1B", size: 64, decode: bfs},
	)
	for _, at := range []int64{0, 512} {
		out = append(out,
			signature{kind: CramFS, at: at, magic: "\x45\x3D\xCD\x28", size: 64, decode: cramFS},
			signature{kind: CramFS, at: at, magic: "\x28\xCD\x3D\x45", size: 64, decode: cramFS})
	}
	out = append(out, archives()...)
	out = append(out,
		signature{kind: EROFS, at: 1024, magic: "\xE2\xE1\xF5\xE0", size: 128, decode: erofs},
		signature{kind: F2FS, at: 1024, magic: "\x10\x20\xF5\xF2", size: 2048, decode: f2fs},
	)
	for _, page := range []int64{4 << 10, 8 << 10, 16 << 10, 32 << 10, 64 << 10} {
		for _, magic := range []string{"SWAPSPACE2", "SWAP-SPACE"} {
			out = append(out, signature{kind: Swap, at: page - 10, magic: magic, back: page - 10, size: 4096, decode: swap})
		}
		for _, magic := range []string{"S1SUSPEND", "S2SUSPEND", "ULSUSPEND", "\xED\xC3\x02\xE9\x98\x56\xE5\x0C", "LINHIB0001"} {
			out = append(out, signature{kind: Suspended, at: page - 10, magic: magic, back: page - 10, size: 4096, decode: swap})
		}
	}
	out = append(out,
		signature{kind: Btrfs, at: 64<<10 + 64, magic: "_BHRfS_M", back: 64, size: 1024, decode: btrfs},
		signature{kind: Reiser4, at: 64 << 10, magic: "ReIsEr4"},
		signature{kind: ReiserFS, at: 64<<10 + 52, magic: "ReIsEr", back: 52, size: 128, decode: reiserFS},
		signature{kind: ReiserFS, at: 8<<10 + 52, magic: "ReIsEr", back: 52, size: 128, decode: reiserFS},
		signature{kind: JFS, at: 32 << 10, magic: "JFS1", size: 256, decode: jfs},
		signature{kind: GFS2, at: 64 << 10, magic: "\x01\x16\x19\x70\x00\x00\x00\x01"},
		signature{kind: ISO9660, at: isoFirst + 1, magic: "CD001", back: 1, size: isoSector, decode: iso},
		signature{kind: ISO9660, at: isoFirst + 9, magic: "CDROM"}, // High Sierra, which came before
		signature{kind: UDF, at: isoFirst + 1, magic: "BEA01", back: 1, size: isoSector, decode: udf},
		signature{kind: APFS, at: 32, magic: "NXSB", back: 32, size: 512, decode: apfs},
		signature{kind: HFSPlus, at: 1024, magic: "H+", size: 512, decode: hfsPlus},
		signature{kind: HFSPlus, at: 1024, magic: "HX", size: 512, decode: hfsPlus},
		signature{kind: HFS, at: 1024, magic: "BD", size: 512, decode: hfs},
		signature{kind: NILFS2, at: 1024 + 6, magic: "\x34\x34", back: 6, size: 1024, decode: nilfs},
		signature{kind: Ext2, at: 1024 + 56, magic: "\x53\xEF", back: 56, size: 1024, decode: ext},
	)
	for _, at := range []int64{1024, 2048, 4096, 8192} {
		out = append(out, signature{kind: OCFS2, at: at, magic: "OCFSV2"})
	}
	for _, at := range []int64{0, 8 << 10, 64 << 10, 256 << 10} {
		for _, magic := range []string{"\x19\x01\x54\x19", "\x54\x19\x01\x00"} {
			out = append(out, signature{kind: UFS, at: at + 1372, magic: magic})
		}
	}
	for _, s := range []struct{ magic, at int64 }{{0x137F, 16}, {0x138F, 16}, {0x2468, 16}, {0x2478, 16}, {0x4D5A, 24}} {
		out = append(out, signature{kind: Minix, at: 1024 + s.at, magic: string([]byte{byte(s.magic), byte(s.magic >> 8)}), back: s.at,
			size: 64, decode: minix})
	}
	// The second header of a LUKS2 whose first was wiped.
	for at := int64(16 << 10); at <= 4<<20; at *= 2 {
		out = append(out, signature{kind: LUKS, at: at, magic: "SKUL\xBA\xBE", size: 512, decode: luks})
	}
	// Uberblocks of ZFS are in a ring in each of two labels at the beginning.
	for _, label := range []int64{0, 256 << 10} {
		out = append(out, signature{kind: ZFS, at: label + 16<<10, size: 240 << 10, decode: zfs})
	}
	return out
}

// archives are the magic numbers of archives and of images of disks. An ext image
// may begin with anything, but nothing that boots begins so.
func archives() []signature {
	return []signature{
		{kind: Gzip, magic: "\x1F\x8B\x08"},
		{kind: XZ, magic: "\xFD7zXZ\x00"},
		{kind: Zstd, magic: "\x28\xB5\x2F\xFD"},
		{kind: Bzip2, magic: "BZh", size: 10, decode: bzip2},
		{kind: LZ4, magic: "\x04\x22\x4D\x18"},
		{kind: LZ4, magic: "\x02\x21\x4C\x18"}, // the older form, which the kernel's initrd takes
		{kind: LZMA, magic: "\x5D\x00\x00", size: 13, decode: lzma},
		{kind: Cpio, magic: "070701"},
		{kind: Cpio, magic: "070702"},
		{kind: Cpio, magic: "070707"},
		{kind: Tar, at: 257, magic: "ustar"},
		{kind: Zip, magic: "PK\x03\x04"},
		{kind: SevenZip, magic: "7z\xBC\xAF\x27\x1C"},
		{kind: WIM, magic: "MSWIM\x00\x00\x00"},
		{kind: ELF, magic: "\x7FELF"},
		{kind: QCOW, magic: "QFI\xFB"},
		{kind: VMDK, magic: "KDMV"},
		{kind: VMDK, magic: "# Disk DescriptorFile"},
		{kind: VDI, at: 64, magic: "\x7F\x10\xDA\xBE"},
		{kind: VHDX, magic: "vhdxfile"},
		{kind: VHD, magic: "conectix"},
	}
}
