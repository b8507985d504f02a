// Package live opens live directories: their base as a tree, their overlay as the
// layer above, and both merged. It opens them to read.
//
// What sets one distribution's directories apart from another's (names of files,
// labels, arguments, what a boot does with them) is a [Layout], one file each;
// others ask for [Traits] by name, and never for a type.
package live
