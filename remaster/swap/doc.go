// Package swap replaces the files of a live directory atomically, with a
// journal that says at every moment what an interrupted run left and how to
// finish or undo it.
//
// A transaction has two halves. While it is building, new files grow under
// temporary names that the journal knows before they exist; a crash then means:
// remove them, the old state never changed. [Txn.Commit] makes the new files
// durable, writes what is to happen with them into the journal (this is the
// commit point) and executes it; a crash after that means: finish it.
//
// Laws:
//   - At every point of a crash the directory holds the old state or the new
//     one in every name that a step replaces, complete. The steps happen in the
//     order given and each is durable before the next begins, on whatever file
//     system it happens, so a caller who replaces the base before the overlay
//     never leaves the old base with the new overlay.
//   - Nothing is deleted before every step is durable: what is discarded is
//     moved aside first and deleted last.
//   - Nothing needs space after the commit point but directory entries.
//   - Recovery may be run any number of times and may itself be interrupted.
//   - What is found on disk decides how far a run came, never a counter: recovery
//     looks for the point of the plan that the names on disk fit, and refuses,
//     changing nothing, where they fit none.
//   - A file that somebody changed after the commit point (a system booted in
//     between) is not discarded, even where the plan says so; it is kept under
//     another name and reported.
//
// No moment is without a target where the file system allows: the old file gets
// its second name by a hard link and the new one is renamed over the first; a
// file system without hard links (FAT) exchanges the two names in one step. One
// that has neither (exFAT) moves the old file away and then the new one in; a
// crash between these two leaves the target missing until recovery is run.
//
// Names of a transaction may lead to other file systems: see [Volume]. Each step
// keeps to one of them. There is one journal, and one commit point, and beside
// what is changed elsewhere a record that names it; part.go has the order in which
// they are written, and what a cut between any two of these leaves.
//
// The package does not judge content: that the new files are what they should
// be is for the caller to verify before Commit. It is for directories of a Linux
// host. It does not guard against file systems that lose operations they
// reported as synced, nor against other programs that write into the directories
// at the same time; other runs of relive are kept out by locks.
package swap
