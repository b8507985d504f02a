// Package iso reads and writes ISO 9660 images: their tree, with Rock Ridge and
// Joliet names, and all that makes them boot.
//
// [Open] reads the volume descriptors; [Image.Root] gives the tree by the best
// name space that is there: Rock Ridge, else Joliet, else the plain names as
// Linux shows them. Directories are read when they are asked for. What an image
// says of itself is in [Image.Info], [Image.ElTorito], [Image.SystemArea] and
// [Image.ImplantedMD5]; [Image.CheckMD5] verifies the sum that implantisomd5
// left.
//
// [NewPlan] lays out an image of a tree, by a [Recipe]; [Plan.Write] writes it.
// Files may be made while the image is written, straight into their place
// ([Late]): a SquashFS of gigabytes needs no copy of its own, and its sum in
// another file is made of what was written. [Image.Replay] gives the recipe of
// an image that is there, and [ImplantMD5] adds the sum.
//
// Laws:
//   - With Rock Ridge, the tree equals what was given to the writer: every
//     path, type, mode, owner, device number, target, time in whole seconds
//     (hundredths in the long form), hard-link group and byte of content.
//     Directories that were relocated for depth stand where they belong.
//   - No image, however damaged or hostile, makes the reader panic, loop, or
//     allocate more than a constant times the part of the image that the
//     directory being listed takes. A directory stands in one place of the
//     tree: an entry that names one which another entry has named before is an
//     error, so that no walk is longer than the image.
//   - Read(Write(t)) equals t: every path, type, mode, owner, device number,
//     target, time in whole seconds, hard-link group and byte of content. Extended
//     attributes are not kept.
//   - An image with late files has the tree of one in which they were there
//     beforehand.
//   - The same tree and recipe give the same bytes. Writing takes a megabyte, and
//     some hundred bytes for each name.
//   - What is replayed and written again boots as before, wherever its boot
//     images come to lie, and replaying that gives the same image.
//   - What breaks the format is a tree.ErrCorrupt, what is not read a
//     tree.ErrUnsupported; both name the file and the place.
//
// Sources of the format: ECMA-119 (ISO 9660), 4th edition; System Use Sharing
// Protocol (SUSP) 1.12; Rock Ridge Interchange Protocol (RRIP) 1.12, with what
// 1.10 and 1991A do otherwise; Joliet Specification, 1995; El Torito 1.0; Linux
// fs/isofs for what a mounted image shows; libisofs doc/zisofs2_format.txt and
// doc/boot_sectors.txt; isomd5sum's programs for the implanted sum. The
// decoders name the section.
//
// Left out in reading: UDF; interleaved files; files with a record format, which are read
// as plain bytes; associated files (resource forks), which are not listed, as
// Linux does not list them; extended attributes and ACLs of libisofs (AAIP),
// which Linux does not show either; Rock Ridge's sparse files (SF), which no
// known program writes and whose content is refused. Left out in writing:
// relocation of directories deeper than eight levels, which no system needs any
// more; Apple's partition map and HFS+.
package iso
