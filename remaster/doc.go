// Package remaster holds the pipelines behind relive's verbs and what they know
// of distributions.
//
// A live directory is opened as a [Live]: its base as a tree, its overlay as
// the layer above, and both merged. What sets one distribution's directories
// apart from another's (names of files, version ids, what a boot does with
// them) is a [Layout], one file each. A verb that changes something makes a
// plan first; the plan can be shown, and is what is then executed.
//
// Laws:
//   - A live directory is only read until the new files are complete, synced,
//     read back and found equal to the tree they were made from.
//   - The base is replaced before the overlay is reset, in one transaction of
//     remaster/swap: at every point of a crash the old or the new state boots.
//   - Merging is idempotent: an overlay that is applied to a base that holds it
//     already changes nothing.
//   - A merge for oneself does not touch accounts.
package remaster
