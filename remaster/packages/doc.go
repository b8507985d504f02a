// Package packages lists what a system has installed, from the databases of its
// package managers in its tree: dpkg, rpm, pacman and apk.
//
// [Find] gives a list for each database that is there; [List.Write] writes one as
// the manager's own tool would: dpkg-query -W, rpm -qa, pacman -Q, apk info -v.
// [Walk] goes through the files of each package of rpm and pacman, with what their
// databases tell of modes, sums and capabilities.
//
// Laws:
//   - The list holds what the manager's tool lists as installed on the same
//     tree.
//   - Memory is bounded by the packages' names and, for rpm, one package's
//     header (64 MiB at most), whatever the database says.
//   - A database that is damaged is tree.ErrCorrupt. One of a form that is not
//     read gives a list that says so.
//
// Sources of the formats: dpkg-query(1), deb-control(5), and status.d as
// distroless images have it; pacman's lib/libalpm/be_local.c; Alpine's wiki, "Apk
// spec", installed database; mtree(5) of libarchive; SQLite's fileformat2.html
// (b-trees, records, the write-ahead log); rpm's docs/manual/format_header.md
// (format.md before 4.20), rpmtag.h, lib/backend/sqlite.c and
// lib/backend/ndb/rpmpkg.c.
//
// The reader of SQLite is our own and reads one table from its beginning to its
// end: the libraries that read rpm's databases bring all of SQLite with them.
//
// Left out: rpm's databases in Berkeley DB (Fedora before 33, RHEL before 9),
// Snap, Flatpak.
package packages
