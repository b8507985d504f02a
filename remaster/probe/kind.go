package probe

import "relive/remaster/say"

// Kind is what a file or device holds, as blkid names it in TYPE where blkid
// knows it.
type Kind string

// The kinds.
const (
	// Unknown is content of no known kind.
	Unknown Kind = ""
	// Zeros is content whose first 4 KiB are zero, and of no known kind. What
	// follows may be anything: [FirstData] tells whether it is zero throughout.
	Zeros Kind = "zeros"

	Ext2      Kind = "ext2"
	Ext3      Kind = "ext3"
	Ext4      Kind = "ext4"
	JBD       Kind = "jbd" // an external journal of ext3 or ext4
	SquashFS  Kind = "squashfs"
	SquashFS3 Kind = "squashfs3" // before version 4
	EROFS     Kind = "erofs"
	Btrfs     Kind = "btrfs"
	XFS       Kind = "xfs"
	F2FS      Kind = "f2fs"
	Bcachefs  Kind = "bcachefs"
	FAT       Kind = "vfat" // FAT12, FAT16 and FAT32
	ExFAT     Kind = "exfat"
	NTFS      Kind = "ntfs"
	ReFS      Kind = "ReFS"
	ISO9660   Kind = "iso9660"
	UDF       Kind = "udf"
	HFS       Kind = "hfs"
	HFSPlus   Kind = "hfsplus"
	APFS      Kind = "apfs"
	JFS       Kind = "jfs"
	ReiserFS  Kind = "reiserfs"
	Reiser4   Kind = "reiser4"
	Minix     Kind = "minix"
	NILFS2    Kind = "nilfs2"
	ZFS       Kind = "zfs_member"
	UFS       Kind = "ufs"
	OCFS2     Kind = "ocfs2"
	GFS2      Kind = "gfs2"
	CramFS    Kind = "cramfs"
	RomFS     Kind = "romfs"
	UBI       Kind = "ubi"
	UBIFS     Kind = "ubifs"
	BFS       Kind = "bfs"

	Swap      Kind = "swap"
	Suspended Kind = "swsuspend" // a swap space with a hibernated system

	LUKS      Kind = "crypto_LUKS"
	BitLocker Kind = "BitLocker"
	LVM       Kind = "LVM2_member"
	MDRAID    Kind = "linux_raid_member"
	Bcache    Kind = "bcache"
	Verity    Kind = "DM_verity_hash"
	Integrity Kind = "DM_integrity"
	// COW is the copy-on-write store of a device-mapper snapshot. One that was
	// never used has no magic number, and is Zeros.
	COW Kind = "DM_snapshot_cow"

	// GPT and MBR are partition tables without a file system over the whole.
	GPT Kind = "gpt"
	MBR Kind = "dos"

	Gzip     Kind = "gzip"
	Bzip2    Kind = "bzip2"
	XZ       Kind = "xz"
	Zstd     Kind = "zstd"
	LZ4      Kind = "lz4"
	LZMA     Kind = "lzma"
	Cpio     Kind = "cpio"
	Tar      Kind = "tar"
	Zip      Kind = "zip"
	SevenZip Kind = "7z"
	WIM      Kind = "wim"
	ELF      Kind = "elf"
	QCOW     Kind = "qcow2"
	VMDK     Kind = "vmdk"
	VDI      Kind = "vdi"
	VHD      Kind = "vhd"
	VHDX     Kind = "vhdx"
)

// names are the names that people know, where they differ from the Kind.
var names = map[Kind]string{
	Unknown: "nothing that is known", Zeros: "zeros",
	JBD: "an external journal of ext4", SquashFS: "SquashFS", SquashFS3: "SquashFS before version 4", EROFS: "EROFS",
	XFS: "XFS", F2FS: "F2FS", FAT: "FAT", ExFAT: "exFAT", NTFS: "NTFS", ISO9660: "ISO 9660", UDF: "UDF", HFS: "HFS", HFSPlus: "HFS+",
	APFS: "APFS", JFS: "JFS", ReiserFS: "ReiserFS", Reiser4: "Reiser4", NILFS2: "NILFS2", ZFS: "ZFS", UFS: "UFS", OCFS2: "OCFS2",
	GFS2: "GFS2", UBI: "UBI", UBIFS: "UBIFS", BFS: "BFS",
	Suspended: "swap with a hibernated system",
	LUKS:      "LUKS", LVM: "LVM", MDRAID: "Linux RAID", Verity: "a dm-verity hash tree", Integrity: "dm-integrity",
	COW: "a device-mapper snapshot (COW)", GPT: "a GPT partition table", MBR: "an MBR partition table",
	Gzip: "gzip data", Bzip2: "bzip2 data", XZ: "xz data", Zstd: "zstd data", LZ4: "lz4 data", LZMA: "lzma data", Cpio: "a cpio archive",
	Tar: "a tar archive", Zip: "a zip archive", SevenZip: "a 7z archive", WIM: "a WIM image", ELF: "an ELF program",
	QCOW: "a qcow2 image", VMDK: "a VMDK image", VDI: "a VDI image", VHD: "a VHD image", VHDX: "a VHDX image",
}

// Name is the name that people know, fit to stand behind "it holds".
func (k Kind) Name() string {
	if n, ok := names[k]; ok {
		return n
	}
	return string(k)
}

// Known reports whether anything was recognised.
func (k Kind) Known() bool { return k != Unknown && k != Zeros }

// IsVolume reports whether it is a file system, or what holds file systems: all
// that is known but archives and programs, which people make anew.
func (k Kind) IsVolume() bool {
	switch k {
	case Gzip, Bzip2, XZ, Zstd, LZ4, LZMA, Cpio, Tar, Zip, SevenZip, WIM, ELF:
		return false
	}
	return k.Known()
}

// IsExt reports whether it is one of ext2, ext3 and ext4.
func (k Kind) IsExt() bool { return k == Ext2 || k == Ext3 || k == Ext4 }

// Hint tells a person how to get at what is inside, of a kind that relive does
// not open. It is safe to follow: it changes nothing of what is there.
func (k Kind) Hint() string {
	switch k {
	case Unknown, Zeros:
		return "where it is mounted somewhere, give the directory"
	case LUKS:
		return "it is encrypted: open it with cryptsetup, and give the device under /dev/mapper or the directory where it is mounted"
	case BitLocker:
		return "it is encrypted: open it with cryptsetup bitlkOpen or dislocker, and give what results"
	case LVM:
		return "activate it with vgchange -ay and give the logical volume"
	case MDRAID:
		return "assemble it with mdadm and give the device that results"
	case Swap, Suspended, JBD, Verity, Integrity:
		return "it holds no files"
	case COW:
		return "it is of use only over its origin: " + say.StatusCOW + " tells more"
	case QCOW, VMDK, VDI, VHD, VHDX:
		return "qemu-img convert -O raw makes an image of it that can be read"
	case Gzip, Bzip2, XZ, Zstd, LZ4, LZMA, Cpio, Tar, Zip, SevenZip, WIM:
		return "unpack it and give what was in it"
	case GPT, MBR:
		return say.Status + " lists what is on it"
	case ELF:
		return "give an image of a file system"
	}
	return "mount it and give the directory"
}
