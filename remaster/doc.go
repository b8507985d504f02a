// Package remaster is the house of relive's verbs: each package below is a room,
// and docs/architecture.md shows which stands on which.
//
// A live directory is opened by live: its base as a tree, its overlay as the layer
// above, and both merged. A verb that changes something makes a plan first; the
// plan can be shown, and is what is then executed.
//
// Laws:
//   - A live directory is only read until the new files are complete, synced,
//     read back and found equal to the tree they were made from.
//   - The base is replaced before the overlay is reset, in one transaction of
//     swap: at every point of a crash the old or the new state boots.
//   - Merging is idempotent: an overlay that is applied to a base that holds it
//     already changes nothing.
//   - A merge for oneself does not touch accounts.
//
// What stands here are tests of laws that hold over several verbs.
package remaster
