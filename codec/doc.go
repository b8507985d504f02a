// Package codec holds the compressors of SquashFS 4.0: gzip, lzma (reading
// only), lzo, xz, lz4 and zstd, and the compressor options that an image
// stores behind its superblock; and the decompressors of EROFS's raw streams:
// lz4, MicroLZMA, deflate and zstd, of which a reader may want the beginning alone,
// and the fitters that write such streams: as much data as a stream of a given
// length holds, whereas SquashFS packs data of a given length.
//
// Every codec has an implementation in Go. On Linux the system's own libraries
// (liblzma, libzstd, liblz4, zlib, liblzo2) are used where they load, through
// dlopen and without cgo; they give the bytes that mksquashfs gives with the
// same library. [Open] says which are wanted, [Library.Describe] which are in
// use. The build tag relive_static leaves them out: the binary is then static
// and pure Go.
//
// Laws:
//   - Decompress(Compress(b)) == b for every b of at most a block, whichever
//     library wrote and whichever reads.
//   - Compress says ok only where its output is shorter than its input, as
//     SquashFS stores all else raw.
//   - What a compressor writes, the Linux kernel reads: xz dictionaries and
//     zstd windows never exceed what the kernel sets aside for the image.
//   - A decompressor writes at most len(dst) bytes, and its memory is bounded
//     by the block size and the stored dictionary size, whatever its input.
//   - The beginning that a raw decompressor gives is that of the whole.
//   - A fitter's stream unpacks to the beginning that it says it holds, is no longer
//     than its room, is shorter than what it holds, does not begin with byte 0, and
//     depends on nothing but the data, the room and the options.
//
// Sources of the formats: squashfs-tools, *_wrapper.c and *_wrapper.h; Linux,
// fs/squashfs/*_wrapper.c; squashfs-tools-ng, doc/format.adoc section 3.1; the
// .xz File Format 1.2.1; Linux, fs/erofs/decompressor*.c; XZ Utils,
// liblzma/common/microlzma_decoder.c; lz4, doc/lz4_Block_format.md; RFC 1951;
// erofs-utils, lib/compressor_*.c and lib/kite_deflate.c.
//
// Left out: writing lzma, which no mainline kernel mounts, and writing lzo
// without liblzo2.
package codec
