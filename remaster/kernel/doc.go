// Package kernel tells which kernel a live system boots, and whether its parts
// fit together: [Read] the version of a kernel image, [Initrd] the versions whose
// modules an initrd holds, [Modules] those whose modules are in a system's
// tree. [Check] puts the three side by side.
//
// Laws:
//   - What is read of an image or an initrd is bounded: a file that has or
//     unpacks to more than 2 GiB, asks for a dictionary of more than 128 MiB, or is made of
//     tens of thousands of compressed streams ends in an error.
//   - An initrd is read as the kernel unpacks it: any number of archives and
//     compressed streams one behind another, with zeros between them.
//
// Sources of the formats: Linux, Documentation/arch/x86/boot.rst (setup header),
// Documentation/arch/arm64/booting.rst (Image),
// drivers/firmware/efi/libstub/zboot-header.S,
// Documentation/driver-api/early-userspace/buffer-format.rst and init/initramfs.c,
// lib/decompress_unlz4.c and decompress_unlzo.c; RFC 8878 (Zstandard); the .xz File
// Format 1.2.1; lzop 1.04, lzop.c.
//
// gzip, zstd, bzip2, and LZMA's and lz4's and lzo's blocks are unpacked by
// libraries; containers that the libraries have not, or whose end or demands
// they do not tell (xz, lz4 of the legacy form, lzop, frames of zstd), are read
// here. A cpio library would stop at the first trailer.
//
// Left out: what an initrd holds within images of its own (dracut's squash
// module; that one is there is told), xz with branch filters, unified kernel images, zImage of 32-bit
// ARM. Behind a bzip2 stream nothing more is looked for.
package kernel
