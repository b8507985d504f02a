// Package livetest is the rig of the tests of verbs: live directories of every
// layout, systems to fill them with, what a boot of them shows by the kernel, ways to
// compare it, and a disk whose power is cut. Tests alone import it.
//
// A directory is made in one of three ways:
//   - [NewLive], [LiveOS], [Archiso], [Debian] and [DynamicOf] make one of a system's
//     files with mksquashfs and mke2fs; their Boot and View mount it as the
//     distribution's own init does. [Forms] has one of each that has an overlay of files.
//   - [Craft] makes one of trees (see [Dir], [File], [Whiteout]) with relive's own
//     writers, without root.
//   - [SystemImage] is the image of a larger system, which all tests of a run share.
//
// What stops a test (systest.Must, t.Fatal) does so in the test that was given when the
// directory was made.
package livetest
