// Package threeway merges two trees that come from a third: a base, ours in
// which some of it was changed, and theirs in which some of it was changed, too.
// Trees are paired by path; nothing tells a file that was renamed from one that
// was deleted and another that was added.
//
// Laws, for every path and what lies below it:
//
//   - What ours has not changed is what theirs has, and what theirs has not
//     changed is what ours has.
//   - What both have changed to the same is that.
//   - Of a file of which one side has changed the content and the other mode,
//     owner or attributes, both count. So do changes of different names in a
//     directory.
//   - What the caller can merge the contents of is merged.
//   - All else is a conflict, which the caller decides: then it is what that
//     side has.
//
// A directory that ours has deleted and in which theirs has changed or added
// something is one conflict. A directory that theirs has deleted is looked into:
// what ours has added there stays, with the directories on the way, what it has
// changed is a conflict, and the rest goes. So nothing that only ours has ever
// gets lost without a word.
//
// Names that are linked on the side that a file comes from are linked again. A
// name that ours has linked to a file that nobody changed stays linked to it.
//
// Times alone make no conflict: those of files go with their content, and of two
// the later is taken; those of directories follow from what is in them. They
// are compared in whole seconds, since SquashFS holds no more.
//
// A database of several files that only mean something together is a Unit: it
// comes whole from one side as soon as one has changed what it holds.
package threeway
